"""Blobs: larger pieces of metadata, sent in chunks without repair (W-197 to W-199)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tensor_pool.protocol.wire import MetaBlobAnnounce, MetaBlobChunk, MetaBlobComplete

__all__ = ["DEFAULT_MAX_BLOB_BYTES", "Blob", "BlobAssembler", "BlobMessage", "blob_messages"]

DEFAULT_MAX_BLOB_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 65536
_MAX_OPEN = 16  # blobs being received at once; an older one gives way

type BlobMessage = MetaBlobAnnounce | MetaBlobChunk | MetaBlobComplete


class Blob(msgspec.Struct, frozen=True):
    """A blob as received; `blob_type` is the application's own number."""

    stream_id: int
    meta_version: int
    blob_type: int
    data: bytes


def blob_messages(
    data: bytes, *, stream_id: int, meta_version: int, blob_type: int, checksum: bool = True
) -> Iterator[BlobMessage]:
    """The messages that carry a blob: an announce, chunks of at most 65536 bytes, the end."""
    crc = crc32c(data) if checksum else 0
    yield MetaBlobAnnounce(
        stream_id=stream_id,
        meta_version=meta_version,
        blob_type=blob_type,
        total_len=len(data),
        checksum=crc,
    )
    for offset in range(0, len(data), _CHUNK_BYTES):
        yield MetaBlobChunk(
            stream_id=stream_id,
            meta_version=meta_version,
            chunk_offset=offset,
            bytes_=data[offset : offset + _CHUNK_BYTES],
        )
    yield MetaBlobComplete(stream_id=stream_id, meta_version=meta_version, checksum=crc)


def crc32c(data: bytes) -> int:
    """The checksum of a blob."""
    from crc32c import crc32c  # here: importing it takes a quarter of a start, for few programs

    return crc32c(data)


class _Open:
    def __init__(self, announce: MetaBlobAnnounce) -> None:
        self.announce = announce
        self.data = bytearray()


class BlobAssembler:
    """Puts chunks together; whatever does not fit exactly discards the blob."""

    def __init__(self, max_bytes: int = DEFAULT_MAX_BLOB_BYTES) -> None:
        self.max_bytes = max_bytes
        self.discarded = 0
        self._open: dict[tuple[int, int], _Open] = {}

    def take(self, message: BlobMessage) -> Blob | None:
        """Take one message; the blob if that completes it."""
        key = (message.stream_id, message.meta_version)
        if isinstance(message, MetaBlobAnnounce):
            self._begin(key, message)
            return None
        blob = self._open.get(key)
        if blob is None:
            self.discarded += 1
            return None
        if isinstance(message, MetaBlobChunk):
            self._append(key, blob, message)
            return None
        return self._finish(key, blob, message)

    def _begin(self, key: tuple[int, int], announce: MetaBlobAnnounce) -> None:
        if self._open.pop(key, None) is not None:
            self.discarded += 1
        if announce.total_len > self.max_bytes:
            self.discarded += 1
            return
        while len(self._open) >= _MAX_OPEN:
            del self._open[next(iter(self._open))]
            self.discarded += 1
        self._open[key] = _Open(announce)

    def _append(self, key: tuple[int, int], blob: _Open, chunk: MetaBlobChunk) -> None:
        size = len(chunk.bytes_)
        if (
            not 1 <= size <= _CHUNK_BYTES
            or chunk.chunk_offset != len(blob.data)
            or chunk.chunk_offset + size > blob.announce.total_len
        ):
            self._discard(key)
            return
        blob.data += chunk.bytes_

    def _finish(self, key: tuple[int, int], blob: _Open, end: MetaBlobComplete) -> Blob | None:
        announce = blob.announce
        data = bytes(blob.data)
        if (
            len(data) != announce.total_len
            or end.checksum != announce.checksum
            or (announce.checksum and crc32c(data) != announce.checksum)
        ):
            self._discard(key)
            return None
        del self._open[key]
        return Blob(announce.stream_id, announce.meta_version, announce.blob_type, data)

    def _discard(self, key: tuple[int, int]) -> None:
        del self._open[key]
        self.discarded += 1
