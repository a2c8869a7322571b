"""Codecs of the bridge schema.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from struct import Struct

from ..codec_errors import (
    bad_enum,
    unlisted,
)
from ..header import WireBuffer
from ..vardata import (
    read_data,
    read_text,
    write_data,
    write_text,
)
from .bridge_messages import BridgeFrameChunk, BridgeStreamInfo
from .enums import PayloadMode

_BOOL = {0: False, 1: True}
_PAYLOAD_MODE = {member.value: member for member in PayloadMode}
_BRIDGE_FRAME_CHUNK_LAYOUT = Struct("<QIQQQIIIIIIB")
_BRIDGE_FRAME_CHUNK_LAYOUT_BLOCK = Struct("<IQQQIIIIIIB")
_BRIDGE_STREAM_INFO_LAYOUT = Struct("<QIIQQQQQQIIBBBB")
_BRIDGE_STREAM_INFO_LAYOUT_BLOCK = Struct("<IIQQQQQQIIBBBB")


def decode_bridge_frame_chunk(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> BridgeFrameChunk:
    (
        stream_id,
        epoch,
        seq,
        trace_id,
        chunk_index,
        chunk_count,
        chunk_offset,
        chunk_length,
        payload_length,
        payload_crc32c,
        header_included,
    ) = _BRIDGE_FRAME_CHUNK_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    header_bytes, at = read_data(buffer, at, size)
    payload_bytes, at = read_data(buffer, at, size)
    header_included_ = _BOOL.get(header_included)
    if header_included_ is None:
        raise bad_enum("BridgeFrameChunk.header_included", header_included)
    return BridgeFrameChunk(
        stream_id,
        epoch,
        seq,
        None if trace_id == 0 else trace_id,
        chunk_index,
        chunk_count,
        chunk_offset,
        chunk_length,
        payload_length,
        payload_crc32c,
        header_included_,
        header_bytes,
        payload_bytes,
    )


def encode_bridge_frame_chunk(message: BridgeFrameChunk) -> bytes:
    parts = [
        _BRIDGE_FRAME_CHUNK_LAYOUT.pack(
            0x0001038600010035,
            message.stream_id,
            message.epoch,
            message.seq,
            0 if message.trace_id is None else message.trace_id,
            message.chunk_index,
            message.chunk_count,
            message.chunk_offset,
            message.chunk_length,
            message.payload_length,
            message.payload_crc32c,
            message.header_included,
        )
    ]
    parts.append(write_data(message.header_bytes, "BridgeFrameChunk.header_bytes"))
    parts.append(write_data(message.payload_bytes, "BridgeFrameChunk.payload_bytes"))
    return b"".join(parts)


def check_bridge_frame_chunk(message: BridgeFrameChunk) -> None:
    if message.header_included not in _BOOL:
        raise unlisted("BridgeFrameChunk.header_included", message.header_included)


def decode_bridge_stream_info(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> BridgeStreamInfo:
    (
        stream_id,
        source_stream_id,
        epoch,
        next_seq,
        frames_sent,
        frames_dropped,
        monotonic_ns,
        realtime_ns,
        interval_ms,
        max_payload_bytes,
        has_producer,
        clock_synced,
        payload_mode,
        decimated,
    ) = _BRIDGE_STREAM_INFO_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    instance_id, at = read_text(buffer, at, size)
    path, at = read_text(buffer, at, size)
    has_producer_ = _BOOL.get(has_producer)
    if has_producer_ is None:
        raise bad_enum("BridgeStreamInfo.has_producer", has_producer)
    clock_synced_ = _BOOL.get(clock_synced)
    if clock_synced_ is None:
        raise bad_enum("BridgeStreamInfo.clock_synced", clock_synced)
    payload_mode_ = _PAYLOAD_MODE.get(payload_mode)
    if payload_mode_ is None:
        raise bad_enum("BridgeStreamInfo.payload_mode", payload_mode)
    decimated_ = _BOOL.get(decimated)
    if decimated_ is None:
        raise bad_enum("BridgeStreamInfo.decimated", decimated)
    return BridgeStreamInfo(
        stream_id,
        source_stream_id,
        epoch,
        next_seq,
        frames_sent,
        frames_dropped,
        monotonic_ns,
        realtime_ns,
        interval_ms,
        max_payload_bytes,
        has_producer_,
        clock_synced_,
        payload_mode_,
        decimated_,
        instance_id,
        path,
    )


def encode_bridge_stream_info(message: BridgeStreamInfo) -> bytes:
    parts = [
        _BRIDGE_STREAM_INFO_LAYOUT.pack(
            0x0001038600640044,
            message.stream_id,
            message.source_stream_id,
            message.epoch,
            message.next_seq,
            message.frames_sent,
            message.frames_dropped,
            message.monotonic_ns,
            message.realtime_ns,
            message.interval_ms,
            message.max_payload_bytes,
            message.has_producer,
            message.clock_synced,
            message.payload_mode,
            message.decimated,
        )
    ]
    parts.append(write_text(message.instance_id, "BridgeStreamInfo.instance_id"))
    parts.append(write_text(message.path, "BridgeStreamInfo.path"))
    return b"".join(parts)


def check_bridge_stream_info(message: BridgeStreamInfo) -> None:
    if message.has_producer not in _BOOL:
        raise unlisted("BridgeStreamInfo.has_producer", message.has_producer)
    if message.clock_synced not in _BOOL:
        raise unlisted("BridgeStreamInfo.clock_synced", message.clock_synced)
    if message.payload_mode not in _PAYLOAD_MODE:
        raise unlisted("BridgeStreamInfo.payload_mode", message.payload_mode)
    if message.decimated not in _BOOL:
        raise unlisted("BridgeStreamInfo.decimated", message.decimated)


FIELD_CODES: dict[type, dict[str, str]] = {
    BridgeFrameChunk: {
        "stream_id": "I",
        "epoch": "Q",
        "seq": "Q",
        "trace_id": "Q?",
        "chunk_index": "I",
        "chunk_count": "I",
        "chunk_offset": "I",
        "chunk_length": "I",
        "payload_length": "I",
        "payload_crc32c": "I",
        "header_included": "B",
    },
    BridgeStreamInfo: {
        "stream_id": "I",
        "source_stream_id": "I",
        "epoch": "Q",
        "next_seq": "Q",
        "frames_sent": "Q",
        "frames_dropped": "Q",
        "monotonic_ns": "Q",
        "realtime_ns": "Q",
        "interval_ms": "I",
        "max_payload_bytes": "I",
        "has_producer": "B",
        "clock_synced": "B",
        "payload_mode": "B",
        "decimated": "B",
    },
}
"""`struct` codes by field; a trailing `?` where None is allowed."""
