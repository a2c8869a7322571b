"""A line on the terminal that shows how far a command is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

__all__ = ["Progress"]

_PERIOD_S = 1.0


class Progress:
    """A line on standard error, written anew once a second; nothing where that is not a terminal.

    Nothing else may be written to the terminal before `end()`.
    """

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._told = time.monotonic()
        self._is_shown = False

    def show(self, text: Callable[[], str]) -> None:
        """Write the text if it is time to."""
        if not self._is_terminal or time.monotonic() - self._told < _PERIOD_S:
            return
        self._told = time.monotonic()
        self._is_shown = True
        sys.stderr.write(f"\r{text()}\x1b[K")
        sys.stderr.flush()

    def end(self) -> None:
        """Clear the line."""
        if self._is_shown:
            self._is_shown = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
