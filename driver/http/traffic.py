"""Frames, bytes, losses and latency of each stream, from QoS reports and header rings (D-197).

Reports come once a second from every producer and consumer. Their sequences are looked up in the
header ring for what they do not carry: the bytes of frames and their times. Nothing here writes,
and no payload is read.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from tensor_pool.client.qos.rate import Rate
from tensor_pool.protocol.wire import Message, QosConsumer, QosProducer, Role, ShmLeaseRevoked

__all__ = ["ConsumerTraffic", "Rings", "StreamTraffic", "Traffic"]

_SAMPLES = 16
_SILENCE_NS = 5_000_000_000


class SlotNote(msgspec.Struct, frozen=True):
    """One complete frame as its slot describes it."""

    seq: int
    nbytes: int
    timestamp_ns: int | None


class Rings(Protocol):
    """The header rings that can be read now."""

    def newest(self, stream_id: int, epoch: int, count: int) -> list[SlotNote]:
        """Up to `count` complete frames, newest first."""
        ...

    def at(self, stream_id: int, epoch: int, seq: int) -> SlotNote | None:
        """The frame `seq`; where it has been overwritten, the oldest that is left."""
        ...


class ConsumerTraffic(msgspec.Struct, frozen=True):
    """One consumer. Losses are totals since it attached.

    `latency_s` is the time between the newest frame and the last one that the consumer had taken,
    by their timestamps, when its last report came; None where frames have no timestamps.
    """

    client_id: int
    drops_gap: int
    drops_late: int
    latency_s: float | None


class StreamTraffic(msgspec.Struct, frozen=True):
    """One stream; `frames` and `nbytes` are totals since the driver started.

    Bytes are the frames times the mean size of the newest ones. Rates are None until two reports
    of the producer came, and where it is silent.
    """

    stream_id: int
    frames: int
    nbytes: int
    frames_per_s: float | None
    bytes_per_s: float | None
    consumers: tuple[ConsumerTraffic, ...]


class _Stream:
    def __init__(self) -> None:
        self.frames = 0
        self.nbytes = 0
        self.report: QosProducer | None = None
        self.heard_ns = 0
        self.newest: tuple[int, int] | None = None  # epoch and sequence of the newest frame
        self.moved_ns: int | None = None  # the time when it was found
        self.frame_rate = Rate()
        self.byte_rate = Rate()


class Traffic:
    """The latest figures of all streams. Not for several threads."""

    def __init__(self, rings: Rings) -> None:
        self._rings = rings
        self._streams: dict[int, _Stream] = {}
        self._consumers: dict[tuple[int, int], tuple[int, ConsumerTraffic]] = {}

    def hear(self, message: Message, now_ns: int) -> None:
        """Take one message; others than reports and ends of leases are ignored."""
        match message:
            case QosProducer():
                self._on_producer(message, now_ns)
            case QosConsumer():
                self._on_consumer(message, now_ns)
            case ShmLeaseRevoked() if message.role == Role.CONSUMER:
                self._consumers.pop((message.stream_id, message.client_id), None)

    def figures(self, now_ns: int) -> tuple[StreamTraffic, ...]:
        """Return the figures by stream id, without consumers that have fallen silent."""
        oldest_ns = now_ns - _SILENCE_NS
        self._consumers = {
            key: entry for key, entry in self._consumers.items() if entry[0] > oldest_ns
        }
        return tuple(
            StreamTraffic(
                stream_id,
                stream.frames,
                stream.nbytes,
                stream.frame_rate.per_second if stream.heard_ns > oldest_ns else None,
                stream.byte_rate.per_second if stream.heard_ns > oldest_ns else None,
                tuple(
                    consumer
                    for (of_stream, _), (_, consumer) in sorted(self._consumers.items())
                    if of_stream == stream_id
                ),
            )
            for stream_id, stream in sorted(self._streams.items())
        )

    def look(self, now_ns: int) -> None:
        """Look for new frames in the header rings, for the age of the newest."""
        for stream_id, stream in self._streams.items():
            if stream.report is None:
                continue
            epoch = stream.report.epoch
            notes = self._rings.newest(stream_id, epoch, 1)
            if notes and (newest := (epoch, notes[0].seq)) != stream.newest:
                stream.newest = newest
                stream.moved_ns = now_ns

    def ages_s(self, now_ns: int) -> dict[int, float]:
        """Return the seconds since the newest frame of each stream was found by `look()`."""
        return {
            stream_id: (now_ns - stream.moved_ns) / 1e9
            for stream_id, stream in self._streams.items()
            if stream.moved_ns is not None
        }

    def _on_producer(self, report: QosProducer, now_ns: int) -> None:
        stream = self._streams.setdefault(report.stream_id, _Stream())
        before, stream.report = stream.report, report
        stream.heard_ns = now_ns
        since = before.current_seq if before is not None and before.epoch == report.epoch else 0
        frames = max(0, report.current_seq - since)
        if frames:
            newest = self._rings.newest(report.stream_id, report.epoch, min(frames, _SAMPLES))
            if newest:
                stream.nbytes += round(frames * sum(one.nbytes for one in newest) / len(newest))
            stream.frames += frames
        stream.frame_rate.add(now_ns, stream.frames)
        stream.byte_rate.add(now_ns, stream.nbytes)

    def _on_consumer(self, report: QosConsumer, now_ns: int) -> None:
        self._streams.setdefault(report.stream_id, _Stream())
        self._consumers[report.stream_id, report.consumer_id] = (
            now_ns,
            ConsumerTraffic(
                report.consumer_id,
                report.drops_gap,
                report.drops_late,
                self._latency_s(report),
            ),
        )

    def _latency_s(self, report: QosConsumer) -> float | None:
        newest = self._rings.newest(report.stream_id, report.epoch, 1)
        taken = self._rings.at(report.stream_id, report.epoch, report.last_seq_seen)
        if not newest or newest[0].timestamp_ns is None:
            return None
        if taken is None or taken.timestamp_ns is None:
            return None
        return max(0, newest[0].timestamp_ns - taken.timestamp_ns) / 1e9
