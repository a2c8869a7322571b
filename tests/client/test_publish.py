"""Publishing (§8): results, pools, layouts, what is written."""

from __future__ import annotations

import array as arrays
import logging
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tensor_pool.client.consumer.frame import Frame
from tensor_pool.client.producer.loan import Loan
from tensor_pool.client.producer.producer import Producer
from tensor_pool.client.producer.results import PublishStatus
from tensor_pool.protocol.errors import LeaseLostError
from tensor_pool.protocol.shm.slot_header import SLOT_IMAGE
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import Dtype, FrameDescriptor, MajorOrder
from tests.client.world import STREAM, World

BYTES = np.arange(100, dtype=np.uint8)


def slot(world: World, seq: int) -> tuple[int, bytes]:
    """Commit word and the other 248 bytes of a header slot."""
    stream = world.driver.streams[STREAM]
    data = stream.peek(0, 64 + 256 * (seq % stream.nslots), 256)
    return int.from_bytes(data[:8], "little"), data[8:]


def descriptors(world: World) -> list[FrameDescriptor]:
    return [m for m in world.hear(1100) if isinstance(m, FrameDescriptor)]


def test_C_070_published_frames_arrive_and_count_up(world: World) -> None:
    """C-070, W-096, CI-6: exactly one descriptor per frame, in order."""
    producer, consumer = world.pair()
    world.listen(1100)
    for i in range(5):
        result = producer.publish(np.full((2, 3), i, np.int32))
        assert result
        assert (result.status, result.seq) == (PublishStatus.PUBLISHED, i)
        frame = consumer.poll()
        assert frame is not None
        assert frame.array.tolist() == [[i] * 3] * 2
    assert [d.seq for d in descriptors(world)] == [0, 1, 2, 3, 4]
    assert {d.epoch for d in descriptors(world)} == {world.driver.streams[STREAM].epoch}
    assert producer.metrics()["frames_published"] == 5


def test_W_096_the_slot_is_committed_before_its_descriptor_is_offered(world: World) -> None:
    producer, _ = world.pair()
    words: list[int] = []
    publication = producer._descriptors.publication
    assert publication is not None

    class Watching:
        def quick_offer(self, message: bytearray) -> object:
            words.append(slot(world, len(words))[0])
            return publication.quick_offer(message)

        offer = publication.offer
        close = publication.close

    producer._connect(Watching())  # type: ignore[arg-type]
    for _ in range(3):
        producer.publish(BYTES)
    assert words == [1, 3, 5]


def test_arrays_of_one_shape_keep_the_order_of_each(world: World) -> None:
    """The layout of the array before is used again only for arrays that lie like it."""
    producer, consumer = world.pair()
    rows = np.arange(6, dtype=np.uint16).reshape(2, 3)
    for array in (rows, np.asfortranarray(rows), rows):
        producer.publish(array)
        frame = consumer.poll()
        assert isinstance(frame, Frame)
        assert frame.order is (MajorOrder.ROW if array is rows else MajorOrder.COLUMN)
        assert np.array_equal(frame.copy(), rows)


@pytest.mark.parametrize("between", ["array", "bytes", "loan"])
def test_W_081_a_slot_that_held_another_layout_gets_a_whole_header(
    world: World, between: str
) -> None:
    """A header that stands in the slot already is not written again; any other is."""
    producer, consumer = world.pair()
    nslots = world.driver.streams[STREAM].nslots
    first = np.arange(6, dtype=np.uint16).reshape(2, 3)
    other = np.arange(10, dtype=np.float32)

    def publish_other() -> None:
        if between == "array":
            producer.publish(other)
        elif between == "bytes":
            producer.publish(other.tobytes(), shape=(10,), dtype=np.float32)
        else:
            with producer.loan((10,), np.float32) as loan:
                loan.array[:] = other

    rounds = [lambda: producer.publish(first), publish_other] * 2
    for act, expected in zip(rounds, [first, other] * 2, strict=True):
        for _ in range(nslots):
            act()
            frame = consumer.poll()
            assert isinstance(frame, Frame)
            assert frame.dtype == expected.dtype
            assert frame.copy().tolist() == expected.tolist()


