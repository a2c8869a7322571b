"""A stream's region files in a directory of their own, made by the library's creator side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tensor_pool.protocol.shm.create import (
    CreatedRegion,
    CreateOptions,
    create_region,
    make_directories,
)
from tensor_pool.protocol.shm.geometry import PoolGeometry, RegionGeometry, StreamGeometry
from tensor_pool.protocol.shm.mapped_stream import MappedStream, map_stream
from tensor_pool.protocol.shm.region import MappedRegion, map_region
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs
from tensor_pool.protocol.shm.uri import format_region_uri

STREAM_ID = 10000
PID = 4242
NOW_NS = 1_000_000


@dataclass
class Stream:
    """Region files of one epoch and what was announced about them."""

    base: Path
    geometry: StreamGeometry
    created: list[CreatedRegion] = field(default_factory=list)

    @property
    def allowed(self) -> AllowedBaseDirs:
        return AllowedBaseDirs.of([str(self.base)])

    @property
    def header_path(self) -> Path:
        return Path(self.created[0].path)

    def pool_path(self, index: int = 0) -> Path:
        return Path(self.created[1 + index].path)

    def map(self, *, writable: bool = False, **options: object) -> MappedStream:
        return map_stream(
            self.geometry,
            allowed_base_dirs=self.allowed,
            writable=writable,
            **options,  # type: ignore[arg-type]
        )

    def map_header(self, *, writable: bool = False, **options: object) -> MappedRegion:
        return map_region(
            self.geometry.header_uri,
            self.geometry.header_ring(),
            allowed_base_dirs=self.allowed,
            writable=writable,
            **options,  # type: ignore[arg-type]
        )

    def close(self) -> None:
        for region in self.created:
            region.close()


def create_stream(
    base: Path,
    *,
    epoch: int = 7,
    nslots: int = 8,
    strides: tuple[int, ...] = (4096,),
    options: CreateOptions | None = None,
    now_ns: int = NOW_NS,
    pid: int = PID,
) -> Stream:
    """Create header ring and pools `1.pool`, `2.pool`, ... below `base`."""
    canonical = os.path.realpath(base)
    directory = make_directories(
        canonical,
        ("tensorpool-test", "default", str(STREAM_ID), str(epoch)),
        mode=0o770,
        allowed_base_dirs=AllowedBaseDirs.of([canonical]),
    )
    pools = tuple(
        PoolGeometry(pool_id, nslots, stride, format_region_uri(f"{directory.path}/{pool_id}.pool"))
        for pool_id, stride in enumerate(strides, start=1)
    )
    geometry = StreamGeometry(
        stream_id=STREAM_ID,
        epoch=epoch,
        header_nslots=nslots,
        header_uri=format_region_uri(f"{directory.path}/header.ring"),
        pools=pools,
    )
    stream = Stream(base, geometry)
    files: list[tuple[str, RegionGeometry]] = [("header.ring", geometry.header_ring())]
    files += [(f"{pool.pool_id}.pool", geometry.pool(pool)) for pool in pools]
    try:
        for name, region in files:
            stream.created.append(
                create_region(
                    directory,
                    name,
                    region,
                    options=options or CreateOptions(),
                    now_ns=now_ns,
                    pid=pid,
                )
            )
    finally:
        os.close(directory.fd)
    return stream


def open_descriptors() -> int:
    """Count the descriptors that this process has open.

    Deleted semaphores are left out: those of other tests go when the garbage collector comes by.
    """
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the folder's own descriptor is closed by now
            target = os.readlink(f"/proc/self/fd/{name}")
            count += not (target.startswith("/dev/shm/sem.") and target.endswith("(deleted)"))
    return count


def mapped_paths(prefix: str) -> list[str]:
    """The files below `prefix` that this process has mapped, one entry a mapping."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    paths = [line.split(maxsplit=5)[-1] for line in lines]
    return [path for path in paths if path.startswith(prefix)]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Run with another umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
