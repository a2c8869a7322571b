"""Traces that came of late: their frames, and the traces that they were made from (S-154).

Plain records with a bound in time and in number. Nothing in the pool depends on them (S-155).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

__all__ = ["Lineage", "TraceLink", "TraceStore", "TracedFrame"]

MAX_RECORDS = 1_000_000
type _Neighbours = Callable[[int], Iterable[int]]


class TracedFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame with a trace.

    `received_ns` is the time since 1970 at which its descriptor arrived here; `published_ns`, on
    the same clock, the time at which it was sent, if the producer sends that.
    """

    stream_id: int
    epoch: int
    seq: int
    trace_id: int
    received_ns: int
    published_ns: int | None = None

    @property
    def time_ns(self) -> int:
        """The time of publishing if it came, else that of arrival."""
        return self.received_ns if self.published_ns is None else self.published_ns


class TraceLink(msgspec.Struct, frozen=True):
    """The traces that one frame was made from: a TraceLinkSet, and its time of arrival."""

    stream_id: int
    epoch: int
    seq: int
    trace_id: int
    parents: tuple[int, ...]
    received_ns: int


class Lineage(msgspec.Struct, frozen=True):
    """One trace with the traces it comes from and the traces made from it.

    `frames` has an entry for each of these traces, in which frames are ordered by time; a trace
    that is known from a link only has none. `parents` has the links among them and to them.
    """

    trace_id: int
    ancestors: tuple[int, ...]
    descendants: tuple[int, ...]
    frames: dict[int, tuple[TracedFrame, ...]]
    parents: dict[int, tuple[int, ...]]
    last_ns: int
    """Time of arrival of the newest record of them."""

    @property
    def traces(self) -> tuple[int, ...]:
        """All of them: ancestors, the trace itself, descendants."""
        return (*self.ancestors, self.trace_id, *self.descendants)


class TraceStore:
    """Frames and links of the last `window_ns`, at most `limit` of them."""

    def __init__(self, window_ns: int, limit: int = MAX_RECORDS) -> None:
        self._window_ns = window_ns
        self._limit = limit
        self._records: deque[TracedFrame | TraceLink] = deque()
        self._frames: dict[int, deque[TracedFrame]] = {}
        self._links: dict[int, deque[TraceLink]] = {}  # by the trace that was made
        self._children: dict[int, dict[int, int]] = {}  # by parent: children, and how many links
        self.forgotten = 0
        """Records that went before their time was over, because there were too many."""

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, trace_id: int) -> bool:
        return trace_id in self._frames or trace_id in self._links or trace_id in self._children

    @property
    def traces(self) -> int:
        """The number of traces with frames."""
        return len(self._frames)

    def add(self, record: TracedFrame | TraceLink) -> None:
        """Keep a frame, whose trace is not 0, or a link."""
        self._records.append(record)
        if isinstance(record, TracedFrame):
            self._frames.setdefault(record.trace_id, deque()).append(record)
        else:
            self._links.setdefault(record.trace_id, deque()).append(record)
            for parent in record.parents:
                children = self._children.setdefault(parent, {})
                children[record.trace_id] = children.get(record.trace_id, 0) + 1
        while len(self._records) > self._limit:
            self._forget(self._records.popleft())
            self.forgotten += 1

    def expire(self, now_ns: int) -> None:
        """Forget records that are older than the window."""
        records = self._records
        while records and now_ns - records[0].received_ns > self._window_ns:
            self._forget(records.popleft())

    def records_of(self, trace_id: int) -> list[TracedFrame | TraceLink]:
        """Return the frames and links of one trace."""
        return [*self._frames.get(trace_id, ()), *self._links.get(trace_id, ())]

    def lineage(self, trace_id: int) -> Lineage | None:
        """Return a trace with all its ancestors and descendants; None if nothing is known of it."""
        if trace_id not in self:
            return None
        ancestors = self._reach(trace_id, self._parents)
        descendants = self._reach(trace_id, lambda trace: self._children.get(trace, ()))
        members = (*reversed(ancestors), trace_id, *descendants)
        frames = {
            trace: tuple(sorted(self._frames.get(trace, ()), key=lambda frame: frame.time_ns))
            for trace in members
        }
        times = [frame.received_ns for kept in frames.values() for frame in kept]
        times += [link.received_ns for trace in members for link in self._links.get(trace, ())]
        return Lineage(
            trace_id=trace_id,
            ancestors=tuple(reversed(ancestors)),
            descendants=tuple(descendants),
            frames=frames,
            parents={trace: found for trace in members if (found := self._parents(trace))},
            last_ns=max(times, default=0),
        )

    def _parents(self, trace_id: int) -> tuple[int, ...]:
        links = self._links.get(trace_id, ())
        return tuple(dict.fromkeys(parent for link in links for parent in link.parents))

    @staticmethod
    def _reach(trace_id: int, neighbours: _Neighbours) -> list[int]:
        """Every trace that can be reached, the nearest first; links in a circle do no harm."""
        seen = {trace_id}
        found: list[int] = []
        waiting = deque([trace_id])
        while waiting:
            for trace in neighbours(waiting.popleft()):
                if trace not in seen:
                    seen.add(trace)
                    found.append(trace)
                    waiting.append(trace)
        return found

    def _forget(self, record: TracedFrame | TraceLink) -> None:
        """Take out a record, the oldest of its trace."""
        if isinstance(record, TracedFrame):
            _drop_first(self._frames, record.trace_id)
            return
        _drop_first(self._links, record.trace_id)
        for parent in record.parents:
            children = self._children[parent]
            children[record.trace_id] -= 1
            if not children[record.trace_id]:
                del children[record.trace_id]
            if not children:
                del self._children[parent]


def _drop_first[T](kept: dict[int, deque[T]], trace_id: int) -> None:
    kept[trace_id].popleft()
    if not kept[trace_id]:
        del kept[trace_id]
