"""DriverLifecycle against its transition table: every state, every event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tensor_pool.driver.core.driver_machine import DriverLifecycle
from tensor_pool.driver.core.events import Condition, DriverEvent, LeaseCheck, Revocation, Shutdown
from tensor_pool.driver.core.lease_machine import LeaseLifecycle
from tensor_pool.driver.core.ports import Target
from tensor_pool.driver.core.stream_machine import StreamLifecycle
from tensor_pool.driver.core.timers import Timers
from tensor_pool.hsm import Machine
from tensor_pool.protocol.wire import (
    ConsumerHello,
    DiscoveryRequest,
    Mode,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseKeepalive,
    ShutdownReason,
)
from tests.driver.core.harness import OTHER_STREAM, STREAM, make_config
from tests.driver.core.machine_parts import Recorder, where

INIT = "Init"
NORMAL = "Serving.Running.Normal"
DEGRADED = "Serving.Running.Degraded"
LOST = "Serving.Running.Degraded, transport lost"
DRAINING = "Serving.Draining"
DRAINING_EMPTY = "Serving.Draining, without leases"
STOPPED = "Stopped"
STOPPED_CLOSED = "Stopped, endpoints closed"
STATES = [INIT, NORMAL, DEGRADED, LOST, DRAINING, DRAINING_EMPTY, STOPPED, STOPPED_CLOSED]

RESPONSE = (Target.CONTROL, "ShmAttachResponse")
DETACH_RESPONSE = (Target.CONTROL, "ShmDetachResponse")
NOTICE = (Target.CONTROL, "ShmLeaseRevoked")
CONFIG = (Target.CONTROL, "ConsumerConfig")
DISCOVERY = (Target.CONTROL, "DiscoveryResponse")
ANNOUNCE = (Target.ANNOUNCE, "ShmPoolAnnounce")
SHUTDOWN = (Target.CONTROL, "ShmDriverShutdown")
FINISH = [SHUTDOWN, "flush_finally", ("close", 0, 0)]

SPACE, GC = Condition.SHM_SPACE, Condition.GC_FAILED


class FakeEndpoints:
    """Endpoints that only remember what was asked of them."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log
        self.is_open = True
        self.control_backlog = 0
        self.fails = False

    can_reopen = True

    def lose(self) -> None:
        self.log.append("lose endpoints")

    def reopen(self, now: int) -> bool:
        self.log.append("reopen endpoints")
        return True

    def open(self) -> None:
        self.log.append("open endpoints")
        if self.fails:
            raise OSError("no media driver")

    def close(self) -> None:
        self.log.append("close endpoints")

    def flush(self) -> int:
        self.log.append("flush")
        return 0

    def flush_finally(self) -> None:
        self.log.append("flush_finally")

    def answer(self, channel: str, stream_id: int, message: bytes) -> bool:
        self.log.append(("answer", channel, stream_id))
        return True

    def longest_message_bytes(self, channel: str) -> int:
        return 65536


class Scene:
    """A DriverLifecycle with one consumer lease on each of two streams, and its recorders."""

    def __init__(self, state: str) -> None:
        self.recorder = Recorder(make_config(driver={"instance_id": "table"}))
        self.endpoints = FakeEndpoints(self.recorder.log)
        self.timers = Timers(1000, 1000)
        self.machine = DriverLifecycle(self.recorder.services, self.endpoints, self.timers)
        self.machine.start()
        assert self.recorder.posted == [(DriverEvent.START_OK, None)]
        self.lease_id = 0
        self._enter(state)
        assert where(self.machine) == state.split(",")[0]
        self.recorder.forget()
        # The table is about the effects of one event, not about those of the way here.
        self.now = self.recorder.time.now

    def _enter(self, state: str) -> None:
        if state == INIT:
            return
        dispatch = self.machine.dispatch
        dispatch(DriverEvent.START_OK)
        if state != DRAINING_EMPTY:
            for client_id, stream_id in ((7, STREAM), (8, OTHER_STREAM)):
                dispatch(
                    DriverEvent.ATTACH_REQUEST,
                    ShmAttachRequest(client_id, stream_id, client_id, Role.CONSUMER, 0, 2),
                )
            self.lease_id = self.recorder.published[0].lease_id  # type: ignore[union-attr]
        if state == DEGRADED:
            dispatch(DriverEvent.HEALTH_RAISED, SPACE)
        if state == LOST:
            dispatch(DriverEvent.TRANSPORT_LOST, "gone")
        if state in (DRAINING, DRAINING_EMPTY):
            dispatch(DriverEvent.SHUTDOWN_REQUESTED, Shutdown(ShutdownReason.ADMIN, "first"))
        if state in (STOPPED, STOPPED_CLOSED):
            dispatch(DriverEvent.FATAL_ERROR, "gone")
            self.endpoints.is_open = state == STOPPED

    def event(self, name: str) -> tuple[DriverEvent, object]:
        event, arg = EVENTS[name]
        return event, arg(self) if callable(arg) else arg


