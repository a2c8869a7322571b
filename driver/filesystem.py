"""What the driver asks of the file system below `shm.base_dir`."""

from __future__ import annotations

import errno
import os

from ..client.shm.libc import filesystem_of
from .layout import deepest_existing

__all__ = ["errno_name", "hugepage_bytes", "usability_problem"]

_HUGETLBFS_MAGIC = 0x958458F6


def hugepage_bytes(path: str) -> int:
    """Page size of the hugetlbfs that `path` is or would be on; 0 on any other file system (D-120).

    Transparent huge pages do not count. A path that cannot be looked at is on no hugetlbfs.
    """
    try:
        fd = os.open(deepest_existing(os.path.realpath(path)), os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        magic, block_bytes = filesystem_of(fd)
    except OSError:
        return 0
    finally:
        os.close(fd)
    return block_bytes if magic == _HUGETLBFS_MAGIC else 0


def usability_problem(path: str) -> str | None:
    """Errno name of why files cannot be made in `path`, which may have to be made first, or None.

    Nothing is created to find out, so that a validation leaves no trace.
    """
    try:
        existing = deepest_existing(os.path.realpath(path))
        if not os.path.isdir(existing):
            return "ENOTDIR"
        if os.statvfs(existing).f_flag & os.ST_RDONLY:
            return "EROFS"
    except OSError as error:
        return errno_name(error)
    # A daemon may run set-uid; the effective ids are what the kernel will judge by.
    if not os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        return "EACCES"
    return None


def errno_name(error: OSError) -> str:
    """Symbolic name of an OS error, such as `ENOSPC`."""
    return errno.errorcode.get(error.errno or 0, f"errno {error.errno}")
