"""Signatures: the checks of functions, guards and events (H-019, H-027)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Any

from ..declarations import Role
from ..states import ANY

_NOT_PLAIN = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def is_plain(function: FunctionType) -> bool:
    """Return True if a call runs the function's body: no coroutine, no generator."""
    return not function.__code__.co_flags & _NOT_PLAIN


def is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def parameters_of(
    role: Role, events: Iterable[object], states: Iterable[object]
) -> tuple[str, ...]:
    """Return the parameters of a function or guard of a declaration (table of section 2)."""
    if role is Role.EVENT:
        return ("self", "arg", "event") if has_any(events) else ("self", "arg")
    if role in (Role.ENTRY, Role.EXIT) and has_any(states):
        return ("self", "state")
    return ("self",)


def takes_argument(role: Role, function: Any, parameters: tuple[str, ...]) -> bool:
    """Return True if an entry or exit handler takes the event's argument too (H-110)."""
    if function is None or role not in (Role.ENTRY, Role.EXIT):
        return False
    return accepts(function, len(parameters) + 1)


def is_delay(seconds: object) -> bool:
    """Return whether a value is a number of seconds that a timer can be given (H-240)."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return False
    return seconds > 0 and math.isfinite(seconds)


def has_any(items: Iterable[object]) -> bool:
    return any(item is ANY for item in items)  # by identity: events may define strange equality


def accepts(function: Any, count: int) -> bool:
    """Return True if a call with exactly `count` positional arguments fits the signature."""
    if isinstance(function, FunctionType) and isinstance(function.__code__, CodeType):
        code = function.__code__
        has_rest = bool(code.co_flags & inspect.CO_VARARGS)
        required = code.co_argcount - len(function.__defaults__ or ())
        keywords = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
        return required <= count and (has_rest or count <= code.co_argcount) and not keywords
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a builtin that does not tell its signature
        return True
    return True
