"""DriverLifecycle: the driver from start-up to its end (D-020).

**Init** starts up once, and the outcome decides. **Serving** handles what clients send and what
timers bring: *Running*, where attaches are granted, *Normal* or *Degraded* by the health of what
the driver depends on; then *Draining*, where leases may end but none begins. **Stopped** has sent
the one shutdown message and released everything.

The details stand in `attach_requests.py` (attaches), `lease_requests.py` (keepalives and the ends
of leases) and `start_stop.py` (the first and the last steps).
"""

from __future__ import annotations

import logging

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    Machine,
    Outcome,
    State,
    on_entry,
    on_event,
    on_exit,
    on_initial,
)
from tensor_pool.protocol.wire import (
    ConsumerHello,
    DiscoveryRequest,
    ShmAttachRequest,
    ShmDetachRequest,
    ShmLeaseKeepalive,
    ShutdownReason,
)

from .admission import DRAINING
from .attach_requests import AttachRequests
from .descriptions import Descriptions
from .discovery import DiscoveryProvider
from .events import (
    Cause,
    Condition,
    DriverEvent,
    LeaseCheck,
    NewEpoch,
    Refusal,
    Revocation,
    Shutdown,
    StreamEvent,
)
from .lease_requests import LeaseRequests
from .lease_table import LeaseTable
from .services import Services
from .start_stop import Endpoints, finish, start_up
from .stream_table import StreamTable
from .timers import Timers

__all__ = ["DriverLifecycle"]

_log = logging.getLogger(__name__)


