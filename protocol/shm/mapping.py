"""One shared mapping of a region file, and how it ends.

Python refuses to close a mapping while a view of it exists (`BufferError`). An application may hold
views for as long as it likes, so closing is split (W-143, C-095): `close()` gives up this object's
own references; the memory and its file descriptor go at once when no view is left, otherwise with
the last view.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import weakref

from . import libc
from .faults_and_forks import MappingGroup, guard_mapping, install_bus_guard

__all__ = ["Mapping"]

_MADV_POPULATE_WRITE = 23  # Linux 5.14; Python has no name for it
_RELEASED = memoryview(b"")
_RELEASED.release()


class Mapping:
    """The first `length` bytes of an open file, mapped shared.

    `buffer` is the mapping as bytes, `words` as aligned native 8-byte words (for commit words and
    the activity stamp, see `commit`), both read-only unless `writable`. `address` is where it lies.
    Raises OSError or ValueError when it cannot be mapped, and OSError when `lock_memory` fails. The
    descriptor may be closed afterwards.
    """

    __slots__ = ("_group", "_mmap", "address", "buffer", "closed", "length", "words", "writable")

    def __init__(
        self,
        fd: int,
        length: int,
        *,
        writable: bool,
        group: MappingGroup | None = None,
        lock_memory: bool = False,
    ) -> None:
        install_bus_guard()
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._mmap: mmap.mmap | None = mmap.mmap(fd, length, mmap.MAP_SHARED, protection)
        self._group = MappingGroup() if group is None else group
        self.length = length
        self.writable = writable
        self.closed = False
        self.buffer = memoryview(self._mmap)
        self.words = self.buffer[: length & ~7].cast("Q")
        self.address = _address_of(self._mmap, writable=writable)
        guard_mapping(self._mmap, self.address, length, self._group)
        try:
            if hasattr(mmap, "MADV_DONTFORK"):
                self._mmap.madvise(mmap.MADV_DONTFORK)
            if lock_memory:
                self.lock()
        except OSError:
            self.close()
            raise

    @property
    def lost(self) -> bool:
        """True once memory of this mapping's group was gone when touched; it now reads as zeros."""
        return self._group.lost

    def file_length(self) -> int:
        """The length of the mapped file now, in bytes; 0 after `close()`."""
        return 0 if self._mmap is None else self._mmap.size()

    def populate(self) -> None:
        """Have every page backed by memory now, without changing contents (writable mappings).

        Raises OSError when there is not enough; where the kernel cannot do it in one call each page
        is touched.
        """
        if self._mmap is None:
            return
        try:
            self._mmap.madvise(_MADV_POPULATE_WRITE)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            import numpy as np

            pages = np.frombuffer(self.buffer, np.uint8)[:: mmap.PAGESIZE]
            pages |= 0

    def lock(self) -> None:
        """Keep the mapping in memory (`mlock`); raises OSError."""
        if self._mmap is not None:
            libc.mlock(self.address, self.length)

    def close(self) -> bool:
        """Give the mapping up; True when it is gone now, False when views keep it for a while."""
        if self._mmap is None:
            return True
        gone = weakref.ref(self._mmap)
        self.closed = True
        for view in (self.words, self.buffer):
            with contextlib.suppress(BufferError):
                view.release()
        self.words = self.buffer = _RELEASED
        # Not mmap.close(), which looks at exported buffers alone: arrays made with
        # np.ndarray(buffer=...) hold the mmap object without one. The last reference unmaps, and
        # the guard forgets the address before that.
        self._mmap = None
        return gone() is None


def _address_of(mapping: mmap.mmap, *, writable: bool) -> int:
    if writable:
        # Without numpy, which the driver needs for nothing else and starts faster without.
        return ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    import numpy as np

    return int(np.frombuffer(mapping, np.uint8, 1).ctypes.data)
