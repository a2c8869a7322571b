"""The values that `encode` refuses, and those that it makes fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tensor_pool.protocol import wire
from tensor_pool.protocol.wire import StreamRequest
from tests.protocol.wire.samples import POOL, SAMPLES, URI

change: Callable[..., Any] = msgspec.structs.replace

ANNOUNCE = SAMPLES[wire.ShmPoolAnnounce]
HELLO = SAMPLES[wire.ConsumerHello]
CONFIG = SAMPLES[wire.ConsumerConfig]
RESPONSE = SAMPLES[wire.ShmAttachResponse]


def refuse(message: Any, text: str) -> None:
    """`encode` names `text`; a faulty peer's message can still be made for a test."""
    with pytest.raises(ValueError, match=text):
        wire.encode(message)
    assert wire.encode(message, checked=False)


def test_M_100_an_announce_names_at_least_one_pool() -> None:
    refuse(change(ANNOUNCE, payload_pools=()), "payload_pools is empty")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epoch": 0}, "epoch = 0"),
        ({"epoch": 2**64 - 1}, "epoch = 18446744073709551615"),
        ({"announce_timestamp_ns": 0}, "announce_timestamp_ns"),
        ({"announce_timestamp_ns": 2**64 - 1}, "announce_timestamp_ns"),
        ({"header_region_uri": ""}, "header_region_uri is empty"),
        ({"payload_pools": (POOL, POOL)}, "pool 1 twice"),
        ({"payload_pools": (wire.PayloadPool(1, 8, 64, ""),)}, "pool 1 is empty"),
        ({"payload_pools": (wire.PayloadPool(1, 4, 64, URI),)}, "pool 1 has 4 slots"),
    ],
)
def test_M_100_an_announce_has_what_receivers_need(changes: dict[str, Any], text: str) -> None:
    refuse(change(ANNOUNCE, **changes), text)


@pytest.mark.parametrize("message", [HELLO, CONFIG], ids=["hello", "config"])
@pytest.mark.parametrize("half", ["descriptor", "control"])
def test_M_110_channel_and_stream_id_go_together(message: Any, half: str) -> None:
    """M-110, M-120."""
    halves = {f"{half}_channel": "aeron:ipc", f"{half}_stream_id": 5}
    assert wire.encode(change(message, **halves))
    refuse(change(message, **{**halves, f"{half}_stream_id": 0}), f"{half}_channel = 'aeron:ipc'")
    refuse(change(message, **{**halves, f"{half}_channel": ""}), f"{half}_stream_id = 5")


@pytest.mark.parametrize(
    ("channel", "stream_id", "reads"),
    [
        ("", 0, StreamRequest.ABSENT),
        ("", 0xFFFFFFFF, StreamRequest.ABSENT),
        ("", 5, StreamRequest.MALFORMED),
        ("aeron:ipc", 0, StreamRequest.MALFORMED),
        ("aeron:ipc", 0xFFFFFFFF, StreamRequest.MALFORMED),
        ("aeron:ipc", 5, StreamRequest.REQUESTED),
    ],
)
def test_M_110_how_a_pair_reads(channel: str, stream_id: int, reads: StreamRequest) -> None:
    assert wire.stream_request(channel, stream_id) is reads


def test_M_111_no_progress_hints_without_progress() -> None:
    for hint in ("progress_interval_us", "progress_bytes_delta", "progress_major_delta_units"):
        silent = change(
            HELLO,
            supports_progress=False,
            progress_interval_us=None,
            progress_bytes_delta=None,
            progress_major_delta_units=None,
        )
        assert wire.encode(silent)
        refuse(change(silent, **{hint: 1}), hint)


def test_M_112_a_hello_can_repeat_an_assignment() -> None:
    """M-112: the assigned pairs of a ConsumerConfig are valid in a hello as they are."""
    repeated = change(
        HELLO,
        descriptor_stream_id=CONFIG.descriptor_stream_id,
        descriptor_channel=CONFIG.descriptor_channel,
        control_stream_id=CONFIG.control_stream_id,
        control_channel=CONFIG.control_channel,
    )
    assert wire.decode(wire.encode(repeated)) == repeated


def test_M_120_a_consumer_can_tell_a_half_set_assignment() -> None:
    assert not wire.has_half_set_pair(CONFIG)
    half_set = [
        change(CONFIG, descriptor_channel=""),
        change(CONFIG, descriptor_stream_id=0),
        change(CONFIG, control_stream_id=7),
        change(CONFIG, control_channel="aeron:ipc"),
    ]
    for config in half_set:
        received: Any = wire.decode(wire.encode(config, checked=False))
        assert wire.has_half_set_pair(received)


