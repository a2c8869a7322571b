"""Keeping a lease and losing it (§6)."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest

from tensor_pool.client.producer.results import PublishStatus
from tensor_pool.protocol.errors import ClosedError, LeaseLostError
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    LeaseRevokeReason,
    ResponseCode,
    Role,
    ShmLeaseRevoked,
    encode,
)
from tests.client.fake_driver import lines_of_maps
from tests.client.world import STREAM, S, World

IMAGE = np.arange(12, dtype=np.uint16)
REFUSING = Faults(offer_result=OfferResult.NOT_CONNECTED)


def test_C_050_a_lease_is_kept_for_as_long_as_the_client_runs(world: World) -> None:
    producer, _ = world.pair()
    world.run(20)
    stamps = [
        k.client_timestamp_ns for k in world.driver.keepalives if k.client_id == producer.client_id
    ]
    gaps = {round((b - a) / S, 1) for a, b in itertools.pairwise(stamps)}
    assert gaps == {1.0}
    assert len(world.driver.attach_requests) == 2


def test_C_051_after_a_stop_of_ten_seconds_nothing_is_published_or_delivered(
    world: World,
) -> None:
    """C-051 and CI-1: the first call after the stop finds the deadline passed."""
    producer, consumer = world.pair()
    assert producer.publish(IMAGE)
    world.clock.advance(10 * S)
    slot = world.driver.streams[STREAM].peek(0, 64 + 256, 256)
    result = producer.publish(IMAGE)
    assert (result.status, result.seq) == (PublishStatus.NOT_ACTIVE, None)
    assert world.driver.streams[STREAM].peek(0, 64 + 256, 256) == slot
    assert consumer.poll() is None
    assert consumer.metrics()["drops_unmapped"] == 1
    world.run(1.0)
    assert producer.metrics()["lease_losses_deadline_passed"] == 1
    assert (producer.state, consumer.state) == ("Active", "Mapped")


def test_C_052_a_failed_keepalive_leads_to_a_new_lease(world: World) -> None:
    consumer = world.client("losing").consumer(STREAM)
    world.network.set_faults(REFUSING, transport="losing", stream_id=1000)
    world.run(1.1)
    assert consumer.metrics()["lease_losses_keepalive_failed"] == 1
    world.network.set_faults(Faults(), transport="losing", stream_id=1000)
    world.run(1.0)
    assert consumer.poll_ready()


def test_frames_that_pass_while_a_consumer_has_no_lease_are_counted_when_it_is_back(
    world: World,
) -> None:
    """Also those whose descriptors it never saw, and those of an epoch that began meanwhile."""
    producer, _ = world.pair()
    consumer = world.client("losing").consumer(STREAM)
    for _ in range(2):
        producer.publish(IMAGE)
    assert [consumer.poll().seq, consumer.poll().seq] == [0, 1]
    world.network.set_faults(REFUSING, transport="losing", stream_id=1000)
    world.run(1.1)
    for _ in range(5):
        producer.publish(IMAGE)
    assert consumer.poll() is None
    world.network.set_faults(Faults(), transport="losing", stream_id=1000)
    world.run(1.0)
    producer.publish(IMAGE)
    assert consumer.poll().seq == 7
    metrics = consumer.metrics()
    assert (metrics["missed_unmapped"], metrics["drops_gap"]) == (5, 0)
    producer.close()
    world.network.set_faults(REFUSING, transport="losing", stream_id=1000)
    world.run(1.1)
    successor = world.client("successor").producer(STREAM)
    for _ in range(12):
        successor.publish(IMAGE)
    assert consumer.poll(limit=100) is None
    world.network.set_faults(Faults(), transport="losing", stream_id=1000)
    world.run(5.0)
    successor.publish(IMAGE)
    assert consumer.poll().seq == 12
    assert consumer.metrics()["missed_unmapped"] == 5
    assert consumer.metrics()["drops_gap"] == 12


def test_C_053_an_own_notice_ends_the_lease_at_once(world: World) -> None:
    """C-053, W-148: publishing fails and writes nothing, the maps are gone, reattach follows."""
    producer, consumer = world.pair()
    world.driver.silent = True
    world.driver.notice(world.driver.lease_of(producer.client_id), text="administrator")
    producer._client.do_work()
    assert producer.state == "Paused"
    assert producer.publish(IMAGE).status is PublishStatus.NOT_ACTIVE
    assert isinstance(producer.last_error, LeaseLostError)
    assert producer.last_error.reason == "REVOKED: administrator"
    assert not any(" rw-s " in line for line in lines_of_maps(world.base))
    world.driver.silent = False
    world.run(1.5)
    assert producer.state == "Active"
    assert consumer.state == "Mapped"


@pytest.mark.parametrize(
    "change",
    [{"lease_id": 9999}, {"stream_id": STREAM + 1}, {"client_id": 1}, {"role": Role.CONSUMER}],
    ids=lambda c: next(iter(c)),
)
def test_C_053_a_notice_that_differs_in_one_field_is_ignored(
    world: World, change: dict[str, Any]
) -> None:
    producer = world.client().producer(STREAM)
    world.driver.notice(world.driver.lease_of(producer.client_id), **change)
    world.run(0.05)
    assert producer.state == "Active"
    assert len(world.driver.attach_requests) == 1


@pytest.mark.parametrize(("offset", "value"), [(32, 3), (33, 9), (33, 0)])
def test_C_054_a_notice_with_an_undefined_role_or_reason_is_rejected(
    world: World, offset: int, value: int
) -> None:
    """C-054, M-230."""
    producer = world.client().producer(STREAM)
    lease = world.driver.lease_of(producer.client_id)
    data = bytearray(
        encode(
            ShmLeaseRevoked(
                timestamp_ns=1,
                lease_id=lease.lease_id,
                stream_id=STREAM,
                client_id=lease.client_id,
                role=Role.PRODUCER,
                reason=LeaseRevokeReason.REVOKED,
            )
        )
    )
    data[offset] = value
    world.say(1000, bytes(data))
    world.run(0.05)
    assert producer.state == "Active"
    assert producer.metrics()["bad_message"] == 1


def test_C_054_duplicates_are_harmless_and_others_are_not_touched(world: World) -> None:
    """C-054, CI-9."""
    client = world.client()
    first = client.consumer(STREAM)
    second = client.consumer(STREAM)
    lease = world.driver.lease_of(first.client_id)
    world.driver.leases.pop(lease.lease_id)
    for _ in range(3):
        world.driver.notice(lease)
    world.run(0.02)
    assert (first.state, second.state) == ("Unmapped", "Mapped")
    world.run(0.5)
    assert first.state == "Mapped"
    assert first.metrics()["lease_losses_revoked"] == 1
    assert second.metrics()["lease_losses_revoked"] == 0
    assert first.metrics()["attaches"] == 2
    assert second.metrics()["attaches"] == 1


def test_C_055_after_the_producers_notice_only_a_higher_epoch_is_mapped(world: World) -> None:
    """C-055, W-147."""
    producer, consumer = world.pair()
    stream = world.driver.streams[STREAM]
    other = world.driver.add_stream(STREAM + 1)
    lease = world.driver.lease_of(producer.client_id)
    producer._attachment.is_closing = True  # it shall not come back
    world.driver.notice(lease)
    world.run(0.02)
    assert consumer.state == "Remapping"
    world.driver.announce(stream)
    world.driver.announce(other)
    world.run(0.02)
    assert consumer.state == "Remapping"
    stream.new_epoch(world.clock.monotonic_ns())
    world.driver.announce(stream)
    world.run(0.02)
    assert consumer.state == "Mapped"
    assert consumer._attachment.machine.mapping.epoch == stream.epoch


def test_C_056_the_announce_may_overtake_the_notice(world: World) -> None:
    """C-056: no remap loop when both travel on different streams."""
    consumer = world.client().consumer(STREAM)
    stream = world.driver.streams[STREAM]
    notice = ShmLeaseRevoked(
        timestamp_ns=world.clock.monotonic_ns(),
        lease_id=999,
        stream_id=STREAM,
        client_id=5,
        role=Role.PRODUCER,
        reason=LeaseRevokeReason.EXPIRED,
    )
    world.clock.advance(1000)
    stream.new_epoch(world.clock.monotonic_ns())
    world.driver.announce(stream)
    world.run(0.02)
    mapped = consumer._attachment.machine.mapping
    world.driver.send(notice)
    world.run(0.02)
    assert consumer._attachment.machine.mapping is mapped
    world.driver.send(msgspec.structs.replace(notice, timestamp_ns=world.clock.monotonic_ns()))
    world.run(0.02)
    assert consumer.state == "Remapping"


def test_C_057_a_driver_shutdown_ends_every_lease_and_all_come_back(world: World) -> None:
    """C-057, W-148."""
    seen: list[str] = []
    client = world.client()
    producer = client.producer(STREAM, on_shutdown=lambda: seen.append("producer"))
    consumer = client.consumer(STREAM, on_shutdown=lambda: seen.append("consumer"))
    world.run(0.05)
    requests = len(world.driver.attach_requests)
    world.driver.shut_down()
    world.run(0.05)
    assert seen == ["producer", "consumer"]
    assert (producer.connection_state, consumer.connection_state) == ("Unattached", "Unattached")
    assert (producer.state, consumer.state) == ("Idle", "Unmapped")
    assert list(lines_of_maps(world.base)) == []
    world.run(0.9)
    assert len(world.driver.attach_requests) == requests
    world.run(0.5)
    assert (producer.state, consumer.state) == ("Active", "Mapped")
    assert producer.metrics()["lease_losses_driver_shutdown"] == 1


def test_C_058_a_silent_driver_is_lost_within_the_timeout(world: World) -> None:
    """C-058, CI-1: unmapped within the liveness timeout plus one cycle."""
    producer, consumer = world.pair()
    heard = world.clock.monotonic_ns()
    world.driver.announces = False
    world.driver.silent = True
    while producer.state == "Active" or consumer.state == "Mapped":
        world.run(0.01)
        assert world.clock.monotonic_ns() - heard <= 5 * S + 50_000_000
    assert producer.metrics()["lease_losses_driver_lost"] == 1
    assert list(lines_of_maps(world.base)) == []


@pytest.mark.parametrize("first_sign", ["notice", "keepalive", "silence", "pid"])
def test_C_059_a_restarted_driver_always_ends_in_a_new_attach(
    world: World, first_sign: str
) -> None:
    """C-059, W-146: whatever is seen first, the old lease is never used silently."""
    consumer = world.client("it").consumer(STREAM)
    world.run(0.5)
    old = world.driver.leases.pop(world.driver.lease_of(consumer.client_id).lease_id)
    stream = world.driver.streams[STREAM]
    if first_sign == "notice":
        world.driver.notice(old, text="unknown lease")
    elif first_sign == "keepalive":
        world.network.set_faults(REFUSING, transport="it", stream_id=1000)
        world.run(1.1)
        world.network.set_faults(Faults(), transport="it", stream_id=1000)
    elif first_sign == "silence":
        world.driver.announces = world.driver.refreshes = False
        world.run(6)
        world.driver.announces = world.driver.refreshes = True
    else:
        stream.poke(0, 40, (999).to_bytes(8, "little"))
        world.driver.announce(stream)
        world.run(0.02)
        assert consumer.state == "Remapping"
        assert consumer._attachment.machine.min_epoch == stream.epoch + 1
    world.run(9)
    assert consumer.state == "Mapped"
    lease = consumer._attachment.connection.grant.lease_id
    assert lease != old.lease_id
    assert lease in world.driver.leases


def test_C_060_close_detaches_unmaps_and_is_final(world: World) -> None:
    producer, consumer = world.pair()
    for handle in (producer, consumer):
        handle.close()
        handle.close()
    assert world.driver.leases == {}
    assert list(lines_of_maps(world.base)) == []
    for call in (
        lambda: producer.publish(IMAGE),
        lambda: producer.loan(10),
        lambda: producer.loan((2, 2), np.uint8),
        lambda: producer.set_metadata("x"),
        lambda: producer.metrics(),
        lambda: producer.poll_ready(),
        lambda: consumer.poll(),
        lambda: consumer.latest(),
        lambda: consumer.receive(timeout=0),
        lambda: consumer.metrics(),
    ):
        with pytest.raises(ClosedError):
            call()
    assert list(consumer) == []


def test_C_060_a_detach_without_an_answer_is_given_up(world: World) -> None:
    consumer = world.client(detach_timeout=0.1).consumer(STREAM)
    world.driver.silent = True
    at = world.clock.monotonic_ns()
    consumer.close()
    assert world.clock.monotonic_ns() - at < S
    assert len(world.driver.detach_requests) == 3


def test_C_021_keepalives_and_detaches_name_the_accepted_lease(world: World) -> None:
    _, consumer = world.pair()
    world.run(1.2)
    lease = world.driver.lease_of(consumer.client_id)
    mine = [k for k in world.driver.keepalives if k.client_id == consumer.client_id]
    assert {k.lease_id for k in mine} == {lease.lease_id}
    assert {(k.stream_id, k.role) for k in mine} == {(STREAM, Role.CONSUMER)}
    consumer.close()
    [detach] = world.driver.detach_requests
    assert (detach.lease_id, detach.stream_id, detach.client_id, detach.role) == (
        lease.lease_id,
        STREAM,
        consumer.client_id,
        Role.CONSUMER,
    )


def test_a_refused_reattach_goes_on_in_the_background(world: World) -> None:
    """C-121: after the attach nothing is raised; callback, last_error and counters tell."""
    refused: list[tuple[int, str]] = []
    client = world.client()
    consumer = client.consumer(STREAM, on_refused=lambda code, text: refused.append((code, text)))
    world.driver.refusal = (ResponseCode.INVALID_PARAMS, "gone")
    world.driver.revoke(world.driver.lease_of(consumer.client_id))
    world.run(5)
    assert refused[0] == (ResponseCode.INVALID_PARAMS, "gone")
    assert 1 <= len(refused) <= 4  # the longest delay at once (C-032)
    world.driver.refusal = None
    world.run(4)
    assert consumer.poll_ready()


def test_C_058_without_any_announce_the_error_names_the_announce_stream(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """As beside a driver that announces on a stream that the client does not have."""
    world.driver.announces = False
    consumer = world.client(announce_stream_id=1001).consumer(STREAM)
    world.run(5.1)
    text = str(consumer.last_error)
    assert text.startswith("lease lost: driver lost: no announce of stream 10000 since the attach")
    assert "stream 1001" in text
    assert "announce_stream_id" in text
    assert text in caplog.text


def test_C_058_a_driver_that_fell_silent_is_not_taken_for_one_that_announces_elsewhere(
    world: World,
) -> None:
    consumer = world.client().consumer(STREAM)
    world.run(1.5)
    world.driver.announces = False
    world.run(5.1)
    assert str(consumer.last_error) == "lease lost: driver lost"
