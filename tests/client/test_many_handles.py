"""A client with many handles keeps its leases beside another with as many (C-050)."""

from __future__ import annotations

from pathlib import Path

from tensor_pool.client import PublishMode
from tests.client.pool_world import PoolWorld

HANDLES = 100
FIRST = 20_000
SLOW_CYCLE_MS = 100  # between two duty cycles of a client that has nothing to do


def test_C_050_two_clients_with_many_handles_each_keep_every_lease(tmp_path: Path) -> None:
    """Consumers attach to every stream at once; each message reaches both clients.

    The conductor takes what has come in each cycle, so its backlog does not grow with the handles.
    """
    world = PoolWorld(tmp_path, streams={}, nslots=2)
    world.tasks.append(lambda: [None for _ in range(300) if world.driver.do_work()])
    cameras, viewers = world.client(), world.client()
    streams = range(FIRST, FIRST + HANDLES)
    handles = [cameras.begin_attach_producer(stream) for stream in streams]
    world.run(3.0, SLOW_CYCLE_MS)
    assert all(handle.poll_ready() for handle in handles)
    handles += [
        viewers.begin_attach_consumer(stream, publish_mode=PublishMode.EXISTING_OR_CREATE)
        for stream in streams
    ]
    world.run(8.0, SLOW_CYCLE_MS)
    assert all(handle.poll_ready() for handle in handles)
    assert {handle.metrics()["attaches"] for handle in handles} == {1}
    losses = [
        (name, value)
        for handle in handles
        for name, value in handle.metrics().items()
        if value and name.startswith("lease_losses")
    ]
    assert losses == []
    world.close()
