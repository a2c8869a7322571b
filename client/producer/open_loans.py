"""The open loans of a producer, and the committed frames that wait for them (C-076)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.errors import LoanLimitError

from ..attachment.connection_machine import NEVER
from .loan import Loan

__all__ = ["HeldFrame", "OpenLoans"]


class HeldFrame:
    """A committed frame whose descriptor waits for older loans (C-076)."""

    __slots__ = ("meta_version", "seq", "trace_id")

    def __init__(self, seq: int, meta_version: int, trace_id: int) -> None:
        self.seq = seq
        self.meta_version = meta_version
        self.trace_id = trace_id

    def __lt__(self, other: HeldFrame) -> bool:
        return self.seq < other.seq


class OpenLoans:
    """The loans of the current mapping; descriptors leave in the order of the sequences."""

    __slots__ = ("_counters", "_held", "by_seq", "limit")

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._held: list[HeldFrame] = []  # a heap
        self.by_seq: dict[int, Loan] = {}
        """Open loans, ascending."""
        self.limit = 1
        """The configured `max_loans`."""

    def hold_up(self, seq: int, nslots: int) -> bool:
        """Return whether the slot of `seq` is still that of an open loan; counted if so."""
        if not self.by_seq or seq - next(iter(self.by_seq)) < nslots:
            return False
        self._counters.inc("loans_refused")
        return True

    def require_room(self, seq: int, nslots: int) -> None:
        """Raise LoanLimitError if `seq` cannot be lent: too many loans, or its slot is lent."""
        if len(self.by_seq) >= self.limit:
            self._counters.inc("loans_refused")
            raise LoanLimitError(
                f"{len(self.by_seq)} loans are open and max_loans is {self.limit}; commit or"
                " abort one first"
            )
        if self.hold_up(seq, nslots):
            raise LoanLimitError(
                f"loan {next(iter(self.by_seq))} is open and the ring of {nslots} slots has"
                " come round to it; commit or abort it first"
            )

    @property
    def none_wait(self) -> bool:
        """True if no loan is open and no frame is held: the next frame may go at once."""
        return not self.by_seq and not self._held

    def hold(self, frame: HeldFrame) -> None:
        """Keep a committed frame until no open loan precedes it."""
        heapq.heappush(self._held, frame)

    def releasable(self) -> Iterator[HeldFrame]:
        """Yield, and forget, every held frame that no open loan precedes."""
        oldest_open = next(iter(self.by_seq), NEVER)
        while self._held and self._held[0].seq < oldest_open:
            yield heapq.heappop(self._held)

    def clear(self) -> None:
        """Forget all of it: the mapping is gone."""
        self.by_seq.clear()
        self._held.clear()
