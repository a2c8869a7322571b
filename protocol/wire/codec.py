"""Encode and decode: which message it is, may it be acted on, and the generated function for it.

Receive checks, in this order (M-050): header present; schema handled; template handled; version;
block inside the buffer; block not smaller than the schema's; then the message's own decoder checks
groups and var data, and last the enums. A larger block and bytes after the last item are skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from .codec_entry import Codec
from .codec_errors import out_of_range
from .errors import WireError, WireProblem
from .generated.catalog import CODECS, FIELD_CODES, RECORDS, Message, Record
from .header import HEADER_BYTES, WireBuffer
from .sender_rules import RULES

__all__ = [
    "decode",
    "decode_record",
    "decoder_for",
    "encode",
    "encode_into",
    "encode_record",
    "peek_correlation_id",
]

type _Encode = Callable[[Any], bytes]
type _Check = Callable[[Any], None]

_header = struct.Struct("<HIH").unpack_from  # template and schema as one number: one look-up
_correlation_id = struct.Struct("<q").unpack_from


def _key(codec: Codec) -> int:
    return codec.template_id | codec.schema_id << 16


_BY_TYPE: Final = {codec.kind: codec for codec in CODECS}
_RECORD_BY_TYPE: Final = {codec.kind: codec for codec in RECORDS}
_SENDERS: Final[dict[type, tuple[_Encode, tuple[_Check, ...]]]] = {
    codec.kind: (
        codec.encode,
        tuple(check for check in (codec.check, RULES.get(codec.kind)) if check is not None),
    )
    for codec in CODECS
}
_CORRELATED: Final = {_key(c) for c in CODECS if "correlation_id" in FIELD_CODES[c.kind]}


def decoder_for(
    kinds: Iterable[type[Message]], *, raw_enums: bool = False
) -> Callable[[WireBuffer], Message]:
    """A decoder of just these message classes; other schemas and templates are "not handled here".

    With `raw_enums`, values of enums in ShmAttachRequest and ConsumerHello that are not listed stay
    plain numbers, for a driver to judge (M-043).

    The returned function takes a whole message (bytes, bytearray or a memoryview of bytes) and
    keeps no reference to it (M-053). It raises WireError and nothing else, whatever the bytes.
    """
    codecs = [_BY_TYPE[kind] for kind in kinds]
    schemas = {codec.schema_id for codec in codecs}
    table = {_key(codec): (codec.decode, codec.block_length, codec.version) for codec in codecs}
    find = table.get

    def decode_handled(buffer: WireBuffer) -> Message:
        size = len(buffer)
        if size < HEADER_BYTES:
            raise WireError(WireProblem.MALFORMED, f"{size} bytes, too short for a message header")
        block_length, key, version = _header(buffer)
        entry = find(key)
        if entry is None:
            raise _not_handled(key, schemas)
        decode_body, least, newest = entry
        if version > newest:
            raise WireError(
                WireProblem.UNSUPPORTED_VERSION,
                f"template {key & 0xFFFF} of schema {key >> 16} in version {version}",
            )
        if size < HEADER_BYTES + block_length:
            raise WireError(
                WireProblem.MALFORMED, f"{size} bytes, too short for a block of {block_length}"
            )
        if block_length < least:
            raise WireError(
                WireProblem.MALFORMED, f"block of {block_length} bytes, at least {least} needed"
            )
        return cast("Message", decode_body(buffer, size, block_length, raw_enums))

    return decode_handled


def _not_handled(key: int, schemas: set[int]) -> WireError:
    template_id, schema_id = key & 0xFFFF, key >> 16
    if schema_id in schemas:
        return WireError(
            WireProblem.UNKNOWN_TEMPLATE, f"template {template_id} of schema {schema_id}"
        )
    return WireError(WireProblem.FOREIGN_SCHEMA, f"schema {schema_id}")


_decode_strict: Final = decoder_for(_BY_TYPE)
_decode_raw: Final = decoder_for(_BY_TYPE, raw_enums=True)


def decode(buffer: WireBuffer, *, raw_enums: bool = False) -> Message:
    """Decode one whole message of any schema; see `decoder_for`.

    >>> decode(encode(ShmDetachResponse(77, ResponseCode.OK)))
    ShmDetachResponse(correlation_id=77, code=<ResponseCode.OK: 0>, error_message='')

    Raises WireError with the check that failed as its `reason`.
    """
    return _decode_raw(buffer) if raw_enums else _decode_strict(buffer)


def encode(message: Message, *, checked: bool = True) -> bytes:
    """Encode one message, header included.

    Raises ValueError, naming the field and its value, for what does not fit its type, for a URI or
    text with characters that the wire does not carry, and for what receivers would reject: a value
    that its enum does not list, a null sentinel passed instead of None, a rule of the protocol
    broken (`rules.py`). `checked=False` leaves that last group out; tests use it to send what a
    faulty peer might. An error message is cut at 1024 bytes instead.
    """
    try:
        encode_body, checks = _SENDERS[type(message)]
    except KeyError:
        raise TypeError(f"{type(message).__name__} is not a message") from None
    if checked:
        for check in checks:
            check(message)
    try:
        return encode_body(message)
    except struct.error:
        raise out_of_range(_parts(message), FIELD_CODES) from None


def _parts(owner: object) -> list[object]:
    """A message and the entries of its groups, inner ones included."""
    values = [getattr(owner, name) for name in owner.__struct_fields__]  # type: ignore[attr-defined]
    entries = [item for group in values if isinstance(group, tuple) for item in group]
    inner = (part for item in entries if type(item) in FIELD_CODES for part in _parts(item))
    return [owner, *inner]


def encode_into(message: Message, buffer: bytearray | memoryview, offset: int = 0) -> int:
    """Encode into `buffer` at `offset` and return the number of bytes written.

    Raises as `encode` does, and ValueError when the message does not fit; nothing is written then.
    """
    data = encode(message)
    end = offset + len(data)
    if offset < 0 or end > len(buffer):
        raise ValueError(
            f"{type(message).__name__} needs {len(data)} bytes at {offset} of {len(buffer)}"
        )
    memoryview(buffer)[offset:end] = data
    return len(data)


def peek_correlation_id(buffer: WireBuffer) -> int | None:
    """The correlation id of a message that carries one, even if `decode` rejected it.

    None when the message has none or its 8 bytes are not there. The version is not looked at: this
    is how a driver answers a request from the future, and how a client finds out that a response it
    cannot decode was meant for it.
    """
    if len(buffer) < HEADER_BYTES + 8:
        return None
    block_length, key, _ = _header(buffer)
    if block_length < 8 or key not in _CORRELATED:
        return None
    return cast("int", _correlation_id(buffer, HEADER_BYTES)[0])


def encode_record(record: Record) -> bytes:
    """Encode a shared memory record: a body without a message header.

    Raises ValueError as `encode` does. Never for memory that another process has mapped: see
    `frame_descriptor`.
    """
    try:
        return _RECORD_BY_TYPE[type(record)].encode(record)
    except struct.error:
        raise out_of_range(_parts(record), FIELD_CODES) from None


def decode_record[R: Record](kind: type[R], buffer: WireBuffer) -> R:
    """Decode a copy of a shared memory record; enums stay numbers where they are not listed.

    Raises WireError (MALFORMED) when the buffer is too short.
    """
    codec = _RECORD_BY_TYPE[kind]
    return cast("R", codec.decode(buffer, len(buffer), codec.block_length, True))
