"""Advisory locks on open files, which the system releases however their process ends."""

from __future__ import annotations

import fcntl

__all__ = ["try_lock"]


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Lock the open file, or return False at once if another open file holds the lock.

    The lock lasts until the last descriptor of the open file is closed. Raises OSError where files
    cannot be locked.
    """
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
