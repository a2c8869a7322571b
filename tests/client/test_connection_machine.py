"""DriverConnection follows its table (C-020): every state with every event."""

from __future__ import annotations

from typing import Any

import pytest

from tensor_pool.client.attachment.connection_machine import (
    NEVER,
    ConnectionTimer,
    DriverConnection,
)
from tensor_pool.client.attachment.events import ConnectionEvent as E
from tensor_pool.client.config import ns
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import ResponseCode
from tests.client.machine_ports import (
    CLIENT_ID,
    LEASE_ID,
    LEASE_NS,
    ConnectionRecorder,
    connection,
    grant,
    late,
)

STATES = ("Unattached", "Attaching", "Attached", "Detaching", "Backoff")
ARGUMENTS: dict[E, Any] = {
    E.ATTACH_OK: grant(1_000_000_000),
    E.LATE_ATTACH_OK: late(),
    E.ATTACH_REFUSED: (ResponseCode.REJECTED, "no"),
    E.ATTACH_INVALID: late(valid=False),
    E.LEASE_REVOKED: "REVOKED: by notice",
    E.REATTACH: "a reason",
    E.MAPPING_FAILED: ValueError("bad"),
    E.STREAM_RESOLVED: 10_000,
}


def into(state: str, **settings: Any) -> tuple[DriverConnection, ConnectionRecorder]:
    port = ConnectionRecorder()
    machine = connection(port, **settings)
    if state != "Unattached":
        machine.dispatch(E.ATTACH_REQUESTED)
    if state in ("Attached", "Detaching"):
        machine.correlations.take_answer(machine.correlations.outstanding or 0)
        machine.dispatch(E.ATTACH_OK, grant(port.time))
    if state == "Detaching":
        machine.dispatch(E.DETACH_REQUESTED)
    if state == "Backoff":
        machine.dispatch(E.ATTACH_TIMEOUT)
    assert machine.current.name == state
    port.log.clear()
    port.counted.clear()
    return machine, port


