"""ProducerMachine follows its table (C-022)."""

from __future__ import annotations

from typing import Any

import pytest

from tensor_pool.client.attachment.events import RoleEvent as E
from tensor_pool.client.producer.machine import ProducerMachine
from tests.client.machine_ports import FakeMapping, RoleRecorder, producer_machine

STATES = ("Idle", "Active", "Paused")
ERROR = ValueError("bad region")
ARGUMENTS: dict[E, Any] = {
    E.MAP_OK: FakeMapping(4),
    E.MAP_FAILED: ERROR,
    E.LEASE_LOST: "why",
}
TABLE: dict[tuple[str, E], tuple[str, list[Any]]] = {
    ("Idle", E.MAP_OK): ("Active", ["start 4", ("on_active",)]),
    ("Idle", E.MAP_FAILED): ("Idle", [("MAPPING_FAILED", ERROR)]),
    ("Idle", E.LEASE_LOST): ("Idle", []),
    ("Idle", E.CLOSE_REQUESTED): ("Idle", []),
    ("Idle", E.SHUTDOWN): ("Idle", []),
    ("Active", E.MAP_OK): ("Active", ["release 4"]),
    ("Active", E.LEASE_LOST): ("Paused", ["stop", ("on_paused", "why")]),
    ("Active", E.STALE_EPOCH): (
        "Paused",
        ["stop", ("on_paused", "epoch superseded"), ("REATTACH", "epoch superseded")],
    ),
    ("Active", E.CLOSE_REQUESTED): ("Idle", ["stop"]),
    ("Active", E.SHUTDOWN): ("Idle", ["stop", ("on_shutdown",)]),
    ("Paused", E.MAP_OK): ("Active", ["start 4", ("on_active",)]),
    ("Paused", E.MAP_FAILED): ("Paused", [("MAPPING_FAILED", ERROR)]),
    ("Paused", E.LEASE_LOST): ("Paused", []),
    ("Paused", E.CLOSE_REQUESTED): ("Idle", ["stop"]),
    ("Paused", E.SHUTDOWN): ("Idle", ["stop", ("on_shutdown",)]),
}


def into(state: str) -> tuple[ProducerMachine, RoleRecorder]:
    port = RoleRecorder()
    machine = producer_machine(port)
    if state != "Idle":
        machine.dispatch(E.MAP_OK, FakeMapping(3))
    if state == "Paused":
        machine.dispatch(E.LEASE_LOST, "before")
    assert machine.current.name == state
    port.log.clear()
    return machine, port


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", list(E), ids=lambda e: e.name)
def test_C_022_every_state_takes_every_event_as_in_the_table(state: str, event: E) -> None:
    machine, port = into(state)
    machine.dispatch(event, ARGUMENTS.get(event))
    expected = TABLE.get((state, event))
    if expected is None:
        assert (machine.current.name, port.log) == (state, [])
        assert port.counted == ["producer_unhandled"]
    else:
        assert (machine.current.name, port.log) == expected
        assert port.counted == []


def test_C_022_a_mapping_that_comes_while_closing_is_released() -> None:
    machine, port = into("Idle")
    port.is_closing = True
    machine.dispatch(E.MAP_OK, FakeMapping(4))
    assert (machine.current.name, port.log) == ("Idle", ["release 4"])
