"""A driver of ours with one stream of small frames, and other people's programs beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tensor_pool.driver import (
    DriverConfig,
    DriverTable,
    EmbeddedDriver,
    PoliciesTable,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)

REPOSITORY = Path(__file__).parents[2]
STREAM = 10_000
WORDS = 16
SLOTS = 1 << 14  # more than a second of the fastest stream here: no frame is overwritten unread


@contextmanager
def driver_with_small_frames(directory: Path) -> Iterator[EmbeddedDriver]:
    """A driver of ours, embedded, on the stream numbers that the protocol recommends."""
    config = DriverConfig(
        driver=DriverTable(aeron_dir=str(directory / "aeron")),
        shm=ShmTable(base_dir=str(directory / "pools")),
        policies=PoliciesTable(cleanup_shm_on_exit=True),
        profiles={"small": Profile(header_nslots=SLOTS, payload_pools=(Pool(1, 256),))},
        streams={"left": StreamConfig(stream_id=STREAM, profile="small")},
    )
    with EmbeddedDriver(config) as driver:
        yield driver


def frame(sequence: int) -> np.ndarray:
    """The content that every program here gives to a frame."""
    return np.full(WORDS, sequence, np.uint64)


class Program:
    """A program in a process of its own, whose lines are read as they come."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", *map(str, arguments)],
            cwd=REPOSITORY,
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()

    def line(self, start: str) -> str:
        """The first line with that start; waits for it, at most 60 s."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._starting(start), 60)
        assert found, f"no line {start!r} among {self.lines}"
        return found

    def _starting(self, start: str) -> str:
        return next((line for line in self.lines if line.startswith(start)), "")

    def wait(self) -> str:
        """The last line, when the program has ended without an error."""
        status = self.process.wait(90)
        self._reader.join(10)
        assert status == 0, self.lines
        return self.lines[-1]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
