"""Doorbells: how a local producer wakes a consumer that sleeps instead of spinning.

An addition beside the protocol. A consumer owns one bell, a named POSIX semaphore whose name both
sides can work out from the control stream, the stream id and the consumer id. Before it sleeps it
empties the bell, looks for descriptors once more, and waits on the bell for a bounded time. A
producer that has a hello of the consumer rings after each descriptor, but only a bell that is
empty: while the consumer is busy one ring stays in the bell and costs the producer a load instead
of a system call.

Peers without bells lose nothing: a producer finds no bell of such a consumer, and a consumer
without a ring wakes by its bounded wait. The order that this needs, descriptor before the look at
the bell, is one that a processor may swap (store then load). A fence would cost every frame;
instead a consumer that takes a ring goes on looking for a while before it sleeps, until any
descriptor that was on its way by then has arrived, and its wait is bounded all the same.

A process killed with SIGKILL leaves its bell's name behind. Each owner therefore holds a lock on
the bell's file, which ends with the process; a bell without a lock has no owner, and is removed by
the next client that opens one and by producers that notice the silence.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from pathlib import Path

import posix_ipc

from tensor_pool.protocol.file_lock import try_lock
from tensor_pool.protocol.shm.libc import (
    HAS_SEM_CLOCKWAIT,
    close_semaphore,
    open_semaphore,
    wait_at_semaphore,
)

__all__ = ["Bell", "BellRope", "bell_name", "sweep_abandoned_bells"]

_PREFIX = "tensor-pool-bell-"
_DIRECTORY = Path("/dev/shm")  # where Linux keeps named semaphores
_FILE_PREFIX = "sem."
_ATTEMPTS = 5
_LOOK_S = 0.001  # between looks at the bell where the C library has no monotonic wait


def bell_name(aeron_dir: str | None, address: str, stream_id: int, consumer_id: int) -> str:
    """The bell of one consumer; its place of attachment keeps deployments apart."""
    place = hashlib.sha256(f"{aeron_dir or ''}\n{address}".encode()).hexdigest()[:12]
    return f"/{_PREFIX}{place}-{stream_id}-{consumer_id}"


def _file(name: str) -> Path:
    return _DIRECTORY / f"{_FILE_PREFIX}{name[1:]}"


class Bell:
    """The bell a consumer owns and sleeps at. Raises OSError where there cannot be one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._guard = threading.Lock()
        self._is_slept_at = False
        self._closed = False
        self._lock_fd = -1
        _remove_if_abandoned(name)
        try:
            for _ in range(_ATTEMPTS):
                self._semaphore = posix_ipc.Semaphore(name, posix_ipc.O_CREX, mode=0o660)
                if self._lock_file():
                    break
            else:
                raise OSError(f"semaphore {name}: others keep removing it")
        except posix_ipc.Error as error:
            raise OSError(f"semaphore {name}: {error}") from error
        self._waited_at = open_semaphore(name) if HAS_SEM_CLOCKWAIT else 0
        self._pid = os.getpid()

    def _lock_file(self) -> bool:
        """Show that the bell has an owner; False if another client has just removed it unlocked."""
        path = _file(self.name)
        try:
            self._lock_fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            if try_lock(self._lock_fd, shared=True) and os.path.samestat(
                os.fstat(self._lock_fd), os.stat(path)
            ):
                return True
        except FileNotFoundError:
            if not _DIRECTORY.is_dir():
                return True  # semaphores live elsewhere here, and no client removes them
        except OSError:
            pass  # another client is looking at it with a lock of its own
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
        self._semaphore.close()
        with contextlib.suppress(posix_ipc.Error):
            posix_ipc.unlink_semaphore(self.name)
        return False

    def empty(self) -> bool:
        """Take a ring out if there is one, so that the next one wakes; False if there was none."""
        return self._acquire(0)

    def wait(self, seconds: float) -> bool:
        """Sleep until the bell rings, at most `seconds` of the monotonic clock; True if it rang.

        A signal ends the sleep early.
        """
        return self._acquire(seconds)

    def ring(self) -> None:
        """Wake the owner, from any thread."""
        with self._guard:
            if not self._closed:
                self._semaphore.release()

    def close(self) -> None:
        """Remove the name and wake who sleeps here, from any thread.

        In a forked child only this process's own references go.
        """
        with self._guard:
            if self._closed:
                return
            self._closed = True
            if self._is_slept_at:
                self._semaphore.release()  # the sleeper lets go of it
            else:
                self._let_go()
        if os.getpid() == self._pid:
            with contextlib.suppress(posix_ipc.Error):
                posix_ipc.unlink_semaphore(self.name)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _acquire(self, seconds: float) -> bool:
        # The memory of a semaphore must not go while a thread is inside it.
        with self._guard:
            if self._closed:
                return True
            self._is_slept_at = True
        try:
            if seconds > 0:
                return self._sleep(seconds)
            return self._take()
        finally:
            self._wake_up()

    def _sleep(self, seconds: float) -> bool:
        # Not Semaphore.acquire(seconds): that counts by the wall clock, which may be set back.
        if HAS_SEM_CLOCKWAIT:
            return wait_at_semaphore(self._waited_at, seconds)
        until = time.monotonic() + seconds
        while not self._take():
            if (left_s := until - time.monotonic()) <= 0:
                return False
            time.sleep(min(_LOOK_S, left_s))
        return True

    def _take(self) -> bool:
        try:
            self._semaphore.acquire(0)
        except (posix_ipc.BusyError, posix_ipc.SignalError):
            return False
        return True

    def _wake_up(self) -> None:
        with self._guard:
            self._is_slept_at = False
            if self._closed:
                self._let_go()

    def _let_go(self) -> None:
        self._semaphore.close()
        if self._waited_at:
            close_semaphore(self._waited_at)


class BellRope:
    """A producer's hold on a consumer's bell. Raises OSError if the consumer has none."""

    __slots__ = ("_semaphore", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._semaphore = posix_ipc.Semaphore(name)
        except posix_ipc.Error as error:
            raise OSError(f"semaphore {name}: {error}") from error

    @property
    def semaphore(self) -> posix_ipc.Semaphore:
        """For the publishing path: ring by `release()`, but only while `value` is 0."""
        return self._semaphore

    def close(self) -> None:
        """Let go; a bell whose owner is dead is removed."""
        with contextlib.suppress(posix_ipc.Error, ValueError):
            self._semaphore.close()
        _remove_if_abandoned(self.name)


def sweep_abandoned_bells() -> int:
    """Remove the bells of dead processes; returns how many."""
    removed = 0
    with contextlib.suppress(OSError):
        for path in _DIRECTORY.glob(f"{_FILE_PREFIX}{_PREFIX}*"):
            removed += _remove_if_abandoned("/" + path.name.removeprefix(_FILE_PREFIX))
    return removed


def _remove_if_abandoned(name: str) -> bool:
    try:
        fd = os.open(_file(name), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not try_lock(fd):
            return False
        posix_ipc.unlink_semaphore(name)
    except (OSError, posix_ipc.Error):
        return False
    finally:
        os.close(fd)
    return True
