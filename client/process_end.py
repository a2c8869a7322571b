"""The clients of this process, for its end and for its forked children."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol

__all__ = ["CLIENTS"]


class ProcessClient(Protocol):
    """A client, as far as the end of a process concerns it."""

    def _leave_in_a_hurry(self) -> None: ...

    def _disown(self) -> None: ...


CLIENTS: weakref.WeakSet[ProcessClient] = weakref.WeakSet()
"""Every client that is open."""


def _leave_all() -> None:
    for client in list(CLIENTS):
        client._leave_in_a_hurry()


def _disown_all() -> None:
    for client in list(CLIENTS):
        client._disown()
    CLIENTS.clear()


atexit.register(_leave_all)
os.register_at_fork(after_in_child=_disown_all)
