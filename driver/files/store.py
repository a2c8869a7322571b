"""The region files of one namespace: the only code that creates or removes any (D-001).

A `FileStore` holds the namespace's lock while it is open, the superblock page of every region of
the current epochs, and nothing of retired ones. It decides nothing about streams; when an epoch
begins and ends is its caller's business.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.shm.create import CreatedRegion, RegionCreateError, make_directories
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs, errno_name
from tensor_pool.protocol.shm.uri import format_region_uri

from ..config.layout import Layout
from ..config.probe import free_bytes_at, huge_page_bytes_at, make_base_directory
from ..core.configuration import DriverConfig, Profile
from ..core.ports import (
    Metrics,
    PoolRegion,
    ProvisionError,
    ProvisionFailure,
    Regions,
)
from .garbage import EpochCollector, Leniency
from .namespace_lock import NamespaceLock
from .provisioning import EpochBuilder, epoch_bytes, hint_for

__all__ = ["FileStore"]

_log = logging.getLogger(__name__)

_AT_ONCE = 0


class FileStore:
    """`ports.ShmStore` on files."""

    _builder: EpochBuilder
    _collector: EpochCollector
    _allowed: AllowedBaseDirs

    def __init__(self, config: DriverConfig, clock: Clock, metrics: Metrics) -> None:
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._lock: NamespaceLock | None = None
        self._layout = Layout.of(config.shm)
        self._huge_page_bytes: int | None = None
        self._regions: dict[tuple[int, int], list[CreatedRegion]] = {}
        self._created: set[tuple[int, int]] = set()
        # Highest epoch per stream as far as this store has seen any, so that numbers keep rising
        # when the directories are gone (D-104, D-165).
        self._highest: dict[int, int] = {}
        # Streams with epochs to collect, and when the next of them will be old enough.
        self._collect_due_ns: dict[int, int] = {}

    @property
    def on_hugetlbfs(self) -> bool:
        """Return whether regions are backed by huge pages; known after `open`."""
        return self._huge_page_bytes is not None

    def open(self, now: int) -> None:
        """Resolve directories, take the lock, delete or collect as configured (D-100).

        Raises DriverLockedError, RegionCreateError or OSError; then nothing is held.
        """
        shm, policies = self._config.shm, self._config.policies
        make_base_directory(shm.base_dir)
        self._layout = Layout.of(shm)
        self._huge_page_bytes = huge_page_bytes_at(self._layout.base_dir)
        self._allowed = allowed = AllowedBaseDirs(
            tuple(os.path.realpath(path) for path in shm.allowed_base_dirs)
        )
        self._builder = EpochBuilder(self._config, self._layout, allowed)
        self._collector = EpochCollector(
            self._layout,
            self._clock,
            self._metrics,
            is_current=lambda stream_id, epoch: (stream_id, epoch) in self._regions,
            on_removed=lambda stream_id, epoch: self._created.discard((stream_id, epoch)),
        )
        self._lock = self._take_lock(allowed)
        try:
            if policies.delete_shm_on_startup:
                self._delete_all()
            if policies.epoch_gc_on_startup and policies.epoch_gc_enabled:
                self._collect_at_start(now)
        except BaseException:
            self._release_lock()
            raise

    def _collect_at_start(self, now: int) -> None:
        self._collect_due_ns = dict.fromkeys(self._collector.stream_ids(), _AT_ONCE)
        try:
            self.collect(now)
        except OSError as error:  # no reason not to start: it is tried again
            _log.warning(
                "an old epoch could not be collected",
                extra=_about(error, self._layout.namespace_dir),
            )

    def _take_lock(self, allowed: AllowedBaseDirs) -> NamespaceLock:
        while True:
            directory = make_directories(
                self._layout.base_dir,
                self._layout.namespace_parts,
                mode=self._config.shm.directory_mode,
                allowed_base_dirs=allowed,
            )
            try:
                lock = NamespaceLock.take(
                    directory.fd, directory.path, file_mode=self._config.shm.file_mode
                )
            finally:
                os.close(directory.fd)
            if lock is not None:
                return lock

    def keep_tree(self) -> None:
        """Make the directories and the lock anew if they were removed meanwhile (D-115).

        Raises DriverLockedError if another driver has taken the new tree.
        """
        assert self._lock is not None
        if self._lock.is_in(self._layout.namespace_dir):
            return
        try:
            make_base_directory(self._layout.base_dir)
            lock = self._take_lock(self._allowed)
        except OSError as error:
            raise _unreadable(error, self._layout.namespace_dir) from error
        except RegionCreateError as error:
            hint = hint_for(error.error_number, error.path)
            raise ProvisionError(ProvisionFailure.OTHER, error.reason, hint=hint) from error
        _log.warning("%s was removed and is made anew", self._layout.namespace_dir)
        self._lock.release()
        self._lock = lock

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _delete_all(self) -> None:
        for stream_id in self._collector.stream_ids():
            for epoch in self._collector.epochs(stream_id):
                self._highest[stream_id] = epoch
                self._remove(stream_id, epoch)
            self._remove_directory(self._layout.stream_dir(stream_id))

    def _remove(self, stream_id: int, epoch: int) -> None:
        try:
            self._collector.remove(stream_id, epoch)
        except OSError as error:
            self._metrics.inc("gc_errors")
            path = self._layout.epoch_dir(stream_id, epoch)
            _log.warning("epoch directory could not be removed", extra=_about(error, path))

    def _remove_directory(self, path: str) -> None:
        with contextlib.suppress(OSError):  # not empty: files of others are in it
            os.rmdir(path)

    def close(self, *, discard: bool = False) -> None:
        """Drop all mappings, remove this run's files if so configured, release the lock (D-128).

        With `discard` they are removed in any case: a start that failed leaves nothing (D-100).
        """
        for regions in self._regions.values():
            for region in regions:
                region.close()
        self._regions.clear()
        if self._lock is None:
            return
        if discard or self._config.policies.cleanup_shm_on_exit:
            self._clean_up(self._lock)
        self._release_lock()

    def _clean_up(self, lock: NamespaceLock) -> None:
        for stream_id, epoch in sorted(self._created):
            self._remove(stream_id, epoch)
        for stream_id in self._collector.stream_ids():
            self._remove_directory(self._layout.stream_dir(stream_id))
        namespace_dir = self._layout.namespace_dir
        with contextlib.suppress(OSError):
            if len(os.listdir(namespace_dir)) == 1:
                lock.remove_file(namespace_dir)
        self._remove_directory(namespace_dir)
        self._remove_directory(os.path.dirname(namespace_dir))

    def provision(self, stream_id: int, profile: Profile, epoch: int) -> Regions:
        """Create all regions of an epoch, or raise ProvisionError and leave nothing (D-113).

        Where space is short, old epochs are collected once whatever their age and the attempt is
        repeated.
        """
        self.keep_tree()
        needed = epoch_bytes(profile, self._huge_page_bytes)
        try:
            regions = self._try_to_provision(stream_id, profile, epoch, needed)
        except ProvisionError as error:
            if error.kind is not ProvisionFailure.SPACE:
                raise
            self._collect_for_space()
            regions = self._try_to_provision(stream_id, profile, epoch, needed)
        self._regions[stream_id, epoch] = regions
        self._created.add((stream_id, epoch))
        self._highest[stream_id] = max(epoch, self._highest.get(stream_id, 0))
        return self._as_announced(stream_id, profile, epoch)

    def _try_to_provision(
        self, stream_id: int, profile: Profile, epoch: int, needed: int
    ) -> list[CreatedRegion]:
        try:
            free = self.free_bytes()
        except OSError as error:
            raise _unreadable(error, self._layout.base_dir) from error
        if free < needed:
            text = f"insufficient shm space: need {needed} bytes, have {free}"
            raise ProvisionError(ProvisionFailure.SPACE, text, needed_bytes=needed)
        now = self._clock.monotonic_ns()
        return self._builder.build(stream_id, profile, epoch, now=now, needed_bytes=needed)

    def _as_announced(self, stream_id: int, profile: Profile, epoch: int) -> Regions:
        def uri(pool_id: int = 0) -> str:
            path = self._layout.region_path(stream_id, epoch, pool_id)
            return format_region_uri(path, require_hugepages=self.on_hugetlbfs)

        return Regions(
            stream_id=stream_id,
            epoch=epoch,
            nslots=profile.header_nslots,
            header_uri=uri(),
            pools=tuple(
                PoolRegion(
                    pool_id=pool.pool_id,
                    nslots=profile.header_nslots,
                    stride_bytes=pool.stride_bytes,
                    uri=uri(pool.pool_id),
                )
                for pool in profile.payload_pools
            ),
        )

    def retire(self, stream_id: int, epoch: int) -> None:
        """The epoch is no longer current: unmap it and leave its directory to the collector."""
        for region in self._regions.pop((stream_id, epoch), ()):
            region.close()
        if self._config.policies.epoch_gc_enabled:
            self._collect_due_ns[stream_id] = _AT_ONCE

    def highest_epoch(self, stream_id: int) -> int:
        """Highest epoch of the stream on disk, or that this store ever saw there; else 0."""
        try:
            epochs = self._collector.epochs(stream_id)
        except (NotADirectoryError, FileNotFoundError):
            epochs = []  # no epoch is there; provisioning reports the obstacle
        except OSError as error:
            if error.errno == errno.ELOOP:
                epochs = []
            else:
                raise _unreadable(error, self._layout.stream_dir(stream_id)) from error
        return max(self._highest.get(stream_id, 0), *epochs, 0)

    def refresh_activity(self, stream_id: int, epoch: int, now: int) -> None:
        """Stamp every region of a current epoch, one aligned store each (D-131)."""
        for region in self._regions[stream_id, epoch]:
            region.refresh_activity(now)

    def collect(self, now: int) -> None:
        """Collect what was retired and is old enough (D-124, D-126).

        Streams whose next epoch is too young are not looked at, so a pass costs little however
        many streams there are. Raises the last OSError, after having done all that can be done.
        """
        self._metrics.inc("gc_passes")
        policies = self._config.policies
        leniency = Leniency(policies.epoch_gc_keep, policies.epoch_gc_min_age_ns)
        last_error: OSError | None = None
        for stream_id, due_ns in list(self._collect_due_ns.items()):
            if due_ns > now:
                continue
            outcome = self._collector.collect(stream_id, now, leniency)
            last_error = outcome.error or last_error
            if outcome.error is not None:
                self._collect_due_ns[stream_id] = _AT_ONCE
            elif outcome.due_ns is not None:
                self._collect_due_ns[stream_id] = outcome.due_ns
            else:
                # The epochs left are protected by their numbers until the next retirement.
                del self._collect_due_ns[stream_id]
        if last_error is not None:
            raise last_error

    def _collect_for_space(self) -> None:
        """The shortage pass: everything but the current epochs may go, whatever its age (D-126)."""
        if not self._config.policies.epoch_gc_enabled:
            return
        self._metrics.inc("gc_passes")
        now = self._clock.monotonic_ns()
        with_current = {stream_id for stream_id, _ in self._regions}
        for stream_id in self._collector.stream_ids():
            # A stream that has no current epoch has none to spare: its space is of no use to it.
            leniency = Leniency(keep=1 if stream_id in with_current else 0, min_age_ns=-1)
            for epoch in self._collector.epochs(stream_id)[-1:]:
                self._highest[stream_id] = max(epoch, self._highest.get(stream_id, 0))
            if self._collector.collect(stream_id, now, leniency).error is not None:
                self._collect_due_ns[stream_id] = _AT_ONCE

    def has_retired(self) -> bool:
        """Return whether epochs wait to be old enough, or for an obstacle to go away."""
        return bool(self._collect_due_ns)

    def free_bytes(self) -> int:
        """Free space of the file system below base_dir, as far as this user may have it."""
        return free_bytes_at(self._layout.base_dir)


def _unreadable(error: OSError, path: str) -> ProvisionError:
    """Return the error of a directory that cannot be made or read (D-118)."""
    text = f"mkdir failed: {errno_name(error)}"
    return ProvisionError(ProvisionFailure.OTHER, text, hint=hint_for(error.errno, path))


def _about(error: OSError, path: str) -> dict[str, object]:
    return {"error": str(error), "path": path}
