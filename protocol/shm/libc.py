"""The C library calls that Python does not offer: `mlock`, `fstatfs`, `mmap` at an address,
`sigaction`, `sem_clockwait`.

Structure layouts are those of Linux on x86-64 (glibc and musl agree on them), the only platform
that the commit protocol is cleared for (W-086).
"""

from __future__ import annotations

import ctypes
import os
import sys
import time

__all__ = [
    "HAS_MLOCK",
    "HAS_SEM_CLOCKWAIT",
    "SENT_BY_THREAD",
    "SIGINFO_ADDRESS_OFFSET",
    "SIGINFO_CODE_OFFSET",
    "SIGINFO_PID_OFFSET",
    "SignalAction",
    "SignalHandler",
    "close_semaphore",
    "filesystem_of",
    "map_zero_pages_at",
    "mlock",
    "open_semaphore",
    "raise_signal",
    "set_signal_action",
    "set_signal_handler",
    "wait_at_semaphore",
]

_libc = ctypes.CDLL(None, use_errno=True)

HAS_MLOCK = hasattr(_libc, "mlock")
HAS_SEM_CLOCKWAIT = hasattr(_libc, "sem_clockwait")
"""False with glibc before 2.30 and with musl, whose only bounded wait uses the wall clock."""

SIGINFO_CODE_OFFSET = 8
SIGINFO_ADDRESS_OFFSET = 16
SIGINFO_PID_OFFSET = 16
SENT_BY_THREAD = -6
"""The signal code (SI_TKILL) of what `raise()` sends."""

_SA_SIGINFO = 4

_MAP_PRIVATE = 0x02
_MAP_FIXED = 0x10
_MAP_ANONYMOUS = 0x20
_MAP_NORESERVE = 0x4000
_MAP_FIXED_NOREPLACE = 0x100000
_PROT_READ_WRITE = 0x3
_MAP_FAILED = ctypes.c_void_p(-1).value

# void handler(int signal, siginfo_t *info, void *context)
SignalHandler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class SignalAction(ctypes.Structure):
    """`struct sigaction`."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_byte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class _StatFs(ctypes.Structure):
    # Only the first two members are read; the rest is room for the kernel to write to.
    _fields_ = (
        ("f_type", ctypes.c_long),
        ("f_bsize", ctypes.c_long),
        ("rest", ctypes.c_byte * 240),
    )


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("ns", ctypes.c_long))


_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.sigaction.argtypes = [
    ctypes.c_int,
    ctypes.POINTER(SignalAction),
    ctypes.POINTER(SignalAction),
]
if HAS_MLOCK:
    _libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
if HAS_SEM_CLOCKWAIT:
    _libc.sem_open.restype = ctypes.c_void_p
    _libc.sem_open.argtypes = [ctypes.c_char_p, ctypes.c_int]
    _libc.sem_close.argtypes = [ctypes.c_void_p]
    _libc.sem_clockwait.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_TimeSpec)]


def mlock(address: int, length: int) -> None:
    """Lock `length` bytes at `address` into memory; raises OSError (ENOMEM, EPERM, EAGAIN)."""
    if _libc.mlock(address, length) != 0:
        raise _os_error()


def filesystem_of(fd: int) -> tuple[int, int]:
    """(magic number, block size in bytes) of the file system that `fd` lies on.

    The block size of hugetlbfs is its page size. Raises OSError, also where the platform's
    `struct statfs` is not the one known here.
    """
    if sys.platform != "linux":
        raise OSError("the file system type can be read on Linux only")
    result = _StatFs()
    if _libc.fstatfs(fd, ctypes.byref(result)) != 0:
        raise _os_error()
    return result.f_type & 0xFFFF_FFFF, result.f_bsize


def map_zero_pages_at(address: int, length: int, *, replace: bool) -> bool:
    """Put private zero pages at exactly `address`; False when that was not possible.

    With `replace` whatever is mapped there gives way; without, the call fails unless the range is
    free.
    """
    placement = _MAP_FIXED if replace else _MAP_FIXED_NOREPLACE
    flags = _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE | placement
    got: int | None = _libc.mmap(address, length, _PROT_READ_WRITE, flags, -1, 0)
    return got == address and got != _MAP_FAILED


def set_signal_handler(number: int, handler: ctypes._FuncPointer) -> SignalAction:
    """Install a `SignalHandler` for a signal and return what was installed before."""
    pointer = ctypes.cast(handler, ctypes.c_void_p)
    action = SignalAction(handler=pointer.value, flags=_SA_SIGINFO)
    previous = SignalAction()
    if _libc.sigaction(number, ctypes.byref(action), ctypes.byref(previous)) != 0:
        raise _os_error()
    return previous


def set_signal_action(number: int, action: SignalAction) -> None:
    """Put back what `set_signal_handler` returned."""
    if _libc.sigaction(number, ctypes.byref(action), None) != 0:
        raise _os_error()


def raise_signal(number: int) -> None:
    """Send a signal to the calling thread."""
    getattr(_libc, "raise")(number)  # the name is a keyword


def open_semaphore(name: str) -> int:
    """Open a named semaphore that exists, for `wait_at_semaphore`; raises OSError."""
    semaphore: int | None = _libc.sem_open(name.encode(), 0)
    if not semaphore:
        raise _os_error()
    return semaphore


def wait_at_semaphore(semaphore: int, seconds: float) -> bool:
    """Take one from the semaphore; False after `seconds` of the monotonic clock, or at a signal."""
    until = _TimeSpec(*divmod(time.monotonic_ns() + round(seconds * 1e9), 1_000_000_000))
    taken: int = _libc.sem_clockwait(semaphore, time.CLOCK_MONOTONIC, ctypes.byref(until))
    return taken == 0


def close_semaphore(semaphore: int) -> None:
    """Let go of a semaphore that no thread waits at."""
    _libc.sem_close(semaphore)


def _os_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