def test_W_081_times_and_meta_versions_are_written_with_every_frame(world: World) -> None:
    producer, consumer = world.pair()
    start = world.clock.monotonic_ns()
    for i in range(3 * world.driver.streams[STREAM].nslots):
        if i == 12:
            producer.set_metadata("camera")
        producer.publish(BYTES, timestamp_ns=start + i)
        frame = consumer.poll()
        assert isinstance(frame, Frame)
        assert (frame.timestamp_ns, frame.meta_version) == (start + i, 1 if i >= 12 else None)


def test_W_097_a_trace_id_belongs_to_one_frame(world: World) -> None:
    producer, _ = world.pair()
    world.listen(1100)
    for trace_id in (0, 7, 0, 0, 8, 8, 0):
        producer.publish(BYTES, trace_id=trace_id)
    assert [d.trace_id or 0 for d in descriptors(world)] == [0, 7, 0, 0, 8, 8, 0]


def test_C_070_without_subscribers_the_frame_is_committed_all_the_same(world: World) -> None:
    """C-070, W-004: not an error; the sequence stays consumed."""
    producer = world.client().producer(STREAM)
    result = producer.publish(BYTES)
    assert result
    assert (result.status, result.seq) == (PublishStatus.NO_SUBSCRIBERS, 0)
    assert slot(world, 0)[0] == 1
    assert producer.publish(BYTES).seq == 1
    assert producer.metrics()["drops_no_subscriber"] == 2


REFUSALS = {
    OfferResult.BACK_PRESSURED: "descriptor_backpressured",
    OfferResult.ADMIN_ACTION: "descriptor_admin_action",
    OfferResult.CLOSED: "descriptor_closed",
    OfferResult.MAX_POSITION_EXCEEDED: "descriptor_max_position_exceeded",
    OfferResult.ERROR: "descriptor_errors",
}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: r.name)
def test_C_071_each_refusal_of_the_transport_is_counted_and_never_waited_for(
    world: World, refusal: OfferResult
) -> None:
    """C-071, W-004."""
    client = world.client("it")
    producer = client.producer(STREAM)
    client.consumer(STREAM)
    world.network.set_faults(Faults(offer_result=refusal), transport="it", stream_id=1100)
    at = world.clock.monotonic_ns()
    result = producer.publish(BYTES)
    assert world.clock.monotonic_ns() == at
    assert not result
    assert (result.status, result.seq) == (PublishStatus.BACK_PRESSURED, 0)
    assert producer.metrics()[REFUSALS[refusal]] == 1
    assert producer.metrics()["frames_published"] == 0


def test_C_073_a_committed_sequence_is_never_used_again(world: World) -> None:
    """C-073, W-088: the next frame after back pressure has seq + 1; consumers see a gap."""
    client = world.client("it")
    producer = client.producer(STREAM)
    consumer = client.consumer(STREAM)
    world.run(0.05)
    producer.publish(BYTES)
    full = Faults(offer_result=OfferResult.BACK_PRESSURED)
    world.network.set_faults(full, transport="it", stream_id=1100)
    assert producer.publish(BYTES).seq == 1
    assert slot(world, 1)[0] == 3
    world.network.set_faults(Faults(), transport="it", stream_id=1100)
    assert producer.publish(BYTES).seq == 2
    assert [f.seq for f in iter(consumer.poll, None)] == [0, 2]
    assert consumer.metrics()["drops_gap"] == 1


def by_loan(producer: Producer, data: bytes) -> object:
    """Publish through a loan that is alone."""
    loan = producer.loan(len(data))
    assert isinstance(loan, Loan)
    loan.buffer[: len(data)] = data
    return loan.commit(len(data), (len(data),), np.uint8)


