"""Recording ports for the three machines, and grants to feed them with."""

from __future__ import annotations

from typing import Any

from tensor_pool.client.attachment.announce_filter import AcceptedAnnounce
from tensor_pool.client.attachment.connection_machine import DriverConnection
from tensor_pool.client.attachment.grant import Grant, LateGrant
from tensor_pool.client.attachment.identity import Identity
from tensor_pool.client.config import ClientConfig
from tensor_pool.client.consumer.machine import ConsumerMachine
from tensor_pool.client.producer.machine import ProducerMachine
from tensor_pool.protocol.shm.geometry import PoolGeometry, StreamGeometry
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    ClockDomain,
    PublishMode,
    Role,
    ShmAttachRequest,
    ShmDetachRequest,
    ShmLeaseKeepalive,
)

CLIENT_ID = 77
LEASE_ID = 5
STREAM = 10_000
LEASE_NS = 3_000_000_000


def geometry(epoch: int = 3) -> StreamGeometry:
    return StreamGeometry(
        STREAM, epoch, 8, "shm:file?path=/h", (PoolGeometry(1, 8, 64, "shm:file?path=/p"),)
    )


def grant(now: int = 0, *, lease_id: int = LEASE_ID, expires: bool = True) -> Grant:
    return Grant(lease_id, CLIENT_ID, geometry(), now + LEASE_NS if expires else None, now)


def late(*, valid: bool = True, client_id: int = CLIENT_ID, lease_id: int | None = 9) -> LateGrant:
    found = grant(lease_id=lease_id or 0) if valid else None
    return LateGrant(lease_id, STREAM, client_id, found)


class ConnectionRecorder:
    """Records everything as one list of words; sends are refused on demand."""

    def __init__(self) -> None:
        self.time = 1_000_000_000
        self.log: list[Any] = []
        self.sent: list[Any] = []
        self.result = OfferResult.ACCEPTED
        self.armed: dict[Any, int] = {}
        self.attach_deadline_ns: int | None = None
        self.counted: list[str] = []

    def now(self) -> int:
        return self.time

    def send(self, message: Any) -> OfferResult:
        self.sent.append(message)
        words = {
            ShmAttachRequest: "attach",
            ShmDetachRequest: "detach",
            ShmLeaseKeepalive: "keepalive",
        }
        word = words[type(message)]
        if word == "detach":
            word += f" {message.lease_id}"
        self.log.append(word)
        return self.result

    def arm(self, timer: Any, delay_ns: int) -> None:
        self.armed[timer] = delay_ns
        self.log.append(f"arm {timer.name}")

    def disarm(self, timer: Any) -> None:
        if self.armed.pop(timer, None) is not None:
            self.log.append(f"disarm {timer.name}")

    def resolve(self, name: str) -> None:
        self.log.append(f"resolve {name}")

    def start_mapping(self, _: Grant) -> None:
        self.log.append("map")

    def tell_role(self, event: Any, argument: object = None) -> None:
        self.log.append((event.name, argument))

    def refused(self, code: int, text: str) -> None:
        self.log.append(("refused", int(code), text))

    def lease_lost(self, why: str) -> None:
        self.log.append(("lost", why))

    def count(self, counter: str) -> None:
        self.counted.append(counter)


def connection(
    port: ConnectionRecorder,
    *,
    client_id: int = CLIENT_ID,
    stream_name: str = "",
    **settings: Any,
) -> DriverConnection:
    return DriverConnection(
        port,
        ClientConfig(**settings),
        Identity(client_id),
        stream_id=STREAM,
        role=Role.PRODUCER,
        publish_mode=PublishMode.EXISTING_OR_CREATE,
        stream_name=stream_name,
        jitter=lambda: 1.0,
    )


class FakeMapping:
    """As much of a StreamMapping as the machines look at."""

    def __init__(self, epoch: int = 3, announce_timestamp_ns: int = 0) -> None:
        self.epoch = epoch
        self.announce_timestamp_ns = announce_timestamp_ns

    def __repr__(self) -> str:
        return f"mapping {self.epoch}"


class RoleRecorder:
    """The ports of producer and consumer machine."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.counted: list[str] = []
        self.armed: dict[Any, int] = {}
        self.is_closing = False
        self.lease_is_live = True
        self.highest_epoch = 3
        self.invalid: Any = None
        self.map_error: Exception | None = None

    def start_publishing(self, mapping: Any) -> None:
        self.log.append(f"start {mapping.epoch}")

    start_reading = start_publishing

    def stop_publishing(self) -> None:
        self.log.append("stop")

    stop_reading = stop_publishing

    def release(self, mapping: Any) -> None:
        self.log.append(f"release {mapping.epoch}")

    def map_announced(self, announce: AcceptedAnnounce) -> Any:
        self.log.append(f"map {announce.epoch}")
        if self.map_error is not None:
            raise self.map_error
        return FakeMapping(announce.epoch, announce.timestamp_ns)

    def revalidate(self, announce: AcceptedAnnounce) -> Any:
        self.log.append(f"revalidate {announce.epoch}")
        return self.invalid

    def keep_error(self, error: Exception) -> None:
        self.log.append(("error", str(error)))

    def arm(self, timer: Any, delay_ns: int) -> None:
        self.armed[timer] = delay_ns
        self.log.append(f"arm {timer.name}")

    def disarm(self, timer: Any) -> None:
        self.armed.pop(timer, None)

    def tell_connection(self, event: Any, argument: object = None) -> None:
        self.log.append((event.name, argument))

    def call_back(self, name: str, *arguments: object) -> None:
        self.log.append((name, *arguments))

    def count(self, counter: str) -> None:
        self.counted.append(counter)


def announce(epoch: int = 3, timestamp_ns: int = 1000) -> AcceptedAnnounce:
    return AcceptedAnnounce(geometry(epoch), 0, timestamp_ns, ClockDomain.MONOTONIC)


def producer_machine(port: RoleRecorder) -> ProducerMachine:
    return ProducerMachine(port)


def consumer_machine(port: RoleRecorder, **settings: Any) -> ConsumerMachine:
    return ConsumerMachine(port, ClientConfig(**settings), jitter=lambda: 1.0)
