"""The 8 bytes in front of every message: what it is, before anything else is looked at."""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from .errors import WireError, WireProblem

__all__ = ["HEADER_BYTES", "MessageHeader", "WireBuffer", "header_word", "peek_header"]

type WireBuffer = bytes | bytearray | memoryview
"""The types that messages are read from; a memoryview must be of single bytes."""

HEADER_BYTES: Final = 8
_unpack_header = Struct("<HHHH").unpack_from


class MessageHeader(NamedTuple):
    """Message header, fields in wire order."""

    block_length: int
    template_id: int
    schema_id: int
    version: int


def peek_header(buffer: WireBuffer) -> MessageHeader:
    """The message header at the start of `buffer`.

    Raises WireError (MALFORMED) for fewer than 8 bytes. Nothing else is checked: dispatch is on
    (schema_id, template_id), and most messages on a shared stream are for other clients (M-011).
    """
    if len(buffer) < HEADER_BYTES:
        raise WireError(WireProblem.MALFORMED, "shorter than a message header")
    return MessageHeader(*_unpack_header(buffer))


def header_word(block_length: int, template_id: int, schema_id: int, version: int) -> int:
    """The header as one little-endian u64, to be written or compared at once."""
    return block_length | template_id << 16 | schema_id << 32 | version << 48
