"""Signals that end a command, held until it asks for them: leases and files end in order."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Self

__all__ = ["Requests", "Stop", "StopRequestedError"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PAUSE_S = 0.001


class StopRequestedError(KeyboardInterrupt):
    """A signal ended a command before it was done."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_status = 128 + number


class Stop:
    """The first of SIGINT, SIGTERM and SIGHUP that came while it was entered.

    A signal does not raise by itself: it could arrive within a callback of the transport. A second
    signal ends the program at once, or is ignored with `second_ends=False`.
    """

    def __init__(self, *, second_ends: bool = True) -> None:
        self._second_ends = second_ends
        self._number: int | None = None
        self._before: dict[int, signal._HANDLER] = {}

    @property
    def requested(self) -> bool:
        """True once a signal has asked the command to end."""
        return self._number is not None

    def check(self) -> None:
        """Raise StopRequestedError if a signal has asked the command to end."""
        if self._number is not None:
            raise StopRequestedError(self._number)

    def idle(self) -> None:
        """Pause for a millisecond; raise StopRequestedError if a signal has come."""
        self.check()
        time.sleep(_PAUSE_S)

    def wait(self, seconds: float) -> bool:
        """Sleep, at most until a signal comes; return true if one has come."""
        deadline = time.monotonic() + seconds
        while not self.requested and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        return self.requested

    def __enter__(self) -> Self:
        # Only the main thread may set handlers; a test runs commands in other threads.
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._on_signal) for n in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._number is None:
            self._number = number
        elif self._second_ends:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


class Requests:
    """The number of times that a signal came while this was entered: each one asks for something.

    As with Stop, the command looks for them.
    """

    def __init__(self, number: signal.Signals) -> None:
        self._number = number
        self._count = 0
        self._before: signal._HANDLER = None

    def take(self) -> bool:
        """Return true once for each signal that came."""
        if not self._count:
            return False
        self._count -= 1
        return True

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(self._number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(self._number, self._before)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
