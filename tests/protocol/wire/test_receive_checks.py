"""The receive checks, one by one and in their order."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tensor_pool.protocol import wire
from tensor_pool.protocol.wire import WireError, WireProblem
from tensor_pool.protocol.wire import frame_descriptor as flyweights
from tensor_pool.protocol.wire.codec import decoder_for
from tests.protocol.wire.samples import KINDS, SAMPLES, block_length, field_offset

ALL = pytest.mark.parametrize("name", KINDS)


def sample(name: str) -> bytearray:
    return bytearray(wire.encode(SAMPLES[KINDS[name]]))


def with_header(raw: bytes, **changes: int) -> bytes:
    """`raw` with parts of its message header replaced."""
    header = wire.peek_header(raw)._replace(**changes)
    return struct.pack("<HHHH", *header) + bytes(raw[8:])


def rejection(raw: bytes, **options: bool) -> WireProblem:
    with pytest.raises(WireError) as caught:
        wire.decode(raw, **options)
    return caught.value.reason


@pytest.mark.parametrize("size", range(8))
def test_M_050_row_1_fewer_than_eight_bytes(size: int) -> None:
    raw = bytes(sample("ShmLeaseKeepalive")[:size])
    assert rejection(raw) is WireProblem.MALFORMED
    with pytest.raises(WireError):
        wire.peek_header(raw)


def test_M_050_row_2_a_schema_that_is_not_handled() -> None:
    raw = with_header(sample("ShmAttachRequest"), schema_id=899)
    assert rejection(raw) is WireProblem.FOREIGN_SCHEMA
    assert WireProblem.FOREIGN_SCHEMA.is_ignored


def test_M_050_row_3_a_template_that_is_unknown() -> None:
    for schema_id, template_id in ((900, 14), (900, 0), (900, 50), (900, 51), (900, 52), (901, 9)):
        raw = with_header(sample("FrameDescriptor"), schema_id=schema_id, template_id=template_id)
        assert rejection(raw) is WireProblem.UNKNOWN_TEMPLATE
    assert WireProblem.UNKNOWN_TEMPLATE.is_ignored


def test_M_050_row_3_a_template_that_this_role_does_not_handle() -> None:
    """M-050, M-201: a decoder made for some messages ignores the others of its schema."""
    decode = decoder_for([wire.ShmAttachResponse, wire.ShmLeaseRevoked])
    assert decode(sample("ShmLeaseRevoked")) == SAMPLES[wire.ShmLeaseRevoked]
    with pytest.raises(WireError) as caught:
        decode(sample("ShmAttachRequest"))
    assert caught.value.reason is WireProblem.UNKNOWN_TEMPLATE


def test_M_011_the_same_template_id_in_the_other_schema_is_another_message() -> None:
    """M-011: 901/1 at a decoder of schema 900 is ignored, never read as ShmPoolAnnounce."""
    decode = decoder_for([wire.ShmPoolAnnounce, wire.ConsumerHello])
    with pytest.raises(WireError) as caught:
        decode(sample("ShmAttachRequest"))
    assert caught.value.reason is WireProblem.FOREIGN_SCHEMA
    assert isinstance(wire.decode(sample("ShmAttachRequest")), wire.ShmAttachRequest)
    assert isinstance(wire.decode(sample("ShmPoolAnnounce")), wire.ShmPoolAnnounce)


@ALL
def test_M_050_row_4_a_version_from_the_future(name: str) -> None:
    raw = with_header(sample(name), version=2)
    assert rejection(raw) is WireProblem.UNSUPPORTED_VERSION


@ALL
def test_M_050_version_0_is_read_as_version_1(name: str) -> None:
    assert wire.decode(with_header(sample(name), version=0)) == SAMPLES[KINDS[name]]


def test_M_050_row_4_the_correlation_id_of_a_request_from_the_future_can_be_read() -> None:
    raw = with_header(sample("ShmAttachRequest"), version=2)
    assert wire.peek_correlation_id(raw) == 77
    assert wire.peek_correlation_id(raw[:16]) == 77
    assert wire.peek_correlation_id(raw[:15]) is None
    assert wire.peek_correlation_id(with_header(raw, block_length=7)) is None
    assert wire.peek_correlation_id(with_header(sample("ControlResponse"), version=9)) == -5
    assert wire.peek_correlation_id(sample("ShmLeaseKeepalive")) is None
    assert wire.peek_correlation_id(b"") is None


@ALL
def test_M_050_row_5_the_block_runs_past_the_buffer(name: str) -> None:
    raw = bytes(sample(name))
    for size in range(8, 8 + block_length(name)):
        assert rejection(raw[:size]) is WireProblem.MALFORMED
    assert rejection(with_header(raw, block_length=len(raw) - 7)) is WireProblem.MALFORMED


@ALL
def test_M_050_row_6_the_block_is_smaller_than_in_the_schema(name: str) -> None:
    for smaller in (0, block_length(name) - 1):
        raw = with_header(sample(name), block_length=smaller)
        assert rejection(raw) is WireProblem.MALFORMED


@ALL
def test_M_050_row_7_a_larger_block_is_read_and_the_extra_bytes_skipped(name: str) -> None:
    """M-050, M-060: what a later version appends to a block does not move groups and var data."""
    raw, end = bytes(sample(name)), 8 + block_length(name)
    grown = raw[:end] + b"\xee" * 5 + raw[end:]
    grown = with_header(grown, block_length=block_length(name) + 5)
    assert wire.decode(grown) == SAMPLES[KINDS[name]]


GROUPED = {"ShmPoolAnnounce": (35, 10), "ShmAttachResponse": (54, 10), "DataSourceMeta": (16, 0)}


@pytest.mark.parametrize(("name", "shape"), GROUPED.items())
def test_M_050_row_8_group_entries_smaller_than_in_the_schema(
    name: str, shape: tuple[int, int]
) -> None:
    block, entry = shape
    raw = sample(name)
    assert struct.unpack_from("<H", raw, 8 + block) == (entry,)
    for smaller in range(entry):
        struct.pack_into("<H", raw, 8 + block, smaller)
        assert rejection(raw) is WireProblem.MALFORMED


@pytest.mark.parametrize(("name", "shape"), GROUPED.items())
def test_M_050_row_9_larger_group_entries_are_read_and_the_extra_bytes_skipped(
    name: str, shape: tuple[int, int]
) -> None:
    """M-050, M-060: the extra bytes stand between the entry's fields and its var data."""
    block, entry = shape
    message: Any = SAMPLES[KINDS[name]]
    raw = bytearray(wire.encode(message))
    group = message.attributes if name == "DataSourceMeta" else message.payload_pools
    at = 8 + block + 4
    for item in group:
        raw[at + entry : at + entry] = b"\xee" * 3
        at += entry + 3
        texts = [getattr(item, field) for field in item.__struct_fields__]
        at += sum(4 + len(text) for text in texts if isinstance(text, str | bytes))
    struct.pack_into("<H", raw, 8 + block, entry + 3)
    assert wire.decode(raw) == message


