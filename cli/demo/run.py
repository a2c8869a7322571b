"""The base of both demos: child processes, and the wait for their lines."""

from __future__ import annotations

import abc
import contextlib
import queue
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from ..support.signals import Stop
from .children import Child, Line
from .protocol import ConsumerReport, ProducerReport, Ready, WorkerSettings, decode_report
from .scoreboard import Scoreboard
from .screen import Screen
from .stage import ANNOUNCE_PERIOD_S, KEEPALIVE_INTERVAL_S, STREAM_ID

__all__ = ["DemoError", "DemoRun"]

_REPORT_INTERVAL_S = 0.2


class DemoError(Exception):
    """The demo cannot go on; the text has the reason."""


class DemoRun(abc.ABC):
    """One thread. All child processes write into one queue. `_pump` takes lines from it until the
    condition that a step waits for is true, and raises DemoError when a process fails meanwhile.
    """

    def __init__(self, workers: tuple[str, ...], *, rate_hz: float, stop: Stop) -> None:
        self._rate_hz = rate_hz
        self._stop = stop
        self._lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
        self._children: dict[str, Child] = {}
        self._last_words: dict[str, deque[str]] = {}
        self._may_end: set[str] = set()
        self._ready: set[str] = set()
        self._scoreboard = Scoreboard(workers)
        self._screen = Screen(self._scoreboard)

    def _start(self, name: str, command: list[str]) -> None:
        self._stop.check()
        self._last_words[name] = deque(maxlen=5)
        self._children[name] = Child(name, command, self._lines)

    def _configure(
        self, name: str, *, role: str, source_folder: Path, aeron_dir: Path, base_dir: Path
    ) -> None:
        """Send a worker its settings."""
        settings = WorkerSettings(
            role=role,
            source_folder=str(source_folder),
            aeron_dir=str(aeron_dir),
            base_dir=str(base_dir),
            stream_id=STREAM_ID,
            rate_hz=self._rate_hz,
            announce_period_s=ANNOUNCE_PERIOD_S,
            keepalive_interval_s=KEEPALIVE_INTERVAL_S,
            report_interval_s=_REPORT_INTERVAL_S,
        )
        self._children[name].tell(msgspec.json.encode(settings).decode())

    def _pump(self, done: Callable[[], bool], timeout_s: float, awaited: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            self._stop.check()
            with contextlib.suppress(queue.Empty):
                self._take(self._lines.get(timeout=0.05))
            self._take_waiting()
            self._screen.refresh()
            self._check_children()
            if time.monotonic() > deadline:
                raise DemoError(f"waited {timeout_s:.0f} s for {awaited}")

    def _take_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._lines.get_nowait())

    def _check_children(self) -> None:
        for name, child in self._children.items():
            if child.exit_status is not None and name not in self._may_end:
                child.wait(time.monotonic())
                time.sleep(0.1)  # for its last words to arrive
                self._take_waiting()
                words = "; ".join(self._last_words[name]) or "without a word"
                raise DemoError(f"{name} ended with exit status {child.exit_status}: {words}")

    @abc.abstractmethod
    def _take(self, line: Line) -> None:
        """Take a line of a child."""

    def _take_report(self, name: str, text: str) -> None:
        try:
            report = decode_report(text)
        except msgspec.DecodeError:
            self._last_words[name].append(text)
            return
        if isinstance(report, Ready):
            self._ready.add(name)
        else:
            self._on_report(name, report)

    @abc.abstractmethod
    def _on_report(self, name: str, report: ProducerReport | ConsumerReport) -> None:
        """Take a report of a worker."""
