"""The choice of epoch directories to remove, and their removal (D-124 to D-128, W-018).

An epoch outlives its use for a while: clients map late, and on a restart the directories are what
keeps epoch numbers rising. The collector looks at the disk each time rather than at what it
remembers, so what a killed predecessor left is collected like everything else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator

import msgspec

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.shm.epoch_directories import (
    HEADER_FILE,
    numbered_directories,
    process_is_alive,
    read_superblock,
)
from tensor_pool.protocol.shm.safe_open import open_directory_beneath

from ..config.layout import Layout
from ..core.ports import Metrics

__all__ = ["EpochCollector", "Leniency", "remove_epoch"]


class Leniency(msgspec.Struct, frozen=True):
    """The protection of epochs that are not current: the newest, and the young."""

    keep: int
    min_age_ns: int


class Pass(msgspec.Struct, frozen=True):
    """The outcome of one pass over a stream's epochs.

    `removable` are the epochs that may go, ascending; `due_ns` is the monotonic time at which the
    next epoch will be old enough, None when no epoch waits for that; `error` the last obstacle met.
    """

    removable: tuple[int, ...] = ()
    due_ns: int | None = None
    error: OSError | None = None


class EpochCollector:
    """Looks at and removes the epochs of one namespace.

    `is_current(stream_id, epoch)` is called before an epoch is collected, `on_removed` after.
    """

    def __init__(
        self,
        layout: Layout,
        clock: Clock,
        metrics: Metrics,
        is_current: Callable[[int, int], bool],
        on_removed: Callable[[int, int], None],
    ) -> None:
        self._layout = layout
        self._clock = clock
        self._metrics = metrics
        self._is_current = is_current
        self._on_removed = on_removed

    def stream_ids(self) -> list[int]:
        """Streams that have a directory in the namespace, ascending."""
        return self._numbered_directories()

    def epochs(self, stream_id: int) -> list[int]:
        """Epochs of a stream that have a directory, ascending."""
        return self._numbered_directories(str(stream_id))

    def collect(self, stream_id: int, now: int, leniency: Leniency) -> Pass:
        """Remove every epoch of a stream that may go (D-124). Errors are counted and returned."""
        found = self.examine(stream_id, now, leniency)
        last_error = found.error
        for epoch in found.removable:
            try:
                self.remove(stream_id, epoch)
            except FileNotFoundError:
                continue
            except OSError as error:
                last_error = self._failed(error).error
        return Pass(found.removable, found.due_ns, last_error)

    def examine(self, stream_id: int, now: int, leniency: Leniency) -> Pass:
        """Look which epochs of a stream may go (D-124), and leave them where they are."""
        removable: list[int] = []
        due_ns: int | None = None
        last_error: OSError | None = None
        try:
            epochs = self.epochs(stream_id)
        except OSError as error:
            return self._failed(error)
        for epoch in epochs[: -leniency.keep] if leniency.keep else epochs:
            if self._is_current(stream_id, epoch):
                continue
            try:
                age_ns = self._age_ns_unless_in_use(stream_id, epoch, now)
                if age_ns is None:
                    continue
                if age_ns > leniency.min_age_ns:
                    removable.append(epoch)
                else:
                    epoch_due_ns = now + leniency.min_age_ns - age_ns + 1
                    due_ns = epoch_due_ns if due_ns is None else min(due_ns, epoch_due_ns)
            except FileNotFoundError:
                continue
            except OSError as error:
                last_error = self._failed(error).error
        return Pass(tuple(removable), due_ns, last_error)

    def remove(self, stream_id: int, epoch: int) -> None:
        """Remove one epoch directory whatever its age; raises OSError if something stays."""
        with self._opened(str(stream_id)) as directory:
            remove_epoch(directory, str(epoch))
        self._metrics.inc("gc_removed")
        self._on_removed(stream_id, epoch)

    def owner_of_fresh(self, stream_id: int, epoch: int, now: int, window_ns: int) -> int | None:
        """Return the living process that owns an epoch, if its stamp is not older than the window.

        None otherwise, and for an epoch that cannot be read.
        """
        with contextlib.suppress(OSError), self._opened(str(stream_id), str(epoch)) as directory:
            superblock = read_superblock(directory)
            if (
                superblock is not None
                and now - superblock.activity_timestamp_ns <= window_ns
                and superblock.pid != os.getpid()
                and process_is_alive(superblock.pid)
            ):
                return superblock.pid
        return None

    def _failed(self, error: OSError) -> Pass:
        self._metrics.inc("gc_errors")
        return Pass(error=error)

    def _age_ns_unless_in_use(self, stream_id: int, epoch: int, now: int) -> int | None:
        """Age of an epoch (D-125); None while another living process owns it."""
        with self._opened(str(stream_id), str(epoch)) as directory:
            superblock = read_superblock(directory)
            modified_ns = os.fstat(directory).st_mtime_ns
        if superblock is not None:
            if superblock.pid != os.getpid() and process_is_alive(superblock.pid):
                return None
            if 0 < superblock.activity_timestamp_ns <= now:
                return now - superblock.activity_timestamp_ns
        # No stamp to go by, or one of an earlier boot: the directory's own age on the wall clock.
        return max(0, self._clock.realtime_ns() - modified_ns)

    def _numbered_directories(self, *parts: str) -> list[int]:
        try:
            with self._opened(*parts) as directory:
                return numbered_directories(directory)
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _opened(self, *parts: str) -> Iterator[int]:
        layout = self._layout
        directory = open_directory_beneath(layout.base_dir, (*layout.namespace_parts, *parts))
        try:
            yield directory
        finally:
            os.close(directory)


def remove_epoch(stream_directory: int, name: str) -> None:
    """Remove an epoch directory and the regular files directly in it (D-127).

    Follows no link and enters no directory; whatever else is inside stays, and with it the epoch
    directory: OSError is raised then. The header ring goes last, so that a directory
    that stays keeps its age. A file that is already gone is not an error.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        directory = os.open(name, flags, dir_fd=stream_directory)
    except FileNotFoundError:
        return
    try:
        for entry in sorted(os.listdir(directory), key=lambda entry: entry == HEADER_FILE):
            if entry == HEADER_FILE and len(os.listdir(directory)) > 1:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), name)
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISREG(os.stat(entry, dir_fd=directory, follow_symlinks=False).st_mode):
                    os.unlink(entry, dir_fd=directory)
    finally:
        os.close(directory)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=stream_directory)
