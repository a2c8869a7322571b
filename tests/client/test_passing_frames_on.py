"""Passing frames on as they are: sequences, headers, late reading."""

from __future__ import annotations

import numpy as np
import pytest

from tensor_pool.client import FrameHeader
from tensor_pool.client.consumer.frame import Frame
from tensor_pool.client.producer.results import PublishStatus
from tensor_pool.protocol.errors import (
    FrameOverwrittenError,
    InvalidFrameError,
    StaleFrameError,
    StaleLoanError,
)
from tensor_pool.protocol.shm.commit_word import MAX_SEQ
from tensor_pool.protocol.shm.slot_header import header_image
from tensor_pool.protocol.shm.tensor import tensor_layout
from tensor_pool.protocol.wire import Dtype, MajorOrder, ProgressUnit
from tests.client.world import STREAM, World


def test_W_088_a_producer_may_leave_sequences_out(world: World) -> None:
    """W-088, C-070, C-075: they count as gaps, and no slot of theirs is touched."""
    producer, consumer = world.pair()
    assert producer.publish(b"a", seq=3).seq == 3
    with producer.loan((2,), np.uint8, seq=6) as loan:
        loan.array[:] = 1
    assert loan.seq == 6
    assert producer.publish(b"b").seq == 7
    frames = [consumer.poll() for _ in range(4)]
    assert [f.seq for f in frames if isinstance(f, Frame)] == [3, 6, 7]
    assert consumer.metrics()["drops_gap"] == 5  # 0, 1, 2, 4 and 5: it joined before any
    untouched = world.driver.streams[STREAM]
    assert [untouched.peek(0, 64 + 256 * i, 8) for i in (0, 1, 2, 4, 5)] == [bytes(8)] * 5


@pytest.mark.parametrize("seq", [-1, 4, MAX_SEQ + 1])
def test_C_070_a_sequence_never_goes_back(world: World, seq: int) -> None:
    producer, _ = world.pair()
    producer.publish(b"a", seq=4)
    with pytest.raises(ValueError, match=f"seq {seq} must be in 5"):
        producer.publish(b"b", seq=seq)
    with pytest.raises(ValueError, match=f"seq {seq} must be in 5"):
        producer.loan(1, seq=seq)
    assert producer.publish(b"c").seq == 5


def test_C_076_a_skip_does_not_run_over_an_open_loan(world: World) -> None:
    producer, _ = world.pair()  # 8 slots
    loan = producer.loan(1)
    assert loan is not None
    assert producer.publish(b"x", seq=8).status is PublishStatus.LOANS_OPEN
    assert producer.publish(b"x", seq=7).status is PublishStatus.DEFERRED


LAYOUTS = [
    tensor_layout(Dtype.BIT, (13,)),
    tensor_layout(Dtype.BYTES, (16,)),
    tensor_layout(Dtype.BOOLEAN, (4, 4)),
    tensor_layout(Dtype.FLOAT32, (2, 3), strides=(16, 4), progress_unit=ProgressUnit.ROWS),
    tensor_layout(Dtype.INT16, (2, 3), order=MajorOrder.COLUMN),
    tensor_layout(Dtype.UINT8, (1, 1, 2, 1, 1, 2, 1, 2)),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.dtype.name)
def test_C_075_a_raw_loan_takes_the_header_of_another_frame(world: World, layout: object) -> None:
    """C-075: BIT, BYTES, order and progress fields survive, and what was not provided stays so."""
    producer, consumer = world.pair()
    image = header_image(layout)  # type: ignore[arg-type]
    dirty = image[4:-1] + b"\xaa"  # a reserved byte
    header = FrameHeader.checked(dirty, 48, meta_version=None, timestamp_ns=None, trace_id=9)
    loan = producer.loan(48)
    assert loan is not None
    loan.buffer[:48] = bytes(range(48))
    assert loan.commit_as(header).status is PublishStatus.PUBLISHED
    frame = consumer.poll()
    assert isinstance(frame, Frame)
    assert frame.slot[60:] == image
    assert (frame.timestamp_ns, frame.meta_version, frame.trace_id) == (None, None, 9)
    assert bytes(frame.payload) == bytes(range(48))
    assert int.from_bytes(frame.slot[:8], "little") == 2 * frame.seq + 1
    with pytest.raises(StaleLoanError):
        loan.commit_as(header)


