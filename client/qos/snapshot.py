"""The state of a pool at one moment, from QoS reports (S-050)."""

from __future__ import annotations

import msgspec

__all__ = ["ConsumerQos", "ProducerQos", "QosChange", "QosSnapshot", "StreamQos"]


class ProducerQos(msgspec.Struct, frozen=True, kw_only=True):
    """One producer; `rate_hz` is None until two reports of its epoch came, `age_s` of the last."""

    client_id: int
    epoch: int
    current_seq: int
    rate_hz: float | None
    age_s: float
    state: str


class ConsumerQos(msgspec.Struct, frozen=True, kw_only=True):
    """One consumer. Drops are totals since it attached.

    `lag` is in frames, None while consumer and producer report different epochs: the position of
    the producer's last report before the consumer's. It is exact to the frames of one interval.
    """

    client_id: int
    mode: str
    epoch: int
    last_seq: int
    lag: int | None
    drops_gap: int
    drops_late: int
    drops_per_s: float | None
    age_s: float
    state: str


class StreamQos(msgspec.Struct, frozen=True, kw_only=True):
    """One stream; `nslots` is 0 until it was announced."""

    stream_id: int
    nslots: int
    producer: ProducerQos | None
    consumers: tuple[ConsumerQos, ...]


class QosSnapshot(msgspec.Struct, frozen=True):
    """All streams that reports were received of, by ascending id."""

    streams: tuple[StreamQos, ...]

    def stream(self, stream_id: int) -> StreamQos | None:
        """Return one stream, or None if no report of it came."""
        return next((each for each in self.streams if each.stream_id == stream_id), None)


class QosChange(msgspec.Struct, frozen=True):
    """A producer or consumer entered a state: Healthy, Dropping, Lagging, Silent or Gone."""

    stream_id: int
    client_id: int
    is_producer: bool
    state: str
