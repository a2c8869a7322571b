"""Capture times of another host as times of this one (section 8.3)."""

from __future__ import annotations

from collections import deque

from tensor_pool.protocol.wire import BridgeStreamInfo
from tensor_pool.protocol.wire.frame_descriptor import NULL_U64

from ..settings import TimestampPolicy

__all__ = ["ClockWindow"]

_INFOS = 10


class ClockWindow:
    """Clock differences from the latest infos of a sender."""

    def __init__(self, policy: TimestampPolicy, *, clock_synced: bool) -> None:
        self._policy = policy
        self._clock_synced = clock_synced
        self._differences: deque[int] = deque(maxlen=_INFOS)
        self._wall_offset_ns: int | None = None
        self._latest_ns = 0

    def reset(self) -> None:
        """Another sender, or a restarted one: nothing of the old clock counts."""
        self._differences.clear()
        self._wall_offset_ns = None

    def new_epoch(self) -> None:
        """Times may start anew with a far epoch (W-097)."""
        self._latest_ns = 0

    def add(self, info: BridgeStreamInfo, now: int, wall: int) -> None:
        """Take an info that arrived at `now`, local monotonic, and `wall`, local real time."""
        self._differences.append(now - info.monotonic_ns)
        synced = info.clock_synced and self._clock_synced
        self._wall_offset_ns = (
            info.realtime_ns - info.monotonic_ns - (wall - now) if synced else None
        )

    @property
    def lacks_sync(self) -> bool:
        """True if `wall` is configured and one side does not promise a disciplined clock."""
        return self._policy is TimestampPolicy.WALL and self._wall_offset_ns is None

    @property
    def offset_ns(self) -> int:
        """The ns to be added to a capture time of the sender."""
        if self._policy is TimestampPolicy.WALL and self._wall_offset_ns is not None:
            return self._wall_offset_ns
        return min(self._differences, default=0)

    @property
    def spread_ns(self) -> int:
        """Largest less smallest delay within the window, clocks apart."""
        if not self._differences:
            return 0
        return max(self._differences) - min(self._differences)

    def translate(self, timestamp_ns: int, now: int) -> int | None:
        """The far capture time of a frame whose first chunk came at `now`; None stays None."""
        if timestamp_ns == NULL_U64:
            return None
        if self._policy is TimestampPolicy.ARRIVAL or not (
            self._differences or self._policy is TimestampPolicy.SOURCE
        ):
            far_ns = now
        elif self._policy is TimestampPolicy.SOURCE:
            far_ns = timestamp_ns
        else:
            far_ns = timestamp_ns + self.offset_ns
        self._latest_ns = max(self._latest_ns, min(far_ns, now))
        return self._latest_ns
