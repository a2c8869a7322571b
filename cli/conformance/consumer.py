"""All checks of a consumer, in the order in which they run."""

from __future__ import annotations

from .check import Check
from .consumer_frames import FRAME_CHECKS
from .consumer_mapping import MAPPING_CHECKS
from .consumer_streams import STREAM_CHECKS
from .consumer_world import ConsumerWorld
from .peer_checks import attach_checks, grant_checks

__all__ = ["CONSUMER_CHECKS"]


def _goes_on(world: ConsumerWorld) -> str:
    if not world.mappings():
        world.report()  # not seen without reports
    mark = world.mark
    if not world.until(lambda: world.sign_of_use(mark), 3 * world.patience_s):
        return "it does not map the regions"
    return ""


CONSUMER_CHECKS: tuple[Check[ConsumerWorld], ...] = (
    *attach_checks(_goes_on),
    *FRAME_CHECKS,
    *MAPPING_CHECKS,
    *grant_checks(ConsumerWorld),
    *STREAM_CHECKS,
)
