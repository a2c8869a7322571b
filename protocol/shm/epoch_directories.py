"""The epoch directories of a stream as they are found on disk (W-015).

Readers never look for files (W-017); these are for creators and cleaners, which go by what is there
rather than by what they remember. Directories are given as open descriptors, and no link is
followed.
"""

from __future__ import annotations

import os
import re
import stat

from ..wire.frame_descriptor import SUPERBLOCK_BYTES, SUPERBLOCK_MAGIC
from ..wire.generated.control_messages import ShmRegionSuperblock
from .superblock import decode_superblock

__all__ = [
    "HEADER_FILE",
    "decimal_name",
    "numbered_directories",
    "process_is_alive",
    "read_superblock",
]

HEADER_FILE = "header.ring"
_LARGEST_NUMBER = 2**64 - 1


def decimal_name(name: str) -> int | None:
    """The number that a directory name stands for; None for a name this layout never makes.

    >>> decimal_name("10000"), decimal_name("007"), decimal_name("x")
    (10000, None, None)
    """
    if re.fullmatch(r"0|[1-9][0-9]{0,19}", name) and int(name) <= _LARGEST_NUMBER:
        return int(name)
    return None


def numbered_directories(directory: int) -> list[int]:
    """Numbers of the directories in an open one, ascending: a stream's epochs, or a namespace's
    streams. Raises OSError."""
    with os.scandir(directory) as entries:
        numbers = [
            decimal_name(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)
        ]
    return sorted(number for number in numbers if number is not None)


def read_superblock(epoch_directory: int) -> ShmRegionSuperblock | None:
    """Superblock of the header ring in an open epoch directory; None if it is not valid."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(HEADER_FILE, flags, dir_fd=epoch_directory)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        data = os.pread(fd, SUPERBLOCK_BYTES, 0)
    except OSError:
        return None
    finally:
        os.close(fd)
    if len(data) < SUPERBLOCK_BYTES:
        return None
    superblock = decode_superblock(data)
    return superblock if superblock.magic == SUPERBLOCK_MAGIC else None


def process_is_alive(pid: int) -> bool:
    """Return whether a process of that number runs on this host, of any user."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
