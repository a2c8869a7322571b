"""Mapping one region of another process, after all twelve checks of W-030 (C-045)."""

from __future__ import annotations

import os

import msgspec

from ..errors import ShmValidationError
from ..wire.frame_descriptor import SUPERBLOCK_BYTES
from ..wire.generated.control_messages import ShmRegionSuperblock
from .commit_word import require_supported_platform
from .faults_and_forks import MappingGroup
from .geometry import RegionGeometry
from .mapping import Mapping
from .safe_open import AllowedBaseDirs, FilePolicy, errno_name, open_region
from .superblock import (
    activity_of,
    check_activity,
    check_superblock,
    decode_superblock,
)

__all__ = ["Freshness", "MappedRegion", "map_region"]


class Freshness(msgspec.Struct, frozen=True):
    """Ask for an activity stamp not older than `window_ns` at `now_ns` (W-055)."""

    now_ns: int
    window_ns: int


class MappedRegion:
    """A validated, mapped region.

    `buffer` and `words` are the memory (see `Mapping`), read-only for consumers (W-033). `pid` is
    the creator's as it was when the region was mapped (W-056).
    """

    __slots__ = ("geometry", "mapping", "path", "pid")

    def __init__(self, geometry: RegionGeometry, path: str, mapping: Mapping, pid: int) -> None:
        self.geometry = geometry
        self.path = path
        self.mapping = mapping
        self.pid = pid

    @property
    def buffer(self) -> memoryview:
        """The region as bytes; released by `close()`."""
        return self.mapping.buffer

    @property
    def words(self) -> memoryview:
        """The region as aligned native 8-byte words; released by `close()`."""
        return self.mapping.words

    @property
    def closed(self) -> bool:
        """True if `close()` was called; views taken before stay readable memory."""
        return self.mapping.closed

    def superblock(self) -> ShmRegionSuperblock:
        """A private copy of the superblock as it is now."""
        return decode_superblock(bytes(self.mapping.buffer[:SUPERBLOCK_BYTES]))

    def activity_ns(self) -> int:
        """The activity stamp as it is now, ns of the announces' clock."""
        return activity_of(self.mapping.words)

    def check(self) -> ShmRegionSuperblock:
        """Check length and superblock (W-054, W-127); raises ShmValidationError."""
        superblock = self.superblock()
        length = self.mapping.file_length()
        if self.mapping.lost or length < self.geometry.length_bytes:
            raise ShmValidationError(
                self.geometry.name,
                self.path,
                9,
                f"shortened to {length} bytes while mapped",
                f"at least {self.geometry.length_bytes}",
            )
        check_superblock(superblock, self.geometry, self.path)
        return superblock

    def close(self) -> bool:
        """Give the mapping up; True when it is gone now, False when views keep it for a while."""
        return self.mapping.close()


def map_region(
    uri: str,
    expected: RegionGeometry,
    *,
    allowed_base_dirs: AllowedBaseDirs,
    writable: bool,
    require_hugepages: bool = False,
    lock_memory: bool = False,
    freshness: Freshness | None = None,
    policy: FilePolicy | None = None,
    group: MappingGroup | None = None,
) -> MappedRegion:
    """Map the region at `uri` if it passes the twelve steps of W-030.

    `freshness` adds W-055, for a region learned from an announce. Never creates, truncates or
    resizes (W-134). Raises ShmUriError for step 1, ShmValidationError for any other, and
    UnsupportedPlatformError; then nothing stays open or mapped.
    """
    require_supported_platform()
    opened = open_region(
        uri,
        expected,
        allowed_base_dirs=allowed_base_dirs,
        writable=writable,
        require_hugepages=require_hugepages,
        policy=policy,
    )
    try:
        mapping = Mapping(
            opened.fd,
            opened.map_bytes,
            writable=writable,
            group=group,
            lock_memory=lock_memory,
        )
    except (OSError, ValueError, OverflowError) as error:
        seen = errno_name(error) if isinstance(error, OSError) else str(error)
        wanted = "memory that can be mapped and locked" if lock_memory else "a file that maps"
        raise ShmValidationError(expected.name, opened.path, 11, seen, wanted) from error
    finally:
        os.close(opened.fd)
    region = MappedRegion(expected, opened.path, mapping, pid=0)
    try:
        superblock = region.check()
        if freshness is not None:
            check_activity(
                superblock,
                expected,
                opened.path,
                now_ns=freshness.now_ns,
                window_ns=freshness.window_ns,
            )
    except ShmValidationError:
        region.close()
        raise
    region.pid = superblock.pid
    return region
