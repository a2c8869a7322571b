"""A wall clock that a test can step, for one child process, through a preloaded library."""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

__all__ = ["WallClock", "step_to"]

_SOURCE = Path(__file__).with_name("wall_clock.c")


class WallClock:
    """The wall clock of one child process, which can be stepped."""

    def __init__(self, directory: Path) -> None:
        self.library = directory / "wall_clock.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", str(self.library), str(_SOURCE), "-ldl"],
            check=True,
        )
        self.file = directory / "shift"
        self.file.write_bytes(bytes(mmap.PAGESIZE))

    @property
    def environ(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "WALL_CLOCK_FILE": str(self.file)}

    def step(self, seconds: int) -> None:
        step_to(self.file, seconds)


def step_to(file: Path | str, seconds: int) -> None:
    """Have the clock of that file go ahead of the true one by so much."""
    with open(file, "r+b") as opened:
        opened.write(struct.pack("<q", seconds))
