"""Chunks in place: cut out of a slot, and read out of a message without a copy (section 4).

A chunk costs a few struct calls here instead of a message object; the layout is the generated one.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

import msgspec
from crc32c import crc32c, hardware_based

from tensor_pool.protocol.wire import BRIDGE_SCHEMA_ID
from tensor_pool.protocol.wire.generated import layouts
from tensor_pool.protocol.wire.header import HEADER_BYTES, header_word

__all__ = [
    "CHUNK_KEY",
    "CHUNK_OVERHEAD_BYTES",
    "MAX_CHUNKS",
    "MAX_CHUNK_BYTES",
    "MAX_PAYLOAD_BYTES",
    "SLOT_BYTES",
    "Chunk",
    "ChunkWriter",
    "checksum_problem",
    "chunk_count",
    "read_chunk",
]

SLOT_BYTES: Final = 256
MAX_CHUNKS: Final = 65535
MAX_CHUNK_BYTES: Final = 65535
MAX_PAYLOAD_BYTES: Final = 1 << 30
CHUNK_KEY: Final = layouts.BRIDGE_FRAME_CHUNK_TEMPLATE_ID | BRIDGE_SCHEMA_ID << 16
"""Template and schema of a chunk as one number."""

_BLOCK_BYTES: Final = layouts.BRIDGE_FRAME_CHUNK_BLOCK_BYTES
_HEADER_WORD: Final = header_word(
    _BLOCK_BYTES, layouts.BRIDGE_FRAME_CHUNK_TEMPLATE_ID, BRIDGE_SCHEMA_ID, 1
)
_FIXED: Final = Struct("<Q" + layouts.BRIDGE_FRAME_CHUNK_FORMAT + "I")  # and headerBytes' length
_BLOCK: Final = Struct("<" + layouts.BRIDGE_FRAME_CHUNK_FORMAT)
_LENGTH: Final = Struct("<I")
_CRC_OFFSET: Final = HEADER_BYTES + layouts.BRIDGE_FRAME_CHUNK_PAYLOAD_CRC32C_OFFSET
CHUNK_OVERHEAD_BYTES: Final = _FIXED.size + 4
"""Bytes of a chunk message besides header slot and payload: 69."""


def checksum_problem() -> str | None:
    """Return the objection to checksums on this host (B-062), or None."""
    if hardware_based:
        return None
    return "the CPU has no CRC-32C instruction; without it checksums would slow the link down"


def chunk_count(nbytes: int, chunk_bytes: int) -> int:
    """Chunks of a frame (B-045)."""
    return max(1, -(-nbytes // chunk_bytes))


class ChunkWriter:
    """Builds the messages of one stream, one after the other, in one private buffer."""

    def __init__(self, wire_id: int, chunk_bytes: int, *, crc: bool) -> None:
        self._wire_id = wire_id
        self._chunk_bytes = chunk_bytes
        self._crc = crc
        self._view = memoryview(bytearray(CHUNK_OVERHEAD_BYTES + SLOT_BYTES + chunk_bytes))

    def write(
        self, epoch: int, seq: int, trace_id: int, index: int, slot: bytes, payload: memoryview
    ) -> tuple[memoryview, int]:
        """The message of chunk `index`, valid until the next call, and its payload bytes.

        The payload is copied out of shared memory here; whether it was the frame's is for the
        caller to check afterwards.
        """
        nbytes = len(payload)
        size = self._chunk_bytes
        offset = index * size
        length = min(size, nbytes - offset)
        header = slot if index == 0 else b""
        view = self._view
        _FIXED.pack_into(
            view, 0, _HEADER_WORD, self._wire_id, epoch, seq, trace_id, index,
            chunk_count(nbytes, size), offset, length, nbytes, 0, index == 0, len(header),
        )  # fmt: skip
        at = _FIXED.size
        view[at : at + len(header)] = header
        at += len(header)
        _LENGTH.pack_into(view, at, length)
        at += 4
        end = at + length
        view[at:end] = payload[offset : offset + length]
        if self._crc:
            # Header and payload are parts of one CRC; the length between them is not.
            _LENGTH.pack_into(view, _CRC_OFFSET, crc32c(view[at:end], crc32c(header)))
        return view[:end], length


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """A chunk message as it was received; `header` and `payload` are views of it."""

    stream_id: int
    epoch: int
    seq: int
    trace_id: int
    index: int
    count: int
    offset: int
    length: int
    payload_length: int
    crc: int
    header_included: int
    header: memoryview
    payload: memoryview

    @property
    def is_well_formed(self) -> bool:
        """True if its fields agree with each other: row 6 of B-070, the payload limit aside."""
        first = self.index == 0
        return (
            1 <= self.count <= MAX_CHUNKS
            and self.index < self.count
            and self.length <= MAX_CHUNK_BYTES
            and self.length == len(self.payload)
            and self.offset + self.length <= self.payload_length
            and self.header_included == first
            and len(self.header) == (SLOT_BYTES if first else 0)
            and (not first or self.offset == 0)
            and (self.length > 0 or self.payload_length == 0)
        )

    @property
    def computed_crc(self) -> int:
        """CRC-32C over header and payload bytes (B-060)."""
        crc: int = crc32c(self.payload, crc32c(self.header))
        return crc


def read_chunk(message: memoryview) -> Chunk | None:
    """The chunk in a message whose ids are those of a chunk; None if it is malformed (M-050)."""
    size = len(message)
    if size < HEADER_BYTES + _BLOCK_BYTES:
        return None
    block_length = int.from_bytes(message[0:2], "little")
    version = int.from_bytes(message[6:8], "little")
    at = HEADER_BYTES + block_length
    if version > 1 or block_length < _BLOCK_BYTES or at + 4 > size:
        return None
    block: tuple[int, ...] = _BLOCK.unpack_from(message, HEADER_BYTES)
    (length,) = _LENGTH.unpack_from(message, at)
    header_end = at + 4 + length
    if header_end + 4 > size or block[-1] > 1:
        return None
    (length,) = _LENGTH.unpack_from(message, header_end)
    payload_end = header_end + 4 + length
    if payload_end > size:
        return None
    header, payload = message[at + 4 : header_end], message[header_end + 4 : payload_end]
    fields: tuple[Any, ...] = (*block, header, payload)
    return Chunk(*fields)
