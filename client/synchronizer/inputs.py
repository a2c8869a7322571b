"""One input of a synchronizer: its rule, the frames that wait, and counts of the others."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import msgspec

__all__ = ["Input", "InputCounters", "Waiting"]


class Waiting(NamedTuple):
    """A frame in a queue: the key that it is matched by, and when it came (monotonic, ns)."""

    key: int
    frame: Any
    came_ns: int


class InputCounters(msgspec.Struct):
    """Counts of the frames of one input (S-116).

    At rest `frames_in` is the sum of `sets`, `unmatched`, `overwritten`, `waiting` and the dropped
    ones: `queue_overflow`, `no_timestamp`, `time_went_back`, `epoch_resets`.
    """

    frames_in: int = 0
    sets: int = 0
    unmatched: int = 0
    overwritten: int = 0
    overwritten_by_input: int = 0
    queue_overflow: int = 0
    no_timestamp: int = 0
    time_went_back: int = 0
    epoch_resets: int = 0
    waiting: int = 0


class Input:
    """`offset` is in the unit of the keys; `limit` frames wait at most, the oldest gives way."""

    __slots__ = (
        "counters",
        "is_stale",
        "limit",
        "name",
        "newest_key",
        "offset",
        "queue",
        "required",
    )

    def __init__(
        self, name: str, *, offset: int = 0, required: bool = True, limit: int = 10
    ) -> None:
        self.name = name
        self.offset = offset
        self.required = required
        self.limit = limit
        self.queue: deque[Waiting] = deque()
        self.newest_key: int | None = None  # of this epoch, whether it still waits or not
        self.is_stale = False
        self.counters = InputCounters()

    def take(self, key: int, frame: Any, now: int) -> bool:
        """Queue a frame; False, counted as unmatched, if its key is not above the newest."""
        counters = self.counters
        newest = self.newest_key
        if newest is not None and key <= newest:
            counters.unmatched += 1
            return False
        self.newest_key = key
        queue = self.queue
        if len(queue) >= self.limit:
            queue.popleft()
            counters.queue_overflow += 1
        queue.append(Waiting(key, frame, now))
        return True

    def drop_first(self, count: int) -> None:
        """Take the oldest frames out, unmatched."""
        for _ in range(count):
            self.queue.popleft()
        self.counters.unmatched += count

    def reset(self) -> None:
        """Forget every frame and key: another epoch begins (S-115)."""
        self.counters.epoch_resets += len(self.queue)
        self.queue.clear()
        self.newest_key = None
