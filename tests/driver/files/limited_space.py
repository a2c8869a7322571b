"""A directory that behaves as if it were a file system of its own, with little space."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

_PAGE = 4096


def limit_space(monkeypatch: pytest.MonkeyPatch, directory: Path, size_bytes: int) -> None:
    """Let `statvfs` and `posix_fallocate` know about `size_bytes` below `directory`."""
    real_statvfs, real_fallocate = os.statvfs, os.posix_fallocate

    def used() -> int:
        paths = [path for path in directory.rglob("*") if path.is_file()]
        return sum(path.stat().st_blocks * 512 for path in paths)

    class Limited:
        def __init__(self, status: os.statvfs_result) -> None:
            self.f_frsize = self.f_bsize = _PAGE
            self.f_blocks = size_bytes // _PAGE
            self.f_bavail = self.f_bfree = max(0, size_bytes - used()) // _PAGE
            self.f_flag = status.f_flag

    def statvfs(path: Any) -> Any:
        status = real_statvfs(path)
        inside = isinstance(path, str) and Path(path).is_relative_to(directory)
        return Limited(status) if inside else status

    def posix_fallocate(fd: int, offset: int, length: int) -> None:
        inside = Path(os.readlink(f"/proc/self/fd/{fd}")).is_relative_to(directory)
        if inside and used() + length > size_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real_fallocate(fd, offset, length)

    monkeypatch.setattr(os, "statvfs", statvfs)
    monkeypatch.setattr(os, "posix_fallocate", posix_fallocate)
