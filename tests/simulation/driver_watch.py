"""The driver's invariants at the price of a simulation: after each event, only what it can break.

`DriverInvariants` looks at everything after every event. Here the trace hooks tell which machines
took part. An event that no stream saw and in which no lease changed its state can break only what
is looked at in any case: the driver's own state, the lease it touched, the queues and the counters.
Everything else was checked after the last event that could have changed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensor_pool.driver.core.events import DriverEvent
from tensor_pool.driver.core.lease_machine import LeaseLifecycle
from tensor_pool.driver.driver import Driver
from tensor_pool.protocol.wire import Message

from .invariants_driver import DriverInvariants, History

__all__ = ["DriverWatch"]


class DriverWatch(DriverInvariants):
    """`checks` counts the invariant checks made, one for each rule and object looked at."""

    def __init__(
        self, driver: Driver, history: History, epoch_exists: Callable[[int, int], bool]
    ) -> None:
        super().__init__(driver, history, epoch_exists)
        self.checks = 0
        self.events = 0
        self._structure_changed = True
        self._has_published = False
        self._touched: list[LeaseLifecycle] = []
        self._last_driver_state: Any = None

    def trace_entry(self, machine: Any, state: Any) -> None:
        self._structure_changed = True
        super().trace_entry(machine, state)

    def trace_dispatch_start(self, machine: Any, event: object, arg: object) -> None:
        if isinstance(machine, LeaseLifecycle):
            self._touched.append(machine)
            super().trace_dispatch_start(machine, event, arg)
        else:
            self._structure_changed = True

    def published(self, message: Message) -> None:
        self._has_published = True
        self.checks += 1
        super().published(message)

    def after(self, event: DriverEvent) -> None:
        self.events += 1
        if self._structure_changed or event is DriverEvent.ATTACH_REQUEST:
            self._structure_changed = self._has_published = False
            self._touched.clear()
            self._last_driver_state = None
            lifecycle = self._lifecycle
            self.checks += 8 + 8 * len(lifecycle.streams) + 6 * len(lifecycle.leases)
            super().after(event)
            return
        lifecycle = self._lifecycle
        if lifecycle.is_faulted:
            self._require("none", False, "DriverLifecycle is faulted")
        driver_state = (lifecycle.current, len(lifecycle.conditions))
        if driver_state != self._last_driver_state:
            self._last_driver_state = driver_state
            self.checks += 3
            self._check_driver(event)
        if event is DriverEvent.LEASE_CHECK_TIMER_FIRED:
            self.checks += 6 * len(lifecycle.leases)
            self._check_leases(event)
        elif event is DriverEvent.ANNOUNCE_TIMER_FIRED:
            self.checks += 2 * len(lifecycle.streams)
            for stream in lifecycle.streams:
                if stream.epoch is not None:
                    there = self._epoch_exists(stream.stream_id, stream.epoch)
                    self._require("I-16", there, "a current epoch was collected")
        if self._touched:
            duration = self._services.lease_duration_ns
            for lease in self._touched:
                if lease.is_active:
                    self.checks += 1
                    due = self._last_sign[lease.lease_id] + duration
                    self._require("I-18", lease.expiry_ns >= due, "expiry")
            self._touched.clear()
        if self._has_published:
            self._has_published = False
            self.checks += 6
            self._check_counts()
