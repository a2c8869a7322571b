"""`shm gc`: remove what drivers that are gone have left behind.

A running driver collects by itself, so this takes the driver's lock and refuses while one runs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import msgspec

from tensor_pool.client.doorbell import sweep_abandoned_bells
from tensor_pool.driver.config.layout import Layout
from tensor_pool.driver.core.configuration import DriverConfig
from tensor_pool.driver.core.ports import DriverLockedError
from tensor_pool.driver.files.garbage import EpochCollector, Leniency
from tensor_pool.driver.files.namespace_lock import NamespaceLock
from tensor_pool.driver.runtime.metrics import DriverMetrics
from tensor_pool.protocol.clock import SystemClock
from tensor_pool.protocol.shm.safe_open import open_directory_beneath

from ..support.connection_options import Connection
from ..support.exit_status import DRIVER_RUNS, FAILED, OK, complain

__all__ = ["collect_garbage"]


class Epoch(msgspec.Struct, frozen=True):
    """One epoch directory."""

    stream_id: int
    epoch: str
    path: str


def collect_garbage(
    connection: Connection, *, keep: int | None, dry_run: bool, as_json: bool
) -> int:
    """Remove the epochs that may go; `keep` 0 spares only those that are too young."""
    config = connection.driver_config()
    layout = Layout.of(config.shm)
    leniency = Leniency(
        keep=config.policies.epoch_gc_keep if keep is None else keep,
        min_age_ns=config.policies.epoch_gc_min_age_ns,
    )
    before: list[Epoch] = []
    after: list[Epoch] = []
    obstacle: OSError | None = None
    try:
        with _locked(layout, config) as is_there:
            if is_there:
                collector = _collector(layout)
                if (owner := _foreign_owner(collector, config)) is not None:
                    complain(owner)
                    return DRIVER_RUNS
                before = _epochs(layout, collector)
                removable, obstacle = _collect(collector, leniency, dry_run=dry_run)
                after = (
                    [one for one in before if (one.stream_id, int(one.epoch)) not in removable]
                    if dry_run
                    else _epochs(layout, collector)
                )
    except DriverLockedError as error:
        complain(f"{error}; it collects by itself")
        return DRIVER_RUNS
    removed = [epoch for epoch in before if epoch not in after]
    bells = 0 if dry_run else sweep_abandoned_bells()
    if as_json:
        document = {"removed": removed, "kept": after, "bells_removed": bells, "dry_run": dry_run}
        print(msgspec.json.format(msgspec.json.encode(document).decode()))
    else:
        for epoch in removed:
            print(f"{'would remove' if dry_run else 'removed'} {epoch.path}")
        what = "to remove" if dry_run else "removed"
        print(f"{len(removed)} epochs {what}, {len(after)} kept, {bells} abandoned bells removed")
    if obstacle is not None:
        complain(f"not everything could be {'looked at' if dry_run else 'removed'}: {obstacle}")
        return FAILED
    return OK


def _collector(layout: Layout) -> EpochCollector:
    return EpochCollector(
        layout,
        SystemClock(),
        DriverMetrics(),
        is_current=lambda stream_id, epoch: False,
        on_removed=lambda stream_id, epoch: None,
    )


def _foreign_owner(collector: EpochCollector, config: DriverConfig) -> str | None:
    """Return a line about a process that keeps an epoch fresh without holding our lock."""
    window_ns = 3 * config.policies.announce_period_ms * 1_000_000
    for stream_id in collector.stream_ids():
        for epoch in collector.epochs(stream_id):
            pid = collector.owner_of_fresh(stream_id, epoch, time.monotonic_ns(), window_ns)
            if pid is not None:
                return (
                    f"process {pid} keeps epoch {epoch} of stream {stream_id} fresh: a driver that"
                    " does not take the lock of ours runs in this namespace; nothing was touched"
                )
    return None


def _collect(
    collector: EpochCollector, leniency: Leniency, *, dry_run: bool
) -> tuple[set[tuple[int, int]], OSError | None]:
    """Streams and epochs that may go, and what stood in the way of some."""
    look = collector.examine if dry_run else collector.collect
    removable: set[tuple[int, int]] = set()
    obstacle = None
    for stream_id in collector.stream_ids():
        found = look(stream_id, time.monotonic_ns(), leniency)
        removable.update((stream_id, epoch) for epoch in found.removable)
        obstacle = found.error or obstacle
    return removable, obstacle


def _epochs(layout: Layout, collector: EpochCollector) -> list[Epoch]:
    return [
        Epoch(stream_id, str(epoch), layout.epoch_dir(stream_id, epoch))
        for stream_id in collector.stream_ids()
        for epoch in collector.epochs(stream_id)
    ]


@contextlib.contextmanager
def _locked(layout: Layout, config: DriverConfig) -> Iterator[bool]:
    """Hold the namespace's lock; false where there is no such namespace."""
    try:
        directory = open_directory_beneath(layout.base_dir, layout.namespace_parts)
    except FileNotFoundError:
        yield False
        return
    try:
        lock = NamespaceLock.take(directory, layout.namespace_dir, file_mode=config.shm.file_mode)
    finally:
        os.close(directory)
    if lock is None:  # its driver has cleaned up this moment
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
