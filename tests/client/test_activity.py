"""An attached producer keeps the activity stamps of its regions fresh (W-053, W-145)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.client.world import STREAM, World

DATA = np.arange(4, dtype=np.uint8)


def stamps(regions: list[Path]) -> list[int]:
    return [int.from_bytes(path.read_bytes()[56:64], "little") for path in regions]


def test_W_053_a_producer_refreshes_every_region_each_announce_period(world: World) -> None:
    producer = world.client().producer(STREAM)
    world.driver.refreshes = False
    regions = world.driver.streams[STREAM].paths()
    before = stamps(regions)
    for _ in range(3):
        world.run(1.1)
        after = stamps(regions)
        assert all(new > old for new, old in zip(after, before, strict=True))
        assert len(set(after)) == 1
        before = after
    producer.close()
    world.run(1.1)
    assert stamps(regions) == before  # a lease that ended writes nothing


def test_W_145_consumers_lose_no_frame_under_a_driver_that_refreshes_nothing(world: World) -> None:
    """W-053: ten seconds, three times the freshness window."""
    producer, consumer = world.pair()
    world.driver.refreshes = False
    for _ in range(100):
        assert producer.publish(DATA)
        world.run(0.1)
        assert [frame.seq for frame in iter(consumer.poll, None)]
    assert consumer.metrics()["drops_unmapped"] == 0
    assert consumer.metrics()["remaps"] == 0
