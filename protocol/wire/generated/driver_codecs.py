"""Codecs of the driver schema.

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
    read_uri,
    write_dimension,
    write_error_message,
    write_text,
    write_uri,
)
from .control_messages import PayloadPool
from .driver_messages import (
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmDriverShutdownRequest,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
)
from .enums import (
    HugepagesPolicy,
    LeaseRevokeReason,
    PublishMode,
    ResponseCode,
    Role,
    ShutdownReason,
)

_HUGEPAGES_POLICY = {member.value: member for member in HugepagesPolicy}
_LEASE_REVOKE_REASON = {member.value: member for member in LeaseRevokeReason}
_PUBLISH_MODE = {member.value: member for member in PublishMode}
_RESPONSE_CODE = {member.value: member for member in ResponseCode}
_ROLE = {member.value: member for member in Role}
_SHUTDOWN_REASON = {member.value: member for member in ShutdownReason}
_PAYLOAD_POOL_LAYOUT = Struct("<HII")
_SHM_ATTACH_REQUEST_LAYOUT = Struct("<QqIIBIBBI")
_SHM_ATTACH_REQUEST_LAYOUT_BLOCK = Struct("<qIIBIBBI")
_SHM_ATTACH_RESPONSE_LAYOUT = Struct("<QqiQQIQIIHI")
_SHM_ATTACH_RESPONSE_LAYOUT_BLOCK = Struct("<qiQQIQIIHI")
_SHM_DETACH_REQUEST_LAYOUT = Struct("<QqQIIB")
_SHM_DETACH_REQUEST_LAYOUT_BLOCK = Struct("<qQIIB")
_SHM_DETACH_RESPONSE_LAYOUT = Struct("<Qqi")
_SHM_DETACH_RESPONSE_LAYOUT_BLOCK = Struct("<qi")
_SHM_LEASE_KEEPALIVE_LAYOUT = Struct("<QQIIBQ")
_SHM_LEASE_KEEPALIVE_LAYOUT_BLOCK = Struct("<QIIBQ")
_SHM_DRIVER_SHUTDOWN_LAYOUT = Struct("<QQB")
_SHM_DRIVER_SHUTDOWN_LAYOUT_BLOCK = Struct("<QB")
_SHM_LEASE_REVOKED_LAYOUT = Struct("<QQQIIBB")
_SHM_LEASE_REVOKED_LAYOUT_BLOCK = Struct("<QQIIBB")
_SHM_DRIVER_SHUTDOWN_REQUEST_LAYOUT = Struct("<QqB")
_SHM_DRIVER_SHUTDOWN_REQUEST_LAYOUT_BLOCK = Struct("<qB")


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


def decode_shm_attach_request(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ShmAttachRequest:
    (
        correlation_id,
        stream_id,
        client_id,
        role,
        expected_layout_version,
        publish_mode,
        require_hugepages,
        desired_node_id,
    ) = _SHM_ATTACH_REQUEST_LAYOUT_BLOCK.unpack_from(buffer, 8)
    role_ = _ROLE.get(role)
    if role_ is None:
        if not raw_enums:
            raise bad_enum("ShmAttachRequest.role", role)
        role_ = role
    publish_mode_ = _PUBLISH_MODE.get(publish_mode)
    if publish_mode_ is None and publish_mode != 255:
        if not raw_enums:
            raise bad_enum("ShmAttachRequest.publish_mode", publish_mode)
        publish_mode_ = publish_mode
    require_hugepages_ = _HUGEPAGES_POLICY.get(require_hugepages)
    if require_hugepages_ is None:
        if not raw_enums:
            raise bad_enum("ShmAttachRequest.require_hugepages", require_hugepages)
        require_hugepages_ = require_hugepages
    return ShmAttachRequest(
        correlation_id,
        stream_id,
        client_id,
        role_,
        expected_layout_version,
        publish_mode_,
        require_hugepages_,
        None if desired_node_id == 4294967295 else desired_node_id,
    )


def encode_shm_attach_request(message: ShmAttachRequest) -> bytes:
    return _SHM_ATTACH_REQUEST_LAYOUT.pack(
        0x000103850001001B,
        message.correlation_id,
        message.stream_id,
        message.client_id,
        message.role,
        message.expected_layout_version,
        255 if message.publish_mode is None else message.publish_mode,
        message.require_hugepages,
        4294967295 if message.desired_node_id is None else message.desired_node_id,
    )


def check_shm_attach_request(message: ShmAttachRequest) -> None:
    if message.role not in _ROLE:
        raise unlisted("ShmAttachRequest.role", message.role)
    if message.publish_mode is not None and message.publish_mode not in _PUBLISH_MODE:
        raise unlisted("ShmAttachRequest.publish_mode", message.publish_mode)
    if message.require_hugepages not in _HUGEPAGES_POLICY:
        raise unlisted("ShmAttachRequest.require_hugepages", message.require_hugepages)
    if message.desired_node_id == 4294967295:
        raise sentinel("ShmAttachRequest.desired_node_id", message.desired_node_id)


def decode_shm_attach_response(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ShmAttachResponse:
    (
        correlation_id,
        code,
        lease_id,
        lease_expiry_timestamp_ns,
        stream_id,
        epoch,
        layout_version,
        header_nslots,
        header_slot_bytes,
        node_id,
    ) = _SHM_ATTACH_RESPONSE_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    entry_bytes, count, at = read_dimension(buffer, at, size, 10)
    payload_pools: list[PayloadPool] = []
    for _ in range(count):
        payload_pool, at = _read_payload_pool(buffer, at, size, entry_bytes)
        payload_pools.append(payload_pool)
    header_region_uri, at = read_uri(buffer, at, size)
    error_message, at = read_text(buffer, at, size)
    code_ = _RESPONSE_CODE.get(code)
    if code_ is None:
        raise bad_enum("ShmAttachResponse.code", code)
    return ShmAttachResponse(
        correlation_id,
        code_,
        None if lease_id == 18446744073709551615 else lease_id,
        None if lease_expiry_timestamp_ns == 18446744073709551615 else lease_expiry_timestamp_ns,
        None if stream_id == 4294967295 else stream_id,
        None if epoch == 18446744073709551615 else epoch,
        None if layout_version == 4294967295 else layout_version,
        None if header_nslots == 4294967295 else header_nslots,
        None if header_slot_bytes == 65535 else header_slot_bytes,
        None if node_id == 4294967295 else node_id,
        tuple(payload_pools),
        header_region_uri,
        error_message,
    )


def encode_shm_attach_response(message: ShmAttachResponse) -> bytes:
    parts = [
        _SHM_ATTACH_RESPONSE_LAYOUT.pack(
            0x0001038500020036,
            message.correlation_id,
            message.code,
            18446744073709551615 if message.lease_id is None else message.lease_id,
            18446744073709551615
            if message.lease_expiry_timestamp_ns is None
            else message.lease_expiry_timestamp_ns,
            4294967295 if message.stream_id is None else message.stream_id,
            18446744073709551615 if message.epoch is None else message.epoch,
            4294967295 if message.layout_version is None else message.layout_version,
            4294967295 if message.header_nslots is None else message.header_nslots,
            65535 if message.header_slot_bytes is None else message.header_slot_bytes,
            4294967295 if message.node_id is None else message.node_id,
        )
    ]
    parts.append(write_dimension(10, len(message.payload_pools), "ShmAttachResponse.payload_pools"))
    for payload_pool in message.payload_pools:
        _write_payload_pool(parts, payload_pool)
    parts.append(write_uri(message.header_region_uri, "ShmAttachResponse.header_region_uri"))
    parts.append(write_error_message(message.error_message))
    return b"".join(parts)


def check_shm_attach_response(message: ShmAttachResponse) -> None:
    if message.code not in _RESPONSE_CODE:
        raise unlisted("ShmAttachResponse.code", message.code)
    if message.lease_id == 18446744073709551615:
        raise sentinel("ShmAttachResponse.lease_id", message.lease_id)
    if message.lease_expiry_timestamp_ns == 18446744073709551615:
        raise sentinel(
            "ShmAttachResponse.lease_expiry_timestamp_ns", message.lease_expiry_timestamp_ns
        )
    if message.stream_id == 4294967295:
        raise sentinel("ShmAttachResponse.stream_id", message.stream_id)
    if message.epoch == 18446744073709551615:
        raise sentinel("ShmAttachResponse.epoch", message.epoch)
    if message.layout_version == 4294967295:
        raise sentinel("ShmAttachResponse.layout_version", message.layout_version)
    if message.header_nslots == 4294967295:
        raise sentinel("ShmAttachResponse.header_nslots", message.header_nslots)
    if message.header_slot_bytes == 65535:
        raise sentinel("ShmAttachResponse.header_slot_bytes", message.header_slot_bytes)
    if message.node_id == 4294967295:
        raise sentinel("ShmAttachResponse.node_id", message.node_id)


def decode_shm_detach_request(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ShmDetachRequest:
    correlation_id, lease_id, stream_id, client_id, role = (
        _SHM_DETACH_REQUEST_LAYOUT_BLOCK.unpack_from(buffer, 8)
    )
    role_ = _ROLE.get(role)
    if role_ is None:
        raise bad_enum("ShmDetachRequest.role", role)
    return ShmDetachRequest(
        correlation_id,
        lease_id,
        stream_id,
        client_id,
        role_,
    )


def encode_shm_detach_request(message: ShmDetachRequest) -> bytes:
    return _SHM_DETACH_REQUEST_LAYOUT.pack(
        0x0001038500030019,
        message.correlation_id,
        message.lease_id,
        message.stream_id,
        message.client_id,
        message.role,
    )


def check_shm_detach_request(message: ShmDetachRequest) -> None:
    if message.role not in _ROLE:
        raise unlisted("ShmDetachRequest.role", message.role)


def decode_shm_detach_response(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ShmDetachResponse:
    correlation_id, code = _SHM_DETACH_RESPONSE_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    error_message, at = read_text(buffer, at, size)
    code_ = _RESPONSE_CODE.get(code)
    if code_ is None:
        raise bad_enum("ShmDetachResponse.code", code)
    return ShmDetachResponse(
        correlation_id,
        code_,
        error_message,
    )


def encode_shm_detach_response(message: ShmDetachResponse) -> bytes:
    parts = [
        _SHM_DETACH_RESPONSE_LAYOUT.pack(
            0x000103850004000C,
            message.correlation_id,
            message.code,
        )
    ]
    parts.append(write_error_message(message.error_message))
    return b"".join(parts)


def check_shm_detach_response(message: ShmDetachResponse) -> None:
    if message.code not in _RESPONSE_CODE:
        raise unlisted("ShmDetachResponse.code", message.code)


def decode_shm_lease_keepalive(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ShmLeaseKeepalive:
    lease_id, stream_id, client_id, role, client_timestamp_ns = (
        _SHM_LEASE_KEEPALIVE_LAYOUT_BLOCK.unpack_from(buffer, 8)
    )
    role_ = _ROLE.get(role)
    if role_ is None:
        raise bad_enum("ShmLeaseKeepalive.role", role)
    return ShmLeaseKeepalive(
        lease_id,
        stream_id,
        client_id,
        role_,
        client_timestamp_ns,
    )


def encode_shm_lease_keepalive(message: ShmLeaseKeepalive) -> bytes:
    return _SHM_LEASE_KEEPALIVE_LAYOUT.pack(
        0x0001038500050019,
        message.lease_id,
        message.stream_id,
        message.client_id,
        message.role,
        message.client_timestamp_ns,
    )


def check_shm_lease_keepalive(message: ShmLeaseKeepalive) -> None:
    if message.role not in _ROLE:
        raise unlisted("ShmLeaseKeepalive.role", message.role)


def decode_shm_driver_shutdown(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ShmDriverShutdown:
    timestamp_ns, reason = _SHM_DRIVER_SHUTDOWN_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    error_message, at = read_text(buffer, at, size)
    reason_ = _SHUTDOWN_REASON.get(reason)
    if reason_ is None:
        raise bad_enum("ShmDriverShutdown.reason", reason)
    return ShmDriverShutdown(
        timestamp_ns,
        reason_,
        error_message,
    )


def encode_shm_driver_shutdown(message: ShmDriverShutdown) -> bytes:
    parts = [
        _SHM_DRIVER_SHUTDOWN_LAYOUT.pack(
            0x0001038500060009,
            message.timestamp_ns,
            message.reason,
        )
    ]
    parts.append(write_error_message(message.error_message))
    return b"".join(parts)


def check_shm_driver_shutdown(message: ShmDriverShutdown) -> None:
    if message.reason not in _SHUTDOWN_REASON:
        raise unlisted("ShmDriverShutdown.reason", message.reason)


def decode_shm_lease_revoked(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ShmLeaseRevoked:
    timestamp_ns, lease_id, stream_id, client_id, role, reason = (
        _SHM_LEASE_REVOKED_LAYOUT_BLOCK.unpack_from(buffer, 8)
    )
    at = 8 + block_length
    error_message, at = read_text(buffer, at, size)
    role_ = _ROLE.get(role)
    if role_ is None:
        raise bad_enum("ShmLeaseRevoked.role", role)
    reason_ = _LEASE_REVOKE_REASON.get(reason)
    if reason_ is None:
        raise bad_enum("ShmLeaseRevoked.reason", reason)
    return ShmLeaseRevoked(
        timestamp_ns,
        lease_id,
        stream_id,
        client_id,
        role_,
        reason_,
        error_message,
    )


def encode_shm_lease_revoked(message: ShmLeaseRevoked) -> bytes:
    parts = [
        _SHM_LEASE_REVOKED_LAYOUT.pack(
            0x000103850007001A,
            message.timestamp_ns,
            message.lease_id,
            message.stream_id,
            message.client_id,
            message.role,
            message.reason,
        )
    ]
    parts.append(write_error_message(message.error_message))
    return b"".join(parts)


def check_shm_lease_revoked(message: ShmLeaseRevoked) -> None:
    if message.role not in _ROLE:
        raise unlisted("ShmLeaseRevoked.role", message.role)
    if message.reason not in _LEASE_REVOKE_REASON:
        raise unlisted("ShmLeaseRevoked.reason", message.reason)


def decode_shm_driver_shutdown_request(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ShmDriverShutdownRequest:
    correlation_id, reason = _SHM_DRIVER_SHUTDOWN_REQUEST_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    token, at = read_text(buffer, at, size)
    error_message, at = read_text(buffer, at, size)
    reason_ = _SHUTDOWN_REASON.get(reason)
    if reason_ is None:
        raise bad_enum("ShmDriverShutdownRequest.reason", reason)
    return ShmDriverShutdownRequest(
        correlation_id,
        reason_,
        token,
        error_message,
    )


def encode_shm_driver_shutdown_request(message: ShmDriverShutdownRequest) -> bytes:
    parts = [
        _SHM_DRIVER_SHUTDOWN_REQUEST_LAYOUT.pack(
            0x0001038500080009,
            message.correlation_id,
            message.reason,
        )
    ]
    parts.append(write_text(message.token, "ShmDriverShutdownRequest.token"))
    parts.append(write_error_message(message.error_message))
    return b"".join(parts)


def check_shm_driver_shutdown_request(message: ShmDriverShutdownRequest) -> None:
    if message.reason not in _SHUTDOWN_REASON:
        raise unlisted("ShmDriverShutdownRequest.reason", message.reason)


FIELD_CODES: dict[type, dict[str, str]] = {
    PayloadPool: {"pool_id": "H", "pool_nslots": "I", "stride_bytes": "I"},
    ShmAttachRequest: {
        "correlation_id": "q",
        "stream_id": "I",
        "client_id": "I",
        "role": "B",
        "expected_layout_version": "I",
        "publish_mode": "B?",
        "require_hugepages": "B",
        "desired_node_id": "I?",
    },
    ShmAttachResponse: {
        "correlation_id": "q",
        "code": "i",
        "lease_id": "Q?",
        "lease_expiry_timestamp_ns": "Q?",
        "stream_id": "I?",
        "epoch": "Q?",
        "layout_version": "I?",
        "header_nslots": "I?",
        "header_slot_bytes": "H?",
        "node_id": "I?",
    },
    ShmDetachRequest: {
        "correlation_id": "q",
        "lease_id": "Q",
        "stream_id": "I",
        "client_id": "I",
        "role": "B",
    },
    ShmDetachResponse: {"correlation_id": "q", "code": "i"},
    ShmLeaseKeepalive: {
        "lease_id": "Q",
        "stream_id": "I",
        "client_id": "I",
        "role": "B",
        "client_timestamp_ns": "Q",
    },
    ShmDriverShutdown: {"timestamp_ns": "Q", "reason": "B"},
    ShmLeaseRevoked: {
        "timestamp_ns": "Q",
        "lease_id": "Q",
        "stream_id": "I",
        "client_id": "I",
        "role": "B",
        "reason": "B",
    },
    ShmDriverShutdownRequest: {"correlation_id": "q", "reason": "B"},
}
"""`struct` codes by field; a trailing `?` where None is allowed."""