@pytest.mark.parametrize(
    ("uri", "understood"),
    [
        ("aeron:udp?endpoint=host:1", True),
        ("bridge://host:1", True),
        ("", True),
        ("bad:scheme", False),
        ("bridge:/host", False),
        ("AERON:ipc", False),
    ],
)
def test_M_121_a_fallback_of_an_unknown_scheme_counts_as_none(uri: str, understood: bool) -> None:
    config: Any = wire.decode(wire.encode(change(CONFIG, payload_fallback_uri=uri)))
    assert config.descriptor_stream_id == 31001
    assert wire.fallback_uri(config) == (uri if understood else "")


def test_M_130_a_descriptor_is_48_bytes() -> None:
    assert len(wire.encode(SAMPLES[wire.FrameDescriptor])) == 48


def test_M_140_the_totals_have_no_limit_below_64_bits() -> None:
    """M-140: counts that never reset are never cut short by the wire."""
    message = change(SAMPLES[wire.QosConsumer], drops_gap=2**64 - 1, drops_late=2**64 - 2)
    assert wire.decode(wire.encode(message)) == message


def test_M_150_an_unused_watermark_is_null() -> None:
    raw = wire.encode(wire.QosProducer(10000, 42, 7, current_seq=10))
    assert raw[-4:] == b"\xff" * 4
    decoded: Any = wire.decode(raw)
    assert (decoded.current_seq, decoded.watermark) == (10, None)


def test_progress_of_unknown_state_and_chunks_of_no_or_too_many_bytes_are_refused() -> None:
    refuse(change(SAMPLES[wire.FrameProgress], state=wire.FrameProgressState.UNKNOWN), "UNKNOWN")
    refuse(change(SAMPLES[wire.MetaBlobChunk], bytes_=b""), "holds 0 bytes")
    refuse(change(SAMPLES[wire.MetaBlobChunk], bytes_=bytes(65537)), "holds 65537 bytes")
    assert wire.encode(change(SAMPLES[wire.MetaBlobChunk], bytes_=bytes(65536)))


@pytest.mark.parametrize(
    "kind",
    [wire.ShmAttachRequest, wire.ShmDetachRequest, wire.ShmLeaseKeepalive, wire.ShmLeaseRevoked],
)
def test_M_203_client_id_0_never_reaches_the_wire(kind: type) -> None:
    refuse(change(SAMPLES[kind], client_id=0), rf"{kind.__name__}\.client_id = 0")


@pytest.mark.parametrize(
    "kind",
    [
        wire.ControlResponse,
        wire.ShmDetachResponse,
        wire.ShmDriverShutdown,
        wire.ShmDriverShutdownRequest,
        wire.ShmLeaseRevoked,
    ],
)
def test_M_204_a_long_error_message_is_cut_at_1024_bytes(kind: type) -> None:
    decoded: Any = wire.decode(wire.encode(change(SAMPLES[kind], error_message="x" * 5000)))
    assert decoded.error_message == "x" * 1024


def test_M_204_a_longer_error_message_is_accepted() -> None:
    raw = wire.encode(wire.ShmDetachResponse(1, wire.ResponseCode.OK))
    raw = raw[:-4] + (2000).to_bytes(4, "little") + b"y" * 2000
    decoded: Any = wire.decode(raw)
    assert decoded.error_message == "y" * 2000


def test_M_204_an_error_message_always_goes_out() -> None:
    decoded: Any = wire.decode(
        wire.encode(wire.ShmDetachResponse(1, wire.ResponseCode.REJECTED, "no such file: é\0ß"))
    )
    assert decoded.error_message == "no such file: ???"


@pytest.mark.parametrize(
    "changes",
    [
        {"lease_id": None},
        {"stream_id": None},
        {"epoch": None},
        {"layout_version": None},
        {"header_nslots": None},
        {"header_slot_bytes": None},
        {"header_slot_bytes": 128},
        {"header_region_uri": ""},
        {"payload_pools": ()},
        {"payload_pools": (wire.PayloadPool(1, 4, 4096, URI),)},
        {"payload_pools": (wire.PayloadPool(1, 8, 4096, ""),)},
    ],
)
def test_M_220_an_ok_response_has_everything(changes: dict[str, Any]) -> None:
    refuse(change(RESPONSE, **changes), "ShmAttachResponse")


def test_M_220_expiry_and_node_id_may_be_missing() -> None:
    message = change(RESPONSE, lease_expiry_timestamp_ns=None, node_id=None)
    assert wire.decode(wire.encode(message)) == message


