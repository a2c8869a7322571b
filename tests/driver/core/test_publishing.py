"""Publishing, outboxes and back-pressure (§15)."""

from __future__ import annotations

import pytest

from tensor_pool.driver.core.configuration import IdRange, PoliciesTable
from tensor_pool.driver.core.events import DriverEvent, Revocation
from tensor_pool.driver.core.ports import PublishOutcome, Target
from tensor_pool.driver.messages.outgoing import UNDELIVERABLE, Proxy
from tensor_pool.driver.runtime.metrics import DriverMetrics
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    LeaseRevokeReason,
    Message,
    Mode,
    ResponseCode,
    Role,
    ShmAttachResponse,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
    decode,
    encode,
)
from tests.driver.core.harness import MS, SECOND, STREAM, Rig, make_config

SENT, QUEUED, DROPPED = PublishOutcome.SENT, PublishOutcome.QUEUED, PublishOutcome.DROPPED
CONTROL, ANNOUNCE = Target.CONTROL, Target.ANNOUNCE
BLOCKED = Faults(offer_result=OfferResult.BACK_PRESSURED)


class FakePublication:
    """A publication that answers every offer with a given result."""

    channel = "aeron:ipc"
    session_id = 1
    is_connected = True
    is_closed = False

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.result = OfferResult.ACCEPTED
        self.accepts: int | None = None
        self.offers = 0
        self.taken: list[Message] = []

    def offer(self, message: bytes | bytearray) -> OfferResult:
        self.offers += 1
        if self.accepts is not None:
            if self.accepts == 0:
                return OfferResult.BACK_PRESSURED
            self.accepts -= 1
        elif self.result is not OfferResult.ACCEPTED:
            return self.result
        self.taken.append(decode(bytes(message)))
        return OfferResult.ACCEPTED

    def close(self) -> None:
        pass


class Bench:
    """A proxy on two fake publications, or on one for both purposes."""

    def __init__(self, *, shared: bool = False, limit: int = 16) -> None:
        self.clock = SimulatedClock()
        self.metrics = DriverMetrics()
        self.posted: list[tuple[DriverEvent, object]] = []
        self.sent: list[Message] = []
        self.control = FakePublication(1000)
        self.announce = self.control if shared else FakePublication(1001)
        self.proxy = Proxy(
            PoliciesTable(outbox_limit=limit),
            self.clock,
            self.metrics,
            lambda event, arg: self.posted.append((event, arg)),
            self.sent.append,
        )
        self.proxy.connect(self.control, self.announce)


def ok(lease_id: int = 5) -> ShmAttachResponse:
    return ShmAttachResponse(lease_id, ResponseCode.OK, lease_id)


def refusal(correlation_id: int = 1) -> ShmAttachResponse:
    return ShmAttachResponse(correlation_id, ResponseCode.REJECTED, error_message="no")


def announce(stream_id: int, epoch: int) -> ShmPoolAnnounce:
    return ShmPoolAnnounce(stream_id, 0, epoch, 0, 1, 1, 8, 256)  # type: ignore[arg-type]


def notice(stream_id: int, lease_id: int = 5) -> ShmLeaseRevoked:
    return ShmLeaseRevoked(
        1, lease_id, stream_id, 7, Role.PRODUCER, LeaseRevokeReason.EXPIRED, "lease expired"
    )


FATAL = True


