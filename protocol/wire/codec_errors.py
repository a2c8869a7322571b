"""The errors that the codecs raise: what was wrong, and the value seen."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from .errors import WireError, WireProblem

__all__ = [
    "bad_enum",
    "out_of_range",
    "sentinel",
    "truncated_entry",
    "truncated_record",
    "unlisted",
]


def bad_enum(where: str, value: int) -> WireError:
    """A received enum holds a value that is not listed (M-043)."""
    return WireError(WireProblem.BAD_ENUM, f"{where} = {value} is not a listed value")


def truncated_entry(at: int, size: int) -> WireError:
    """A group entry passes the end of the buffer (M-022)."""
    return WireError(WireProblem.MALFORMED, f"group entry at byte {at} runs past the end at {size}")


def truncated_record(what: str, size: int, least: int) -> WireError:
    """Fewer bytes than a record has."""
    return WireError(WireProblem.MALFORMED, f"{what} of {size} bytes, {least} needed")


def unlisted(where: str, value: object) -> ValueError:
    """An enum to be sent holds a value that every receiver would reject."""
    return ValueError(f"{where} = {value!r} is not a listed value")


def sentinel(where: str, value: object) -> ValueError:
    """An optional field to be sent holds the value that stands for its absence."""
    return ValueError(f"{where} = {value!r} means 'not provided' on the wire; pass None instead")


def out_of_range(owners: Iterable[object], codes: Mapping[type, Mapping[str, str]]) -> ValueError:
    """The first field of `owners` (a message and its group entries) that does not fit its type.

    `codes` has the `struct` code of each field, with a trailing `?` where None is allowed.
    """
    for owner in owners:
        for name, code in codes[type(owner)].items():
            value = getattr(owner, name)
            if value is None and code.endswith("?"):
                continue
            values = value if isinstance(value, tuple | list) else (value,)
            try:
                struct.pack("<" + code.rstrip("?"), *values)
            except struct.error as error:
                return ValueError(f"{type(owner).__name__}.{name} = {value!r}: {error}")
    return ValueError("a field does not fit its type")
