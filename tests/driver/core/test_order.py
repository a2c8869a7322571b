"""The order of the driver's messages (§7)."""

from __future__ import annotations

from typing import Any

from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    LeaseRevokeReason,
    Role,
    ShmAttachResponse,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
)
from tests.driver.core.harness import MS, OTHER_STREAM, SECOND, STREAM, Rig, make_config

BLOCKED = Faults(offer_result=OfferResult.BACK_PRESSURED)
TWO_CHANNELS = {"announce_stream_id": 1001}


def said(rig: Rig, since: int) -> list[Any]:
    """Classes of messages, notices by their reason."""
    return [m.reason if isinstance(m, ShmLeaseRevoked) else type(m) for m in rig.messages[since:]]


def test_D_090_attach_refused() -> None:
    rig = Rig()
    rig.attach(0)
    assert said(rig, 0) == [ShmAttachResponse]


def test_D_090_attach_granted() -> None:
    """D-090, D-073"""
    rig = Rig()
    for client, role in ((1, Role.CONSUMER), (2, Role.PRODUCER)):
        heard = len(rig.messages)
        answer = rig.granted(client, role)
        streams = [ConsumerConfig] if role is Role.PRODUCER else []  # D-168: before the grant
        assert said(rig, heard) == [*streams, ShmAttachResponse, ShmPoolAnnounce]
        announce = rig.messages[-1]
        assert isinstance(announce, ShmPoolAnnounce)
        assert announce.epoch == answer.epoch


def test_D_090_producer_detach() -> None:
    rig = Rig()
    lease = rig.granted(1, Role.PRODUCER)
    heard = len(rig.messages)
    rig.detach(lease, 1, Role.PRODUCER)
    assert said(rig, heard) == [LeaseRevokeReason.DETACHED, ShmPoolAnnounce, ShmDetachResponse]
    assert rig.heard(ShmPoolAnnounce)[-1].epoch > lease.epoch


def test_D_090_consumer_detach() -> None:
    rig = Rig()
    lease = rig.granted(1)
    heard = len(rig.messages)
    rig.detach(lease, 1, Role.CONSUMER)
    assert said(rig, heard) == [LeaseRevokeReason.DETACHED, ShmDetachResponse]


def test_D_090_expiry_of_producer_and_consumer() -> None:
    rig = Rig(make_config(policies={"announce_period_ms": 3_600_000}))
    rig.granted(1, Role.PRODUCER)
    rig.granted(2, stream_id=OTHER_STREAM)
    heard = len(rig.messages)
    rig.run(5 * SECOND)
    expired = LeaseRevokeReason.EXPIRED
    assert said(rig, heard) == [expired, ShmPoolAnnounce, expired]


def test_D_090_revocation() -> None:
    rig = Rig()
    producer = rig.granted(1, Role.PRODUCER)
    consumer = rig.granted(2)
    heard = len(rig.messages)
    rig.driver.revoke_lease(producer.lease_id)
    rig.driver.revoke_lease(consumer.lease_id)
    rig.settle()
    revoked = LeaseRevokeReason.REVOKED
    assert said(rig, heard) == [revoked, ShmPoolAnnounce, revoked]


def test_D_090_producer_end_without_provisioning_announces_nothing() -> None:
    rig = Rig()
    lease = rig.granted(1, Role.PRODUCER)
    rig.store.faults.permission = True
    heard = len(rig.messages)
    rig.detach(lease, 1, Role.PRODUCER)
    assert said(rig, heard) == [LeaseRevokeReason.DETACHED, ShmDetachResponse]


def test_D_090_shutdown_announces_once_more_and_sends_its_notice() -> None:
    """D-090, D-141, D-150"""
    rig = Rig()
    rig.granted(1)
    rig.granted(2, stream_id=OTHER_STREAM)
    heard = len(rig.messages)
    rig.driver.request_shutdown(ShutdownReason.ADMIN, "bye")
    rig.settle()
    assert said(rig, heard) == [ShmPoolAnnounce, ShmPoolAnnounce]
    rig.driver.close()
    rig.listen()
    goodbye = rig.messages[-1]
    assert isinstance(goodbye, ShmDriverShutdown)
    assert (goodbye.reason, goodbye.error_message) == (ShutdownReason.ADMIN, "bye")
    assert len(rig.heard(ShmDriverShutdown)) == 1


def test_D_017_ends_and_announces_go_by_ascending_id() -> None:
    rig = Rig(make_config(streams=(30, 7, 19), policies={"announce_period_ms": 10_000}))
    granted = [rig.granted(c, stream_id=s) for c, s in ((5, 30), (9, 7), (2, 19), (8, 7))]
    # The last one granted is the first to be silent.
    for lease, client in zip(granted[:3], (5, 9, 2), strict=True):
        rig.clock.advance(10 * MS)
        rig.keepalive(lease, client, Role.CONSUMER)
        rig.settle()
    heard = len(rig.messages)
    rig.run(9 * SECOND)
    expected = [lease.lease_id for lease in granted]
    assert [n.lease_id for n in rig.heard(ShmLeaseRevoked, heard)] == expected
    rig.run(2 * SECOND)
    assert [a.stream_id for a in rig.heard(ShmPoolAnnounce, heard)][:3] == [7, 19, 30]