ORPHAN_9 = "detach 9"
OWN = f"detach {LEASE_ID}"
# (state, event) -> target, log. Pairs that are not here are unhandled, except those of ANY_STATE.
TABLE: dict[tuple[str, E], tuple[str, list[Any]]] = {
    ("Unattached", E.ATTACH_REQUESTED): ("Attaching", ["arm RESPONSE", "attach"]),
    ("Unattached", E.REATTACH_DUE): ("Attaching", ["arm RESPONSE", "attach"]),
    ("Unattached", E.LATE_ATTACH_OK): ("Unattached", [ORPHAN_9]),
    ("Unattached", E.DETACH_REQUESTED): ("Unattached", []),
    ("Unattached", E.DRIVER_SHUTDOWN): ("Unattached", []),
    ("Attaching", E.ATTACH_OK): ("Attached", ["disarm RESPONSE", "arm KEEPALIVE", "map"]),
    ("Attaching", E.LATE_ATTACH_OK): ("Attached", ["disarm RESPONSE", "arm KEEPALIVE", "map"]),
    ("Attaching", E.ATTACH_REFUSED): (
        "Backoff",
        ["disarm RESPONSE", ("refused", 3, "no"), "arm BACKOFF"],
    ),
    ("Attaching", E.ATTACH_INVALID): ("Backoff", ["disarm RESPONSE", ORPHAN_9, "arm BACKOFF"]),
    ("Attaching", E.ATTACH_TIMEOUT): ("Backoff", ["disarm RESPONSE", "arm BACKOFF"]),
    ("Attaching", E.ATTACH_SEND_FAILED): ("Backoff", ["disarm RESPONSE", "arm BACKOFF"]),
    ("Attaching", E.STREAM_RESOLVED): ("Attaching", ["arm RESPONSE", "attach"]),
    ("Attaching", E.STREAM_UNRESOLVED): ("Backoff", ["disarm RESPONSE", "arm BACKOFF"]),
    ("Attaching", E.DETACH_REQUESTED): ("Unattached", ["disarm RESPONSE"]),
    ("Attaching", E.DRIVER_SHUTDOWN): ("Unattached", ["disarm RESPONSE", "arm REATTACH"]),
    ("Attached", E.KEEPALIVE_DUE): ("Attached", ["keepalive", "arm KEEPALIVE"]),
    ("Attached", E.KEEPALIVE_FAILED): (
        "Backoff",
        [
            "disarm KEEPALIVE",
            ("lost", "keepalive failed"),
            ("LEASE_LOST", "keepalive failed"),
            "arm BACKOFF",
        ],
    ),
    ("Attached", E.LEASE_DEADLINE_PASSED): (
        "Backoff",
        [
            "disarm KEEPALIVE",
            ("lost", "lease deadline passed"),
            ("LEASE_LOST", "lease deadline passed"),
            "arm BACKOFF",
        ],
    ),
    ("Attached", E.LEASE_REVOKED): (
        "Backoff",
        [
            "disarm KEEPALIVE",
            ("lost", "REVOKED: by notice"),
            ("LEASE_LOST", "REVOKED: by notice"),
            "arm BACKOFF",
        ],
    ),
    ("Attached", E.DRIVER_LOST): (
        "Backoff",
        [
            "disarm KEEPALIVE",
            ("lost", "driver lost"),
            ("LEASE_LOST", "driver lost"),
            OWN,
            "arm BACKOFF",
        ],
    ),
    ("Attached", E.MAPPING_FAILED): ("Backoff", ["disarm KEEPALIVE", OWN, "arm BACKOFF"]),
    ("Attached", E.REATTACH): (
        "Backoff",
        ["disarm KEEPALIVE", ("lost", "a reason"), ("LEASE_LOST", "a reason"), OWN, "arm BACKOFF"],
    ),
    ("Attached", E.DETACH_REQUESTED): (
        "Detaching",
        ["disarm KEEPALIVE", ("CLOSE_REQUESTED", None), "arm DETACH", OWN],
    ),
    ("Attached", E.DRIVER_SHUTDOWN): (
        "Unattached",
        ["disarm KEEPALIVE", ("SHUTDOWN", None), "arm REATTACH"],
    ),
    ("Attached", E.LATE_ATTACH_OK): ("Attached", [ORPHAN_9]),
    ("Detaching", E.DETACH_RESPONDED): ("Unattached", ["disarm DETACH"]),
    ("Detaching", E.LEASE_REVOKED): ("Unattached", ["disarm DETACH"]),
    ("Detaching", E.DETACH_TIMEOUT): ("Detaching", ["arm DETACH", OWN]),
    ("Detaching", E.DRIVER_SHUTDOWN): ("Unattached", ["disarm DETACH"]),
    ("Detaching", E.LATE_ATTACH_OK): ("Detaching", [ORPHAN_9]),
    ("Detaching", E.DETACH_REQUESTED): ("Detaching", []),
    ("Backoff", E.BACKOFF_ELAPSED): ("Attaching", ["disarm BACKOFF", "arm RESPONSE", "attach"]),
    ("Backoff", E.LATE_ATTACH_OK): ("Attached", ["disarm BACKOFF", "arm KEEPALIVE", "map"]),
    ("Backoff", E.DETACH_REQUESTED): ("Unattached", ["disarm BACKOFF"]),
    ("Backoff", E.DRIVER_SHUTDOWN): (
        "Unattached",
        ["disarm BACKOFF", ("SHUTDOWN", None), "arm REATTACH"],
    ),
}
HARMLESS_ANYWHERE = (E.ATTACH_REQUESTED, E.LEASE_REVOKED)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", list(E), ids=lambda e: e.name)
def test_C_020_every_state_takes_every_event_as_in_the_table(state: str, event: E) -> None:
    """C-020, C-003: the machine alone, on recording ports and a clock that stands."""
    machine, port = into(state)
    machine.dispatch(event, ARGUMENTS.get(event))
    expected = TABLE.get((state, event))
    if expected is None:
        assert machine.current.name == state
        assert port.log == []
        harmless = event in HARMLESS_ANYWHERE
        assert ("connection_unhandled" in port.counted) is not harmless
    else:
        assert (machine.current.name, port.log) == expected
        assert "connection_unhandled" not in port.counted


def test_an_invalid_late_answer_never_ends_backoff() -> None:
    for bad in (late(valid=False), late(client_id=CLIENT_ID + 1)):
        for state in ("Attaching", "Backoff"):
            machine, port = into(state)
            machine.dispatch(E.LATE_ATTACH_OK, bad)
            assert machine.current.name == state
            assert port.log == [ORPHAN_9]
            assert port.sent[-1].client_id == bad.client_id


def test_C_034_a_response_without_a_lease_causes_no_detach() -> None:
    for lease_id in (None, 0):
        machine, port = into("Attaching")
        machine.dispatch(E.ATTACH_INVALID, late(valid=False, lease_id=lease_id))
        assert machine.current.name == "Backoff"
        assert not any("detach" in str(entry) for entry in port.log)


