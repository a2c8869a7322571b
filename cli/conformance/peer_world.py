"""A pool around the producer or consumer under test: a stand-in driver, and ears on all streams."""

from __future__ import annotations

import abc
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tensor_pool.protocol.wire import (
    ClockDomain,
    ConsumerHello,
    LeaseRevokeReason,
    Message,
    PayloadPool,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDriverShutdown,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
)

from .bus import Bus, Heard
from .check import Broken, NotSeen, want
from .stand_in import StandInDriver, StandInLease, StandInOptions

__all__ = ["GuidedDriver", "PeerWorld", "Streams"]

_LONGEST_START_S = 60.0  # until the program attaches
type Spoil = Callable[[ShmAttachResponse], ShmAttachResponse]


class Streams(msgspec.Struct, frozen=True):
    """Channel and number of the shared logical streams."""

    control: tuple[str, int]
    descriptors: tuple[str, int]
    qos: tuple[str, int]
    metadata: tuple[str, int]


class GuidedDriver(StandInDriver):
    """A stand-in that a check makes refuse, lie, or spoil its regions before it grants them."""

    refreshes = True
    announces = True
    answers = True
    answers_hellos = True
    assigns = True
    spoil: Spoil | None = None
    prepare: Callable[[Path], None] | None = None
    names = "{}"  # how a region file is called

    def __init__(
        self, bus: Bus, control: tuple[str, int], base_dir: Path, options: StandInOptions
    ) -> None:
        super().__init__(bus, control, base_dir, options)
        self.refusals: list[tuple[str, str]] = []
        self.requests: list[tuple[int, ShmAttachRequest]] = []  # with the place on the bus

    def on_attach(self, request: ShmAttachRequest) -> None:
        if request.stream_id != self.options.stream_id or not self.answers:
            return
        self.requests.append((self._read - 1, request))
        if request.role == Role.CONSUMER and self.prepare is not None:
            self.new_epoch()
        super().on_attach(request)

    def on_hello(self, hello: ConsumerHello) -> None:
        if self.answers_hellos:
            super().on_hello(hello)

    def assigned(
        self,
        half: tuple[str, int],
        range_: tuple[int, int] | None,
        lease: StandInLease,
        which: int,
    ) -> int:
        return super().assigned(half, range_, lease, which) if self.assigns else 0

    def refusal(self, request: ShmAttachRequest) -> tuple[str, str] | None:
        return self.refusals.pop(0) if self.refusals else super().refusal(request)

    def grant(self, lease: StandInLease) -> ShmAttachResponse:
        grant = super().grant(lease)
        return self.spoil(grant) if self.spoil is not None else grant

    def new_epoch(self) -> None:
        super().new_epoch()
        if self.prepare is not None:
            self.prepare(self._stream_directory() / str(self.epoch))

    def refresh(self) -> None:
        if self.refreshes:
            super().refresh()

    def announce(self) -> None:
        if self.announces:
            super().announce()

    def _uri(self, name: str) -> str:
        return super()._uri(self.names.format(name))

    def make_region(
        self, path: Path, kind: int, pool_id: int, slot_bytes: int, stride: int
    ) -> None:
        path = path.with_name(self.names.format(path.name))
        super().make_region(path, kind, pool_id, slot_bytes, stride)

    def shut_down(self) -> None:
        """Send ShmDriverShutdown and forget every lease, as a driver that is started anew."""
        self.leases.clear()
        self.send(ShmDriverShutdown(time.monotonic_ns(), ShutdownReason.ADMIN, "conformance"))


