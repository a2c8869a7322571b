"""Groups, var data, optional fields and enums."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import pytest

from tensor_pool.protocol import wire
from tensor_pool.protocol.wire import WireError, WireProblem
from tensor_pool.protocol.wire.vardata import MAX_GROUP_ENTRIES, write_data, write_dimension
from tensor_pool.schemas.generator.generate import read_schemas
from tensor_pool.schemas.generator.schema import snake_case
from tests.protocol.wire.samples import KINDS, SAMPLES, URI, field_offset

HELLO = wire.ConsumerHello(10000, 21, True, False, wire.Mode.STREAM, 0, 1)


def rejection(raw: bytes, **options: bool) -> WireProblem:
    with pytest.raises(WireError) as caught:
        wire.decode(raw, **options)
    return caught.value.reason


def patched(kind: type, field: str, code: str, value: int) -> bytes:
    raw = bytearray(wire.encode(SAMPLES[kind]))
    struct.pack_into("<" + code, raw, field_offset(kind.__name__, field), value)
    return bytes(raw)


# Groups


def test_M_020_an_empty_group_is_four_bytes() -> None:
    message = wire.ShmAttachResponse(1, wire.ResponseCode.REJECTED)
    assert wire.encode(message)[8 + 54 :].startswith(b"\x0a\0\0\0")


def test_M_020_the_entry_block_length_is_the_table_one() -> None:
    raw = wire.encode(SAMPLES[wire.ShmPoolAnnounce])
    assert struct.unpack_from("<HH", raw, 8 + 35) == (10, 2)
    raw = wire.encode(SAMPLES[wire.DataSourceMeta])
    assert struct.unpack_from("<HH", raw, 8 + 16) == (0, 2)


def test_M_021_65535_entries_are_malformed() -> None:
    raw = bytearray(wire.encode(wire.DataSourceMeta(1, 2, 3)))
    struct.pack_into("<H", raw, 8 + 16 + 2, 65535)
    assert rejection(raw + bytes(12 * 65535)) is WireProblem.MALFORMED


def test_M_021_a_sender_puts_at_most_65534_entries_in_a_group() -> None:
    assert write_dimension(10, MAX_GROUP_ENTRIES, "here") == b"\x0a\0\xfe\xff"
    attributes = (wire.Attribute("", "", b""),) * 65535
    with pytest.raises(ValueError, match=r"DataSourceMeta\.attributes holds 65535"):
        wire.encode(wire.DataSourceMeta(1, 2, 3, attributes))


def test_M_021_the_largest_group_survives() -> None:
    message = wire.DataSourceMeta(1, 2, 3, (wire.Attribute("", "", b""),) * MAX_GROUP_ENTRIES)
    assert wire.decode(wire.encode(message)) == message


def test_M_022_work_is_bounded_by_the_bytes_that_are_there() -> None:
    """M-022: 60000 entries promised in a 64-byte buffer."""
    raw = bytearray(wire.encode(wire.DataSourceMeta(1, 2, 3))).ljust(64, b"\0")
    struct.pack_into("<H", raw, 8 + 16 + 2, 60000)
    tracemalloc.start()
    try:
        assert rejection(raw) is WireProblem.MALFORMED
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000


# Var data


def test_M_030_a_hello_without_channels_is_55_bytes() -> None:
    raw = wire.encode(HELLO)
    assert len(raw) == 8 + 39 + 4 + 4
    assert wire.decode(raw) == HELLO


def test_M_030_a_missing_length_is_malformed() -> None:
    assert rejection(wire.encode(HELLO)[:-4]) is WireProblem.MALFORMED


@pytest.mark.parametrize("excess", ["all ones", "one byte", "above 1 GiB"])
def test_M_031_a_length_past_the_end_rejects_before_anything_is_sliced(excess: str) -> None:
    raw = bytearray(wire.encode(wire.ShmDetachResponse(1, wire.ResponseCode.OK, "abc")))
    length = {"all ones": 0xFFFFFFFF, "one byte": 4, "above 1 GiB": (1 << 30) + 1}[excess]
    struct.pack_into("<I", raw, 8 + 12, length)
    tracemalloc.start()
    try:
        assert rejection(raw) is WireProblem.MALFORMED
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000


class Endless(bytearray):
    """A buffer that claims far more bytes than it holds."""

    def __len__(self) -> int:
        return 1 << 32


def test_M_031_above_1_gib_rejects_even_if_the_bytes_are_there() -> None:
    raw = Endless(wire.encode(wire.ShmDetachResponse(1, wire.ResponseCode.OK, "abc")))
    struct.pack_into("<I", raw, 8 + 12, (1 << 30) + 1)
    assert rejection(raw) is WireProblem.MALFORMED


def test_M_031_a_sender_refuses_more_than_1_gib() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return (1 << 30) + 1

    with pytest.raises(ValueError, match="1073741825 bytes"):
        write_data(Huge(), "here")


@pytest.mark.parametrize("byte", [0x00, 0x01, 0x0A, 0x20, 0x7F, 0x80, 0xC3, 0xFF])
@pytest.mark.parametrize("where", ["regionUri", "headerRegionUri", "channel", "fallback"])
def test_M_032_a_reader_rejects_bytes_that_uris_and_channels_cannot_hold(
    byte: int, where: str
) -> None:
    marked = URI + "~MARK"
    if where in ("regionUri", "headerRegionUri"):
        in_pool, in_ring = (marked, URI) if where == "regionUri" else (URI, marked)
        message: Any = wire.ShmPoolAnnounce(
            *(1, 2, 3, 4, wire.ClockDomain.MONOTONIC, 1, 8, 256),
            (wire.PayloadPool(1, 8, 64, in_pool),),
            in_ring,
        )
    elif where == "channel":
        message = wire.ConsumerHello(
            *(1, 2, True, True, wire.Mode.STREAM, 0, 0, None, None, None, 5, 0, marked)
        )
    else:
        message = wire.ConsumerConfig(1, 2, False, wire.Mode.STREAM, 0, 0, marked)
    raw = wire.encode(message)
    assert wire.decode(raw) == message
    assert rejection(raw.replace(b"~", bytes([byte]))) is WireProblem.MALFORMED


@pytest.mark.parametrize("character", ["\0", "\x1f", " ", "\x7f", "é", "\u2028"])
def test_M_032_a_sender_refuses_characters_that_uris_and_channels_cannot_hold(
    character: str,
) -> None:
    message = wire.ConsumerConfig(1, 2, False, wire.Mode.STREAM, 0, 0, f"aeron:{character}")
    with pytest.raises(ValueError, match=r"ConsumerConfig\.payload_fallback_uri"):
        wire.encode(message)


def test_M_032_every_printable_byte_is_allowed_in_a_uri() -> None:
    text = "".join(map(chr, range(0x21, 0x7F)))
    message = wire.ConsumerConfig(1, 2, False, wire.Mode.STREAM, 0, 0, text)
    assert wire.decode(wire.encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        wire.ShmDetachResponse(1, wire.ResponseCode.REJECTED, "ab~cd"),
        wire.DataSourceAnnounce(1, 2, 3, 4, "ab~cd", "ab~cd"),
        wire.DataSourceMeta(1, 2, 3, (wire.Attribute("ab~cd", "ab~cd", b""),)),
        wire.ShmDriverShutdownRequest(1, wire.ShutdownReason.ADMIN, "ab~cd", "ab~cd"),
    ],
)
@pytest.mark.parametrize("byte", [0x00, 0x80, 0xC3, 0xFF])
def test_M_032_a_reader_replaces_invalid_bytes_in_text(message: Any, byte: int) -> None:
    raw = wire.encode(message)
    text = str(wire.decode(raw.replace(b"~", bytes([byte]))))
    assert text == str(message).replace("~", "\ufffd")


def test_M_032_a_sender_refuses_text_that_is_not_ascii() -> None:
    for text in ("é", "nul\0"):
        with pytest.raises(ValueError, match=r"DataSourceAnnounce\.name"):
            wire.encode(wire.DataSourceAnnounce(1, 2, 3, 4, text))
    every = "".join(map(chr, range(1, 0x80)))
    message = wire.DataSourceAnnounce(1, 2, 3, 4, every)
    assert wire.decode(wire.encode(message)) == message


def test_M_033_var_data_before_the_requested_item_is_stepped_over() -> None:
    message = SAMPLES[wire.ConsumerHello]
    decoded = wire.decode(wire.encode(message))
    assert isinstance(decoded, wire.ConsumerHello)
    assert decoded.control_channel == "aeron:udp?endpoint=localhost:40123"


def test_S_012_a_discovery_request_may_end_without_its_last_item() -> None:
    """S-012: and nowhere else; M-050 row 10 tries the other messages."""
    raw = wire.encode(wire.DiscoveryRequest(7, 901, 1000, response_channel="aeron:ipc"))
    assert wire.decode(raw[:-4]) == wire.decode(raw)
    for size in {*range(len(raw))} - {len(raw) - 4}:
        assert rejection(raw[:size]) is WireProblem.MALFORMED


@pytest.mark.parametrize("entry_bytes", [1, 4, 255])
def test_S_011_entries_of_tags_have_no_block(entry_bytes: int) -> None:
    """S-011: 4 is what the published schema would make of a fixed field."""
    raw = bytearray(wire.encode(SAMPLES[wire.DiscoveryRequest]))
    assert struct.unpack_from("<HH", raw, 8 + 32) == (0, 1)
    struct.pack_into("<H", raw, 8 + 32, entry_bytes)
    raw[8 + 36 : 8 + 36] = bytes(entry_bytes)
    assert rejection(raw) is WireProblem.MALFORMED


# Optional fields

OPTIONAL = [
    (message.name, snake_case(field.name), field.code, field.null)
    for schema in read_schemas()
    for message in schema.messages
    for field in message.fields
    if field.null is not None
]


def test_M_040_the_optional_fields_are_the_known_ones() -> None:
    names = [name for name, *_ in OPTIONAL]
    assert {name: names.count(name) for name in names} == {
        "ConsumerHello": 3,
        "FrameDescriptor": 3,
        "QosProducer": 1,
        "ShmAttachRequest": 2,
        "ShmAttachResponse": 8,
        "BridgeFrameChunk": 1,
        "SequenceMergeMapAnnounce": 1,
        "TimestampMergeMapAnnounce": 2,
        "DiscoveryRequest": 3,
    }


@pytest.mark.parametrize(("name", "field", "code", "null"), OPTIONAL)
def test_M_040_exactly_the_null_sentinel_reads_as_not_provided(
    name: str, field: str, code: str, null: int
) -> None:
    """M-040, M-041, M-210: the sentinel is None both ways; its neighbour and 0 are values."""
    kind = KINDS[name]
    message: Any = wire.decode(patched(kind, field, code, null))
    assert getattr(message, field) is None
    at = field_offset(name, field)
    assert struct.unpack_from("<" + code, wire.encode(message, checked=False), at) == (null,)
    for value in {0, 1, null - 1} - {null, -1}:
        message = wire.decode(patched(kind, field, code, value), raw_enums=True)
        assert getattr(message, field) == value


def test_M_041_trace_id_0_is_none_and_all_ones_is_a_number() -> None:
    none: Any = wire.decode(patched(wire.FrameDescriptor, "trace_id", "Q", 0))
    assert none.trace_id is None
    ones: Any = wire.decode(patched(wire.FrameDescriptor, "trace_id", "Q", 2**64 - 1))
    assert ones.trace_id == 2**64 - 1
    assert wire.decode(wire.encode(ones)) == ones


@pytest.mark.parametrize(("name", "field", "code", "null"), OPTIONAL)
def test_M_040_a_sentinel_passed_as_a_value_is_refused(
    name: str, field: str, code: str, null: int
) -> None:
    if null == 0:
        return  # a trace id of 0 means "no trace" in the API as on the wire
    values = {f: getattr(SAMPLES[KINDS[name]], f) for f in KINDS[name].__struct_fields__}
    with pytest.raises(ValueError, match=rf"{name}\.{field} = {null}"):
        wire.encode(KINDS[name](**{**values, field: null}))


def test_M_042_all_ones_in_a_required_field_is_a_value() -> None:
    raw = patched(wire.ShmDetachRequest, "lease_id", "Q", 2**64 - 1)
    message: Any = wire.decode(raw)
    assert message.lease_id == 2**64 - 1
    assert wire.encode(message) == raw


@pytest.mark.parametrize("kind", [wire.ConsumerHello, wire.ConsumerConfig])
@pytest.mark.parametrize("field", ["descriptor_stream_id", "control_stream_id"])
def test_M_042_all_ones_in_a_private_stream_id_reads_as_0_and_is_never_sent(
    kind: type, field: str
) -> None:
    """M-042, M-110, M-120."""
    message: Any = wire.decode(patched(kind, field, "I", 0xFFFFFFFF))
    assert getattr(message, field) == 0
    values = {f: getattr(message, f) for f in kind.__struct_fields__}
    with pytest.raises(ValueError, match=rf"{field} = 4294967295"):
        wire.encode(kind(**{**values, field: 0xFFFFFFFF}))


# Enums

ENUMS = [
    (message.name, snake_case(field.name), field.code, field.enum.values.values(), field.null)
    for schema in read_schemas()
    for message in schema.messages
    if not message.shared_memory
    for field in message.fields
    if field.enum is not None
]
RAW = {"ShmAttachRequest", "ConsumerHello"}


def _values_around(code: str, listed: set[int]) -> list[int]:
    sentinel = 255 if code == "B" else -(2**31)
    return sorted(
        {min(listed) - 1, max(listed) + 1, sentinel} - listed - ({-1} if code == "B" else set())
    )


@pytest.mark.parametrize(("name", "field", "code", "listed", "null"), ENUMS)
def test_M_043_a_required_enum_holds_a_listed_value(
    name: str, field: str, code: str, listed: Any, null: int | None
) -> None:
    """M-043, M-230: everything else rejects the message, the null sentinel included."""
    kind = KINDS[name]
    for value in listed:
        message: Any = wire.decode(patched(kind, field, code, value))
        assert getattr(message, field) == value
    for value in _values_around(code, set(listed)):
        raw = patched(kind, field, code, value)
        if value == null:
            assert getattr(wire.decode(raw), field) is None
        else:
            assert rejection(raw) is WireProblem.BAD_ENUM


@pytest.mark.parametrize(("name", "field", "code", "listed", "null"), ENUMS)
def test_M_043_a_driver_sees_the_raw_enums_of_requests_and_only_those(
    name: str, field: str, code: str, listed: Any, null: int | None
) -> None:
    for value in _values_around(code, set(listed)):
        raw = patched(KINDS[name], field, code, value)
        if name in RAW:
            message: Any = wire.decode(raw, raw_enums=True)
            seen = getattr(message, field)
            assert seen is None if value == null else seen == value
            assert wire.encode(message, checked=False) == raw
        else:
            assert rejection(raw, raw_enums=True) is WireProblem.BAD_ENUM


def test_M_043_raw_enums_that_are_listed_are_still_enums() -> None:
    message: Any = wire.decode(wire.encode(SAMPLES[wire.ShmAttachRequest]), raw_enums=True)
    assert isinstance(message.role, wire.Role)
    assert isinstance(message.publish_mode, wire.PublishMode)
    hello: Any = wire.decode(wire.encode(SAMPLES[wire.ConsumerHello]), raw_enums=True)
    assert hello.supports_shm is True


def test_M_061_dtype_12_is_not_a_member() -> None:
    """M-061: retired; a reader of a slot has to drop it as unknown."""
    assert 12 not in {member.value for member in wire.Dtype}
    raw = bytearray(184)
    struct.pack_into("<h", raw, 0, 12)
    header = wire.decode_record(wire.TensorHeader, raw)
    assert header.dtype == 12
    assert not isinstance(header.dtype, wire.Dtype)
