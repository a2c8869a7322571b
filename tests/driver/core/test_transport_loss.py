"""A lost transport degrades the driver and ends no lease; a stopped process ends none either."""

from __future__ import annotations

from typing import Any

import pytest

from tensor_pool.driver.driver import Driver
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.testing.memory_network import MemoryNetwork
from tensor_pool.protocol.wire import (
    LeaseRevokeReason,
    ResponseCode,
    Role,
    ShmAttachResponse,
    ShmDriverShutdown,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
    decode,
)
from tests.driver.core.harness import MS, OTHER_STREAM, SECOND, STREAM, Rig, make_config

LEASE = 3 * SECOND
SILENCE = 12 * SECOND
DEGRADED = "Serving.Running.Degraded"
NORMAL = "Serving.Running.Normal"


class LosingRig(Rig):
    """A rig whose driver can connect again, unless `unreachable`."""

    def __init__(self, **options: Any) -> None:
        self.unreachable = False
        self.connects = 0
        super().__init__(start=False, **options)
        self.driver = Driver(
            self.config,
            clock=self.clock,
            transport=self.transport,
            store=self.store,
            metrics=self.metrics,
            pause=lambda: self.clock.advance(MS),
            reconnect=self._connect,
        )
        self.driver.start()
        self.listen()

    def _connect(self) -> Any:
        self.connects += 1
        if self.unreachable:
            raise TransportError("no media driver is running")
        return self.network.transport("driver")

    def lose(self) -> None:
        self.network.fail("driver", "media driver lost")
        self.driver.do_work()

    def conditions(self) -> tuple[str, ...]:
        return self.driver.snapshot().status.conditions


def test_D_146_a_lost_transport_is_opened_anew_and_every_lease_goes_on() -> None:
    rig = LosingRig()
    camera = rig.granted(1, Role.PRODUCER)
    viewer = rig.granted(2)
    heard = len(rig.messages)
    rig.unreachable = True
    rig.lose()
    assert rig.driver.state == DEGRADED
    assert rig.conditions() == ("TRANSPORT_LOST",)
    rig.run(SILENCE)
    assert rig.driver.state == DEGRADED
    assert len(rig.driver.snapshot().leases) == 2
    rig.unreachable = False
    rig.run(SECOND)
    assert rig.driver.state == NORMAL
    now = rig.clock.monotonic_ns()
    assert all(lease.expiry_ns >= now + LEASE - SECOND for lease in rig.driver.snapshot().leases)
    assert next(m.stream_id for m in rig.heard(ShmPoolAnnounce, heard)) == STREAM
    assert rig.heard(ShmLeaseRevoked, heard) == []
    rig.keepalive(camera, 1, Role.PRODUCER)
    rig.keepalive(viewer, 2, Role.CONSUMER)
    rig.run(LEASE - 100 * MS)
    assert len(rig.driver.snapshot().leases) == 2
    assert rig.granted(3, stream_id=OTHER_STREAM).code is ResponseCode.OK


def test_D_146_a_client_that_died_during_the_loss_expires_after_the_return() -> None:
    rig = LosingRig()
    lease = rig.granted(1, Role.PRODUCER)
    rig.unreachable = True
    rig.lose()
    rig.run(SILENCE)
    rig.unreachable = False
    heard = len(rig.messages)
    rig.run(SECOND + LEASE - 100 * MS)
    assert rig.heard(ShmLeaseRevoked, heard) == []
    rig.run(2 * SECOND)
    (notice,) = rig.heard(ShmLeaseRevoked, heard)
    assert (notice.lease_id, notice.reason) == (lease.lease_id, LeaseRevokeReason.EXPIRED)


def test_D_146_notices_wait_for_the_return_and_other_messages_are_dropped_and_counted() -> None:
    rig = LosingRig()
    lease = rig.granted(1)
    rig.unreachable = True
    rig.lose()
    heard = len(rig.messages)
    dropped = rig.metrics["announce_drops"]
    assert rig.driver.revoke_lease(lease.lease_id, "by hand")
    rig.run(2 * SECOND)
    assert rig.metrics["announce_drops"] > dropped
    assert rig.messages[heard:] == []
    rig.unreachable = False
    rig.run(SECOND)
    (notice,) = rig.heard(ShmLeaseRevoked, heard)
    assert (notice.lease_id, notice.error_message) == (lease.lease_id, "by hand")


def test_D_146_tries_to_reconnect_are_spaced_and_go_on_for_ever() -> None:
    rig = LosingRig()
    rig.unreachable = True
    rig.lose()
    rig.run(10 * SECOND)
    assert 10 <= rig.connects <= 28
    rig.run(100 * SECOND)
    assert 110 <= rig.connects <= 240