def attach(scene: Scene) -> ShmAttachRequest:
    return ShmAttachRequest(99, STREAM, 99, Role.CONSUMER, 0, 2)


def detach(scene: Scene) -> ShmDetachRequest:
    return ShmDetachRequest(98, scene.lease_id, STREAM, 7, Role.CONSUMER)


def keepalive(scene: Scene) -> ShmLeaseKeepalive:
    return ShmLeaseKeepalive(scene.lease_id, STREAM, 7, Role.CONSUMER, 0)


def hello(scene: Scene) -> ConsumerHello:
    return ConsumerHello(
        STREAM,
        7,
        True,
        False,
        Mode.STREAM,
        0,
        0,
        descriptor_stream_id=1,
        descriptor_channel="aeron:ipc",
    )


def discovery(scene: Scene) -> DiscoveryRequest:
    driver = scene.recorder.config.driver
    return DiscoveryRequest(1, 7, driver.control_stream_id, response_channel=driver.control_channel)


def overdue(scene: Scene) -> LeaseCheck:
    return LeaseCheck(scene.now + scene.recorder.services.lease_duration_ns + 1, drained=True)


EVENTS: dict[str, tuple[DriverEvent, object | Callable[[Scene], object]]] = {
    "StartOk": (DriverEvent.START_OK, None),
    "StartFailed": (DriverEvent.START_FAILED, OSError("no")),
    "Tick": (DriverEvent.TICK, lambda scene: scene.now),
    "AttachRequest": (DriverEvent.ATTACH_REQUEST, attach),
    "DetachRequest": (DriverEvent.DETACH_REQUEST, detach),
    "Keepalive": (DriverEvent.KEEPALIVE, keepalive),
    "ConsumerHello": (DriverEvent.CONSUMER_HELLO, hello),
    "DiscoveryRequest": (DriverEvent.DISCOVERY_REQUEST, discovery),
    "AnnounceTimerFired": (DriverEvent.ANNOUNCE_TIMER_FIRED, lambda scene: scene.now),
    "LeaseCheckTimerFired": (
        DriverEvent.LEASE_CHECK_TIMER_FIRED,
        lambda scene: LeaseCheck(scene.now, drained=True),
    ),
    "LeaseCheckTimerFired, overdue": (DriverEvent.LEASE_CHECK_TIMER_FIRED, overdue),
    "RevokeLease": (DriverEvent.REVOKE_LEASE, lambda scene: Revocation(scene.lease_id, "x")),
    "RevokeLease, unknown": (DriverEvent.REVOKE_LEASE, Revocation(1, "x")),
    "Reprovision": (DriverEvent.REPROVISION, STREAM),
    "Reprovision, unknown": (DriverEvent.REPROVISION, 4),
    "ShutdownRequested": (
        DriverEvent.SHUTDOWN_REQUESTED,
        Shutdown(ShutdownReason.ADMIN, "stop"),
    ),
    "ShutdownTimeout": (DriverEvent.SHUTDOWN_TIMEOUT, None),
    "DrainComplete": (DriverEvent.DRAIN_COMPLETE, None),
    "FatalError": (DriverEvent.FATAL_ERROR, "broken"),
    "TransportLost": (DriverEvent.TRANSPORT_LOST, "gone"),
    "TransportBack": (DriverEvent.TRANSPORT_BACK, None),
    "HealthRaised": (DriverEvent.HEALTH_RAISED, GC),
    "HealthCleared": (DriverEvent.HEALTH_CLEARED, SPACE),
    "HealthCleared, of another": (DriverEvent.HEALTH_CLEARED, Condition.CONTROL_BACKPRESSURE),
}

