"""Health conditions, turned into HealthRaised and HealthCleared events (§3.4, D-050).

The monitor only reports changes; whether the driver is Degraded is DriverLifecycle's state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from .events import Condition, DriverEvent
from .ports import ShmStore

__all__ = ["BACKLOG_LIMIT", "HealthMonitor"]

BACKLOG_LIMIT = 256  # messages waiting in the control outbox
BACKLOG_AGE_NS = 1_000_000_000
SPACE_CHECK_PERIOD_NS = 1_000_000_000


class HealthMonitor:
    """Collects what the ports have come across; posts an event at each change."""

    __slots__ = ("_blocked_since_ns", "_post", "_raised", "_space_checked_ns", "_space_wanted")

    def __init__(self, post: Callable[[DriverEvent, object], None]) -> None:
        self._post = post
        self._raised: set[Condition] = set()
        self._blocked_since_ns: int | None = None
        self._space_checked_ns = 0
        self._space_wanted = 0

    def space_ran_out(self, needed_bytes: int, now: int) -> None:
        """A provisioning failed for lack of `needed_bytes`."""
        self._space_wanted = needed_bytes
        self._space_checked_ns = now
        self._raise(Condition.SHM_SPACE)

    def provisioned(self) -> None:
        """A provisioning succeeded."""
        self._clear(Condition.SHM_SPACE)

    def collected(self, error: Exception | None) -> None:
        """A collection pass ended, with the last error it met."""
        if error is None:
            self._clear(Condition.GC_FAILED)
        else:
            self._raise(Condition.GC_FAILED)

    def check(self, now: int, control_backlog: int, store: ShmStore) -> None:
        """Look at what changes without an event of its own; cheap while nothing is wrong."""
        if control_backlog:
            if self._blocked_since_ns is None:
                self._blocked_since_ns = now
            if control_backlog >= BACKLOG_LIMIT or now - self._blocked_since_ns >= BACKLOG_AGE_NS:
                self._raise(Condition.CONTROL_BACKPRESSURE)
        elif self._blocked_since_ns is not None:
            self._blocked_since_ns = None
            self._clear(Condition.CONTROL_BACKPRESSURE)
        if (
            Condition.SHM_SPACE in self._raised
            and now - self._space_checked_ns >= SPACE_CHECK_PERIOD_NS
        ):
            self._space_checked_ns = now
            # A file system that cannot be asked has no space to offer.
            with contextlib.suppress(OSError):
                if store.free_bytes() >= self._space_wanted:
                    self._clear(Condition.SHM_SPACE)

    def _raise(self, condition: Condition) -> None:
        if condition not in self._raised:
            self._raised.add(condition)
            self._post(DriverEvent.HEALTH_RAISED, condition)

    def _clear(self, condition: Condition) -> None:
        if condition in self._raised:
            self._raised.remove(condition)
            self._post(DriverEvent.HEALTH_CLEARED, condition)