def test_D_146_a_draining_driver_without_its_transport_stops_with_its_reason() -> None:
    rig = LosingRig()
    rig.granted(1)
    rig.driver.request_shutdown(ShutdownReason.ADMIN, "upgrade")
    rig.cycle()
    assert rig.driver.state == "Serving.Draining"
    rig.lose()
    assert rig.driver.is_stopped
    assert rig.driver.shutdown == (ShutdownReason.ADMIN, "upgrade")


def test_D_146_a_stop_during_the_loss_does_not_wait_for_clients() -> None:
    rig = LosingRig()
    rig.granted(1)
    rig.unreachable = True
    rig.lose()
    rig.driver.request_shutdown()
    rig.cycle()
    assert rig.driver.is_stopped
    assert rig.driver.shutdown.reason is ShutdownReason.NORMAL
    assert rig.heard(ShmDriverShutdown) == []


def test_D_146_without_a_way_to_reconnect_the_loss_is_fatal() -> None:
    rig = Rig()
    rig.network.fail("driver", "media driver lost")
    rig.driver.do_work()
    assert rig.driver.is_stopped
    assert rig.driver.shutdown == (ShutdownReason.ERROR, "media driver lost")


# -- a process that is stopped between any two instructions


class StoppingClock(SimulatedClock):
    """A clock whose n-th reading comes after, or before, a stop of the process."""

    def __init__(self) -> None:
        super().__init__()
        self.readings_left = -1
        self.stops_before_reading = True
        self.on_stop: Any = None

    def monotonic_ns(self) -> int:
        if self.readings_left < 0:
            return super().monotonic_ns()
        if self.readings_left == 0 and self.stops_before_reading:
            self._stop()
        reading = super().monotonic_ns()
        if self.readings_left == 0:
            self._stop()
        self.readings_left -= 1
        return reading

    def _stop(self) -> None:
        if self.on_stop is not None:
            stop, self.on_stop = self.on_stop, None
            stop()


class WatchedPublication:
    """A publication that records when each attach response was handed over."""

    def __init__(self, inner: Any, clock: SimulatedClock) -> None:
        self._inner = inner
        self._clock = clock
        self.answered_ns: list[int] = []
        self.answers: list[ShmAttachResponse] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def offer(self, data: bytes) -> Any:
        message = decode(data)
        if isinstance(message, ShmAttachResponse):
            self.answers.append(message)
            self.answered_ns.append(SimulatedClock.monotonic_ns(self._clock))
        return self._inner.offer(data)


def stop_at(reading: int, *, before: bool, fragment_limit: int) -> bool:
    """Stop the driver for 12 s at one reading of its clock; return whether it came to that.

    Three clients send keepalives all the time, and a fourth asks for a lease before the stop.
    """
    clock = StoppingClock()
    config = make_config(driver={"fragment_limit": fragment_limit})
    rig = Rig(config, clock=clock, network=MemoryNetwork(clock, seed=1))
    roles = {1: Role.PRODUCER, 2: Role.CONSUMER, 3: Role.CONSUMER}
    leases = {client_id: rig.granted(client_id, role) for client_id, role in roles.items()}

    def keep_alive() -> None:
        for client_id, lease in leases.items():
            rig.keepalive(lease, client_id, roles[client_id])

    def stop() -> None:
        for answer in watched.answers:  # then the fourth is a client as well
            leases[7], roles[7] = answer, Role.CONSUMER
        for _ in range(12):
            clock.advance(SECOND)
            keep_alive()

    rig.run(900 * MS)
    clock.advance(100 * MS)  # the lease check is due
    keep_alive()
    rig.say(rig.request(client_id=7))
    heard = len(rig.messages)
    proxy = rig.driver._endpoints._proxy
    watched = proxy._control_publication = WatchedPublication(proxy._control_publication, clock)
    clock.on_stop, clock.stops_before_reading, clock.readings_left = stop, before, reading
    for _ in range(40):
        rig.driver.do_work()
        rig.listen()
        assert rig.heard(ShmLeaseRevoked, heard) == []
        if watched.answered_ns:
            (answer,) = rig.heard(ShmAttachResponse, heard)
            lease = rig.lease(answer.lease_id)
            assert lease is not None
            assert lease.expiry_ns >= watched.answered_ns[0] + LEASE
        clock.advance(MS)
    assert watched.answered_ns
    return clock.on_stop is None


@pytest.mark.parametrize("fragment_limit", [1, 3, 10])
@pytest.mark.parametrize("before", [True, False])
def test_D_087_a_stop_at_any_point_of_a_cycle_ends_no_lease_of_a_living_client(
    before: bool, fragment_limit: int
) -> None:
    """D-014, D-087: the middle of a poll included."""
    points = 0
    while stop_at(points, before=before, fragment_limit=fragment_limit):
        points += 1
        if points == 60:
            break
    assert points >= 30