def test_D_017_the_same_seed_sends_the_same_bytes() -> None:
    """D-017, D-004"""

    def session() -> list[Any]:
        rig = Rig()
        rig.network.set_faults(Faults(back_pressure=0.3, admin_action=0.1), transport="driver")
        for client in range(1, 20):
            rig.say(rig.request(client_id=client, role=Role(client % 2 + 1)))
        rig.run(10 * SECOND)
        rig.driver.close()
        rig.listen()
        return rig.messages

    assert session() == session()


def test_D_091_announce_waits_for_the_notice_that_caused_it() -> None:
    """D-091, D-093"""
    rig = Rig(make_config(driver=TWO_CHANNELS))
    lease = rig.granted(1, Role.PRODUCER)
    rig.granted(2, stream_id=OTHER_STREAM)
    rig.network.set_faults(BLOCKED, transport="driver", stream_id=1000)
    heard = len(rig.messages)
    rig.run(5 * SECOND)
    announced = rig.heard(ShmPoolAnnounce, heard)
    assert {a.epoch for a in announced if a.stream_id == STREAM} == {lease.epoch}
    assert rig.heard(ShmLeaseRevoked, heard) == []
    heard = len(rig.messages)
    rig.network.set_faults(Faults(), transport="driver", stream_id=1000)
    rig.run(10 * MS)
    messages = rig.messages[heard:]
    (notice, _) = rig.heard(ShmLeaseRevoked, heard)
    (announce,) = [m for m in messages if isinstance(m, ShmPoolAnnounce) and m.stream_id == STREAM]
    assert announce.epoch > lease.epoch
    assert notice.timestamp_ns < announce.announce_timestamp_ns
    assert notice.timestamp_ns <= rig.clock.monotonic_ns() - SECOND


def test_D_091_other_streams_do_not_wait_for_the_notice() -> None:
    rig = Rig(make_config(driver=TWO_CHANNELS))
    rig.granted(1, Role.PRODUCER)
    other = rig.granted(2, stream_id=OTHER_STREAM)
    rig.network.set_faults(BLOCKED, transport="driver", stream_id=1000)
    for _ in range(6):
        rig.keepalive(other, 2, Role.CONSUMER)
        rig.run(SECOND)
    heard = len(rig.messages)
    rig.keepalive(other, 2, Role.CONSUMER)
    rig.run(2 * SECOND)
    assert {a.stream_id for a in rig.heard(ShmPoolAnnounce, heard)} == {OTHER_STREAM}


def test_D_091_on_one_stream_everything_stays_in_the_order_of_sending() -> None:
    rig = Rig()
    lease = rig.granted(1, Role.PRODUCER)
    rig.network.set_faults(BLOCKED, transport="driver")
    heard = len(rig.messages)
    rig.run(4500 * MS)
    assert rig.messages[heard:] == []
    rig.network.set_faults(Faults(), transport="driver")
    rig.run(10 * MS)
    assert said(rig, heard) == [LeaseRevokeReason.EXPIRED, ShmPoolAnnounce]
    assert rig.heard(ShmPoolAnnounce)[-1].epoch > lease.epoch


def test_D_092_notice_is_with_the_publisher_before_provisioning_starts() -> None:
    rig = Rig()
    lease = rig.granted(1, Role.PRODUCER)
    seen: list[int] = []

    def watch(operation: str, stream_id: int, epoch: int) -> None:
        if operation == "provision":
            rig.listen()
            seen.append(len(rig.heard(ShmLeaseRevoked)))

    rig.store.on_call = watch
    rig.detach(lease, 1, Role.PRODUCER)
    assert seen == [1]


def test_D_093_a_notice_keeps_its_stamp_while_it_waits() -> None:
    rig = Rig()
    rig.granted(1)
    rig.network.set_faults(BLOCKED, transport="driver")
    rig.run(4500 * MS)
    ended_ns = next(
        entry.message.timestamp_ns
        for entry in rig.driver._services.publisher._control._entries.values()  # type: ignore[attr-defined]
        if isinstance(entry.message, ShmLeaseRevoked)
    )
    rig.run(3 * SECOND)
    rig.network.set_faults(Faults(), transport="driver")
    rig.run(10 * MS)
    (notice,) = rig.heard(ShmLeaseRevoked)
    assert notice.timestamp_ns == ended_ns
    assert rig.heard(ShmPoolAnnounce)[-1].announce_timestamp_ns > ended_ns + 3 * SECOND - 100 * MS
