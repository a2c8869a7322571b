"""The 8 bytes in front of every message: what it is, before anything else is looked at."""

from __future__ import annotations

from collections.abc import Buffer
from struct import Struct
from typing import Final, NamedTuple

from .errors import WireError, WireProblem

__all__ = ["HEADER_BYTES", "MessageHeader", "header_word", "peek_header"]

HEADER_BYTES: Final = 8
_HEADER: Final = Struct("<HHHH")


class MessageHeader(NamedTuple):
    """Message header, fields in wire order."""

    block_length: int
    template_id: int
    schema_id: int
    version: int


def peek_header(buffer: Buffer) -> MessageHeader:
    """The message header at the start of `buffer`.

    Raises WireError (MALFORMED) for fewer than 8 bytes. Nothing else is checked: dispatch is on
    (schema_id, template_id), and most of what a shared stream carries is for somebody else (M-011).
    """
    if memoryview(buffer).nbytes < HEADER_BYTES:
        raise WireError(WireProblem.MALFORMED, "shorter than a message header")
    return MessageHeader(*_HEADER.unpack_from(buffer))


def header_word(block_length: int, template_id: int, schema_id: int, version: int) -> int:
    """The header as one little-endian u64, to be written or compared at once."""
    return block_length | template_id << 16 | schema_id << 32 | version << 48
