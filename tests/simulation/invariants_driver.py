"""The driver's invariants, checked after every event and on every message it publishes.

    DriverInvariants.watch(driver, history=History())

`History` outlives a driver: what must hold across restarts is remembered there. A violation raises
`InvariantError` naming the invariant; it is an AssertionError of its own kind so that the driver's
own error handling, which catches exceptions, cannot hide it: the first one is kept and raised again
at every later check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tensor_pool.driver.core.driver_machine import DriverLifecycle
from tensor_pool.driver.core.events import DriverEvent
from tensor_pool.driver.core.lease_machine import LeaseLifecycle
from tensor_pool.driver.core.ports import PublishOutcome, Target
from tensor_pool.driver.core.router import Router
from tensor_pool.driver.core.stream_machine import StreamLifecycle
from tensor_pool.driver.driver import Driver
from tensor_pool.driver.messages.outbox import Kind, Outbox
from tensor_pool.protocol.wire import (
    LeaseRevokeReason,
    Message,
    ResponseCode,
    Role,
    ShmAttachResponse,
    ShmDriverShutdown,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
)

__all__ = ["DriverInvariants", "History", "InvariantError"]

_REASONS = {
    "Detached": LeaseRevokeReason.DETACHED,
    "Expired": LeaseRevokeReason.EXPIRED,
    "Revoked": LeaseRevokeReason.REVOKED,
}


class InvariantError(AssertionError):
    """An invariant does not hold."""


@dataclass
class History:
    """The record of all drivers on one disk."""

    last_epoch: dict[int, int] = field(default_factory=dict)


class DriverInvariants:
    """Watches one driver. `epoch_exists(stream_id, epoch)` asks the disk (I-10, I-16)."""

    def __init__(
        self, driver: Driver, history: History, epoch_exists: Callable[[int, int], bool]
    ) -> None:
        self._driver = driver
        self._history = history
        self._epoch_exists = epoch_exists
        self._services = driver._services
        self._lifecycle: DriverLifecycle = driver._lifecycle
        self._metrics: Any = driver._metrics
        self._ended: dict[int, LeaseRevokeReason] = {}
        self._noticed: Counter[int] = Counter()
        self._just_ended: list[int] = []
        self._last_sign: dict[int, int] = {}
        self._ended_epoch: dict[int, int] = {}
        self._last_lease_id = 0
        self._closed_by_stop = 0
        self._shutdowns = 0
        self._has_drained = False
        self._has_stopped = False
        self._answered_ok = False
        self._before: Any = None
        self._cycle_ns = self._services.time.now
        self._resumed_ns = self._cycle_ns
        self._violation: InvariantError | None = None

    @classmethod
    def watch(
        cls, driver: Driver, history: History, epoch_exists: Callable[[int, int], bool]
    ) -> DriverInvariants:
        """Put the checks in between the parts of a driver that has not started yet."""
        checks = cls(driver, history, epoch_exists)

        class CheckedRouter(Router):
            __slots__ = ()

            def dispatch(self, event: DriverEvent, arg: object = None) -> None:
                checks.before(event)
                super().dispatch(event, arg)
                checks.after(event)

        driver._router.__class__ = CheckedRouter
        services = driver._services
        services.publisher = _CheckedPublisher(services.publisher, checks)
        services.observer = checks
        return checks

    def check(self) -> None:
        """Raise the first violation seen, if any; for use outside of the driver's own handlers."""
        if self._violation is not None:
            raise self._violation

    # -- what is watched

    def trace_entry(self, machine: Any, state: Any) -> None:
        """Trace hook of the leases and streams."""
        if isinstance(machine, LeaseLifecycle):
            now = self._services.time.now
            if state is LeaseLifecycle.Active:
                self._granted(machine, now)
            elif state.name in _REASONS:
                self._ended[machine.lease_id] = _REASONS[state.name]
                self._just_ended.append(machine.lease_id)
                self._closed(machine, state.name, now)
            elif state is LeaseLifecycle.Closed and machine.lease_id not in self._ended:
                self._closed_by_stop += machine.lease_id != 0

    def trace_dispatch_start(self, machine: Any, event: object, arg: object) -> None:
        """Trace hook: keepalives that reached their lease."""
        if isinstance(machine, LeaseLifecycle) and event == "Keepalive" and machine.is_active:
            self._last_sign[machine.lease_id] = self._services.time.now

    def _granted(self, lease: LeaseLifecycle, now: int) -> None:
        self._require("I-3", lease.lease_id > self._last_lease_id, f"lease {lease.lease_id}")
        self._last_lease_id = lease.lease_id
        self._last_sign[lease.lease_id] = now
        self._require("I-13", not self._has_drained, "grant while draining")
        stream = lease.stream
        if stream is not None:
            ended = self._ended_epoch.get(stream.stream_id, 0)
            self._require(
                "I-9", (stream.epoch or 0) > ended, "grant on the epoch of an ended producer"
            )

    def _closed(self, lease: LeaseLifecycle, how: str, now: int) -> None:
        sign = self._last_sign[lease.lease_id]
        if how == "Expired":
            due = sign + self._services.lease_duration_ns
            self._require("I-18", now > due, f"lease {lease.lease_id} expired {due - now} ns early")
        if lease.role == Role.PRODUCER and lease.stream is not None and lease.stream.epoch:
            self._ended_epoch[lease.stream_id] = lease.stream.epoch

    def published(self, message: Message) -> None:
        """A message on its way to the outboxes."""
        if self._has_stopped or self._shutdowns:
            refusal = isinstance(message, ShmAttachResponse) and message.code != ResponseCode.OK
            self._require("I-14", refusal, f"{type(message).__name__} after the shutdown message")
        if isinstance(message, ShmAttachResponse):
            self._check_answer(message)
        elif isinstance(message, ShmLeaseRevoked):
            self._check_notice(message)
        elif isinstance(message, ShmPoolAnnounce):
            self._check_announce(message)
        elif isinstance(message, ShmDriverShutdown):
            self._shutdowns += 1
            self._require("I-14", self._shutdowns == 1, "a second shutdown message")

    def _check_answer(self, answer: ShmAttachResponse) -> None:
        if answer.code != ResponseCode.OK:
            return
        self._answered_ok = True
        lease = self._lifecycle.leases.get(answer.lease_id or 0)
        self._require("I-8", lease is not None, f"OK for lease {answer.lease_id}, not in the table")
        stream = self._lifecycle.streams.get(answer.stream_id or 0)
        regions = stream.regions if stream is not None else None
        current = regions is not None and (
            answer.epoch == regions.epoch
            and answer.header_region_uri == regions.header_uri
            and [p.region_uri for p in answer.payload_pools] == [p.uri for p in regions.pools]
        )
        self._require("I-8", current, f"OK with epoch {answer.epoch}, which is not current")

    def _check_notice(self, notice: ShmLeaseRevoked) -> None:
        if not self._lifecycle.leases.was_issued(notice.lease_id):
            self._require("I-4", notice.error_message == "unknown lease", "notice out of nothing")
            return
        self._noticed[notice.lease_id] += 1
        self._require("I-4", self._noticed[notice.lease_id] == 1, "a second notice")
        reason = self._ended.get(notice.lease_id)
        self._require("I-4", reason is notice.reason, f"notice {notice.reason} of a lease {reason}")

    def _check_announce(self, announce: ShmPoolAnnounce) -> None:
        stream = self._lifecycle.streams.get(announce.stream_id)
        self._require("I-11", stream is not None, f"announce of unknown {announce.stream_id}")
        if stream is not None:
            producer = stream.producer.client_id if stream.producer is not None else 0
            told = (announce.epoch, announce.producer_id)
            self._require("I-11", told == (stream.epoch, producer), f"announce {told}")

    # -- around each event

    def before(self, event: DriverEvent) -> None:
        """A dispatch to DriverLifecycle begins."""
        now = self._services.time.now
        if event is DriverEvent.TICK:
            if now - self._cycle_ns > self._services.lease_duration_ns:
                self._resumed_ns = now
            self._cycle_ns = now
        self._answered_ok = False
        if event is DriverEvent.ATTACH_REQUEST:
            self._before = self._picture()

    def after(self, event: DriverEvent) -> None:
        """A dispatch to DriverLifecycle has ended: everything must hold."""
        if self._lifecycle.is_faulted:
            self._require("none", False, "DriverLifecycle is faulted")
        if event is DriverEvent.ATTACH_REQUEST and not self._answered_ok:
            self._require("I-17", self._picture() == self._before, "a refusal changed something")
        self._check_driver(event)
        for stream in self._lifecycle.streams:
            self._check_stream(stream)
        self._check_leases(event)
        self._check_counts()

    def _check_driver(self, event: DriverEvent) -> None:
        machine = self._lifecycle
        degraded = machine.is_in(machine.Degraded)
        running = machine.is_in(machine.Running)
        self._require("I-20", degraded == (running and bool(machine.conditions)), "Degraded")
        draining = machine.is_in(machine.Draining)
        self._require("I-22", not (self._has_drained and running), "back from Draining")
        stopped = machine.is_in(machine.Stopped)
        self._require("I-22", not self._has_stopped or stopped, "Stopped was left")
        self._has_drained = self._has_drained or draining or stopped
        self._has_stopped = stopped

    def _check_stream(self, stream: StreamLifecycle) -> None:
        leases = self._lifecycle.leases
        name = stream.label
        last = self._history.last_epoch.get(stream.stream_id, 0)
        if stream.epoch is not None:
            self._require("I-2", stream.epoch >= last, f"{name}: epoch {stream.epoch} <= {last}")
            self._history.last_epoch[stream.stream_id] = stream.epoch
            there = self._epoch_exists(stream.stream_id, stream.epoch)
            self._require("I-10", there, f"{name}: epoch {stream.epoch} is not on disk")
        active = stream.is_in(stream.Active)
        empty = stream.is_in(stream.Init) or stream.is_in(stream.Closed)
        if active or empty:
            self._require("I-10", (stream.epoch is not None) == active, f"{name}: epoch and state")
        producers = [
            lease.lease_id
            for lease in leases
            if lease.stream is stream and lease.role == Role.PRODUCER
        ]
        seated = [stream.producer.lease_id] if stream.producer is not None else []
        if not self._has_stopped:
            self._require("I-1", producers == seated, f"{name}: {producers} but {seated}")
            placed = stream.is_in(stream.ProducerAttached) or stream.is_in(stream.Draining)
            self._require("I-1", not seated or placed, f"{name}: a producer in {stream.current}")
            self._require(
                "I-1", seated or not stream.is_in(stream.ProducerAttached), f"{name}: no producer"
            )
        for lease_id in stream.consumers:
            lease = leases.get(lease_id)
            listed = lease is not None and lease.stream is stream and lease.role == Role.CONSUMER
            self._require("I-6", listed, f"{name} lists lease {lease_id}")
        used = bool(stream.producer or stream.consumers)
        self._require("I-23", used or not stream.dynamic or self._has_stopped, f"{name}: unused")

    def _check_leases(self, event: DriverEvent) -> None:
        clients: set[int] = set()
        nodes: set[int] = set()
        duration = self._services.lease_duration_ns
        period = self._services.config.policies.lease_keepalive_interval_ms * 1_000_000
        now = self._services.time.now
        for lease in self._lifecycle.leases:
            self._require("I-6", lease.is_active, f"{lease.label} is {lease.current}")
            self._require("I-5", lease.client_id not in clients, f"client {lease.client_id} twice")
            clients.add(lease.client_id)
            self._require("I-15", lease.node_id not in nodes, f"node id {lease.node_id} twice")
            nodes.add(lease.node_id)
            stream = lease.stream
            listed = stream is not None and (
                lease.lease_id in stream.consumers
                or (stream.producer is not None and stream.producer.lease_id == lease.lease_id)
            )
            known = stream is not None and self._lifecycle.streams.get(stream.stream_id) is stream
            self._require("I-6", listed and known, f"{lease.label} is on no stream")
            sign = self._last_sign[lease.lease_id]
            self._require("I-18", lease.expiry_ns >= sign + duration, f"{lease.label}: expiry")
            if event is DriverEvent.LEASE_CHECK_TIMER_FIRED:
                # The check sees the cycle's time; leases granted later in the cycle are younger.
                silent = min(now, self._cycle_ns) - max(sign, self._resumed_ns)
                self._require("I-19", silent <= 2 * duration + period, f"{lease.label}: silent")
        if not self._has_stopped:
            self._require("I-15", nodes == self._services.node_ids.active, "node ids in use")
        private = self._services.private_streams
        for half in (private.descriptor.by_lease, private.control.by_lease):
            self._require("I-15", len(set(half.values())) == len(half), "a private stream twice")
            for lease_id in half if not self._has_stopped else ():
                holder = self._lifecycle.leases.get(lease_id)
                consumer = holder is not None and holder.role == Role.CONSUMER
                self._require("I-15", consumer, f"private stream of lease {lease_id}")

    def _check_counts(self) -> None:
        metrics = self._metrics
        # Not one of the twenty-four: the driver sends no event that its receiver does not expect.
        for name in ("stream_unhandled", "lease_unhandled"):
            self._require("none", metrics[name] == 0, name)
        for lease_id in self._just_ended:
            self._require("I-4", self._noticed[lease_id] == 1, f"{lease_id} ended unnoticed")
        self._just_ended.clear()
        active = len(self._lifecycle.leases)
        self._require("I-24", metrics["leases_active"] == active, "leases_active")
        ends = [metrics[f"leases_{how.lower()}"] for how in _REASONS]
        total = active + sum(ends) + self._closed_by_stop
        self._require("I-24", metrics["attach_granted"] == total, "attach_granted")
        proxy: Any = self._driver._endpoints._proxy
        boxes: list[Outbox] = [proxy._control]
        if proxy._announce is not proxy._control:
            boxes.append(proxy._announce)
        kinds = Counter(entry.kind for box in boxes for entry in box._entries.values())
        limited = kinds[Kind.ATTACH_RESPONSE] + kinds[Kind.DETACH_RESPONSE] + kinds[Kind.CONFIG]
        self._require("I-21", limited <= proxy._limit, f"{limited} answers wait")
        streams = {
            e.stream_id for b in boxes for e in b._entries.values() if e.kind is Kind.ANNOUNCE
        }
        waiting = kinds[Kind.ANNOUNCE] + len(proxy._held)
        self._require("I-21", waiting == len(streams | set(proxy._held)), "announces wait twice")
        if metrics["shutdown_flush_drops"] == 0:
            names = ("responses", "response_drops", "duplicates", "shed")
            answered = sum(metrics[f"attach_{name}"] for name in names)
            answered += kinds[Kind.ATTACH_RESPONSE]
            self._require("I-7", metrics["attach_requests"] == answered, f"{answered} answered")

    def _picture(self) -> Any:
        picture = self._driver.snapshot()
        return (picture.leases, picture.streams, picture.assignments, picture.status)

    def _require(self, invariant: str, holds: object, what: str) -> None:
        if not holds and self._violation is None:
            self._violation = InvariantError(f"{invariant}: {what}")
        self.check()


class _CheckedPublisher:
    """Shows every message to the checks before it goes on."""

    def __init__(self, publisher: Any, checks: DriverInvariants) -> None:
        self._publisher = publisher
        self._checks = checks

    def publish(self, target: Target, message: Message) -> PublishOutcome:
        self._checks.published(message)
        outcome: PublishOutcome = self._publisher.publish(target, message)
        return outcome
