"""Time as a port.

Everything that decides something takes its time from a `Clock`, so that the same code runs under a
simulated clock in tests. All values are integer nanoseconds.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SimulatedClock", "SystemClock"]


class Clock(Protocol):
    """The two clocks of a host."""

    def monotonic_ns(self) -> int:
        """Local monotonic time in ns (CLOCK_MONOTONIC on Linux: one clock for all processes)."""
        ...

    def realtime_ns(self) -> int:
        """Wall-clock time in ns since the Unix epoch (CLOCK_REALTIME); it may jump."""
        ...


class SystemClock:
    """The host's clocks."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    realtime_ns = staticmethod(time.time_ns)


class SimulatedClock:
    """A clock that moves only by a call."""

    def __init__(
        self, monotonic_ns: int = 1_000_000_000, realtime_ns: int = 1_700_000_000_000_000_000
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._realtime_ns = realtime_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def realtime_ns(self) -> int:
        return self._realtime_ns

    def advance(self, ns: int) -> None:
        """Move both clocks forward by `ns` (>= 0)."""
        if ns < 0:
            raise ValueError(f"cannot advance a monotonic clock by {ns} ns; use step_realtime()")
        self._monotonic_ns += ns
        self._realtime_ns += ns

    def step_realtime(self, ns: int) -> None:
        """Let the wall clock jump by `ns`, which may be negative; monotonic time stays."""
        self._realtime_ns += ns