@ALL
def test_M_050_row_10_a_group_or_var_data_runs_past_the_buffer(name: str) -> None:
    """M-050, M-022, M-031, S-012: every proper prefix is rejected, but for the one whose last item
    a sender may leave out."""
    raw = bytes(sample(name))
    without_last = raw[: raw.rindex(b"camera/left") - 4] if name == "DiscoveryRequest" else None
    for size in range(len(raw)):
        if raw[:size] == without_last:
            wire.decode(raw[:size])
            continue
        assert rejection(raw[:size]) is WireProblem.MALFORMED


@ALL
def test_M_050_row_12_bytes_after_the_last_item_are_ignored(name: str) -> None:
    """M-050, M-060."""
    assert wire.decode(sample(name) + b"\xff" * 9) == SAMPLES[KINDS[name]]


def test_M_050_an_earlier_check_wins_over_a_later_one() -> None:
    raw = sample("ShmLeaseRevoked")
    raw[field_offset("ShmLeaseRevoked", "reason")] = 9  # row 11
    assert rejection(raw) is WireProblem.BAD_ENUM
    raw = raw[:-1]  # row 10
    assert rejection(raw) is WireProblem.MALFORMED
    assert rejection(with_header(raw, block_length=4, version=7)) is WireProblem.UNSUPPORTED_VERSION
    unknown = with_header(raw, template_id=99, version=7)
    assert rejection(unknown) is WireProblem.UNKNOWN_TEMPLATE
    assert rejection(with_header(unknown, schema_id=1)) is WireProblem.FOREIGN_SCHEMA
    assert rejection(with_header(unknown, schema_id=1)[:7]) is WireProblem.MALFORMED


def test_M_051_the_embedded_tensor_header_has_exactly_one_accepted_header_word() -> None:
    """M-051: block length 185 or version 2 differ from the word a reader compares with."""
    assert struct.pack("<Q", flyweights.TENSOR_HEADER_WORD) == struct.pack("<HHHH", 184, 52, 900, 1)
    for other in ((185, 52, 900, 1), (184, 52, 900, 2), (184, 51, 900, 1), (184, 52, 901, 1)):
        assert struct.unpack("<Q", struct.pack("<HHHH", *other)) != (flyweights.TENSOR_HEADER_WORD,)


@ALL
def test_M_053_a_decoded_message_does_not_change_with_the_buffer(name: str) -> None:
    raw = sample(name)
    message = wire.decode(memoryview(raw))
    raw[:] = b"\xff" * len(raw)
    assert message == SAMPLES[KINDS[name]]
    raw.append(0)  # no view of the buffer is kept: it can be resized again


@ALL
def test_M_055_one_buffer_is_one_message_without_trailing_bytes(name: str) -> None:
    """M-055, M-010: cutting the last byte of any encoding breaks it, so there are none to spare."""
    raw = wire.encode(SAMPLES[KINDS[name]])
    with pytest.raises(WireError):
        wire.decode(raw[:-1])


def test_M_054_a_long_announce_decodes_from_one_buffer() -> None:
    """M-054: 40 pools with long URIs, more than a fragment of a usual transport."""
    uri = "shm:file?path=/dev/shm/" + "d" * 900
    pools = tuple(wire.PayloadPool(n, 8, 4096, f"{uri}/{n}.pool") for n in range(1, 41))
    announce = wire.ShmPoolAnnounce(
        *(1, 2, 3, 4, wire.ClockDomain.REALTIME_SYNCED, 1, 8, 256), pools, uri
    )
    raw = wire.encode(announce)
    assert len(raw) > 36_000
    assert wire.decode(raw) == announce


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_like_buffer_at_an_odd_address_decodes(kind: Any) -> None:
    """M-002: unaligned fields, wherever the buffer starts."""
    raw = b"\0" + wire.encode(SAMPLES[wire.ShmAttachResponse])
    assert wire.decode(kind(memoryview(raw)[1:])) == SAMPLES[wire.ShmAttachResponse]