def test_a_late_answer_with_the_live_lease_is_not_detached() -> None:
    machine, port = into("Attached")
    machine.dispatch(E.LATE_ATTACH_OK, late(lease_id=LEASE_ID))
    assert port.log == []
    assert machine.current.name == "Attached"


def test_without_auto_reattach_nothing_starts_by_itself() -> None:
    machine, port = into("Attached", auto_reattach=False)
    machine.dispatch(E.DRIVER_SHUTDOWN)
    assert "arm REATTACH" not in port.log
    machine.dispatch(E.REATTACH_DUE)
    assert machine.current.name == "Unattached"
    machine, port = into("Backoff", auto_reattach=False)
    machine.dispatch(E.BACKOFF_ELAPSED)
    assert machine.current.name == "Unattached"


def test_an_attach_call_that_waits_goes_on_without_auto_reattach() -> None:
    machine, port = into("Backoff", auto_reattach=False)
    port.attach_deadline_ns = port.time + 1
    machine.dispatch(E.BACKOFF_ELAPSED)
    assert machine.current.name == "Attaching"


def test_C_031_the_last_request_of_a_waiting_attach_goes_out_before_its_timeout() -> None:
    """C-031: a delay of C-032 that would outlast the deadline is cut, once."""
    port = ConnectionRecorder()
    machine = connection(port)
    deadline_ns = port.attach_deadline_ns = port.time + ns(5.0)
    machine.dispatch(E.ATTACH_REQUESTED)
    asked_ns = []
    while port.time < deadline_ns:
        asked_ns.append(deadline_ns - port.time)
        machine.dispatch(E.ATTACH_REFUSED, (ResponseCode.REJECTED, "producer already attached"))
        port.time += port.armed[ConnectionTimer.BACKOFF]
        machine.dispatch(E.BACKOFF_ELAPSED)
    assert asked_ns == [ns(left) for left in (5.0, 4.9, 4.7, 4.3, 3.5, 1.9, 0.5)]


def test_C_011_only_a_chosen_id_is_replaced_and_only_for_one_text() -> None:
    text = "client_id already attached"
    for client_id, said, changes in (
        (0, text, True),
        (0, text + "!", False),
        (CLIENT_ID, text, False),
    ):
        port = ConnectionRecorder()
        machine = connection(port, client_id=client_id)
        machine.dispatch(E.ATTACH_REQUESTED)
        before = port.sent[-1].client_id
        machine.dispatch(E.ATTACH_REFUSED, (ResponseCode.REJECTED, said))
        assert machine.current.name == "Backoff"
        machine.dispatch(E.BACKOFF_ELAPSED)
        assert (port.sent[-1].client_id != before) is changes


