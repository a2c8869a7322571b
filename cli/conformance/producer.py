"""All checks of a producer, in the order in which they run."""

from __future__ import annotations

from .check import Check
from .peer_checks import attach_checks, grant_checks
from .producer_frames import FRAME_CHECKS
from .producer_streams import GRANTED_CHECKS, STREAM_CHECKS
from .producer_world import ProducerWorld

__all__ = ["PRODUCER_CHECKS"]


def _goes_on(world: ProducerWorld) -> str:
    place = len(world.seen)
    came = world.until(lambda: len(world.seen) > place, 3 * world.patience_s)
    return "" if came else "it does not publish"


PRODUCER_CHECKS: tuple[Check[ProducerWorld], ...] = (
    *attach_checks(_goes_on),
    *GRANTED_CHECKS,
    *FRAME_CHECKS,
    *grant_checks(ProducerWorld),
    *STREAM_CHECKS,
)
