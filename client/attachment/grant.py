"""The grant of an attach answer that has been checked.

`check_grant` applies the rules of C-040 to an OK response. A response that passes becomes a
`Grant`; any other is refused as a whole (C-041), with the number of the rule that it breaks.
"""

from __future__ import annotations

import msgspec

from tensor_pool.protocol.errors import ProtocolViolationError, ShmUriError
from tensor_pool.protocol.shm.geometry import (
    LAYOUT_VERSION,
    STRIDE_UNIT_BYTES,
    StreamGeometry,
    is_power_of_two,
    is_stride,
)
from tensor_pool.protocol.shm.uri import MAX_URI_BYTES, parse_region_uri
from tensor_pool.protocol.wire import ResponseCode, ShmAttachResponse
from tensor_pool.protocol.wire.frame_descriptor import SLOT_BYTES

__all__ = ["Grant", "LateGrant", "check_grant", "usable_lease_id"]


class Grant(msgspec.Struct, frozen=True):
    """A lease as granted by a valid OK response.

    `expiry_ns` is the driver's deadline in monotonic ns, or None; `received_ns` the time of
    receipt.
    """

    lease_id: int
    client_id: int
    regions: StreamGeometry
    expiry_ns: int | None
    received_ns: int
    node_id: int | None = None


class LateGrant(msgspec.Struct, frozen=True):
    """An OK response to a request that had been given up; `grant` is None if it was invalid."""

    lease_id: int | None
    stream_id: int
    client_id: int
    grant: Grant | None


def usable_lease_id(response: ShmAttachResponse) -> int | None:
    """The lease id to return to the driver, or None if the response holds none (C-034)."""
    return response.lease_id or None


def check_grant(
    response: ShmAttachResponse,
    *,
    client_id: int,
    requested_stream_id: int,
    expected_layout_version: int,
    desired_node_id: int | None,
    now: int,
) -> Grant:
    """The grant of an OK response; raises ProtocolViolationError with the broken rule (C-040)."""
    r = response
    _rule(1, bool(r.lease_id), f"leaseId is {r.lease_id}")
    _rule(
        2,
        bool(r.stream_id) and requested_stream_id in (0, r.stream_id),
        f"streamId is {r.stream_id}, requested was {requested_stream_id}",
    )
    _rule(3, bool(r.epoch), f"epoch is {r.epoch}")
    _rule(
        4,
        r.layout_version == LAYOUT_VERSION and expected_layout_version in (0, LAYOUT_VERSION),
        f"layoutVersion is {r.layout_version}, expected {expected_layout_version or 'any known'}",
    )
    _rule(
        5,
        r.header_nslots is not None and is_power_of_two(r.header_nslots),
        f"headerNslots {r.header_nslots} is not a power of two",
    )
    _rule(
        6,
        r.header_slot_bytes == SLOT_BYTES,
        f"headerSlotBytes is {r.header_slot_bytes}, must be {SLOT_BYTES}",
    )
    assert r.header_nslots is not None
    pools = r.payload_pools
    ids = [pool.pool_id for pool in pools]
    _rule(
        7, bool(ids) and len(set(ids)) == len(ids) and 0 not in ids, f"payload pool ids are {ids}"
    )
    for pool in pools:
        _rule(
            8,
            pool.pool_nslots == r.header_nslots,
            f"poolNslots of pool {pool.pool_id} is {pool.pool_nslots},"
            f" headerNslots {r.header_nslots}",
        )
    for pool in pools:
        _rule(
            9,
            is_stride(pool.stride_bytes),
            f"strideBytes {pool.stride_bytes} of pool {pool.pool_id} is not a multiple of"
            f" {STRIDE_UNIT_BYTES}",
        )
    _check_uri(10, "headerRegionUri", r.header_region_uri)
    for pool in pools:
        _check_uri(10, f"regionUri of pool {pool.pool_id}", pool.region_uri)
    expiry = r.lease_expiry_timestamp_ns
    _rule(
        11,
        expiry is None or expiry > now,
        f"leaseExpiryTimestampNs {expiry} is not after now ({now})",
    )
    _rule(
        12,
        desired_node_id is None or r.node_id == desired_node_id,
        f"nodeId is {r.node_id}, desired was {desired_node_id}",
    )
    _rule(13, r.code in ResponseCode, f"code {r.code} is not defined")
    assert r.lease_id
    return Grant(r.lease_id, client_id, StreamGeometry.from_message(r), expiry, now, r.node_id)


def _check_uri(rule: int, what: str, uri: str) -> None:
    _rule(rule, bool(uri.strip()), f"{what} is empty")
    _rule(rule, len(uri) <= MAX_URI_BYTES, f"{what} is {len(uri)} bytes long")
    try:
        parse_region_uri(uri)
    except ShmUriError as error:
        raise ProtocolViolationError(rule, f"{what}: {error}") from error


def _rule(rule: int, holds: bool, seen: str) -> None:
    if not holds:
        raise ProtocolViolationError(rule, seen)
