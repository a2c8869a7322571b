"""Ways to receive, and what a frame is (C-090 to C-095)."""

from __future__ import annotations

import gc
import mmap
import pickle
from typing import Any

import numpy as np
import pytest

from tensor_pool.client.consumer.frame import Frame
from tensor_pool.protocol.errors import ClosedError, FrameOverwrittenError, StaleFrameError
from tensor_pool.protocol.wire import MajorOrder
from tests.client.fake_driver import lines_of_maps
from tests.client.world import STREAM, World


def image(i: int) -> np.ndarray[Any, Any]:
    return np.full((2, 3), i, np.uint16)


def test_C_090_poll_without_a_handler_gives_one_frame_at_a_time(world: World) -> None:
    producer, consumer = world.pair()
    for i in range(3):
        producer.publish(image(i))
    frames = [consumer.poll() for _ in range(4)]
    assert [f.seq for f in frames[:3] if isinstance(f, Frame)] == [0, 1, 2]
    assert frames[3] is None


def test_C_090_poll_with_a_handler_delivers_up_to_the_limit_in_order(world: World) -> None:
    """C-090, W-112."""
    producer, consumer = world.pair()
    for i in range(7):
        producer.publish(image(i))
    seen: list[int] = []
    assert consumer.poll(lambda f: seen.append(f.seq), limit=5) == 5
    assert consumer.poll(lambda f: seen.append(f.seq), limit=5) == 2
    assert consumer.poll(lambda f: seen.append(f.seq), limit=5) == 0
    assert seen == list(range(7))


def test_C_090_the_limit_counts_descriptors_also_unreadable_ones(world: World) -> None:
    producer, consumer = world.pair()  # 8 slots
    for i in range(12):
        producer.publish(image(i))
    seen: list[int] = []
    assert consumer.poll(lambda f: seen.append(f.seq), limit=6) == 2  # 0..3 were overwritten
    assert seen == [4, 5]
    assert consumer.poll(limit=0) is None


def test_C_090_latest_skips_to_the_newest_and_counts_the_rest(world: World) -> None:
    """C-090, W-112."""
    producer, consumer = world.pair()
    for i in range(5):
        producer.publish(image(i))
    frame = consumer.latest()
    assert frame is not None
    assert frame.seq == 4
    assert consumer.latest() is None
    metrics = consumer.metrics()
    assert (metrics["frames_ok"], metrics["drops_rate"], metrics["drops_gap"]) == (1, 4, 0)


def test_C_090_wait_gives_up_at_the_timeout(world: World) -> None:
    _, consumer = world.pair()
    consumer._client._conductor.on_wake()
    at = world.clock.monotonic_ns()
    world.clock.advance(0)
    assert consumer.receive(timeout=0) is None
    assert world.clock.monotonic_ns() == at


def test_C_092_a_frame_has_its_description(world: World) -> None:
    producer, consumer = world.pair()
    array = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    now = world.clock.monotonic_ns()
    producer.publish(array, trace_id=77)
    frame = consumer.poll()
    assert isinstance(frame, Frame)
    assert (frame.seq, frame.trace_id, frame.epoch) == (0, 77, world.driver.streams[STREAM].epoch)
    assert (frame.dtype, frame.shape, frame.strides) == (np.float32, (2, 3), (4, 8))
    assert (frame.order, frame.nbytes, frame.pool_id) == (MajorOrder.COLUMN, 24, 1)
    assert (frame.timestamp_ns, frame.meta_version, frame.publish_timestamp_ns) == (now, None, now)
    assert bytes(frame.payload) == array.tobytes("F")
    assert "seq=0" in repr(frame)


