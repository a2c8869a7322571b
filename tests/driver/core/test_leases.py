"""Leases from grant to end: identity, keepalive, detach, expiry, revocation (§6)."""

from __future__ import annotations

from typing import Any

import pytest

from tensor_pool.driver.core.configuration import IdRange
from tensor_pool.driver.core.lease_table import LeaseTable, lease_id_base
from tensor_pool.driver.messages.outgoing import UNDELIVERABLE
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    LeaseRevokeReason,
    ResponseCode,
    Role,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    encode,
)
from tests.driver.core.harness import MS, OTHER_STREAM, SECOND, STREAM, Rig, make_config

LEASE_NS = 3 * SECOND
PERIOD_NS = SECOND


def texts(rig: Rig, since: int = 0) -> list[str]:
    return [notice.error_message for notice in rig.heard(ShmLeaseRevoked, since)]


def test_D_080_lease_ids_count_up_from_the_second_of_the_start() -> None:
    clock = SimulatedClock(realtime_ns=1_700_000_000_999_999_999)
    table = LeaseTable(clock.realtime_ns())
    base = 1_700_000_000 << 32
    taken = [table.take_id() for _ in range(100_000)]
    assert taken == list(range(base + 1, base + 100_001))
    assert not table.was_issued(base)
    assert table.was_issued(base + 1)
    assert not table.was_issued(table.next_id)
    clock.advance(SECOND)
    assert lease_id_base(clock.realtime_ns()) != base


@pytest.mark.parametrize("wall", [0, 2**31 * SECOND, 2**33 * SECOND, 2**63 - 1])
def test_D_080_lease_ids_are_never_0_nor_null(wall: int) -> None:
    table = LeaseTable(wall)
    assert 0 < table.take_id() < 2**64 - 1


def test_D_080_ids_rise_across_grants_and_ends() -> None:
    rig = Rig()
    granted = []
    for _ in range(50):
        lease = rig.granted(1)
        granted.append(lease.lease_id)
        rig.detach(lease, 1, Role.CONSUMER)
    assert granted == sorted(set(granted))


def test_D_087_a_lease_kept_alive_does_not_hide_a_younger_one_that_expires() -> None:
    """D-083, D-087: the order of the checks is that of the keepalives, not that of the grants."""
    rig = Rig()
    kept, silent = rig.granted(1), rig.granted(2)
    for _ in range(5):
        rig.run(SECOND)
        rig.keepalive(kept, 1, Role.CONSUMER)
    assert [notice.lease_id for notice in rig.heard(ShmLeaseRevoked)] == [silent.lease_id]


def test_D_083_a_keepalive_extends_the_lease_and_is_not_answered() -> None:
    """D-082, D-083"""
    rig = Rig()
    lease = rig.granted(1)
    rig.run(2 * SECOND)
    heard = len(rig.messages)
    rig.keepalive(lease, 1, Role.CONSUMER, client_timestamp_ns=0)
    rig.settle()
    assert rig.messages[heard:] == []
    assert rig.snapshot().leases[0].expiry_ns == rig.clock.monotonic_ns() + LEASE_NS


@pytest.mark.parametrize(
    "change",
    [{"stream_id": OTHER_STREAM}, {"client_id": 2}, {"role": Role.PRODUCER}],
    ids=lambda change: next(iter(change)),
)
def test_D_083_any_mismatch_does_not_extend_the_lease(change: dict[str, Any]) -> None:
    rig = Rig()
    lease = rig.granted(1)
    rig.clock.advance(SECOND)
    rig.keepalive(lease, 1, Role.CONSUMER, **change)
    rig.settle()
    assert rig.snapshot().leases[0].expiry_ns == lease.lease_expiry_timestamp_ns
    assert rig.metrics["keepalives_invalid"] == 1
    assert rig.metrics["keepalives"] == 0


def test_D_083_keepalive_of_an_ended_lease_is_ignored() -> None:
    rig = Rig()
    lease = rig.granted(1)
    rig.detach(lease, 1, Role.CONSUMER)
    heard = len(rig.messages)
    rig.keepalive(lease, 1, Role.CONSUMER)
    rig.settle()
    assert rig.messages[heard:] == []
    assert rig.metrics["keepalives_invalid"] == 1


def foreign(lease_id: int) -> ShmLeaseKeepalive:
    return ShmLeaseKeepalive(lease_id, STREAM, 9, Role.PRODUCER, 0)


