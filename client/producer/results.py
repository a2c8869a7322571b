"""The result of publishing a frame (C-070)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import overload

import msgspec

__all__ = ["PublishResult", "PublishResults", "PublishStatus"]


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


class PublishResults(Sequence[PublishResult]):
    """Outcome of `publish_many`: one result a frame, in the order of the frames.

    True if the result of every frame is true, also without a frame.

    >>> results = PublishResults([PublishStatus.PUBLISHED, PublishStatus.TOO_LARGE], [7, None])
    >>> bool(results), results[0].seq, results.seqs
    (False, 7, [7, None])
    """

    __slots__ = ("seqs", "statuses")

    def __init__(self, statuses: list[PublishStatus], seqs: list[int | None]) -> None:
        self.statuses = statuses
        """The status of each frame."""
        self.seqs = seqs
        """The sequence number of each frame, None where none was consumed."""

    def __len__(self) -> int:
        return len(self.statuses)

    @overload
    def __getitem__(self, index: int) -> PublishResult: ...

    @overload
    def __getitem__(self, index: slice) -> PublishResults: ...

    def __getitem__(self, index: int | slice) -> PublishResult | PublishResults:
        if isinstance(index, slice):
            return PublishResults(self.statuses[index], self.seqs[index])
        return PublishResult(self.statuses[index], self.seqs[index])

    def __bool__(self) -> bool:
        statuses = self.statuses
        if statuses.count(PublishStatus.PUBLISHED) == len(statuses):
            return True
        return all(status in _TRUE for status in statuses)

    def __repr__(self) -> str:
        return f"PublishResults({list(self)!r})"