def test_C_032_delays_double_up_to_the_limit_and_start_anew_after_a_keepalive() -> None:
    machine, port = into("Attaching")
    delays = []
    for _ in range(8):
        machine.dispatch(E.ATTACH_TIMEOUT)
        delays.append(port.armed[ConnectionTimer.BACKOFF] // 1_000_000)
        machine.dispatch(E.BACKOFF_ELAPSED)
    assert delays == [100, 200, 400, 800, 1600, 3200, 3200, 3200]
    machine.dispatch(E.ATTACH_OK, grant(port.time))
    assert machine.failures == 8
    machine.dispatch(E.KEEPALIVE_DUE)
    assert machine.failures == 0


def test_C_032_permanent_refusals_wait_longest() -> None:
    for code in (ResponseCode.UNSUPPORTED, ResponseCode.INVALID_PARAMS):
        machine, port = into("Attaching")
        machine.dispatch(E.ATTACH_REFUSED, (code, "never"))
        assert port.armed[ConnectionTimer.BACKOFF] == 3_200_000_000


def test_C_036_a_request_the_transport_refuses_backs_off() -> None:
    for result in OfferResult:
        if result is OfferResult.ACCEPTED:
            continue
        port = ConnectionRecorder()
        port.result = result
        machine = connection(port)
        machine.dispatch(E.ATTACH_REQUESTED)
        assert machine.current.name == "Backoff"
        assert len(port.sent) == 1


def test_C_050_keepalives_go_out_three_times_a_lease() -> None:
    machine, port = into("Attached", keepalive_interval=5.0)
    assert port.armed[ConnectionTimer.KEEPALIVE] == LEASE_NS // 3
    assert machine.deadline_ns == port.time + LEASE_NS
    port.time += 700_000_000
    machine.dispatch(E.KEEPALIVE_DUE)
    assert machine.deadline_ns == port.time + LEASE_NS
    assert port.sent[-1].lease_id == LEASE_ID


def test_C_050_a_configured_interval_counts_where_it_is_shorter() -> None:
    _machine, port = into("Attached", keepalive_interval=0.25)
    assert port.armed[ConnectionTimer.KEEPALIVE] == 250_000_000


def test_C_050_a_lease_without_expiry_has_no_deadline_but_keepalives() -> None:
    machine, port = into("Attaching")
    machine.dispatch(E.ATTACH_OK, grant(port.time, expires=False))
    assert machine.deadline_ns == NEVER
    assert port.armed[ConnectionTimer.KEEPALIVE] == 1_000_000_000
    machine.dispatch(E.KEEPALIVE_DUE)
    assert machine.deadline_ns == NEVER


@pytest.mark.parametrize("refusal", [OfferResult.BACK_PRESSURED, OfferResult.ADMIN_ACTION])
def test_C_050_a_momentary_refusal_is_retried_for_one_interval(refusal: OfferResult) -> None:
    machine, port = into("Attached")
    port.result = refusal
    machine.dispatch(E.KEEPALIVE_DUE)
    assert port.armed[ConnectionTimer.KEEPALIVE] == 0
    port.time += LEASE_NS // 3 - 1
    machine.dispatch(E.KEEPALIVE_DUE)
    assert machine.current.name == "Attached"
    port.time += 1
    machine.dispatch(E.KEEPALIVE_DUE)
    assert machine.current.name == "Backoff"


@pytest.mark.parametrize("refusal", [OfferResult.NOT_CONNECTED, OfferResult.CLOSED])
def test_C_052_any_other_refusal_ends_the_lease_but_not_the_attachment(
    refusal: OfferResult,
) -> None:
    machine, port = into("Attached")
    port.result = refusal
    machine.dispatch(E.KEEPALIVE_DUE)
    assert machine.current.name == "Backoff"
    port.result = OfferResult.ACCEPTED
    machine.dispatch(E.BACKOFF_ELAPSED)
    assert machine.current.name == "Attaching"


def test_C_060_a_detach_is_tried_a_limited_number_of_times_with_new_ids() -> None:
    machine, port = into("Detaching", detach_attempts=3)
    machine.dispatch(E.DETACH_TIMEOUT)
    machine.dispatch(E.DETACH_TIMEOUT)
    assert machine.current.name == "Detaching"
    machine.dispatch(E.DETACH_TIMEOUT)
    assert machine.current.name == "Unattached"
    detaches = [m for m in port.sent if type(m).__name__ == "ShmDetachRequest"]
    assert len({m.correlation_id for m in detaches}) == 3


def test_C_021_nothing_is_sent_for_a_lease_after_its_end_but_one_detach() -> None:
    for event in (E.LEASE_REVOKED, E.DRIVER_LOST, E.REATTACH, E.MAPPING_FAILED):
        machine, port = into("Attached")
        sent_before = len(port.sent)
        machine.dispatch(event, ARGUMENTS.get(event))
        machine.dispatch(E.KEEPALIVE_DUE)
        machine.dispatch(E.BACKOFF_ELAPSED)
        of_lease = [m for m in port.sent[sent_before:] if getattr(m, "lease_id", None) == LEASE_ID]
        assert len(of_lease) == (0 if event is E.LEASE_REVOKED else 1)
        assert machine.grant is None


def test_backoff_is_always_left_by_a_timer() -> None:
    """CI-8: whatever leads into Backoff arms its timer."""
    for (state, event), (target, log) in TABLE.items():
        if target == "Backoff" and state != "Backoff":
            assert log[-1] == "arm BACKOFF", (state, event)


def test_S_021_a_name_is_looked_up_at_every_attempt() -> None:
    port = ConnectionRecorder()
    machine = connection(port, stream_name="camera/left")
    machine.dispatch(E.ATTACH_REQUESTED)
    assert port.log == ["resolve camera/left"]
    machine.dispatch(E.STREAM_UNRESOLVED)
    machine.dispatch(E.BACKOFF_ELAPSED)
    machine.dispatch(E.STREAM_RESOLVED, 10_007)
    assert port.log[1:] == [
        "arm BACKOFF",
        "disarm BACKOFF",
        "resolve camera/left",
        "arm RESPONSE",
        "attach",
    ]
    assert port.sent[-1].stream_id == machine.stream_id == 10_007
