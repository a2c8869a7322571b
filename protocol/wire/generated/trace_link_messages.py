"""Messages of the trace link schema.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = [
    "TraceLinkSet",
    "TraceParent",
]


class TraceParent(Struct, frozen=True, gc=False):
    """One entry for each parent."""

    trace_id: int
    """Trace of a parent."""


class TraceLinkSet(Struct, frozen=True, gc=False):
    """Traces of the frames that a frame was made from."""

    stream_id: int
    """Stream of the frame."""
    epoch: int
    """Its epoch."""
    seq: int
    """Its sequence."""
    trace_id: int
    """Its trace."""
    parents: tuple[TraceParent, ...] = ()
    """One entry for each parent."""
