"""The receiving half against every row of B-070, and against anything that may come (B-133)."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import msgspec
import pytest

from tensor_pool.bridge import CrcPolicy
from tensor_pool.bridge.core.chunks import Chunk, ChunkWriter
from tensor_pool.protocol.shm.slot_header import header_image
from tensor_pool.protocol.shm.tensor import ELEMENT_BYTES, TensorLayout, tensor_layout
from tensor_pool.protocol.wire import (
    Attribute,
    DataSourceAnnounce,
    DataSourceMeta,
    Dtype,
    MajorOrder,
    Message,
    ProgressUnit,
    encode,
)
from tests.bridge.receiving_bench import (
    EPOCH,
    MS,
    PAYLOAD,
    SLOT,
    WIRE,
    Bench,
    chunks,
    deliver,
    info,
    slot,
)
from tests.protocol.wire import vectors_json as vectors
from tests.protocol.wire.samples import SAMPLES


def test_B_072_a_frame_is_delivered_when_its_last_chunk_has_come() -> None:
    """B-072, B-002, B-095, B-107."""
    bench = Bench().ready()
    first, *rest = chunks(5, PAYLOAD)
    bench.feed(first)
    assert bench.receiver.machine.current.name == "Filling"
    for message in rest:
        assert not bench.delivered
        bench.feed(message)
    ((seq, payload, header),) = bench.delivered
    assert (seq, payload, header.trace_id, header.nbytes) == (5, PAYLOAD, 9, 768)


def test_B_011_a_frame_costs_two_events_at_the_receiver() -> None:
    """B-011: FrameBegan and FrameCompleted, however many chunks there are."""
    bench = Bench().ready()
    machine = bench.receiver.machine
    events: list[str] = []
    dispatch = machine.dispatch

    def noted(event: Any, arg: Any = None) -> Any:
        events.append(event.name)
        return dispatch(event, arg)

    machine.dispatch = noted  # type: ignore[method-assign]
    sent = chunks(5, bytes(4 * 256 - 1))
    assert len(sent) == 4
    for message in sent:
        bench.feed(message)
    assert len(bench.delivered) == 1
    assert events == ["FRAME_BEGAN", "FRAME_COMPLETED"]


def _random_layout(dice: random.Random) -> TensorLayout:
    """Any type, order, number of dimensions and progress unit; padded or not, empty or not."""
    shape = tuple(dice.choice((0, 1, 1, 2, 3)) for _ in range(dice.randint(1, 8)))
    order = dice.choice((MajorOrder.ROW, MajorOrder.COLUMN))
    plain = tensor_layout(dice.choice(list(ELEMENT_BYTES)), shape, order=order)
    if dice.random() < 0.5 or plain.dtype is Dtype.BIT:
        return plain
    padding = dice.choice((1, 2, 3))
    strides = tuple(padding * stride for stride in plain.strides)
    unit = dice.choice(list(ProgressUnit))
    try:
        return tensor_layout(plain.dtype, shape, strides=strides, order=order, progress_unit=unit)
    except ValueError:  # too few dimensions for the unit
        return plain


def test_B_002_frames_of_every_type_and_shape_arrive_unaltered() -> None:
    """B-002: 10,000 random frames; payload, tensor header, trace id, seq, metadata version."""
    dice = random.Random(4)
    bench = Bench().ready()
    writer = ChunkWriter(WIRE, 256, crc=True)
    seen = set()
    seq = 0
    for number in range(1, 10_001):
        layout = _random_layout(dice)
        payload = dice.randbytes(min(layout.extent + dice.choice((0, 0, 7)), 1024))
        if layout.extent > len(payload):
            continue  # larger than the slots of this pool
        seen.add((layout.dtype, layout.order, layout.ndims, layout.contiguous))
        seq += dice.randint(1, 3)
        version = dice.choice((1, 77))
        image = header_image(layout)
        raw = SLOT.pack(seq << 1 | 1, len(payload), 3, 1, 0, 5, version, image)
        for index in range(max(1, -(-len(payload) // 256))):
            message, _ = writer.write(EPOCH, seq, number, index, raw, memoryview(payload))
            bench.feed(bytes(message))
        far_seq, arrived, header = bench.delivered.pop()
        assert (far_seq, arrived) == (seq, payload)
        assert (header.image, header.layout) == (image, layout)
        assert (header.trace_id, header.meta_version) == (number, version)
        assert not bench.delivered
    assert {dtype for dtype, *_ in seen} == set(ELEMENT_BYTES)
    assert {ndims for _, _, ndims, _ in seen} == set(range(1, 9))
    assert {contiguous for *_, contiguous in seen} == {True, False}


def test_B_030_chunks_of_the_vectors_are_cut_and_read_byte_for_byte() -> None:
    """B-030, B-045, B-060: the hand-written writer and reader against the vectors."""
    frames: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for record in vectors.BRIDGE:
        if record["message"] == "BridgeFrameChunk":
            fields = vectors.expected(record["fields"])
            frames.setdefault((fields["stream_id"], fields["seq"]), []).append(
                {**fields, "raw": bytes.fromhex(record["hex"])}
            )
    whole = [f for f in frames.values() for r in f if r["chunk_index"] == 0 and len(f) >= 1]
    tried = 0
    for parts in whole:
        for part in parts:
            if part["chunk_index"] or part["chunk_count"] not in (1, len(parts)):
                continue
            group = parts if part["chunk_count"] > 1 else [part]
            payload = b"".join(p["payload_bytes"] for p in group)
            size = max(part["chunk_length"], 1)
            writer = ChunkWriter(part["stream_id"], size, crc=bool(part["payload_crc32c"]))
            for p in group:
                view, length = writer.write(
                    *(part["epoch"], part["seq"], part["trace_id"] or 0, p["chunk_index"]),
                    *(part["header_bytes"], memoryview(payload)),
                )
                assert bytes(view) == p["raw"]
                assert length == p["chunk_length"]
                tried += 1
    assert tried >= 9


ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("row 2", {"stream_id": WIRE + 1}, "unmapped_chunks"),
    ("row 5", {"epoch": EPOCH + 1}, "stale_epoch_chunks"),
    ("count 0", {"chunk_count": 0}, "chunks_invalid"),
    ("count 65536", {"chunk_count": 65536}, "chunks_invalid"),
    ("index", {"chunk_index": 3}, "chunks_invalid"),
    ("length above 65535", {"chunk_length": 65536}, "chunks_invalid"),
    ("length of the bytes", {"chunk_length": 255}, "chunks_invalid"),
    ("past the end", {"payload_length": 255}, "chunks_invalid"),
    ("wrapping offset", {"chunk_offset": 0xFFFFFFFF}, "chunks_invalid"),
    ("above 1 GiB", {"payload_length": (1 << 30) + 1}, "chunks_invalid"),
    ("no header flag", {"header_included": False}, "chunks_invalid"),
    ("no header", {"header_bytes": b""}, "chunks_invalid"),
    ("short header", {"header_bytes": bytes(255)}, "chunks_invalid"),
    ("offset of the first", {"chunk_offset": 1}, "chunks_invalid"),
    ("crc", {"payload_crc32c": 1}, "crc_errors"),
    ("commit word", {"seq": 6}, "headers_invalid"),
    ("header zero", {"header_bytes": bytes(256)}, "headers_invalid"),
    ("other length", {"payload_length": 700}, "headers_invalid"),
]


@pytest.mark.parametrize(("case", "changes", "counter"), ROWS, ids=[row[0] for row in ROWS])
def test_B_070_a_first_chunk_that_breaks_a_row_is_counted(
    case: str, changes: dict[str, Any], counter: str
) -> None:
    """B-070, B-071, B-061: one case a clause, and the next good frame arrives."""
    bench = Bench().ready()
    first = chunks(5, PAYLOAD)[0]
    bench.feed(msgspec.structs.replace(first, **changes))
    assert bench.counted()[counter] == 1
    assert not bench.delivered
    deliver(bench, 7)
    assert [seq for seq, *_ in bench.delivered] == [7]


@pytest.mark.parametrize(
    ("changes", "counter"),
    [
        ({"seq": 6}, "frames_incomplete"),
        ({"trace_id": 8}, "frames_incomplete"),
        ({"chunk_count": 4}, "frames_incomplete"),
        ({"payload_length": 769}, "frames_incomplete"),
        ({"chunk_offset": 255}, "frames_incomplete"),
        ({"chunk_index": 2}, "frames_incomplete"),
        ({"chunk_length": 0, "payload_bytes": b""}, "chunks_invalid"),
        ({"header_bytes": b"x"}, "chunks_invalid"),
        ({"payload_crc32c": 3}, "crc_errors"),
    ],
)
def test_B_070_a_later_chunk_that_does_not_continue_breaks_the_frame(
    changes: dict[str, Any], counter: str
) -> None:
    """B-070 rows 6, 7 and 9, B-073: the slot is given up and never announced."""
    bench = Bench().ready()
    first, second, third = chunks(5, PAYLOAD)
    bench.feed(first)
    bench.feed(msgspec.structs.replace(second, **changes))
    bench.feed(third)
    assert bench.counted()[counter] == 1
    assert bench.counted()["chunks_ignored"] == 1
    assert not bench.delivered
    assert not any(loan.is_open for sink in bench.pool.sinks for loan in sink.loans)
    deliver(bench, 6)
    assert [seq for seq, *_ in bench.delivered] == [6]


def test_B_071_a_first_chunk_ends_the_frame_that_is_open() -> None:
    """B-071, B-048."""
    bench = Bench().ready()
    bench.feed(chunks(5, PAYLOAD)[0])
    deliver(bench, 6)
    assert [seq for seq, *_ in bench.delivered] == [6]
    assert bench.counted()["frames_incomplete"] == 1


def test_B_070_a_frame_that_came_before_is_ignored() -> None:
    bench = Bench().ready()
    deliver(bench, 6)
    deliver(bench, 6)
    deliver(bench, 5)
    assert [seq for seq, *_ in bench.delivered] == [6]
    assert bench.counted()["duplicate_frames"] == 2


def test_B_071_a_frame_without_a_slot_is_skipped_and_others_pass() -> None:
    bench = Bench().ready()
    deliver(bench, 5, bytes(2000))
    deliver(bench, 6)
    assert bench.counted()["dest_too_large"] == 1
    assert [seq for seq, *_ in bench.delivered] == [6]


def test_B_074_a_frame_that_stops_coming_is_given_up() -> None:
    bench = Bench().ready()
    first, second, third = chunks(5, PAYLOAD)
    bench.feed(first)
    bench.let_pass(900)
    bench.feed(second)  # arms the timer anew
    bench.let_pass(900)
    assert bench.receiver.machine.current.name == "Filling"
    bench.let_pass(101)
    bench.feed(third)
    assert bench.counted()["assembly_timeouts"] == 1
    assert not bench.delivered


def test_B_061_every_flipped_byte_of_a_checked_chunk_is_noticed() -> None:
    """B-061: bytes that the checksum covers, one by one."""
    writer = ChunkWriter(WIRE, 256, crc=True)
    raw = bytes(writer.write(EPOCH, 5, 9, 0, slot(5, 40), memoryview(bytes(40)))[0])
    for at in [*range(65, 65 + 256), *range(len(raw) - 40, len(raw))]:
        bench = Bench().ready()
        broken = bytearray(raw)
        broken[at] ^= 0x10
        bench.feed(bytes(broken))
        assert bench.counted()["crc_errors"] == 1, at
    bench = Bench(crc=CrcPolicy.IGNORE).ready()
    bench.feed(bytes(broken))
    assert len(bench.delivered) == 1


def test_B_061_a_required_checksum_may_not_be_missing() -> None:
    bench = Bench(crc=CrcPolicy.REQUIRE).ready()
    deliver(bench, 5)
    assert not bench.delivered
    assert bench.counted()["crc_errors"] >= 1


# Owners


def test_B_082_another_session_is_foreign_until_the_owner_is_silent() -> None:
    """B-082: two senders of one wire id are a hot standby."""
    bench = Bench().ready()
    other = info(instance_id="c", path="c")
    bench.feed(other, session=2)
    for message in chunks(5, PAYLOAD):
        bench.feed(message, session=2)
    assert bench.counted()["foreign_chunks"] == 3
    assert bench.counted()["frames_unwanted"] == 1
    bench.let_pass(3001)
    assert bench.receiver.machine.current.name == "Holding"
    bench.feed(other, session=2)
    for message in chunks(6, PAYLOAD):
        bench.feed(message, session=2)
    assert [seq for seq, *_ in bench.delivered] == [6]


def test_B_082_a_restarted_sender_takes_over_at_once() -> None:
    bench = Bench().ready()
    bench.feed(info(), session=2)
    for message in chunks(5, PAYLOAD):
        bench.feed(message, session=2)
    for message in chunks(6, PAYLOAD):
        bench.feed(message, session=1)
    assert [seq for seq, *_ in bench.delivered] == [5]


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "a>b"},
        {"path": ""},
        {"path": ">a"},
        {"path": "x y>a"},
        {"instance_id": "", "path": ""},
        {"path": ">".join(["a"] * 17)},
        {"instance_id": "a" * 65, "path": "a" * 65},
        {"interval_ms": 9},
        {"interval_ms": 3_600_001},
    ],
)
def test_B_031_an_info_outside_the_grammar_is_rejected(changes: dict[str, Any]) -> None:
    bench = Bench()
    bench.feed(info(**changes))
    assert bench.counted() == {"bad_message": 1}
    assert bench.receiver.machine.current.name == "Silent"


@pytest.mark.parametrize("path", ["b>a", "c>d>e>a"])
def test_B_121_a_path_in_a_circle_or_too_long_produces_nothing(path: str) -> None:
    bench = Bench()
    bench.feed(info(path=path))
    deliver(bench, 5)
    assert bench.receiver.machine.current.name == "Looped"
    assert not bench.pool.sinks
    assert bench.counted()["loops_refused"] == 1


def test_B_121_a_stream_that_becomes_a_circle_is_let_go() -> None:
    bench = Bench().ready()
    bench.feed(info(path="b>a"))
    assert bench.receiver.machine.current.name == "Looped"
    deliver(bench, 5)
    assert not bench.delivered


def test_B_005_frames_that_did_not_come_are_counted_by_infos() -> None:
    """B-005: a bridge that starts in the middle of a session, loses an image, and sees its sender
    restart. Only a frame that came from its first chunk to its last counts as one that came."""

    def counted() -> tuple[int, int]:
        counters = bench.receiver.counters
        return counters["frames_before"], counters["frames_lost"]

    bench = Bench()
    bench.feed(encode(chunks(5, PAYLOAD)[-1], checked=False))  # the rest of a frame
    deliver(bench, 6)
    bench.feed(info(frames_sent=40))
    assert counted() == (39, 0)  # frame 6 came before the info, and is `frames_unwanted`
    deliver(bench, 7)
    bench.feed(info(frames_sent=41))
    assert counted() == (39, 0)
    bench.feed(encode(chunks(9, PAYLOAD)[-1], checked=False))
    bench.feed(info(frames_sent=44))
    assert counted() == (39, 3)
    deliver(bench, 10)  # of the run that is over now; its sender had counted it
    bench.feed(info(frames_sent=2), session=2)
    assert counted() == (41, 3)
    for _ in range(3):  # no number is trusted
        bench.feed(info(frames_sent=(1 << 64) - 1), session=2)
        bench.feed(info(frames_sent=0), session=2)
    assert max(counted()) < 1 << 63


def test_B_104_metadata_is_published_with_its_origin() -> None:
    """B-104, B-032: of the owner only, the version kept."""
    bench = Bench()
    bench.feed(info(path="first>a"))
    bench.feed(DataSourceAnnounce(WIRE, 3, 4, 9, "thief", ""), session=2)
    bench.feed(DataSourceAnnounce(WIRE, 3, 4, 6, "camera", "front"))
    origin = b'{"origin":"first","stream":1,"path":["first"]}'
    attributes = (
        Attribute("gain", "text/plain", b"3"),
        Attribute("tensorpool.bridge", "application/json", origin),
    )
    bench.feed(DataSourceMeta(WIRE, 6, 5, attributes))
    (sink,) = bench.pool.sinks
    assert sink.metadata is not None
    name, published, version = sink.metadata
    assert (name, version) == ("camera", 6)
    assert published["gain"] == ("text/plain", b"3")
    expected = b'{"origin":"first","stream":1,"path":["first","a"]}'
    assert published["tensorpool.bridge"] == ("application/json", expected)


def test_B_104_a_source_without_metadata_gets_an_origin_all_the_same() -> None:
    bench = Bench().ready()
    (sink,) = bench.pool.sinks
    assert sink.metadata is not None
    assert sink.metadata[0] == ""
    assert sink.metadata[2] == 1
    assert b'"origin":"a"' in sink.metadata[1]["tensorpool.bridge"][1]  # type: ignore[operator]


@pytest.mark.parametrize("offset_ns", [0, 10**15, -(10**11)])
def test_B_100_capture_times_are_of_the_local_clock(offset_ns: int) -> None:
    """B-100: wherever the sender's clock stands; late by the smallest delay, never early."""
    bench = Bench()
    taken_ns = bench.clock.monotonic_ns()
    delays = [5, 3, 9]
    for delay_ms in delays:
        sent_ns = bench.clock.monotonic_ns() - delay_ms * MS
        bench.feed(info(monotonic_ns=sent_ns + offset_ns))
    image = header_image(tensor_layout(Dtype.UINT8, (4,)))
    raw = SLOT.pack(11, 4, 0, 1, 0, taken_ns - 7 * MS + offset_ns, 0, image)
    bench.feed(msgspec.structs.replace(chunks(5, bytes(4))[0], header_bytes=raw))
    ((_, _, header),) = bench.delivered
    assert header.timestamp_ns == taken_ns - 7 * MS + 3 * MS


