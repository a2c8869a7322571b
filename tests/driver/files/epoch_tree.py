"""Epoch directories as drivers of other times and processes leave them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tensor_pool.driver.config.layout import user_name
from tensor_pool.protocol.shm.geometry import RegionGeometry
from tensor_pool.protocol.shm.superblock import encode_superblock


def namespace_dir(base_dir: Path, namespace: str = "default") -> Path:
    return base_dir / f"tensorpool-{user_name()}" / namespace


def plant_epoch(
    base_dir: Path,
    stream_id: int,
    epoch: int,
    *,
    pid: int,
    activity_ns: int,
    mtime_ns: int | None = None,
    namespace: str = "default",
) -> Path:
    """An epoch directory with a header ring and a pool, stamped as given."""
    directory = namespace_dir(base_dir, namespace) / str(stream_id) / str(epoch)
    directory.mkdir(parents=True)
    superblock = encode_superblock(RegionGeometry(stream_id, epoch, 4), pid=pid, now_ns=activity_ns)
    (directory / "header.ring").write_bytes(superblock + bytes(1024))
    (directory / "1.pool").write_bytes(bytes(1024))
    if mtime_ns is not None:
        os.utime(directory, ns=(mtime_ns, mtime_ns))
    return directory


def dead_pid() -> int:
    """Number of a process that has just ended."""
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    return child.pid


def epochs(base_dir: Path, stream_id: int, namespace: str = "default") -> list[int]:
    """Epoch directories of a stream, ascending."""
    directory = namespace_dir(base_dir, namespace) / str(stream_id)
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())