REFRESH = [
    ("refresh_activity", STREAM),
    ANNOUNCE,
    ("refresh_activity", OTHER_STREAM),
    ANNOUNCE,
]
# Running's behaviours in Normal; Degraded changes none of them (D-050).
RUNNING: dict[str, tuple[str | None, list[Any]]] = {
    "Tick": (None, ["flush"]),
    "AttachRequest": (None, [RESPONSE, ANNOUNCE]),
    "DetachRequest": (None, [NOTICE, DETACH_RESPONSE]),
    "Keepalive": (None, []),
    "ConsumerHello": (None, [CONFIG]),
    "DiscoveryRequest": (None, [DISCOVERY]),
    "AnnounceTimerFired": (None, REFRESH),
    "LeaseCheckTimerFired": (None, []),
    "LeaseCheckTimerFired, overdue": (None, [NOTICE, NOTICE]),
    "RevokeLease": (None, [NOTICE]),
    "RevokeLease, unknown": (None, []),
    "Reprovision": (None, [("provision", STREAM), ("retire", STREAM), ANNOUNCE, "collect"]),
    "Reprovision, unknown": (None, []),
    "ShutdownRequested": (DRAINING, [ANNOUNCE, ANNOUNCE]),
    "ShutdownTimeout": (None, []),
    "DrainComplete": (None, []),
    "FatalError": (STOPPED, FINISH),
}
LOSE = "lose endpoints"
COMPLETE = DriverEvent.DRAIN_COMPLETE
TABLE: dict[str, dict[str, tuple[str | None, list[Any]]]] = {
    INIT: {"DiscoveryRequest": (None, []), "StartOk": (NORMAL, []), "StartFailed": (STOPPED, [])},
    NORMAL: RUNNING
    | {
        "TransportLost": (DEGRADED, [LOSE]),
        "TransportBack": (None, []),
        "HealthRaised": (DEGRADED, []),
        "HealthCleared": (None, []),
        "HealthCleared, of another": (None, []),
    },
    DEGRADED: RUNNING
    | {
        "TransportLost": (None, [LOSE]),
        "HealthRaised": (None, []),
        "HealthCleared": (NORMAL, []),
        "HealthCleared, of another": (None, []),
    },
    # Nothing is received, nothing expires; the fakes record what the machine publishes (D-146).
    LOST: RUNNING
    | {
        "Tick": (None, ["reopen endpoints", DriverEvent.TRANSPORT_BACK]),
        "LeaseCheckTimerFired, overdue": (None, []),
        "ShutdownRequested": (DRAINING, [ANNOUNCE, ANNOUNCE, DriverEvent.SHUTDOWN_TIMEOUT]),
        "TransportLost": (None, []),
        "TransportBack": (NORMAL, [ANNOUNCE, ANNOUNCE]),
        "HealthRaised": (None, []),
        "HealthCleared": (None, []),
        "HealthCleared, of another": (None, []),
    },
    DRAINING: {
        "Tick": (None, ["flush"]),
        "AttachRequest": (None, [RESPONSE]),
        "DetachRequest": (None, [NOTICE, DETACH_RESPONSE]),
        "Keepalive": (None, []),
        "ConsumerHello": (None, [CONFIG]),
        "DiscoveryRequest": (None, [DISCOVERY]),
        "AnnounceTimerFired": (None, REFRESH),
        "LeaseCheckTimerFired": (None, []),
        "LeaseCheckTimerFired, overdue": (None, [NOTICE, NOTICE, COMPLETE]),
        "RevokeLease": (None, [NOTICE]),
        "RevokeLease, unknown": (None, []),
        "Reprovision": (None, []),
        "Reprovision, unknown": (None, []),
        "ShutdownRequested": (None, []),
        "ShutdownTimeout": (STOPPED, FINISH),
        "DrainComplete": (None, []),
        "FatalError": (STOPPED, FINISH),
        "TransportLost": (STOPPED, FINISH),
        "TransportBack": (None, []),
        "HealthRaised": (None, []),
        "HealthCleared": (None, []),
        "HealthCleared, of another": (None, []),
    },
    STOPPED: {
        "AttachRequest": (None, [RESPONSE]),
        "DiscoveryRequest": (None, []),
        "ShutdownRequested": (None, []),
        "ShutdownTimeout": (None, []),
        "DrainComplete": (None, []),
        "TransportLost": (None, []),
        "TransportBack": (None, []),
    },
    STOPPED_CLOSED: {
        "DiscoveryRequest": (None, []),
        "ShutdownRequested": (None, []),
        "ShutdownTimeout": (None, []),
        "DrainComplete": (None, []),
        "TransportLost": (None, []),
        "TransportBack": (None, []),
    },
}
TABLE[DRAINING_EMPTY] = TABLE[DRAINING] | {
    # No lease: nothing to detach, revoke or greet, no stream that has an epoch.
    "DetachRequest": (None, [DETACH_RESPONSE]),
    "Keepalive": (None, [NOTICE]),  # of a lease that this driver never gave
    "ConsumerHello": (None, []),
    "AnnounceTimerFired": (None, []),
    "LeaseCheckTimerFired, overdue": (None, []),
    "RevokeLease": (None, []),
    "DrainComplete": (STOPPED, FINISH),
}