def test_B_132_a_sender_outside_of_allow_is_ignored() -> None:
    class Subscription:
        def source_address(self, session: int) -> str:
            return "10.0.0.7" if session == 1 else "10.0.1.7"

    bench = Bench(link={"allow": ("10.0.0.0/24",)})
    bench.link._subscription = Subscription()  # type: ignore[assignment]
    for _ in range(3):
        bench.feed(info(), session=2)
    assert bench.counted() == {"refused_sources": 1}
    bench.ready()


def test_B_133_more_sessions_than_allowed_are_ignored() -> None:
    bench = Bench()
    for session in range(1000):
        bench.feed(b"\0" * 20, session=session)
    assert bench.link.sessions == 64


# Other versions


def _later(message: Message, field: bytes, data: bytes) -> bytes:
    """The message as a later version has it: a field and var data more (M-060)."""
    raw = bytearray(encode(message, checked=False))
    end = 8 + int.from_bytes(raw[0:2], "little")
    raw[0:2] = (end - 8 + len(field)).to_bytes(2, "little")
    raw[end:end] = field
    return bytes(raw) + len(data).to_bytes(4, "little") + data


def test_B_006_a_sender_of_a_later_version_is_understood() -> None:
    """B-006: hosts may run different versions. Appended fields are skipped, and messages
    that only it has (schema 902, templates 100 to 199) count as ignored."""
    bench = Bench()
    bench.feed(_later(info(), b"\xff" * 6, b"news"))
    assert bench.receiver.machine.current.name == "Idle"
    unknown = bytearray(encode(info()))
    for template in (2, 101, 199):
        unknown[2:4] = template.to_bytes(2, "little")
        bench.feed(bytes(unknown))
    for message in chunks(5, PAYLOAD):
        bench.feed(_later(message, b"\xff" * 3, bytes(9)))
    ((seq, payload, _),) = bench.delivered
    assert (seq, payload) == (5, PAYLOAD)
    assert bench.counted()["ignored"] == 3
    assert "bad_message" not in bench.counted()


