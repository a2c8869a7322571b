"""Amounts on a command line: a size such as `1GiB`, or a time such as `60s`."""

from __future__ import annotations

import re

import msgspec
import typer

__all__ = ["Amount", "parse_amount"]

_BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_SECONDS = {"S": 1.0, "MIN": 60.0, "H": 3600.0}


class Amount(msgspec.Struct, frozen=True):
    """Bytes or seconds, the other one is None."""

    nbytes: int | None = None
    seconds: float | None = None


def parse_amount(text: str | None) -> Amount | None:
    """Return the amount that an option has; BadParameter for what is none.

    >>> parse_amount("1.5GiB").nbytes, parse_amount("90s").seconds, parse_amount("2 min").seconds
    (1610612736, 90.0, 120.0)
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+) ?([A-Za-z]+)", text)
    unit = match[2].upper() if match else ""
    if match and float(match[1]) > 0 and unit in _BYTES:
        return Amount(nbytes=max(1, round(float(match[1]) * _BYTES[unit])))
    if match and float(match[1]) > 0 and unit in _SECONDS:
        return Amount(seconds=float(match[1]) * _SECONDS[unit])
    raise typer.BadParameter(
        f"{text!r} is neither a size nor a time; give it with its unit, such as 500MiB, 1GiB, 60s,"
        " 10min"
    )
