"""A mapped epoch together with how it came to be mapped, which decides what is checked later."""

from __future__ import annotations

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.shm.geometry import StreamGeometry
from tensor_pool.protocol.shm.mapped_stream import MappedStream, Revalidation, map_stream
from tensor_pool.protocol.shm.region import Freshness
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs
from tensor_pool.protocol.wire import ClockDomain

from .events import RoleEvent

__all__ = ["MappingRules", "StreamMapping"]

_EVENTS = {
    Revalidation.VALID: None,
    Revalidation.SUPERBLOCK: RoleEvent.INVALID_SUPERBLOCK,
    Revalidation.PID_CHANGED: RoleEvent.INVALID_PID_CHANGED,
    Revalidation.STALE_ACTIVITY: RoleEvent.INVALID_STALE_ACTIVITY,
}


class StreamMapping:
    """The regions of one epoch in use by one attachment.

    `announce_timestamp_ns` is 0 for regions that an attach granted; those may be stale for one
    freshness window after mapping, since their driver need not have refreshed them yet (W-145).
    """

    __slots__ = (
        "_freshness_ns",
        "_mapped_ns",
        "announce_timestamp_ns",
        "clock",
        "clock_domain",
        "stream",
    )

    def __init__(
        self,
        stream: MappedStream,
        clock: Clock,
        *,
        freshness_ns: int,
        announce_timestamp_ns: int,
        clock_domain: ClockDomain,
    ) -> None:
        self.stream = stream
        self.clock = clock
        self.announce_timestamp_ns = announce_timestamp_ns
        self.clock_domain = clock_domain  # of the activity stamps (WD-14)
        self._freshness_ns = freshness_ns
        self._mapped_ns = clock.monotonic_ns()

    @property
    def epoch(self) -> int:
        """Epoch of the regions."""
        return self.stream.epoch

    @property
    def nslots(self) -> int:
        """Slots of the header ring and of every pool."""
        return self.stream.geometry.header_nslots

    def close(self) -> None:
        """Unmap; views that the application holds keep their memory until they go (W-143)."""
        self.stream.retire()

    def is_alive(self) -> bool:
        """Return whether the header ring is still refreshed (W-145)."""
        freshness = self._freshness()
        return freshness is None or self.stream.header_is_fresh(freshness)

    def refresh_activity(self) -> None:
        """Store the time in the activity stamps of a producer's regions (W-053)."""
        self.stream.refresh_activity(_now(self.clock, self.clock_domain))

    def revalidate(self, geometry: StreamGeometry, clock_domain: ClockDomain) -> RoleEvent | None:
        """Check against a new announce of the same epoch (C-066); the event to post, or None."""
        self.clock_domain = clock_domain
        return _EVENTS[self.stream.revalidate(geometry, self._freshness())]

    def _freshness(self) -> Freshness | None:
        granted = self.announce_timestamp_ns == 0
        if granted and self.clock.monotonic_ns() - self._mapped_ns <= self._freshness_ns:
            return None
        return Freshness(_now(self.clock, self.clock_domain), self._freshness_ns)


class MappingRules:
    """Maps regions for the attachments of a client: read-write for producers, else read-only."""

    def __init__(
        self,
        clock: Clock,
        allowed_base_dirs: AllowedBaseDirs,
        *,
        require_hugepages: bool,
        lock_memory: bool,
        freshness_ns: int,
    ) -> None:
        self._clock = clock
        self._allowed_base_dirs = allowed_base_dirs
        self._require_hugepages = require_hugepages
        self._lock_memory = lock_memory
        self._freshness_ns = freshness_ns

    def map_granted(self, geometry: StreamGeometry, *, writable: bool) -> StreamMapping:
        """Map what an attach granted, fresh or not (W-133, W-134); raises ShmError."""
        return self._map(geometry, writable, None, 0, ClockDomain.MONOTONIC)

    def map_announced(
        self, geometry: StreamGeometry, timestamp_ns: int, clock_domain: ClockDomain
    ) -> StreamMapping:
        """Map what an announce describes, if it is being refreshed (W-055); raises ShmError."""
        freshness = Freshness(_now(self._clock, clock_domain), self._freshness_ns)
        return self._map(geometry, False, freshness, timestamp_ns, clock_domain)

    def _map(
        self,
        geometry: StreamGeometry,
        writable: bool,
        freshness: Freshness | None,
        announce_timestamp_ns: int,
        clock_domain: ClockDomain,
    ) -> StreamMapping:
        stream = map_stream(
            geometry,
            allowed_base_dirs=self._allowed_base_dirs,
            writable=writable,
            require_hugepages=self._require_hugepages,
            lock_memory=self._lock_memory,
            freshness=freshness,
        )
        return StreamMapping(
            stream,
            self._clock,
            freshness_ns=self._freshness_ns,
            announce_timestamp_ns=announce_timestamp_ns,
            clock_domain=clock_domain,
        )


def _now(clock: Clock, domain: ClockDomain) -> int:
    return clock.realtime_ns() if domain is ClockDomain.REALTIME_SYNCED else clock.monotonic_ns()
