"""The state of a pool, from the messages on its Aeron streams.

The driver announces epochs and ends of leases, clients send keepalives, producers and consumers
send their positions. Together that is most of the state of the driver, for any driver of the
protocol. No message has the states of the driver's machines, streams without an epoch, and
attachments that were silent meanwhile: these are not known.
"""

from __future__ import annotations

import time
from collections import deque

import msgspec

from tensor_pool.client.bridge_origin import BRIDGE_ATTRIBUTE, BridgeOrigin, read_origin
from tensor_pool.client.qos.monitor import QosMonitor
from tensor_pool.protocol.wire import (
    ConsumerHello,
    DataSourceAnnounce,
    DataSourceMeta,
    LeaseRevokeReason,
    Message,
    Mode,
    QosConsumer,
    QosProducer,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
)
from tensor_pool.protocol.wire.names import ClientName

__all__ = ["ConsumerSeen", "EventSeen", "LeaseSeen", "Observation", "StreamSeen"]

_EVENTS_KEPT = 200
_REQUESTS_KEPT = 1024
_CLIENTS_KEPT = 4096


class StreamSeen(msgspec.Struct):
    """One stream; times are monotonic ns of hearing."""

    stream_id: int
    epoch: int = 0
    producer_id: int = 0
    header_nslots: int = 0
    strides_bytes: tuple[int, ...] = ()
    uris: tuple[str, ...] = ()
    announced_ns: int = 0
    name: str = ""
    last_seq: int | None = None
    bridged: BridgeOrigin | None = None


class ConsumerSeen(msgspec.Struct):
    """One consumer, from its hello and its QoS."""

    stream_id: int
    consumer_id: int
    heard_ns: int
    mode: str = Mode.STREAM.name
    max_rate_hz: int = 0
    epoch: int = 0
    last_seq: int = 0
    drops_gap: int | None = None
    drops_late: int | None = None


class LeaseSeen(msgspec.Struct):
    """One lease; `expiry_ns` is as granted, `heard_ns` its last keepalive."""

    lease_id: int
    stream_id: int
    client_id: int
    role: str
    heard_ns: int
    expiry_ns: int | None = None


class EventSeen(msgspec.Struct, frozen=True):
    """Something that changed; `at` is wall-clock time in s."""

    at: float
    text: str


