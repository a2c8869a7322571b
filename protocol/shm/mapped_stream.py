"""All regions of one epoch of a stream, mapped together or not at all (W-131, W-132).

A `MappedStream` is never repaired: when its epoch ends or a check fails it is retired, and a new
one is mapped. Frames that were handed out keep their memory readable until the application lets go
of them (W-143), but `retired` shows them that it no longer counts.
"""

from __future__ import annotations

import enum

from ..errors import ShmValidationError
from .faults_and_forks import MappingGroup
from .geometry import RegionGeometry, StreamGeometry
from .region import Freshness, MappedRegion, map_region
from .safe_open import AllowedBaseDirs, FilePolicy
from .superblock import activity_is_fresh, set_activity

__all__ = ["MappedStream", "Revalidation", "map_stream"]


class Revalidation(enum.Enum):
    """Outcome of looking at mapped regions again (W-127)."""

    VALID = "valid"
    SUPERBLOCK = "superblock"
    """A field, the set of pools or a file's length no longer matches: unmap and map again."""
    PID_CHANGED = "pid changed"
    """Another writer took over: wait for a strictly higher epoch (W-146)."""
    STALE_ACTIVITY = "stale activity"
    """The regions are no longer refreshed: unmap and wait (W-145)."""


class MappedStream:
    """The mapped regions of one epoch.

    `header` is the header ring, `pools` the payload pools by pool id in announced order. `retired`
    is set by `retire()` and never cleared.
    """

    __slots__ = ("_group", "diagnostic", "geometry", "header", "pools", "retired")

    def __init__(
        self,
        geometry: StreamGeometry,
        header: MappedRegion,
        pools: dict[int, MappedRegion],
        group: MappingGroup,
    ) -> None:
        self.geometry = geometry
        self.header = header
        self.pools = pools
        self.retired = False
        self.diagnostic = ""
        self._group = group

    @property
    def epoch(self) -> int:
        """The epoch that the regions belong to."""
        return self.geometry.epoch

    @property
    def lost(self) -> bool:
        """True once a file was found shortened; all memory of the stream then reads as zeros."""
        return self._group.lost

    def regions(self) -> tuple[MappedRegion, ...]:
        """Header ring first, then the pools in their order."""
        return (self.header, *self.pools.values())

    def revalidate(self, announced: StreamGeometry, freshness: Freshness | None) -> Revalidation:
        """Compare the mapped regions with an announce of the same epoch (W-127).

        Fields and pools first, then pids, then (with `freshness`) the activity of every region.
        `diagnostic` has the finding unless the outcome is VALID.
        """
        if self.geometry.layout() != announced.layout():
            self.diagnostic = "the announced regions are not the mapped ones"
            return Revalidation.SUPERBLOCK
        try:
            superblocks = [region.check() for region in self.regions()]
        except ShmValidationError as error:
            self.diagnostic = str(error)
            return Revalidation.SUPERBLOCK
        for region, superblock in zip(self.regions(), superblocks, strict=True):
            if superblock.pid != region.pid:
                self.diagnostic = f"{region.geometry.name}: pid {region.pid} -> {superblock.pid}"
                return Revalidation.PID_CHANGED
        if freshness is not None:
            for region in self.regions():
                if not _is_fresh(region, freshness):
                    self.diagnostic = f"{region.geometry.name}: not refreshed in time"
                    return Revalidation.STALE_ACTIVITY
        return Revalidation.VALID

    def header_is_fresh(self, freshness: Freshness) -> bool:
        """Return whether the header ring's activity stamp is recent: the check without announces
        (W-145)."""
        return _is_fresh(self.header, freshness)

    def refresh_activity(self, now_ns: int) -> None:
        """Store the activity stamp in every region (W-053), for a producer's mapping.

        `now_ns` is ns of the announces' clock.
        """
        for region in self.regions():
            set_activity(region.words, now_ns)

    def retire(self) -> bool:
        """Refuse new frames and unmap; True when all memory is gone now.

        False means that views are still held somewhere; each region is unmapped, and its file
        closed, with the last view of it (W-143). Never raises; may be called again.
        """
        self.retired = True
        gone = [region.close() for region in self.regions()]
        return all(gone)


def _is_fresh(region: MappedRegion, freshness: Freshness) -> bool:
    return activity_is_fresh(
        region.activity_ns(), now_ns=freshness.now_ns, window_ns=freshness.window_ns
    )


def map_stream(
    geometry: StreamGeometry,
    *,
    allowed_base_dirs: AllowedBaseDirs,
    writable: bool,
    require_hugepages: bool = False,
    lock_memory: bool = False,
    freshness: Freshness | None = None,
    policy: FilePolicy | None = None,
) -> MappedStream:
    """Map the header ring and every pool, in that order; all or nothing (C-045, W-131).

    `freshness` is given when the regions were learned from an announce, not after an attach (W-055,
    W-133). Raises ShmUriError, ShmValidationError or UnsupportedPlatformError; then nothing stays
    mapped or open.
    """
    geometry.check_structure()
    group = MappingGroup()

    def mapped(expected: RegionGeometry, uri: str) -> MappedRegion:
        return map_region(
            uri,
            expected,
            allowed_base_dirs=allowed_base_dirs,
            writable=writable,
            require_hugepages=require_hugepages,
            lock_memory=lock_memory,
            freshness=freshness,
            policy=policy,
            group=group,
        )

    header = mapped(geometry.header_ring(), geometry.header_uri)
    pools: dict[int, MappedRegion] = {}
    stream = MappedStream(geometry, header, pools, group)
    try:
        for pool in geometry.pools:
            pools[pool.pool_id] = mapped(geometry.pool(pool), pool.uri)
    except BaseException:
        stream.retire()
        raise
    return stream
