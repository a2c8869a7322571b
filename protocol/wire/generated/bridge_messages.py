"""Messages of the bridge schema.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from msgspec import Struct

from .enums import PayloadMode

__all__ = [
    "BridgeFrameChunk",
    "BridgeStreamInfo",
]


class BridgeFrameChunk(Struct, frozen=True, gc=False):
    """A part of a frame on its way to another host."""

    stream_id: int
    """Wire id of the bridged stream."""
    epoch: int
    """Source epoch."""
    seq: int
    """Sequence of the frame in the source epoch."""
    trace_id: int | None
    """Trace of the frame."""
    chunk_index: int
    """Number of this chunk, from 0."""
    chunk_count: int
    """Chunks of the frame, 1..65535."""
    chunk_offset: int
    """First payload byte of this chunk."""
    chunk_length: int
    """Payload bytes in this chunk, 0..65535."""
    payload_length: int
    """Payload bytes of the frame, at most 1 GiB."""
    payload_crc32c: int
    """CRC-32C of header and payload bytes; 0 when none is computed."""
    header_included: bool
    """TRUE exactly for chunk 0."""
    header_bytes: bytes = b""
    """The 256-byte slot for chunk 0, else empty."""
    payload_bytes: bytes = b""
    """ChunkLength bytes."""


class BridgeStreamInfo(Struct, frozen=True, gc=False):
    """State of a bridged stream on the sending host."""

    stream_id: int
    """Wire id of the bridged stream."""
    source_stream_id: int
    """Tensor stream id on the sending host."""
    epoch: int
    """Source epoch; 0 = none."""
    next_seq: int
    """Every frame below is sent whole or given up; 0 without an epoch."""
    frames_sent: int
    """Frames sent since this bridge started."""
    frames_dropped: int
    """Frames dropped since this bridge started."""
    monotonic_ns: int
    """CLOCK_MONOTONIC of the sender when it encoded this, ns."""
    realtime_ns: int
    """CLOCK_REALTIME read right after, ns."""
    interval_ms: int
    """Time to the next info at the latest, 10..3600000 ms."""
    max_payload_bytes: int
    """Largest pool stride of the source; 0 = unknown."""
    has_producer: bool
    """A producer is attached to the source."""
    clock_synced: bool
    """The sender's operator states that its real time is disciplined."""
    payload_mode: PayloadMode
    """Contents of the frames."""
    decimated: bool
    """Frames are left out on purpose."""
    instance_id: str = ""
    """Name of the sending bridge."""
    path: str = ""
    """Instance ids in the order of travel joined by a greater-than sign, the sender last."""
