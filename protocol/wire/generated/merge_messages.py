"""Messages of the merge schema.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from msgspec import Struct

from .enums import ClockDomain, MergeRuleType, MergeTimeRuleType, TimestampSource

__all__ = [
    "SequenceMergeMapAnnounce",
    "SequenceMergeMapRequest",
    "SequenceMergeRule",
    "TimestampMergeMapAnnounce",
    "TimestampMergeMapRequest",
    "TimestampMergeRule",
]


class SequenceMergeRule(Struct, frozen=True, gc=False):
    """One entry for each input."""

    input_stream_id: int
    """Input stream."""
    rule_type: MergeRuleType
    """Rule of the match."""
    offset: int | None = None
    """Sequence offset."""
    window_size: int | None = None
    """Sequences in a window."""


class TimestampMergeRule(Struct, frozen=True, gc=False):
    """One entry for each input."""

    input_stream_id: int
    """Input stream."""
    rule_type: MergeTimeRuleType
    """Rule of the match."""
    timestamp_source: TimestampSource
    """Timestamp compared."""
    offset_ns: int | None = None
    """Offset, ns."""
    window_ns: int | None = None
    """Window, ns."""


class SequenceMergeMapAnnounce(Struct, frozen=True, gc=False):
    """Rules that pair frames of several streams by sequence."""

    out_stream_id: int
    """Stream that the map makes."""
    epoch: int
    """Epoch of that stream."""
    stale_timeout_ns: int | None = None
    """Time after which an input without frames is stale, ns."""
    rules: tuple[SequenceMergeRule, ...] = ()
    """One entry for each input."""


class SequenceMergeMapRequest(Struct, frozen=True, gc=False):
    """Asks for the merge map of a stream."""

    out_stream_id: int
    """Stream that the map makes."""
    epoch: int
    """Epoch of that stream."""


class TimestampMergeMapAnnounce(Struct, frozen=True, gc=False):
    """Rules that pair frames of several streams by time."""

    out_stream_id: int
    """Stream that the map makes."""
    epoch: int
    """Epoch of that stream."""
    stale_timeout_ns: int | None
    """Time after which an input without frames is stale, ns."""
    clock_domain: ClockDomain
    """Clock of all timestamps."""
    lateness_ns: int | None = None
    """Time to wait for late frames, ns; not given = 0."""
    rules: tuple[TimestampMergeRule, ...] = ()
    """One entry for each input."""


class TimestampMergeMapRequest(Struct, frozen=True, gc=False):
    """Asks for the merge map of a stream."""

    out_stream_id: int
    """Stream that the map makes."""
    epoch: int
    """Epoch of that stream."""