def test_C_075_a_header_that_consumers_would_drop_is_refused(world: World) -> None:
    image = header_image(tensor_layout(Dtype.UINT16, (4,)))[4:]
    with pytest.raises(ValueError, match="191 bytes"):
        FrameHeader.checked(image[1:], 8)
    with pytest.raises(ValueError, match="HEADER_FORMAT"):
        FrameHeader.checked(b"\xff" + image[1:], 8)
    with pytest.raises(ValueError, match="reaches 8 bytes"):
        FrameHeader.checked(image, 7)
    producer, _ = world.pair()
    loan = producer.loan(4)
    assert loan is not None
    with pytest.raises(ValueError, match="header of 5000 bytes"):
        loan.commit_as(FrameHeader.checked(image, 5000))


def test_C_081_metadata_may_be_set_with_a_version(world: World) -> None:
    producer, consumer = world.pair()
    producer.set_metadata("far", version=7)
    assert producer.metadata_version == 7
    producer.set_metadata("far away", version=7)
    world.run(0.1)
    assert consumer.metadata is not None
    assert (consumer.metadata.version, consumer.metadata.name) == (7, "far away")
    for version in (0, 6, 1 << 32):
        with pytest.raises(ValueError, match=f"version {version} must be in 7"):
            producer.set_metadata("x", version=version)


def test_C_090_announced_frames_are_read_later_or_not_at_all(world: World) -> None:
    """C-090: the sequence is tracked at the descriptor, the slot is judged when it is read."""
    producer, consumer = world.pair()  # 8 slots
    assert consumer.announced() == []
    producer.publish(np.arange(4, dtype=np.int16), trace_id=5)
    producer.publish(b"second", seq=3)
    first, second = consumer.announced(64)
    assert [(a.seq, a.trace_id, a.epoch) for a in (first, second)] == [
        (0, 5, consumer.epoch),
        (3, 0, consumer.epoch),
    ]
    assert consumer.metrics()["drops_gap"] == 2
    frame = first.read()
    assert frame.array.tolist() == [0, 1, 2, 3]
    for _ in range(8):
        producer.publish(b"later")
    assert not frame.valid
    with pytest.raises(FrameOverwrittenError, match="frame 3"):
        second.read()
    assert len(consumer.announced(3)) == 3
    assert len(consumer.announced(64)) == 5


def test_C_090_an_announced_frame_of_an_invalid_slot_is_refused(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(b"x")
    (announced,) = consumer.announced()
    state = producer._state
    assert state is not None
    state.ring[64 + 64] = 0xEE  # in the embedded header
    with pytest.raises(InvalidFrameError, match="frame 0"):
        announced.read()


def test_C_090_an_announced_frame_does_not_outlive_its_mapping(world: World) -> None:
    producer, consumer = world.pair()
    producer.publish(b"x")
    (announced,) = consumer.announced()
    consumer.close()
    with pytest.raises(StaleFrameError):
        announced.read()
    assert (consumer.epoch, consumer.nslots, consumer.largest_frame_bytes) == (0, 0, 0)


def test_C_090_a_consumer_reports_its_source(world: World) -> None:
    producer, consumer = world.pair()
    world.run(1.5)
    assert consumer.epoch == world.driver.streams[STREAM].epoch
    assert (consumer.nslots, consumer.largest_frame_bytes) == (8, 65536)
    assert consumer.has_producer
    producer.close()
    world.run(1.5)
    assert not consumer.has_producer


def test_C_090_a_tethered_consumer_has_that_in_its_channel(world: World) -> None:
    _, loose = world.pair()
    held = world.client().consumer(STREAM, tether=True)
    channels = [c._receiver.subscription for c in (loose, held)]
    assert [s is not None and "tether=true" in s.channel for s in channels] == [False, True]
