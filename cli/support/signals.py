"""Ctrl-C and SIGTERM as something a command asks about, so that leases and files end in order."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Self

__all__ = ["Stop", "StopRequestedError"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PAUSE_S = 0.001


class StopRequestedError(KeyboardInterrupt):
    """The user ended a command that was still waiting for something to begin with."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_status = 128 + number


class Stop:
    """Remembers the first signal that asks to end; a second one ends the program at once.

    A signal never raises by itself here: it could arrive within a callback of the transport.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._before: dict[int, signal._HANDLER] = {}

    @property
    def requested(self) -> bool:
        """Whether the user wants the command to end."""
        return self._number is not None

    def check(self) -> None:
        """Raise StopRequestedError if the user wants the command to end."""
        if self._number is not None:
            raise StopRequestedError(self._number)

    def idle(self) -> None:
        """For calls that wait: a short pause, ended by the user's wish to end."""
        self.check()
        time.sleep(_PAUSE_S)

    def wait(self, seconds: float) -> bool:
        """Sleep, at most until a signal comes; whether one has come."""
        deadline = time.monotonic() + seconds
        while not self.requested and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        return self.requested

    def __enter__(self) -> Self:
        # Handlers belong to the main thread; elsewhere (a test) whoever started it stops it.
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._on_signal) for n in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._number is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._number = number
