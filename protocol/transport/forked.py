"""Aeron objects in a forked child.

A fork copies the Python objects but not the threads behind them, and both sides then share the
mapped files. Closing or merely collecting such an object in the child signs the *parent* off
at the media driver, or shuts down the parent's embedded media driver. So after a fork the child
lets go of them without ever finalizing them, and any further use raises ForkedProcessError (C-114).
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any, NoReturn, Protocol

from ..errors import ForkedProcessError

__all__ = ["FORKED", "abandon_in_forked_children", "never_finalize"]


class _Abandonable(Protocol):
    def _abandon(self) -> None: ...


_owners: weakref.WeakSet[_Abandonable] = weakref.WeakSet()


def abandon_in_forked_children(owner: _Abandonable) -> None:
    """Have `owner._abandon()` called in every child that this process forks from now on."""
    _owners.add(owner)


def never_finalize(native: object) -> None:
    """Keep a native object alive until the process ends, whatever refers to it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(native))


class _Forked:
    """Stands in for a native object in a forked child."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ForkedProcessError(
            f"{name}: this object belongs to the parent process; make a transport in the child, "
            "and start processes with spawn instead of fork"
        )

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        self.__getattr__("call")


FORKED: Any = _Forked()


def _abandon_all() -> None:
    for owner in list(_owners):
        owner._abandon()
    _owners.clear()


os.register_at_fork(after_in_child=_abandon_all)
