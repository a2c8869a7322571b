"""What the loop does when there was nothing to do (D-193)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

__all__ = ["IdleBackoff"]

_SPINS = 10
_YIELDS = 20
_FIRST_SLEEP_NS = 50_000
_LONGEST_SLEEP_NS = 1_000_000


class IdleBackoff:
    """Spins, then yields, then sleeps ever longer, up to 1 ms and never past the next timer.

    Work of any kind brings it back to spinning: a request that follows another is answered at once,
    an idle daemon costs next to nothing.
    """

    def __init__(
        self,
        sleep: Callable[[float], object] = time.sleep,
        yield_now: Callable[[], object] = os.sched_yield,
    ) -> None:
        self._sleep = sleep
        self._yield_now = yield_now
        self._idle_cycles = 0
        self._sleep_ns = _FIRST_SLEEP_NS

    def idle(self, work_count: int, now: int, next_due_ns: int | None) -> None:
        """Wait a little, unless there was work.

        `now` is the monotonic time and `next_due_ns` when the next timer is due, None without one.
        """
        if work_count:
            self._idle_cycles = 0
            self._sleep_ns = _FIRST_SLEEP_NS
            return
        self._idle_cycles += 1
        if self._idle_cycles <= _SPINS:
            return
        if self._idle_cycles <= _SPINS + _YIELDS:
            self._yield_now()
            return
        sleep_ns = self._sleep_ns
        self._sleep_ns = min(2 * sleep_ns, _LONGEST_SLEEP_NS)
        if next_due_ns is not None:
            sleep_ns = min(sleep_ns, next_due_ns - now)
        if sleep_ns > 0:
            self._sleep(sleep_ns / 1e9)
