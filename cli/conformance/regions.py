"""Region files as bytes: opened by their URI, read and written without our mapping code."""

from __future__ import annotations

import mmap
import os
import re
import struct
from pathlib import Path
from typing import Self

from tensor_pool.protocol.wire import ShmAttachResponse, ShmPoolAnnounce, ShmRegionSuperblock
from tensor_pool.protocol.wire import decode_record as decode_record

from .check import Broken

__all__ = [
    "ACTIVITY_WORD",
    "MAGIC",
    "Region",
    "Regions",
    "tensor_header",
]

MAGIC = 0x544F504C53484D31
ACTIVITY_WORD = 7
SUPERBLOCK_BYTES, SLOT_BYTES = 64, 256
_URI = re.compile(
    r"shm:file\?path=(/[\x21-\x3e\x40-\x7b\x7d-\x7e]*)(\|require_hugepages=(true|false))?"
)


class Region:
    """One region file, mapped; raises Broken where the URI or the file cannot be used."""

    def __init__(self, uri: str, *, writable: bool = False) -> None:
        found = _URI.fullmatch(uri)
        if found is None or len(uri) > 4096:
            raise Broken(f"{uri[:200]!r} is not a region URI")
        self.path = Path(found[1])
        try:
            descriptor = os.open(
                self.path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC
            )
        except OSError as error:
            raise Broken(f"{self.path}: {error.strerror}") from error
        try:
            self.status = os.fstat(descriptor)
            protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
            self.memory = mmap.mmap(descriptor, self.status.st_size, prot=protection)
        finally:
            os.close(descriptor)
        whole_words = len(self.memory) // 8 * 8
        # Single 8-byte loads and stores, which struct does not give (W-085).
        self.words = memoryview(self.memory)[:whole_words].cast("Q")

    @property
    def superblock(self) -> ShmRegionSuperblock:
        """The superblock, decoded from a copy."""
        return decode_record(ShmRegionSuperblock, self.memory[:SUPERBLOCK_BYTES])

    @property
    def activity_ns(self) -> int:
        """The activity stamp, loaded at once."""
        return self.words[ACTIVITY_WORD]

    def close(self) -> None:
        """Unmap."""
        self.words.release()
        self.memory.close()


class Regions:
    """All regions that an announce or an OK response names, the header ring first."""

    def __init__(
        self, message: ShmAttachResponse | ShmPoolAnnounce, *, writable: bool = False
    ) -> None:
        self.epoch = message.epoch or 0
        self.nslots = message.header_nslots or 0
        self.pools = message.payload_pools
        self.ring = Region(message.header_region_uri, writable=writable)
        self.payloads = [Region(pool.region_uri, writable=writable) for pool in self.pools]

    @property
    def all(self) -> list[Region]:
        """The header ring and the pools."""
        return [self.ring, *self.payloads]

    def write(self, sequence: int, payload: bytes, tensor: bytes) -> None:
        """Write a frame as a producer does (W-081), into the smallest pool that fits."""
        fits = [i for i, pool in enumerate(self.pools) if pool.stride_bytes >= len(payload)]
        index = min(fits, key=lambda i: self.pools[i].stride_bytes)
        slot = sequence & (self.nslots - 1)
        word = (SUPERBLOCK_BYTES + SLOT_BYTES * slot) // 8
        self.ring.words[word] = 2 * sequence
        at = SUPERBLOCK_BYTES + self.pools[index].stride_bytes * slot
        self.payloads[index].memory[at : at + len(payload)] = payload
        body = struct.pack(
            "<IIHIQI26x", len(payload), slot, self.pools[index].pool_id, 0, 2**64 - 1, 0
        )
        at = SUPERBLOCK_BYTES + SLOT_BYTES * slot
        self.ring.memory[at + 8 : at + SLOT_BYTES] = body + tensor
        self.ring.words[word] = 2 * sequence + 1

    def slot(self, sequence: int) -> tuple[int, bytes]:
        """Return the commit word and a copy of the slot of a sequence."""
        slot = sequence & (self.nslots - 1)
        at = SUPERBLOCK_BYTES + SLOT_BYTES * slot
        return self.ring.words[at // 8], self.ring.memory[at : at + SLOT_BYTES]

    def refresh(self, now_ns: int) -> None:
        """Store the activity stamp in every region."""
        for region in self.all:
            region.words[ACTIVITY_WORD] = now_ns

    def close(self) -> None:
        """Unmap everything."""
        for region in self.all:
            region.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def tensor_header(words: int) -> bytes:
    """Return slot bytes 60..255 of a row of unsigned 64-bit integers."""
    return struct.pack(
        "<I4HhhBBBI8i8i109x",
        *(192, 184, 52, 900, 1, 7, 1, 1, 0, 0, 0, words, *[0] * 7, 8, *[0] * 7),
    )
