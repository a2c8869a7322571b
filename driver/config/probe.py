"""Properties of the file system below `shm.base_dir`."""

from __future__ import annotations

import contextlib
import os

from tensor_pool.protocol.shm.hugepages import huge_page_bytes
from tensor_pool.protocol.shm.safe_open import errno_name

from .layout import deepest_existing

__all__ = ["free_bytes_at", "huge_page_bytes_at", "make_base_directory", "usability_problem"]

_BASE_MODE = 0o1777  # as /tmp: each user may have directories in it and change no other
_UNLIMITED = 2**63 - 1


def huge_page_bytes_at(path: str) -> int | None:
    """Page size of the hugetlbfs that `path` is or would be on; None on any other file system.

    A path that cannot be looked at is on no hugetlbfs.
    """
    try:
        fd = os.open(deepest_existing(os.path.realpath(path)), os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return huge_page_bytes(fd)
    finally:
        os.close(fd)


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
    effective_ids = os.access in os.supports_effective_ids
    if not os.access(existing, os.W_OK | os.X_OK, effective_ids=effective_ids):
        return "EACCES"
    return None


def make_base_directory(path: str) -> None:
    """Make the base directory with mode 1777 if it is missing (D-115); raises OSError."""
    canonical = os.path.realpath(path)
    if os.path.isdir(canonical):
        return
    os.makedirs(os.path.dirname(canonical), mode=0o755, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # another driver was faster
        os.mkdir(canonical, 0o700)
        os.chmod(canonical, _BASE_MODE)


def free_bytes_at(path: str) -> int:
    """Free space on the file system of an existing path; raises OSError.

    A tmpfs without a size limit has no blocks to count; it is as good as endless.
    """
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize if status.f_blocks else _UNLIMITED