def without_epochs(log: list[Any]) -> list[Any]:
    """The log with epochs left out, which the wall clock decides."""
    shown = []
    for entry in log:
        if entry == ("collect", 0, 0):
            shown.append("collect")
        elif isinstance(entry, tuple) and len(entry) == 3 and entry[0] != "close":
            shown.append(entry[:2])
        else:
            shown.append(entry)
    return shown


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_D_020_every_state_takes_every_event_as_in_the_table(state: str, event: str) -> None:
    """D-020, D-023, D-050, S-030"""
    scene = Scene(state)
    machine, recorder = scene.machine, scene.recorder
    counted = recorder.metrics["driver_unhandled"]
    machine.dispatch(*scene.event(event))
    outcome = TABLE[state].get(event)
    if outcome is None:
        assert recorder.metrics["driver_unhandled"] == counted + 1
        assert recorder.log == []
        assert where(machine) == state.split(",")[0]
        return
    target, effects = outcome
    assert recorder.metrics["driver_unhandled"] == counted
    assert without_epochs(recorder.log) == effects
    assert where(machine) == (target or state.split(",")[0])
    check_conditions(scene, state, event)
    check_leases(scene, state, event)


def check_conditions(scene: Scene, state: str, event: str) -> None:
    expected = {DEGRADED: {SPACE}, LOST: {Condition.TRANSPORT_LOST}}.get(state, set())
    if event == "TransportLost" and state in (NORMAL, DEGRADED):
        expected |= {Condition.TRANSPORT_LOST}
    if event == "TransportBack":
        expected -= {Condition.TRANSPORT_LOST}
    if event == "HealthRaised" and state != STOPPED:
        expected |= {GC}
    if event == "HealthCleared":
        expected -= {SPACE}
    assert scene.machine.conditions == expected
    degraded = where(scene.machine) == DEGRADED
    assert scene.recorder.metrics["degraded"] == degraded


def check_leases(scene: Scene, state: str, event: str) -> None:
    expected = 0 if state in (INIT, DRAINING_EMPTY, STOPPED, STOPPED_CLOSED) else 2
    if expected:
        match event:
            case "AttachRequest":
                expected += state != DRAINING
            case "DetachRequest" | "RevokeLease":
                expected -= 1
            case "FatalError":
                expected = 0
            case "LeaseCheckTimerFired, overdue":
                expected = expected if state == LOST else 0
            case "TransportLost":
                expected = 0 if state == DRAINING else expected
            case "ShutdownTimeout":
                expected = 0 if state == DRAINING else expected
    assert len(scene.machine.leases) == expected
    assert scene.recorder.metrics["leases_active"] == expected


def test_D_010_the_machine_runs_on_fake_ports_alone() -> None:
    """D-010, D-012"""
    scene = Scene(NORMAL)
    scene.machine.dispatch(*scene.event("AttachRequest"))
    answer = scene.recorder.published[0]
    assert isinstance(answer, ShmAttachResponse)
    assert answer.code is ResponseCode.OK


