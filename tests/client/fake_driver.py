"""A driver small enough to misbehave on command, on real region files and any transport."""

from __future__ import annotations

import contextlib
import mmap
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.shm.geometry import PoolGeometry, StreamGeometry
from tensor_pool.protocol.shm.superblock import encode_superblock
from tensor_pool.protocol.shm.uri import format_region_uri
from tensor_pool.protocol.transport.ports import Transport
from tensor_pool.protocol.wire import (
    ClockDomain,
    ConsumerConfig,
    ConsumerHello,
    LeaseRevokeReason,
    Message,
    PayloadPool,
    QosConsumer,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
    WireError,
    decode,
    encode,
)
from tensor_pool.protocol.wire.stream_pairs import STREAM_WIDE_TOKEN

CHANNEL = "aeron:ipc?term-length=4m"
LEASE_NS = 3_000_000_000
DEFAULT_POOLS = ((1, 1024), (2, 65536))


def decline(hello: ConsumerHello) -> ConsumerConfig:
    """The answer of a driver without ids to assign."""
    return ConsumerConfig(
        stream_id=hello.stream_id, consumer_id=hello.consumer_id, use_shm=True, mode=hello.mode
    )


class Lease(msgspec.Struct):
    lease_id: int
    stream_id: int
    client_id: int
    role: Role


class FakeStream:
    """A stream's current epoch and the files of all its epochs."""

    def __init__(
        self, base: Path, stream_id: int, nslots: int, pools: tuple[tuple[int, int], ...]
    ) -> None:
        self.base = base
        self.stream_id = stream_id
        self.nslots = nslots
        self.pools = pools
        self.epoch = 0
        self.pid = 4242
        self.geometry: StreamGeometry

    def new_epoch(self, now_ns: int, epoch: int | None = None) -> None:
        """Make its files before it is the current one: another thread may refresh meanwhile."""
        epoch = self.epoch + 1 if epoch is None else epoch
        directory = self.base / str(self.stream_id) / str(epoch)
        directory.mkdir(parents=True)
        geometry = StreamGeometry(
            stream_id=self.stream_id,
            epoch=epoch,
            header_nslots=self.nslots,
            header_uri=format_region_uri(str(directory / "header.ring")),
            pools=tuple(
                PoolGeometry(
                    pool_id,
                    self.nslots,
                    stride,
                    format_region_uri(str(directory / f"{pool_id}.pool")),
                )
                for pool_id, stride in self.pools
            ),
        )
        for (region, _), path in zip(geometry.regions(), self._paths(epoch), strict=True):
            with path.open("wb") as file:
                file.truncate(region.length_bytes)
                file.write(encode_superblock(region, pid=self.pid, now_ns=now_ns))
        self.geometry, self.epoch = geometry, epoch

    def paths(self) -> list[Path]:
        return self._paths(self.epoch)

    def _paths(self, epoch: int) -> list[Path]:
        directory = self.base / str(self.stream_id) / str(epoch)
        return [directory / "header.ring", *(directory / f"{p}.pool" for p, _ in self.pools)]

    def poke(self, region: int, offset: int, data: bytes) -> None:
        """Overwrite bytes of a region file: 0 is the header ring, then the pools."""
        with self.paths()[region].open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            memory[offset : offset + len(data)] = data

    def peek(self, region: int, offset: int, length: int) -> bytes:
        return self.paths()[region].read_bytes()[offset : offset + length]

    def refresh(self, now_ns: int) -> None:
        for region in range(1 + len(self.pools)):
            self.poke(region, 56, now_ns.to_bytes(8, "little"))


