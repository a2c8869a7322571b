"""The connections of a pool grow with its clients, not with their square (W-009, D-168).

A connection is one subscription to one publication. Each takes one of the media driver's 65,536
counters.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client import PublishMode
from tensor_pool.client.consumer.attachment import ConsumerAttachment
from tensor_pool.driver.core.configuration import DriverTable
from tensor_pool.driver.core.lease_requests import LeaseRequests
from tensor_pool.driver.core.private_streams import LONG_TERM_STREAMS
from tensor_pool.protocol.errors import AttachTimeoutError
from tensor_pool.protocol.transport.channel import Channel
from tests.client.pool_world import LEFT, PoolWorld
from tests.client.world import World

QOS = DriverTable().qos_stream_id
DATA = np.zeros(4, np.uint8)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[PoolWorld]:
    world = PoolWorld(tmp_path)
    yield world
    world.close()


def connections(world: PoolWorld | World, stream_id: int | None = None) -> int:
    return sum(
        len(publication.images)
        for (_, number), publications in world.network._publications.items()
        for publication in publications
        if stream_id in (None, number)
    )


def test_W_009_each_further_consumer_costs_the_same_number_of_connections(pool: PoolWorld) -> None:
    camera = pool.client().producer(LEFT)
    consumers, counted = [], []
    for _ in range(3):
        consumers += [pool.client().consumer(LEFT) for _ in range(8)]
        pool.run(1.5)
        counted.append(connections(pool))
    assert counted[2] - counted[1] == counted[1] - counted[0]
    assert camera.publish(DATA)
    assert all(consumer.poll() is not None for consumer in consumers)


def test_W_009_streams_of_one_client_share_its_connections(pool: PoolWorld) -> None:
    """Each further stream costs that of its own descriptors alone."""
    cameras, viewers = pool.client(), pool.client()
    counted = []
    for first in range(20_000, 20_030, 10):
        pairs = [
            (cameras.producer(n), viewers.consumer(n, publish_mode=PublishMode.EXISTING_OR_CREATE))
            for n in range(first, first + 10)
        ]
        pool.run(1.5)
        counted.append(connections(pool))
        for camera, viewer in pairs:
            assert camera.publish(DATA)
            assert viewer.poll() is not None
    assert [b - a for a, b in itertools.pairwise(counted)] == [10, 10]


def test_W_009_answers_that_come_late_cost_no_connections(
    pool: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine is not made busier: nothing is read instead while a driver is there."""

    pool.client().producer(LEFT)
    pool.client().consumer(LEFT)
    pool.run(1)
    before = connections(pool)
    pool.client().consumer(LEFT)
    pool.run(1)
    each = connections(pool) - before
    with monkeypatch.context() as patch:
        patch.setattr(LeaseRequests, "hello", lambda *_: None)
        late = [pool.client().begin_attach_consumer(LEFT) for _ in range(3)]
        pool.run(30)
        assert connections(pool) < before + 4 * each
        impatient = pool.client()
        with pytest.raises(AttachTimeoutError, match="granted a lease, but gave no descriptor"):
            impatient.consumer(LEFT, attach_timeout=2)
        impatient.close()
    pool.run(6)
    assert all(consumer.poll_ready() for consumer in late)
    assert connections(pool) == before + 4 * each


def test_C_098_a_lease_that_ended_unheard_before_the_first_answer_is_taken_anew(
    pool: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = pool.client().producer(LEFT)
    viewer = pool.client().begin_attach_consumer(LEFT)
    with monkeypatch.context() as patch:
        patch.setattr(LeaseRequests, "hello", lambda *_: None)
        patch.setattr(ConsumerAttachment, "on_lease_revoked", lambda *_: None)
        while not viewer._attachment.connection.is_attached:
            pool.idle()
        lease = next(x for x in pool.driver.snapshot().leases if x.role == "CONSUMER")
        pool.driver.revoke_lease(lease.lease_id)
        pool.run(0.1)
    pool.run(8)
    assert viewer.poll_ready()
    assert viewer.metrics()["attaches"] == 2
    assert camera.publish(DATA)
    assert viewer.poll() is not None


def test_W_009_the_next_driver_is_received_by_its_own_session(pool: PoolWorld) -> None:
    consumer = pool.client().consumer(LEFT, publish_mode=PublishMode.EXISTING_OR_CREATE)
    pool.run(0.5)
    before = consumer._client._conductor._endpoints._of_drivers.keys()  # type: ignore[union-attr]
    assert len(before) == 1
    before = set(before)
    pool.driver.close(drain=False)
    pool.start_driver("driver-2")
    pool.run(8)
    assert consumer.state == "Mapped"
    after = consumer._client._conductor._endpoints._of_drivers.keys()  # type: ignore[union-attr]
    assert len(after) == 1
    assert after != before


def test_W_009_a_driver_without_a_beacon_is_received_among_the_clients(tmp_path: Path) -> None:
    """As one of another implementation."""
    world = World(tmp_path)
    producer, consumer = world.pair()
    assert producer.publish(DATA)
    assert consumer.poll() is not None
    assert not consumer._client._conductor._endpoints._of_drivers  # type: ignore[union-attr]
    world.close()


def test_W_009_a_producer_receives_the_hellos_of_consumers(pool: PoolWorld) -> None:
    camera = pool.client().producer(LEFT)
    pool.client().consumer(LEFT)
    pool.run(2)
    assert camera.consumers == 1
    assert camera.metrics()["hellos_received"] >= 1


def test_D_168_terms_are_short_beyond_a_number_of_streams(
    pool: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Allocated terms of 4 MiB take 12 MiB of shared memory each."""
    monkeypatch.setattr("tensor_pool.driver.core.private_streams.LONG_TERM_STREAMS", 2)
    assert LONG_TERM_STREAMS > 2
    client = pool.client()
    cameras = [client.producer(n) for n in range(20_000, 20_003)]

    def term_lengths() -> list[int]:
        return [
            Channel.parse(
                camera._attachment.consumers.wide_descriptors.publication.channel
            ).term_length
            for camera in cameras
        ]

    assert term_lengths() == [4 << 20, 4 << 20, 256 << 10]
    for camera in cameras:
        assert Channel.parse(camera._descriptors.publication.channel).term_length == 256 << 10
