"""One driver per namespace directory: an exclusive lock on `.driver.lock` in it (D-003).

The lock belongs to the open file, so the system releases it however the process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref

from tensor_pool.protocol.file_lock import try_lock

from ..config.layout import LOCK_FILE
from ..core.ports import DriverLockedError

__all__ = ["NamespaceLock"]

_OPEN_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class NamespaceLock:
    """A held lock on the namespace directory open as `directory`, until `release()`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        _held.add(self)

    @classmethod
    def take(cls, directory: int, path: str, *, file_mode: int) -> NamespaceLock | None:
        """Lock, or None when the directory must be looked up again.

        The latter happens when a driver that cleaned up behind itself removed the file between
        our opening and locking it. Raises DriverLockedError, having changed nothing, when another
        driver holds the lock.
        """
        with contextlib.ExitStack() as undo:
            fd = os.open(LOCK_FILE, _OPEN_LOCK, 0o600, dir_fd=directory)
            undo.callback(os.close, fd)
            if not try_lock(fd):
                raise DriverLockedError(path)
            if not _is_named(fd, directory):
                return None
            os.fchmod(fd, file_mode)
            undo.pop_all()
        return cls(fd)

    def is_in(self, directory_path: str) -> bool:
        """Return whether the lock file still stands in its directory."""
        try:
            named = os.lstat(f"{directory_path}/{LOCK_FILE}")
        except OSError:
            return False
        return os.path.samestat(os.fstat(self._fd), named)

    def remove_file(self, directory_path: str) -> None:
        """Remove the lock file while it is held: no process can lock a file without a name."""
        with contextlib.suppress(OSError):
            os.unlink(f"{directory_path}/{LOCK_FILE}")

    def release(self) -> None:
        """Let the next driver in; harmless when done already."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self.forget()
            _held.discard(self)

    def forget(self) -> None:
        """Close the file without unlocking: what a forked child does with its parent's lock.

        A child that kept it open would hold the lock beyond a killed parent.
        """
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _is_named(fd: int, directory: int) -> bool:
    try:
        named = os.stat(LOCK_FILE, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(fd), named)


_held: weakref.WeakSet[NamespaceLock] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for lock in list(_held):
        lock.forget()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
