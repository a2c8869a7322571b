"""QosMonitor: makes rates, lag, drops and states from the reports of a pool (S-050 to S-053).

It sends nothing and acts on nothing. `hear` and `do_work` are for its owner, the conductor of a
client or a program that only listens; the rest is for any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.wire import (
    Message,
    QosConsumer,
    QosProducer,
    Role,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
)

from .endpoint import EndpointEvent, QosEndpoint, QosLimits, Report
from .rate import Rate
from .snapshot import ConsumerQos, ProducerQos, QosChange, QosSnapshot, StreamQos

__all__ = ["QosMonitor"]

_SILENT_INTERVALS = 3
_EXPIRY_NS = 30_000_000_000
_MAX_ENDPOINTS = 65536

type _Changed = Callable[[QosChange], object]


class _Endpoint:
    """One producer or consumer with its machine; the port of the machine."""

    def __init__(self, monitor: QosMonitor, stream_id: int, client_id: int, role: str) -> None:
        self._monitor = monitor
        self.stream_id = stream_id
        self.client_id = client_id
        self.is_producer = role == "producer"
        self.received_ns = 0
        self.rate = Rate()
        self.report: QosProducer | QosConsumer | None = None
        self.lag: int | None = None
        self.machine = QosEndpoint(self, monitor.limits)

    @property
    def state(self) -> str:
        return self.machine.current.name

    def entered(self, state: str) -> None:
        change = QosChange(self.stream_id, self.client_id, self.is_producer, state)
        self._monitor._changes.append(change)

    def count(self, counter: str) -> None:
        self._monitor.counters.inc(counter)


class QosMonitor:
    """The QoS of a pool; made by `pool.qos()`, close it or use it in a `with` block.

    `interval` is the QoS interval of the pool in s: three without a report make an endpoint Silent.
    """

    def __init__(
        self,
        *,
        limits: QosLimits | None = None,
        interval: float = 1.0,
        end: Callable[[QosMonitor], object] = lambda _: None,
    ) -> None:
        self.limits = limits if limits is not None else QosLimits()
        self.counters = Counters(["qos_unhandled"])
        self._silence_ns = round(_SILENT_INTERVALS * interval * 1e9)
        self._end = end
        self._lock = threading.Lock()
        self._nslots: dict[int, int] = {}
        self._producers: dict[int, _Endpoint] = {}
        self._consumers: dict[tuple[int, int], _Endpoint] = {}
        self._listeners: list[_Changed] = []
        self._changes: list[QosChange] = []
        self._now_ns = 0

    # -- for its owner

    def hear(self, message: Message, now_ns: int) -> None:
        """Take a report, an announce or the end of a lease; other messages are ignored."""
        with self._lock:
            match message:
                case QosProducer():
                    self._on_producer(message, now_ns)
                case QosConsumer():
                    self._on_consumer(message, now_ns)
                case ShmLeaseRevoked():
                    self._on_lease_ended(message)
                case ShmPoolAnnounce():
                    if len(self._nslots) < _MAX_ENDPOINTS or message.stream_id in self._nslots:
                        self._nslots[message.stream_id] = message.header_nslots

    def do_work(self, now_ns: int) -> int:
        """Let endpoints grow silent and old, report what changed; returns how much was done."""
        with self._lock:
            self._now_ns = now_ns
            for endpoint in self._endpoints():
                silent_ns = now_ns - endpoint.received_ns
                if silent_ns >= self._silence_ns and endpoint.machine.is_in(QosEndpoint.Alive):
                    endpoint.machine.dispatch(EndpointEvent.SILENCE_DUE)
                if silent_ns >= _EXPIRY_NS and endpoint.machine.is_in(QosEndpoint.Silent):
                    endpoint.machine.dispatch(EndpointEvent.EXPIRY_DUE)
                    self._forget(endpoint)
            changes, self._changes = self._changes, []
            listeners = list(self._listeners)
        for change in changes:
            for listener in listeners:
                listener(change)
        return len(changes)

    # -- for applications

    def snapshot(self) -> QosSnapshot:
        """Return the producers and consumers as they are known now."""
        with self._lock:
            ids = {stream_id for stream_id, _ in self._consumers} | self._producers.keys()
            return QosSnapshot(tuple(self._stream(stream_id) for stream_id in sorted(ids)))

    def on_change(self, callback: Callable[[QosChange], object]) -> None:
        """Call `callback` with every state that an endpoint enters, in the conductor's thread."""
        with self._lock:
            self._listeners.append(callback)

    def close(self) -> None:
        """Stop listening; may be called again."""
        self._end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reports

    def _on_producer(self, report: QosProducer, now_ns: int) -> None:
        endpoint = self._producers.get(report.stream_id)
        if endpoint is None or endpoint.client_id != report.producer_id:
            if endpoint is None and self._is_full():
                return
            endpoint = _Endpoint(self, report.stream_id, report.producer_id, "producer")
            self._producers[report.stream_id] = endpoint
        before = endpoint.report
        if before is not None and before.epoch != report.epoch:
            endpoint.rate = Rate()
        endpoint.rate.add(now_ns, report.current_seq)
        endpoint.report = report
        endpoint.received_ns = now_ns
        endpoint.machine.dispatch(EndpointEvent.REPORT, Report())

    def _on_consumer(self, report: QosConsumer, now_ns: int) -> None:
        key = (report.stream_id, report.consumer_id)
        endpoint = self._consumers.get(key)
        if endpoint is None:
            if self._is_full():
                return
            endpoint = _Endpoint(self, *key, "consumer")
            self._consumers[key] = endpoint
        before, endpoint.report = endpoint.report, report
        drops = report.drops_gap + report.drops_late
        endpoint.rate.add(now_ns, drops)
        endpoint.lag = self._lag_of(report)
        endpoint.received_ns = now_ns
        dropped = taken = 0
        if isinstance(before, QosConsumer):
            dropped = max(0, drops - before.drops_gap - before.drops_late)
            if before.epoch == report.epoch:
                taken = max(0, report.last_seq_seen - before.last_seq_seen - dropped)
        nslots = self._nslots.get(report.stream_id, 0)
        endpoint.machine.dispatch(
            EndpointEvent.REPORT, Report(dropped, taken, endpoint.lag, nslots)
        )

    def _on_lease_ended(self, notice: ShmLeaseRevoked) -> None:
        if notice.role == Role.PRODUCER:
            endpoint = self._producers.get(notice.stream_id)
        else:
            endpoint = self._consumers.get((notice.stream_id, notice.client_id))
        if endpoint is not None and endpoint.client_id == notice.client_id:
            endpoint.machine.dispatch(EndpointEvent.LEASE_ENDED)
            self._forget(endpoint)

    def _lag_of(self, report: QosConsumer) -> int | None:
        producer = self._producers.get(report.stream_id)
        if producer is None or not isinstance(producer.report, QosProducer):
            return None
        if producer.report.epoch != report.epoch:
            return None
        return max(0, producer.report.current_seq - 1 - report.last_seq_seen)

    # -- endpoints

    def _endpoints(self) -> list[_Endpoint]:
        return [*self._producers.values(), *self._consumers.values()]

    def _is_full(self) -> bool:
        return len(self._producers) + len(self._consumers) >= _MAX_ENDPOINTS

    def _forget(self, endpoint: _Endpoint) -> None:
        if endpoint.is_producer:
            del self._producers[endpoint.stream_id]
        else:
            del self._consumers[endpoint.stream_id, endpoint.client_id]

    def _stream(self, stream_id: int) -> StreamQos:
        producer = self._producers.get(stream_id)
        consumers = sorted(
            (each for each in self._consumers.values() if each.stream_id == stream_id),
            key=lambda each: each.client_id,
        )
        return StreamQos(
            stream_id=stream_id,
            nslots=self._nslots.get(stream_id, 0),
            producer=self._producer_of(producer) if producer is not None else None,
            consumers=tuple(self._consumer_of(each) for each in consumers),
        )

    def _age_s(self, endpoint: _Endpoint) -> float:
        return max(0, self._now_ns - endpoint.received_ns) / 1e9

    def _producer_of(self, endpoint: _Endpoint) -> ProducerQos:
        report = endpoint.report
        assert isinstance(report, QosProducer)
        return ProducerQos(
            client_id=endpoint.client_id,
            epoch=report.epoch,
            current_seq=report.current_seq,
            rate_hz=endpoint.rate.per_second,
            age_s=self._age_s(endpoint),
            state=endpoint.state,
        )

    def _consumer_of(self, endpoint: _Endpoint) -> ConsumerQos:
        report = endpoint.report
        assert isinstance(report, QosConsumer)
        return ConsumerQos(
            client_id=endpoint.client_id,
            mode=str(getattr(report.mode, "name", report.mode)),
            epoch=report.epoch,
            last_seq=report.last_seq_seen,
            lag=endpoint.lag,
            drops_gap=report.drops_gap,
            drops_late=report.drops_late,
            drops_per_s=endpoint.rate.per_second,
            age_s=self._age_s(endpoint),
            state=endpoint.state,
        )
