"""Progress of frames being filled, from producer and consumer (C-080, C-100, §17)."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest

from tensor_pool.client.config import ClientConfig
from tensor_pool.client.consumer.progress import ProgressUpdate
from tensor_pool.client.producer.known_consumers import ConsumerEntry
from tensor_pool.client.producer.progress import ProgressCap, policy_for
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.shm.slot_header import header_image
from tensor_pool.protocol.shm.tensor import tensor_layout
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    Dtype,
    FrameProgress,
    FrameProgressState,
    MajorOrder,
    Mode,
    ProgressUnit,
)
from tests.client.test_private_streams import IPC, hello
from tests.client.world import STREAM, World

STARTED, PROGRESS, COMPLETE = (
    FrameProgressState.STARTED,
    FrameProgressState.PROGRESS,
    FrameProgressState.COMPLETE,
)
MIB = 1 << 20


@pytest.fixture
def filling(world: World) -> Any:
    """A producer with 1 MiB slots."""
    world.driver.add_stream(STREAM, nslots=4, pools=((1, MIB),))
    return world.client().producer(STREAM)


def heard(world: World, number: int = 1000) -> list[FrameProgress]:
    return [m for m in world.hear(number) if isinstance(m, FrameProgress)]


def interest(world: World, consumer_id: int = 555, **hints: Any) -> None:
    world.say(1000, hello(consumer_id, supports_progress=True, **hints))
    world.run(0.005, step_ms=1)


def test_W_180_without_an_interested_consumer_nothing_is_sent(world: World, filling: Any) -> None:
    """C-080, W-180."""
    world.listen(1000)
    world.say(1000, hello(555))
    world.run(0.02)
    with filling.loan(MIB) as loan:
        loan.progress(MIB)
        loan.commit()
    world.run(0.02)
    assert heard(world) == []


def test_W_180_states_come_in_order_and_bytes_never_go_back(world: World, filling: Any) -> None:
    """C-080, W-180, W-181."""
    world.listen(1000)
    interest(world)
    with filling.loan((MIB,), np.uint8) as loan:
        for filled in range(0, MIB + 1, 65536):
            world.clock.advance(1_000_000)
            loan.progress(filled)
        with pytest.raises(ValueError, match="progress"):
            loan.progress(MIB - 1)
        with pytest.raises(ValueError, match="progress"):
            loan.progress(MIB + 1)
    messages = heard(world)
    assert [m.state for m in messages] == [STARTED, *[PROGRESS] * 16, COMPLETE]
    filled = [m.payload_bytes_filled for m in messages]
    assert filled == sorted(filled)
    assert filled[-1] == MIB
    assert {(m.seq, m.stream_id, m.epoch) for m in messages} == {
        (0, STREAM, world.driver.streams[STREAM].epoch)
    }
    assert filling.metrics()["progress_sent"] == 18


def test_W_181_progress_is_throttled_by_time_and_bytes(world: World, filling: Any) -> None:
    """C-080, W-181: 1 MiB in 1 KiB steps every 10 us."""
    world.listen(1000)
    interest(world)
    stamps = []
    with filling.loan(MIB) as loan:
        for filled in range(1024, MIB + 1, 1024):
            world.clock.advance(10_000)
            before = len(heard(world))
            loan.progress(filled)
            if len(heard(world)) > before:
                stamps.append((world.clock.monotonic_ns(), filled))
        loan.commit(MIB)
    assert 10 <= len(stamps) <= 16
    for (t1, b1), (t2, b2) in itertools.pairwise(stamps):
        assert t2 - t1 >= 250_000
        assert b2 - b1 >= 65536


def test_W_181_at_most_two_thousand_a_second() -> None:
    clock = SimulatedClock()
    cap = ProgressCap()
    assert sum(cap.allows(clock.monotonic_ns()) for _ in range(5000)) == 2000
    clock.advance(1_000_000_000)
    assert cap.allows(clock.monotonic_ns())


def entry(consumer_id: int, **hints: Any) -> ConsumerEntry:
    found = ConsumerEntry(consumer_id)
    found.hello = hello(consumer_id, supports_progress=True, **hints)
    return found


def test_W_182_the_finest_hint_counts_down_to_the_floor() -> None:
    """C-080, W-182: hints 8 and 4 units give 4, floor 6 gives 6, no hint gives the defaults."""
    eight = entry(1, progress_major_delta_units=8)
    four = entry(2, progress_major_delta_units=4, progress_interval_us=1000)
    zero = entry(3, progress_major_delta_units=0, progress_bytes_delta=1_000_000)

    def policy(*entries: ConsumerEntry, **floors: int) -> Any:
        return policy_for(entries, ClientConfig(**floors), ())

    assert policy(eight, four, zero).major_delta_units == 4
    assert policy(eight, four, progress_units=6).major_delta_units == 6
    assert policy(eight, four).interval_ns == 250_000
    assert policy(four).interval_ns == 1_000_000
    assert policy(zero).bytes_delta == 1_000_000
    assert policy(zero, eight).bytes_delta == 65536
    defaults = policy()
    assert (defaults.interval_ns, defaults.bytes_delta, defaults.major_delta_units) == (
        250_000,
        65536,
        0,
    )
    rows = tensor_layout(Dtype.UINT8, (100, 1000))
    columns = tensor_layout(Dtype.UINT8, (1000, 100), order=MajorOrder.COLUMN)
    assert policy(four).delta_for(rows) == 4000
    assert policy(four).delta_for(columns) == 4000
    assert policy(four).delta_for(None) == 65536
    assert policy(entry(4, progress_major_delta_units=90_000)).delta_for(rows) == 65536


def test_W_182_the_policy_follows_consumers_that_come_change_and_go(
    world: World, filling: Any
) -> None:
    interest(world, 555, progress_bytes_delta=200_000)
    assert filling._progress.bytes_delta == 200_000
    interest(world, 556, progress_bytes_delta=100_000)
    assert filling._progress.bytes_delta == 100_000
    interest(world, 556, progress_bytes_delta=300_000)
    assert filling._progress.bytes_delta == 200_000
    world.say(1000, hello(555))
    world.run(0.01)
    assert filling._progress.bytes_delta == 300_000
    world.run(6)
    assert filling._progress.targets == ()


def test_W_183_private_and_shared_control_streams_each_get_every_message_once(
    world: World, filling: Any
) -> None:
    """C-080, W-165, W-183."""
    for number in (1000, 32001):
        world.listen(number)
    interest(world, 555, control_channel=IPC, control_stream_id=1)
    world.driver.send(
        ConsumerConfig(
            stream_id=STREAM,
            consumer_id=555,
            use_shm=True,
            mode=Mode.STREAM,
            control_channel=IPC,
            control_stream_id=32001,
        )
    )
    world.run(0.02)
    filling.loan(10).commit()
    assert [m.state for m in heard(world, 32001)] == [STARTED, COMPLETE]
    assert heard(world) == []  # no consumer needs the shared stream
    interest(world, 556)
    filling.loan(10).commit()
    assert len(heard(world, 32001)) == 4
    assert len(heard(world)) == 2
    assert {type(m) for m in world.hear(32001)} == {FrameProgress}


# The consumer's side


class Watched:
    """A consumer that asks for progress, and a hand-driven producer."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        self.updates: list[ProgressUpdate] = []
        client = world.client()
        self.producer = client.producer(STREAM)
        self.consumer = client.consumer(
            STREAM, supports_progress=True, on_progress=self.updates.append, **options
        )
        world.run(0.05)
        self.epoch = world.driver.streams[STREAM].epoch
        self.producer._progress = msgspec.structs.replace(self.producer._progress, targets=())

    def tell(self, number: int = 1000, **fields: Any) -> str:
        """'taken' or 'dropped', for one message."""
        message = FrameProgress(
            stream_id=STREAM, epoch=self.epoch, seq=0, payload_bytes_filled=4, state=PROGRESS
        )
        before = self.consumer.metrics()
        self.world.say(number, msgspec.structs.replace(message, **fields))
        self.world.run(0.005, step_ms=1)
        after = self.consumer.metrics()
        taken = after["progress_received"] - before["progress_received"]
        dropped = after["drops_progress"] - before["drops_progress"]
        assert after["drops_gap"] == before["drops_gap"]
        assert after["drops_late"] == before["drops_late"]
        return {(1, 0): "taken", (0, 1): "dropped", (0, 0): "ignored"}[taken, dropped]

    def commit(self, layout: Any, data: bytes) -> None:
        """Commit the open loan with a layout of any kind."""
        state = self.producer._state
        loan = next(iter(self.producer._loans.by_seq.values()))
        loan.buffer[: len(data)] = data
        header = (len(data), 1, header_image(layout))
        state.commit(loan.seq, header, timestamp_ns=0, meta_version=0)


