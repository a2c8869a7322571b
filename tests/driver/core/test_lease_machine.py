"""LeaseLifecycle against its transition table: every state, every event."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_pool.driver.core.events import (
    Cause,
    LeaseEvent,
    NewEpoch,
    Producer,
    Refusal,
    StreamEvent,
)
from tensor_pool.driver.core.lease_machine import LeaseLifecycle
from tensor_pool.driver.core.ports import Target
from tensor_pool.driver.core.stream_machine import StreamLifecycle
from tensor_pool.protocol.wire import (
    LeaseRevokeReason,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmLeaseRevoked,
)
from tests.driver.core.harness import SECOND, STREAM
from tests.driver.core.machine_parts import Recorder, where

UNATTACHED = "Live.Unattached"
ACTIVE = "Live.Active"
DETACHED = "Live.Ended.Detached"
EXPIRED = "Live.Ended.Expired"
REVOKED = "Live.Ended.Revoked"
CLOSED = "Closed"
STATES = [UNATTACHED, ACTIVE, DETACHED, EXPIRED, REVOKED, CLOSED]

RESPONSE = (Target.CONTROL, "ShmAttachResponse")
NOTICE = (Target.CONTROL, "ShmLeaseRevoked")
ANNOUNCE = (Target.ANNOUNCE, "ShmPoolAnnounce")

EVENTS: dict[LeaseEvent, Any] = {
    LeaseEvent.ATTACH_OK: "the stream",
    LeaseEvent.ATTACH_REJECT: Refusal(ResponseCode.REJECTED, "because"),
    LeaseEvent.KEEPALIVE: None,
    LeaseEvent.DETACH: None,
    LeaseEvent.LEASE_TIMEOUT: None,
    LeaseEvent.REVOKE: "no reason",
    LeaseEvent.CLOSE: None,
}
TABLE = {
    (UNATTACHED, LeaseEvent.ATTACH_OK): (ACTIVE, [RESPONSE]),
    (UNATTACHED, LeaseEvent.ATTACH_REJECT): (UNATTACHED, [RESPONSE]),
    (ACTIVE, LeaseEvent.KEEPALIVE): (ACTIVE, []),
    (ACTIVE, LeaseEvent.DETACH): (DETACHED, [NOTICE]),
    (ACTIVE, LeaseEvent.LEASE_TIMEOUT): (EXPIRED, [NOTICE]),
    (ACTIVE, LeaseEvent.REVOKE): (REVOKED, [NOTICE]),
    **{(state, LeaseEvent.CLOSE): (CLOSED, []) for state in STATES},
}


def make(
    recorder: Recorder, state: str, role: Role = Role.CONSUMER
) -> tuple[LeaseLifecycle, StreamLifecycle]:
    services = recorder.services
    stream = StreamLifecycle(services, STREAM, recorder.config.profiles["camera"])
    regions = recorder.regions(STREAM, 100)
    stream.dispatch(StreamEvent.STREAM_PROVISIONED, NewEpoch(regions, Cause.ATTACH))
    node_id = services.node_ids.take(7, None, recorder.time.now)
    assert node_id is not None
    lease = LeaseLifecycle(
        services, ShmAttachRequest(5, STREAM, 7, role, 0), lease_id=11, node_id=node_id
    )
    if state != UNATTACHED:
        lease.dispatch(LeaseEvent.ATTACH_OK, stream)
        if role is Role.PRODUCER:
            stream.dispatch(StreamEvent.PRODUCER_ATTACHED, Producer(11, 7))
        else:
            stream.dispatch(StreamEvent.CONSUMER_ATTACHED, 11)
    ways = {DETACHED: LeaseEvent.DETACH, EXPIRED: LeaseEvent.LEASE_TIMEOUT}
    if state in ways:
        lease.dispatch(ways[state])
    elif state == REVOKED:
        lease.dispatch(LeaseEvent.REVOKE, "text")
    elif state == CLOSED:
        lease.dispatch(LeaseEvent.CLOSE)
    assert where(lease) == state
    recorder.forget()
    return lease, stream


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_D_040_every_state_takes_every_event_as_in_the_table(state: str, event: LeaseEvent) -> None:
    recorder = Recorder()
    lease, stream = make(recorder, state)
    arg = stream if event is LeaseEvent.ATTACH_OK else EVENTS[event]
    lease.dispatch(event, arg)
    target, effects = TABLE.get((state, event), (state, []))
    assert where(lease) == target
    assert recorder.log == effects
    assert recorder.metrics["lease_unhandled"] == ((state, event) not in TABLE)


@pytest.mark.parametrize(
    ("event", "text", "reason", "expected"),
    [
        (LeaseEvent.DETACH, None, LeaseRevokeReason.DETACHED, "lease detached"),
        (LeaseEvent.LEASE_TIMEOUT, None, LeaseRevokeReason.EXPIRED, "lease expired"),
        (LeaseEvent.REVOKE, "out", LeaseRevokeReason.REVOKED, "out"),
        (LeaseEvent.REVOKE, "", LeaseRevokeReason.REVOKED, "lease revoked"),
    ],
)
def test_notice_names_the_lease_and_why_it_ended(
    event: LeaseEvent, text: str | None, reason: LeaseRevokeReason, expected: str
) -> None:
    """D-040, D-093"""
    recorder = Recorder()
    lease, _ = make(recorder, ACTIVE)
    lease.dispatch(event, text)
    now = recorder.time.now
    assert recorder.published == [
        ShmLeaseRevoked(now, 11, STREAM, 7, Role.CONSUMER, reason, expected)
    ]
    assert recorder.metrics[f"leases_{reason.name.lower()}"] == 1


def test_keepalive_pushes_the_expiry_on() -> None:
    """D-082"""
    recorder = Recorder()
    lease, _ = make(recorder, ACTIVE)
    recorder.clock.advance(SECOND)
    recorder.time.read()
    lease.dispatch(LeaseEvent.KEEPALIVE)
    assert lease.expiry_ns == recorder.time.now + 3 * SECOND
    assert recorder.metrics["keepalives"] == 1


@pytest.mark.parametrize("event", [LeaseEvent.DETACH, LeaseEvent.LEASE_TIMEOUT, LeaseEvent.REVOKE])
def test_D_092_producers_notice_precedes_provisioning(event: LeaseEvent) -> None:
    recorder = Recorder()
    lease, stream = make(recorder, ACTIVE, Role.PRODUCER)
    lease.dispatch(event)
    provision = ("provision", STREAM, stream.last_epoch)
    retire = ("retire", STREAM, 100)
    assert recorder.log == [NOTICE, provision, retire, ANNOUNCE]
    assert where(stream) == "Live.Active.Ready"


def test_producer_end_without_a_next_epoch_sends_the_stream_to_init() -> None:
    """D-186"""
    recorder = Recorder()
    lease, stream = make(recorder, ACTIVE, Role.PRODUCER)
    recorder.store.faults.permission = True
    lease.dispatch(LeaseEvent.DETACH)
    assert where(stream) == "Live.Init"
    assert [entry for entry in recorder.log if entry == ANNOUNCE] == []


def test_producer_end_while_draining_creates_no_epoch() -> None:
    """D-031, D-096, D-143"""
    recorder = Recorder()
    lease, stream = make(recorder, ACTIVE, Role.PRODUCER)
    stream.dispatch(StreamEvent.DRIVER_DRAINING)
    lease.dispatch(LeaseEvent.DETACH)
    assert recorder.log == [NOTICE, ("retire", STREAM, 100)]
    assert stream.producer is None
    assert stream.epoch is None


def test_end_releases_node_id_and_private_streams() -> None:
    """D-040"""
    recorder = Recorder()
    lease, _ = make(recorder, ACTIVE)
    assert recorder.services.node_ids.active == {1}
    lease.dispatch(LeaseEvent.DETACH)
    assert recorder.services.node_ids.active == frozenset()


def test_D_042_closing_an_active_lease_sends_nothing() -> None:
    recorder = Recorder()
    lease, _ = make(recorder, ACTIVE)
    lease.dispatch(LeaseEvent.CLOSE)
    assert recorder.published == []


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=12))
def test_D_041_one_notice_exactly_if_the_lease_ended(events: list[LeaseEvent]) -> None:
    recorder = Recorder()
    lease, stream = make(recorder, UNATTACHED)
    ended = False
    for event in events:
        lease.dispatch(event, stream if event is LeaseEvent.ATTACH_OK else EVENTS[event])
        ended = ended or lease.is_in(LeaseLifecycle.Ended)
    notices = [m for m in recorder.published if isinstance(m, ShmLeaseRevoked)]
    assert len(notices) == ended


def test_refusal_is_answered_from_unattached() -> None:
    """D-040"""
    recorder = Recorder()
    lease, _ = make(recorder, UNATTACHED)
    lease.dispatch(LeaseEvent.ATTACH_REJECT, Refusal(ResponseCode.INVALID_PARAMS, "no"))
    assert recorder.published == [
        ShmAttachResponse(5, ResponseCode.INVALID_PARAMS, error_message="no")
    ]
