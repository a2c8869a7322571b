"""Batches: `publish_many` and `receive_many` do what the single calls do, one after the other."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensor_pool.client.attachment import backoff
from tensor_pool.client.client import Client
from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.consumer.frame import Frame
from tensor_pool.client.consumer.frame_run import FrameStack
from tensor_pool.client.producer.batch import slots_at_once
from tensor_pool.client.producer.producer import Producer
from tensor_pool.client.producer.results import PublishResult, PublishStatus
from tensor_pool.protocol.errors import ClosedError, LeaseLostError
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import Mode
from tests.client.fake_driver import CHANNEL
from tests.client.test_private_streams import assign
from tests.client.world import MS, STREAM, World

POOLS = ((1, 64), (2, 1024))
LAYOUTS: tuple[Callable[[int], Any], ...] = (
    lambda i: np.full((2, 3), i, np.uint16),
    lambda i: np.full(16, i, np.float32),
    lambda i: np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4) + i),
    lambda i: np.full((4, 6), i, np.uint8)[:, ::2],
    lambda i: np.full((2, 2), i % 2 == 0),
    lambda i: np.full(3, i, ">u4"),
    lambda i: np.array(i, np.int64),
    lambda i: np.zeros((0, 2), np.uint8),
    lambda i: np.full(100, i, np.float64),  # in the larger pool
    lambda i: np.full(2000, i, np.uint8),  # in none
    lambda i: bytes([i % 256]) * 5,
    lambda _: 7,
)


@contextlib.contextmanager
def worlds(count: int, nslots: int, seed: int = 1) -> Iterator[list[World]]:
    """Worlds that are alike in everything."""
    base = Path(tempfile.mkdtemp(prefix="tp-batches-", dir="/dev/shm"))
    made = []
    try:
        for number in range(count):
            directory = base / str(number)
            directory.mkdir()
            world = World(directory, seed)
            world.driver.add_stream(STREAM, nslots=nslots, pools=POOLS)
            made.append(world)
        with mock.patch.object(backoff, "_random", mock.Mock(uniform=lambda low, high: high)):
            yield made
    finally:
        for world in made:
            world.close()
        shutil.rmtree(base)


def memory(world: World) -> list[bytes]:
    """Everything behind the superblocks of a stream."""
    return [path.read_bytes()[64:] for path in world.driver.streams[STREAM].paths()]


def one_by_one(
    producer: Producer, frames: Any, times: list[int] | None, traces: list[int] | None
) -> list[PublishResult]:
    return [
        producer.publish(
            frame,
            timestamp_ns=None if times is None else times[i],
            trace_id=0 if traces is None else traces[i],
        )
        for i, frame in enumerate(frames)
    ]


def together(
    producer: Producer, frames: Any, times: list[int] | None, traces: list[int] | None
) -> list[PublishResult]:
    results = producer.publish_many(frames, timestamps_ns=times, trace_ids=traces)
    assert bool(results) is all(results)
    return list(results)


def frames_of(kinds: list[int], start: int) -> list[Any]:
    return [LAYOUTS[kind](start + i) for i, kind in enumerate(kinds)]


KINDS = st.one_of(
    st.lists(st.integers(0, len(LAYOUTS) - 1), max_size=6),
    st.builds(lambda kind, n: [kind] * n, st.integers(0, len(LAYOUTS) - 1), st.integers(0, 40)),
)
PUBLISHING = st.tuples(st.just("publish"), KINDS, st.booleans(), st.booleans())
STACKED = st.tuples(st.just("stacked"), st.integers(0, 8), st.integers(0, 40), st.booleans())
OTHER = st.sampled_from(
    [
        ("loan",),
        ("commit",),
        ("metadata",),
        ("time",),
        ("full",),
        ("rotating",),
        ("free",),
        ("assign",),
        ("revoke",),
        ("expire",),
    ]
)


class Publishing:
    """One world's producer, driven by the actions of a course."""

    def __init__(self, world: World, publish: Callable[..., list[PublishResult]], **options: bool):
        self.world = world
        self.publish = publish
        self.client: Client = world.client("it")
        self.producer = self.client.producer(STREAM, **options)
        self.client.consumer(STREAM)
        rate = {"mode": Mode.RATE_LIMITED, "max_rate_hz": 50}
        self.capped = self.client.consumer(STREAM, descriptor_channel=CHANNEL, **rate)
        world.run(0.05)
        world.listen(1100)
        self.loans: list[Any] = []
        self.count = 0

    def act(self, action: tuple[Any, ...]) -> object:
        world, producer = self.world, self.producer
        match action:
            case "publish", kinds, timed, traced:
                return self._publish(frames_of(kinds, self.count), len(kinds), timed, traced)
            case "stacked", kind, n, timed:
                frames = [np.asarray(LAYOUTS[kind](self.count + i)) for i in range(n)]
                return self._publish(np.array(frames), n, timed, False) if n else None
            case ("loan",):
                if len(self.loans) < 2:
                    with contextlib.suppress(Exception):
                        self.loans.append(producer.loan((4,), np.uint8))
            case ("commit",):
                if self.loans:
                    with contextlib.suppress(Exception):
                        self.loans.pop().commit()
            case ("metadata",):
                producer.set_metadata(f"camera {self.count}")
            case ("time",):
                world.run(0.03)
            case ("full",):
                self._fault(Faults(offer_result=OfferResult.BACK_PRESSURED))
            case ("rotating",):
                self._fault(Faults(admin_action=0.5))
            case ("free",):
                self._fault(Faults())
            case ("assign",):
                assign(world, self.capped.client_id)
            case ("revoke",):
                world.driver.revoke(world.driver.lease_of(producer.client_id))
                world.run(0.5)
            case ("expire",):
                world.clock.advance(4000 * MS)
        return None

    def _publish(self, frames: Any, n: int, timed: bool, traced: bool) -> list[PublishResult]:
        self.count += n
        start = self.world.clock.monotonic_ns()
        self.world.clock.advance(n)  # so that given times do not go back
        times = [start + i // 2 for i in range(n)] if timed else None
        traces = [i % 3 for i in range(n)] if traced else None
        return self.publish(self.producer, frames, times, traces)

    def _fault(self, faults: Faults) -> None:
        self.world.network.set_faults(faults, transport="it", stream_id=1100)

    def all_that_shows(self) -> object:
        metrics = self.producer.metrics()
        return memory(self.world), self.world.hear(1100), metrics, self.capped.metrics()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    nslots=st.sampled_from([4, 8, 32, 64]),
    course=st.lists(st.one_of(PUBLISHING, STACKED, OTHER), min_size=1, max_size=8),
    descriptor_timestamps=st.booleans(),
    trace=st.booleans(),
)
def test_C_085_publish_many_leaves_what_publish_would_have_left(
    nslots: int,
    course: list[tuple[Any, ...]],
    descriptor_timestamps: bool,
    trace: bool,
) -> None:
    """C-085: the same bytes in shared memory, descriptors, results and counters."""
    options = {"descriptor_timestamps": descriptor_timestamps, "trace": trace}
    with worlds(2, nslots) as (first, second):
        single = Publishing(first, one_by_one, **options)
        batch = Publishing(second, together, **options)
        for action in course:
            assert batch.act(action) == single.act(action)
            assert batch.all_that_shows() == single.all_that_shows()


