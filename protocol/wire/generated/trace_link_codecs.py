"""Codecs of the trace link schema.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from struct import Struct

from ..codec_errors import (
    truncated_entry,
)
from ..header import WireBuffer
from ..vardata import (
    read_dimension,
    write_dimension,
)
from .trace_link_messages import TraceLinkSet, TraceParent

_TRACE_PARENT_LAYOUT = Struct("<Q")
_TRACE_LINK_SET_LAYOUT = Struct("<QIQQQ")
_TRACE_LINK_SET_LAYOUT_BLOCK = Struct("<IQQQ")


def _read_trace_parent(
    buffer: WireBuffer, at: int, size: int, entry_bytes: int
) -> tuple[TraceParent, int]:
    entry_end = at + entry_bytes
    if entry_end > size:
        raise truncated_entry(at, size)
    (trace_id,) = _TRACE_PARENT_LAYOUT.unpack_from(buffer, at)
    at = entry_end
    return TraceParent(
        trace_id,
    ), at


def _write_trace_parent(parts: list[bytes], entry: TraceParent) -> None:
    parts.append(_TRACE_PARENT_LAYOUT.pack(entry.trace_id))


def decode_trace_link_set(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> TraceLinkSet:
    stream_id, epoch, seq, trace_id = _TRACE_LINK_SET_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    entry_bytes, count, at = read_dimension(buffer, at, size, 8)
    parents: list[TraceParent] = []
    for _ in range(count):
        trace_parent, at = _read_trace_parent(buffer, at, size, entry_bytes)
        parents.append(trace_parent)
    return TraceLinkSet(
        stream_id,
        epoch,
        seq,
        trace_id,
        tuple(parents),
    )


def encode_trace_link_set(message: TraceLinkSet) -> bytes:
    parts = [
        _TRACE_LINK_SET_LAYOUT.pack(
            0x000103880001001C,
            message.stream_id,
            message.epoch,
            message.seq,
            message.trace_id,
        )
    ]
    parts.append(write_dimension(8, len(message.parents), "TraceLinkSet.parents"))
    for trace_parent in message.parents:
        _write_trace_parent(parts, trace_parent)
    return b"".join(parts)


FIELD_CODES: dict[type, dict[str, str]] = {
    TraceParent: {"trace_id": "Q"},
    TraceLinkSet: {"stream_id": "I", "epoch": "Q", "seq": "Q", "trace_id": "Q"},
}
"""`struct` codes by field; a trailing `?` where None is allowed."""
