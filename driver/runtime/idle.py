"""Idle strategy of the loop (D-193)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

__all__ = ["IdleBackoff"]

_SPINS = 20
_YIELDS = 400
_FIRST_SLEEP_NS = 50_000
_LONGEST_SLEEP_NS = 1_000_000


class IdleBackoff:
    """Spins, then yields, then sleeps ever longer, up to 1 ms and never past the next timer.

    `reset()` brings it back to spinning: a request that follows another is answered at once, an
    idle daemon costs next to nothing.
    """

    def __init__(
        self,
        sleep: Callable[[float], object] = time.sleep,
        yield_now: Callable[[], object] = os.sched_yield,
    ) -> None:
        self._sleep = sleep
        self._yield_now = yield_now
        self._awake = _SPINS + _YIELDS
        self._sleep_ns = _FIRST_SLEEP_NS

    def reset(self) -> None:
        """Spin again: a request came, and another may follow."""
        self._awake = _SPINS + _YIELDS
        self._sleep_ns = _FIRST_SLEEP_NS

    def idle(self, now: int, next_due_ns: int | None) -> None:
        """Wait a little; called when there was nothing to do.

        `now` is the monotonic time and `next_due_ns` when the next timer is due, None without one.
        """
        if self._awake:
            self._awake -= 1
            if self._awake < _YIELDS:
                self._yield_now()
            return
        sleep_ns = self._sleep_ns
        if sleep_ns < _LONGEST_SLEEP_NS:
            self._sleep_ns = min(2 * sleep_ns, _LONGEST_SLEEP_NS)
        if next_due_ns is not None and next_due_ns - now < sleep_ns:
            sleep_ns = next_due_ns - now
        if sleep_ns > 0:
            self._sleep(sleep_ns / 1e9)
