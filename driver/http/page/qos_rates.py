"""Rates and losses, from the QoS messages that producers and consumers send once a second."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from tensor_pool.protocol.transport.channel import untethered
from tensor_pool.protocol.transport.ports import Transport
from tensor_pool.protocol.wire import QosConsumer, QosProducer, WireError, decode

__all__ = ["RateBoard"]

_FRAGMENT_LIMIT = 256
_POLLS = 16
_SILENCE_NS = 5_000_000_000


class _ProducerSeen(msgspec.Struct):
    producer_id: int
    epoch: int
    seq: int
    at_ns: int
    rate_hz: float | None = None


class _ConsumerSeen(msgspec.Struct):
    message: QosConsumer
    at_ns: int


class RateBoard:
    """The latest message of each sender on the QoS stream."""

    def __init__(self) -> None:
        self._producers: dict[int, _ProducerSeen] = {}
        self._consumers: dict[tuple[int, int], _ConsumerSeen] = {}

    def subscribe(self, transport: Transport, channel: str, stream_id: int) -> None:
        """Listen; `poll()` takes what came."""
        self._subscription = transport.add_subscription(untethered(channel), stream_id)

    def poll(self) -> None:
        """Take what has arrived."""
        for _ in range(_POLLS):
            if self._subscription.poll(self._on_message, _FRAGMENT_LIMIT) < _FRAGMENT_LIMIT:
                return

    def hear(self, message: object, now_ns: int) -> None:
        """Take one message; others than QoS are ignored."""
        if isinstance(message, QosProducer):
            self._on_producer(message, now_ns)
        elif isinstance(message, QosConsumer):
            key = (message.stream_id, message.consumer_id)
            self._consumers[key] = _ConsumerSeen(message, now_ns)

    def summary(self, now_ns: int) -> dict[str, Any]:
        """Return the streams and consumers of recent messages, as plain values for JSON."""
        oldest = now_ns - _SILENCE_NS
        self._producers = {k: seen for k, seen in self._producers.items() if seen.at_ns > oldest}
        self._consumers = {k: seen for k, seen in self._consumers.items() if seen.at_ns > oldest}
        return {
            "streams": {
                str(stream_id): {"rate_hz": seen.rate_hz, "seq": seen.seq}
                for stream_id, seen in self._producers.items()
            },
            "consumers": [
                {
                    "stream_id": stream_id,
                    "client_id": client_id,
                    "drops_gap": seen.message.drops_gap,
                    "drops_late": seen.message.drops_late,
                }
                for (stream_id, client_id), seen in self._consumers.items()
            ],
        }

    def _on_message(self, view: memoryview) -> None:
        try:
            message = decode(view)
        except WireError:
            return
        self.hear(message, time.monotonic_ns())

    def _on_producer(self, message: QosProducer, now_ns: int) -> None:
        """The rate is how far the sequence came since the last time, in the same epoch."""
        before = self._producers.get(message.stream_id)
        rate_hz = None
        if (
            before is not None
            and (before.producer_id, before.epoch) == (message.producer_id, message.epoch)
            and now_ns > before.at_ns
        ):
            rate_hz = (message.current_seq - before.seq) * 1e9 / (now_ns - before.at_ns)
        self._producers[message.stream_id] = _ProducerSeen(
            message.producer_id, message.epoch, message.current_seq, now_ns, rate_hz
        )
