"""Several arrays in one frame: colours, depth and pose with one time and one sequence (S-134).

The parts are the fields of a NumPy structured dtype. The stream's metadata has the dtype, so that
a consumer needs no agreement beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from .metadata import AttributeValue

__all__ = ["PARTS_KEY", "format_parts", "parse_parts"]

PARTS_KEY: Final = "frame.parts"
_LONGEST_BYTES = 65536


class _Part(msgspec.Struct, frozen=True):
    """One field; `dtype` is NumPy's text for it, little-endian."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


class _Parts(msgspec.Struct, frozen=True):
    nbytes: int
    parts: tuple[_Part, ...]


def format_parts(dtype: np.dtype[Any]) -> tuple[str, str]:
    """Return media type and text of the attribute for a dtype; ValueError if it has no fields."""
    if not dtype.names or dtype.fields is None:
        raise ValueError(f"parts: {dtype} has no fields; give a structured dtype")
    parts = []
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]
        base, shape = field.subdtype or (field, ())
        if base.kind not in "biuf" or base.byteorder == ">":
            raise ValueError(f"parts: field {name!r} is {base}, not little-endian numbers or bools")
        parts.append(_Part(name, base.str, tuple(shape), offset))
    text = msgspec.json.encode(_Parts(dtype.itemsize, tuple(parts))).decode()
    return "application/json", text


def parse_parts(attributes: Mapping[str, AttributeValue] | None) -> np.dtype[Any] | None:
    """Return the dtype that metadata describes; None without one, or for one that is not sound."""
    value = attributes.get(PARTS_KEY) if attributes else None
    if value is None or len(value.value) > _LONGEST_BYTES:
        return None
    try:
        described = msgspec.json.decode(value.value, type=_Parts)
        dtype: np.dtype[Any] = np.dtype(
            {
                "names": [part.name for part in described.parts],
                "formats": [(np.dtype(part.dtype), part.shape) for part in described.parts],
                "offsets": [part.offset for part in described.parts],
                "itemsize": described.nbytes,
            }
        )
        format_parts(dtype)
    except (ValueError, TypeError, OverflowError, msgspec.MsgspecError):
        return None
    return dtype
