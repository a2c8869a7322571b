"""C-107: a consumer that waits for a producer gets its first frames, whatever joins late."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client import Consumer, Mode, Producer, PublishMode
from tests.client.pool_world import LEFT, PoolWorld

CREATE = PublishMode.EXISTING_OR_CREATE
OF_DESCRIPTORS = ("drops_unmapped", "drops_epoch")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PoolWorld]:
    world = PoolWorld(tmp_path, nslots=16)
    yield world
    world.close()


def publish(camera: Producer, *numbers: int) -> None:
    for number in numbers:
        assert camera.publish(np.full(4, number, np.int32))


def values(viewer: Consumer) -> list[int]:
    return [int(frame.array[0]) for frame in iter(viewer.poll, None)]


def lost(viewer: Consumer) -> dict[str, int]:
    """Counters of frames, without those of descriptors that came before the mapping."""
    return {
        name: number
        for name, number in viewer.metrics().items()
        if number and name.startswith(("drops", "late", "missed")) and name not in OF_DESCRIPTORS
    }


@pytest.mark.parametrize("channel", ["", "aeron:ipc"], ids=["stream-wide", "private"])
def test_C_107_frames_published_before_the_mapping_are_received(
    world: PoolWorld, channel: str
) -> None:
    client = world.client()
    viewer = client.consumer(LEFT, publish_mode=CREATE, descriptor_channel=channel)
    for first in (0, 100):
        producers = world.client()
        world.clients.remove(client)  # it sleeps
        camera = producers.producer(LEFT)
        publish(camera, *range(first, first + 10))
        assert viewer.poll() is None  # the descriptors are gone
        world.clients.append(client)
        world.run(0.5)
        assert values(viewer) == list(range(first, first + 10))
        publish(camera, 50)
        world.run(0.1)
        assert values(viewer) == [50]
        camera.close()
        world.run(0.1)
    assert lost(viewer) == {}


def test_C_107_a_frame_whose_descriptor_did_not_arrive_has_no_trace_id(world: PoolWorld) -> None:
    client = world.client()
    viewer = client.consumer(LEFT, publish_mode=CREATE)
    producers = world.client()
    world.clients.remove(client)  # it sleeps
    camera = producers.producer(LEFT)
    camera.publish(np.zeros(4, np.int32), trace_id=7)
    assert viewer.poll() is None  # the descriptor is gone
    world.clients.append(client)
    world.run(0.5)
    first = viewer.poll()
    assert first is not None
    camera.publish(np.zeros(4, np.int32), trace_id=8)
    world.run(0.1)
    assert [first.trace_id, *(frame.trace_id for frame in iter(viewer.poll, None))] == [0, 8]


def test_C_107_descriptors_that_no_stream_carried_cost_no_frame(world: PoolWorld) -> None:
    """The producer's publication joins late, and it publishes nothing more."""
    viewer = world.client().consumer(LEFT, publish_mode=CREATE)
    camera = world.client().producer(LEFT)
    world.run(0.02)
    state = viewer._receiver.state
    assert state is not None
    assert viewer.poll() is None
    send = camera._attachment.consumers.descriptors
    kept = dict(send)
    send.clear()
    camera._attachment.consumers._on_change()
    publish(camera, 1, 2, 3)
    assert values(viewer) == []
    world.run(0.5)
    assert values(viewer) == [1, 2, 3]
    send.update(kept)
    camera._attachment.consumers._on_change()
    publish(camera, 4)
    assert values(viewer) == [4]
    assert lost(viewer) == {}
    world.run(0.5)
    assert not state.fills, "it is not looked for when the stream is joined"


def test_C_107_a_gap_before_the_first_descriptor_is_read_from_the_ring(world: PoolWorld) -> None:
    viewer = world.client().consumer(LEFT, publish_mode=CREATE)
    camera = world.client().producer(LEFT)
    world.run(0.02)
    assert viewer.poll() is None
    send = camera._attachment.consumers.descriptors
    kept = dict(send)
    send.clear()
    camera._attachment.consumers._on_change()
    publish(camera, 0, 1, 2)
    send.update(kept)
    camera._attachment.consumers._on_change()
    publish(camera, 3, 4)
    assert values(viewer) == [0, 1, 2, 3, 4]
    assert lost(viewer) == {}


@pytest.mark.parametrize("published", [16, 17, 40])
def test_C_107_every_frame_is_received_or_counted(world: PoolWorld, published: int) -> None:
    """The ring has 16 slots; what it lost before the mapping is in drops_gap."""
    viewer = world.client().consumer(LEFT, publish_mode=CREATE)
    camera = world.client().producer(LEFT)
    publish(camera, *range(published))
    world.run(0.5)
    received = values(viewer)
    assert received == sorted(received)
    metrics = viewer.metrics()
    counted = sum(metrics[name] for name in ("drops_gap", "drops_late", "drops_resync"))
    assert len(received) + counted == published
    assert received[-1] == published - 1
    assert len(received) == 16


def test_C_107_a_rate_cap_leaves_out_what_it_leaves_out(world: PoolWorld) -> None:
    """Frames between those of a capped stream are not fetched from the ring."""
    viewer = world.client().consumer(
        LEFT,
        publish_mode=CREATE,
        descriptor_channel="aeron:ipc",
        mode=Mode.RATE_LIMITED,
        max_rate_hz=10,
    )
    camera = world.client().producer(LEFT)
    world.run(1.5)  # a hello has the cap
    for number in range(10):
        publish(camera, number)
        world.run(0.02)
    assert len(values(viewer)) <= 3
    world.run(0.5)
    assert values(viewer) == []


def test_C_107_a_later_consumer_begins_with_the_next_frame(world: PoolWorld) -> None:
    """It was not there when the epoch began (C-104 is for those)."""
    camera = world.client().producer(LEFT)
    publish(camera, 1, 2)
    viewer = world.client().consumer(LEFT)
    world.run(0.5)
    assert values(viewer) == []
    publish(camera, 3)
    assert values(viewer) == [3]
