"""Grants and regions that a client must not use, and those that it must."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tensor_pool.protocol.wire import PayloadPool, ShmAttachResponse

__all__ = ["BAD_FILES", "BAD_GRANTS", "make_unusual"]

type Spoil = Callable[[ShmAttachResponse], ShmAttachResponse]


def _with(**changes: Any) -> Spoil:
    return lambda grant: msgspec.structs.replace(grant, **changes)


def _pools(**changes: Any) -> Spoil:
    def spoil(grant: ShmAttachResponse) -> ShmAttachResponse:
        first, *others = grant.payload_pools
        pools = (msgspec.structs.replace(first, **changes), *others)
        return msgspec.structs.replace(grant, payload_pools=pools)

    return spoil


def _repeated_pool(grant: ShmAttachResponse) -> ShmAttachResponse:
    first: PayloadPool = grant.payload_pools[0]
    return msgspec.structs.replace(grant, payload_pools=(first, first))


def _uri(change: Callable[[str], str]) -> Spoil:
    return lambda grant: msgspec.structs.replace(
        grant, header_region_uri=change(grant.header_region_uri)
    )


BAD_GRANTS: dict[str, tuple[str, Spoil]] = {
    "an OK answer without an epoch": ("M-222", _with(epoch=None)),
    "an OK answer without a lease id": ("M-222", _with(lease_id=None)),
    "an OK answer for another stream": ("M-222", _with(stream_id=4_000_000_000)),
    "an OK answer without pools": ("W-013 W-130", _with(payload_pools=())),
    "a pool id twice": ("W-013 W-130", _repeated_pool),
    "three header slots": ("W-011 W-130", _with(header_nslots=3)),
    "a pool with another slot count": ("W-011 W-130", _pools(pool_nslots=4)),
    "header slots of 128 bytes": ("W-130", _with(header_slot_bytes=128)),
    "a stride of 32": ("W-012 W-130", _pools(stride_bytes=32)),
    "a stride of 96": ("W-012 W-130", _pools(stride_bytes=96)),
    "layout version 2": ("W-149 W-133", _with(layout_version=2)),
    "a region URI of another scheme": (
        "W-020",
        _uri(lambda uri: uri.replace("shm:file", "shm:named")),
    ),
    "a relative path": ("W-020 W-030", _uri(lambda uri: uri.replace("path=/", "path="))),
    "a path with ..": (
        "W-030",
        _uri(lambda _: "shm:file?path=/dev/shm/../../etc/passwd"),
    ),
}


def _poke(offset: int, layout: str, value: int, name: str = "header.ring") -> Any:
    def prepare(directory: Path) -> None:
        with (directory / name).open("r+b") as file:
            file.seek(offset)
            file.write(struct.pack(layout, value))

    return prepare


def _shorten(directory: Path) -> None:
    path = directory / "header.ring"
    os.truncate(path, path.stat().st_size - 1)


def _make_link(directory: Path) -> None:
    path = directory / "header.ring"
    path.rename(directory / "elsewhere")
    path.symlink_to(directory / "elsewhere")


def _lead_out(directory: Path) -> None:
    away = Path(tempfile.mkdtemp(prefix="conformance-", dir="/tmp")) / directory.name
    shutil.move(directory, away)
    directory.symlink_to(away)


def _make_directory(directory: Path) -> None:
    (directory / "header.ring").unlink()
    (directory / "header.ring").mkdir()


def _make_fifo(directory: Path) -> None:
    (directory / "header.ring").unlink()
    os.mkfifo(directory / "header.ring")


def _remove(directory: Path) -> None:
    (directory / "1.pool").unlink()


BAD_FILES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a header ring with another magic": ("W-051 W-054", _poke(0, "<Q", 0x31304D4853504F54)),
    "a superblock of layout version 2": ("W-054", _poke(8, "<I", 2)),
    "a superblock of another epoch": ("W-054", _poke(12, "<Q", 5)),
    "a superblock of another stream": ("W-054", _poke(20, "<I", 5)),
    "a superblock of another region type": ("W-054", _poke(24, "<h", 2)),
    "a pool superblock with another id": ("W-054", _poke(26, "<H", 9, "1.pool")),
    "a superblock with another slot count": ("W-054", _poke(28, "<I", 8)),
    "a pool superblock with another stride": ("W-054", _poke(36, "<I", 64, "1.pool")),
    "a header ring a byte too short": ("W-010 W-030", _shorten),
    "a header ring that is a link": ("W-030", _make_link),
    "regions outside the allowed directories": ("W-030 W-221", _lead_out),
    "a directory as a header ring": ("W-030", _make_directory),
    "a FIFO as a header ring": ("W-030", _make_fifo),
    "a pool that does not exist": ("W-030 W-131", _remove),
}


def make_unusual(directory: Path) -> None:
    """Make regions that are right all the same: longer, null slotBytes, stale, odd ring stride."""
    for path in directory.iterdir():
        os.truncate(path, path.stat().st_size + 4096)
        with path.open("r+b") as file:
            is_ring = struct.unpack_from("<h", file.read(64), 24)[0] == 1
            file.seek(36 if is_ring else 32)
            file.write(struct.pack("<I", 77 if is_ring else 2**32 - 1))
            file.seek(56)
            file.write(struct.pack("<Q", 1))
