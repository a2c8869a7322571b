"""The filter of the announces that an attachment acts on (W-125, C-062).

Announces are soft state from the network: an old, replayed or malformed one must change nothing.
One filter serves one attachment; it also keeps the highest epoch seen, which never goes back except
by the driver's own answer to an attach (C-047).
"""

from __future__ import annotations

import msgspec

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.errors import ShmError
from tensor_pool.protocol.shm.geometry import LAYOUT_VERSION, StreamGeometry
from tensor_pool.protocol.wire import ClockDomain, ShmPoolAnnounce

__all__ = ["AcceptedAnnounce", "AnnounceFilter"]

_MAX_EPOCH = (1 << 64) - 2
_NO_TIMESTAMP = (1 << 64) - 1


class AcceptedAnnounce(msgspec.Struct, frozen=True):
    """An announce that passed the filter."""

    regions: StreamGeometry
    producer_id: int
    timestamp_ns: int  # of its sending, in the clock domain
    clock_domain: ClockDomain

    @property
    def epoch(self) -> int:
        """Epoch of the announced regions."""
        return self.regions.epoch


class AnnounceFilter:
    """The steps of W-125 in their order, except the barrier (step 9), which is the machine's."""

    def __init__(self, clock: Clock, *, freshness_ns: int, expected_layout_version: int) -> None:
        self._clock = clock
        self._freshness_ns = freshness_ns
        self._expected_layout_version = expected_layout_version
        self.highest_epoch = 0

    def accept(
        self,
        announce: ShmPoolAnnounce,
        *,
        stream_id: int,
        lease_is_live: bool,
        join_time_ns: int,
    ) -> AcceptedAnnounce | None:
        """Return the announce if it passes, else None; one that passes raises `highest_epoch`."""
        if announce.stream_id != stream_id or not lease_is_live:
            return None
        if (
            announce.layout_version != LAYOUT_VERSION
            or self._expected_layout_version not in (0, LAYOUT_VERSION)
            or not self._is_timely(announce, join_time_ns)
            or not 1 <= announce.epoch <= _MAX_EPOCH
            or announce.epoch < self.highest_epoch
        ):
            return None
        regions = StreamGeometry.from_message(announce)
        try:
            regions.check_structure()
        except ShmError:
            return None
        self.highest_epoch = announce.epoch
        return AcceptedAnnounce(
            regions,
            announce.producer_id,
            announce.announce_timestamp_ns,
            announce.announce_clock_domain,
        )

    def _is_timely(self, announce: ShmPoolAnnounce, join_time_ns: int) -> bool:
        timestamp_ns = announce.announce_timestamp_ns
        if timestamp_ns in (0, _NO_TIMESTAMP):
            return False
        if announce.announce_clock_domain is ClockDomain.MONOTONIC:
            now = self._clock.monotonic_ns()
            if timestamp_ns < join_time_ns:
                return False
        else:
            now = self._clock.realtime_ns()
        return now - timestamp_ns <= self._freshness_ns
