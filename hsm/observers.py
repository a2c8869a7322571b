"""Several observers of the same machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .tracing import HOOK_NAMES

__all__ = ["observed_by"]

# Beside the trace hooks, what `Coverage` is told.
_NAMES = (*HOOK_NAMES, "_hsm_edge_taken")


def observed_by(*observers: object) -> object:
    """One observer that passes on to several, in order; a hook that none of them has stays absent.

    What the machine is to be observed by at once: a `Coverage`, a log, a display (H-171).

    >>> class Counts:
    ...     entries = 0
    ...     def trace_entry(self, machine, state):
    ...         self.entries += 1
    >>> one, other = Counts(), Counts()
    >>> observed_by(one, other).trace_entry(None, None)
    >>> one.entries, other.entries
    (1, 1)
    """
    return observers[0] if len(observers) == 1 else _Several(observers)


class _Several:
    def __init__(self, observers: tuple[object, ...]) -> None:
        for name in _NAMES:
            hooks = [getattr(observer, name) for observer in observers if hasattr(observer, name)]
            if hooks:
                setattr(self, name, hooks[0] if len(hooks) == 1 else _in_turn(hooks))


def _in_turn(hooks: list[Callable[..., Any]]) -> Callable[..., None]:
    def call_all(*arguments: Any) -> None:
        for hook in hooks:
            hook(*arguments)

    return call_all
