"""Messages between the demo and its worker processes: JSON, one a line.

To a worker: its settings as the first line on standard input, then commands. From a worker: reports
on standard output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Buffer

import msgspec

__all__ = [
    "ConsumerReport",
    "EpochSeen",
    "Manifest",
    "ProducerReport",
    "Ready",
    "Report",
    "SourceFrame",
    "WorkerSettings",
    "content_digest",
    "decode_report",
]


def content_digest(content: Buffer) -> str:
    """The hash by which source and received frame are compared."""
    return hashlib.sha256(content).hexdigest()


class SourceFrame(msgspec.Struct, frozen=True):
    """The expected content of a frame: frame `seq` of an epoch is source frame `seq % count`."""

    file: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    digest: str


class Manifest(msgspec.Struct, frozen=True):
    """The source in the order in which it is streamed."""

    frames: tuple[SourceFrame, ...]


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a worker."""

    role: str  # "producer" or "consumer"
    source_folder: str
    aeron_dir: str
    base_dir: str
    stream_id: int
    rate_hz: float
    announce_period_s: float
    keepalive_interval_s: float
    report_interval_s: float


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker has loaded the source, is connected to Aeron and waits for `go`."""


class ProducerReport(msgspec.Struct, frozen=True, kw_only=True, tag="producer"):
    """Totals so far."""

    monotonic_ns: int
    state: str
    frames: int = 0
    nbytes: int = 0
    refused: dict[str, int] = {}
    final: bool = False


class EpochSeen(msgspec.Struct, kw_only=True):
    """The frames of one epoch that a consumer received."""

    epoch: int
    frames: int = 0
    first_frame_ns: int | None = None


class ConsumerReport(msgspec.Struct, frozen=True, kw_only=True, tag="consumer"):
    """Totals so far; latencies are of the frames since the last report, or all in the final one.

    Times are CLOCK_MONOTONIC, which is one clock for all processes; `mapped_ns` has one for each
    time that regions were mapped.
    """

    monotonic_ns: int
    state: str
    frames: int = 0
    nbytes: int = 0
    mismatches: int = 0
    first_mismatch: str | None = None
    drops: dict[str, int] = {}
    latency_p50_ns: int | None = None
    latency_p99_ns: int | None = None
    epochs: tuple[EpochSeen, ...] = ()
    mapped_ns: tuple[int, ...] = ()
    final: bool = False


type Report = Ready | ProducerReport | ConsumerReport

_decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(
    Ready | ProducerReport | ConsumerReport
)


def decode_report(line: str) -> Report:
    """Raises msgspec.DecodeError for what is not a report."""
    return _decoder.decode(line)
