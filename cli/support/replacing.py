"""Writing files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["part_of", "replaced"]


def part_of(path: Path) -> Path:
    """Return an unused name beside a file for what will replace it."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that replaces `path` at the end of the block.

    After an error the old file, if there was one, is untouched and the new one is removed. A path
    that is not a regular file, such as /dev/stdout, is written in place.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    target = Path(os.path.realpath(path))  # a symbolic link keeps pointing at its file
    part = part_of(target)
    try:
        with part.open("xb") as file:
            yield file
        if target.exists():
            part.chmod(target.stat().st_mode & 0o7777)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
