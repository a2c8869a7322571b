"""The driver core's view of the outside world (D-012).

Machines and the router act only through these; the daemon plugs in Aeron, files and the host's
clocks, tests and the simulator plug in their own.
"""

from __future__ import annotations

import enum
from typing import Protocol

import msgspec

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.errors import TensorPoolError
from tensor_pool.protocol.wire import Message

from .configuration import Profile

__all__ = [
    "Clock",
    "DriverLockedError",
    "Metrics",
    "PoolRegion",
    "ProvisionError",
    "ProvisionFailure",
    "PublishOutcome",
    "Publisher",
    "Regions",
    "ShmStore",
    "Target",
]


class PoolRegion(msgspec.Struct, frozen=True):
    """One payload pool of an epoch as it is announced."""

    pool_id: int
    nslots: int
    stride_bytes: int
    uri: str


class Regions(msgspec.Struct, frozen=True):
    """The provisioned regions of one epoch of one stream."""

    stream_id: int
    epoch: int
    nslots: int
    header_uri: str
    pools: tuple[PoolRegion, ...]


class ProvisionFailure(enum.Enum):
    """Kinds of obstacles to a provisioning."""

    SPACE = "space"  # ENOSPC, EDQUOT or the capacity test: raises the SHM_SPACE condition
    OTHER = "other"


class ProvisionError(Exception):
    """An epoch could not be provisioned; nothing of it is left behind (D-118).

    `text` goes on the wire. `hint` is for the log: the path, and a remedy where there is one.
    """

    def __init__(
        self, kind: ProvisionFailure, text: str, *, needed_bytes: int = 0, hint: str = ""
    ) -> None:
        super().__init__(text)
        self.hint = hint
        self.kind = kind
        self.text = text
        self.needed_bytes = needed_bytes


class DriverLockedError(TensorPoolError):
    """Another driver owns the directory (D-003)."""

    def __init__(self, directory: str) -> None:
        super().__init__(f"another driver is running for {directory}")
        self.directory = directory


class Target(enum.Enum):
    """The driver's two publications."""

    CONTROL = "control"
    ANNOUNCE = "announce"


class PublishOutcome(enum.Enum):
    """The outcome of a publication (D-171)."""

    SENT = "sent"
    QUEUED = "queued"
    DROPPED = "dropped"


class Publisher(Protocol):
    """The way out for every message of the driver."""

    def publish(self, target: Target, message: Message) -> PublishOutcome:
        """Hand one message over, now or later; never blocks."""
        ...


class ShmStore(Protocol):
    """Owner of the region files of every stream in one namespace.

    It counts `gc_passes`, `gc_removed` and `gc_errors` itself, since a provisioning short of space
    also collects.
    """

    @property
    def on_hugetlbfs(self) -> bool:
        """Return whether base_dir lies on a hugetlbfs; known after `open`."""
        ...

    def open(self, now: int) -> None:
        """Canonicalise directories, take the lock, delete or collect as configured.

        Raises DriverLockedError, or OSError; then nothing is held. `highest_epoch` also counts
        epochs deleted here (D-100, D-104).
        """
        ...

    def close(self, *, discard: bool = False) -> None:
        """Drop all mappings, remove files if `cleanup_shm_on_exit`, release the lock (D-128).

        With `discard` this run's files are removed in any case: a start that failed leaves
        nothing behind (D-100).
        """
        ...

    def provision(self, stream_id: int, profile: Profile, epoch: int) -> Regions:
        """Create all regions of an epoch, or raise ProvisionError and leave nothing.

        Raises DriverLockedError if the tree was removed and another driver has the new one (D-115).
        """
        ...

    def retire(self, stream_id: int, epoch: int) -> None:
        """The epoch is no longer current: drop mappings, hand its directory to the collector."""
        ...

    def highest_epoch(self, stream_id: int) -> int:
        """Highest epoch seen on disk for the stream (also if deleted at start), or 0.

        Raises ProvisionError if the disk cannot be read.
        """
        ...

    def refresh_activity(self, stream_id: int, epoch: int, now: int) -> None:
        """Store `now` into the activity stamp of every region of the current epoch (D-131)."""
        ...

    def collect(self, now: int) -> None:
        """One garbage-collection pass (D-124); raises OSError only after doing all it could."""
        ...

    def keep_tree(self) -> None:
        """Make directories and lock anew if they were removed (D-115); fails as `provision`."""
        ...

    def has_retired(self) -> bool:
        """Return whether retired epochs wait for collection."""
        ...

    def free_bytes(self) -> int:
        """Free space of the file system below base_dir."""
        ...


class Metrics(Protocol):
    """Counters and gauges by name (D-185)."""

    def inc(self, name: str, n: int = 1) -> None: ...
    def set(self, name: str, value: int) -> None: ...