def test_W_184_a_consumer_that_did_not_opt_in_ignores_progress(world: World) -> None:
    watched = Watched(world)
    plain = world.client().consumer(STREAM)
    watched.producer.loan(100)
    assert watched.tell() == "taken"
    assert plain.metrics()["progress_received"] == plain.metrics()["drops_progress"] == 0


def test_W_184_each_check_drops_the_message(world: World) -> None:
    """C-100, W-184: bytes 8 then 4 drops the second."""
    watched = Watched(world)
    watched.producer.loan(100)
    assert watched.tell(stream_id=STREAM + 1) == "ignored"
    assert watched.tell(epoch=watched.epoch + 1) == "dropped"
    assert watched.tell(state=FrameProgressState.UNKNOWN) == "dropped"
    assert watched.tell(seq=8) == "dropped"  # the slot holds 0
    assert watched.tell(payload_bytes_filled=8) == "taken"
    assert watched.tell(payload_bytes_filled=4) == "dropped"
    assert watched.tell(payload_bytes_filled=8, state=STARTED) == "dropped"
    assert watched.tell(payload_bytes_filled=8, state=COMPLETE) == "taken"
    world.driver.silent = True
    world.driver.notice(world.driver.lease_of(watched.consumer.client_id))
    world.run(0.01)
    assert watched.tell(payload_bytes_filled=9) == "dropped"  # not mapped


