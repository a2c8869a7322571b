"""Random sessions, faults included, with every invariant checked after every event (§20).

A session is its seed: the same seed makes the same requests, faults and time.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tensor_pool.driver.core.configuration import IdRange
from tensor_pool.driver.core.stream_table import StreamTable
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    ConsumerHello,
    Message,
    Mode,
    Role,
    ShmAttachRequest,
    ShmDetachRequest,
    ShmLeaseKeepalive,
    encode,
)
from tests.driver.core.harness import MS, OTHER_STREAM, SECOND, STREAM, Rig, make_config
from tests.driver.core.simulated_store import SimulatedDisk
from tests.simulation.invariants_driver import DriverInvariants, History, InvariantError

EPOCH_BYTES = 559_296
STREAMS = (STREAM, STREAM, OTHER_STREAM, 0, 20000, 20001, 555)


class Session:
    """Clients, time, disk and transport do what they like; the driver must keep its word."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = SimulatedClock()
        self.disk = SimulatedDisk()
        self.history = History()
        self.requests: list[ShmAttachRequest] = []
        self.start()
        self.actions: dict[Callable[[], None], int] = {
            self.attach: 20,
            self.repeat_attach: 2,
            self.keepalives: 12,
            self.wrong_keepalive: 3,
            self.detach: 8,
            self.hello: 10,
            self.noise: 1,
            self.cycle: 25,
            self.time_passes: 25,
            self.wall_clock_jumps: 1,
            self.driver_stalls: 1,
            self.disk_fills: 1,
            self.disk_is_freed: 2,
            self.store_fails: 1,
            self.store_recovers: 2,
            self.transport_refuses: 1,
            self.transport_recovers: 2,
            self.revoke: 2,
            self.reprovision: 2,
            self.shut_down: 0 if seed % 2 else 1,
            self.restart: 1,
        }

    def run(self, steps: int) -> None:
        for action in self.rng.choices(list(self.actions), list(self.actions.values()), k=steps):
            action()
            self.checks.check()
        self.transport_recovers()
        self.store_recovers()
        self.rig.driver.close(drain=False)
        self.checks.check()
        assert self.rig.driver.is_stopped

    def start(self) -> None:
        config = make_config(
            driver={
                "stream_id_range": IdRange(20000, 20002),
                "descriptor_stream_id_range": IdRange(31000, 31001),
                "control_stream_id_range": IdRange(32000, 32001),
                "announce_stream_id": self.rng.choice((1000, 1001)),
            },
            policies={
                "allow_dynamic_streams": True,
                "max_leases": 6,
                "outbox_limit": 16,
                "epoch_gc_keep": 1,
                "lease_expiry_grace_intervals": 2,
            },
        )
        self.rig = Rig(config, disk=self.disk, clock=self.clock, start=False)
        self.checks = DriverInvariants.watch(
            self.rig.driver,
            self.history,
            lambda stream_id, epoch: epoch in self.disk.epochs.get(stream_id, {}),
        )
        self.rig.driver.start()

    def say(self, message: Message | bytes) -> None:
        """Put something on the control stream, if it takes it."""
        data = message if isinstance(message, bytes) else encode(message, checked=False)
        self.rig._said.add(data)
        self.rig.mouth.offer(data)

    # -- clients

    def attach(self) -> None:
        rng = self.rng
        request = self.rig.request(
            client_id=rng.randrange(9),
            stream_id=rng.choice(STREAMS),
            role=rng.choice((Role.PRODUCER, Role.CONSUMER, Role.CONSUMER)),
            publish_mode=rng.choice((None, 1, 2, 2, 2, 2, 9)),
            desired_node_id=rng.choice((None, None, None, 1, 2)),
        )
        self.requests.append(request)
        self.say(request)

    def repeat_attach(self) -> None:
        if self.requests:
            self.say(self.rng.choice(self.requests[-5:]))

    def keepalives(self) -> None:
        """Most leases are kept alive."""
        for lease in self.rig.snapshot().leases:
            if self.rng.random() < 0.8:
                self.say(
                    ShmLeaseKeepalive(
                        lease.lease_id, lease.stream_id, lease.client_id, Role[lease.role], 0
                    )
                )

    def wrong_keepalive(self) -> None:
        next_id = self.rig.snapshot().status.next_lease_id
        lease_id = self.rng.choice((next_id - 1, next_id - 2, self.rng.randrange(1, 2**40)))
        self.say(ShmLeaseKeepalive(lease_id, STREAM, 3, Role.CONSUMER, 0))

    def detach(self) -> None:
        if leases := self.rig.snapshot().leases:
            lease = self.rng.choice(leases)
            request = ShmDetachRequest(
                7, lease.lease_id, lease.stream_id, lease.client_id, Role[lease.role]
            )
            self.say(request)
            self.say(request)

    def hello(self) -> None:
        rng = self.rng
        stream_id, client_id = rng.choice(STREAMS), rng.randrange(9)
        leases = self.rig.snapshot().leases
        if leases and rng.random() < 0.8:
            lease = rng.choice(leases)
            stream_id, client_id = lease.stream_id, lease.client_id
        self.say(
            ConsumerHello(
                stream_id,
                client_id,
                True,
                False,
                Mode.STREAM,
                0,
                0,
                descriptor_stream_id=1,
                control_stream_id=rng.randrange(2),
                descriptor_channel="aeron:ipc",
                control_channel=rng.choice(("", "aeron:ipc")),
            )
        )

    def noise(self) -> None:
        self.say(self.rng.randbytes(self.rng.randrange(60)))

    # -- time

    def cycle(self) -> None:
        self.rig.driver.do_work()
        self.rig.listen()
        self.rig.messages.clear()
        if self.rig.driver.is_stopped and self.rng.random() < 0.1:
            self.restart()

    def time_passes(self) -> None:
        self.clock.advance(self.rng.choice((1, 20, 300, 499, 500, 1000)) * MS)
        for _ in range(self.rng.randrange(1, 4)):
            self.cycle()

    def wall_clock_jumps(self) -> None:
        self.clock.step_realtime(self.rng.choice((-3600, 3600)) * SECOND)

    def driver_stalls(self) -> None:
        for _ in range(20):
            self.clock.advance(SECOND)
            self.keepalives()

    # -- faults

    def disk_fills(self) -> None:
        self.disk.capacity_bytes = self.disk.used_bytes + self.rng.choice((0, EPOCH_BYTES))

    def disk_is_freed(self) -> None:
        self.disk.capacity_bytes = 1 << 40

    def store_fails(self) -> None:
        faults, rng = self.rig.store.faults, self.rng
        faults.permission = rng.random() < 0.3
        faults.collect_error = rng.random() < 0.3
        faults.slow_ns = rng.choice((0, 4 * SECOND))
        faults.crash = set(rng.choices(("provision", "retire", "collect", ""), k=2))

    def store_recovers(self) -> None:
        faults = self.rig.store.faults
        faults.permission = faults.collect_error = False
        faults.slow_ns = 0
        faults.crash = set()

    def transport_refuses(self) -> None:
        result = self.rng.choice((OfferResult.BACK_PRESSURED, OfferResult.NOT_CONNECTED))
        self.rig.network.set_faults(
            Faults(offer_result=result),
            transport="driver",
            stream_id=self.rng.choice((1000, 1001)),
        )

    def transport_recovers(self) -> None:
        for stream_id in (1000, 1001):
            self.rig.network.set_faults(Faults(), transport="driver", stream_id=stream_id)

    # -- the people in charge

    def revoke(self) -> None:
        if leases := self.rig.snapshot().leases:
            lease = self.rng.choice(leases)
            serving = self.rig.driver.is_serving
            assert self.rig.driver.revoke_lease(lease.lease_id) == serving

    def reprovision(self) -> None:
        self.rig.driver.reprovision(self.rng.choice(STREAMS))

    def shut_down(self) -> None:
        self.rig.driver.request_shutdown()

    def restart(self) -> None:
        if self.rng.random() < 0.5:
            self.disk.locked = False  # killed; this is the operating system's part
        else:
            self.rig.driver.close(drain=False)
        self.checks.check()
        self.clock.advance(SECOND)
        self.start()


@pytest.mark.parametrize("seed", range(8))
def test_invariants_hold_in_random_sessions(seed: int) -> None:
    """D-010, D-013, D-017, D-064, D-143, D-186, D-191: I-1 to I-24 but for the files of I-12."""
    Session(seed).run(2500)


def test_the_checks_notice_a_driver_that_breaks_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamTable, "remove_if_unused", lambda self, stream: None)
    with pytest.raises(InvariantError, match=r"I-17|I-23"):
        Session(1).run(2500)
