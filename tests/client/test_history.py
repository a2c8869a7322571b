"""Frames that were published before a consumer came (C-104 to C-106)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client import ConfigError, Consumer, Producer, PublishMode
from tests.client.pool_world import LEFT, PoolWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PoolWorld]:
    world = PoolWorld(tmp_path, nslots=8)
    yield world
    world.close()


def publish(camera: Producer, *numbers: int) -> None:
    for number in numbers:
        assert camera.publish(np.full(4, number, np.int32))


def values(viewer: Consumer) -> list[int]:
    return [int(frame.array[0]) for frame in iter(viewer.poll, None)]


def test_C_104_a_value_sent_once_reaches_who_comes_later(world: PoolWorld) -> None:
    camera = world.client().producer(LEFT)
    publish(camera, 42)
    world.run(0.1)
    plain = world.client().consumer(LEFT)
    late = world.client().consumer(LEFT, history=1)
    world.run(0.1)
    assert values(plain) == []
    frame = late.poll()
    assert frame is not None
    assert (frame.array[0], frame.seq, frame.trace_id, frame.valid) == (42, 0, 0, True)
    publish(camera, 43)
    assert values(late) == values(plain) == [43]
    metrics = late.metrics()
    assert (metrics["missed_unmapped"], metrics["drops_gap"]) == (0, 0)


@pytest.mark.parametrize(("history", "expected"), [(3, [17, 18, 19]), (100, list(range(12, 20)))])
def test_C_104_the_newest_come_in_their_order(
    world: PoolWorld, history: int, expected: list[int]
) -> None:
    """C-104, C-106: at most as many as the ring has slots."""
    camera = world.client().producer(LEFT)
    publish(camera, *range(20))
    world.run(0.1)
    late = world.client().consumer(LEFT, history=history)
    publish(camera)
    assert values(late) == expected
    assert late.metrics()["missed_unmapped"] == 0


def test_C_104_an_unfinished_frame_is_not_part_of_it(world: PoolWorld) -> None:
    camera = world.client().producer(LEFT)
    publish(camera, 1, 2)
    loan = camera.loan((4,), np.int32)
    late = world.client().consumer(LEFT, history=5)
    assert values(late) == [1, 2]
    loan.array[...] = 3
    loan.commit()
    assert values(late) == [3]


def test_C_104_a_frame_overwritten_before_it_is_read_is_counted(world: PoolWorld) -> None:
    camera = world.client().producer(LEFT)
    publish(camera, *range(8))
    late = world.client().consumer(LEFT, history=8)
    late._receiver._read_history()
    publish(camera, *range(8, 12))
    received = values(late)
    assert received == sorted(received)
    assert received[-1] == 11
    assert set(received) <= set(range(4, 12))
    assert len(received) + late.metrics()["drops_late"] == 12


def test_C_105_a_restarted_producer_brings_its_own_history(world: PoolWorld) -> None:
    camera = world.client().producer(LEFT)
    publish(camera, 1)
    late = world.client().consumer(LEFT, history=2)
    assert values(late) == [1]
    camera.close()
    camera = world.client().producer(LEFT)
    publish(camera, 7)  # before the consumer has mapped the new epoch
    world.run(0.5)
    assert values(late) == [7]
    publish(camera, 8)
    assert values(late) == [8]


def test_C_105_a_detached_producer_takes_its_values_with_it(world: PoolWorld) -> None:
    camera = world.client().producer(LEFT)
    publish(camera, 1)
    camera.close()
    world.run(0.1)
    late = world.client().consumer(LEFT, history=2, publish_mode=PublishMode.EXISTING_OR_CREATE)
    world.run(0.1)
    assert values(late) == []


def test_C_105_the_same_epoch_is_not_read_twice(world: PoolWorld) -> None:
    camera = world.client().producer(LEFT)
    publish(camera, 1, 2)
    late = world.client().consumer(LEFT, history=4)
    assert values(late) == [1, 2]
    lease = next(x for x in world.driver.snapshot().leases if x.client_id == late.client_id)
    world.driver.revoke_lease(lease.lease_id)
    world.run(0.02)
    publish(camera, 3)  # while there is no lease
    world.run(2)
    assert values(late) == [3]
    assert late.metrics()["missed_unmapped"] == 0


def test_C_106_descriptors_on_their_way_are_duplicates(world: PoolWorld) -> None:
    camera = world.client().producer(LEFT)
    late = world.client().begin_attach_consumer(LEFT, history=8)
    values_before = itertools.count()
    while not late.poll_ready():
        publish(camera, next(values_before))
        world.idle()
    world.run(0.1)
    publish(camera, 90, 91, 92)  # in the ring, and as descriptors that nothing has read yet
    seen = values(late)
    assert seen[-3:] == [90, 91, 92]
    assert seen == sorted(set(seen))
    metrics = late.metrics()
    assert metrics["drops_regression"] == 0
    assert metrics["drops_gap"] == 0
    publish(camera, 99)
    assert values(late) == [99]


def test_C_104_a_negative_history_is_refused(world: PoolWorld) -> None:
    with pytest.raises(ConfigError, match="history: -1"):
        world.client().consumer(LEFT, history=-1)