def test_C_092_arrays_and_payload_are_shared_memory_and_read_only(world: World) -> None:
    """C-092, W-033: nothing is copied, nothing can be written."""
    producer, consumer = world.pair()
    producer.publish(image(1))
    frame = consumer.poll()
    assert isinstance(frame, Frame)
    address = frame.array.ctypes.data
    assert any(
        int(line.split("-")[0], 16) <= address < int(line.split("-")[1].split()[0], 16)
        for line in lines_of_maps(world.base)
    )
    assert not frame.array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        frame.array[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        frame.array.flags.writeable = True
    assert frame.payload.readonly


def test_what_is_done_to_one_array_does_not_show_in_the_next(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(image(1))
    frame = consumer.poll()
    assert isinstance(frame, Frame)
    first, second = frame.array, frame.array
    assert first is not second
    assert first.ctypes.data == second.ctypes.data


@pytest.mark.parametrize("shape", [(0,), (16, 0), (0, 4)])
def test_W_064_empty_frames_have_empty_arrays(world: World, shape: tuple[int, ...]) -> None:
    """C-092."""
    producer, consumer = world.pair()
    producer.publish(np.zeros(shape, np.int32))
    frame = consumer.poll()
    assert isinstance(frame, Frame)
    assert (frame.nbytes, len(frame.payload), frame.array.size) == (0, 0, 0)
    assert frame.array.shape == shape
    assert frame.valid


def test_W_078_booleans_other_than_one_are_true(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(b"\0\1\2\xff", dtype=np.bool_)
    frame = consumer.poll()
    assert isinstance(frame, Frame)
    assert frame.array.tolist() == [False, True, True, True]
    assert frame.copy().tolist() == [False, True, True, True]


def test_C_093_a_frame_stops_being_valid_with_its_slot_mapping_or_lease(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(image(0))
    overwritten = consumer.poll()
    for i in range(1, 9):
        producer.publish(image(i))
    kept = consumer.latest()
    assert isinstance(overwritten, Frame)
    assert isinstance(kept, Frame)
    assert not overwritten.valid
    assert kept.valid
    world.clock.advance(10_000_000_000)
    assert not kept.valid  # the deadline has passed


def test_C_094_copy_checks_after_copying(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(image(3))
    frame = consumer.poll()
    assert isinstance(frame, Frame)
    copied = frame.copy()
    assert copied.flags.owndata
    assert copied.flags.writeable
    out = np.zeros((2, 3), np.uint16)
    assert frame.copy(out=out) is out
    for i in range(8):
        producer.publish(image(i))
    assert copied.tolist() == out.tolist() == image(3).tolist()
    before = consumer.metrics()
    for _ in range(2):
        with pytest.raises(FrameOverwrittenError, match="come round"):
            frame.copy()
    after = consumer.metrics()
    assert after["drops_late"] == before["drops_late"] + 1
    assert after["late_changed"] == before["late_changed"] + 1


def test_C_094_a_frame_of_a_mapping_that_is_gone_is_stale(world: World) -> None:
    """C-094, C-095."""
    producer, consumer = world.pair()
    producer.publish(image(3))
    producer.publish(image(4))
    seen, unseen = consumer.poll(), consumer.poll()
    assert isinstance(seen, Frame)
    assert isinstance(unseen, Frame)
    view = seen.array
    world.driver.revoke(world.driver.lease_of(consumer.client_id))
    consumer._client.do_work()
    for frame in (seen, unseen):
        with pytest.raises(StaleFrameError):
            frame.copy()
        with pytest.raises(StaleFrameError):
            _ = frame.payload
        assert not frame.valid
    with pytest.raises(StaleFrameError):
        _ = unseen.array
    assert view.tolist() == image(3).tolist()


def test_C_094_poll_copy_delivers_only_copies_that_passed(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(image(1))
    producer.publish(image(2))
    frame = consumer.poll(copy=True)
    assert isinstance(frame, Frame)
    for i in range(9):
        producer.publish(image(i))
    assert frame.valid
    assert frame.array.tolist() == image(1).tolist()
    assert frame.copy().tolist() == image(1).tolist()
    assert bytes(frame.payload) == image(1).tobytes()
    seen: list[int] = []
    consumer.poll(lambda f: seen.append(f.seq), limit=20, copy=True)
    assert seen == list(range(3, 11))


def test_C_095_views_survive_a_hundred_remaps_and_let_go_of_their_memory(world: World) -> None:
    """C-095, W-143."""
    producer, consumer = world.pair()
    views = []
    for i in range(100):
        producer.publish(image(i))
        frame = consumer.poll()
        assert isinstance(frame, Frame)
        views.append(frame.array)
        world.driver.revoke(world.driver.lease_of(producer.client_id))
        world.run(1.3, step_ms=50)  # a keepalive gets through, so the delays start anew
        assert (producer.state, consumer.state) == ("Active", "Mapped")
    assert [int(v[0, 0]) for v in views] == list(range(100))
    held = sum("r--s" in line for line in lines_of_maps(world.base))
    assert held >= 100
    del frame
    views.clear()
    gc.collect()
    assert len(list(lines_of_maps(world.base))) == 6  # three regions for each of the two


def test_frames_feed_everything_that_takes_arrays(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(image(5))
    frame = consumer.poll()
    assert isinstance(frame, Frame)
    assert np.asarray(frame).ctypes.data == frame.array.ctypes.data
    assert np.array(frame).ctypes.data != frame.array.ctypes.data
    assert np.asarray(frame, dtype=np.float64).tolist() == image(5).astype(float).tolist()
    assert np.mean(frame) == 5
    taken = np.from_dlpack(frame)
    assert taken.ctypes.data == frame.array.ctypes.data
    assert not taken.flags.writeable
    assert frame.__dlpack_device__() == (1, 0)
    memory = mmap.mmap(-1, 4096)
    memory[:12] = frame.payload
    assert bytes(memory[:12]) == image(5).tobytes()


def test_C_115_handles_and_frames_are_not_picklable(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(image(5))
    frame = consumer.poll()
    for handle in (producer, consumer, producer._client, frame):
        with pytest.raises(TypeError, match=type(handle).__name__):
            pickle.dumps(handle)


def test_iteration_ends_when_the_consumer_is_closed(world: World) -> None:
    producer, consumer = world.pair()
    for i in range(3):
        producer.publish(image(i))
    seen = []
    for frame in consumer:
        seen.append(frame.seq)
        if frame.seq == 2:
            consumer.close()
    assert seen == [0, 1, 2]
    with pytest.raises(ClosedError):
        consumer.poll()


def test_C_113_a_raising_handler_is_counted_and_the_next_poll_works(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(image(0))
    producer.publish(image(1))

    def broken(_: Frame) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        consumer.poll(broken)
    assert consumer.metrics()["callback_errors"] == 1
    frame = consumer.poll()
    assert isinstance(frame, Frame)
    assert frame.seq == 1