@pytest.mark.parametrize("publish", [Producer.publish, by_loan])
def test_C_071_descriptors_that_are_accepted_again_are_logged_with_the_number_that_was_not(
    world: World, caplog: pytest.LogCaptureFixture, publish: Callable[[Producer, bytes], object]
) -> None:
    """A closed transport has a text of its own."""
    client = world.client("it")
    producer = client.producer(STREAM)
    client.consumer(STREAM)
    closed = Faults(offer_result=OfferResult.CLOSED)
    world.network.set_faults(closed, transport="it", stream_id=1100)
    with caplog.at_level(logging.WARNING, "tensor_pool.client"):
        for _ in range(7):
            publish(producer, BYTES)
        world.network.set_faults(Faults(), transport="it", stream_id=1100)
        for _ in range(3):
            assert publish(producer, BYTES)
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"stream {STREAM}: descriptor not accepted (closed); ")
    assert "media driver" in first
    assert last == (f"stream {STREAM}: descriptors are accepted again, after 7 that were not")


class Bfloat16:
    """As a tensor of PyTorch."""

    def __dlpack__(self, **_: object) -> object:
        raise BufferError("Unsupported dtype in DLTensor: bfloat16")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


class Unreadable:
    def __array__(self, *_: object, **__: object) -> object:
        raise TypeError("Got unsupported ScalarType BFloat16")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            Bfloat16(),
            "this Bfloat16 has no NumPy array: Unsupported dtype .* float.* JAX .* astype",
        ),
        (Unreadable(), "this Unreadable has no NumPy array: Got unsupported ScalarType BFloat16;"),
        (
            memoryview(np.zeros(3, np.float32)),
            r"of format 'f' and shape \(3,\) is not bytes: publish",
        ),
        (arrays.array("d", [1.0]), "a array of format 'd' .* publish numpy.asarray"),
        (np.array([[1], "a"], object), "dtype object .* convert it"),
        ([1, 2], "cannot publish a list: give a NumPy array"),
    ],
    ids=["dlpack", "array", "memoryview", "array.array", "object", "list"],
)
def test_C_074_data_that_cannot_be_described_is_refused_with_the_remedy(
    world: World, data: object, text: str
) -> None:
    producer, consumer = world.pair()
    with pytest.raises(ValueError, match=text):
        producer.publish(data)
    assert producer.publish(memoryview(b"bytes"))
    assert producer.publish(memoryview(np.zeros(3, np.float32)), dtype=np.float32)
    assert [frame.array.dtype.name for frame in iter(consumer.poll, None)] == ["uint8", "float32"]


