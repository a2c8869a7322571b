"""Terminals of a page: commands that go on running while the reader types elsewhere.

A `console` block with `title="Terminal 2"` is a terminal of that name. `$ ` starts a command in it
and does not wait for its end; `^C` interrupts the one that runs and waits; other lines are awaited
in its output, in order (`...` stands for any text). A later block of the same title goes on where
the one before it stopped, even without a command.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

PATIENCE_S = 30.0


class Terminal:
    """One terminal; `close` ends whatever runs in it."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = {**environment, "PYTHONUNBUFFERED": "1"}
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._printed = ""
        self._seen = 0

    def run_block(self, text: str, where: str) -> None:
        """Run a block; raise AssertionError that starts with `where`."""
        expected: list[str] = []
        lines = text.splitlines()
        while lines:
            line = lines.pop(0)
            if line.startswith("$ ") or line == "^C":
                self._await(expected, where)
                expected = []
            if line == "^C":
                self._interrupt(where)
            elif line.startswith("$ "):
                command = line[2:]
                while command.endswith("\\"):
                    command = command[:-1] + lines.pop(0).removeprefix("> ").strip()
                self._start(command, where)
            else:
                expected.append(line)
        self._await(expected, where)

    def close(self) -> None:
        """End what runs: politely, then not."""
        if self._process is None:
            return
        for number, patience_s in ((signal.SIGINT, 8), (signal.SIGKILL, 8)):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, number)
                self._process.wait(patience_s)
                break
        if self._reader is not None:
            self._reader.join(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def _start(self, command: str, where: str) -> None:
        if self._process is not None:
            try:  # killed from another terminal, it may need a moment to be gone
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                raise AssertionError(
                    f"{where}: {command!r} is typed while another command runs"
                ) from None
            self.close()
        self._printed, self._seen = "", 0
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._printed += line

    def _interrupt(self, where: str) -> None:
        assert self._process is not None, f"{where}: ^C, but nothing runs"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{where}: ^C did not end it:\n{self._printed}") from None

    def _await(self, lines: list[str], where: str) -> None:
        expected = "\n".join(line.rstrip() for line in lines).strip()
        if not expected:
            return
        parts = (re.escape(part) for part in expected.split("..."))
        pattern = re.compile(f"^{'.*?'.join(parts)}", re.DOTALL | re.MULTILINE)
        deadline = time.monotonic() + PATIENCE_S
        while (match := pattern.search(self._printed, self._seen)) is None:
            ended = self._process is None or self._process.poll() is not None
            if ended and self._reader is not None:
                self._reader.join(PATIENCE_S)
                match = pattern.search(self._printed, self._seen)
                if match is not None:
                    break
            if ended or time.monotonic() > deadline:
                raise AssertionError(
                    f"{where}: the page has\n{expected}\nand the terminal shows\n{self._printed}"
                )
            time.sleep(0.02)
        self._seen = match.end()
