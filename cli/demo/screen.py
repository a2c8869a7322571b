"""The output of the demo: a live table on a terminal, a line a second anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from .scoreboard import Scoreboard

__all__ = ["Screen"]

_TABLE_PERIOD_S = 0.2
_LINE_PERIOD_S = 1.0


class Screen:
    """Shows a scoreboard until closed; `say` puts lines above it that stay."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._console = Console(highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._started = time.monotonic()
        self._shown = self._started
        self._showing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hide_board()

    def show_board(self) -> None:
        """From now on the scoreboard is shown whenever `refresh` is called often enough."""
        self._showing = True
        if self._console.is_terminal:
            self._live = Live(self._scoreboard.table(""), console=self._console, auto_refresh=False)
            self._live.start()

    def hide_board(self) -> None:
        """Leave the last state of the scoreboard where it is."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._showing = False

    def say(self, text: str, style: str = "") -> None:
        """A line that stays, with the time since the start."""
        elapsed = time.monotonic() - self._started
        line = f"{elapsed:7.2f} s  {text}"
        if self._console.is_terminal:
            self._console.print(line, style=style or None, markup=False)
        else:
            print(line, flush=True)

    def refresh(self) -> None:
        """Show the scoreboard, when it is time."""
        now = time.monotonic()
        period = _TABLE_PERIOD_S if self._live is not None else _LINE_PERIOD_S
        if not self._showing or now - self._shown < period:
            return
        self._shown = now
        if self._live is not None:
            elapsed = f"{now - self._started:.1f} s, Ctrl-C ends the demo"
            self._live.update(self._scoreboard.table(elapsed), refresh=True)
        else:
            self.say(self._scoreboard.line())

    @staticmethod
    def complain(text: str) -> None:
        """One line on standard error."""
        print(f"tensor-pool demo: {text}", file=sys.stderr, flush=True)
