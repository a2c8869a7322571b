"""The result of publishing a frame (C-070)."""

from __future__ import annotations

import enum

import msgspec

__all__ = ["PublishResult", "PublishStatus"]


class PublishStatus(enum.Enum):
    """The outcome for a frame.

    `consumed` statuses used up a sequence number: the frame was committed to shared memory.
    """

    PUBLISHED = "published"
    """The descriptor was accepted by the shared or any per-consumer stream."""
    NO_SUBSCRIBERS = "no subscribers"
    """The frame is committed; no consumer is connected."""
    BACK_PRESSURED = "back pressured"
    """The frame is committed, its descriptor was not accepted: consumers will see a gap."""
    DEFERRED = "deferred"
    """The frame is committed; its descriptor waits for older loans to be finished."""
    TOO_LARGE = "too large"
    """No pool has slots of that size; nothing was written."""
    NOT_ACTIVE = "not active"
    """There is no live lease at the moment; nothing was written."""
    LOANS_OPEN = "loans open"
    """The ring would come round to the oldest open loan; nothing was written."""


_TRUE = frozenset({PublishStatus.PUBLISHED, PublishStatus.NO_SUBSCRIBERS, PublishStatus.DEFERRED})


class PublishResult(msgspec.Struct, frozen=True, gc=False):
    """Outcome of one publish or commit: true if the frame is committed and nothing went wrong.

    `seq` is the frame's sequence number, or None if none was consumed.
    """

    status: PublishStatus
    seq: int | None = None

    def __bool__(self) -> bool:
        return self.status in _TRUE
