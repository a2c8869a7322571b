"""Instance ids, and the paths of streams by which a loop is refused (section 0, B-031, B-121)."""

from __future__ import annotations

import re
from typing import Final

from tensor_pool.protocol.wire import BridgeStreamInfo

__all__ = ["INSTANCE_ID", "MAX_PATH_PARTS", "checked_path", "instance_id_from"]

INSTANCE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
MAX_PATH_PARTS: Final = 16
_LEAST_INTERVAL_MS = 10
_LONGEST_INTERVAL_MS = 3_600_000


def checked_path(info: BridgeStreamInfo) -> tuple[str, ...] | None:
    """The parts of an info's path; None for an info that is to be rejected (B-031)."""
    parts = tuple(info.path.split(">", MAX_PATH_PARTS))
    if (
        len(parts) > MAX_PATH_PARTS
        or parts[-1] != info.instance_id
        or not all(map(INSTANCE_ID.fullmatch, parts))
        or not _LEAST_INTERVAL_MS <= info.interval_ms <= _LONGEST_INTERVAL_MS
    ):
        return None
    return parts


def instance_id_from(host_name: str) -> str:
    """An instance id made of a host name, bad characters replaced.

    >>> instance_id_from("cam host.local")
    'cam_host.local'
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", host_name)[:64] or "_"