def test_refusals_while_draining_and_after_name_the_reason() -> None:
    """D-020, D-070"""
    for state in (DRAINING, STOPPED):
        scene = Scene(state)
        scene.machine.dispatch(*scene.event("AttachRequest"))
        (answer,) = scene.recorder.published
        assert isinstance(answer, ShmAttachResponse)
        assert (answer.code, answer.error_message) == (ResponseCode.REJECTED, "driver draining")


def test_D_011_serving_exit_cancels_the_timers_and_draining_arms_its_own() -> None:
    """D-011, D-142"""
    scene = Scene(NORMAL)
    timers = scene.timers
    assert timers.announce.due_ns is not None
    assert timers.lease_check.due_ns is not None
    assert timers.drain.due_ns is None
    scene.machine.dispatch(*scene.event("ShutdownRequested"))
    assert timers.announce.due_ns is not None
    assert timers.drain.due_ns == scene.now + 2_000_000_000
    scene.machine.dispatch(*scene.event("ShutdownTimeout"))
    assert timers.next_due_ns() is None


def test_D_021_one_shutdown_message_whatever_repeats() -> None:
    scene = Scene(NORMAL)
    for event in (
        "ShutdownTimeout",
        "ShutdownRequested",
        "ShutdownRequested",
        "DrainComplete",
        "ShutdownTimeout",
        "ShutdownTimeout",
        "ShutdownRequested",
        "FatalError",
    ):
        scene.machine.dispatch(*scene.event(event))
    sent = [m for m in scene.recorder.published if isinstance(m, ShmDriverShutdown)]
    assert sent == [ShmDriverShutdown(scene.now, ShutdownReason.ADMIN, "stop")]


def test_D_021_a_failed_start_sends_no_shutdown_message() -> None:
    """D-021, D-100"""
    recorder = Recorder()
    endpoints = FakeEndpoints(recorder.log)
    endpoints.fails = True
    machine = DriverLifecycle(recorder.services, endpoints, Timers(1, 1))
    machine.start()
    ((event, error),) = recorder.posted
    assert event is DriverEvent.START_FAILED
    machine.dispatch(event, error)
    assert where(machine) == STOPPED
    assert machine.start_error is error
    assert recorder.published == []
    assert recorder.log == [
        ("open", 0, 0),
        "open endpoints",
        ("close", 0, 0),
        DriverEvent.START_FAILED,
    ]


def test_fatal_error_is_the_reason_of_the_stop() -> None:
    """D-141"""
    scene = Scene(NORMAL)
    scene.machine.dispatch(*scene.event("FatalError"))
    sent = scene.recorder.published[-1]
    assert sent == ShmDriverShutdown(scene.now, ShutdownReason.ERROR, "broken")


def test_a_step_of_the_shutdown_that_fails_keeps_no_other_from_being_taken() -> None:
    """D-064"""
    scene = Scene(NORMAL)

    def fail() -> None:
        raise OSError("flush")

    scene.endpoints.flush_finally = fail  # type: ignore[method-assign]
    scene.machine.dispatch(*scene.event("FatalError"))
    assert where(scene.machine) == STOPPED
    assert scene.recorder.log[-1] == ("close", 0, 0)
    assert scene.recorder.metrics["handler_errors"] == 1


def test_detach_of_an_unknown_lease_has_no_effect() -> None:
    """D-085"""
    scene = Scene(DRAINING_EMPTY)
    scene.machine.dispatch(*scene.event("DetachRequest"))
    (answer,) = scene.recorder.published
    assert answer == ShmDetachResponse(98, ResponseCode.REJECTED, "unknown lease")


@pytest.mark.parametrize("machine", [DriverLifecycle, StreamLifecycle, LeaseLifecycle])
def test_every_state_can_be_reached_and_only_the_last_cannot_be_left(
    machine: type[Machine],
) -> None:
    """D-010"""
    assert machine.unreachable() == ()
    stuck = [finding.state.name for finding in machine.lint()]
    assert stuck == ["Stopped" if machine is DriverLifecycle else "Closed"]