# Receiving


def contents(frame: Frame) -> tuple[Any, ...]:
    described = (frame.seq, frame.epoch, frame.timestamp_ns, frame.meta_version, frame.trace_id)
    array = frame.copy()
    return (*described, frame.publish_timestamp_ns, array.dtype.str, array.shape, array.tobytes())


def received_singly(consumer: Consumer, limit: int) -> list[Frame]:
    frames: list[Frame] = []
    while len(frames) < limit and (frame := consumer.receive(timeout=0)) is not None:
        frames.append(frame)
    return frames


def received_stacked(consumer: Consumer, limit: int) -> list[tuple[Any, ...]]:
    """Frames of stacks, until as many have come or none is left."""
    found: list[tuple[Any, ...]] = []
    while len(found) < limit:
        stack = consumer.receive_many(limit - len(found), timeout=0, stack=True)
        if stack is None:
            break
        assert len(stack.array) == len(stack) == len(stack.timestamps_ns) == len(stack.trace_ids)
        found += [
            (int(seq), stack.epoch, time, trace, row.dtype.str, row.shape, row.tobytes())
            for seq, time, trace, row in zip(
                stack.seqs, stack.timestamps_ns, stack.trace_ids, stack.array, strict=True
            )
        ]
    return found


READING = st.tuples(st.just("read"), st.integers(1, 40))
SENDING = st.tuples(
    st.just("publish"),
    st.builds(lambda kind, n: [kind] * n, st.integers(0, len(LAYOUTS) - 1), st.integers(1, 40)),
    st.booleans(),
    st.booleans(),
)
TROUBLE = st.sampled_from(
    [("metadata",), ("time",), ("full",), ("free",), ("revoke",), ("loss",), ("twice",), ("spoil",)]
)