# Anything


def _mutated(dice: random.Random, raw: bytes) -> bytes:
    broken = bytearray(raw)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(broken) + 1)
        match dice.randrange(4):
            case 0:
                broken[at : at + 4] = dice.choice((b"\xff" * 4, bytes(4), dice.randbytes(4)))
            case 1:
                del broken[at : at + dice.randrange(1, 9)]
            case 2:
                broken[at:at] = dice.randbytes(dice.randrange(1, 9))
            case _:
                broken = broken[:at]
    return bytes(broken)


def test_B_133_no_message_leaves_the_loop_as_an_exception() -> None:
    """B-133, B-033, B-052: 20,000 mutated messages of every kind between good ones, in any order;
    then a good frame arrives, and memory has not grown."""
    dice = random.Random(9)
    bench = Bench().ready()
    corpus = [
        *(encode(message, checked=False) for message in SAMPLES.values()),
        *(encode(message, checked=False) for message in chunks(5, PAYLOAD)),
        encode(info()),
        encode(info(path="z>a", epoch=9)),
        encode(DataSourceAnnounce(WIRE, 3, 4, 6, "camera", "front")),
        encode(DataSourceMeta(WIRE, 1, 5, (Attribute("k", "f", b"v"),))),
    ]

    def storm(count: int) -> None:
        for _ in range(count):
            raw = dice.choice(corpus)
            message = raw if dice.random() < 0.2 else _mutated(dice, raw)
            bench.feed(message, session=dice.randrange(1, 4))
            if dice.random() < 0.01:
                bench.let_pass(dice.choice((10, 1100, 3100, 16_000)))

    storm(5000)
    tracemalloc.start()
    try:
        storm(1000)
        before = tracemalloc.get_traced_memory()[0]
        storm(14_000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 200_000
    bench.let_pass(20_000)
    bench.feed(info(epoch=EPOCH + 1), session=60)
    for message in chunks(1 << 40, PAYLOAD, epoch=EPOCH + 1):
        bench.feed(message, session=60)
    assert bench.delivered[-1][1] == PAYLOAD


def test_chunk_views_end_with_the_message() -> None:
    """The first chunk that a receiver keeps has no view of the transport's buffer."""
    bench = Bench().ready()
    bench.feed(chunks(5, PAYLOAD)[0])
    kept = bench.receiver._chunk
    assert isinstance(kept, Chunk)
    assert not kept.payload
    assert not kept.header
