"""The real code's use of the operating system, replaced for the length of a run.

Chance (client ids, correlation ids, jitter) comes from the seed, region files are bytes in this
process, and no thread sleeps at a doorbell, since a simulated consumer never sleeps. Everything
above those few names is the code that ships: mapping, for instance, still goes through
`map_region` with its superblock checks, only the file underneath is not one.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
from collections.abc import Iterator
from typing import Any, NoReturn
from unittest import mock

from tensor_pool.client import client
from tensor_pool.client.attachment import backoff, identity
from tensor_pool.client.consumer import attachment as consuming
from tensor_pool.client.producer import attachment as producing
from tensor_pool.protocol.errors import ShmValidationError
from tensor_pool.protocol.shm import region as shm_region
from tensor_pool.protocol.shm.geometry import RegionGeometry
from tensor_pool.protocol.shm.safe_open import OpenedRegion
from tensor_pool.protocol.shm.uri import parse_region_uri

from .memory_store import MemoryDisk, MemoryMapping

__all__ = ["Files", "isolated"]


class _Secrets:
    """Stands for the `secrets` module."""

    def __init__(self, chance: random.Random) -> None:
        self.randbelow = chance.randrange


class _Steady(random.Random):
    """Always draws the same: for exploring what order does, without what chance does."""

    def randrange(self, *_: Any) -> int:
        return 0

    def uniform(self, _: float, high: float) -> float:
        return high


def _no_bell(*_: object, **__: object) -> NoReturn:
    raise OSError("no thread sleeps in a simulation")


class Files:
    """Stands for opening and mapping files: descriptors of /dev/null that name bytes of a disk."""

    def __init__(self, disk: MemoryDisk, null_fd: int) -> None:
        self.disk = disk
        self._null_fd = null_fd
        self._opened: dict[int, bytearray] = {}

    def open_region(
        self, uri: str, region: RegionGeometry, *, writable: bool, **_: object
    ) -> OpenedRegion:
        path = parse_region_uri(uri).path
        data = self.disk.file(path)
        if data is None:
            raise ShmValidationError(region.name, path, 4, "ENOENT", "an existing file")
        if len(data) < region.length_bytes:
            wanted = f"at least {region.length_bytes}"
            raise ShmValidationError(region.name, path, 9, f"{len(data)} bytes", wanted)
        fd = os.dup(self._null_fd)
        self._opened[fd] = data
        return OpenedRegion(fd, path, region.length_bytes)

    def map_file(self, fd: int, length: int, *, writable: bool, **_: object) -> MemoryMapping:
        return MemoryMapping(self._opened.pop(fd), length, writable, self.disk)


@contextlib.contextmanager
def isolated(disk: MemoryDisk, seed: int | None) -> Iterator[Files]:
    """Run simulated processes inside; `disk` holds their region files.

    Without a seed nothing is left to chance. Another disk may be put into what is yielded.
    """
    chance = random.Random(f"{seed}/secrets") if seed is not None else _Steady()
    null_fd = os.open(os.devnull, os.O_RDONLY)
    files = Files(disk, null_fd)
    replaced: list[tuple[Any, str, object]] = [
        (identity, "secrets", _Secrets(chance)),
        (backoff, "_random", chance),
        (consuming, "Bell", _no_bell),
        (producing, "BellRope", _no_bell),
        (client, "sweep_abandoned_bells", lambda: 0),
        (shm_region, "open_region", files.open_region),
        (shm_region, "Mapping", files.map_file),
    ]
    logged = logging.root.manager.disable
    collecting = gc.isenabled()
    logging.disable(logging.CRITICAL)
    gc.disable()  # a pause at a random moment would be the only thing here that is not repeatable
    try:
        with contextlib.ExitStack() as stack:
            for module, name, stand_in in replaced:
                stack.enter_context(mock.patch.object(module, name, stand_in))
            yield files
    finally:
        logging.disable(logged)
        if collecting:
            gc.enable()
        os.close(null_fd)
