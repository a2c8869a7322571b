"""Child processes: members and daemons, their output, and their holdings."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["Child", "Holdings"]

_REPOSITORY = Path(__file__).parents[2]
_ENDING_S = 20.0


class Holdings:
    """A live process's descriptors, mapped files (`regions` are those of a pool) and memory.

    Anonymous maps come and go with the allocator's arenas; what they hold is in the memory.
    """

    def __init__(self, pid: int, base: str) -> None:
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        maps = [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if " /" in line]
        self.maps = len(maps)
        self.regions = sum(base in line for line in maps)
        status = Path(f"/proc/{pid}/status").read_text()
        self.rss_kib = int(status.split("VmRSS:")[1].split()[0])


class Child:
    """A process whose JSON lines are collected; it ends when its owner does."""

    def __init__(
        self,
        name: str,
        command: list[str],
        errors: BinaryIO,
        *,
        below: tuple[str, ...] = (),
        environ: dict[str, str] | None = None,
    ) -> None:
        """Start Python with `command`, as the child of the command `below` if there is one."""
        self.name = name
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*below, sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=_REPOSITORY,
            env={**os.environ, **(environ or {})},
        )
        self.is_stopped = False
        self.last: dict[str, Any] = {}
        self.is_ready = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self.last = json.loads(line)
            self.is_ready = True

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """SIGSTOP."""
        self.is_stopped = True
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        if self.is_stopped:
            self.is_stopped = False
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; its last words are lost."""
        self.process.kill()
        self._join()

    def end(self) -> int | None:
        """SIGTERM; the exit status, None if it had to be killed.

        A process that was still starting, and did not know of signals yet, counts as ended well.
        """
        was_ready = self.is_ready
        self.go_on()
        self.process.terminate()
        try:
            self.process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGUSR1)  # members say on stderr where they hang
            time.sleep(1.0)
            self.kill()
            return None
        self._join()
        status = self.process.returncode
        return 0 if status == -signal.SIGTERM and not was_ready else status

    def _join(self) -> None:
        self.process.wait()
        self._reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