def test_C_071_back_pressure_is_logged_once_a_second(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    client = world.client("it")
    producer = client.producer(STREAM)
    client.consumer(STREAM)
    full = Faults(offer_result=OfferResult.BACK_PRESSURED)
    world.network.set_faults(full, transport="it", stream_id=1100)
    with caplog.at_level(logging.WARNING, "tensor_pool.client"):
        for _ in range(50):
            producer.publish(BYTES)
        assert len(caplog.records) == 1
        world.run(1.1)
        producer.publish(BYTES)
        assert len(caplog.records) == 2


def test_a_term_rotation_is_retried(world: World) -> None:
    """ADMIN_ACTION is momentary: the offer is repeated at once, a bounded number of times."""
    client = world.client("it")
    producer = client.producer(STREAM)
    consumer = client.consumer(STREAM)
    world.run(0.05)
    world.network.set_faults(Faults(admin_action=0.5), transport="it", stream_id=1100)
    assert all(producer.publish(BYTES) for _ in range(6))
    assert len(list(iter(consumer.poll, None))) == 6


def test_C_070_not_active_writes_nothing_and_consumes_no_sequence(world: World) -> None:
    """C-070, C-022: publishing is possible in Active only."""
    producer = world.client().begin_attach_producer(STREAM)
    assert producer.state == "Idle"
    assert producer.publish(BYTES).status is PublishStatus.NOT_ACTIVE
    world.run(0.05)
    assert producer.publish(BYTES).seq == 0
    world.driver.silent = True
    world.driver.notice(world.driver.lease_of(producer.client_id))
    producer._client.do_work()
    assert producer.state == "Paused"
    result = producer.publish(BYTES)
    assert not result
    assert (result.status, result.seq) == (PublishStatus.NOT_ACTIVE, None)
    assert producer.metrics()["drops_not_active"] == 2


def test_C_078_after_a_reattach_sequences_start_at_zero_in_a_new_epoch(world: World) -> None:
    """C-078, W-088, W-134."""
    producer, _ = world.pair()
    world.listen(1100)
    producer.publish(BYTES)
    producer.publish(BYTES)
    world.driver.revoke(world.driver.lease_of(producer.client_id))
    world.run(0.5)
    assert producer.publish(BYTES).seq == 0
    first, *_, last = descriptors(world)
    assert last.seq == 0
    assert last.epoch > first.epoch


@pytest.mark.parametrize(
    ("nbytes", "pool"),
    [(0, 2), (1, 2), (100, 2), (1023, 2), (1024, 2), (1025, 3), (2048, 3), (2049, 1), (4096, 1)],
)
def test_C_072_the_smallest_pool_that_fits_is_chosen(world: World, nbytes: int, pool: int) -> None:
    """C-072, W-091, W-090, W-093: strides 4096, 1024, 2048 and a second 1024 that never wins."""
    pools = ((1, 4096), (2, 1024), (3, 2048), (4, 1024))
    stream = world.driver.add_stream(STREAM, pools=pools)
    producer = world.client().producer(STREAM)
    before = [stream.peek(i + 1, 0, 64 + 8 * stride) for i, (_, stride) in enumerate(pools)]
    data = bytes(range(1, 256)) * 17
    assert producer.publish(data[:nbytes])
    values = SLOT_IMAGE.unpack(slot(world, 0)[1])
    assert (values[0], values[2]) == (nbytes, pool)
    after = [stream.peek(i + 1, 0, 64 + 8 * stride) for i, (_, stride) in enumerate(pools)]
    assert after[pool - 1][64 : 64 + nbytes] == data[:nbytes]
    untouched = [i for i in range(4) if i != pool - 1]
    assert [after[i] for i in untouched] == [before[i] for i in untouched]


def test_W_092_a_frame_that_fits_nowhere_is_dropped_before_it_takes_a_sequence(
    world: World,
) -> None:
    """W-092, C-070."""
    producer, _ = world.pair()
    result = producer.publish(np.zeros(65537, np.uint8))
    assert (result.status, result.seq, bool(result)) == (PublishStatus.TOO_LARGE, None, False)
    assert producer.publish(bytes(65537)).status is PublishStatus.TOO_LARGE
    assert producer.publish(BYTES).seq == 0
    assert producer.metrics()["drops_too_large"] == 2


def test_C_071_strict_raises_instead(world: World) -> None:
    producer = world.client().producer(STREAM, strict=True)
    with pytest.raises(ValueError, match="configure a pool with a stride_bytes of 65537 or more"):
        producer.publish(np.zeros(65537, np.uint8))
    world.driver.silent = True
    world.driver.notice(world.driver.lease_of(producer.client_id))
    producer._client.do_work()
    with pytest.raises(LeaseLostError):
        producer.publish(BYTES)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"data": np.zeros((1,) * 9)}, "dimensions"),
        ({"data": b"ab", "shape": ()}, "dimensions"),
        ({"data": b"ab", "shape": (-1,)}, "dimension -1"),
        ({"data": b"ab", "shape": (2**31,)}, "dimension"),
        ({"data": np.zeros(2, np.complex64)}, "complex64"),
        ({"data": np.zeros(2, np.float16)}, "float16"),
        ({"data": np.array(["a"])}, "dtype"),
        ({"data": b"abcd", "shape": (2, 2), "strides": (1, 1)}, "strides"),
        ({"data": b"abcd", "shape": (2, 2), "strides": (2**31, 1)}, "stride"),
        ({"data": b"abcd", "shape": (2, 2), "strides": (2,)}, "strides"),
        ({"data": b"abc", "shape": (2, 2)}, "reaches 4 bytes"),
        ({"data": b"abc", "dtype": np.uint16}, "whole number"),
        ({"data": b"", "shape": (2,)}, "empty"),
        ({"data": b"ab", "dtype": ">u2"}, "big-endian"),
        ({"data": [1, 2]}, "list"),
        ({"data": object()}, "object"),
    ],
    ids=lambda v: v if isinstance(v, str) else re.sub(r" at 0x\w+", "", str(v))[:50],
)
def test_C_074_bad_arguments_raise_before_anything_is_written(
    world: World, arguments: dict[str, Any], what: str
) -> None:
    producer, _ = world.pair()
    with pytest.raises(ValueError, match=what):
        producer.publish(**arguments)
    assert slot(world, 0)[0] == 0
    assert producer.publish(BYTES).seq == 0


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
        np.arange(24, dtype=np.uint8).reshape(4, 6)[:, ::2],
        np.arange(6, dtype=">f8").reshape(2, 3),
        np.array([[True, False], [False, True]]),
        np.array(7, dtype=np.int64),
        np.zeros((0, 4), np.uint32),
        np.arange(8, dtype=np.uint64)[::-1],
    ],
    ids=["row", "column", "strided", "big-endian", "bool", "scalar", "empty", "reversed"],
)
def test_arrays_of_every_kind_arrive_equal(world: World, array: np.ndarray[Any, Any]) -> None:
    """C-074 (scalars as shape (1,)), W-079; twice, since the second takes the short cut."""
    producer, consumer = world.pair()
    for _ in range(2):
        assert producer.publish(array)
        frame = consumer.poll()
        assert frame is not None
        expected = array.reshape(1) if array.ndim == 0 else array
        assert frame.shape == expected.shape
        assert np.array_equal(frame.array, expected)
        assert frame.dtype == array.dtype.newbyteorder("=")
        fortran = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
        assert frame.order is (MajorOrder.COLUMN if fortran else MajorOrder.ROW)


