"""Groups and var data: the parts of a message whose size its sender chooses.

Every reader takes the buffer, where the item starts and where the buffer ends, checks before it
slices, and returns where the next item starts (M-022, M-031). Every writer returns the bytes,
length included, and refuses with ValueError what a reader would reject.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from .errors import WireError, WireProblem
from .header import WireBuffer

__all__ = [
    "ERROR_MESSAGE_BYTES",
    "MAX_GROUP_ENTRIES",
    "MAX_VAR_DATA_BYTES",
    "read_data",
    "read_dimension",
    "read_text",
    "read_trailing_text",
    "read_uri",
    "write_data",
    "write_dimension",
    "write_error_message",
    "write_text",
    "write_uri",
]

MAX_VAR_DATA_BYTES: Final = 1 << 30
MAX_GROUP_ENTRIES: Final = 65534
ERROR_MESSAGE_BYTES: Final = 1024
"""Longer error messages are cut when written (M-204)."""

_LENGTH: Final = Struct("<I")
_DIMENSION: Final = Struct("<HH")
_read_length = _LENGTH.unpack_from
_read_dimension = _DIMENSION.unpack_from


def _end_of(buffer: WireBuffer, at: int, size: int) -> int:
    """End of the var data item whose length stands at `at`."""
    start = at + 4
    if start > size:
        raise WireError(WireProblem.MALFORMED, f"no room for a length at byte {at} of {size}")
    length: int = _read_length(buffer, at)[0]
    if length > MAX_VAR_DATA_BYTES or start + length > size:
        raise WireError(
            WireProblem.MALFORMED, f"{length} bytes at byte {start} run past the message of {size}"
        )
    return start + length


def read_uri(buffer: WireBuffer, at: int, size: int) -> tuple[str, int]:
    """A URI or channel and the next position; any byte outside 0x21..0x7E rejects (M-032)."""
    end = _end_of(buffer, at, size)
    try:
        text = str(buffer[at + 4 : end], "ascii")
    except UnicodeDecodeError:
        text = "\0"
    if text and (not text.isprintable() or " " in text):
        raise WireError(
            WireProblem.MALFORMED, f"byte outside 0x21..0x7E in the URI or channel at byte {at + 4}"
        )
    return text, end


def read_text(buffer: WireBuffer, at: int, size: int) -> tuple[str, int]:
    """Text for people and the next position; one U+FFFD stands for each invalid byte (M-032)."""
    end = _end_of(buffer, at, size)
    return str(buffer[at + 4 : end], "ascii", "replace").replace("\0", "\ufffd"), end


def read_trailing_text(buffer: WireBuffer, at: int, size: int) -> tuple[str, int]:
    """As `read_text`, but empty where the message ends: some senders leave the item out (S-012)."""
    return ("", at) if at == size else read_text(buffer, at, size)


def read_data(buffer: WireBuffer, at: int, size: int) -> tuple[bytes, int]:
    """Raw bytes, copied, and the next position."""
    end = _end_of(buffer, at, size)
    return bytes(buffer[at + 4 : end]), end


def read_dimension(
    buffer: WireBuffer, at: int, size: int, least: int, *, exact: bool = False
) -> tuple[int, int, int]:
    """Block length of the entries, their number, and where the first one starts.

    `least` is the entry block length of the schema: more is skipped, unless it has to be
    `exact` (S-011); less rejects.
    """
    start = at + 4
    if start > size:
        raise WireError(WireProblem.MALFORMED, f"no room for a group at byte {at} of {size}")
    entry_bytes, count = _read_dimension(buffer, at)
    if entry_bytes < least:
        raise WireError(
            WireProblem.MALFORMED, f"group entries of {entry_bytes} bytes, at least {least} needed"
        )
    if exact and entry_bytes != least:
        raise WireError(
            WireProblem.MALFORMED, f"group entries of {entry_bytes} bytes, {least} expected"
        )
    if count > MAX_GROUP_ENTRIES:
        raise WireError(WireProblem.MALFORMED, f"a group of {count} entries")
    return entry_bytes, count, start


def write_dimension(entry_bytes: int, count: int, where: str) -> bytes:
    """The 4 bytes in front of a group's entries (M-020, M-021)."""
    if count > MAX_GROUP_ENTRIES:
        raise ValueError(f"{where} holds {count} entries; at most {MAX_GROUP_ENTRIES} can be sent")
    return _DIMENSION.pack(entry_bytes, count)


def write_uri(text: str, where: str) -> bytes:
    """A URI or channel: printable ASCII without blanks."""
    if text and not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError(f"{where} = {text!r} may only hold printable ASCII without blanks")
    return write_data(text.encode("ascii"), where)


def write_text(text: str, where: str) -> bytes:
    """ASCII text without NUL."""
    if not text.isascii() or "\0" in text:
        raise ValueError(f"{where} = {text!r} may only hold ASCII, and no NUL")
    return write_data(text.encode("ascii"), where)


def write_error_message(text: str) -> bytes:
    """A diagnostic, made to fit: `?` for what is not ASCII, cut at 1024 bytes (M-204).

    A refusal must never fail to go out because of a character in the file name that it quotes.
    """
    raw = text[:ERROR_MESSAGE_BYTES].encode("ascii", "replace").replace(b"\0", b"?")
    return _LENGTH.pack(len(raw)) + raw


def write_data(data: bytes, where: str) -> bytes:
    """Raw bytes with their length."""
    if len(data) > MAX_VAR_DATA_BYTES:
        raise ValueError(f"{where} holds {len(data)} bytes; at most {MAX_VAR_DATA_BYTES} fit")
    return _LENGTH.pack(len(data)) + data
