"""The router: one event at a time into DriverLifecycle, and a queue for what follows from it."""

from __future__ import annotations

import logging
from collections import deque
from typing import Protocol

from .events import DriverEvent
from .log_limit import WarningLimit
from .ports import Clock, Metrics

__all__ = ["Dispatcher", "Router"]

_log = logging.getLogger(__name__)


class Dispatcher(Protocol):
    """The machine at the top."""

    def dispatch(self, event: DriverEvent, arg: object = None) -> object: ...


class Router:
    """Feeds DriverLifecycle; an error in one event does not keep the next from being handled.

    Events may be posted from any thread; everything else belongs to the loop's.
    """

    __slots__ = ("_log_limit", "_metrics", "machine", "posted")

    machine: Dispatcher

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._log_limit = WarningLimit(clock)
        self.posted: deque[tuple[DriverEvent, object]] = deque()
        """Events that wait to be handled; to look at."""

    def post(self, event: DriverEvent, arg: object = None) -> None:
        """Queue an event, to be handled after the current one (D-013)."""
        self.posted.append((event, arg))

    def post_first(self, event: DriverEvent, arg: object = None) -> None:
        """Queue an event before those that other threads may have posted already."""
        self.posted.appendleft((event, arg))

    def dispatch(self, event: DriverEvent, arg: object = None) -> None:
        """Handle one event now; an unexpected exception is logged and counted (D-064)."""
        try:
            self.machine.dispatch(event, arg)
        except Exception:  # noqa: BLE001 - counted and logged
            self._metrics.inc("handler_errors")
            left_out = self._log_limit.admit(event)
            if left_out is not None:
                _log.exception(
                    "%s failed",
                    event,
                    extra={"event_arg": repr(arg)[:500], "left_out": left_out},
                )

    def drain(self) -> int:
        """Handle the posted events, and those that they post; returns how many."""
        handled = 0
        while self.posted:
            event, arg = self.posted.popleft()
            self.dispatch(event, arg)
            handled += 1
        return handled
