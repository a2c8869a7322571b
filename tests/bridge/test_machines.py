"""The four machines against their tables: every state, every event (B-111, B-010)."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from tensor_pool.bridge.core.events import (
    BridgeEvent,
    InboundEvent,
    LinkEvent,
    OutboundEvent,
    SeenInfo,
)
from tensor_pool.bridge.core.inbound_stream import InboundStream
from tensor_pool.bridge.core.lifecycle import BridgeLifecycle
from tensor_pool.bridge.core.outbound_stream import OutboundStream
from tensor_pool.bridge.core.outgoing_link import OutgoingLink
from tensor_pool.hsm import Machine
from tensor_pool.protocol.wire import BridgeStreamInfo, PayloadMode


class Port:
    """A port that records every action; its attributes are set by the test."""

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)
        self.done: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def action(*arguments: object) -> object:
            shown = [a for a in arguments if isinstance(a, str | int | bool)]
            self.done.append(" ".join([name, *map(str, shown)]))
            return self.__dict__.get(f"returns_{name}")

        return action


E, L, B, I = OutboundEvent, LinkEvent, BridgeEvent, InboundEvent  # noqa: E741


def check(machine: Machine, port: Port, event: enum.Enum, argument: object, row: Any) -> None:
    """Dispatch, then compare the target and the actions with a row of the table."""
    before = machine.current.name
    port.done.clear()
    machine.dispatch(event, argument)
    target, actions = row
    assert machine.current.name == (target or before), f"{before} on {event.name}"
    assert port.done == actions, f"{before} on {event.name}"


def unhandled(counter: str) -> tuple[None, list[str]]:
    return None, [f"count {counter}"]


# BridgeLifecycle

TO_BRIDGE: dict[str, list[BridgeEvent]] = {
    "Init": [],
    "Connected": [B.START_OK],
    "Reconnecting": [B.START_OK, B.NET_LOST],
    "Draining": [B.START_OK, B.SHUTDOWN_REQUESTED],
    "Stopped": [B.START_FAILED],
}
_DRAIN = ["arm_shutdown", "start_draining"]
_END = ["disarm", "release_all"]
BRIDGE: dict[tuple[str, BridgeEvent], tuple[str | None, list[str]]] = {
    ("Init", B.START_OK): ("Connected", []),
    ("Init", B.START_FAILED): ("Stopped", ["release_all"]),
    ("Connected", B.NET_LOST): (
        "Reconnecting",
        ["count net_losses", "close_links gone", "arm_retry"],
    ),
    ("Connected", B.SHUTDOWN_REQUESTED): ("Draining", _DRAIN),
    ("Connected", B.FATAL_ERROR): ("Stopped", ["release_all"]),
    ("Reconnecting", B.RETRY_DUE): (None, ["reopen_net", "arm_retry"]),
    ("Reconnecting", B.NET_BACK): ("Connected", ["disarm", "open_links"]),
    ("Reconnecting", B.SHUTDOWN_REQUESTED): ("Draining", ["disarm", *_DRAIN]),
    ("Reconnecting", B.FATAL_ERROR): ("Stopped", _END),
    ("Draining", B.DRAIN_COMPLETE): ("Stopped", _END),
    ("Draining", B.SHUTDOWN_TIMEOUT): ("Stopped", _END),
    ("Draining", B.NET_LOST): ("Stopped", _END),
    ("Draining", B.FATAL_ERROR): ("Stopped", _END),
}


@pytest.mark.parametrize("state", TO_BRIDGE)
@pytest.mark.parametrize("event", BridgeEvent)
def test_B_111_bridge_lifecycle(state: str, event: BridgeEvent) -> None:
    port = Port()
    machine = BridgeLifecycle(port)  # type: ignore[arg-type]
    for step in TO_BRIDGE[state]:
        machine.dispatch(step, "gone")
    assert machine.current.name == state
    other = (None, []) if state == "Stopped" else unhandled("bridge_unhandled")
    check(machine, port, event, "gone", BRIDGE.get((state, event), other))


def test_B_025_a_retry_that_succeeds_brings_the_links_back() -> None:
    port = Port(returns_reopen_net=True)
    machine = BridgeLifecycle(port)  # type: ignore[arg-type]
    machine.dispatch(B.START_OK)
    machine.dispatch(B.NET_LOST, "gone")
    check(machine, port, B.RETRY_DUE, None, ("Connected", ["reopen_net", "disarm", "open_links"]))


# OutgoingLink

TO_LINK: dict[str, list[tuple[LinkEvent, object]]] = {
    "Down": [],
    "Flowing": [(L.CONNECTED, None)],
    "Choked": [(L.CONNECTED, None), (L.REFUSED, 100)],
    "Closed": [(L.CLOSE, None)],
}
LINK: dict[tuple[str, LinkEvent], tuple[str | None, list[str]]] = {
    ("Down", L.CONNECTED): ("Flowing", ["link_up"]),
    ("Down", L.CLOSE): ("Closed", []),
    ("Flowing", L.DISCONNECTED): ("Down", ["link_down"]),
    ("Flowing", L.REFUSED): (None, []),
    ("Flowing", L.ACCEPTED): (None, []),
    ("Flowing", L.CLOSE): ("Closed", ["link_down"]),
    ("Choked", L.DISCONNECTED): ("Down", ["set_choked False", "link_down"]),
    ("Choked", L.REFUSED): (None, []),
    ("Choked", L.ACCEPTED): ("Flowing", ["set_choked False"]),
    ("Choked", L.CLOSE): ("Closed", ["set_choked False", "link_down"]),
}


@pytest.mark.parametrize("state", TO_LINK)
@pytest.mark.parametrize("event", LinkEvent)
def test_B_111_outgoing_link(state: str, event: LinkEvent) -> None:
    """B-111, B-110; choke_ns is 100 here."""
    port = Port(choke_ns=100)
    machine = OutgoingLink(port)  # type: ignore[arg-type]
    for step, argument in TO_LINK[state]:
        machine.dispatch(step, argument)
    assert machine.current.name == state
    other = (None, []) if state == "Closed" else unhandled("link_unhandled")
    check(machine, port, event, 99, LINK.get((state, event), other))


def test_B_111_a_link_is_choked_after_the_configured_time() -> None:
    port = Port(choke_ns=100)
    machine = OutgoingLink(port)  # type: ignore[arg-type]
    machine.dispatch(L.CONNECTED)
    check(machine, port, L.REFUSED, 100, ("Choked", ["set_choked True"]))


# OutboundStream


def outbound(state: str, **values: object) -> tuple[OutboundStream, Port]:
    settings: dict[str, object] = {
        **dict.fromkeys(("link_is_up", "source_is_known", "may_begin", "queue_is_empty"), True)
    }
    port = Port(**{**settings, **values})
    machine = OutboundStream(port)  # type: ignore[arg-type]
    steps: dict[str, list[tuple[OutboundEvent, object]]] = {
        "NoSource": [],
        "Held": [(E.SOURCE_MAPPED, 7), (E.LINK_DOWN, None)],
        "Idle": [(E.SOURCE_MAPPED, 7)],
        "Sending": [(E.SOURCE_MAPPED, 7), (E.FRAME_TAKEN, None)],
        "Closed": [(E.CLOSE, None)],
    }
    up = port.link_is_up
    port.link_is_up = True
    port.may_begin, may_begin = True, port.may_begin
    for step, argument in steps[state]:
        machine.dispatch(step, argument)
    port.link_is_up, port.may_begin = up, may_begin
    assert machine.current.name == state
    port.done.clear()
    return machine, port


_INTRODUCE = ["send_info", "send_metadata", "arm_rate"]
_DROP = ["give_up overwritten", "empty_queue overwritten"]
_DROP_LINK = ["give_up link", "empty_queue link"]
_CLOSED = [*_DROP_LINK, "set_epoch 0", "set_producer False", "send_info"]
OUTBOUND: dict[tuple[str, OutboundEvent], tuple[str | None, list[str]]] = {
    ("NoSource", E.SOURCE_MAPPED): ("Idle", ["set_epoch 8", *_INTRODUCE]),
    ("NoSource", E.LINK_UP): (None, ["send_info"]),
    ("NoSource", E.LINK_DOWN): (None, []),
    ("NoSource", E.PRODUCER_SEEN): (None, ["set_producer True"]),
    ("NoSource", E.PRODUCER_GONE): (None, ["set_producer False"]),
    ("NoSource", E.INFO_DUE): (None, ["send_info"]),
    ("NoSource", E.CLOSE): ("Closed", _CLOSED),
    ("Held", E.SOURCE_MAPPED): ("Idle", [*_DROP, "set_epoch 8", *_INTRODUCE]),
    ("Held", E.SOURCE_LOST): ("NoSource", [*_DROP, "set_epoch 0", "send_info"]),
    ("Held", E.LINK_UP): ("Idle", _INTRODUCE),
    ("Held", E.FRAME_TAKEN): (None, ["count skipped_link"]),
    ("Held", E.PRODUCER_SEEN): (None, ["set_producer True"]),
    ("Held", E.PRODUCER_GONE): (None, ["set_producer False"]),
    ("Held", E.INFO_DUE): (None, ["send_info"]),
    ("Held", E.CLOSE): ("Closed", _CLOSED),
    ("Idle", E.SOURCE_MAPPED): ("Idle", ["disarm", *_DROP, "set_epoch 8", *_INTRODUCE]),
    ("Idle", E.SOURCE_LOST): ("NoSource", ["disarm", *_DROP, "set_epoch 0", "send_info"]),
    ("Idle", E.LINK_DOWN): ("Held", ["disarm", *_DROP_LINK]),
    ("Idle", E.FRAME_TAKEN): ("Sending", ["disarm", "begin 8", "arm_send_timeout"]),
    ("Idle", E.RATE_DUE): ("Sending", ["disarm", "begin_next", "arm_send_timeout"]),
    ("Idle", E.PRODUCER_SEEN): (None, ["set_producer True", "send_info"]),
    ("Idle", E.PRODUCER_GONE): (None, ["set_producer False", "send_info"]),
    ("Idle", E.INFO_DUE): (None, ["send_info"]),
    ("Idle", E.CLOSE): ("Closed", ["disarm", *_CLOSED]),
    ("Sending", E.SOURCE_MAPPED): ("Idle", ["disarm", *_DROP, "set_epoch 8", *_INTRODUCE]),
    ("Sending", E.SOURCE_LOST): ("NoSource", ["disarm", *_DROP, "set_epoch 0", "send_info"]),
    ("Sending", E.LINK_DOWN): ("Held", ["disarm", *_DROP_LINK]),
    ("Sending", E.FRAME_TAKEN): (None, ["queue 8"]),
    ("Sending", E.FRAME_SENT): ("Idle", ["disarm", "count frames_sent", "arm_rate"]),
    ("Sending", E.FRAME_DROPPED): ("Idle", ["disarm", "give_up 8", "arm_rate"]),
    ("Sending", E.SEND_TIMEOUT): ("Idle", ["disarm", "give_up stalled", "arm_rate"]),
    ("Sending", E.PRODUCER_SEEN): (None, ["set_producer True", "send_info"]),
    ("Sending", E.PRODUCER_GONE): (None, ["set_producer False", "send_info"]),
    ("Sending", E.INFO_DUE): (None, ["send_info"]),
    ("Sending", E.CLOSE): ("Closed", ["disarm", *_CLOSED]),
}


@pytest.mark.parametrize("state", ["NoSource", "Held", "Idle", "Sending", "Closed"])
@pytest.mark.parametrize("event", OutboundEvent)
def test_B_111_outbound_stream(state: str, event: OutboundEvent) -> None:
    machine, port = outbound(state)
    other = (None, []) if state == "Closed" else unhandled("outbound_unhandled")
    check(machine, port, event, 8, OUTBOUND.get((state, event), other))


@pytest.mark.parametrize(
    ("state", "values", "event", "row"),
    [
        ("NoSource", {"link_is_up": False}, E.SOURCE_MAPPED, ("Held", ["set_epoch 8"])),
        ("NoSource", {"link_is_up": False}, E.INFO_DUE, (None, [])),
        ("NoSource", {"source_is_known": False}, E.INFO_DUE, (None, [])),
        ("NoSource", {"source_is_known": False}, E.LINK_UP, (None, [])),
        ("Held", {"link_is_up": False}, E.INFO_DUE, (None, [])),
        ("Held", {"link_is_up": False}, E.SOURCE_LOST, ("NoSource", [*_DROP, "set_epoch 0"])),
        ("Held", {"link_is_up": False}, E.SOURCE_MAPPED, ("Held", [*_DROP, "set_epoch 8"])),
        ("Held", {"link_is_up": False}, E.CLOSE, ("Closed", _CLOSED[:-1])),
        ("Idle", {"may_begin": False}, E.FRAME_TAKEN, (None, ["queue 8", "arm_rate"])),
        (
            "Sending",
            {"queue_is_empty": False},
            E.FRAME_SENT,
            ("Sending", ["disarm", "count frames_sent", "begin_next", "arm_send_timeout"]),
        ),
        (
            "Sending",
            {"queue_is_empty": False},
            E.FRAME_DROPPED,
            ("Sending", ["disarm", "give_up 8", "begin_next", "arm_send_timeout"]),
        ),
        (
            "Sending",
            {"queue_is_empty": False, "may_begin": False},
            E.FRAME_SENT,
            ("Idle", ["disarm", "count frames_sent", "arm_rate"]),
        ),
    ],
)
def test_B_111_outbound_stream_by_its_guards(
    state: str, values: dict[str, object], event: OutboundEvent, row: Any
) -> None:
    machine, port = outbound(state, **values)
    check(machine, port, event, 8, row)


# InboundStream


def seen(*, alive: bool = True, order: int = 1) -> SeenInfo:
    info = BridgeStreamInfo(
        *(50000, 10000, 7 if alive else 0, 0, 0, 0, 1, 1, 1000, 4096, alive, False),
        *(PayloadMode.FULL, False, "a", "a"),
    )
    return SeenInfo(info, ("a",), 1, order, 0)


def inbound(state: str, **values: object) -> tuple[InboundStream, Port]:
    settings: dict[str, object] = {
        "lease_is_live": True,
        "owner_order": 1,
        "returns_is_looped": False,
        "returns_is_same": True,
    }
    port = Port(**settings)
    machine = InboundStream(port)  # type: ignore[arg-type]
    attaching: list[tuple[InboundEvent, object]] = [(I.INFO, seen())]
    ready = [*attaching, (I.LEASE_READY, None)]
    steps: dict[str, list[tuple[InboundEvent, object]]] = {
        "Silent": [],
        "Quiet": [(I.INFO, seen(alive=False))],
        "Attaching": attaching,
        "Idle": ready,
        "Filling": [*ready, (I.FRAME_BEGAN, None)],
        "Skipping": [*ready, (I.FRAME_BROKEN, "why")],
        "Refused": [*attaching, (I.LEASE_REFUSED, None)],
        "Looped": [(I.INFO, seen())],
        "Holding": [*ready, (I.OWNER_SILENT, None)],
        "Closed": [(I.CLOSE, None)],
    }
    port.returns_is_looped = state == "Looped"
    for step, argument in steps[state]:
        machine.dispatch(step, argument)
    port.returns_is_looped = False
    port.__dict__.update(values)
    assert machine.current.name == state
    port.done.clear()
    return machine, port


STATES = ["Silent", "Quiet", "Attaching", "Idle", "Filling", "Skipping", "Refused", "Looped"]
STATES += ["Holding", "Closed"]
_LOOK = {"is_looped", "is_same"}  # questions, not actions


def effects(port: Port) -> list[str]:
    return [text for text in port.done if text not in _LOOK]


_ABORT = "abort_loan frames_incomplete"
_GONE = ("Silent", ["disown", "detach"])
_CLOSE = ("Closed", [_ABORT, "detach"])
_HOLD = ("Holding", [_ABORT, "arm_hold"])
_LOST = ("Attaching", [_ABORT, "count local_lease_losses"])
INBOUND: dict[tuple[str, InboundEvent], tuple[str | None, list[str]]] = {
    ("Silent", I.INFO): ("Attaching", ["own", "set_source_epoch 7", "attach"]),
    ("Silent", I.CLOSE): _CLOSE,
    ("Quiet", I.INFO): ("Attaching", ["update", "set_source_epoch 7", "attach"]),
    ("Quiet", I.OWNER_SILENT): _GONE,
    ("Quiet", I.SESSION_GONE): _GONE,
    ("Quiet", I.CLOSE): _CLOSE,
    ("Attaching", I.INFO): (None, ["update"]),
    ("Attaching", I.LEASE_READY): ("Idle", ["keep"]),
    ("Attaching", I.LEASE_REFUSED): ("Refused", ["detach", "arm_retry"]),
    ("Attaching", I.OWNER_SILENT): _GONE,
    ("Attaching", I.SESSION_GONE): _GONE,
    ("Attaching", I.CLOSE): _CLOSE,
    ("Idle", I.INFO): (None, ["update"]),
    ("Idle", I.LEASE_LOST): _LOST,
    ("Idle", I.FRAME_BEGAN): ("Filling", ["begin_frame why", "arm_assembly"]),
    ("Idle", I.FRAME_BROKEN): ("Skipping", ["count why"]),
    ("Idle", I.OWNER_SILENT): _HOLD,
    ("Idle", I.SESSION_GONE): _HOLD,
    ("Idle", I.CLOSE): _CLOSE,
    ("Filling", I.INFO): (None, ["update"]),
    ("Filling", I.LEASE_LOST): ("Attaching", ["disarm", *_LOST[1]]),
    ("Filling", I.FRAME_BEGAN): (None, [_ABORT, "begin_frame why"]),
    ("Filling", I.FRAME_COMPLETED): ("Idle", ["disarm", "commit"]),
    ("Filling", I.FRAME_BROKEN): ("Skipping", ["disarm", "abort_loan why"]),
    ("Filling", I.ASSEMBLY_TIMEOUT): ("Skipping", ["disarm", "abort_loan assembly_timeouts"]),
    ("Filling", I.OWNER_SILENT): ("Holding", ["disarm", *_HOLD[1]]),
    ("Filling", I.SESSION_GONE): ("Holding", ["disarm", *_HOLD[1]]),
    ("Filling", I.CLOSE): ("Closed", ["disarm", *_CLOSE[1]]),
    ("Skipping", I.INFO): (None, ["update"]),
    ("Skipping", I.LEASE_LOST): _LOST,
    ("Skipping", I.FRAME_BEGAN): ("Filling", ["begin_frame why", "arm_assembly"]),
    ("Skipping", I.FRAME_BROKEN): (None, ["count why"]),
    ("Skipping", I.OWNER_SILENT): _HOLD,
    ("Skipping", I.SESSION_GONE): _HOLD,
    ("Skipping", I.CLOSE): _CLOSE,
    ("Refused", I.INFO): (None, ["update"]),
    ("Refused", I.RETRY_DUE): ("Attaching", ["disarm", "attach"]),
    ("Refused", I.OWNER_SILENT): ("Silent", ["disarm", *_GONE[1]]),
    ("Refused", I.SESSION_GONE): ("Silent", ["disarm", *_GONE[1]]),
    ("Refused", I.CLOSE): ("Closed", ["disarm", *_CLOSE[1]]),
    ("Looped", I.INFO): ("Attaching", ["own", "set_source_epoch 7", "attach"]),
    ("Looped", I.OWNER_SILENT): _GONE,
    ("Looped", I.SESSION_GONE): _GONE,
    ("Looped", I.CLOSE): _CLOSE,
    ("Holding", I.INFO): ("Idle", ["disarm", "own"]),
    ("Holding", I.LEASE_LOST): ("Silent", ["disarm", "detach", "disown"]),
    ("Holding", I.HOLD_TIMEOUT): ("Silent", ["disarm", "detach", "disown"]),
    ("Holding", I.CLOSE): ("Closed", ["disarm", *_CLOSE[1]]),
}


def check_inbound(
    machine: InboundStream, port: Port, event: InboundEvent, argument: object, row: Any
) -> None:
    before = machine.current.name
    machine.dispatch(event, argument)
    target, actions = row
    assert machine.current.name == (target or before), f"{before} on {event.name}"
    assert effects(port) == actions, f"{before} on {event.name}"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", InboundEvent)
def test_B_111_inbound_stream(state: str, event: InboundEvent) -> None:
    """B-111: an info is alive, the same and not looped here."""
    machine, port = inbound(state)
    other = (None, []) if state == "Closed" else unhandled("inbound_unhandled")
    argument = seen() if event is I.INFO else "why"
    check_inbound(machine, port, event, argument, INBOUND.get((state, event), other))


_LOOPED = ["own", "count loops_refused"]
_TO_LOOPED = [_ABORT, "detach", *_LOOPED]
_TO_QUIET = [_ABORT, "detach", "update"]
_AGAIN = [_ABORT, "detach", "own", "set_source_epoch 7", "attach"]
_FRESH = ["detach", "own", "set_source_epoch 7", "attach"]


@pytest.mark.parametrize(
    ("state", "kind", "target", "actions"),
    [
        ("Silent", "looped", "Looped", _LOOPED),
        ("Silent", "dead", "Quiet", ["own"]),
        ("Quiet", "looped", "Looped", _TO_LOOPED),
        ("Quiet", "dead", "Quiet", ["update"]),
        ("Attaching", "looped", "Looped", _TO_LOOPED),
        ("Attaching", "dead", "Quiet", _TO_QUIET),
        ("Attaching", "changed", "Attaching", _AGAIN),
        ("Idle", "looped", "Looped", _TO_LOOPED),
        ("Idle", "dead", "Quiet", _TO_QUIET),
        ("Idle", "changed", "Attaching", _AGAIN),
        ("Idle", "newer", "Idle", [_ABORT, "own"]),
        ("Filling", "looped", "Looped", ["disarm", *_TO_LOOPED]),
        ("Filling", "dead", "Quiet", ["disarm", *_TO_QUIET]),
        ("Filling", "changed", "Attaching", ["disarm", *_AGAIN]),
        ("Filling", "newer", "Idle", ["disarm", _ABORT, "own"]),
        ("Skipping", "newer", "Idle", [_ABORT, "own"]),
        ("Refused", "looped", "Looped", ["disarm", *_TO_LOOPED]),
        ("Refused", "dead", "Quiet", ["disarm", *_TO_QUIET]),
        ("Refused", "changed", "Attaching", ["disarm", *_AGAIN]),
        ("Looped", "looped", "Looped", ["update"]),
        ("Looped", "dead", "Quiet", ["own"]),
        ("Holding", "looped", "Looped", ["disarm", "detach", *_LOOPED]),
        ("Holding", "dead", "Quiet", ["disarm", "detach", "own"]),
        ("Holding", "changed", "Attaching", ["disarm", *_FRESH]),
        ("Holding", "lost", "Attaching", ["disarm", *_FRESH]),
    ],
)
def test_B_111_inbound_stream_by_kind_of_info(
    state: str, kind: str, target: str, actions: list[str]
) -> None:
    """B-111, B-090 (changed), B-121 (looped), B-082 (newer session of the same instance)."""
    values: dict[str, object] = {
        "returns_is_looped": kind == "looped",
        "returns_is_same": kind != "changed",
        "lease_is_live": kind != "lost",
    }
    machine, port = inbound(state, **values)
    info = seen(alive=kind != "dead", order=2 if kind == "newer" else 1)
    check_inbound(machine, port, I.INFO, info, (target, actions))
