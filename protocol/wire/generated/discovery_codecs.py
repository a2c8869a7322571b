"""Codecs of the discovery schema.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from struct import Struct

from ..codec_errors import (
    bad_enum,
    sentinel,
    truncated_entry,
    unlisted,
)
from ..header import WireBuffer
from ..vardata import (
    read_dimension,
    read_text,
    read_trailing_text,
    read_uri,
    write_dimension,
    write_error_message,
    write_text,
    write_uri,
)
from .control_messages import PayloadPool
from .discovery_messages import DiscoveryRequest, DiscoveryResponse, DiscoveryResult, Tag
from .enums import DiscoveryStatus

_DISCOVERY_STATUS = {member.value: member for member in DiscoveryStatus}
_PAYLOAD_POOL_LAYOUT = Struct("<HII")
_DISCOVERY_RESULT_LAYOUT = Struct("<IIQIIHBQI")
_DISCOVERY_REQUEST_LAYOUT = Struct("<QQIIIIQ")
_DISCOVERY_REQUEST_LAYOUT_BLOCK = Struct("<QIIIIQ")
_DISCOVERY_RESPONSE_LAYOUT = Struct("<QQB")
_DISCOVERY_RESPONSE_LAYOUT_BLOCK = Struct("<QB")


def _read_tag(buffer: WireBuffer, at: int, size: int, entry_bytes: int) -> tuple[Tag, int]:
    entry_end = at + entry_bytes
    if entry_end > size:
        raise truncated_entry(at, size)
    at = entry_end
    tag, at = read_text(buffer, at, size)
    return Tag(
        tag,
    ), at


def _write_tag(parts: list[bytes], entry: Tag) -> None:
    parts.append(write_text(entry.tag, "Tag.tag"))


def _read_payload_pool(
    buffer: WireBuffer, at: int, size: int, entry_bytes: int
) -> tuple[PayloadPool, int]:
    entry_end = at + entry_bytes
    if entry_end > size:
        raise truncated_entry(at, size)
    pool_id, pool_nslots, stride_bytes = _PAYLOAD_POOL_LAYOUT.unpack_from(buffer, at)
    at = entry_end
    region_uri, at = read_uri(buffer, at, size)
    return PayloadPool(
        pool_id,
        pool_nslots,
        stride_bytes,
        region_uri,
    ), at


def _write_payload_pool(parts: list[bytes], entry: PayloadPool) -> None:
    parts.append(_PAYLOAD_POOL_LAYOUT.pack(entry.pool_id, entry.pool_nslots, entry.stride_bytes))
    parts.append(write_uri(entry.region_uri, "PayloadPool.region_uri"))


def _read_discovery_result(
    buffer: WireBuffer, at: int, size: int, entry_bytes: int
) -> tuple[DiscoveryResult, int]:
    entry_end = at + entry_bytes
    if entry_end > size:
        raise truncated_entry(at, size)
    (
        stream_id,
        producer_id,
        epoch,
        layout_version,
        header_nslots,
        header_slot_bytes,
        max_dims,
        data_source_id,
        driver_control_stream_id,
    ) = _DISCOVERY_RESULT_LAYOUT.unpack_from(buffer, at)
    at = entry_end
    entry_bytes, count, at = read_dimension(buffer, at, size, 10)
    payload_pools: list[PayloadPool] = []
    for _ in range(count):
        payload_pool, at = _read_payload_pool(buffer, at, size, entry_bytes)
        payload_pools.append(payload_pool)
    entry_bytes, count, at = read_dimension(buffer, at, size, 0, exact=True)
    tags: list[Tag] = []
    for _ in range(count):
        tag, at = _read_tag(buffer, at, size, entry_bytes)
        tags.append(tag)
    header_region_uri, at = read_uri(buffer, at, size)
    data_source_name, at = read_text(buffer, at, size)
    driver_instance_id, at = read_text(buffer, at, size)
    driver_control_channel, at = read_uri(buffer, at, size)
    return DiscoveryResult(
        stream_id,
        producer_id,
        epoch,
        layout_version,
        header_nslots,
        header_slot_bytes,
        max_dims,
        None if data_source_id == 18446744073709551615 else data_source_id,
        driver_control_stream_id,
        tuple(payload_pools),
        tuple(tags),
        header_region_uri,
        data_source_name,
        driver_instance_id,
        driver_control_channel,
    ), at


def _write_discovery_result(parts: list[bytes], entry: DiscoveryResult) -> None:
    parts.append(
        _DISCOVERY_RESULT_LAYOUT.pack(
            entry.stream_id,
            entry.producer_id,
            entry.epoch,
            entry.layout_version,
            entry.header_nslots,
            entry.header_slot_bytes,
            entry.max_dims,
            18446744073709551615 if entry.data_source_id is None else entry.data_source_id,
            entry.driver_control_stream_id,
        )
    )
    parts.append(write_dimension(10, len(entry.payload_pools), "DiscoveryResult.payload_pools"))
    for payload_pool in entry.payload_pools:
        _write_payload_pool(parts, payload_pool)
    parts.append(write_dimension(0, len(entry.tags), "DiscoveryResult.tags"))
    for tag in entry.tags:
        _write_tag(parts, tag)
    parts.append(write_uri(entry.header_region_uri, "DiscoveryResult.header_region_uri"))
    parts.append(write_text(entry.data_source_name, "DiscoveryResult.data_source_name"))
    parts.append(write_text(entry.driver_instance_id, "DiscoveryResult.driver_instance_id"))
    parts.append(write_uri(entry.driver_control_channel, "DiscoveryResult.driver_control_channel"))


def _check_discovery_result(entry: DiscoveryResult) -> None:
    if entry.data_source_id == 18446744073709551615:
        raise sentinel("DiscoveryResult.data_source_id", entry.data_source_id)


def decode_discovery_request(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> DiscoveryRequest:
    request_id, client_id, response_stream_id, stream_id, producer_id, data_source_id = (
        _DISCOVERY_REQUEST_LAYOUT_BLOCK.unpack_from(buffer, 8)
    )
    at = 8 + block_length
    entry_bytes, count, at = read_dimension(buffer, at, size, 0, exact=True)
    tags: list[Tag] = []
    for _ in range(count):
        tag, at = _read_tag(buffer, at, size, entry_bytes)
        tags.append(tag)
    response_channel, at = read_uri(buffer, at, size)
    data_source_name, at = read_trailing_text(buffer, at, size)
    return DiscoveryRequest(
        request_id,
        client_id,
        response_stream_id,
        None if stream_id == 4294967295 else stream_id,
        None if producer_id == 4294967295 else producer_id,
        None if data_source_id == 18446744073709551615 else data_source_id,
        tuple(tags),
        response_channel,
        data_source_name,
    )


def encode_discovery_request(message: DiscoveryRequest) -> bytes:
    parts = [
        _DISCOVERY_REQUEST_LAYOUT.pack(
            0x0001038E00010020,
            message.request_id,
            message.client_id,
            message.response_stream_id,
            4294967295 if message.stream_id is None else message.stream_id,
            4294967295 if message.producer_id is None else message.producer_id,
            18446744073709551615 if message.data_source_id is None else message.data_source_id,
        )
    ]
    parts.append(write_dimension(0, len(message.tags), "DiscoveryRequest.tags"))
    for tag in message.tags:
        _write_tag(parts, tag)
    parts.append(write_uri(message.response_channel, "DiscoveryRequest.response_channel"))
    parts.append(write_text(message.data_source_name, "DiscoveryRequest.data_source_name"))
    return b"".join(parts)


def check_discovery_request(message: DiscoveryRequest) -> None:
    if message.stream_id == 4294967295:
        raise sentinel("DiscoveryRequest.stream_id", message.stream_id)
    if message.producer_id == 4294967295:
        raise sentinel("DiscoveryRequest.producer_id", message.producer_id)
    if message.data_source_id == 18446744073709551615:
        raise sentinel("DiscoveryRequest.data_source_id", message.data_source_id)


def decode_discovery_response(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> DiscoveryResponse:
    request_id, status = _DISCOVERY_RESPONSE_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    entry_bytes, count, at = read_dimension(buffer, at, size, 39)
    results: list[DiscoveryResult] = []
    for _ in range(count):
        discovery_result, at = _read_discovery_result(buffer, at, size, entry_bytes)
        results.append(discovery_result)
    error_message, at = read_text(buffer, at, size)
    status_ = _DISCOVERY_STATUS.get(status)
    if status_ is None:
        raise bad_enum("DiscoveryResponse.status", status)
    return DiscoveryResponse(
        request_id,
        status_,
        tuple(results),
        error_message,
    )


def encode_discovery_response(message: DiscoveryResponse) -> bytes:
    parts = [
        _DISCOVERY_RESPONSE_LAYOUT.pack(
            0x0001038E00020009,
            message.request_id,
            message.status,
        )
    ]
    parts.append(write_dimension(39, len(message.results), "DiscoveryResponse.results"))
    for discovery_result in message.results:
        _write_discovery_result(parts, discovery_result)
    parts.append(write_error_message(message.error_message))
    return b"".join(parts)


def check_discovery_response(message: DiscoveryResponse) -> None:
    if message.status not in _DISCOVERY_STATUS:
        raise unlisted("DiscoveryResponse.status", message.status)
    for discovery_result in message.results:
        _check_discovery_result(discovery_result)


FIELD_CODES: dict[type, dict[str, str]] = {
    Tag: {},
    PayloadPool: {"pool_id": "H", "pool_nslots": "I", "stride_bytes": "I"},
    DiscoveryResult: {
        "stream_id": "I",
        "producer_id": "I",
        "epoch": "Q",
        "layout_version": "I",
        "header_nslots": "I",
        "header_slot_bytes": "H",
        "max_dims": "B",
        "data_source_id": "Q?",
        "driver_control_stream_id": "I",
    },
    DiscoveryRequest: {
        "request_id": "Q",
        "client_id": "I",
        "response_stream_id": "I",
        "stream_id": "I?",
        "producer_id": "I?",
        "data_source_id": "Q?",
    },
    DiscoveryResponse: {"request_id": "Q", "status": "B"},
}
"""`struct` codes by field; a trailing `?` where None is allowed."""
