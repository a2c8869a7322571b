"""A store without files: the driver's view of shared memory, with faults on demand.

`SimulatedDisk` outlives a driver, as the directories of a real one do; `SimulatedStore` is one
driver's hold on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tensor_pool.driver.core.configuration import DriverConfig, Profile
from tensor_pool.driver.core.ports import (
    DriverLockedError,
    Metrics,
    PoolRegion,
    ProvisionError,
    ProvisionFailure,
    Regions,
)
from tensor_pool.protocol.clock import SimulatedClock

SUPERBLOCK_BYTES = 64
HEADER_SLOT_BYTES = 256
BASE = "/dev/shm/tensorpool/tensorpool-test/default"


@dataclass
class EpochDirectory:
    """One epoch's directory: its size, when it was made and last stamped."""

    size_bytes: int
    made_ns: int
    activity_ns: int


@dataclass
class SimulatedDisk:
    """The files on disk, and the owner of the lock."""

    capacity_bytes: int = 1 << 40
    epochs: dict[int, dict[int, EpochDirectory]] = field(default_factory=dict)
    locked: bool = False

    @property
    def used_bytes(self) -> int:
        return sum(d.size_bytes for epochs in self.epochs.values() for d in epochs.values())


@dataclass
class StoreFaults:
    """Faults that stay until they are set back."""

    permission: bool = False
    """Provisioning fails with a permission error."""
    slow_ns: int = 0
    """Provisioning takes this long."""
    crash: set[str] = field(default_factory=set)
    """Operations that raise an unforeseen exception."""
    collect_error: bool = False
    """Collection passes end with an OSError."""


class UnforeseenError(Exception):
    """Stands for a bug in a port."""


class SimulatedStore:
    """`ports.ShmStore` in memory; `calls` lists the operations in order."""

    def __init__(
        self,
        disk: SimulatedDisk,
        config: DriverConfig,
        clock: SimulatedClock,
        metrics: Metrics,
        *,
        on_hugetlbfs: bool = False,
    ) -> None:
        self.disk = disk
        self.faults = StoreFaults()
        self.calls: list[tuple[str, int, int]] = []
        self.on_call: Callable[[str, int, int], None] | None = None
        self.current: dict[int, int] = {}
        self.collected: list[tuple[int, int]] = []
        self.is_open = False
        self.on_hugetlbfs = on_hugetlbfs
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._retired: set[tuple[int, int]] = set()
        self._made: set[tuple[int, int]] = set()
        self._highest: dict[int, int] = {}

    def _called(self, operation: str, stream_id: int = 0, epoch: int = 0) -> None:
        self.calls.append((operation, stream_id, epoch))
        if self.on_call is not None:
            self.on_call(operation, stream_id, epoch)
        if operation in self.faults.crash:
            raise UnforeseenError(operation)

    def open(self, now: int) -> None:
        self._called("open")
        if self.disk.locked:
            raise DriverLockedError(BASE)
        self.disk.locked = self.is_open = True
        if self._config.policies.delete_shm_on_startup:
            for stream_id, epochs in self.disk.epochs.items():
                self._highest[stream_id] = max(epochs, default=0)
            self.disk.epochs.clear()

    def close(self, *, discard: bool = False) -> None:
        self._called("close")
        if discard or self._config.policies.cleanup_shm_on_exit:
            for stream_id, epoch in self._made:
                self.disk.epochs.get(stream_id, {}).pop(epoch, None)
        self.current.clear()
        if self.is_open:
            self.disk.locked = self.is_open = False

    def provision(self, stream_id: int, profile: Profile, epoch: int) -> Regions:
        self._called("provision", stream_id, epoch)
        self._clock.advance(self.faults.slow_ns)
        if self.faults.permission:
            raise ProvisionError(ProvisionFailure.OTHER, "mkdir failed: EACCES")
        nslots = profile.header_nslots
        size = SUPERBLOCK_BYTES + nslots * HEADER_SLOT_BYTES
        size += sum(SUPERBLOCK_BYTES + nslots * p.stride_bytes for p in profile.payload_pools)
        if self.free_bytes() < size:
            raise ProvisionError(
                ProvisionFailure.SPACE,
                f"insufficient shm space: need {size} bytes, have {self.free_bytes()}",
                needed_bytes=size,
            )
        now = self._clock.monotonic_ns()
        self.disk.epochs.setdefault(stream_id, {})[epoch] = EpochDirectory(size, now, now)
        self.current[stream_id] = epoch
        self._made.add((stream_id, epoch))
        path = f"{BASE}/{stream_id}/{epoch}"
        return Regions(
            stream_id=stream_id,
            epoch=epoch,
            nslots=nslots,
            header_uri=f"shm:file?path={path}/header.ring",
            pools=tuple(
                PoolRegion(
                    pool_id=p.pool_id,
                    nslots=nslots,
                    stride_bytes=p.stride_bytes,
                    uri=f"shm:file?path={path}/{p.pool_id}.pool",
                )
                for p in profile.payload_pools
            ),
        )

    def retire(self, stream_id: int, epoch: int) -> None:
        self._called("retire", stream_id, epoch)
        if self.current.get(stream_id) == epoch:
            del self.current[stream_id]
        self._retired.add((stream_id, epoch))

    def highest_epoch(self, stream_id: int) -> int:
        return max(self._highest.get(stream_id, 0), *self.disk.epochs.get(stream_id, {}), 0)

    def refresh_activity(self, stream_id: int, epoch: int, now: int) -> None:
        self._called("refresh_activity", stream_id, epoch)
        self.disk.epochs[stream_id][epoch].activity_ns = now

    def collect(self, now: int) -> None:
        self._called("collect")
        self._metrics.inc("gc_passes")
        if self.faults.collect_error:
            self._metrics.inc("gc_errors")
            raise OSError("rmdir failed")
        policies = self._config.policies
        for stream_id, epoch in sorted(self._retired):
            epochs = self.disk.epochs.get(stream_id, {})
            directory = epochs.get(epoch)
            if directory is None:
                self._retired.discard((stream_id, epoch))
                continue
            kept = sorted(epochs)[-policies.epoch_gc_keep :]
            old = now - directory.activity_ns > policies.epoch_gc_min_age_ns
            if epoch not in kept and old and self.current.get(stream_id) != epoch:
                self._retired.discard((stream_id, epoch))
                del epochs[epoch]
                self._highest[stream_id] = max(epoch, self._highest.get(stream_id, 0))
                self.collected.append((stream_id, epoch))
                self._metrics.inc("gc_removed")

    def keep_tree(self) -> None:
        pass

    def has_retired(self) -> bool:
        return bool(self._retired)

    def free_bytes(self) -> int:
        return self.disk.capacity_bytes - self.disk.used_bytes
