"""Pauses of a command: the space bar of its terminal, or SIGUSR1."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from types import TracebackType
from typing import Any, Self

from .exit_status import complain
from .signals import Requests, Stop

__all__ = ["Pauses"]

_LOOK_S = 0.05


class Pauses:
    """Holds a command while it is paused.

    Keys are read only in the foreground of a terminal, which gets its own mode back at the end.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._requests = Requests(signal.SIGUSR1)
        self._terminal: int | None = None
        self._mode: list[Any] = []

    def hold(self) -> float:
        """Return the seconds for which the user has paused, 0 if not at all."""
        if not self._is_asked():
            return 0.0
        began = time.monotonic()
        complain("paused; the space bar or SIGUSR1 goes on")
        while not (self._stop.wait(_LOOK_S) or self._is_asked()):
            pass
        return time.monotonic() - began

    def _is_asked(self) -> bool:
        return self._requests.take() or self._space_was_pressed()

    def _space_was_pressed(self) -> bool:
        terminal = self._terminal
        if terminal is None or not _is_in_foreground(terminal):
            return False
        is_ready, _, _ = select.select([terminal], [], [], 0)
        return bool(is_ready) and os.read(terminal, 64).count(b" ") % 2 == 1

    def __enter__(self) -> Self:
        self._requests.__enter__()
        try:
            terminal = sys.stdin.fileno()
        except (OSError, ValueError, AttributeError):  # no standard input
            return self
        if os.isatty(terminal) and _is_in_foreground(terminal):
            self._terminal, self._mode = terminal, termios.tcgetattr(terminal)
            tty.setcbreak(terminal)  # Ctrl-C still is a signal
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._terminal is not None:
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._mode)
        self._requests.__exit__(kind, error, traceback)


def _is_in_foreground(terminal: int) -> bool:
    """Return true if this process may read the terminal: in the background it would be stopped."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
