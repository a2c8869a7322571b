"""The golden vectors and those of an independent implementation, both ways."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tensor_pool.protocol import wire
from tensor_pool.protocol.wire import frame_descriptor as flyweights
from tensor_pool.protocol.wire.generated.control_messages import (
    Attribute,
    ConsumerConfig,
    ConsumerHello,
    DataSourceMeta,
    FrameDescriptor,
    FrameProgress,
    PayloadPool,
    QosConsumer,
    QosProducer,
    ShmPoolAnnounce,
    ShmRegionSuperblock,
    SlotHeader,
    TensorHeader,
)
from tensor_pool.protocol.wire.generated.driver_messages import (
    ShmAttachRequest,
    ShmAttachResponse,
    ShmLeaseRevoked,
)
from tensor_pool.protocol.wire.generated.enums import (
    ClockDomain,
    Dtype,
    FrameProgressState,
    LeaseRevokeReason,
    MajorOrder,
    Mode,
    ProgressUnit,
    PublishMode,
    RegionType,
    ResponseCode,
    Role,
)
from tests.protocol.wire import vectors_json as vectors

EPOCH_DIRECTORY = "shm:file?path=/dev/shm/tensorpool/tensorpool-alice/default/10000/7"
POOL = PayloadPool(1, 8, 4096, f"{EPOCH_DIRECTORY}/1.pool")
HEADER_RING = f"{EPOCH_DIRECTORY}/header.ring"

MESSAGES: dict[str, Any] = {
    "V1": FrameDescriptor(stream_id=10000, epoch=7, seq=5, meta_version=3),
    "V2": FrameDescriptor(stream_id=10000, epoch=7, seq=6, timestamp_ns=1000000001, trace_id=0x42),
    "V3": ShmPoolAnnounce(
        stream_id=10000,
        producer_id=42,
        epoch=7,
        announce_timestamp_ns=5_000_000_000,
        announce_clock_domain=ClockDomain.MONOTONIC,
        layout_version=1,
        header_nslots=8,
        header_slot_bytes=256,
        payload_pools=(POOL,),
        header_region_uri=HEADER_RING,
    ),
    "V4": ConsumerHello(
        stream_id=10000,
        consumer_id=21,
        supports_shm=True,
        supports_progress=False,
        mode=Mode.STREAM,
        max_rate_hz=0,
        expected_layout_version=1,
    ),
    "V5": ConsumerConfig(
        stream_id=10000,
        consumer_id=21,
        use_shm=True,
        mode=Mode.RATE_LIMITED,
        descriptor_stream_id=31001,
        descriptor_channel="aeron:ipc",
    ),
    "V8": QosProducer(stream_id=10000, producer_id=42, epoch=7, current_seq=10),
    "V9": FrameProgress(
        stream_id=10000, epoch=7, seq=5, payload_bytes_filled=12, state=FrameProgressState.PROGRESS
    ),
    "V10": ShmAttachRequest(
        correlation_id=77,
        stream_id=10000,
        client_id=21,
        role=Role.CONSUMER,
        expected_layout_version=0,
        publish_mode=PublishMode.REQUIRE_EXISTING,
    ),
    "V11": ShmAttachResponse(
        correlation_id=77,
        code=ResponseCode.OK,
        lease_id=9,
        lease_expiry_timestamp_ns=8_000_000_000,
        stream_id=10000,
        epoch=7,
        layout_version=1,
        header_nslots=8,
        header_slot_bytes=256,
        payload_pools=(POOL,),
        header_region_uri=HEADER_RING,
    ),
    "V12": DataSourceMeta(
        stream_id=10000,
        meta_version=3,
        timestamp_ns=1234,
        attributes=(Attribute("serial", "text/plain", b"ABC123"),),
    ),
    "V13": QosConsumer(
        stream_id=10000,
        consumer_id=21,
        epoch=7,
        last_seq_seen=9,
        drops_gap=3,
        drops_late=1,
        mode=Mode.STREAM,
    ),
    "V14": ShmLeaseRevoked(
        timestamp_ns=1,
        lease_id=9,
        stream_id=10000,
        client_id=42,
        role=Role.PRODUCER,
        reason=LeaseRevokeReason.EXPIRED,
    ),
}

SUPERBLOCK = ShmRegionSuperblock(
    magic=flyweights.SUPERBLOCK_MAGIC,
    layout_version=1,
    epoch=7,
    stream_id=10000,
    region_type=RegionType.PAYLOAD_POOL,
    pool_id=1,
    nslots=8,
    slot_bytes=4096,
    stride_bytes=4096,
    pid=1234,
    start_timestamp_ns=1000,
    activity_timestamp_ns=2000,
)

TENSOR = TensorHeader(
    dtype=Dtype.FLOAT32,
    major_order=MajorOrder.ROW,
    ndims=2,
    progress_unit=ProgressUnit.NONE,
    progress_stride_bytes=0,
    dims=(2, 3, 0, 0, 0, 0, 0, 0),
    strides=(12, 4, 0, 0, 0, 0, 0, 0),
)


def slot(commit: int, body: tuple[int, ...]) -> bytes:
    """A 256-byte slot from a commit word and the values of `SLOT_BODY`."""
    buffer = bytearray(b"\xaa" * flyweights.SLOT_BYTES)
    memoryview(buffer).cast("Q")[0] = commit
    flyweights.SLOT_BODY.pack_into(buffer, flyweights.SLOT_BODY_OFFSET, *body)
    return bytes(buffer)


@pytest.mark.parametrize("name", MESSAGES)
def test_M_300_golden_messages_encode_to_and_decode_from_their_bytes(name: str) -> None:
    """M-300, M-001 (little-endian integers), M-010 and M-055 (nothing before, between or after)."""
    assert wire.encode(MESSAGES[name]) == vectors.golden(name)
    assert wire.decode(vectors.golden(name)) == MESSAGES[name]


def test_M_300_golden_superblock() -> None:
    """M-300: V6."""
    raw = vectors.golden("V6")
    assert wire.encode_record(SUPERBLOCK) == raw
    assert wire.decode_record(ShmRegionSuperblock, raw) == SUPERBLOCK
    assert flyweights.SUPERBLOCK.unpack(raw) == tuple(vectors.plain(SUPERBLOCK).values())


def test_M_300_golden_header_slot() -> None:
    """M-300, M-002, M-003: V7 from the flyweight and from the records, over a dirty slot."""
    raw = vectors.golden("V7")
    body = (
        *(24, 5, 1, 0, 123456789, 3),
        *(flyweights.SLOT_HEADER_BYTES_LENGTH, flyweights.TENSOR_HEADER_WORD),
        *(Dtype.FLOAT32, MajorOrder.ROW, 2, ProgressUnit.NONE, 0),
        *TENSOR.dims,
        *TENSOR.strides,
    )
    assert slot(11, body) == raw
    assert flyweights.SLOT_BODY.unpack_from(raw, flyweights.SLOT_BODY_OFFSET) == body
    embedded = struct.pack("<Q", flyweights.TENSOR_HEADER_WORD) + wire.encode_record(TENSOR)
    record = SlotHeader(11, 24, 5, 1, 0, 123456789, 3, embedded)
    assert wire.encode_record(record) == raw
    assert wire.decode_record(SlotHeader, raw) == record
    assert wire.decode_record(TensorHeader, record.header_bytes[8:]) == TENSOR


def test_the_independent_vectors_are_all_here() -> None:
    assert [*map(len, (vectors.INDEPENDENT, vectors.BRIDGE, vectors.SERVICES))] == [65, 17, 15]
    kinds = {r["message"] for r in vectors.INDEPENDENT}
    assert {type(message).__name__ for message in MESSAGES.values()} <= kinds


@pytest.mark.parametrize("record", vectors.messages(), ids=vectors.name_of)
def test_independent_messages_decode_to_their_fields_and_encode_to_their_bytes(
    record: dict[str, Any],
) -> None:
    """M-001, M-002, M-010, M-020, M-030, B-030, S-010 over every message.

    `checked=False` because some of these were made by a writer with other rules, for instance an
    announce without pools; B-034: one that a bridge forwarded has no URIs.
    """
    raw = bytes.fromhex(record["hex"])
    fields = vectors.expected(record["fields"])
    message = wire.decode(raw)
    assert type(message).__name__ == record["message"]
    assert vectors.plain(message) == fields
    assert wire.encode(vectors.build(type(message), fields), checked=False) == raw


@pytest.mark.parametrize(
    "record",
    [r for r in vectors.RECORDS if r["message"] in vectors.SHARED_MEMORY],
    ids=vectors.name_of,
)
def test_independent_records_decode_and_encode(record: dict[str, Any]) -> None:
    """Records as messages (with a header of the schema) and as bodies in a region file."""
    raw = bytes.fromhex(record["hex"])
    kind: type[Any] = getattr(wire, record["message"])
    if record["schema"] == "wire":
        header = wire.peek_header(raw)
        assert (header.schema_id, header.version) == (900, 1)
        raw = raw[wire.HEADER_BYTES :]
    fields = vectors.expected(record["fields"])
    assert vectors.plain(wire.decode_record(kind, raw)) == fields
    assert wire.encode_record(vectors.build(kind, fields)) == raw


@pytest.mark.parametrize("record", vectors.records("EmbeddedTensorHeader"), ids=vectors.name_of)
def test_independent_embedded_tensor_headers(record: dict[str, Any]) -> None:
    raw = bytes.fromhex(record["hex"])
    assert struct.unpack_from("<Q", raw) == (flyweights.TENSOR_HEADER_WORD,)
    fields = vectors.expected(record["fields"])
    assert vectors.plain(wire.decode_record(TensorHeader, raw[8:])) == fields
    assert wire.encode_record(vectors.build(TensorHeader, fields)) == raw[8:]


@pytest.mark.parametrize("record", vectors.records("HeaderSlot256"), ids=vectors.name_of)
def test_independent_header_slots(record: dict[str, Any]) -> None:
    raw = bytes.fromhex(record["hex"])
    assert len(raw) == flyweights.SLOT_BYTES
    fields = vectors.expected(record["fields"])
    assert vectors.plain(wire.decode_record(SlotHeader, raw)) == fields
    body = flyweights.SLOT_BODY.unpack_from(raw, flyweights.SLOT_BODY_OFFSET)
    assert list(body[:6]) == list(fields.values())[1:7]
    if fields["header_bytes"]:
        assert body[6:8] == (flyweights.SLOT_HEADER_BYTES_LENGTH, flyweights.TENSOR_HEADER_WORD)
        assert slot(fields["seq_commit"], body) == raw


@pytest.mark.parametrize("name", ["V1", "V2"])
def test_the_descriptor_flyweight_writes_the_golden_bytes(name: str) -> None:
    """M-130, M-003: 48 bytes, written over a template whose tail is dirty."""
    frame: FrameDescriptor = MESSAGES[name]
    buffer = flyweights.frame_descriptor_buffer(frame.stream_id, frame.epoch)
    assert len(buffer) == flyweights.FRAME_DESCRIPTOR_BYTES == 48
    buffer[flyweights.FRAME_DESCRIPTOR_TAIL_OFFSET :] = (
        b"\xaa" * flyweights.FRAME_DESCRIPTOR_TAIL.size
    )
    flyweights.FRAME_DESCRIPTOR_TAIL.pack_into(
        buffer,
        flyweights.FRAME_DESCRIPTOR_TAIL_OFFSET,
        frame.seq,
        flyweights.NULL_U64 if frame.timestamp_ns is None else frame.timestamp_ns,
        flyweights.NULL_U32 if frame.meta_version is None else frame.meta_version,
        flyweights.NO_TRACE if frame.trace_id is None else frame.trace_id,
    )
    assert bytes(buffer) == vectors.golden(name)
    word, stream_id, epoch, seq, *_ = flyweights.FRAME_DESCRIPTOR.unpack(buffer)
    assert word == flyweights.FRAME_DESCRIPTOR_HEADER_WORD
    assert (stream_id, epoch, seq) == (frame.stream_id, frame.epoch, frame.seq)