class DriverLifecycle(Machine):
    """The state of the driver. `start()` runs the start-up; its outcome is a posted event."""

    def __init__(self, services: Services, endpoints: Endpoints, timers: Timers) -> None:
        self._services = services
        self._endpoints = endpoints
        self._timers = timers
        self.streams = StreamTable(services)
        self.leases = LeaseTable(services.clock.realtime_ns())
        self.conditions: set[Condition] = set()
        self.shutdown = Shutdown(ShutdownReason.NORMAL, "")
        self.start_error: Exception | None = None
        configured = services.config.streams.items()
        self.descriptions = Descriptions(
            {stream.stream_id: name for name, stream in configured}, self.streams, self.leases
        )
        self._discovery = DiscoveryProvider(services, self.streams, self.descriptions, endpoints)
        self._attach = AttachRequests(services, self.leases, self.streams, self.descriptions)
        self._lease_requests = LeaseRequests(
            services, self.leases, self.streams, lambda: self.is_in(self.Draining)
        )
        super().__init__(start=False, observer=services.observer)

    # -- states

    Init = State()
    Serving = State()
    Running = State(parent=Serving)
    Normal = State(parent=Running)
    Degraded = State(parent=Running)
    Draining = State(parent=Serving)
    Stopped = State()

    _first = on_initial(ROOT, target=Init)
    _serving_first = on_initial(Serving, target=Running)
    _running_first = on_initial(Running, target=Normal)

    # -- guards

    def _was_last(self, condition: Condition) -> bool:
        return not self.conditions - {condition}

    def _has_no_lease(self, _: object) -> bool:
        return not self.leases

    def _can_reopen(self, _: object) -> bool:
        return self._endpoints.can_reopen

    def _transport_is_lost(self, _: object) -> bool:
        return Condition.TRANSPORT_LOST in self.conditions

    def _only_transport_is_lost(self, _: object) -> bool:
        return self.conditions == {Condition.TRANSPORT_LOST}

    def _can_answer(self, _: object) -> bool:
        return self._endpoints.is_open

    # -- Init

    @on_entry(Init)
    def _start_up(self) -> None:
        # The outcome comes first: a stop requested meanwhile is for the state that follows.
        error = start_up(self._services, self._endpoints, self.streams)
        if error is None:
            self._services.post_first(DriverEvent.START_OK, None)
        else:
            self._services.post_first(DriverEvent.START_FAILED, error)

    @on_event(Init, DriverEvent.START_OK, target=Normal)
    def _started(self, _: object) -> None:
        now = self._services.time.now
        self._timers.lease_check.arm(now)
        self._timers.announce.arm(now)

    @on_event(Init, DriverEvent.START_FAILED, target=Stopped)
    def _start_failed(self, error: Exception) -> None:
        self.start_error = error

    # -- Serving

    @on_exit(Serving)
    def _cancel_timers(self) -> None:
        self._timers.lease_check.cancel()
        self._timers.announce.cancel()

    @on_event(Serving, DriverEvent.TICK)
    def _tick(self, now: int) -> Outcome:
        services = self._services
        self._endpoints.flush()
        self._lease_requests.tick(now)
        services.health.check(now, self._endpoints.control_backlog, services.store)
        return HANDLED

    @on_event(Serving, DriverEvent.DETACH_REQUEST)
    def _detach_requested(self, message: ShmDetachRequest) -> Outcome:
        self._lease_requests.detach(message)
        return HANDLED

    @on_event(Serving, DriverEvent.KEEPALIVE)
    def _kept_alive(self, message: ShmLeaseKeepalive) -> Outcome:
        self._lease_requests.keepalive(message)
        return HANDLED

    @on_event(Serving, DriverEvent.CONSUMER_HELLO)
    def _greeted(self, message: ConsumerHello) -> Outcome:
        self._lease_requests.hello(message)
        return HANDLED

    @on_event(Serving, DriverEvent.DISCOVERY_REQUEST)
    def _asked_for_streams(self, message: DiscoveryRequest) -> Outcome:
        self._discovery.handle(message)
        return HANDLED

    @on_event(Serving, DriverEvent.ANNOUNCE_TIMER_FIRED)
    def _announce_due(self, now: int) -> Outcome:
        epochs = self._services.epochs
        for stream in self.streams:
            if stream.regions is not None:
                epochs.refresh(stream.stream_id, stream.regions.epoch)
                stream.announce()
            elif stream.consumers and stream.accepts_provisioning():
                regions = epochs.provision_successor(stream)
                if regions is not None:
                    stream.dispatch(StreamEvent.STREAM_PROVISIONED, NewEpoch(regions, Cause.RETRY))
        epochs.keep_tree()
        epochs.collect_waiting()
        return HANDLED

    @on_event(Serving, DriverEvent.LEASE_CHECK_TIMER_FIRED)
    def _lease_check_due(self, check: LeaseCheck) -> Outcome:
        self._lease_requests.check(check)
        return HANDLED

    @on_event(Serving, DriverEvent.REVOKE_LEASE)
    def _revoke_lease(self, revocation: Revocation) -> Outcome:
        self._lease_requests.revoke(revocation)
        return HANDLED

    @on_event(Serving, DriverEvent.TRANSPORT_LOST, target=Stopped)
    @on_event(Serving, DriverEvent.FATAL_ERROR, target=Stopped)
    def _fail(self, text: str) -> None:
        self.shutdown = Shutdown(ShutdownReason.ERROR, text)
        self._finish()

    # -- Serving: Running

    @on_event(Running, DriverEvent.ATTACH_REQUEST)
    def _attach_requested(self, message: ShmAttachRequest) -> Outcome:
        self._attach.handle(message)
        return HANDLED

    @on_event(Running, DriverEvent.SHUTDOWN_REQUESTED, target=Draining)
    def _begin_shutdown(self, shutdown: Shutdown) -> None:
        self.shutdown = shutdown

    @on_event(Running, DriverEvent.SHUTDOWN_TIMEOUT, DriverEvent.DRAIN_COMPLETE)
    def _not_draining(self, _: object) -> Outcome:
        return HANDLED

    @on_event(Running, DriverEvent.REPROVISION)
    def _reprovision(self, stream_id: int) -> Outcome:
        stream = self.streams.get(stream_id)
        if stream is None or not stream.accepts_provisioning():
            return HANDLED
        if stream.producer is not None:
            self._lease_requests.revoke(
                Revocation(stream.producer.lease_id, "stream reprovisioned")
            )
            return HANDLED
        event = (
            StreamEvent.STREAM_PROVISIONED if stream.regions is None else StreamEvent.EPOCH_BUMPED
        )
        regions = self._services.epochs.provision_successor(stream)
        if regions is not None:
            stream.dispatch(event, NewEpoch(regions, Cause.ADMIN))
            self._services.epochs.collect_if_retired()
        return HANDLED

    # -- Serving: Running: Normal

    @on_event(Normal, DriverEvent.HEALTH_RAISED, target=Degraded)
    def _degrade(self, condition: Condition) -> None:
        self.conditions.add(condition)

    @on_event(Normal, DriverEvent.TRANSPORT_LOST, target=Degraded, guard=_can_reopen)
    def _degrade_by_loss(self, text: str) -> None:
        self._lose_transport(text)

    @on_event(Normal, DriverEvent.TRANSPORT_BACK)
    @on_event(Normal, DriverEvent.HEALTH_CLEARED)
    def _already_normal(self, _: object) -> Outcome:
        return HANDLED

    # -- Serving: Running: Degraded

    @on_entry(Degraded)
    def _note_degraded(self) -> None:
        self._services.metrics.set("degraded", 1)
        _log.warning("degraded: %s", ", ".join(sorted(self.conditions)))

    @on_exit(Degraded)
    def _note_recovered(self) -> None:
        self._services.metrics.set("degraded", 0)
        _log.info("no longer degraded: %s", ", ".join(sorted(self.conditions)) or "all clear")

    @on_event(Degraded, DriverEvent.TRANSPORT_LOST, guard=_transport_is_lost)
    @on_event(Degraded, DriverEvent.LEASE_CHECK_TIMER_FIRED, guard=_transport_is_lost)
    def _cannot_be_heard(self, _: object) -> Outcome:
        return HANDLED

    @on_event(Degraded, DriverEvent.TRANSPORT_LOST, guard=_can_reopen)
    def _lost_as_well(self, text: str) -> Outcome:
        self._lose_transport(text)
        return HANDLED

    @on_event(Degraded, DriverEvent.TICK, guard=_transport_is_lost)
    def _tick_without_transport(self, now: int) -> Outcome:
        self._lease_requests.tick(now)
        if self._endpoints.reopen(now):
            self._services.post(DriverEvent.TRANSPORT_BACK, None)
        return HANDLED

    @on_event(Degraded, DriverEvent.TRANSPORT_BACK, target=Normal, guard=_only_transport_is_lost)
    def _recover_by_return(self, _: object) -> None:
        self._transport_back()

    @on_event(Degraded, DriverEvent.TRANSPORT_BACK, guard=_transport_is_lost)
    def _back_but_degraded(self, _: object) -> Outcome:
        self._transport_back()
        return HANDLED

    @on_event(Degraded, DriverEvent.HEALTH_CLEARED, target=Normal, guard=_was_last)
    def _recover(self, condition: Condition) -> None:
        self.conditions.discard(condition)

    @on_event(Degraded, DriverEvent.HEALTH_CLEARED)
    @on_event(Draining, DriverEvent.HEALTH_CLEARED)
    def _clear(self, condition: Condition) -> Outcome:
        self.conditions.discard(condition)
        return HANDLED

    @on_event(Degraded, DriverEvent.HEALTH_RAISED)
    @on_event(Draining, DriverEvent.HEALTH_RAISED)
    def _raise(self, condition: Condition) -> Outcome:
        self.conditions.add(condition)
        return HANDLED

    # -- Serving: Draining

    @on_entry(Draining)
    def _drain(self) -> None:
        services = self._services
        for stream in self.streams:
            stream.dispatch(StreamEvent.DRIVER_DRAINING)
        for stream in self.streams:
            stream.announce()
        timeout_ns = services.config.policies.shutdown_timeout_ms * 1_000_000
        self._timers.drain.arm(services.time.now + timeout_ns)
        if Condition.TRANSPORT_LOST in self.conditions:
            services.post(DriverEvent.SHUTDOWN_TIMEOUT, None)  # no client can detach
        elif not self.leases:
            services.post(DriverEvent.DRAIN_COMPLETE, None)

    @on_exit(Draining)
    def _disarm(self) -> None:
        self._timers.drain.cancel()

    @on_event(Draining, DriverEvent.ATTACH_REQUEST)
    @on_event(Stopped, DriverEvent.ATTACH_REQUEST, guard=_can_answer)
    def _refuse(self, message: ShmAttachRequest) -> Outcome:
        self._attach.refuse(message, DRAINING)
        return HANDLED

    @on_event(Draining, DriverEvent.SHUTDOWN_REQUESTED, DriverEvent.REPROVISION)
    def _already_draining(self, _: object) -> Outcome:
        return HANDLED

    @on_event(Draining, DriverEvent.TRANSPORT_BACK)
    def _back_too_late(self, _: object) -> Outcome:
        return HANDLED

    @on_event(Draining, DriverEvent.TRANSPORT_LOST, target=Stopped)
    @on_event(Draining, DriverEvent.SHUTDOWN_TIMEOUT, target=Stopped)
    def _drain_timed_out(self, _: object) -> None:
        self._finish()

    @on_event(Draining, DriverEvent.DRAIN_COMPLETE, target=Stopped, guard=_has_no_lease)
    def _drained(self, _: object) -> None:
        self._finish()

    @on_event(Draining, DriverEvent.DRAIN_COMPLETE)
    def _not_yet_drained(self, _: object) -> Outcome:
        return HANDLED

    # -- Stopped

    @on_event(
        Stopped,
        DriverEvent.SHUTDOWN_REQUESTED,
        DriverEvent.SHUTDOWN_TIMEOUT,
        DriverEvent.DRAIN_COMPLETE,
        DriverEvent.TRANSPORT_LOST,
        DriverEvent.TRANSPORT_BACK,
    )
    def _already_stopped(self, _: object) -> Outcome:
        return HANDLED

    @on_event(Init, DriverEvent.DISCOVERY_REQUEST)
    @on_event(Stopped, DriverEvent.DISCOVERY_REQUEST)
    def _serves_nothing(self, _: DiscoveryRequest) -> Outcome:
        return HANDLED

    # -- everywhere

    @on_event(ROOT, ANY)
    def _unhandled(self, _: object, event: object) -> Outcome:
        self._services.metrics.inc("driver_unhandled")
        return HANDLED

    # -- what others may ask

    @property
    def label(self) -> str:
        """Name of this machine in logs."""
        return "driver"

    def refuse_attach(self, request: ShmAttachRequest, refusal: Refusal) -> None:
        """Answer a request that cannot even be judged (D-061)."""
        self._attach.refuse(request, refusal)

    # -- effects

    def _lose_transport(self, text: str) -> None:
        _log.error("transport lost: %s; leases and regions are kept, reconnecting", text)
        self.conditions.add(Condition.TRANSPORT_LOST)
        self._endpoints.lose()

    def _transport_back(self) -> None:
        _log.info("transport back: %d leases go on", len(self.leases))
        self.conditions.discard(Condition.TRANSPORT_LOST)
        self._lease_requests.transport_back()
        for stream in self.streams:
            stream.announce()

    def _finish(self) -> None:
        finish(self._services, self._endpoints, self.streams, self._lease_requests, self.shutdown)