def test_bytes_are_described_by_shape_dtype_and_strides(world: World) -> None:
    """C-070, C-074: also BYTES, padded rows, and other array-likes."""
    producer, consumer = world.pair()
    data = np.arange(12, dtype=np.uint16)
    producer.publish(data.tobytes(), shape=(3, 4), dtype=np.uint16)
    producer.publish(data.tobytes(), shape=(2, 2), dtype=np.uint16, strides=(8, 2))
    producer.publish(data.tobytes(), shape=(2, 2), dtype=np.uint16, strides=(2, 8))
    producer.publish(b"xyz", dtype=Dtype.BYTES)
    producer.publish(data[:3], shape=(6,), dtype=np.uint8)
    producer.publish(5)
    frames = list(iter(consumer.poll, None))
    assert frames[0].array.tolist() == data.reshape(3, 4).tolist()
    assert frames[1].array.tolist() == [[0, 1], [4, 5]]
    assert frames[2].array.tolist() == [[0, 4], [1, 5]]
    assert frames[2].order is MajorOrder.COLUMN
    assert bytes(frames[3].payload) == b"xyz"
    assert frames[4].array.tolist() == [0, 0, 1, 0, 2, 0]
    assert frames[5].array.tolist() == [5]


def test_C_079_timestamps_and_metadata_version_of_slot_and_descriptor(world: World) -> None:
    """C-079, W-097, W-099: monotonic by default, descriptor stamp only on request."""
    world.listen(1100)
    client = world.client()
    producer = client.producer(STREAM)
    world.run(0.05)
    now = world.clock.monotonic_ns()
    producer.publish(BYTES)
    producer.publish(BYTES, timestamp_ns=now + 5, trace_id=9)
    producer.set_metadata("camera")
    producer.publish(BYTES, timestamp_ns=now + 6)
    plain, traced, described = descriptors(world)
    assert (plain.timestamp_ns, plain.meta_version, plain.trace_id) == (None, None, None)
    assert traced.trace_id == 9
    assert described.meta_version == 1
    stamps = [SLOT_IMAGE.unpack(slot(world, seq)[1])[4:6] for seq in range(3)]
    assert stamps == [(now, 0), (now + 5, 0), (now + 6, 1)]
    producer.close()
    stamping = client.producer(STREAM, descriptor_timestamps=True)
    world.clock.advance(10)
    stamping.publish(BYTES, timestamp_ns=world.clock.monotonic_ns() - 3)
    assert descriptors(world)[-1].timestamp_ns == world.clock.monotonic_ns()


def test_W_097_capture_times_that_go_back_are_refused(world: World) -> None:
    producer, _ = world.pair()
    producer.publish(BYTES, timestamp_ns=2_000_000_000_000)
    with pytest.raises(ValueError, match="must not go back"):
        producer.publish(BYTES, timestamp_ns=1_999_999_999_999)
    assert producer.publish(BYTES, timestamp_ns=2_000_000_000_000).seq == 1


