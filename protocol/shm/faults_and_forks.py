"""Truncated files and forks: the two things that happen to mappings without Python's doing.

**A file is shortened while mapped.** Touching a page beyond the new end raises SIGBUS, which kills
the process. Checking the length before each access cannot close the gap between check and access,
and no seal applies to a file that was opened by its path. So the fault itself is handled (W-223):
the handler puts private zero pages under *all* regions of the stream that the faulting one belongs
to and marks them lost. The interrupted access goes on and reads zeros, and since the header ring
now reads as zero too, the check of the commit word that every access ends with fails by itself: a
consumer drops the frame, a producer writes into memory that no process reads. Nothing is added to
the path of a good frame. A fault anywhere else goes to the handler that was there before.

The fault is synchronous: it is raised by a plain copy or load on this very thread, never in the
middle of the interpreter's own bookkeeping, so calling back into Python from it is as safe as a C
extension doing so. One case remains open: a thread that is not a Python thread (a pool inside a
numeric library) faults while the thread it works for waits for it with the interpreter lock held.

**The process forks.** The mappings are left out of the child (`MADV_DONTFORK`), so that a child
cannot write frames. But the child still owns Python objects that will unmap those addresses one
day, when something else may live there. So zero pages are put at each address right after the fork.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import threading
import weakref

from . import libc

__all__ = ["MappingGroup", "guard_mapping", "install_bus_guard"]


class MappingGroup:
    """Mappings that stand and fall together: all regions of one stream's epoch."""

    __slots__ = ("__weakref__", "lost")

    def __init__(self) -> None:
        self.lost = False
        """True once a page of one of the mappings was gone when it was touched."""


class _Entry:
    __slots__ = ("address", "end", "group", "mapping")

    def __init__(
        self, address: int, length: int, group: MappingGroup, mapping: weakref.ref[mmap.mmap]
    ) -> None:
        self.address = address
        self.end = address + length
        self.group = group
        self.mapping = mapping


# By address. Single dictionary operations only, which are atomic, since the fault handler and the
# collector can run between any two instructions.
_entries: dict[int, _Entry] = {}


def guard_mapping(mapping: mmap.mmap, address: int, length: int, group: MappingGroup) -> None:
    """Watch a mapping of `length` bytes at `address` until it is unmapped."""

    def forget(_: weakref.ref[mmap.mmap]) -> None:
        # Runs before the memory is unmapped, so the table never holds an address that may be in
        # use for something else.
        _entries.pop(address, None)

    _entries[address] = _Entry(address, length, group, weakref.ref(mapping, forget))


def _void_group_of(address: int) -> bool:
    """Put zero pages under every mapping of the group that `address` lies in."""
    entries = list(_entries.values())
    for entry in entries:
        if entry.address <= address < entry.end:
            break
    else:
        return False
    group = entry.group
    group.lost = True
    done = True
    for other in entries:
        if other.group is group:
            done &= libc.map_zero_pages_at(other.address, other.end - other.address, replace=True)
    return done


_install_lock = threading.Lock()
_previous_action: libc.SignalAction | None = None


def _on_bus_error(number: int, info: int, _context: int | None) -> None:
    code = ctypes.c_int.from_address(info + libc.SIGINFO_CODE_OFFSET).value
    if code == libc.SENT_BY_THREAD and _sender(info) == os.getpid():
        # How a handler that came before us (faulthandler) passes a fault on after it has stepped
        # aside: without the address. On return the access faults again, this time right into here.
        return
    sent_by_kernel = code > 0
    address = ctypes.c_uint64.from_address(info + libc.SIGINFO_ADDRESS_OFFSET).value
    if sent_by_kernel and _void_group_of(address):
        return
    # Not ours: on return the access faults again, this time into the earlier handler.
    if _previous_action is not None:
        libc.set_signal_action(number, _previous_action)
    if not sent_by_kernel:
        libc.raise_signal(number)


def _sender(info: int) -> int:
    return ctypes.c_int.from_address(info + libc.SIGINFO_PID_OFFSET).value


_bus_handler = libc.SignalHandler(_on_bus_error)


def install_bus_guard() -> None:
    """Handle SIGBUS inside guarded mappings; the first call in a process does the work (W-223).

    Handlers that others install later come first from then on and have to pass the signal on, as
    `faulthandler` does (after printing its report).
    """
    global _previous_action
    if sys.platform != "linux":
        return
    with _install_lock:
        if _previous_action is None:
            _previous_action = libc.set_signal_handler(signal.SIGBUS, _bus_handler)


_kept_in_child: list[mmap.mmap] = []


def _after_fork_in_child() -> None:
    global _install_lock
    _install_lock = threading.Lock()
    for entry in list(_entries.values()):
        mapping = entry.mapping()
        if mapping is None:
            continue
        entry.group.lost = True
        if not libc.map_zero_pages_at(entry.address, entry.end - entry.address, replace=False):
            # Something else already lives there; this mapping must never unmap it.
            _kept_in_child.append(mapping)


os.register_at_fork(after_in_child=_after_fork_in_child)
