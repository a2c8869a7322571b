"""The driver's announces of pools: their times and their contents (§13)."""

from __future__ import annotations

import itertools

from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import ClockDomain, Role, ShmPoolAnnounce
from tests.driver.core.harness import MS, OTHER_STREAM, SECOND, STREAM, Rig, make_config


def announced(rig: Rig, since: int = 0) -> list[tuple[int, int]]:
    return [(a.stream_id, a.epoch) for a in rig.heard(ShmPoolAnnounce, since)]


def test_D_150_streams_with_an_epoch_are_announced_every_period() -> None:
    rig = Rig()
    epoch = rig.granted(1, Role.PRODUCER).epoch
    assert announced(rig) == [(STREAM, epoch)]
    heard = len(rig.messages)
    rig.clock.advance(SECOND)
    rig.settle()
    rig.clock.advance(SECOND)
    rig.settle()
    assert announced(rig, heard) == [(STREAM, epoch)] * 2


def test_D_150_a_grant_announces_once_although_it_made_an_epoch() -> None:
    rig = Rig()
    rig.granted(1)
    rig.granted(2, Role.PRODUCER)
    assert len(announced(rig)) == 2


def test_D_150_announces_go_to_their_own_channel_if_it_is_configured() -> None:
    rig = Rig(make_config(driver={"announce_stream_id": 1001}))
    rig.granted(1)
    control, announce = rig.ears
    assert (control.stream_id, announce.stream_id) == (1000, 1001)
    sessions = [p.stream_id for p in rig.driver._endpoints._publications]
    assert sessions == [1000, -1000, 1001]  # -1000 is the beacon (W-009)
    assert len(announced(rig)) == 1


def test_D_145_a_stream_that_lost_its_producer_while_draining_is_silent() -> None:
    """D-145, D-090"""
    rig = Rig(make_config(policies={"shutdown_timeout_ms": 60_000}))
    producer = rig.granted(1, Role.PRODUCER)
    other = rig.granted(2, stream_id=OTHER_STREAM)
    rig.driver.request_shutdown()
    rig.settle()
    heard = len(rig.messages)
    rig.detach(producer, 1, Role.PRODUCER)
    for _ in range(3):
        rig.keepalive(other, 2, Role.CONSUMER)
        rig.run(SECOND)
    assert {stream for stream, _ in announced(rig, heard)} == {OTHER_STREAM}


def test_D_151_consumers_get_an_epoch_within_a_period_of_the_store_being_well() -> None:
    """D-151, D-186"""
    rig = Rig()
    consumer = rig.granted(1)
    producer = rig.granted(2, Role.PRODUCER)
    rig.store.faults.permission = True
    rig.detach(producer, 2, Role.PRODUCER)
    rig.run(2 * SECOND)
    rig.keepalive(consumer, 1, Role.CONSUMER)
    rig.settle()
    assert rig.snapshot().streams[0].state == "Live.Init"
    heard = len(rig.messages)
    rig.store.faults.permission = False
    rig.run(SECOND)
    ((stream_id, epoch),) = announced(rig, heard)
    assert stream_id == STREAM
    assert epoch > producer.epoch
    assert rig.snapshot().streams[0].state == "Live.Active.Ready"


def test_D_151_an_init_stream_without_consumers_is_left_alone() -> None:
    rig = Rig()
    rig.run(3 * SECOND)
    assert rig.store.calls == [("open", 0, 0)]


def test_D_151_collection_goes_on_while_retired_epochs_are_too_young() -> None:
    """D-151, D-126"""
    rig = Rig(make_config(policies={"epoch_gc_keep": 1}))
    lease = rig.granted(1, Role.PRODUCER)
    rig.detach(lease, 1, Role.PRODUCER)
    assert rig.store.collected == []
    rig.run(5 * SECOND)
    assert rig.store.collected == [(STREAM, lease.epoch)]


def test_D_152_announce_has_what_an_attach_would_return() -> None:
    """D-152, W-121, W-122: stamped with this host's monotonic clock at the time of sending."""
    rig = Rig()
    rig.granted(1, Role.PRODUCER)
    consumer = rig.granted(2)
    announce = rig.heard(ShmPoolAnnounce)[-1]
    assert announce.producer_id == 1
    assert announce.announce_clock_domain is ClockDomain.MONOTONIC
    assert announce.announce_timestamp_ns == rig.clock.monotonic_ns()
    for name in ("stream_id", "epoch", "layout_version", "header_nslots", "header_slot_bytes"):
        assert getattr(announce, name) == getattr(consumer, name)
    assert announce.payload_pools == consumer.payload_pools
    assert announce.header_region_uri == consumer.header_region_uri


def test_D_152_an_announce_that_waited_carries_the_time_it_left() -> None:
    rig = Rig()
    rig.network.set_faults(Faults(offer_result=OfferResult.BACK_PRESSURED), transport="driver")
    rig.say(rig.request(client_id=1))
    rig.settle()
    rig.clock.advance(400 * MS)
    rig.network.set_faults(Faults(), transport="driver")
    rig.settle()
    rig.cycle()
    (announce,) = rig.heard(ShmPoolAnnounce)
    assert announce.announce_timestamp_ns == rig.clock.monotonic_ns()


def test_D_131_activity_is_refreshed_with_and_without_a_producer() -> None:
    rig = Rig()
    for client, role in ((1, Role.CONSUMER), (2, Role.PRODUCER)):
        lease = rig.granted(client, role)
        directory = rig.disk.epochs[STREAM][lease.epoch]
        rig.clock.advance(SECOND)
        rig.settle()
        assert directory.activity_ns == rig.clock.monotonic_ns()


def test_D_005_the_store_is_only_asked_to_refresh_while_nothing_happens() -> None:
    rig = Rig()
    lease = rig.granted(1, Role.PRODUCER)
    rig.store.calls.clear()
    for _ in range(3600):
        rig.clock.advance(SECOND)
        rig.keepalive(lease, 1, Role.PRODUCER)
        rig.cycle()
        rig.messages.clear()
    assert {operation for operation, _, _ in rig.store.calls} <= {"refresh_activity", "collect"}


def test_D_015_missed_periods_are_not_made_up() -> None:
    """D-015, D-186"""
    rig = Rig()
    rig.granted(1)
    heard = len(rig.messages)
    rig.clock.advance(10 * SECOND)
    rig.cycle()
    rig.cycle()
    assert len(announced(rig, heard)) == 1


def test_D_065_a_flood_of_attaches_does_not_delay_announces() -> None:
    """D-065, D-186"""
    rig = Rig()
    rig.granted(1, stream_id=OTHER_STREAM)
    times: list[int] = []
    flood = rig.request(client_id=0)
    for _ in range(400):
        for _ in range(20):
            rig.say(flood)
        rig.clock.advance(10 * MS)
        heard = len(rig.messages)
        rig.cycle()
        times += [a.announce_timestamp_ns for a in rig.heard(ShmPoolAnnounce, heard)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(gaps) == 3
    assert max(gaps) <= SECOND + 10 * MS