class PeerWorld(abc.ABC):
    """The program under test in one role, as the streams show it.

    `period_s` is the announce period that it is configured with; hello, QoS and keepalive
    intervals are at most as long.
    """

    role: Role

    def __init__(
        self,
        bus: Bus,
        streams: Streams,
        base_dir: Path,
        *,
        stream_id: int,
        period_s: float,
        patience_s: float,
        options: StandInOptions,
    ) -> None:
        self.bus = bus
        self.streams = streams
        self.base_dir = base_dir
        self.stream_id = stream_id
        self.period_s = period_s
        self.patience_s = patience_s
        self.driver = GuidedDriver(bus, streams.control, base_dir, options)
        for address in (streams.descriptors, streams.qos, streams.metadata):
            bus.listen(*address)
        self.leave: Callable[[], None] | None = None  # stops the program, if the kit started it
        self.has_ended: Callable[[], bool] = lambda: False

    def close(self) -> None:
        """Remove the regions, those that a check led elsewhere too."""
        for link in self.driver._stream_directory().glob("*"):
            if link.is_symlink():
                shutil.rmtree(link.resolve().parent, ignore_errors=True)
        self.driver.close()

    def begin(self) -> None:
        """Make the first epoch, so that a consumer that requires it finds one, and wait."""
        self.driver.assigns = self.role is Role.PRODUCER
        self.driver.new_epoch()
        self.until(lambda: self.lease_now() is not None or self.has_ended(), _LONGEST_START_S)

    # Time

    def work(self) -> None:
        """One turn of the stand-in."""
        self.driver.work()

    def until(self, condition: Callable[[], object], seconds: float | None = None) -> bool:
        """Serve until the condition holds; False if it did not within the time."""
        return self.bus.until(condition, self.patience_s if seconds is None else seconds, self.work)

    def run_for(self, seconds: float) -> None:
        """Serve for a time."""
        self.until(lambda: False, seconds)

    # Received messages

    @property
    def mark(self) -> int:
        """The place from which on `since` looks."""
        return len(self.bus.heard)

    def is_own(self, heard: Heard) -> bool:
        """True for a message that the kit itself sent."""
        return self.bus.is_own(heard)

    def since[M](
        self, mark: int, kind: type[M], fits: Callable[[M], bool] = lambda _: True
    ) -> list[tuple[int, Heard, M]]:
        """Return (place, received, message) of a kind from a mark on that the kit did not send."""
        return [
            (place, one, one.message)
            for place, one in enumerate(self.bus.heard[mark:], mark)
            if isinstance(one.message, kind) and not self.is_own(one) and fits(one.message)
        ]

    def send(self, message: Message | bytes) -> None:
        """Send on the control stream."""
        self.driver.send(message)

    # Leases

    def lease_now(self) -> StandInLease | None:
        """The lease of the program under test, if it has one."""
        found = [one for one in self.driver.leases.values() if one.role is self.role]
        return found[0] if found else None

    def lease(self) -> StandInLease:
        """Wait for the lease of the program under test."""
        came = self.until(
            lambda: self.lease_now() is not None or self.has_ended(), 3 * self.patience_s
        )
        want(not self.has_ended(), "the program has ended")
        want(
            came,
            f"no {self.role.name.lower()} attached to stream {self.stream_id} within "
            f"{3 * self.patience_s:g} s",
        )
        lease = self.lease_now()
        assert lease is not None
        return lease

    def revoke(self) -> int:
        """Revoke the lease, with a notice; return the mark before it."""
        lease = self.lease()
        mark = self.mark
        self.driver.end(lease, LeaseRevokeReason.REVOKED, "conformance")
        return mark

    def next_request(self, since: int) -> tuple[int, ShmAttachRequest]:
        """Wait for an attach request later than so many."""
        requests = self.driver.requests
        want(
            self.until(lambda: len(requests) > since, 3 * self.patience_s),
            f"no attach request came within {3 * self.patience_s:g} s",
        )
        return requests[since]

    @contextmanager
    def granting(
        self,
        *,
        spoil: Spoil | None = None,
        prepare: Callable[[Path], None] | None = None,
        names: str = "{}",
    ) -> Iterator[None]:
        """Grant what is asked for in a block in another way than usual."""
        driver = self.driver
        driver.spoil, driver.prepare, driver.names = spoil, prepare, names
        try:
            yield
        finally:
            driver.spoil, driver.prepare, driver.names = None, None, "{}"

    @abc.abstractmethod
    def sign_of_use(self, mark: int) -> str:
        """Return a sign that the program uses the current epoch, empty without one."""

    @abc.abstractmethod
    def uses_after_end(self, mark: int) -> str:
        """Return a sign that it uses regions of a lease that ended before the mark."""

    def refuses(
        self,
        what: str,
        *,
        spoil: Spoil | None = None,
        prepare: Callable[[Path], None] | None = None,
    ) -> None:
        """Grant in a way that must not be used; Broken if it is, or is not asked for again."""
        driver = self.driver
        driver.announces = False
        try:
            with self.granting(spoil=spoil, prepare=prepare):
                asked = len(driver.requests)
                self.revoke()
                mark, _ = self.next_request(asked)
                used = self.until(
                    lambda: self.sign_of_use(mark) or len(driver.requests) > asked + 1
                ) and self.sign_of_use(mark)
                want(not used, f"{what} was used: {used}")
                again = len(driver.requests) > asked + 1
                want(again, f"after {what} it did not ask again within {self.patience_s:g} s")
        finally:
            driver.announces = True
            for lease in [one for one in driver.leases.values() if one.role is self.role]:
                driver.end(lease, LeaseRevokeReason.REVOKED, "conformance")
            if self.role is Role.CONSUMER:
                driver.new_epoch()
        self.lease()

    def others(self) -> list[tuple[str, Message]]:
        """Messages that must not move the program: other streams', other leases', other ids'."""
        now = time.monotonic_ns()
        lease = self.lease()
        epoch = self.driver.epoch
        other = self.stream_id + 1
        reason = LeaseRevokeReason.REVOKED
        pool = (PayloadPool(1, 8, 64, "shm:file?path=/nowhere/1.pool"),)
        return [
            (
                "a notice for another stream",
                ShmLeaseRevoked(now, 2**50, other, 1, Role.PRODUCER, reason),
            ),
            (
                "a notice for another consumer's lease",
                ShmLeaseRevoked(now, 2**50, self.stream_id, 1, Role.CONSUMER, reason),
            ),
            (
                "an announce of another stream",
                ShmPoolAnnounce(
                    other,
                    1,
                    epoch + 9,
                    now,
                    ClockDomain.MONOTONIC,
                    1,
                    8,
                    256,
                    pool,
                    "shm:file?path=/nowhere/r",
                ),
            ),
            (
                "an announce of a lower epoch",
                ShmPoolAnnounce(
                    self.stream_id,
                    1,
                    epoch - 1,
                    now,
                    ClockDomain.MONOTONIC,
                    1,
                    8,
                    256,
                    pool,
                    "shm:file?path=/x/r",
                ),
            ),
            (
                "an answer to another client's request",
                msgspec.structs.replace(
                    self.driver.grant(lease), correlation_id=77, lease_id=lease.lease_id + 1
                ),
            ),
        ]

    def need(self, condition: object, text: str) -> None:
        """Raise NotSeen with the text unless the condition is true."""
        if not condition:
            raise NotSeen(text)

    def ended_by_detach(self) -> None:
        """Stop the program and wait for its detach; NotSeen if it was not started by the kit."""
        if self.leave is None:
            raise NotSeen("it ends the program; give its command behind -- to look at it")
        lease, mark = self.lease(), self.mark
        self.leave()

        def asked() -> bool:
            return bool(
                self.since(mark, ShmDetachRequest, lambda one: one.lease_id == lease.lease_id)
            )

        if not self.until(asked):
            raise Broken("the program ended without ShmDetachRequest; its lease was left to expire")
