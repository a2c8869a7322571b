"""Ctrl-C and SIGTERM as something the demo asks about, so that it always ends in order."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

__all__ = ["EndRequestedError", "Interruption"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EndRequestedError(Exception):
    """The user wants the demo to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_status = 128 + number


class Interruption:
    """Remembers the first signal that asks to end; further ones change nothing."""

    def __init__(self) -> None:
        self._number: int | None = None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Catch the signals for the duration of a `with` block."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raise EndRequestedError if a signal has come."""
        if self._number is not None:
            raise EndRequestedError(self._number)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._number is None:
            self._number = number