def test_W_185_progress_of_a_slot_in_progress_is_a_number_only(world: World) -> None:
    watched = Watched(world)
    watched.producer.loan(100)
    watched.tell(payload_bytes_filled=50)
    [update] = watched.updates
    assert (update.bytes_filled, update.prefix, update.complete_units) == (50, None, None)
    assert (update.seq, update.epoch, update.state) == (0, watched.epoch, PROGRESS)


ROWS = ProgressUnit.ROWS
COLUMNS = ProgressUnit.COLUMNS
PADDED = tensor_layout(Dtype.UINT8, (3, 2), strides=(8, 1))
LAYOUTS: list[tuple[Any, bool, int | None]] = [
    (tensor_layout(Dtype.UINT8, (3, 8)), True, None),
    (tensor_layout(Dtype.UINT8, (3, 8), progress_unit=ROWS), True, 2),
    (PADDED, False, None),
    (tensor_layout(Dtype.UINT8, (3, 2), strides=(8, 1), progress_unit=ROWS), True, 2),
    (
        tensor_layout(
            Dtype.UINT8, (2, 3), strides=(1, 8), order=MajorOrder.COLUMN, progress_unit=COLUMNS
        ),
        True,
        2,
    ),
    (
        tensor_layout(
            Dtype.UINT8, (2, 3), strides=(1, 8), order=MajorOrder.COLUMN, progress_unit=ROWS
        ),
        False,
        None,
    ),
]


@pytest.mark.parametrize(("layout", "safe", "units"), LAYOUTS)
def test_W_186_a_committed_prefix_is_offered_where_the_layout_allows(
    world: World, layout: Any, safe: bool, units: int | None
) -> None:
    watched = Watched(world)
    watched.producer.loan(100)
    watched.commit(layout, bytes(range(24)))
    assert watched.tell(payload_bytes_filled=17) == "taken"
    [update] = watched.updates
    assert update.complete_units == units
    if safe:
        assert update.prefix is not None
        assert bytes(update.prefix) == bytes(range(17))
        assert update.prefix.readonly
    else:
        assert update.prefix is None


def test_W_186_too_many_bytes_or_a_wrong_stride_drop_the_message(world: World) -> None:
    watched = Watched(world)
    watched.producer.loan(100)
    watched.commit(tensor_layout(Dtype.UINT8, (3, 8), progress_unit=ROWS), bytes(24))
    assert watched.tell(payload_bytes_filled=25) == "dropped"
    world.driver.streams[STREAM].poke(0, 64 + 79, b"\x09")  # progress stride
    assert watched.tell(payload_bytes_filled=20) == "dropped"


def test_W_187_complete_makes_nothing_available(world: World) -> None:
    """C-100, W-098, W-187: only a descriptor does."""
    watched = Watched(world)
    watched.producer.loan(100)
    assert watched.tell(state=COMPLETE, payload_bytes_filled=100) == "taken"
    assert watched.updates[-1].prefix is None
    assert watched.consumer.poll() is None
    assert watched.consumer.metrics()["frames_ok"] == 0


def test_C_098_progress_comes_from_the_private_control_stream_only(world: World) -> None:
    """C-098, W-164: shared FrameProgress is ignored, everything else on control still counts."""
    watched = Watched(world, control_channel=IPC)
    watched.producer.loan(100)
    world.driver.send(
        ConsumerConfig(
            stream_id=STREAM,
            consumer_id=watched.consumer.client_id,
            use_shm=True,
            mode=Mode.STREAM,
            control_channel=IPC,
            control_stream_id=32001,
        )
    )
    world.run(0.02)
    assert watched.tell(number=1000) == "ignored"
    assert watched.tell(number=32001) == "taken"
    world.driver.revoke(world.driver.lease_of(watched.consumer.client_id))
    world.run(0.5)
    assert watched.consumer.metrics()["lease_losses_revoked"] == 1
    watched.epoch = world.driver.streams[STREAM].epoch
    assert watched.tell(number=1000, payload_bytes_filled=90) == "taken"  # shared again


def test_M_111_hints_are_sent_only_with_progress(world: World) -> None:
    """C-097."""
    world.client().consumer(STREAM, progress_interval_us=5, progress_bytes_delta=6)
    world.client().consumer(
        STREAM, supports_progress=True, progress_interval_us=5, progress_major_delta_units=7
    )
    world.run(0.05)
    plain, wanting = sorted(world.driver.hellos, key=lambda h: h.supports_progress)
    assert (plain.progress_interval_us, plain.progress_bytes_delta) == (None, None)
    assert (wanting.progress_interval_us, wanting.progress_major_delta_units) == (5, 7)