@pytest.mark.parametrize(
    ("status", "control", "announced", "fatal"),
    [
        (OfferResult.ACCEPTED, SENT, SENT, not FATAL),
        (OfferResult.BACK_PRESSURED, QUEUED, QUEUED, not FATAL),
        (OfferResult.ADMIN_ACTION, QUEUED, QUEUED, not FATAL),
        (OfferResult.NOT_CONNECTED, QUEUED, DROPPED, not FATAL),
        (OfferResult.CLOSED, DROPPED, DROPPED, FATAL),
        (OfferResult.MAX_POSITION_EXCEEDED, DROPPED, DROPPED, FATAL),
        (OfferResult.ERROR, DROPPED, DROPPED, FATAL),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("target", Target)
def test_D_171_outcome_by_status(
    status: OfferResult,
    control: PublishOutcome,
    announced: PublishOutcome,
    fatal: bool,
    target: Target,
) -> None:
    bench = Bench()
    bench.control.result = bench.announce.result = status
    message = refusal() if target is CONTROL else announce(1, 2)
    expected = control if target is CONTROL else announced
    assert bench.proxy.publish(target, message) is expected
    assert bench.sent == ([message] if expected is SENT else [])
    assert [event for event, _ in bench.posted] == ([DriverEvent.TRANSPORT_LOST] if fatal else [])
    name = "attach_responses" if target is CONTROL else "announces"
    drops = "attach_response_drops" if target is CONTROL else "announce_drops"
    assert bench.metrics[name] == (expected is SENT)
    assert bench.metrics[drops] == (expected is DROPPED)
    waiting = "outbox_control" if target is CONTROL else "outbox_announce"
    assert bench.metrics[waiting] == (expected is QUEUED)


def test_D_171_a_message_waits_behind_those_that_wait() -> None:
    bench = Bench()
    bench.control.accepts = 0
    bench.proxy.publish(CONTROL, refusal(1))
    bench.control.accepts = None
    assert bench.proxy.publish(CONTROL, refusal(2)) is QUEUED
    assert bench.sent == []
    assert bench.proxy.flush() == 2
    assert bench.sent == [refusal(1), refusal(2)]
    assert [m.correlation_id for m in bench.control.taken] == [1, 2]  # type: ignore[union-attr]


def test_D_172_retries_are_in_order_and_stop_at_the_first_failure() -> None:
    bench = Bench()
    bench.control.accepts = 0
    for number in range(1, 6):
        bench.proxy.publish(CONTROL, refusal(number))
    bench.control.accepts = 2
    bench.control.offers = 0
    assert bench.proxy.flush() == 2
    assert bench.control.offers == 3
    bench.control.accepts = 9
    assert bench.proxy.flush() == 3
    taken = [m.correlation_id for m in bench.control.taken]  # type: ignore[union-attr]
    assert taken == [1, 2, 3, 4, 5]
    assert bench.metrics["publish_retries"] == 6
    assert bench.metrics["outbox_control"] == 0


def test_D_173_answers_beyond_the_limit_are_dropped_notices_never() -> None:
    bench = Bench(limit=16)
    bench.control.accepts = 0
    for number in range(16):
        assert bench.proxy.publish(CONTROL, refusal(number)) is QUEUED
    assert bench.proxy.is_full
    assert bench.proxy.publish(CONTROL, refusal(99)) is DROPPED
    detach = ShmDetachResponse(1, ResponseCode.OK)
    assert bench.proxy.publish(CONTROL, detach) is DROPPED
    config = ConsumerConfig(1, 1, True, Mode.STREAM)
    assert bench.proxy.publish(CONTROL, config) is DROPPED
    for number in range(100):
        assert bench.proxy.publish(CONTROL, notice(1, number)) is QUEUED
    goodbye = ShmDriverShutdown(1, ShutdownReason.NORMAL)
    assert bench.proxy.publish(CONTROL, goodbye) is QUEUED
    for name in ("attach_response_drops", "detach_response_drops", "config_drops"):
        assert bench.metrics[name] == 1
    bench.control.accepts = None
    bench.proxy.flush()
    assert sum(isinstance(m, ShmLeaseRevoked) for m in bench.control.taken) == 100
    assert bench.metrics["lease_revoked"] == 100


@pytest.mark.parametrize("shared", [False, True])
def test_D_173_only_the_latest_announce_of_a_stream_waits(shared: bool) -> None:
    bench = Bench(shared=shared)
    bench.announce.accepts = 0
    for stream_id, epoch in ((1, 10), (2, 20), (1, 11), (3, 30), (1, 12)):
        bench.proxy.publish(ANNOUNCE, announce(stream_id, epoch))
    assert bench.metrics["outbox_announce"] == 3
    assert bench.metrics["outbox_control"] == 0
    bench.announce.accepts = None
    bench.proxy.flush()
    assert [(m.stream_id, m.epoch) for m in bench.announce.taken] == [  # type: ignore[union-attr]
        (2, 20),
        (3, 30),
        (1, 12),
    ]


def test_D_173_every_stream_is_announced_while_the_queue_moves_slowly() -> None:
    """D-173: an announce that repeats the waiting one does not send it to the tail."""
    bench = Bench(shared=True)
    for _ in range(10):
        bench.announce.accepts = 2
        for stream_id in range(1, 9):
            bench.proxy.publish(ANNOUNCE, announce(stream_id, 10))
        bench.proxy.flush()
    streams = [m.stream_id for m in bench.announce.taken]  # type: ignore[union-attr]
    assert len(streams) == 20
    assert set(streams) == set(range(1, 9))


def test_D_091_held_announce_replaces_the_one_that_waits() -> None:
    """D-091, D-173"""
    bench = Bench()
    bench.control.accepts = bench.announce.accepts = 0
    bench.proxy.publish(ANNOUNCE, announce(1, 10))
    bench.proxy.publish(CONTROL, notice(1))
    bench.proxy.publish(ANNOUNCE, announce(1, 11))
    bench.announce.accepts = None
    bench.proxy.flush()
    assert bench.announce.taken == []
    assert bench.metrics["outbox_announce"] == 1
    bench.control.accepts = None
    bench.proxy.flush()
    assert [m.epoch for m in bench.announce.taken] == [11]  # type: ignore[union-attr]


def test_D_174_an_answer_too_old_is_dropped_and_its_grant_revoked() -> None:
    bench = Bench()
    bench.control.accepts = 0
    bench.proxy.publish(CONTROL, ok(5))
    bench.proxy.publish(CONTROL, notice(1))
    bench.clock.advance(5 * SECOND)
    bench.proxy.flush()
    assert bench.posted == []
    bench.clock.advance(1)
    bench.proxy.flush()
    assert bench.posted == [(DriverEvent.REVOKE_LEASE, Revocation(5, UNDELIVERABLE))]
    bench.control.accepts = None
    bench.proxy.flush()
    assert [type(m) for m in bench.control.taken] == [ShmLeaseRevoked]


def test_D_174_answers_with_fresh_ones_before_them_do_not_get_lost() -> None:
    bench = Bench()
    bench.control.accepts = 0
    bench.proxy.publish(CONTROL, ok(5))
    bench.clock.advance(4 * SECOND)
    bench.proxy.publish(CONTROL, ok(6))
    bench.control.accepts = 1
    bench.proxy.flush()
    bench.clock.advance(2 * SECOND)
    bench.proxy.flush()
    assert bench.posted == []
    bench.clock.advance(4 * SECOND)
    bench.proxy.flush()
    assert bench.posted == [(DriverEvent.REVOKE_LEASE, Revocation(6, UNDELIVERABLE))]


def test_announce_without_a_subscriber_in_a_shared_queue_is_dropped_and_does_not_block() -> None:
    """D-171, D-172"""
    bench = Bench(shared=True)
    bench.control.accepts = 0
    bench.proxy.publish(ANNOUNCE, announce(1, 10))
    bench.proxy.publish(CONTROL, refusal(1))
    bench.control.accepts = None
    bench.control.result = OfferResult.NOT_CONNECTED
    bench.proxy.flush()
    assert bench.metrics["announce_drops"] == 1
    assert bench.metrics["outbox_control"] == 1


def test_one_transport_failure_is_reported_once() -> None:
    """D-171"""
    bench = Bench()
    bench.control.result = OfferResult.CLOSED
    for number in range(5):
        bench.proxy.publish(CONTROL, refusal(number))
    assert bench.posted == [
        (DriverEvent.TRANSPORT_LOST, "publication aeron:ipc stream 1000: closed")
    ]


def test_D_176_the_final_flush_ends_in_time() -> None:
    bench = Bench()
    bench.control.accepts = 0
    for number in range(3):
        bench.proxy.publish(CONTROL, refusal(number))
    bench.proxy.publish(CONTROL, notice(1))
    bench.proxy.publish(ANNOUNCE, announce(1, 10))
    began = bench.clock.monotonic_ns()
    bench.proxy.flush_finally(lambda: bench.clock.advance(MS))
    assert bench.clock.monotonic_ns() - began <= 500 * MS
    assert bench.metrics["shutdown_flush_drops"] == 5
    assert bench.metrics["outbox_control"] == bench.metrics["outbox_announce"] == 0


def test_D_176_the_final_flush_waits_for_a_slow_reader() -> None:
    bench = Bench()
    bench.control.accepts = 0
    bench.proxy.publish(CONTROL, refusal(1))
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 20:
            bench.control.accepts = None
        bench.clock.advance(MS)

    bench.proxy.flush_finally(pause)
    assert len(bench.control.taken) == 1
    assert bench.metrics["shutdown_flush_drops"] == 0


def test_D_176_a_stop_with_a_blocked_publication_ends() -> None:
    rig = Rig()
    rig.granted(1)
    rig.network.set_faults(BLOCKED, transport="driver")
    began = rig.clock.monotonic_ns()
    rig.driver.close()
    assert rig.driver.is_stopped
    assert rig.clock.monotonic_ns() - began <= 2600 * MS  # drain and flush
    assert rig.metrics["shutdown_flush_drops"] >= 1


def test_D_176_an_echo_that_has_not_arrived_does_not_block_the_last_notice() -> None:
    rig = Rig(
        make_config(driver={"control_channel": "aeron:ipc?term-length=64k", "fragment_limit": 2})
    )
    rig.granted(1)
    for _ in range(400):
        request = encode(rig.request(client_id=0), checked=False)
        rig.driver._adapter.on_fragment(memoryview(request))
        rig.listen()
    assert rig.metrics["outbox_control"] > 0

    def pause() -> None:
        rig.clock.advance(MS)
        rig.listen()

    rig.driver._endpoints._pause = pause
    rig.driver.close(drain=False)
    rig.listen()
    assert rig.metrics["shutdown_flush_drops"] == 0
    assert len(rig.heard(ShmDriverShutdown)) == 1


def test_D_175_a_reader_that_never_polls_delays_but_loses_nothing() -> None:
    """D-175, D-173, D-186"""
    rig = Rig(make_config(driver={"control_channel": "aeron:ipc?term-length=64k"}))
    deaf = rig.client.add_subscription("aeron:ipc?term-length=64k", 1000)
    ended = 0
    for round_ in range(600):
        for client in range(1, 4):
            # Past the stream, on which the deaf reader holds the client back as well.
            request = encode(rig.request(client_id=round_ * 3 + client))
            rig.driver._adapter.on_fragment(memoryview(request))
        rig.clock.advance(SECOND)
        rig.cycle(4)
        ended = rig.metrics["leases_expired"]
    # Leases ended all the time, blocked as the driver was, and the queue kept its bounds.
    assert ended > 100
    limit = rig.config.policies.outbox_limit
    assert rig.metrics["outbox_control"] <= limit + ended
    assert rig.metrics["outbox_announce"] <= 2
    deaf.close()
    rig.run(2 * SECOND)
    assert rig.metrics["outbox_control"] == 0
    heard = {n.lease_id for n in rig.heard(ShmLeaseRevoked)}
    finished = ("leases_expired", "leases_revoked")
    assert len(heard) == sum(rig.metrics[name] for name in finished)


def test_D_066_attaches_are_shed_while_answers_cannot_be_delivered() -> None:
    """D-066, D-186"""
    rig = Rig(make_config(policies={"outbox_limit": 16}))
    rig.granted(1000)
    rig.network.set_faults(BLOCKED, transport="driver", stream_id=1000)
    for client in range(1, 27):
        rig.say(rig.request(client_id=client))
    rig.settle()
    assert rig.metrics["attach_shed"] == 10
    assert rig.metrics["leases_active"] == 17
    assert rig.metrics["attach_response_drops"] == 0


def test_D_177_nothing_is_sent_on_the_qos_stream() -> None:
    rig = Rig(make_config(driver={"descriptor_stream_id_range": IdRange(31000, 31009)}))
    qos = rig.client.add_subscription("aeron:ipc?term-length=4m", 1200)
    rig.granted(1)
    rig.hello(1, descriptor_channel="aeron:ipc", descriptor_stream_id=3)
    rig.run(3 * SECOND)
    rig.driver.close()
    assert not qos.is_connected
    assert rig.heard(ShmPoolAnnounce)[0].stream_id == STREAM
