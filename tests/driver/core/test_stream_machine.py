"""StreamLifecycle against its transition table: every state, every event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tensor_pool.driver.core.events import (
    Cause,
    NewEpoch,
    NoSuccessor,
    Producer,
    ProducerEnd,
    StreamEvent,
)
from tensor_pool.driver.core.stream_machine import StreamLifecycle
from tensor_pool.protocol.wire import ShmPoolAnnounce
from tests.driver.core.harness import STREAM
from tests.driver.core.machine_parts import Recorder, where

ANNOUNCE = "announce"
RETIRE = "retire"
UNHANDLED = "unhandled"

INIT = "Live.Init"
READY = "Live.Active.Ready"
PRODUCING = "Live.Active.ProducerAttached"
DRAINING = "Live.Draining"
DRAINING_WITH_PRODUCER = "Live.Draining, with its producer"
READY_EMPTY = "Live.Active.Ready, without leases"
INIT_EMPTY = "Live.Init, without leases"
CLOSED = "Closed"

OLD, NEW = 100, 101
PRODUCER = Producer(lease_id=11, client_id=7)
CONSUMER = 22


def make(recorder: Recorder, state: str) -> StreamLifecycle:
    """A stream in the given state, by default with one consumer."""
    stream = StreamLifecycle(
        recorder.services, STREAM, recorder.config.profiles["camera"], dynamic=True
    )
    regions = recorder.regions(STREAM, OLD)
    if state not in (INIT, INIT_EMPTY):
        stream.dispatch(StreamEvent.STREAM_PROVISIONED, NewEpoch(regions, Cause.ATTACH))
    if state not in (READY_EMPTY, INIT_EMPTY, CLOSED):
        if state == INIT:
            stream.consumers.add(CONSUMER)
        else:
            stream.dispatch(StreamEvent.CONSUMER_ATTACHED, CONSUMER)
    if state in (PRODUCING, DRAINING_WITH_PRODUCER):
        stream.dispatch(StreamEvent.PRODUCER_ATTACHED, PRODUCER)
    if state in (DRAINING, DRAINING_WITH_PRODUCER):
        stream.dispatch(StreamEvent.DRIVER_DRAINING)
    if state == CLOSED:
        stream.dispatch(StreamEvent.CLOSE)
    assert where(stream) == state.split(",")[0]
    recorder.forget()
    return stream


def new_epoch(epoch: int, cause: Cause) -> Callable[[Recorder], NewEpoch]:
    return lambda recorder: NewEpoch(recorder.regions(STREAM, epoch), cause)


def successor(lease_id: int, epoch: int) -> Callable[[Recorder], ProducerEnd]:
    return lambda recorder: ProducerEnd(lease_id, recorder.regions(STREAM, epoch))


EVENTS: dict[str, tuple[StreamEvent, Any]] = {
    "StreamProvisioned": (StreamEvent.STREAM_PROVISIONED, new_epoch(NEW, Cause.RETRY)),
    "StreamProvisioned, for an attach": (
        StreamEvent.STREAM_PROVISIONED,
        new_epoch(NEW, Cause.ATTACH),
    ),
    "StreamProvisioned, not later": (StreamEvent.STREAM_PROVISIONED, new_epoch(0, Cause.RETRY)),
    "EpochBumped": (StreamEvent.EPOCH_BUMPED, new_epoch(NEW, Cause.ADMIN)),
    "EpochBumped, for an attach": (StreamEvent.EPOCH_BUMPED, new_epoch(NEW, Cause.ATTACH)),
    "EpochBumped, not later": (StreamEvent.EPOCH_BUMPED, new_epoch(OLD, Cause.ADMIN)),
    "ProducerAttached": (StreamEvent.PRODUCER_ATTACHED, Producer(33, 9)),
    "ProducerDetached, new epoch": (StreamEvent.PRODUCER_DETACHED, successor(11, NEW)),
    "ProducerDetached, epoch not later": (StreamEvent.PRODUCER_DETACHED, successor(11, OLD)),
    "ProducerDetached, of another": (StreamEvent.PRODUCER_DETACHED, successor(12, NEW)),
    "ProducerDetached, failed": (
        StreamEvent.PRODUCER_DETACHED,
        ProducerEnd(11, NoSuccessor.FAILED),
    ),
    "ProducerDetached, draining": (
        StreamEvent.PRODUCER_DETACHED,
        ProducerEnd(11, NoSuccessor.DRAINING),
    ),
    "ConsumerAttached": (StreamEvent.CONSUMER_ATTACHED, 44),
    "ConsumerDetached": (StreamEvent.CONSUMER_DETACHED, CONSUMER),
    "DriverDraining": (StreamEvent.DRIVER_DRAINING, None),
    "DriverShutdown": (StreamEvent.DRIVER_SHUTDOWN, None),
    "Close": (StreamEvent.CLOSE, None),
}

# (state, event) -> (state afterwards, effects); what is not listed is unhandled.
TABLE: dict[tuple[str, str], tuple[str, list[str]]] = {
    (INIT, "StreamProvisioned"): (READY, [ANNOUNCE]),
    (INIT, "StreamProvisioned, for an attach"): (READY, []),
    (INIT, "ConsumerDetached"): (INIT, []),
    (INIT, "DriverDraining"): (DRAINING, []),
    (INIT, "DriverShutdown"): (CLOSED, []),
    (INIT_EMPTY, "Close"): (CLOSED, []),
    (READY, "ProducerAttached"): (PRODUCING, [ANNOUNCE]),
    (READY, "ConsumerAttached"): (READY, [ANNOUNCE]),
    (READY, "ConsumerDetached"): (READY, []),
    (READY, "EpochBumped"): (READY, [RETIRE, ANNOUNCE]),
    (READY, "EpochBumped, for an attach"): (READY, [RETIRE]),
    (READY, "DriverDraining"): (DRAINING, []),
    (READY, "DriverShutdown"): (CLOSED, []),
    (READY_EMPTY, "Close"): (CLOSED, [RETIRE]),
    (PRODUCING, "ProducerDetached, new epoch"): (READY, [RETIRE, ANNOUNCE]),
    (PRODUCING, "ProducerDetached, failed"): (INIT, [RETIRE]),
    (PRODUCING, "ConsumerAttached"): (PRODUCING, [ANNOUNCE]),
    (PRODUCING, "ConsumerDetached"): (PRODUCING, []),
    (PRODUCING, "EpochBumped"): (PRODUCING, [RETIRE, ANNOUNCE]),
    (PRODUCING, "EpochBumped, for an attach"): (PRODUCING, [RETIRE]),
    (PRODUCING, "DriverDraining"): (DRAINING, []),
    (PRODUCING, "DriverShutdown"): (CLOSED, []),
    (DRAINING, "DriverDraining"): (DRAINING, []),
    (DRAINING, "ConsumerDetached"): (DRAINING, []),
    (DRAINING, "DriverShutdown"): (CLOSED, []),
    (DRAINING_WITH_PRODUCER, "DriverDraining"): (DRAINING, []),
    (DRAINING_WITH_PRODUCER, "ProducerDetached, draining"): (DRAINING, [RETIRE]),
    (DRAINING_WITH_PRODUCER, "ConsumerDetached"): (DRAINING, []),
    (DRAINING_WITH_PRODUCER, "DriverShutdown"): (CLOSED, []),
    (CLOSED, "Close"): (CLOSED, []),
    (CLOSED, "DriverShutdown"): (CLOSED, []),
    (CLOSED, "DriverDraining"): (CLOSED, []),
}
# READY and INIT do the same without leases but for Close.
for (_state, _event), _outcome in list(TABLE.items()):
    if _state in (INIT, READY):
        TABLE.setdefault((f"{_state}, without leases", _event), _outcome)

STATES = [
    INIT,
    INIT_EMPTY,
    READY,
    READY_EMPTY,
    PRODUCING,
    DRAINING,
    DRAINING_WITH_PRODUCER,
    CLOSED,
]


def effects(recorder: Recorder) -> list[str]:
    named = []
    for entry in recorder.log:
        if entry[0] == "retire":
            assert entry == ("retire", STREAM, OLD)
            named.append(RETIRE)
        elif entry[1] == ShmPoolAnnounce.__name__:
            named.append(ANNOUNCE)
        else:
            named.append(str(entry))
    return named


def data(stream: StreamLifecycle) -> tuple[object, ...]:
    return (stream.epoch, stream.last_epoch, stream.producer, frozenset(stream.consumers))


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_D_030_every_state_takes_every_event_as_in_the_table(state: str, event: str) -> None:
    """D-030, D-032, D-033"""
    recorder = Recorder()
    stream = make(recorder, state)
    name, arg = EVENTS[event]
    arg = arg(recorder) if callable(arg) else arg
    before = data(stream)
    unhandled_before = recorder.metrics["stream_unhandled"]
    stream.dispatch(name, arg)
    outcome = TABLE.get((state, event))
    if outcome is None:
        assert where(stream) == state.split(",")[0]
        assert effects(recorder) == []
        assert data(stream) == before
        assert recorder.metrics["stream_unhandled"] == unhandled_before + 1
        return
    target, expected = outcome
    assert where(stream) == target
    assert effects(recorder) == expected
    assert recorder.metrics["stream_unhandled"] == unhandled_before
    check_data(stream, before, event)


def check_data(stream: StreamLifecycle, before: tuple[Any, ...], event: str) -> None:
    epoch, last_epoch, producer, consumers = before
    match event.split(",")[0]:
        case "StreamProvisioned" | "EpochBumped":
            epoch = last_epoch = NEW
        case "ProducerAttached":
            producer = Producer(33, 9)
        case "ProducerDetached":
            producer = None
            epoch = NEW if "new epoch" in event else None
            last_epoch = max(last_epoch, epoch or 0)
        case "ConsumerAttached":
            consumers |= {44}
        case "ConsumerDetached":
            consumers -= {CONSUMER}
        case "DriverShutdown" | "Close":
            epoch = None
            producer = None if event == "DriverShutdown" else producer
            consumers = frozenset() if event == "DriverShutdown" else consumers
    assert data(stream) == (epoch, last_epoch, producer, consumers)


@pytest.mark.parametrize("state", STATES)
def test_D_031_only_init_and_active_accept_provisioning(state: str) -> None:
    stream = make(Recorder(), state)
    assert stream.accepts_provisioning() == (state.split(",")[0] in (INIT, READY, PRODUCING))


def test_announce_describes_the_current_epoch_and_its_producer() -> None:
    """D-152"""
    recorder = Recorder()
    stream = make(recorder, PRODUCING)
    stream.announce()
    (announce,) = recorder.published
    assert isinstance(announce, ShmPoolAnnounce)
    assert announce.producer_id == PRODUCER.client_id
    assert announce.epoch == OLD
    assert announce.stream_id == STREAM
    assert announce.announce_clock_domain.name == "MONOTONIC"


def test_a_stream_without_an_epoch_announces_nothing() -> None:
    """D-150"""
    recorder = Recorder()
    make(recorder, INIT).announce()
    assert recorder.published == []


def test_streams_with_producer_counts_producers() -> None:
    recorder = Recorder()
    stream = make(recorder, PRODUCING)
    assert recorder.metrics["streams_with_producer"] == 1
    stream.dispatch(StreamEvent.DRIVER_SHUTDOWN)
    assert recorder.metrics["streams_with_producer"] == 0
