"""Metadata of a source on its way to another host, and what the far stream makes of it (B-104)."""

from __future__ import annotations

from typing import Final

import msgspec

from tensor_pool.client.bridge_origin import BRIDGE_ATTRIBUTE, BridgeOrigin, read_origin
from tensor_pool.client.metadata import MetadataValue
from tensor_pool.protocol.wire import Attribute, DataSourceAnnounce, DataSourceMeta, encode

__all__ = [
    "MAX_ATTRIBUTE_BYTES",
    "FarMetadata",
    "far_metadata",
    "forwarded_metadata",
    "path_in",
    "within_bounds",
]

MAX_ATTRIBUTE_BYTES: Final = 64 * 1024
_FORMAT: Final = "application/json"


class FarMetadata(msgspec.Struct, frozen=True):
    """The metadata of a far producer."""

    version: int
    name: str
    summary: str
    attributes: dict[str, MetadataValue]


def forwarded_metadata(
    messages: tuple[DataSourceAnnounce | None, DataSourceMeta | None], wire_id: int
) -> list[bytes]:
    """The messages of a source under its wire id; attributes above 64 KiB stay at home."""
    announce, meta = messages
    encoded: list[bytes] = []
    if announce is not None:
        encoded.append(
            encode(
                msgspec.structs.replace(
                    announce,
                    stream_id=wire_id,
                    name=_sendable(announce.name),
                    summary=_sendable(announce.summary),
                )
            )
        )
    if meta is not None and _attribute_bytes(meta) <= MAX_ATTRIBUTE_BYTES:
        attributes = tuple(
            Attribute(_sendable(a.key), _sendable(a.format), a.value) for a in meta.attributes
        )
        encoded.append(
            encode(msgspec.structs.replace(meta, stream_id=wire_id, attributes=attributes))
        )
    return encoded


def far_metadata(
    announce: DataSourceAnnounce | None,
    meta: DataSourceMeta | None,
    *,
    path: tuple[str, ...],
    source_stream_id: int,
) -> FarMetadata:
    """Return the metadata of the far stream: the source's own, and where it comes from."""
    attributes: dict[str, tuple[str, bytes]] = {}
    if announce is not None and meta is not None and meta.meta_version == announce.meta_version:
        for item in meta.attributes:
            attributes[_sendable(item.key)] = (_sendable(item.format), item.value)
    origin = BridgeOrigin(path[0], source_stream_id, path)
    if len(path) > 1 and BRIDGE_ATTRIBUTE in attributes:
        earlier = read_origin(attributes[BRIDGE_ATTRIBUTE][1])
        if earlier is not None:
            origin = BridgeOrigin(_sendable(earlier.origin), earlier.stream, path)
    attributes[BRIDGE_ATTRIBUTE] = (_FORMAT, msgspec.json.encode(origin))
    return FarMetadata(
        version=max(1, announce.meta_version) if announce is not None else 1,
        name=_sendable(announce.name) if announce is not None else "",
        summary=_sendable(announce.summary) if announce is not None else "",
        attributes={**attributes},
    )


def path_in(meta: DataSourceMeta | None) -> tuple[str, ...]:
    """Return the path in a stream's metadata; empty for a stream made on this host."""
    for attribute in meta.attributes if meta is not None else ():
        if attribute.key == BRIDGE_ATTRIBUTE:
            origin = read_origin(attribute.value)
            return origin.path if origin is not None else ()
    return ()


def within_bounds(meta: DataSourceMeta) -> bool:
    """Return True if a received attribute list is small enough to be kept (B-133)."""
    return _attribute_bytes(meta) <= MAX_ATTRIBUTE_BYTES


def _attribute_bytes(meta: DataSourceMeta) -> int:
    return sum(len(a.key) + len(a.format) + len(a.value) for a in meta.attributes)


def _sendable(text: str) -> str:
    """Text as the wire carries it: `?` for a character that was replaced on its way here."""
    return text.encode("ascii", "replace").replace(b"\0", b"?").decode("ascii")
