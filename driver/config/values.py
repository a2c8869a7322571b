"""Reading one configuration value: from a TOML type, or from a variable's text (D-182, D-183).

Every function returns the value or raises ValueError with the text of the problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .records import IdRange

__all__ = ["from_text", "from_toml"]

_BITS = {"u16": 16, "u32": 32, "u64": 64}
_RANGE_FORM = 'expected "start-end" or [start, end]'


def from_toml(kind: str, value: object) -> object:
    """A value of a TOML document, or of the same Python types, as type `kind`.

    >>> from_toml("range", [31000, 31999])
    IdRange(start=31000, end=31999)
    """
    if kind in _BITS:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"expected {kind}")
        return _in_bits(kind, value)
    if kind == "range":
        return _range_from_toml(value)
    if kind == "list":
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ValueError("expected list")
    if isinstance(value, {"str": str, "bool": bool}[kind]):
        return value
    raise ValueError(f"expected {kind}")


def from_text(kind: str, text: str) -> object:
    """The text of an environment variable or of a `--set` as type `kind`.

    >>> from_text("bool", "True"), from_text("u32", "1000")
    (True, 1000)
    """
    if kind in _BITS:
        if not re.fullmatch(r"-?[0-9]+", text):
            raise ValueError(f"expected {kind}")
        if len(text) > 20:
            raise ValueError("out of range")
        return _in_bits(kind, int(text))
    return _FROM_TEXT[kind](text)


def _in_bits(kind: str, value: int) -> int:
    if not 0 <= value < 2 ** _BITS[kind]:
        raise ValueError("out of range")
    return value


def _bool_from_text(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError("expected bool") from None


def _list_from_text(text: str) -> tuple[str, ...]:
    return tuple(text.split(":")) if text else ()


def _range_from_toml(value: object) -> IdRange | None:
    if isinstance(value, str):
        return _range_from_text(value)
    if isinstance(value, IdRange):
        return value
    if not isinstance(value, list | tuple):
        raise ValueError("expected range")
    if not value:
        return None
    ends = [end for end in value if isinstance(end, int) and not isinstance(end, bool)]
    if len(value) != 2 or len(ends) != 2:
        raise ValueError(_RANGE_FORM)
    return IdRange(*ends)


def _range_from_text(text: str) -> IdRange | None:
    if not text.strip():
        return None
    inner = text.strip().removeprefix("[").removesuffix("]")
    match = re.fullmatch(r"\s*(-?[0-9]{1,20})\s*[-,]\s*(-?[0-9]{1,20})\s*", inner)
    if not match:
        raise ValueError(_RANGE_FORM)
    return IdRange(int(match[1]), int(match[2]))


_FROM_TEXT: dict[str, Callable[[str], object]] = {
    "str": str,
    "bool": _bool_from_text,
    "list": _list_from_text,
    "range": _range_from_text,
}
