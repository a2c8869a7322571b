"""Random sessions, faults included, with every invariant checked after every event (§20)."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tensor_pool.client.clock import SimulatedClock
from tensor_pool.client.transport.faults import Faults
from tensor_pool.client.transport.ports import OfferResult
from tensor_pool.client.wire import (
    ConsumerHello,
    Mode,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmLeaseKeepalive,
    encode,
)
from tensor_pool.driver.config import IdRange

from tests.simulation.invariants_driver import DriverInvariants, History

from .harness import MS, OTHER_STREAM, SECOND, STREAM, Rig, make_config
from .simulated_store import SimulatedDisk

CLIENTS = st.integers(0, 6)
STREAMS = st.sampled_from([STREAM, OTHER_STREAM, 0, 20000, 20001, 555])
ROLES = st.sampled_from([Role.PRODUCER, Role.CONSUMER])
EPOCH_BYTES = 559_296


class Sessions(RuleBasedStateMachine):
    """Clients, time, disk and transport do what they like; the driver must keep its word."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SimulatedClock()
        self.disk = SimulatedDisk()
        self.history = History()
        self.granted: list[ShmAttachResponse] = []
        self.requests: list[ShmAttachRequest] = []
        self._start(shared=True)

    def _start(self, shared: bool) -> None:
        config = make_config(
            driver={
                "stream_id_range": IdRange(20000, 20002),
                "descriptor_stream_id_range": IdRange(31000, 31001),
                "control_stream_id_range": IdRange(32000, 32001),
                "announce_stream_id": 1000 if shared else 1001,
            },
            policies={
                "allow_dynamic_streams": True,
                "max_leases": 5,
                "outbox_limit": 16,
                "epoch_gc_keep": 1,
            },
        )
        self.rig = Rig(config, disk=self.disk, clock=self.clock, start=False)
        self.checks = DriverInvariants.watch(
            self.rig.driver,
            self.history,
            lambda stream_id, epoch: epoch in self.disk.epochs.get(stream_id, {}),
        )
        self.rig.driver.start()

    def _hear(self) -> None:
        self.rig.listen()
        self.granted += [m for m in self.rig.heard(ShmAttachResponse) if m.code is ResponseCode.OK]
        self.rig.messages.clear()

    def _say(self, message: Any) -> None:
        data = message if isinstance(message, bytes) else encode(message, checked=False)
        self.rig._said.add(data)
        self.rig.mouth.offer(data)

    # -- clients

    @rule(
        client=CLIENTS,
        stream=STREAMS,
        role=ROLES,
        mode=st.sampled_from([None, 1, 2, 2, 2, 9]),
        node=st.sampled_from([None, None, 1, 2]),
    )
    def attach(
        self, client: int, stream: int, role: Role, mode: int | None, node: int | None
    ) -> None:
        request = self.rig.request(
            client_id=client, stream_id=stream, role=role, publish_mode=mode, desired_node_id=node
        )
        self.requests.append(request)
        self._say(request)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def repeat_attach(self, data: st.DataObject) -> None:
        self._say(data.draw(st.sampled_from(self.requests[-5:])))

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), client=CLIENTS, role=ROLES)
    def keepalive(self, data: st.DataObject, client: int, role: Role) -> None:
        lease = data.draw(st.sampled_from(self.granted[-6:]))
        self._say(ShmLeaseKeepalive(lease.lease_id or 0, lease.stream_id or 0, client, role, 0))

    @rule()
    def everybody_is_alive(self) -> None:
        for lease in self.rig.snapshot().leases:
            self._say(
                ShmLeaseKeepalive(
                    lease.lease_id, lease.stream_id, lease.client_id, Role[lease.role], 0
                )
            )

    @precondition(lambda self: self.rig.snapshot().leases)
    @rule(data=st.data())
    def detach(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.rig.snapshot().leases))
        request = ShmDetachRequest(
            7, lease.lease_id, lease.stream_id, lease.client_id, Role[lease.role]
        )
        self._say(request)
        self._say(request)

    @rule(
        client=CLIENTS,
        stream=STREAMS,
        number=st.sampled_from([0, 1]),
        channel=st.sampled_from(["", "aeron:ipc"]),
    )
    def hello(self, client: int, stream: int, number: int, channel: str) -> None:
        self._say(
            ConsumerHello(
                stream,
                client,
                True,
                False,
                Mode.STREAM,
                0,
                0,
                descriptor_stream_id=1,
                control_stream_id=number,
                descriptor_channel="aeron:ipc",
                control_channel=channel,
            )
        )

    @rule(noise=st.binary(max_size=60))
    def noise(self, noise: bytes) -> None:
        self._say(noise)

    # -- time

    @rule(ms=st.sampled_from([1, 20, 300, 999, 1000, 2500]), cycles=st.integers(1, 3))
    def time_passes(self, ms: int, cycles: int) -> None:
        self.clock.advance(ms * MS)
        for _ in range(cycles):
            self.rig.driver.do_work()
        self._hear()

    @rule()
    def cycle(self) -> None:
        self.rig.driver.do_work()
        self._hear()

    @rule(seconds=st.sampled_from([-3600, 3600]))
    def wall_clock_jumps(self, seconds: int) -> None:
        self.clock.step_realtime(seconds * SECOND)

    @rule()
    def driver_stalls(self) -> None:
        self.clock.advance(20 * SECOND)

    # -- faults

    @rule(room=st.sampled_from([0, EPOCH_BYTES, 1 << 40]))
    def disk_has_room_for(self, room: int) -> None:
        self.disk.capacity_bytes = self.disk.used_bytes + room

    @rule(permission=st.booleans(), collect=st.booleans(), slow=st.sampled_from([0, 4 * SECOND]))
    def store_fails(self, permission: bool, collect: bool, slow: int) -> None:
        self.rig.store.faults.permission = permission
        self.rig.store.faults.collect_error = collect
        self.rig.store.faults.slow_ns = slow

    @rule(operations=st.sets(st.sampled_from(["provision", "retire", "collect"])))
    def store_raises(self, operations: set[str]) -> None:
        self.rig.store.faults.crash = set(operations)

    @rule(
        result=st.sampled_from([None, None, OfferResult.BACK_PRESSURED, OfferResult.NOT_CONNECTED]),
        stream_id=st.sampled_from([None, 1000, 1001]),
    )
    def transport_refuses(self, result: OfferResult | None, stream_id: int | None) -> None:
        self.rig.network.set_faults(
            Faults(offer_result=result), transport="driver", stream_id=stream_id
        )

    # -- the people in charge

    @precondition(lambda self: self.rig.snapshot().leases)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.rig.snapshot().leases))
        serving = self.rig.driver.is_serving
        assert self.rig.driver.revoke_lease(lease.lease_id) == serving

    @rule(stream=STREAMS)
    def reprovision(self, stream: int) -> None:
        self.rig.driver.reprovision(stream)

    @rule(chance=st.integers(0, 5))
    def shut_down(self, chance: int) -> None:
        if chance == 0:
            self.rig.driver.request_shutdown()

    @rule(kill=st.booleans(), shared=st.booleans(), chance=st.integers(0, 3))
    def restart(self, kill: bool, shared: bool, chance: int) -> None:
        if chance:
            return
        self._hear()
        if kill:
            self.disk.locked = False  # the operating system's part
        else:
            self.rig.driver.close(drain=False)
        self.checks.check()
        self.clock.advance(SECOND)
        self.granted = []
        self._start(shared)

    @invariant()
    def everything_holds(self) -> None:
        self.checks.check()

    def teardown(self) -> None:
        self.rig.network.set_faults(Faults(), transport="driver")
        self.rig.driver.close(drain=False)
        self.checks.check()
        assert self.rig.driver.is_stopped


class TestSessions(Sessions.TestCase):
    """D-004, D-010, D-013, D-064, D-143, D-186, D-191: I-1 to I-24 but for the files of I-12."""

    settings = settings(
        max_examples=60,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
