"""A small driver of the protocol, for the checks of producers and consumers.

It is written from the specification on raw Aeron and raw memory, for one tensor stream, and shares
no code with the real driver. Subclasses change single methods to behave like other drivers do, or
to break a rule.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import msgspec

from tensor_pool.protocol.wire import (
    ClockDomain,
    ConsumerConfig,
    ConsumerHello,
    LeaseRevokeReason,
    Message,
    Mode,
    PayloadPool,
    PublishMode,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmDriverShutdownRequest,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
    WireError,
    decode,
    peek_correlation_id,
    peek_header,
)

from .bus import Bus, Heard
from .regions import MAGIC, Regions

__all__ = ["StandInDriver", "StandInLease", "StandInOptions"]

_LAST_STREAM = 2**31 - 1


class StandInOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of a stand-in: times in seconds, sizes in bytes."""

    stream_id: int = 10_000
    nslots: int = 64
    strides: tuple[int, ...] = (4096,)
    lease_s: float = 3.0
    announce_period_s: float = 1.0
    drain_s: float = 1.0
    descriptor_range: tuple[int, int] | None = (31_000, 31_999)
    control_range: tuple[int, int] | None = (32_000, 32_999)
    token: str = ""


class StandInLease(msgspec.Struct):
    """A lease in force."""

    lease_id: int
    client_id: int
    role: Role
    node_id: int
    correlation_id: int
    expiry_ns: int
    descriptors: int = 0
    controls: int = 0


