"""`shm gc`: remove what drivers that are gone have left behind.

A running driver collects by itself, so this takes the driver's lock and refuses while one runs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import msgspec

from ...client.clock import SystemClock
from ...client.doorbell import sweep_abandoned_bells
from ...client.shm.paths import open_directory_beneath
from ..config import DriverConfig
from ..epoch_gc import EpochCollector, Leniency
from ..layout import Layout
from ..metrics import DriverMetrics
from ..namespace_lock import NamespaceLock
from ..ports import DriverLockedError
from .connecting import Connection
from .outcome import DRIVER_RUNS, FAILED, OK, complain

__all__ = ["collect_garbage"]


class Epoch(msgspec.Struct, frozen=True):
    """One epoch directory."""

    stream_id: int
    epoch: str
    path: str


def collect_garbage(
    connection: Connection, *, keep: int | None, dry_run: bool, as_json: bool
) -> int:
    """Remove old epochs of the configured namespace; all of them with `keep` 0."""
    config = connection.driver_config()
    layout = Layout.of(config.shm)
    try:
        with _locked(layout, config) as is_there:
            before = _epochs(layout) if is_there else []
            obstacle = None
            if is_there and not dry_run:
                obstacle = _collect(layout, config, keep)
            after = _epochs(layout) if is_there else []
            if dry_run:
                after = _would_stay(before, config.policies.epoch_gc_keep if keep is None else keep)
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
        print(f"{len(removed)} epochs removed, {len(after)} kept, {bells} abandoned bells removed")
    if obstacle is not None:
        complain(f"not everything could be removed: {obstacle}")
        return FAILED
    return OK


def _collect(layout: Layout, config: DriverConfig, keep: int | None) -> OSError | None:
    collector = EpochCollector(
        layout,
        SystemClock(),
        DriverMetrics(),
        is_current=lambda stream_id, epoch: False,
        on_removed=lambda stream_id, epoch: None,
    )
    leniency = Leniency(
        keep=config.policies.epoch_gc_keep if keep is None else keep,
        min_age_ns=config.policies.epoch_gc_min_age_ns,
    )
    obstacle = None
    for stream_id in collector.stream_ids():
        obstacle = collector.collect(stream_id, time.monotonic_ns(), leniency).error or obstacle
    return obstacle


def _epochs(layout: Layout) -> list[Epoch]:
    collector = EpochCollector(
        layout,
        SystemClock(),
        DriverMetrics(),
        is_current=lambda stream_id, epoch: False,
        on_removed=lambda stream_id, epoch: None,
    )
    return [
        Epoch(stream_id, str(epoch), layout.epoch_dir(stream_id, epoch))
        for stream_id in collector.stream_ids()
        for epoch in collector.epochs(stream_id)
    ]


def _would_stay(epochs: list[Epoch], keep: int) -> list[Epoch]:
    """The newest of each stream; the age that also protects an epoch is not looked at."""
    by_stream: dict[int, list[Epoch]] = {}
    for epoch in epochs:
        by_stream.setdefault(epoch.stream_id, []).append(epoch)
    return [epoch for of_one in by_stream.values() for epoch in (of_one[-keep:] if keep else [])]


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
