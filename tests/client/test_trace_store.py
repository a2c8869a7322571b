"""Lineages of traces, and listening to them (S-154)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client.config import ClientConfig
from tensor_pool.client.traces.listener import TraceListener
from tensor_pool.client.traces.store import TracedFrame, TraceLink, TraceStore
from tests.client.pool_world import LEFT, RIGHT, PoolWorld

FRAME = np.zeros(8, np.uint8)
MS = 1_000_000


def frame(trace_id: int, at: int, *, stream_id: int = 1, seq: int = 0) -> TracedFrame:
    return TracedFrame(
        stream_id=stream_id, epoch=1, seq=seq, trace_id=trace_id, received_ns=at * MS
    )


def link(trace_id: int, parents: tuple[int, ...], at: int = 0) -> TraceLink:
    return TraceLink(
        stream_id=9, epoch=1, seq=0, trace_id=trace_id, parents=parents, received_ns=at * MS
    )


def store_of(*records: TracedFrame | TraceLink, limit: int = 1000) -> TraceStore:
    store = TraceStore(1000 * MS, limit)
    for record in records:
        store.add(record)
    return store


def test_S_154_a_trace_has_its_frames_by_time_its_ancestors_and_descendants() -> None:
    store = store_of(
        link(30, (10, 20), at=3),
        frame(10, 2, stream_id=2),
        frame(10, 1, stream_id=1),
        frame(20, 1),
        frame(30, 3),
        link(40, (30, 99), at=5),
        frame(40, 4),
        link(50, (20, 98), at=6),  # of a parent, but not made from 30
    )
    found = store.lineage(30)
    assert found is not None
    assert (set(found.ancestors), found.descendants) == ({10, 20}, (40,))
    assert [each.stream_id for each in found.frames[10]] == [1, 2]
    assert found.parents == {30: (10, 20), 40: (30, 99)}
    assert found.last_ns == 5 * MS
    assert store.lineage(77) is None


def test_S_154_a_trace_that_is_known_from_a_link_only_has_no_frames() -> None:
    found = store_of(link(3, (1, 2))).lineage(1)
    assert found is not None
    assert (found.frames[1], found.descendants) == ((), (3,))


def test_S_154_links_in_a_circle_end() -> None:
    found = store_of(link(1, (2,)), link(2, (1, 1))).lineage(1)
    assert found is not None
    assert set(found.traces) == {1, 2}


def test_S_154_the_window_and_the_limit_forget_the_oldest() -> None:
    records = [frame(n, n) if n % 2 else link(n, (n - 1, 500), at=n) for n in range(1, 11)]
    store = store_of(*records, limit=6)
    assert (len(store), store.forgotten) == (6, 4)
    assert 1 not in store
    assert 4 not in store
    assert {5, 6, 9, 500} == {trace for trace in (1, 4, 5, 6, 9, 500) if trace in store}
    store.expire(1009 * MS)
    assert (len(store), store.traces) == (2, 1)
    store.expire(2000 * MS)
    assert (len(store), 500 in store, store._children) == (0, False, {})


class Heard:
    """A pool, and a listener for everything from now on."""

    def __init__(self, world: PoolWorld) -> None:
        self.world = world
        self.frames: list[TracedFrame] = []
        self.links: list[TraceLink] = []
        self.listener = TraceListener(
            world.network.transport("traces"),
            ClientConfig(),
            world.clock,
            on_frame=self.frames.append,
            on_link=self.links.append,
        )

    def poll(self) -> None:
        self.world.run(0.05)
        self.listener.poll()


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    world = PoolWorld(tmp_path)
    yield Heard(world)
    world.close()


def test_S_013_S_154_frames_links_and_names_arrive(heard: Heard) -> None:
    """Links of this library come on the metadata stream; those of others on control too."""
    world = heard.world
    pool = world.client()
    out = pool.producer(RIGHT)
    out.set_metadata("pairs")
    assert out.publish(FRAME, parents=[7, 8])
    heard.poll()
    (made,), (joined,) = heard.frames, heard.links
    assert (made.stream_id, made.seq, made.trace_id) == (RIGHT, 0, joined.trace_id)
    assert (joined.stream_id, joined.epoch, joined.parents) == (RIGHT, made.epoch, (7, 8))
    assert heard.listener.names[RIGHT] == "pairs"
    assert heard.listener.bad_messages == 0


def test_S_154_frames_without_a_trace_are_counted_by_stream(heard: Heard) -> None:
    left, right = heard.world.client().producer(LEFT), heard.world.client().producer(RIGHT)
    for trace_id in (0, 0, 5):
        assert left.publish(FRAME, trace_id=trace_id)
    assert right.publish(FRAME)
    heard.poll()
    assert (dict(heard.listener.untraced), dict(heard.listener.traced)) == (
        {LEFT: 2, RIGHT: 1},
        {LEFT: 1},
    )