class StandInDriver:
    """Serves one stream; its control stream also carries the announces. Call `work()` often."""

    def __init__(
        self, bus: Bus, control: tuple[str, int], base_dir: Path, options: StandInOptions
    ) -> None:
        self.bus = bus
        self.control = control
        self.base_dir = base_dir
        self.options = options
        self.leases: dict[int, StandInLease] = {}
        self.epoch = 0
        self.regions: Regions | None = None
        self.draining_until_ns: int | None = None
        self.stopped = False
        self._first_lease = self._next_lease = int(time.time()) % 2**31 << 32 | 1
        self._next_node = 1
        self._nodes: dict[int, int] = {}  # the last node id of each client
        self._answered: set[int] = set()
        self._next_announce_ns = 0
        self._read = len(bus.heard)
        self._stop = (ShutdownReason.NORMAL, "")
        bus.listen(*control)

    # The duty cycle

    def work(self) -> None:
        """Handle what has arrived, then what is due."""
        self.bus.poll()
        while self._read < len(self.bus.heard):
            heard = self.bus.heard[self._read]
            self._read += 1
            if (heard.channel, heard.stream_id) == self.control and not self.stopped:
                self.on_message(heard)
        if self.stopped:
            return
        now = time.monotonic_ns()
        for lease in [one for one in self.leases.values() if now > one.expiry_ns]:
            self.end(lease, LeaseRevokeReason.EXPIRED, "lease expired")
        if now >= self._next_announce_ns:
            self._next_announce_ns = now + round(self.options.announce_period_s * 1e9)
            if self.regions is not None:
                self.refresh()
                self.announce()
        if self.draining_until_ns is not None and (now > self.draining_until_ns or not self.leases):
            self.stopped = True
            self.send(ShmDriverShutdown(now, *self._stop))

    def close(self) -> None:
        """Unmap and remove the regions, with the directories that are empty then."""
        if self.regions is not None:
            self.regions.close()
            self.regions = None
        directory = self._stream_directory()
        shutil.rmtree(directory, ignore_errors=True)
        for above in list(directory.parents)[:2]:
            with contextlib.suppress(OSError):  # another run is using it
                above.rmdir()

    # Messages

    def on_message(self, heard: Heard) -> None:
        """Act on one message of the control stream."""
        try:
            message: Message | None = decode(heard.data, raw_enums=True)
        except WireError:
            message = None
            if len(heard.data) >= 8:
                header = peek_header(heard.data)
                correlation = peek_correlation_id(heard.data)
                if (header.schema_id, header.template_id) == (901, 1) and header.version > 1:
                    self._refuse(correlation, "UNSUPPORTED", "unsupported driver schema version")
        match message:
            case ShmAttachRequest():
                self.on_attach(message)
            case ShmDetachRequest():
                self.on_detach(message)
            case ShmLeaseKeepalive():
                self.on_keepalive(message)
            case ConsumerHello():
                self.on_hello(message)
            case ShmDriverShutdownRequest() if self._token_fits(message.token):
                self.on_shutdown(message)

    def on_attach(self, request: ShmAttachRequest) -> None:
        """Refuse or grant."""
        holder = self._held_by(request.client_id)
        if (
            holder is not None
            and self.draining_until_ns is None
            and (holder.correlation_id, holder.role) == (request.correlation_id, request.role)
        ):
            return
        refusal = self.refusal(request)
        if refusal is not None:
            self._refuse(request.correlation_id, *refusal)
            return
        producer = request.role == Role.PRODUCER
        if self.regions is None or producer:
            self.new_epoch()
        lease = StandInLease(
            self._next_lease,
            request.client_id,
            Role(request.role),
            request.desired_node_id or self._nodes.get(request.client_id, self._next_node),
            request.correlation_id,
            self.expiry(),
        )
        self._next_lease += 1
        self._next_node = max(self._next_node, lease.node_id) + 1
        self._nodes[lease.client_id] = lease.node_id
        self.leases[lease.lease_id] = lease
        self.send(self.grant(lease))
        self.announce()

    def refusal(self, request: ShmAttachRequest) -> tuple[str, str] | None:
        """Return the code and text of the first rule that a request breaks (D-070)."""
        rules = (
            (self.draining_until_ns is not None, "REJECTED", "driver draining"),
            (request.role not in tuple(Role), "INVALID_PARAMS", "unknown role"),
            (request.client_id == 0, "INVALID_PARAMS", "client_id must be non-zero"),
            (
                request.publish_mode not in (None, *PublishMode),
                "UNSUPPORTED",
                "unsupported publish_mode",
            ),
            (request.require_hugepages > 2, "INVALID_PARAMS", "unknown hugepages policy"),
            (self._held_by(request.client_id), "REJECTED", "client_id already attached"),
            (
                request.stream_id != self.options.stream_id,
                "REJECTED",
                "stream not provisioned",
            ),
            (
                request.expected_layout_version not in (0, 1),
                "REJECTED",
                "layout_version mismatch",
            ),
            (
                request.role == Role.PRODUCER and self.producer(),
                "REJECTED",
                "producer already attached",
            ),
            (
                request.publish_mode != PublishMode.EXISTING_OR_CREATE and self.regions is None,
                "REJECTED",
                "stream not provisioned",
            ),
            (
                request.desired_node_id in [one.node_id for one in self.leases.values()],
                "REJECTED",
                "node_id unavailable",
            ),
        )
        return next(((code, text) for broken, code, text in rules if broken), None)

    def grant(self, lease: StandInLease) -> ShmAttachResponse:
        """Return the OK answer for a lease."""
        return ShmAttachResponse(
            lease.correlation_id,
            ResponseCode.OK,
            lease.lease_id,
            lease.expiry_ns,
            self.options.stream_id,
            self.epoch,
            1,
            self.options.nslots,
            256,
            lease.node_id,
            self.pools(),
            self._uri("header.ring"),
        )

    def on_detach(self, request: ShmDetachRequest) -> None:
        """End a lease that fits, and answer."""
        lease = self._fitting(request)
        if lease is not None:
            self.end(lease, LeaseRevokeReason.DETACHED, "lease detached")
            self.send(ShmDetachResponse(request.correlation_id, ResponseCode.OK))
        else:
            self.send(
                ShmDetachResponse(request.correlation_id, ResponseCode.REJECTED, "unknown lease")
            )

    def on_keepalive(self, keepalive: ShmLeaseKeepalive) -> None:
        """Extend a lease that fits; answer for one that was never granted (D-084)."""
        lease = self._fitting(keepalive)
        if lease is not None:
            lease.expiry_ns = self.expiry()
        elif not (
            self._first_lease <= keepalive.lease_id < self._next_lease
            or keepalive.lease_id in self._answered
        ):
            self._answered.add(keepalive.lease_id)
            self.send(self.foreign_notice(keepalive))

    def foreign_notice(self, keepalive: ShmLeaseKeepalive) -> ShmLeaseRevoked:
        """Return the notice for a keepalive of a lease that this driver never granted."""
        return ShmLeaseRevoked(
            time.monotonic_ns(),
            keepalive.lease_id,
            keepalive.stream_id,
            keepalive.client_id,
            keepalive.role,
            LeaseRevokeReason.REVOKED,
            "unknown lease",
        )

    def on_hello(self, hello: ConsumerHello) -> None:
        """Answer a request for private streams of a consumer with a lease (D-166 to D-169)."""
        lease = self._held_by(hello.consumer_id)
        if lease is None or lease.role is not Role.CONSUMER:
            return
        halves = [
            (hello.descriptor_channel, hello.descriptor_stream_id),
            (hello.control_channel, hello.control_stream_id),
        ]
        set_ = [(bool(channel), number not in (0, 2**32 - 1)) for channel, number in halves]
        if not any(any(half) for half in set_):
            return
        if not any(one != other for one, other in set_):
            lease.descriptors = self.assigned(halves[0], self.options.descriptor_range, lease, 0)
            lease.controls = self.assigned(halves[1], self.options.control_range, lease, 1)
        else:
            lease.descriptors = lease.controls = 0
        self.send(
            ConsumerConfig(
                self.options.stream_id,
                lease.client_id,
                True,
                Mode(hello.mode) if hello.mode in tuple(Mode) else Mode.STREAM,
                lease.descriptors,
                lease.controls,
                "",
                hello.descriptor_channel if lease.descriptors else "",
                hello.control_channel if lease.controls else "",
            )
        )

    def assigned(
        self,
        half: tuple[str, int],
        range_: tuple[int, int] | None,
        lease: StandInLease,
        which: int,
    ) -> int:
        """Return the number that a requested half gets; 0 declines it."""
        channel, wanted = half
        held = (lease.descriptors, lease.controls)[which]
        if not channel.startswith("aeron:ipc") or wanted > _LAST_STREAM or range_ is None:
            return 0
        if held:
            return held
        taken = {(one.descriptors, one.controls)[which] for one in self.leases.values()}
        free = [number for number in range(range_[0], range_[1] + 1) if number not in taken]
        return wanted if wanted in free else (free[0] if free else 0)

    def on_shutdown(self, request: ShmDriverShutdownRequest) -> None:
        """Drain: refuse attaches, wait for leases to end."""
        if self.draining_until_ns is None:
            self._stop = (ShutdownReason(request.reason), request.error_message)
            self.draining_until_ns = time.monotonic_ns() + round(self.options.drain_s * 1e9)
            self.announce()

    # Leases, epochs, announces

    def end(self, lease: StandInLease, reason: LeaseRevokeReason, text: str) -> None:
        """End a lease: notice, and a new epoch when a producer's ends (D-090, D-096)."""
        del self.leases[lease.lease_id]
        self.send(self.notice(lease, reason, text))
        if lease.role is Role.PRODUCER and self.draining_until_ns is None:
            self.new_epoch()
            self.announce()

    def notice(self, lease: StandInLease, reason: LeaseRevokeReason, text: str) -> ShmLeaseRevoked:
        """Return the notice for the end of a lease."""
        return ShmLeaseRevoked(
            time.monotonic_ns(),
            lease.lease_id,
            self.options.stream_id,
            lease.client_id,
            lease.role,
            reason,
            text,
        )

    def expiry(self) -> int:
        """Return the expiry of a lease that is granted or kept now."""
        return time.monotonic_ns() + round(self.options.lease_s * 1e9)

    def new_epoch(self) -> None:
        """Create the regions of the next epoch, magic last (W-014)."""
        if self.regions is not None:
            self.regions.close()
        self.epoch = max(self.epoch + 1, time.time_ns())
        directory = self._stream_directory() / str(self.epoch)
        directory.mkdir(parents=True)
        sizes = [("header.ring", 1, 0, 256, 0)]
        for pool in self.pools():
            name = f"{pool.pool_id}.pool"
            sizes.append((name, 2, pool.pool_id, pool.stride_bytes, pool.stride_bytes))
        for name, kind, pool_id, slot_bytes, stride in sizes:
            self.make_region(directory / name, kind, pool_id, slot_bytes, stride)
        self.regions = Regions(self.announcement(), writable=True)

    def make_region(
        self, path: Path, kind: int, pool_id: int, slot_bytes: int, stride: int
    ) -> None:
        """Create one file and its superblock."""
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o660)
        try:
            os.fchmod(descriptor, 0o660)
            length = 64 + slot_bytes * self.options.nslots
            os.ftruncate(descriptor, length)
            now = time.monotonic_ns()
            block = self.superblock(kind, pool_id, slot_bytes, stride, now)
            with mmap.mmap(descriptor, length) as memory:
                memory[8:64] = block[8:]
                memory[0:8] = block[:8]
        finally:
            os.close(descriptor)

    def superblock(self, kind: int, pool_id: int, slot_bytes: int, stride: int, now: int) -> bytes:
        """Return the 64 bytes of a superblock."""
        return struct.pack(
            "<QIQIhHIIIQQQ",
            *(MAGIC, 1, self.epoch, self.options.stream_id, kind, pool_id),
            *(self.options.nslots, slot_bytes, stride, os.getpid(), now, now),
        )

    def refresh(self) -> None:
        """Store the activity stamp in every region (W-053)."""
        if self.regions is not None:
            self.regions.refresh(time.monotonic_ns())

    def announce(self) -> None:
        """Announce the current epoch."""
        if self.regions is not None:
            self.send(self.announcement())

    def announcement(self) -> ShmPoolAnnounce:
        """Return an announce of the current epoch."""
        producer = self.producer()
        return ShmPoolAnnounce(
            self.options.stream_id,
            producer.client_id if producer else 0,
            self.epoch,
            time.monotonic_ns(),
            ClockDomain.MONOTONIC,
            1,
            self.options.nslots,
            256,
            self.pools(),
            self._uri("header.ring"),
        )

    def pools(self) -> tuple[PayloadPool, ...]:
        """Return the payload pools of the current epoch."""
        return tuple(
            PayloadPool(number, self.options.nslots, stride, self._uri(f"{number}.pool"))
            for number, stride in enumerate(self.options.strides, 1)
        )

    def producer(self) -> StandInLease | None:
        """Return the lease of the producer, if there is one."""
        return next((one for one in self.leases.values() if one.role is Role.PRODUCER), None)

    def send(self, message: Message | bytes) -> None:
        """Send on the control stream; without a reader the message is lost."""
        self.bus.send(*self.control, message)

    def _refuse(self, correlation_id: int | None, code: str, text: str) -> None:
        if correlation_id is not None:
            self.send(ShmAttachResponse(correlation_id, ResponseCode[code], error_message=text))

    def _held_by(self, client_id: int) -> StandInLease | None:
        return next((one for one in self.leases.values() if one.client_id == client_id), None)

    def _fitting(self, message: Any) -> StandInLease | None:
        lease = self.leases.get(message.lease_id)
        if (
            lease is not None
            and message.stream_id == self.options.stream_id
            and (lease.client_id, lease.role) == (message.client_id, message.role)
        ):
            return lease
        return None

    def _token_fits(self, token: str) -> bool:
        return bool(self.options.token) and token == self.options.token

    def _stream_directory(self) -> Path:
        root = self.base_dir / f"tensorpool-{os.geteuid()}" / "conformance"
        return root / str(self.options.stream_id)

    def _uri(self, name: str) -> str:
        return f"shm:file?path={self._stream_directory() / str(self.epoch) / name}"
