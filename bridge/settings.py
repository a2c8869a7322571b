"""Settings of a bridge: links, streams and limits, already checked (section 13)."""

from __future__ import annotations

import enum

import msgspec

from .core.chunks import MAX_PAYLOAD_BYTES

__all__ = [
    "BridgeSettings",
    "CrcPolicy",
    "ReceiveLink",
    "ReceiveStream",
    "SendLink",
    "SendStream",
    "SequencePolicy",
    "TimestampPolicy",
]


class SequencePolicy(enum.StrEnum):
    """Numbers of frames at the far side (B-095)."""

    AUTO = "auto"
    SOURCE = "source"
    DENSE = "dense"


class TimestampPolicy(enum.StrEnum):
    """Capture times at the far side (B-100)."""

    LOCAL = "local"
    WALL = "wall"
    ARRIVAL = "arrival"
    SOURCE = "source"


class CrcPolicy(enum.StrEnum):
    """Checksums that a receiver verifies (B-061)."""

    AUTO = "auto"
    REQUIRE = "require"
    IGNORE = "ignore"


class SendStream(msgspec.Struct, frozen=True, kw_only=True):
    """One source stream of an outgoing link."""

    stream: int
    wire_id: int
    max_rate_hz: float = 0.0
    queue_frames: int = 0
    """Most frames that wait; 0: half the slots of the source, at most 1024."""
    headers_only: bool = False


class SendLink(msgspec.Struct, frozen=True, kw_only=True):
    """One place to send to."""

    name: str
    channel: str
    streams: tuple[SendStream, ...]
    chunk_bytes: int = 61440
    crc: bool = False
    max_mbit_s: float = 0.0


class ReceiveStream(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an incoming link."""

    wire_id: int
    stream: int
    origin: str = ""
    sequence: SequencePolicy = SequencePolicy.AUTO
    timestamps: TimestampPolicy = TimestampPolicy.LOCAL
    crc: CrcPolicy = CrcPolicy.AUTO


class ReceiveLink(msgspec.Struct, frozen=True, kw_only=True):
    """One local address to receive at."""

    name: str
    channel: str
    streams: tuple[ReceiveStream, ...]
    allow: tuple[str, ...] = ()


class BridgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A whole bridge; times in ms."""

    instance_id: str
    send: tuple[SendLink, ...] = ()
    receive: tuple[ReceiveLink, ...] = ()
    data_stream_id: int = 3000
    info_interval_ms: int = 1000
    hold_ms: int = 15_000
    assembly_timeout_ms: int = 1000
    send_timeout_ms: int = 1000
    choke_ms: int = 100
    shutdown_timeout_ms: int = 2000
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    max_hops: int = 3
    max_sessions: int = 64
    fragment_limit: int = 256
    clock_synced: bool = False
    retry_base_ms: int = 100
    retry_max_ms: int = 5000
