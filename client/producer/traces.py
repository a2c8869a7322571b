"""Trace ids and links: which frames a frame was made from (S-150 to S-153)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Final, Protocol

__all__ = ["MAX_PARENTS", "Parents", "TraceIds", "Traced", "parent_ids", "some_have_no_trace"]

_log = logging.getLogger("tensor_pool.client")
MAX_PARENTS: Final = 256
_TIME_SHIFT, _NODE_SHIFT = 22, 12
_LARGEST_NODE = (1 << 10) - 1
_PER_MS = 1 << 12
_MAX_MS = (1 << 41) - 1


class Traced(Protocol):
    """A frame, as far as traces are concerned."""

    @property
    def trace_id(self) -> int: ...


type Parents = Iterable[Traced | int | None]
"""Frames or trace ids; None stands for an input that is missing in a set."""


class TraceIds:
    """Makes ids that rise: milliseconds of real time, node id, a counter within the millisecond.

    A clock that stands still or goes back makes the ids run ahead of it; they never repeat. A node
    id above 1023 does not fit: its low 10 bits are used, with a random start of the counter.
    """

    def __init__(self, realtime_ns: Callable[[], int]) -> None:
        self._realtime_ns = realtime_ns
        self._node = 0
        self._ms = 0
        self._count = 0
        self._first = 0

    def next(self, node_id: int) -> int:
        """Return the next id, of a lease with this node id; never 0."""
        if node_id != self._node:
            self._take_node(node_id)
        now_ms = min(max(self._realtime_ns() // 1_000_000, 1), _MAX_MS)
        if now_ms > self._ms:
            self._ms, self._count = now_ms, self._first
        elif self._count >= _PER_MS:
            self._ms, self._count = self._ms + 1, 0
        made = self._ms << _TIME_SHIFT | (node_id & _LARGEST_NODE) << _NODE_SHIFT | self._count
        self._count += 1
        return made

    def _take_node(self, node_id: int) -> None:
        """An id of this node may be smaller: begin a millisecond of its own."""
        self._node = node_id
        self._ms, self._count = self._ms + 1, self._first
        if node_id > _LARGEST_NODE and not self._first:
            self._first = 1 + secrets.randbelow(_PER_MS - 1)
            _log.warning(
                "node id %d exceeds %d: trace ids of this producer may collide with those of"
                " another one",
                node_id,
                _LARGEST_NODE,
            )


def parent_ids(parents: Parents) -> tuple[int, ...]:
    """Return the distinct traces of frames and ids in order, without zeros and missing frames.

    Raises ValueError for more than 256 of them and for a number that is not a u64.
    """
    found: dict[int, None] = {}
    for parent in parents:
        trace_id = _trace_of(parent)
        if not 0 <= trace_id < 1 << 64:
            raise ValueError(f"parents: {trace_id} is not a trace id (0..2^64-1)")
        if trace_id:
            found[trace_id] = None
    if len(found) > MAX_PARENTS:
        raise ValueError(f"parents: {len(found)} traces, at most {MAX_PARENTS} are possible")
    return tuple(found)


def some_have_no_trace(parents: Parents) -> bool:
    """Return True if a parent that is there has no trace: the lineage has a hole.

    >>> some_have_no_trace([7, None]), some_have_no_trace([7, 0])
    (False, True)
    """
    return any(parent is not None and not _trace_of(parent) for parent in parents)


def _trace_of(parent: Traced | int | None) -> int:
    return 0 if parent is None else parent if isinstance(parent, int) else parent.trace_id
