"""The announces that count, and their effect on a mapping (§7)."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from tensor_pool.client.attachment.announce_filter import AnnounceFilter
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.wire import ClockDomain, PayloadPool, QosConsumer, ShmPoolAnnounce
from tests.client.fake_driver import lines_of_maps
from tests.client.world import MS, STREAM, S, World

NOW = 100 * S
WALL = 1_700_000_000 * S
POOL = PayloadPool(1, 8, 64, "shm:file?path=/p")


def message(**changes: Any) -> ShmPoolAnnounce:
    good = ShmPoolAnnounce(
        stream_id=STREAM,
        producer_id=0,
        epoch=5,
        announce_timestamp_ns=NOW,
        announce_clock_domain=ClockDomain.MONOTONIC,
        layout_version=1,
        header_nslots=8,
        header_slot_bytes=256,
        payload_pools=(POOL,),
        header_region_uri="shm:file?path=/h",
    )
    return msgspec.structs.replace(good, **changes)


def accepts(
    *, highest: int = 5, expected: int = 1, join: int = 0, live: bool = True, **c: Any
) -> bool:
    announces = AnnounceFilter(
        SimulatedClock(NOW, WALL), freshness_ns=3 * S, expected_layout_version=expected
    )
    announces.highest_epoch = highest
    accepted = announces.accept(
        message(**c), stream_id=STREAM, lease_is_live=live, join_time_ns=join
    )
    assert announces.highest_epoch == (c.get("epoch", 5) if accepted else highest)
    return accepted is not None


REALTIME = {"announce_clock_domain": ClockDomain.REALTIME_SYNCED}
REFUSED: list[tuple[int, dict[str, Any]]] = [
    (2, {"stream_id": STREAM + 1}),
    (3, {"live": False}),
    (4, {"layout_version": 2}),
    (4, {"layout_version": 0}),
    (5, {"announce_timestamp_ns": 0}),
    (5, {"announce_timestamp_ns": 2**64 - 1}),
    (6, {"announce_timestamp_ns": NOW - 3 * S - 1}),
    (6, {"announce_timestamp_ns": WALL - 3 * S - 1, **REALTIME}),
    (6, {"announce_timestamp_ns": NOW, **REALTIME}),
    (7, {"join": NOW + 1}),
    (8, {"epoch": 4}),
    (8, {"epoch": 0, "highest": 0}),
    (8, {"epoch": 2**64 - 1}),
    (10, {"header_slot_bytes": 128}),
    (10, {"header_nslots": 12}),
    (10, {"payload_pools": ()}),
    (10, {"payload_pools": (POOL, POOL)}),
    (10, {"payload_pools": (msgspec.structs.replace(POOL, pool_nslots=16),)}),
    (10, {"payload_pools": (msgspec.structs.replace(POOL, stride_bytes=96),)}),
    (10, {"payload_pools": (msgspec.structs.replace(POOL, region_uri="x"),)}),
    (10, {"header_region_uri": ""}),
]


@pytest.mark.parametrize(("step", "change"), REFUSED, ids=lambda v: str(v)[:40])
def test_C_062_an_announce_failing_one_step_is_ignored(step: int, change: dict[str, Any]) -> None:
    """C-062, W-125, W-130, W-149: one vector per step; the highest epoch stays."""
    assert not accepts(**change)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"announce_timestamp_ns": NOW - 3 * S},
        {"announce_timestamp_ns": NOW + 10 * S},
        {"join": NOW},
        {"announce_timestamp_ns": WALL - 3 * S, "join": NOW + 50 * S, **REALTIME},
        {"epoch": 6},
        {"epoch": 2**64 - 2},
        {"expected": 0},
    ],
    ids=str,
)
def test_C_063_boundaries_pass(change: dict[str, Any]) -> None:
    """C-063, W-125: age equal to the window, stamp equal to the join time, future stamps."""
    assert accepts(**change)


def test_C_064_ignored_announces_never_unmap(world: World) -> None:
    """C-064, W-125: an old epoch after a newer one, and the statistics."""
    consumer = world.client().consumer(STREAM)
    stream = world.driver.streams[STREAM]
    mapping = consumer._attachment.machine.mapping
    ignored = consumer.metrics()["announces_ignored"]
    for change in (
        {"epoch": stream.epoch, "announce_timestamp_ns": 1},
        {"epoch": stream.epoch + 1, "layout_version": 2},
        {"epoch": stream.epoch + 1, "header_nslots": 3},
    ):
        world.driver.announce(stream, **change)
    world.run(0.02)
    assert consumer._attachment.machine.mapping is mapping
    assert consumer.metrics()["announces_ignored"] == ignored + 3


def test_W_126_an_accepted_announce_maps_remaps_or_revalidates(world: World) -> None:
    """W-126, W-129: any number of announces may be lost."""
    consumer = world.client().consumer(STREAM)
    stream = world.driver.streams[STREAM]
    first = consumer._attachment.machine.mapping
    world.run(2.5)
    assert consumer._attachment.machine.mapping is first
    for _ in range(5):  # all but the last announce are lost
        stream.new_epoch(world.clock.monotonic_ns())
    world.driver.announce(stream)
    world.run(0.02)
    assert consumer._attachment.machine.mapping.epoch == stream.epoch
    assert consumer.metrics()["remaps"] == 1


def test_W_128_replayed_announces_from_before_the_subscription_are_ignored(world: World) -> None:
    """W-128, C-063: the join time is that of the announce subscription."""
    stream = world.driver.add_stream(STREAM)
    old = world.driver.announcement(stream)
    world.clock.advance(MS)
    consumer = world.client().consumer(STREAM)
    ignored = consumer.metrics()["announces_ignored"]
    world.driver.send(msgspec.structs.replace(old, epoch=stream.epoch + 5))
    world.run(0.005)
    assert consumer.metrics()["announces_ignored"] == ignored + 1
    assert consumer.state == "Mapped"


def test_W_128_a_new_connection_sets_a_new_join_time(world: World) -> None:
    stream = world.driver.add_stream(STREAM)
    consumer = world.client().consumer(STREAM)
    old = world.driver.announcement(stream)
    world.clock.advance(MS)
    world.network.disconnect("driver")
    world.network.reconnect("driver")
    before = consumer.metrics()["announces_accepted"]
    world.driver.send(old)
    consumer._client.do_work()
    assert consumer.metrics()["announces_accepted"] == before


@pytest.mark.parametrize(
    ("region", "offset", "data"),
    [
        (0, 0, b"\0"),
        (0, 8, b"\x02"),
        (1, 12, b"\x63"),
        (1, 20, b"\x01"),
        (2, 24, b"\x01"),
        (2, 26, b"\x07"),
        (0, 28, b"\x10"),
        (1, 36, b"\x40"),
    ],
)
def test_C_066_a_superblock_that_changed_unmaps_and_a_good_announce_remaps(
    world: World, region: int, offset: int, data: bytes
) -> None:
    """C-066, W-127, W-141."""
    consumer = world.client().consumer(STREAM)
    stream = world.driver.streams[STREAM]
    kept = stream.peek(region, offset, len(data))
    assert kept != data
    stream.poke(region, offset, data)
    world.driver.announce(stream)
    world.run(0.02)
    assert consumer.state == "Backoff"  # tried with the announce at hand, and failed
    assert list(lines_of_maps(world.base)) == []
    stream.poke(region, offset, kept)
    world.run(2)
    assert consumer.state == "Mapped"


def test_C_066_a_changed_pool_set_is_a_superblock_mismatch(world: World) -> None:
    consumer = world.client().consumer(STREAM)
    stream = world.driver.streams[STREAM]
    first = consumer._attachment.machine.mapping
    pools = world.driver.announcement(stream).payload_pools[:1]
    world.driver.announce(stream, payload_pools=pools)
    world.run(0.02)
    assert consumer.state == "Mapped"
    assert consumer._attachment.machine.mapping is not first
    assert len(consumer._attachment.machine.mapping.stream.pools) == 1


def test_C_066_a_changed_pid_needs_a_higher_epoch(world: World) -> None:
    """C-066, W-146."""
    consumer = world.client(announce_wait=30.0, driver_liveness_timeout=60.0).consumer(STREAM)
    stream = world.driver.streams[STREAM]
    stream.poke(1, 40, (7).to_bytes(8, "little"))
    for _ in range(2):
        world.driver.announce(stream)
        world.run(0.02)
        assert consumer.state == "Remapping"
    stream.new_epoch(world.clock.monotonic_ns())
    world.driver.announce(stream)
    world.run(0.02)
    assert consumer.state == "Mapped"


def test_C_066_stale_activity_unmaps_also_without_announces(world: World) -> None:
    """C-066, W-145, W-210: the process that refreshes the regions is dead."""
    consumer = world.client(driver_liveness_timeout=60.0, announce_wait=40.0).consumer(STREAM)
    world.run(3.1)
    world.driver.refreshes = world.driver.announces = False
    world.run(2.5)
    assert consumer.state == "Mapped"
    world.run(2.0)
    assert consumer.state == "Remapping"
    world.driver.refreshes = world.driver.announces = True
    world.run(1.1)
    assert consumer.state == "Mapped"


def test_C_066_right_after_an_attach_stale_activity_is_tolerated(world: World) -> None:
    """C-046, W-145: one freshness window of grace."""
    stream = world.driver.add_stream(STREAM)
    world.driver.refreshes = False
    stream.refresh(1)
    consumer = world.client(driver_liveness_timeout=60.0).consumer(STREAM)
    world.run(2.9)
    assert consumer.state == "Mapped"
    world.run(1.0)
    assert consumer.state != "Mapped"


def test_C_067_without_an_announce_in_time_the_consumer_attaches_anew(world: World) -> None:
    """C-067, W-147: Remapping, Backoff, then a full reattach."""
    producer, consumer = world.pair()
    world.driver.announces = False
    producer._attachment.is_closing = True
    world.driver.notice(world.driver.lease_of(producer.client_id))
    world.run(2.9)
    assert consumer.state == "Remapping"
    world.run(0.4)
    mine = [r for r in world.driver.attach_requests if r.client_id == consumer.client_id]
    assert len(mine) == 2
    assert consumer.metrics()["lease_losses_remap_failed"] == 1
    assert consumer.state == "Mapped"


def test_C_023_a_producer_yields_to_a_newer_epoch_or_another_owner(world: World) -> None:
    for change in ("epoch", "owner"):
        client = world.client()
        producer = client.producer(STREAM)
        stream = world.driver.streams[STREAM]
        world.run(0.05)
        paused: list[str] = []
        producer._set_callbacks(on_paused=paused.append)
        if change == "epoch":
            stream.new_epoch(world.clock.monotonic_ns())
            world.driver.announce(stream)
        else:
            world.driver.announce(stream, producer_id=producer.client_id + 1)
        client.do_work()
        assert producer.state == "Paused"
        assert paused == ["epoch superseded"]
        assert producer.metrics()["lease_losses_epoch_superseded"] == 1
        world.run(0.5)
        assert producer.state == "Active"
        producer.close()


def test_W_144_leftovers_of_an_old_epoch_are_only_dropped(world: World) -> None:
    """W-144, CI-3: old descriptors between a remap and the next frames."""
    producer, consumer = world.pair()
    producer.publish(np.zeros(4, np.uint8))
    stream = world.driver.streams[STREAM]
    old = world.listen(1100)
    producer.publish(np.zeros(4, np.uint8))
    leftover = world.hear(1100)[-1]
    while consumer.poll() is not None:
        pass
    producer.close()
    world.run(0.05)
    assert consumer._attachment.machine.mapping.epoch == stream.epoch > leftover.epoch
    mapping = consumer._attachment.machine.mapping
    for _ in range(3):
        world.say(1100, leftover)
    assert consumer.poll() is None
    world.run(0.05)
    assert consumer._attachment.machine.mapping is mapping
    assert consumer.metrics()["drops_epoch"] == 3
    assert len(old) >= 1


def test_W_140_a_restarted_producer_is_followed_to_its_higher_epoch(world: World) -> None:
    """W-140, W-210: kill the producer; the consumer resumes without a restart."""
    client = world.client()
    producer = world.client("camera").producer(STREAM)
    consumer = client.consumer(STREAM)
    world.run(0.05)
    first = consumer._attachment.machine.mapping.epoch
    world.network.kill("camera", liveness_timeout_ns=0)
    world.clients.pop(0) if world.clients[0] is producer._client else world.clients.pop(1)
    world.driver.revoke(world.driver.lease_of(producer.client_id))
    again = world.client().producer(STREAM)
    world.run(0.05)
    assert consumer._attachment.machine.mapping.epoch > first
    assert again.publish(np.arange(3, dtype=np.int8))
    frame = consumer.poll()
    assert frame is not None
    assert frame.array.tolist() == [0, 1, 2]


def test_W_141_the_states_by_their_own_names(world: World) -> None:
    """W-141, W-200: UNMAPPED and MAPPED with the epoch that the QoS reports show."""
    consumer = world.client().begin_attach_consumer(STREAM)
    assert consumer.mapping_state == "UNMAPPED"
    world.run(1.2)
    assert consumer.mapping_state == "MAPPED"
    reports = [m for m in world.driver.received if isinstance(m, QosConsumer)]
    assert reports[0].epoch == 0
    assert reports[-1].epoch == world.driver.streams[STREAM].epoch


def test_W_142_unmapping_keeps_counters_and_makes_old_frames_invalid(world: World) -> None:
    """W-105, W-142, C-093: counters survive, views of the old mapping do not count."""
    producer, consumer = world.pair()
    producer.publish(np.arange(4, dtype=np.uint8))
    frame = consumer.poll()
    assert frame is not None
    view = frame.array
    world.driver.revoke(world.driver.lease_of(producer.client_id))
    world.run(0.5)
    assert consumer.metrics()["frames_ok"] == 1
    assert not frame.valid
    assert view.tolist() == [0, 1, 2, 3]  # readable memory, for as long as it is held
