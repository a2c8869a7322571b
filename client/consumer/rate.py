"""The local rate gate of a consumer on the shared stream (W-171, W-172)."""

from __future__ import annotations

__all__ = ["RateGate"]


class RateGate:
    """Lets through at most `max_rate_hz` frames a second, by the frames' own times."""

    __slots__ = ("_last_ns", "period_ns")

    def __init__(self, max_rate_hz: int) -> None:
        self.period_ns = 1_000_000_000 // max_rate_hz
        self._last_ns: int | None = None

    def passes(self, time_ns: int) -> bool:
        """Whether a frame of this time passes: the first, one a period later, or time went back."""
        last = self._last_ns
        if last is None or time_ns < last or time_ns - last >= self.period_ns:
            self._last_ns = time_ns
            return True
        return False
