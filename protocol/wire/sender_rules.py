"""The rules for senders that the types cannot express: `encode` refuses what breaks them.

A receiver would drop, decline or misread these messages, so the mistake is raised where it was
made. Ranges, listed enum values and null sentinels are checked by the generated codecs; here are
the rules that relate fields to each other or to the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from .frame_descriptor import NULL_U64
from .generated.control_messages import (
    ConsumerConfig,
    ConsumerHello,
    FrameProgress,
    MetaBlobChunk,
    PayloadPool,
    ShmPoolAnnounce,
)
from .generated.driver_messages import (
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
)
from .generated.enums import FrameProgressState, ResponseCode
from .stream_pairs import StreamRequest, stream_request

__all__ = ["BLOB_CHUNK_BYTES", "RULES"]

BLOB_CHUNK_BYTES: Final = 65536
"""Most bytes of a metadata blob that one chunk carries."""


def _announce(message: ShmPoolAnnounce) -> None:
    """M-100: at least one pool; and what receivers ignore an announce for by itself."""
    if not 1 <= message.epoch < NULL_U64:
        raise ValueError(f"ShmPoolAnnounce.epoch = {message.epoch} is outside 1..2^64-2")
    if not 0 < message.announce_timestamp_ns < NULL_U64:
        raise ValueError("ShmPoolAnnounce.announce_timestamp_ns must be a time, not 0 or all ones")
    _pools("ShmPoolAnnounce", message.payload_pools, message.header_nslots)
    if not message.header_region_uri:
        raise ValueError("ShmPoolAnnounce.header_region_uri is empty")


def _pools(where: str, pools: Iterable[PayloadPool], header_nslots: int | None) -> None:
    seen: set[int] = set()
    for pool in pools:
        if pool.pool_id in seen:
            raise ValueError(f"{where}.payload_pools names pool {pool.pool_id} twice")
        seen.add(pool.pool_id)
        if not pool.region_uri:
            raise ValueError(f"{where}.payload_pools: region_uri of pool {pool.pool_id} is empty")
        if pool.pool_nslots != header_nslots:
            raise ValueError(
                f"{where}.payload_pools: pool {pool.pool_id} has {pool.pool_nslots} slots, the"
                f" header ring {header_nslots}; they must be equal"
            )
    if not seen:
        raise ValueError(f"{where}.payload_pools is empty; at least one pool is needed")


def _private_streams(message: ConsumerHello | ConsumerConfig) -> None:
    """M-110: channel and stream id are given together or not at all."""
    for half, channel, stream_id in (
        ("descriptor", message.descriptor_channel, message.descriptor_stream_id),
        ("control", message.control_channel, message.control_stream_id),
    ):
        if stream_request(channel, stream_id) is StreamRequest.MALFORMED:
            raise ValueError(
                f"{type(message).__name__}.{half}_channel = {channel!r} with"
                f" {half}_stream_id = {stream_id}: give both or neither"
            )


def _hello(message: ConsumerHello) -> None:
    """M-110, and M-111: no hints from a consumer that does not ask for progress."""
    _private_streams(message)
    if not message.supports_progress:
        for name in ("progress_interval_us", "progress_bytes_delta", "progress_major_delta_units"):
            if getattr(message, name) is not None:
                raise ValueError(f"ConsumerHello.{name} needs supports_progress")


def _progress(message: FrameProgress) -> None:
    if message.state == FrameProgressState.UNKNOWN:
        raise ValueError("FrameProgress.state = UNKNOWN is never sent")


def _chunk(message: MetaBlobChunk) -> None:
    if not 1 <= len(message.bytes_) <= BLOB_CHUNK_BYTES:
        size = len(message.bytes_)
        raise ValueError(f"MetaBlobChunk.bytes_ holds {size} bytes, not 1..{BLOB_CHUNK_BYTES}")


def _client(
    message: ShmAttachRequest | ShmDetachRequest | ShmLeaseKeepalive | ShmLeaseRevoked,
) -> None:
    """M-203: 0 asks an API to choose a client id; it never reaches the wire."""
    if message.client_id == 0:
        raise ValueError(f"{type(message).__name__}.client_id = 0; choose one before sending")


_PROMISED = ("lease_id", "stream_id", "epoch", "layout_version", "header_nslots")


def _attach_response(message: ShmAttachResponse) -> None:
    """M-220 and M-221: OK has every field that a client needs, a refusal has none of them."""
    if message.code != ResponseCode.OK:
        if message.payload_pools or message.header_region_uri:
            raise ValueError("ShmAttachResponse: a refusal may not carry regions")
        return
    for name in _PROMISED:
        if getattr(message, name) is None:
            raise ValueError(f"ShmAttachResponse.{name} is needed with OK")
    if message.header_slot_bytes != 256:
        raise ValueError(
            f"ShmAttachResponse.header_slot_bytes = {message.header_slot_bytes}; 256 goes with OK"
        )
    _pools("ShmAttachResponse", message.payload_pools, message.header_nslots)
    if not message.header_region_uri:
        raise ValueError("ShmAttachResponse.header_region_uri is empty with OK")


RULES: Final[dict[type, Callable[[Any], None]]] = {
    ConsumerConfig: _private_streams,
    ConsumerHello: _hello,
    FrameProgress: _progress,
    MetaBlobChunk: _chunk,
    ShmAttachRequest: _client,
    ShmAttachResponse: _attach_response,
    ShmDetachRequest: _client,
    ShmLeaseKeepalive: _client,
    ShmLeaseRevoked: _client,
    ShmPoolAnnounce: _announce,
}
"""The rule of a message class; raises ValueError naming the field and the value."""
