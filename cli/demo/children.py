"""The demo's child processes: started, listened to, and never left behind.

Each child is in a process group of its own, so that Ctrl-C reaches only the demo, which then ends
its children in order. A child is also tied to the demo by the kernel (`tied`), and ends when the
demo is killed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from typing import IO

import msgspec

__all__ = ["Child", "Line", "end_all", "python_module", "tensor_pool_command"]


class Line(msgspec.Struct, frozen=True):
    """One line a child wrote; `text` is None when `stream` came to its end."""

    child: str
    stream: str  # "stdout" or "stderr"
    text: str | None


def python_module(module: str, *arguments: str) -> list[str]:
    """A command that runs a module of this package with this interpreter."""
    return [sys.executable, "-m", f"{__package__}.{module}", *arguments]


def tensor_pool_command(*arguments: str) -> list[str]:
    """The `tensor-pool` command of this interpreter's environment."""
    script = os.path.join(os.path.dirname(sys.executable), "tensor-pool")
    if os.access(script, os.X_OK):
        return [script, *arguments]
    return [sys.executable, "-c", "from tensor_pool.cli import main; main()", *arguments]


class Child:
    """A running child process whose lines go into a queue that all children share."""

    def __init__(self, name: str, command: Sequence[str], lines: queue.SimpleQueue[Line]) -> None:
        self.name = name
        self._lines = lines
        self._process = subprocess.Popen(
            python_module("tied", str(os.getpid()), *command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,
        )
        for stream, name_of_stream in (
            (self._process.stdout, "stdout"),
            (self._process.stderr, "stderr"),
        ):
            assert stream is not None
            threading.Thread(target=self._read, args=(stream, name_of_stream), daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.poll()

    def tell(self, text: str) -> None:
        """Write a line to its standard input; ignore a child that is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # it is gone; what is left in the buffer goes with it
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        self._process.send_signal(number)

    def wait(self, deadline: float) -> bool:
        """Wait until `deadline` (time.monotonic()) for its end; True when it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        return self.exit_status is not None

    def _read(self, stream: IO[str], name: str) -> None:
        with stream:
            for text in stream:
                self._lines.put(Line(self.name, name, text.rstrip("\n")))
        self._lines.put(Line(self.name, name, None))


def end_all(children: Iterable[Child], patience_s: float) -> list[str]:
    """SIGTERM, then SIGKILL for those still there after `patience_s`, whose names are returned."""
    children = [child for child in children if child.exit_status is None]
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    stubborn = [child for child in children if not child.wait(deadline)]
    for child in stubborn:
        child.signal(signal.SIGKILL)
        child.wait(time.monotonic() + 5)
    return [child.name for child in stubborn]
