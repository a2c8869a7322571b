"""One plausible message of each class, and hypothesis strategies for all that a class can hold."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from tensor_pool.protocol import wire
from tensor_pool.protocol.wire.generated.catalog import CODECS, FIELD_CODES
from tensor_pool.schemas.generator.emit_types import attribute, entry_class
from tensor_pool.schemas.generator.generate import read_schemas
from tensor_pool.schemas.generator.schema import Field, Group, Message, VarData, snake_case

URI = "shm:file?path=/dev/shm/tensorpool/default/10000/7/1.pool"
POOL = wire.PayloadPool(1, 8, 4096, URI)

SAMPLES: dict[type, Any] = {
    type(message): message
    for message in (
        wire.ShmPoolAnnounce(
            *(10000, 42, 7, 5_000_000_000, wire.ClockDomain.MONOTONIC, 1, 8, 256),
            (POOL, wire.PayloadPool(2, 8, 65536, URI)),
            URI,
        ),
        wire.ConsumerHello(
            *(10000, 21, True, True, wire.Mode.STREAM, 30, 1, 1000, 4096, None, 31001, 31002),
            *("aeron:ipc", "aeron:udp?endpoint=localhost:40123"),
        ),
        wire.ConsumerConfig(
            *(10000, 21, True, wire.Mode.RATE_LIMITED, 31001, 0, "bridge://host:1", "aeron:ipc", "")
        ),
        wire.FrameDescriptor(10000, 7, 5, 1_000_000_001, 3, 66),
        wire.QosConsumer(10000, 21, 7, 9, 3, 1, wire.Mode.STREAM),
        wire.QosProducer(10000, 42, 7, 10, 5),
        wire.DataSourceAnnounce(10000, 42, 7, 3, "camera 1", "front left"),
        wire.DataSourceMeta(
            *(10000, 3, 1234),
            (wire.Attribute("serial", "text/plain", b"ABC"), wire.Attribute("raw", "", b"\0\xff")),
        ),
        wire.ControlResponse(-5, wire.ResponseCode.REJECTED, "no"),
        wire.MetaBlobAnnounce(10000, 3, 17, 1 << 33, 0xDEADBEEF),
        wire.FrameProgress(10000, 7, 5, 12, wire.FrameProgressState.PROGRESS),
        wire.MetaBlobChunk(10000, 3, 65536, b"\0\1\2"),
        wire.MetaBlobComplete(10000, 3, 0xDEADBEEF),
        wire.ShmAttachRequest(
            *(77, 10000, 21, wire.Role.CONSUMER, 1, wire.PublishMode.EXISTING_OR_CREATE),
            *(wire.HugepagesPolicy.HUGEPAGES, 5),
        ),
        wire.ShmAttachResponse(
            *(77, wire.ResponseCode.OK, 9, 8_000_000_000, 10000, 7, 1, 8, 256, 5, (POOL,), URI)
        ),
        wire.ShmDetachRequest(78, 9, 10000, 21, wire.Role.PRODUCER),
        wire.ShmDetachResponse(78, wire.ResponseCode.REJECTED, "unknown lease"),
        wire.ShmLeaseKeepalive(9, 10000, 21, wire.Role.PRODUCER, 123),
        wire.ShmDriverShutdown(5, wire.ShutdownReason.ADMIN, "maintenance"),
        wire.ShmLeaseRevoked(
            *(5, 9, 10000, 42, wire.Role.PRODUCER, wire.LeaseRevokeReason.EXPIRED, "too late")
        ),
        wire.ShmDriverShutdownRequest(21, wire.ShutdownReason.NORMAL, "s3cret", "bye"),
        wire.BridgeFrameChunk(
            *(50000, 7, 5, 66, 0, 2, 0, 3, 5, 0xDEADBEEF, True, b"\1" * 256, b"abc")
        ),
        wire.BridgeStreamInfo(
            *(50000, 10000, 7, 6, 5, 1, 123, 456, 1000, 4096, True, False),
            *(wire.PayloadMode.FULL, True, "cam", "lab>cam"),
        ),
        wire.SequenceMergeMapAnnounce(
            *(20000, 7, None),
            (wire.SequenceMergeRule(10000, wire.MergeRuleType.OFFSET, -2, None),),
        ),
        wire.SequenceMergeMapRequest(20000, 7),
        wire.TimestampMergeMapAnnounce(
            *(20000, 7, 1000, wire.ClockDomain.MONOTONIC, 5),
            (
                wire.TimestampMergeRule(
                    *(10000, wire.MergeTimeRuleType.WINDOW_NS, wire.TimestampSource.SLOT_HEADER),
                    *(None, 1000),
                ),
            ),
        ),
        wire.TimestampMergeMapRequest(20000, 7),
        wire.TraceLinkSet(20000, 7, 5, 66, (wire.TraceParent(1), wire.TraceParent(2))),
        wire.DiscoveryRequest(
            *(8, 901, 1000, None, 42, None, (wire.Tag("camera"),), "aeron:ipc", "camera/left")
        ),
        wire.DiscoveryResponse(
            *(8, wire.DiscoveryStatus.OK),
            (
                wire.DiscoveryResult(
                    *(10000, 42, 7, 1, 8, 256, 8, None, 1000, (POOL,), (wire.Tag("room:2"),)),
                    *(URI, "camera/left", "driver", "aeron:ipc"),
                ),
            ),
            "no",
        ),
    )
}

DESCRIBED: dict[str, Message] = {m.name: m for s in read_schemas() for m in s.messages}
"""Every message as the schema files describe it, by name."""

KINDS: dict[str, type] = {codec.kind.__name__: codec.kind for codec in CODECS}

_URI_CHARACTERS = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
_TEXT_CHARACTERS = st.characters(min_codepoint=0x01, max_codepoint=0x7F)


def messages(name: str) -> st.SearchStrategy[Any]:
    """Any message of this class that the wire can carry, rules of the protocol aside."""
    return _instances(KINDS[name], DESCRIBED[name])


def _instances(kind: type, item: Message | Group) -> st.SearchStrategy[Any]:
    parts: dict[str, st.SearchStrategy[Any]] = {}
    for field in item.fields:
        parts[attribute(field.name)] = _values(kind, field)
    for group in item.groups:
        entry = getattr(wire, entry_class(group))
        parts[attribute(group.name)] = st.lists(_instances(entry, group), max_size=3).map(tuple)
    for data in item.data:
        parts[attribute(data.name)] = _contents(data)
    return st.builds(kind, **parts)


def _values(kind: type, field: Field) -> st.SearchStrategy[Any]:
    code = FIELD_CODES[kind][attribute(field.name)].rstrip("?")
    values: st.SearchStrategy[Any]
    if field.enum is not None and field.enum.name == "Bool":
        values = st.booleans()
    elif field.enum is not None:
        values = st.sampled_from(list(getattr(wire, field.enum.name)))
    else:
        bits = 8 * struct.calcsize("<" + code)
        low, high = (
            (0, (1 << bits) - 1) if code.isupper() else (-(1 << bits - 1), (1 << bits - 1) - 1)
        )
        absent = 0xFFFFFFFF if field.semantic == "privateStreamId" else field.null
        values = st.integers(low, high).filter(lambda value: value != absent)
    return values if field.null is None else st.none() | values


def _contents(data: VarData) -> st.SearchStrategy[Any]:
    if not data.ascii:
        return st.binary(max_size=40)
    characters = _URI_CHARACTERS if data.semantic in ("uri", "channel") else _TEXT_CHARACTERS
    return st.text(characters, max_size=40)


def block_length(name: str) -> int:
    """Block length of a message by name."""
    return DESCRIBED[name].block_length


def field_offset(name: str, field: str) -> int:
    """Offset of a field (attribute name) in the whole message, header included."""
    found = next(f for f in DESCRIBED[name].fields if snake_case(f.name) == field)
    return wire.HEADER_BYTES + found.offset
