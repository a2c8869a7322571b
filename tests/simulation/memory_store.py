"""Region files in memory: the store that provisions them, the mapping that shares them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

from tensor_pool.driver.core.configuration import Profile
from tensor_pool.driver.core.ports import Regions
from tensor_pool.protocol.shm.geometry import RegionGeometry
from tensor_pool.protocol.shm.superblock import encode_superblock, set_activity
from tensor_pool.protocol.wire import RegionType
from tests.driver.core.simulated_store import SimulatedDisk, SimulatedStore, UnforeseenError

__all__ = ["MemoryDisk", "MemoryMapping", "MemoryStore"]


@dataclass
class MemoryDisk(SimulatedDisk):
    """A disk whose region files have contents, and a list of who has mapped what."""

    files: dict[tuple[int, int], dict[str, bytearray]] = field(default_factory=dict)
    mapper: str = ""
    """The process that runs now: mappings made are its own."""
    mappings: dict[str, set[MemoryMapping]] = field(default_factory=dict)

    def file(self, path: str) -> bytearray | None:
        """The contents of a region file, None where there is no such file."""
        _, stream_id, epoch, name = path.rsplit("/", 3)
        if int(epoch) not in self.epochs.get(int(stream_id), ()):
            return None
        return self.files[int(stream_id), int(epoch)].get(name)

    def forget(self, process: str) -> None:
        """A process is gone, and its address space with it."""
        self.mappings.pop(process, None)


class MemoryMapping:
    """Like `protocol.shm.mapping.Mapping`, of bytes instead of a file."""

    __slots__ = ("__weakref__", "_data", "_held", "buffer", "closed", "length", "words", "writable")

    def __init__(self, data: bytearray, length: int, writable: bool, disk: MemoryDisk) -> None:
        self._data = data
        self.length = length
        self.writable = writable
        self.closed = False
        view = memoryview(data)[:length]
        self.buffer = view if writable else view.toreadonly()
        self.words = self.buffer.cast("Q")
        self._held = disk.mappings.setdefault(disk.mapper, set())
        self._held.add(self)

    @property
    def lost(self) -> bool:
        return False

    def file_length(self) -> int:
        return len(self._data)

    def close(self) -> bool:
        if not self.closed:
            self.closed = True
            self._held.discard(self)
            for view in (self.words, self.buffer):
                with contextlib.suppress(BufferError):
                    view.release()
        return True


class MemoryStore(SimulatedStore):
    """Provisions epochs that can be mapped; `pid` goes into their superblocks."""

    disk: MemoryDisk

    def __init__(self, disk: MemoryDisk, *args: Any, pid: int) -> None:
        super().__init__(disk, *args)
        self.raised = 0
        """The number of unforeseen exceptions that were raised."""
        self._pid = pid

    def _called(self, operation: str, stream_id: int = 0, epoch: int = 0) -> None:
        self.calls.clear()
        try:
            super()._called(operation, stream_id, epoch)
        except UnforeseenError:
            self.raised += 1
            raise

    def provision(self, stream_id: int, profile: Profile, epoch: int) -> Regions:
        regions = super().provision(stream_id, profile, epoch)
        geometries = [RegionGeometry(stream_id, epoch, regions.nslots)]
        geometries += [
            RegionGeometry(
                stream_id,
                epoch,
                pool.nslots,
                pool.pool_id,
                pool.stride_bytes,
                RegionType.PAYLOAD_POOL,
            )
            for pool in regions.pools
        ]
        uris = [regions.header_uri, *(pool.uri for pool in regions.pools)]
        files = self.disk.files[stream_id, epoch] = {}
        now = self._clock.monotonic_ns()
        for geometry, uri in zip(geometries, uris, strict=True):
            data = bytearray(geometry.length_bytes)
            data[:64] = encode_superblock(geometry, pid=self._pid, now_ns=now)
            files[uri.rsplit("/", 1)[1]] = data
        return regions

    def refresh_activity(self, stream_id: int, epoch: int, now: int) -> None:
        super().refresh_activity(stream_id, epoch, now)
        for data in self.disk.files[stream_id, epoch].values():
            set_activity(memoryview(data)[:64].cast("Q"), now)
