"""Per-second rates of counters (B-161)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.counters import Counters

__all__ = ["RATE_PERIOD_NS", "Rates"]

RATE_PERIOD_NS: Final = 1_000_000_000


class Rates:
    """Rates of some counters between the last two samples."""

    def __init__(self, counters: Counters, names: Iterable[str], clock: Clock) -> None:
        self._counters = counters
        self._clock = clock
        self._before = dict.fromkeys(names, 0)
        self._per_second = dict.fromkeys(self._before, 0.0)
        self._since_ns = clock.monotonic_ns()

    def sample(self) -> None:
        """End the period that runs and begin the next one."""
        now = self._clock.monotonic_ns()
        elapsed_ns = now - self._since_ns
        if elapsed_ns <= 0:
            return
        for name, before in self._before.items():
            total = self._counters[name]
            self._per_second[name] = (total - before) * 1e9 / elapsed_ns
            self._before[name] = total
        self._since_ns = now

    def __getitem__(self, name: str) -> float:
        """Counts per second."""
        return self._per_second[name]