def test_D_084_client_of_an_earlier_driver_gets_one_notice() -> None:
    """D-084, D-102, D-186"""
    rig = Rig()
    for _ in range(3):
        rig.say(foreign(5))
        rig.settle()
    (notice,) = rig.heard(ShmLeaseRevoked)
    assert notice == ShmLeaseRevoked(
        rig.clock.monotonic_ns(),
        5,
        STREAM,
        9,
        Role.PRODUCER,
        LeaseRevokeReason.REVOKED,
        "unknown lease",
    )
    assert rig.metrics["foreign_keepalives"] == 3


def test_D_084_a_flood_of_random_ids_is_answered_16_times_a_period() -> None:
    rig = Rig()
    for lease_id in range(1, 10_001):
        rig.say(foreign(lease_id))
        if lease_id % 500 == 0:
            rig.settle()
    assert len(rig.heard(ShmLeaseRevoked)) == 16
    rig.run(PERIOD_NS)
    for lease_id in range(20_001, 20_101):
        rig.say(foreign(lease_id))
    rig.settle()
    assert len(rig.heard(ShmLeaseRevoked)) == 32


def test_D_084_an_id_left_out_by_the_limit_is_answered_later() -> None:
    rig = Rig()
    for lease_id in range(1, 18):
        rig.say(foreign(lease_id))
    rig.settle()
    rig.run(PERIOD_NS)
    rig.say(foreign(17))
    rig.settle()
    assert rig.heard(ShmLeaseRevoked)[-1].lease_id == 17


def test_D_085_detach_ends_the_lease_once() -> None:
    """D-085, D-186"""
    rig = Rig()
    lease = rig.granted(1, Role.PRODUCER)
    first = rig.detach(lease, 1, Role.PRODUCER)
    assert (first.code, first.error_message) == (ResponseCode.OK, "")
    epoch = rig.stream().epoch
    heard = len(rig.messages)
    second = rig.detach(lease, 1, Role.PRODUCER)
    assert (second.code, second.error_message) == (ResponseCode.REJECTED, "unknown lease")
    assert second.correlation_id == rig.correlation_id
    assert rig.messages[heard:] == [second]
    assert rig.stream().epoch == epoch


@pytest.mark.parametrize(
    "change",
    [{"lease_id": 1}, {"stream_id": OTHER_STREAM}, {"client_id": 2}, {"role": Role.PRODUCER}],
    ids=lambda change: next(iter(change)),
)
def test_D_085_detach_must_match_in_everything(change: dict[str, Any]) -> None:
    rig = Rig()
    lease = rig.granted(1)
    before = rig.snapshot()
    answer = rig.detach(lease, 1, Role.CONSUMER, **change)
    assert (answer.code, answer.error_message) == (ResponseCode.REJECTED, "unknown lease")
    assert rig.snapshot() == before


def test_D_086_tables_shrink_with_the_end_of_a_lease() -> None:
    config = make_config(
        driver={"stream_id_range": IdRange(20000, 20010)}, policies={"allow_dynamic_streams": True}
    )
    rig = Rig(config)
    first = rig.granted(1, stream_id=0)
    second = rig.granted(2, stream_id=first.stream_id)
    assert rig.metrics["leases_active"] == 2
    assert rig.metrics["streams_total"] == 3
    rig.detach(first, 1, Role.CONSUMER)
    assert rig.metrics["leases_active"] == 1
    assert rig.metrics["streams_total"] == 3
    rig.detach(second, 2, Role.CONSUMER)
    assert rig.metrics["leases_active"] == 0
    assert rig.metrics["streams_total"] == 2
    assert ("collect", 0, 0) in rig.store.calls


def test_D_087_silent_client_expires_and_its_stream_goes_on() -> None:
    """D-087, D-186"""
    rig = Rig()
    lease = rig.granted(1, Role.PRODUCER)
    rig.run(LEASE_NS + 2 * PERIOD_NS)
    (notice,) = rig.heard(ShmLeaseRevoked)
    assert (notice.lease_id, notice.reason) == (lease.lease_id, LeaseRevokeReason.EXPIRED)
    assert rig.heard(ShmPoolAnnounce)[-1].epoch > lease.epoch
    assert rig.granted(2, Role.PRODUCER).epoch > lease.epoch


def test_D_088_detection_takes_at_most_the_lease_and_one_period() -> None:
    """D-088, D-082"""
    for offset_ms in range(0, 1000, 90):
        rig = Rig()
        rig.run(offset_ms * MS, MS)
        lease = rig.granted(1)
        granted_ns = rig.clock.monotonic_ns()
        while not rig.heard(ShmLeaseRevoked):
            rig.run(10 * MS)
        took_ns = rig.clock.monotonic_ns() - granted_ns
        assert LEASE_NS < took_ns <= LEASE_NS + PERIOD_NS + 10 * MS
        assert lease.lease_expiry_timestamp_ns < rig.clock.monotonic_ns()