class Observation:
    """The state from all messages so far. A lease is dropped after `forget_after_ns` of silence."""

    def __init__(self, forget_after_ns: int) -> None:
        self._forget_after_ns = forget_after_ns
        self.qos = QosMonitor()
        self._requests: dict[int, ShmAttachRequest] = {}
        self.streams: dict[int, StreamSeen] = {}
        self.leases: dict[int, LeaseSeen] = {}
        self.consumers: dict[tuple[int, int], ConsumerSeen] = {}
        self.clients: dict[int, str] = {}  # names of clients by their ids
        self.events: deque[EventSeen] = deque(maxlen=_EVENTS_KEPT)
        self.driver_heard_ns = 0
        self.shutdown: ShmDriverShutdown | None = None
        self.answers: dict[int, int] = {}  # detach responses: correlation id to time of hearing

    def hear(self, message: Message, now_ns: int) -> None:
        """Take one message."""
        self.qos.hear(message, now_ns)
        match message:
            case ShmPoolAnnounce():
                self._on_announce(message, now_ns)
            case ShmLeaseKeepalive():
                self._on_keepalive(message, now_ns)
            case QosProducer():
                stream = self._stream(message.stream_id)
                stream.last_seq = message.current_seq - 1
            case QosConsumer():
                consumer = self._consumer(message.stream_id, message.consumer_id, now_ns)
                consumer.mode = message.mode.name
                consumer.epoch = message.epoch
                consumer.last_seq = message.last_seq_seen
                consumer.drops_gap, consumer.drops_late = message.drops_gap, message.drops_late
            case ConsumerHello():
                consumer = self._consumer(message.stream_id, message.consumer_id, now_ns)
                consumer.max_rate_hz = message.max_rate_hz
            case DataSourceAnnounce(stream_id=0):  # the name of a client (S-046)
                if len(self.clients) >= _CLIENTS_KEPT:
                    self.clients.clear()
                self.clients[message.producer_id] = str(ClientName.from_announce(message))
            case DataSourceAnnounce():
                self._stream(message.stream_id).name = message.name
            case DataSourceMeta():
                values = {a.key: a.value for a in message.attributes}
                self._stream(message.stream_id).bridged = read_origin(
                    values.get(BRIDGE_ATTRIBUTE, b"")
                )
            case ShmAttachRequest():
                if len(self._requests) >= _REQUESTS_KEPT:
                    self._requests.clear()
                self._requests[message.correlation_id] = message
            case ShmAttachResponse():
                self._on_attach_response(message, now_ns)
            case ShmLeaseRevoked():
                self._on_revoked(message, now_ns)
            case ShmDetachResponse():
                self._hear_driver(now_ns)
                self.answers[message.correlation_id] = now_ns
            case ShmDriverShutdown():
                self._on_shutdown(message)

    def forget_the_silent(self, now_ns: int) -> None:
        """Drop leases and consumers that were silent for too long; let time pass for the others."""
        self.qos.do_work(now_ns)
        limit = now_ns - self._forget_after_ns
        for lease_id, lease in list(self.leases.items()):
            if lease.heard_ns < limit:
                del self.leases[lease_id]
        for key, consumer in list(self.consumers.items()):
            if consumer.heard_ns < limit:
                del self.consumers[key]

    def _on_announce(self, announce: ShmPoolAnnounce, now_ns: int) -> None:
        self._hear_driver(now_ns)
        stream = self._stream(announce.stream_id)
        if announce.epoch != stream.epoch:
            before = f"{stream.epoch} -> " if stream.epoch else ""
            self._note(f"stream {announce.stream_id}: epoch {before}{announce.epoch}")
        if announce.producer_id != stream.producer_id:
            who = f"client {announce.producer_id}" if announce.producer_id else "none"
            self._note(f"stream {announce.stream_id}: producer {who}")
        stream.epoch = announce.epoch
        stream.producer_id = announce.producer_id
        stream.header_nslots = announce.header_nslots
        stream.strides_bytes = tuple(pool.stride_bytes for pool in announce.payload_pools)
        stream.uris = (
            announce.header_region_uri,
            *(pool.region_uri for pool in announce.payload_pools),
        )
        stream.announced_ns = now_ns

    def _on_keepalive(self, keepalive: ShmLeaseKeepalive, now_ns: int) -> None:
        lease = self.leases.get(keepalive.lease_id)
        if lease is None:
            self.leases[keepalive.lease_id] = LeaseSeen(
                keepalive.lease_id,
                keepalive.stream_id,
                keepalive.client_id,
                keepalive.role.name,
                now_ns,
            )
        else:
            lease.heard_ns = now_ns
            lease.expiry_ns = None  # moved by the driver, who does not say where to

    def _on_attach_response(self, response: ShmAttachResponse, now_ns: int) -> None:
        self._hear_driver(now_ns)
        request = self._requests.pop(response.correlation_id, None)
        if request is None:
            self._note(_response_alone(response))
            return
        role = Role(request.role).name if request.role in set(Role) else str(request.role)
        who = f"{role.lower()} {request.client_id}"
        if response.code is not ResponseCode.OK or response.lease_id is None:
            self._note(f"stream {request.stream_id}: {who} refused: {response.error_message}")
            return
        stream_id = response.stream_id or request.stream_id
        self._note(f"stream {stream_id}: lease {response.lease_id} granted to {who}")
        self.leases[response.lease_id] = LeaseSeen(
            response.lease_id,
            stream_id,
            request.client_id,
            role,
            now_ns,
            response.lease_expiry_timestamp_ns,
        )

    def _on_revoked(self, notice: ShmLeaseRevoked, now_ns: int) -> None:
        self._hear_driver(now_ns)
        self.leases.pop(notice.lease_id, None)
        self.consumers.pop((notice.stream_id, notice.client_id), None)
        reason = LeaseRevokeReason(notice.reason).name.lower()
        text = f": {notice.error_message}" if notice.error_message else ""
        self._note(
            f"stream {notice.stream_id}: lease {notice.lease_id} of {notice.role.name.lower()}"
            f" {notice.client_id} ended, {reason}{text}"
        )

    def _hear_driver(self, now_ns: int) -> None:
        self.driver_heard_ns = now_ns
        self.shutdown = None  # a stopped driver sends nothing, so this is the next one

    def _on_shutdown(self, notice: ShmDriverShutdown) -> None:
        self.shutdown = notice
        self.driver_heard_ns = 0
        self.leases.clear()
        self.consumers.clear()
        text = f": {notice.error_message}" if notice.error_message else ""
        self._note(f"driver: shut down, {notice.reason.name.lower()}{text}")

    def _stream(self, stream_id: int) -> StreamSeen:
        return self.streams.setdefault(stream_id, StreamSeen(stream_id))

    def _consumer(self, stream_id: int, consumer_id: int, now_ns: int) -> ConsumerSeen:
        key = (stream_id, consumer_id)
        consumer = self.consumers.setdefault(key, ConsumerSeen(stream_id, consumer_id, now_ns))
        consumer.heard_ns = now_ns
        return consumer

    def _note(self, text: str) -> None:
        self.events.append(EventSeen(time.time(), text))


def _response_alone(response: ShmAttachResponse) -> str:
    """Read a response without its request: a client's first message may come before its
    publication is connected here."""
    if response.code is ResponseCode.OK:
        return f"stream {response.stream_id}: lease {response.lease_id} granted"
    return f"an attach was refused: {response.error_message}"
