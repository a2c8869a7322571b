"""The cycle's time, and the timers that a duty cycle looks at (D-014, D-015)."""

from __future__ import annotations

from tensor_pool.protocol.clock import Clock

__all__ = ["CycleTime", "OneShotTimer", "PeriodicTimer", "Timers"]


class CycleTime:
    """Monotonic time in ns as everything within one duty cycle sees it.

    It is read when a cycle begins, and once more after a provisioning, which may take seconds: a
    lease granted then must not begin with its term half over. It never goes back.
    """

    __slots__ = ("_clock", "now")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.now = clock.monotonic_ns()

    def read(self) -> int:
        """Take the clock's time and return it."""
        self.now = max(self.now, self._clock.monotonic_ns())
        return self.now


class PeriodicTimer:
    """Due when a period has passed since it last fired; missed periods are not made up."""

    __slots__ = ("_armed", "_last_ns", "_period_ns")

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._last_ns = 0
        self._armed = False

    def arm(self, now: int) -> None:
        """Begin the first period; a period of 0 disables the timer."""
        self._last_ns = now
        self._armed = self._period_ns > 0

    def cancel(self) -> None:
        self._armed = False

    def fires(self, now: int) -> bool:
        """Return whether it is due; if so the next period begins."""
        if not self._armed or now - self._last_ns < self._period_ns:
            return False
        self._last_ns = now
        return True

    @property
    def due_ns(self) -> int | None:
        """Monotonic time at which it is due; None when it is not armed."""
        return self._last_ns + self._period_ns if self._armed else None


class OneShotTimer:
    """Due once, a given time after it was armed."""

    __slots__ = ("_due_ns",)

    def __init__(self) -> None:
        self._due_ns: int | None = None

    def arm(self, due_ns: int) -> None:
        self._due_ns = due_ns

    def cancel(self) -> None:
        self._due_ns = None

    def fires(self, now: int) -> bool:
        """Return whether it is due; if so it is not armed any more."""
        if self._due_ns is None or now < self._due_ns:
            return False
        self._due_ns = None
        return True

    @property
    def due_ns(self) -> int | None:
        """Monotonic time at which it is due; None when it is not armed."""
        return self._due_ns


class Timers:
    """The driver's three timers."""

    __slots__ = ("announce", "drain", "lease_check")

    def __init__(self, lease_check_period_ns: int, announce_period_ns: int) -> None:
        self.lease_check = PeriodicTimer(lease_check_period_ns)
        self.announce = PeriodicTimer(announce_period_ns)
        self.drain = OneShotTimer()

    def next_due_ns(self) -> int | None:
        """Monotonic time at which the earliest armed timer is due; None without one."""
        dues = (self.lease_check.due_ns, self.announce.due_ns, self.drain.due_ns)
        return min((due for due in dues if due is not None), default=None)
