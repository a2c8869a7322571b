"""Trace ids and links between frames (§6 of services)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client import Client, Consumer, Producer
from tensor_pool.client.producer.traces import TraceIds, parent_ids
from tensor_pool.client.shared_streams import LogicalStream
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import Message, TraceLinkSet, TraceParent
from tests.client.pool_world import LEFT, RIGHT, PoolWorld

MS = 1_000_000
FRAME = np.zeros(8, np.uint8)


def test_S_150_a_million_ids_rise_under_a_clock_that_jumps() -> None:
    ticks = iter(range(10**7))
    jumps = [0, 5_000, 0, 1, 2, 10_000, 3, 3, 3, 20_000]

    def realtime_ns() -> int:
        tick = next(ticks)
        return (1_000 + tick // 3000 + jumps[tick // 1000 % len(jumps)]) * MS

    ids = TraceIds(realtime_ns)
    last = 0
    for _ in range(1_000_000):
        made = ids.next(77)
        assert made > last
        last = made
    assert last >> 12 & 1023 == 77
    assert last >> 63 == 0


def test_S_150_bits_are_milliseconds_node_and_counter() -> None:
    now_ms = 1_700_000_000_000
    ids = TraceIds(lambda: now_ms * MS)
    made = [ids.next(5) for _ in range(4097)]
    assert made[0] == now_ms << 22 | 5 << 12
    assert made[4095] == now_ms << 22 | 5 << 12 | 4095
    assert made[4096] == (now_ms + 1) << 22 | 5 << 12  # it does not wait


def test_S_150_a_clock_before_1970_gives_no_zero() -> None:
    assert TraceIds(lambda: -5).next(0) > 0


def test_S_151_another_node_id_begins_a_millisecond(caplog: pytest.LogCaptureFixture) -> None:
    ids = TraceIds(lambda: 1_000 * MS)
    made = [ids.next(node) for node in (9, 9, 1, 1024 + 7, 1024 + 7, 3, 2048 + 7)]
    assert made == sorted(set(made))
    assert [each >> 12 & 1023 for each in made] == [9, 9, 1, 7, 7, 3, 7]
    assert len([r for r in caplog.records if "may collide" in r.message]) == 1


def test_S_152_parents_are_distinct_and_in_order() -> None:
    assert parent_ids([3, 0, None, 2, 3]) == (3, 2)
    with pytest.raises(ValueError, match="257 traces, at most 256"):
        parent_ids(range(1, 258))
    with pytest.raises(ValueError, match="-1 is not a trace id"):
        parent_ids([-1])


class Pair:
    """A camera that traces, one that does not, and a filter between."""

    def __init__(self, world: PoolWorld) -> None:
        self.world = world
        self.sent: list[TraceLinkSet] = []
        self.pool: Client = world.client()
        self.source: Producer = world.client().producer(LEFT, trace=True)
        self.out: Producer = self.pool.producer(RIGHT)
        self.input: Consumer = world.client().consumer(LEFT)
        self.result: Consumer = world.client().consumer(RIGHT)
        world.run(0.05)
        send = self.pool._conductor.send

        def note(stream: LogicalStream, message: Message) -> OfferResult:
            if isinstance(message, TraceLinkSet):
                assert stream is LogicalStream.METADATA
                self.sent.append(message)
                if self.refuses:
                    return OfferResult.BACK_PRESSURED
            return send(stream, message)

        self.refuses = False
        self.pool._conductor.send = note  # type: ignore[method-assign]

    def trace(self, publish: Callable[[], object]) -> int:
        """Return the trace of the frame that `publish` makes on the way out."""
        publish()
        self.world.run(0.02)
        frame = self.result.poll()
        assert frame is not None
        return frame.trace_id


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    world = PoolWorld(tmp_path)
    yield Pair(world)
    world.close()


def test_S_152_without_parents_and_trace_there_is_no_id(pair: Pair) -> None:
    assert pair.trace(lambda: pair.out.publish(FRAME)) == 0
    assert pair.trace(lambda: pair.out.publish(FRAME, trace_id=5)) == 5
    assert pair.sent == []


def test_S_152_a_producer_that_traces_gives_each_frame_an_id(pair: Pair) -> None:
    """S-151, S-152: of its own node."""
    for _ in range(2):
        pair.source.publish(FRAME)
    with pair.source.loan((8,), np.uint8):
        pass
    pair.source.publish(FRAME, trace_id=9)
    ids = [frame.trace_id for frame in iter(pair.input.poll, None)]
    assert ids[0] < ids[1] < ids[2]
    assert ids[3] == 9
    grant = pair.source._connection.grant
    assert grant is not None
    assert ids[0] >> 12 & 1023 == grant.node_id


def test_S_152_one_parent_hands_its_trace_on(pair: Pair) -> None:
    pair.source.publish(FRAME)
    parent = pair.input.poll()
    assert parent is not None
    assert pair.trace(lambda: pair.out.publish(FRAME, parents=[parent])) == parent.trace_id
    assert pair.trace(lambda: pair.out.publish(FRAME, parents=[parent, 0, parent.trace_id])) == (
        parent.trace_id
    )

    def lend() -> None:
        with pair.out.loan((8,), np.uint8) as loan:
            loan.commit(parents=[parent])

    assert pair.trace(lend) == parent.trace_id
    assert pair.sent == []


def test_S_152_parents_without_a_trace_begin_one(pair: Pair) -> None:
    assert pair.trace(lambda: pair.out.publish(FRAME, parents=[])) > 0
    assert pair.out.metrics()["trace_parents_missing"] == 0
    assert pair.trace(lambda: pair.out.publish(FRAME, parents=[0, None])) > 0
    assert pair.sent == []
    assert pair.out.metrics()["trace_parents_missing"] == 1


def test_S_152_a_parent_that_was_read_from_the_ring_is_counted_as_one_without_a_trace(
    pair: Pair,
) -> None:
    """S-152, C-104: its descriptor, which has the trace, was sent before the consumer came."""
    assert pair.source.publish(FRAME)
    late = pair.world.client().consumer(LEFT, history=1)
    pair.world.run(0.05)
    parent = late.poll()
    assert parent is not None
    assert parent.trace_id == 0
    assert pair.trace(lambda: pair.out.publish(FRAME, parents=[parent])) > 0

    def lend() -> None:
        with pair.out.loan((8,), np.uint8) as loan:
            loan.commit(parents=[parent])

    assert pair.trace(lend) > 0
    assert pair.out.metrics()["trace_parents_missing"] == 2


def test_S_152_several_parents_are_linked(pair: Pair) -> None:
    """S-013, S-152: on the metadata stream, after the descriptor."""
    trace_id = pair.trace(lambda: pair.out.publish(FRAME, parents=[7, 8, 7]))
    assert trace_id not in (0, 7, 8)
    state = pair.out._state
    assert state is not None
    parents = (TraceParent(7), TraceParent(8))
    assert pair.sent == [TraceLinkSet(RIGHT, state.epoch, 0, trace_id, parents)]

    def lend() -> None:
        with pair.out.loan((8,), np.uint8) as loan:
            loan.commit(parents=[5, 6])

    assert pair.trace(lend) == pair.sent[1].trace_id
    assert (pair.sent[1].seq, len(pair.sent)) == (1, 2)


def test_S_153_a_refused_link_is_dropped_and_holds_no_frame_up(pair: Pair) -> None:
    pair.refuses = True
    assert pair.trace(lambda: pair.out.publish(FRAME, parents=[7, 8])) > 0
    pair.world.run(0.2)
    assert len(pair.sent) == 1
    assert pair.out.metrics()["trace_links_dropped"] == 1


def test_S_153_a_frame_that_was_not_published_has_no_link(pair: Pair) -> None:
    assert not pair.out.publish(np.zeros(5000, np.uint8), parents=[7, 8])
    pair.world.run(0.02)
    assert pair.sent == []
