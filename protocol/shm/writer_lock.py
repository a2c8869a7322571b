"""One writer per stream where no driver sees to it (W-213).

With a driver, its lock on the namespace and the producer's lease keep a second writer away. A
producer that creates the regions itself asks here before it makes its epoch.
"""

from __future__ import annotations

import os

from ..errors import ShmError
from .epoch_directories import numbered_directories, process_is_alive, read_superblock
from .safe_open import open_child_directory, open_directory_beneath
from .superblock import activity_is_fresh

__all__ = ["AnotherWriterError", "require_single_writer"]


class AnotherWriterError(ShmError):
    """A live process writes this stream: `pid`, its epoch directory `path`, and `age_ns`, how long
    ago it refreshed the activity stamp."""

    def __init__(self, pid: int, path: str, age_ns: int) -> None:
        super().__init__(pid, path, age_ns)
        self.pid = pid
        self.path = path
        self.age_ns = age_ns

    def __str__(self) -> str:
        return (
            f"process {self.pid} writes this stream: it refreshed {self.path}"
            f" {max(0, self.age_ns) / 1e9:.1f} s ago; stop it first, or use another stream id or"
            " namespace"
        )


def require_single_writer(
    base: str, parts: tuple[str, ...], *, now_ns: int, window_ns: int
) -> None:
    """Raise AnotherWriterError if another live process keeps the stream's newest epoch fresh.

    `base/part/part/...` is the stream's directory, as for `make_directories`; `now_ns` is read from
    the clock of the stream's announces and `window_ns` is the freshness window, three announce
    periods by default. A stamp that is older, a process that is gone, an epoch of this process, and
    anything that is missing or cannot be read do not count as a writer (W-213).

    Call it right before the first region is created. Two producers that start in the same moment
    may both pass: this finds a mistake, it is not a lock.
    """
    try:
        stream = open_directory_beneath(base, parts)
    except OSError:
        return
    try:
        newest = max(numbered_directories(stream), default=None)
        if newest is None:
            return
        epoch = open_child_directory(stream, str(newest))
    except OSError:
        return
    finally:
        os.close(stream)
    try:
        superblock = read_superblock(epoch)
    finally:
        os.close(epoch)
    if superblock is None or superblock.pid == os.getpid():
        return
    activity_ns = superblock.activity_timestamp_ns
    fresh = activity_is_fresh(activity_ns, now_ns=now_ns, window_ns=window_ns)
    if fresh and process_is_alive(superblock.pid):
        path = "/".join((base, *parts, str(newest)))
        raise AnotherWriterError(superblock.pid, path, now_ns - activity_ns)