@pytest.mark.parametrize("code", [c for c in wire.ResponseCode if c is not wire.ResponseCode.OK])
def test_M_221_a_refusal_carries_no_regions(code: wire.ResponseCode) -> None:
    """M-221: a refusal is 8 + 54 + 4 + 4 + 4 bytes and its text."""
    refusal = wire.ShmAttachResponse(77, code, error_message="no")
    assert len(wire.encode(refusal)) == 8 + 54 + 4 + 4 + 4 + 2
    assert wire.decode(wire.encode(refusal)) == refusal
    refuse(change(refusal, payload_pools=(POOL,)), "refusal")
    refuse(change(refusal, header_region_uri=URI), "refusal")


def test_M_222_an_unknown_code_is_rejected_but_names_the_request() -> None:
    raw = bytearray(wire.encode(RESPONSE))
    raw[16:20] = (9).to_bytes(4, "little")
    with pytest.raises(wire.WireError) as caught:
        wire.decode(raw)
    assert caught.value.reason is wire.WireProblem.BAD_ENUM
    assert wire.peek_correlation_id(raw) == 77


def test_M_240_a_token_with_invalid_bytes_equals_no_ascii_secret() -> None:
    """M-240: they are replaced by a character that no configured token can contain."""
    raw = wire.encode(SAMPLES[wire.ShmDriverShutdownRequest]).replace(b"s3cret", b"s3cr\x65\xf4")
    request: Any = wire.decode(raw)
    assert not request.token.isascii()


# Values that do not fit


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            change(SAMPLES[wire.ShmLeaseKeepalive], lease_id=2**64),
            r"lease_id = 18446744073709551616",
        ),
        (change(SAMPLES[wire.ShmLeaseKeepalive], stream_id=-1), r"stream_id = -1"),
        (change(SAMPLES[wire.ShmDetachRequest], correlation_id=2**63), r"correlation_id = 92233"),
        (change(SAMPLES[wire.FrameDescriptor], timestamp_ns=-1), r"timestamp_ns = -1"),
        (change(SAMPLES[wire.QosProducer], epoch=None), r"epoch = None"),
        (change(SAMPLES[wire.QosProducer], current_seq="5"), r"current_seq = '5'"),
        (
            change(ANNOUNCE, payload_pools=(wire.PayloadPool(70000, 8, 64, URI),)),
            r"PayloadPool\.pool_id = 70000",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_named(message: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        wire.encode(message)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (change(SAMPLES[wire.ShmLeaseKeepalive], role=9), r"ShmLeaseKeepalive\.role = 9"),
        (change(SAMPLES[wire.ShmAttachRequest], publish_mode=3), r"publish_mode = 3"),
        (change(SAMPLES[wire.ConsumerConfig], use_shm=2), r"use_shm = 2"),
        (change(SAMPLES[wire.ControlResponse], code=-1), r"code = -1"),
    ],
)
def test_M_043_a_sender_refuses_values_that_are_not_listed(message: Any, text: str) -> None:
    refuse(message, text)


def test_records_name_the_value_that_does_not_fit() -> None:
    header = wire.TensorHeader(9, 1, 2, 0, 0, (2**31, *[0] * 7), (0,) * 8)
    with pytest.raises(ValueError, match=r"TensorHeader\.dims = \(2147483648"):
        wire.encode_record(header)
    with pytest.raises(ValueError, match=r"TensorHeader\.dims"):
        wire.encode_record(change(header, dims=(1, 2)))


def test_what_is_not_a_message_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="PayloadPool is not a message"):
        wire.encode(POOL)  # type: ignore[arg-type]


# Encoding in place


def test_M_003_every_byte_of_the_message_is_written() -> None:
    for message in SAMPLES.values():
        raw = wire.encode(message)
        for fill in (b"\xaa", b"\x55"):
            buffer = bytearray(fill * (len(raw) + 20))
            assert wire.encode_into(message, buffer, 10) == len(raw)
            assert buffer == fill * 10 + raw + fill * 10


def test_encode_into_refuses_a_buffer_that_is_too_small_and_leaves_it_alone() -> None:
    message = SAMPLES[wire.FrameDescriptor]
    buffer = bytearray(50)
    for offset in (3, 50, -1):
        with pytest.raises(ValueError, match=f"48 bytes at {offset} of 50"):
            wire.encode_into(message, buffer, offset)
    assert buffer == bytes(50)
    assert wire.encode_into(message, memoryview(buffer), 2) == 48