class Receiving(Publishing):
    """A world of which one consumer is read in one way or the other."""

    def __init__(self, world: World, read: Callable[[Consumer, int], list[Any]]) -> None:
        super().__init__(world, one_by_one)
        self.read = read
        self.consumer = world.client("reader").consumer(STREAM)
        world.run(0.05)

    def act(self, action: tuple[Any, ...]) -> object:
        match action:
            case "read", limit:
                return self.read(self.consumer, limit)
            case ("loss",):
                self._fault_of_reader(Faults(loss=0.2))
            case ("twice",):
                self._fault_of_reader(Faults(duplicate=0.2))
            case ("spoil",):  # a slot whose header is not that of its frame
                self.world.driver.streams[STREAM].poke(0, 64 + 256 * 2 + 12, b"\x07")
            case ("free",):
                self._fault_of_reader(Faults())
                super().act(action)
            case _:
                super().act(action)
        return None

    def _fault_of_reader(self, faults: Faults) -> None:
        self.world.network.set_faults(faults, transport="reader", stream_id=1100)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    nslots=st.sampled_from([8, 32, 64]),
    course=st.lists(st.one_of(SENDING, READING, TROUBLE), min_size=2, max_size=10),
    seed=st.integers(0, 3),
)
def test_C_103_receive_many_returns_and_counts_what_receive_would_have(
    nslots: int, course: list[tuple[Any, ...]], seed: int
) -> None:
    """C-103, C-091, C-108: the same frames in the same order, and the same counters."""
    with worlds(3, nslots, seed) as (first, second, third):
        single = Receiving(first, lambda c, n: [contents(f) for f in received_singly(c, n)])
        batch = Receiving(second, lambda c, n: [contents(f) for f in c.receive_many(n, timeout=0)])
        stacked = Receiving(third, received_stacked)
        for action in [*course, ("read", 100)]:
            expected, in_batch, in_stack = (w.act(action) for w in (single, batch, stacked))
            assert in_batch == expected
            if isinstance(expected, list):
                assert in_stack == [(*f[:3], f[4], *f[6:]) for f in expected]
            metrics = [w.consumer.metrics() for w in (single, batch, stacked)]
            assert metrics[1:] == [metrics[0]] * 2


@pytest.mark.parametrize("stack", [False, True], ids=["list", "stack"])
def test_C_103_a_batch_behind_which_the_ring_went_round_is_counted_frame_by_frame(
    world: World, stack: bool
) -> None:
    """C-108, C-101: 100 frames into 64 slots before any is read."""
    world.driver.add_stream(STREAM, nslots=64, pools=POOLS)
    producer, consumer = world.pair()
    producer.publish(np.zeros(4, np.uint8))
    assert consumer.receive(timeout=0) is not None
    for i in range(100):
        producer.publish(np.full(4, i, np.uint8))
    seen: list[int] = []
    while batch := consumer.receive_many(50, timeout=0, stack=stack):  # type: ignore[call-overload]
        if isinstance(batch, FrameStack):
            assert batch.array[:, 0].tolist() == [seq - 1 for seq in batch.seqs]
            seen += batch.seqs.tolist()
        else:
            assert all(frame.valid for frame in batch)
            seen += [frame.seq for frame in batch]
    assert seen == sorted(seen)
    assert seen[-1] == 100
    metrics = consumer.metrics()
    assert metrics["frames_ok"] == len(seen) + 1
    assert metrics["drops_late"] == 100 - len(seen) > 0