class FakeDriver:
    """Answers attaches, keeps leases, announces every second; each part can be switched off."""

    def __init__(self, transport: Transport, clock: SimulatedClock, base: Path) -> None:
        self.transport = transport
        self.clock = clock
        self.base = base
        self.streams: dict[int, FakeStream] = {}
        self.leases: dict[int, Lease] = {}
        self.received: list[Message] = []
        self.silent = False
        self.announces = True
        self.refreshes = True
        self.refusal: tuple[ResponseCode, str] | None = None
        self.change_response: Callable[[ShmAttachResponse], Message | bytes] = lambda r: r
        self.answers_detach = True
        # A driver without ids for descriptor streams declines; None: no answer at all.
        self.assigns: Callable[[ConsumerHello], ConsumerConfig] | None = decline
        self.lease_ns: int | None = LEASE_NS
        self._next_lease_id = 100
        self._next_announce_ns = clock.monotonic_ns()
        self._control = transport.add_publication(CHANNEL, 1000)
        self._subscription = transport.add_subscription(CHANNEL, 1000)
        self._qos = transport.add_subscription(CHANNEL, 1200)
        self.other_publications: dict[int, object] = {}

    def add_stream(
        self,
        stream_id: int,
        nslots: int = 8,
        pools: tuple[tuple[int, int], ...] = DEFAULT_POOLS,
    ) -> FakeStream:
        stream = FakeStream(self.base, stream_id, nslots, pools)
        stream.new_epoch(self.clock.monotonic_ns())
        self.streams[stream_id] = stream
        return stream

    # What was received

    def requests[M: Message](self, kind: type[M]) -> list[M]:
        return [message for message in self.received if isinstance(message, kind)]

    @property
    def attach_requests(self) -> list[ShmAttachRequest]:
        return self.requests(ShmAttachRequest)

    @property
    def detach_requests(self) -> list[ShmDetachRequest]:
        return self.requests(ShmDetachRequest)

    @property
    def keepalives(self) -> list[ShmLeaseKeepalive]:
        return self.requests(ShmLeaseKeepalive)

    @property
    def hellos(self) -> list[ConsumerHello]:
        return self.requests(ConsumerHello)

    @property
    def reports(self) -> list[QosConsumer]:
        return self.requests(QosConsumer)

    def lease_of(self, client_id: int) -> Lease:
        return next(lease for lease in self.leases.values() if lease.client_id == client_id)

    # Work

    def send(self, message: Message | bytes) -> None:
        data = message if isinstance(message, bytes) else encode(message, checked=False)
        self._control.offer(data)

    def do_work(self) -> None:
        for subscription in (self._subscription, self._qos):
            subscription.poll(self._hear, 1000)
        handled = getattr(self, "_handled", 0)
        for message in self.received[handled:]:
            if not self.silent:
                self._handle(message)
        self._handled = len(self.received)
        now = self.clock.monotonic_ns()
        if now >= self._next_announce_ns:
            self._next_announce_ns = now + 1_000_000_000
            for stream in self.streams.values():
                if self.refreshes:
                    stream.refresh(now)
                if self.announces:
                    self.announce(stream)

    def _hear(self, buffer: memoryview) -> None:
        with contextlib.suppress(WireError):
            self.received.append(decode(bytes(buffer)))

    def _handle(self, message: Message) -> None:
        if isinstance(message, ShmAttachRequest):
            self._on_attach(message)
        elif isinstance(message, ShmDetachRequest):
            self._on_detach(message)
        elif isinstance(message, ConsumerHello) and (
            message.descriptor_stream_id == STREAM_WIDE_TOKEN and self.assigns is not None
        ):
            self.send(self.assigns(message))

    def _on_attach(self, request: ShmAttachRequest) -> None:
        if self.refusal is not None:
            code, text = self.refusal
            self.send(
                self._changed(
                    ShmAttachResponse(
                        correlation_id=request.correlation_id, code=code, error_message=text
                    )
                )
            )
            return
        stream_id = request.stream_id or 20_000
        if stream_id not in self.streams:
            self.add_stream(stream_id)
        stream = self.streams[stream_id]
        if request.role is Role.PRODUCER:
            stream.new_epoch(self.clock.monotonic_ns())
        self._next_lease_id += 1
        lease = Lease(self._next_lease_id, stream_id, request.client_id, Role(request.role))
        self.leases[lease.lease_id] = lease
        self.send(self._changed(self.response(request.correlation_id, lease)))
        if request.role is Role.PRODUCER and self.announces:
            self.announce(stream)

    def _changed(self, response: ShmAttachResponse) -> Message | bytes:
        return self.change_response(response)

    def response(self, correlation_id: int, lease: Lease) -> ShmAttachResponse:
        geometry = self.streams[lease.stream_id].geometry
        expiry = None
        if self.lease_ns is not None:
            expiry = self.clock.monotonic_ns() + self.lease_ns
        return ShmAttachResponse(
            correlation_id=correlation_id,
            code=ResponseCode.OK,
            lease_id=lease.lease_id,
            lease_expiry_timestamp_ns=expiry,
            stream_id=lease.stream_id,
            epoch=geometry.epoch,
            layout_version=1,
            header_nslots=geometry.header_nslots,
            header_slot_bytes=256,
            payload_pools=tuple(
                PayloadPool(p.pool_id, p.nslots, p.stride_bytes, p.uri) for p in geometry.pools
            ),
            header_region_uri=geometry.header_uri,
        )

    def _on_detach(self, request: ShmDetachRequest) -> None:
        lease = self.leases.pop(request.lease_id, None)
        if lease is not None and self.answers_detach:
            self.notice(lease, LeaseRevokeReason.DETACHED)
            if lease.role is Role.PRODUCER:
                stream = self.streams[lease.stream_id]
                stream.new_epoch(self.clock.monotonic_ns())
                self.announce(stream)
        if self.answers_detach:
            code = ResponseCode.OK if lease is not None else ResponseCode.REJECTED
            self.send(ShmDetachResponse(correlation_id=request.correlation_id, code=code))

    # Messages that a driver sends by itself

    def announce(self, stream: FakeStream, **changes: object) -> None:
        self.send(msgspec.structs.replace(self.announcement(stream), **changes))

    def announcement(self, stream: FakeStream) -> ShmPoolAnnounce:
        geometry = stream.geometry
        producer = next(
            (
                lease.client_id
                for lease in self.leases.values()
                if lease.stream_id == stream.stream_id and lease.role is Role.PRODUCER
            ),
            0,
        )
        return ShmPoolAnnounce(
            stream_id=stream.stream_id,
            producer_id=producer,
            epoch=geometry.epoch,
            announce_timestamp_ns=self.clock.monotonic_ns(),
            announce_clock_domain=ClockDomain.MONOTONIC,
            layout_version=1,
            header_nslots=geometry.header_nslots,
            header_slot_bytes=256,
            payload_pools=tuple(
                PayloadPool(p.pool_id, p.nslots, p.stride_bytes, p.uri) for p in geometry.pools
            ),
            header_region_uri=geometry.header_uri,
        )

    def notice(
        self,
        lease: Lease,
        reason: LeaseRevokeReason = LeaseRevokeReason.REVOKED,
        text: str = "",
        **changes: object,
    ) -> None:
        notice = ShmLeaseRevoked(
            timestamp_ns=self.clock.monotonic_ns(),
            lease_id=lease.lease_id,
            stream_id=lease.stream_id,
            client_id=lease.client_id,
            role=lease.role,
            reason=reason,
            error_message=text,
        )
        self.send(msgspec.structs.replace(notice, **changes))

    def revoke(self, lease: Lease, text: str = "") -> None:
        """End a lease as the driver does: forget it, say so, and for a producer raise the epoch."""
        self.leases.pop(lease.lease_id, None)
        self.notice(lease, text=text)
        if lease.role is Role.PRODUCER:
            stream = self.streams[lease.stream_id]
            stream.new_epoch(self.clock.monotonic_ns())
            self.announce(stream)

    def shut_down(self) -> None:
        self.leases.clear()
        self.send(
            ShmDriverShutdown(timestamp_ns=self.clock.monotonic_ns(), reason=ShutdownReason.NORMAL)
        )

    def remove_files(self) -> None:
        shutil.rmtree(self.base, ignore_errors=True)


def lines_of_maps(path: Path) -> Iterator[str]:
    """The mappings of this process below a directory."""
    with Path("/proc/self/maps").open() as maps:
        yield from (line for line in maps if str(path) in line)