def test_C_022_every_byte_of_the_slot_is_rewritten(world: World) -> None:
    """W-061 through the public interface: nothing of what was in the slot is left."""
    producer, consumer = world.pair()
    stream = world.driver.streams[STREAM]
    stream.poke(0, 64 + 8, b"\xff" * 248)
    producer.publish(BYTES)
    _, body = slot(world, 0)
    assert body.count(0xFF) == 0
    assert consumer.poll() is not None


def test_formats_may_alternate(world: World) -> None:
    producer, consumer = world.pair()
    small, large = np.arange(5, dtype=np.int8), np.arange(2000, dtype=np.float64)
    for _ in range(3):
        for array in (small, large, small.astype(np.float32)):
            producer.publish(array)
            frame = consumer.poll()
            assert frame is not None
            assert np.array_equal(frame.array, array)
            assert frame.dtype == array.dtype


@pytest.mark.parametrize("how", ["publish", "loan"])
def test_W_081_the_slot_is_in_progress_before_anything_of_the_frame_is_written(
    world: World, how: str
) -> None:
    """W-081: in-progress word, payload, header, committed word, descriptor, in that order."""
    producer, _ = world.pair()
    stream = world.driver.streams[STREAM]
    state = producer._state
    assert state is not None
    words = state.words
    stores: list[tuple[int, bytes, bytes]] = []

    class Recording:
        def __setitem__(self, index: int, word: int) -> None:
            words[index] = word
            stores.append((word, stream.peek(1, 64, 4), stream.peek(0, 64 + 8, 4)))

    state.words = Recording()  # type: ignore[assignment]
    if how == "publish":
        producer.publish(np.full(4, 9, np.uint8))
    else:
        with producer.loan((4,), np.uint8) as loan:
            loan.array[:] = 9
    state.words = words
    assert stores == [(0, bytes(4), bytes(4)), (1, b"\x09" * 4, b"\x04\0\0\0")]


@pytest.mark.parametrize("nbytes", [1, 4096])
def test_a_frame_of_any_size_is_one_message_of_48_bytes_and_is_read_in_place(
    world: World, nbytes: int
) -> None:
    """The promise of README: consumers get a descriptor and a view of the slot, not a copy."""
    producer, consumer = world.pair()
    sent: list[int] = []
    publication = producer._descriptors.publication
    assert publication is not None

    class Watching:
        def quick_offer(self, message: bytearray) -> object:
            sent.append(len(message))
            return publication.quick_offer(message)

        offer = publication.offer
        close = publication.close

    producer._connect(Watching())  # type: ignore[arg-type]
    assert producer.publish(np.full(nbytes, 7, np.uint8)).seq == 0
    assert sent == [48]
    frame = consumer.poll()
    assert frame is not None
    assert (frame.nbytes, frame.array[-1]) == (nbytes, 7)
    state = producer._state
    assert state is not None
    pool = state.pool_for(nbytes)
    assert pool is not None
    pool.slot(0)[nbytes - 1] = 8
    assert frame.array[-1] == 8


@pytest.mark.parametrize("how", ["publish", "loan"])
def test_W_081_the_payload_is_written_after_a_fence_after_the_first_commit_word(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Stores of a large copy may overtake the word that was written before them."""
    producer, _ = world.pair()
    data = np.full(300, 7, np.uint8)
    monkeypatch.setattr("tensor_pool.client.producer.producer.FENCE_FROM_BYTES", data.nbytes)
    seen: list[tuple[int, bool]] = []

    def fence() -> None:
        state = producer._state
        assert state is not None
        word = int(state.words[state.word_indices[0]])
        pool = next(iter(state.mapping.stream.pools.values()))
        seen.append((word, 7 in bytes(pool.buffer[64 : 64 + 64])))

    monkeypatch.setattr("tensor_pool.client.producer.producer.full_fence", fence)
    if how == "loan":
        with producer.loan(data.shape, data.dtype) as loan:
            loan.array[:] = data
    else:
        assert producer.publish(data)
    assert seen == [(0, False)]  # sequence 0, not committed