def test_C_103_frames_written_over_while_they_are_stacked_are_left_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 23 of W-106 for each frame of a stack."""
    world.driver.add_stream(STREAM, nslots=32, pools=POOLS)
    producer, consumer = world.pair()
    producer.publish_many(np.arange(40, dtype=np.uint8).reshape(10, 4))
    assert consumer.receive(timeout=0) is not None
    state = consumer._receiver.state
    assert state is not None
    copied = type(state.format).copied  # type: ignore[union-attr]

    def overtaken(found: Any, slots: slice) -> Any:
        array = copied(found, slots)
        stream = world.driver.streams[STREAM]
        for seq in (1, 4):
            stream.poke(0, 64 + 256 * seq, (2 * (seq + 32)).to_bytes(8, "little"))
        return array

    monkeypatch.setattr(type(state.format), "copied", overtaken)
    stack = consumer.receive_many(64, timeout=0, stack=True)
    assert stack is not None
    assert stack.seqs.tolist() == [2, 3, 5, 6, 7, 8, 9]
    assert stack.array[:, 0].tolist() == [4 * seq for seq in (2, 3, 5, 6, 7, 8, 9)]
    metrics = consumer.metrics()
    assert (metrics["frames_ok"], metrics["drops_late"], metrics["late_changed"]) == (8, 2, 2)


def test_C_103_slots_written_between_the_two_looks_at_their_words_are_not_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W-082 step 4 for each frame of a batch: the word is loaded again behind the header."""
    world.driver.add_stream(STREAM, nslots=32, pools=POOLS)
    producer, consumer = world.pair()
    producer.publish(np.zeros(4, np.uint8))
    assert consumer.receive(timeout=0) is not None
    producer.publish_many(np.zeros((20, 4), np.uint8))
    state = consumer._receiver.state
    assert state is not None
    consumer._receiver.poll()
    real = np.ndarray.copy

    class Columns:
        """The bodies change the ring when they are copied."""

        def __init__(self, columns: Any) -> None:
            self.words, self.words_of = columns.words, columns.words_of
            self.bodies = self
            self._bodies = columns.bodies

        def __getitem__(self, slots: slice) -> Any:
            class Copying:
                @staticmethod
                def copy() -> Any:
                    bodies = real(self._bodies[slots])
                    word = (2 * (5 + 32)).to_bytes(8, "little")
                    world.driver.streams[STREAM].poke(0, 64 + 256 * 5, word)
                    return bodies

            return Copying

    from tensor_pool.protocol.shm.slot_columns import SlotColumns

    state._columns = Columns(SlotColumns(state.ring, 32))  # type: ignore[assignment]
    run = consumer._receiver._take_run(64, least=1)
    assert run is not None
    assert [frame.seq for frame in run.frames()] == [1, 2, 3, 4]


def test_C_103_a_stack_ends_before_a_frame_of_another_layout(world: World) -> None:
    world.driver.add_stream(STREAM, nslots=64, pools=POOLS)
    producer, consumer = world.pair()
    producer.publish_many([np.zeros(4, np.uint8)] * 12 + [np.zeros(3, np.uint16)] * 12)
    first = consumer.receive_many(timeout=0, stack=True)
    second = consumer.receive_many(timeout=0, stack=True)
    assert first is not None
    assert second is not None
    assert (first.array.shape, second.array.shape) == ((12, 4), (12, 3))
    assert consumer.receive_many(timeout=0, stack=True) is None
    assert consumer.receive_many(timeout=0) == []