def test_D_014_keepalive_in_the_cycle_of_the_lease_check_wins() -> None:
    """D-014, D-087"""
    rig = Rig()
    lease = rig.granted(1)
    rig.clock.advance(LEASE_NS + PERIOD_NS)
    rig.keepalive(lease, 1, Role.CONSUMER)
    rig.cycle()
    assert rig.heard(ShmLeaseRevoked) == []
    assert rig.metrics["keepalives"] == 1


def test_D_087_keepalives_queued_while_the_driver_stood_still_are_honoured() -> None:
    """D-087, D-186"""
    rig = Rig()
    leases = {client: rig.granted(client) for client in range(1, 41)}
    for _ in range(10):  # the driver does not run for 10 s, its clients do
        rig.clock.advance(SECOND)
        for client, lease in leases.items():
            rig.keepalive(lease, client, Role.CONSUMER)
    rig.settle()
    assert rig.heard(ShmLeaseRevoked) == []
    rig.run(LEASE_NS + 2 * PERIOD_NS)
    assert len(rig.heard(ShmLeaseRevoked)) == 40


def test_D_087_endless_flood_delays_expiry_by_no_more_than_another_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D-087, D-065"""
    monkeypatch.setattr("tensor_pool.driver.driver.LONGEST_POLL_NS", 0)  # one batch a cycle
    rig = Rig(make_config(driver={"fragment_limit": 5}))
    lease = rig.granted(1)
    granted_ns = rig.clock.monotonic_ns()
    noise = encode(ShmDetachRequest(1, 1, 1, 1, Role.CONSUMER))
    while not rig.heard(ShmLeaseRevoked):
        for _ in range(5):
            rig.say(noise)
        rig.clock.advance(20 * MS)
        rig.cycle()
        assert rig.clock.monotonic_ns() <= granted_ns + 2 * LEASE_NS + PERIOD_NS + 20 * MS
    assert rig.heard(ShmLeaseRevoked)[0].lease_id == lease.lease_id
    assert rig.clock.monotonic_ns() > granted_ns + 2 * LEASE_NS


def test_D_089_revoking_by_hand_notifies_the_client_and_ends_the_lease() -> None:
    rig = Rig()
    lease = rig.granted(1)
    assert rig.driver.revoke_lease(lease.lease_id, "make room")
    rig.listen()
    assert texts(rig) == ["make room"]
    assert not rig.driver.revoke_lease(lease.lease_id)
    assert not rig.driver.revoke_lease(1)
    assert rig.metrics["leases_revoked"] == 1


def test_D_174_grant_that_cannot_be_delivered_is_revoked() -> None:
    """D-089, D-174"""
    rig = Rig()
    blocked = Faults(offer_result=OfferResult.BACK_PRESSURED)
    rig.network.set_faults(blocked, transport="driver")
    rig.say(rig.request(client_id=1, role=Role.PRODUCER, desired_node_id=77))
    rig.settle()
    assert rig.metrics["leases_active"] == 1
    # Not kept alive: its client has no answer yet, and the answer gets too old first.
    rig.run(2 * SECOND)
    lease = rig.snapshot().leases[0]
    for _ in range(5):
        rig.say(ShmLeaseKeepalive(lease.lease_id, STREAM, 1, Role.PRODUCER, 0))
        rig.run(SECOND)
    assert rig.metrics["attach_response_drops"] == 1
    assert rig.metrics["leases_active"] == 0
    rig.network.set_faults(Faults(), transport="driver")
    rig.run(SECOND)
    assert rig.heard(ShmAttachResponse) == []
    assert texts(rig) == [UNDELIVERABLE]
    assert rig.granted(1, Role.PRODUCER, desired_node_id=77).node_id == 77


def test_expiry_after_a_provisioning_of_many_seconds_begins_with_the_grant() -> None:
    """D-082"""
    rig = Rig()
    rig.store.faults.slow_ns = 20 * SECOND
    lease = rig.granted(1)
    assert lease.lease_expiry_timestamp_ns == rig.clock.monotonic_ns() + LEASE_NS
    rig.cycle(3)
    assert rig.heard(ShmLeaseRevoked) == []


def test_keepalives_that_wait_behind_a_slow_provisioning_are_honoured() -> None:
    """D-087"""
    rig = Rig()
    leases = {client: rig.granted(client) for client in range(1, 31)}
    rig.store.faults.slow_ns = 12 * SECOND
    rig.say(rig.request(client_id=99, stream_id=OTHER_STREAM))
    for client, lease in leases.items():
        rig.keepalive(lease, client, Role.CONSUMER)
    rig.settle()
    assert rig.heard(ShmLeaseRevoked) == []
    assert rig.metrics["keepalives"] == 30