def test_C_103_limits_and_a_closed_consumer(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish_many(np.zeros((5, 4), np.uint8))
    with pytest.raises(ValueError, match="limit 0 must be at least 1"):
        consumer.receive_many(0)
    assert [len(consumer.receive_many(n, timeout=0)) for n in (1, 3, 10)] == [1, 3, 1]
    consumer.close()
    for stack in (False, True):
        with pytest.raises(ClosedError):
            consumer.receive_many(timeout=0, stack=stack)  # type: ignore[call-overload]


# Publishing, what the property cannot show


def test_C_085_each_step_is_done_for_all_frames_of_a_part_before_the_next(world: World) -> None:
    """W-081: in-progress words, payloads, headers, committed words; then descriptors."""
    world.driver.add_stream(STREAM, nslots=64, pools=POOLS)
    producer, _ = world.pair()
    stream = world.driver.streams[STREAM]
    producer.publish_many(np.zeros((8, 4), np.uint8))
    state = producer._state
    assert state is not None
    columns = state._columns
    assert columns is not None
    words = columns.words
    stores: list[tuple[list[int], bytes, bytes]] = []

    class Recording:
        def __setitem__(self, slots: slice, values: Any) -> None:
            words[slots] = values
            payload = stream.peek(1, 64 + 64 * 15, 4)
            stores.append((values.tolist(), payload, stream.peek(0, 64 + 256 * 15 + 8, 4)))

    columns.words = Recording()  # type: ignore[assignment]
    producer.publish_many(np.full((8, 4), 9, np.uint8))
    seqs = range(8, 16)
    assert stores == [
        ([2 * seq for seq in seqs], bytes(4), bytes(4)),
        ([2 * seq + 1 for seq in seqs], b"\x09" * 4, b"\x04\0\0\0"),
    ]


@pytest.mark.parametrize(
    ("nslots", "nbytes", "expected"),
    [(256, 64, 64), (8, 64, 2), (2, 64, 1), (64, 65536, 4), (64, 1 << 20, 1), (64, 0, 16)],
)
def test_C_085_a_part_is_small_against_the_ring(nslots: int, nbytes: int, expected: int) -> None:
    """W-089: slots of a part are in progress together."""
    assert slots_at_once(nslots, nbytes) == expected


def test_C_085_the_fence_stands_between_the_first_words_and_the_payloads(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W-081 step 2: all payloads of a part may be one copy, large enough to overtake."""
    world.driver.add_stream(STREAM, nslots=64, pools=POOLS)
    producer, _ = world.pair()
    stream = world.driver.streams[STREAM]
    producer.publish_many(np.zeros((16, 4), np.uint8))
    seen: list[tuple[int, bytes]] = []

    def fence() -> None:
        word = int.from_bytes(stream.peek(0, 64 + 256 * 20, 8), "little")
        seen.append((word, stream.peek(1, 64 + 64 * 20, 1)))

    monkeypatch.setattr("tensor_pool.client.producer.slot_writer.full_fence", fence)
    producer.publish_many(np.full((16, 4), 7, np.uint8))
    assert seen == [(40, b"\0")]


@pytest.mark.parametrize(
    ("frames", "arguments", "error", "text"),
    [
        (np.array(7), {}, ValueError, "the first axis counts frames"),
        (b"abc", {}, ValueError, "this bytes is one frame"),
        ([np.zeros(2, np.complex64)], {}, ValueError, "complex64"),
        ([np.zeros(4), [1, 2]], {}, ValueError, "list"),
        (np.zeros((2, *(1,) * 9)), {}, ValueError, "dimensions"),
        (np.zeros((2, 4)), {"timestamps_ns": [1]}, ValueError, r"\(1,\) numbers for 2 frames"),
        (np.zeros((2, 4)), {"timestamps_ns": [-1, 5]}, ValueError, "timestamps_ns: -1"),
        (np.zeros((2, 4)), {"timestamps_ns": [2**64 - 1] * 2}, ValueError, "must be in"),
        (np.zeros((2, 4)), {"timestamps_ns": [1.5, 2.5]}, TypeError, "must be ints"),
        (np.zeros((2, 4)), {"timestamps_ns": [2**62, 2**61]}, ValueError, "must not go back"),
        (np.zeros((2, 4)), {"timestamps_ns": [1, 2**62]}, ValueError, "must not go back"),
        (np.zeros((2, 4)), {"trace_ids": [1, -2]}, ValueError, "trace_ids: -2"),
    ],
    ids=lambda v: "" if isinstance(v, type) or not isinstance(v, str) else v,
)
def test_C_085_bad_arguments_raise_before_a_frame_is_written(
    world: World, frames: Any, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    """C-074."""
    producer, _ = world.pair()
    producer.publish(np.zeros(4, np.uint8))
    before = memory(world)
    good = [np.zeros(4)] if isinstance(frames, list) else []
    with pytest.raises(error, match=text):
        producer.publish_many(good + frames if good else frames, **arguments)
    assert memory(world) == before
    assert producer.publish(np.zeros(4, np.uint8)).seq == 1


def test_C_085_strict_refuses_a_batch_with_a_frame_that_no_pool_holds(world: World) -> None:
    """C-071: before the first one is written."""
    producer = world.client().producer(STREAM, strict=True)
    with pytest.raises(ValueError, match="configure a pool with a stride_bytes"):
        producer.publish_many([np.zeros(4, np.uint8), np.zeros(70_000, np.uint8)])
    assert producer.publish(np.zeros(4, np.uint8)).seq == 0
    world.clock.advance(4000 * MS)
    with pytest.raises(LeaseLostError):
        producer.publish_many(np.zeros((2, 4), np.uint8))


def test_C_051_a_lease_that_ends_within_a_batch_ends_the_batch(world: World) -> None:
    """The deadline is looked at before each part."""
    world.driver.add_stream(STREAM, nslots=16, pools=POOLS)
    producer, _ = world.pair()
    deadline_ns = producer._connection.deadline_ns
    readings = iter([deadline_ns] * 3)
    producer._now = lambda: next(readings, deadline_ns + 1)
    results = producer.publish_many(np.zeros((16, 4), np.uint8))
    assert results.statuses[:8] == [PublishStatus.PUBLISHED] * 8
    assert results.statuses[8:] == [PublishStatus.NOT_ACTIVE] * 8
    assert results.seqs == [*range(8), *[None] * 8]
    assert producer.metrics()["drops_not_active"] == 8


def test_C_085_sleeping_consumers_are_woken(world: World) -> None:
    producer, _ = world.pair()

    class Bell:
        value = 0

        def release(self) -> None:
            self.value += 1

    bell = Bell()
    producer._bells = (bell,)
    producer.publish_many([])
    assert bell.value == 0
    producer.publish_many(np.zeros((20, 4), np.uint8))
    assert bell.value == 1


def test_C_085_results_are_a_sequence(world: World) -> None:
    producer, _ = world.pair()
    results = producer.publish_many([np.zeros(4, np.uint8), np.zeros(70_000, np.uint8)])
    assert not results
    assert [bool(result) for result in results] == [True, False]
    assert (results[0].seq, results[-1].status) == (0, PublishStatus.TOO_LARGE)
    assert results[:1]
    assert (results[:1].seqs, len(results)) == ([0], 2)
    assert producer.publish_many([])
    producer.close()
    with pytest.raises(ClosedError):
        producer.publish_many([])


def test_C_117_a_batch_may_be_closed_by_a_signal_handler(world: World) -> None:
    producer, _ = world.pair()

    class Bell:
        value = 0

        def release(self) -> None:
            producer._lock.gives_up = True
            producer.close()

    producer._bells = (Bell(),)
    with pytest.raises(ClosedError):
        producer.publish_many(np.zeros((20, 4), np.uint8))


def test_C_076_the_descriptors_of_a_batch_wait_for_open_loans(world: World) -> None:
    """Also those of frames that would be written together; at the end of the ring none is."""
    world.driver.add_stream(STREAM, nslots=16, pools=POOLS)
    producer, consumer = world.pair()
    loan = producer.loan((4,), np.uint8)
    results = producer.publish_many(np.zeros((20, 4), np.uint8))
    assert results.statuses[:15] == [PublishStatus.DEFERRED] * 15
    assert results.statuses[15:] == [PublishStatus.LOANS_OPEN] * 5
    assert consumer.receive_many(timeout=0) == []
    loan.commit()
    assert [frame.seq for frame in consumer.receive_many(timeout=0)] == [*range(16)]


def test_C_085_each_refused_descriptor_has_its_status(world: World) -> None:
    """C-071, of frames that were written together."""
    world.driver.add_stream(STREAM, nslots=16, pools=POOLS)
    client = world.client("it")
    producer = client.producer(STREAM)
    client.consumer(STREAM)
    full = Faults(offer_result=OfferResult.BACK_PRESSURED)
    world.network.set_faults(full, transport="it", stream_id=1100)
    results = producer.publish_many(np.zeros((8, 4), np.uint8))
    assert results.statuses == [PublishStatus.BACK_PRESSURED] * 8
    assert results.seqs == [*range(8)]
    assert producer.metrics()["descriptor_backpressured"] == 8
