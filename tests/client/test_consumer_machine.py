"""ConsumerMachine follows its table (C-024)."""

from __future__ import annotations

from typing import Any

import pytest

from tensor_pool.client.attachment.events import RoleEvent as E
from tensor_pool.client.consumer.machine import ConsumerMachine, ConsumerTimer
from tests.client.machine_ports import FakeMapping, RoleRecorder, announce, consumer_machine

STATES = ("Unmapped", "Mapped", "Remapping", "Backoff")
ERROR = ValueError("bad region")
ARGUMENTS: dict[E, Any] = {
    E.MAP_OK: FakeMapping(5),
    E.MAP_FAILED: ERROR,
    E.LEASE_LOST: "why",
    E.ANNOUNCE_ACCEPTED: announce(5),
    E.PRODUCER_REVOKED: 2000,
    E.INVALID_SUPERBLOCK: announce(5),
    E.REMAP_OK: FakeMapping(5, 1000),
    E.REMAP_FAILED: ERROR,
    E.SHM_DISABLED: "aeron:udp?endpoint=h:1",
}
REMAPPED = ["start 5", ("on_active",)]
WAIT = "arm ANNOUNCE_WAIT"
# The mapped epoch is 3, the highest 3, and in Remapping the barrier is 4.
TABLE: dict[tuple[str, E], tuple[str, list[Any]]] = {
    ("Unmapped", E.MAP_OK): ("Mapped", REMAPPED),
    ("Unmapped", E.MAP_FAILED): ("Unmapped", [("MAPPING_FAILED", ERROR)]),
    ("Unmapped", E.ANNOUNCE_ACCEPTED): ("Mapped", ["map 5", WAIT, *REMAPPED]),
    ("Unmapped", E.LEASE_LOST): ("Unmapped", []),
    ("Unmapped", E.SHM_ENABLED): ("Unmapped", []),
    ("Mapped", E.ANNOUNCE_ACCEPTED): ("Mapped", ["stop", "map 5", WAIT, *REMAPPED]),
    ("Mapped", E.PRODUCER_REVOKED): ("Remapping", ["stop", WAIT]),
    ("Mapped", E.INVALID_SUPERBLOCK): ("Mapped", ["stop", "map 5", WAIT, *REMAPPED]),
    ("Mapped", E.INVALID_STALE_ACTIVITY): ("Remapping", ["stop", WAIT]),
    ("Mapped", E.INVALID_NEWER_EPOCH): ("Remapping", ["stop", WAIT]),
    ("Mapped", E.INVALID_PID_CHANGED): ("Remapping", ["stop", WAIT]),
    ("Mapped", E.INVALID_SEQ_REGRESSION): ("Remapping", ["stop", WAIT]),
    ("Mapped", E.LEASE_LOST): ("Unmapped", ["stop", ("on_unmapped", "why")]),
    ("Remapping", E.ANNOUNCE_ACCEPTED): ("Mapped", ["map 5", *REMAPPED]),
    ("Remapping", E.PRODUCER_REVOKED): ("Remapping", [WAIT]),
    ("Remapping", E.REMAP_OK): ("Mapped", REMAPPED),
    ("Remapping", E.MAP_OK): ("Mapped", REMAPPED),
    ("Remapping", E.REMAP_FAILED): (
        "Backoff",
        [("error", "bad region"), "stop", "arm BACKOFF"],
    ),
    ("Remapping", E.ANNOUNCE_TIMEOUT): ("Backoff", ["stop", "arm BACKOFF"]),
    ("Remapping", E.LEASE_LOST): ("Unmapped", ["stop", ("on_unmapped", "why")]),
    ("Backoff", E.BACKOFF_ELAPSED): ("Unmapped", [("REATTACH", "remap failed")]),
    ("Backoff", E.ANNOUNCE_ACCEPTED): ("Backoff", []),
    ("Backoff", E.PRODUCER_REVOKED): ("Backoff", []),
    ("Backoff", E.LEASE_LOST): ("Unmapped", ["stop", ("on_unmapped", "why")]),
}
for _state in STATES:
    TABLE |= {
        (_state, E.SHM_DISABLED): (
            "Unmapped",
            ["stop", ("on_fallback", "aeron:udp?endpoint=h:1")],
        ),
        (_state, E.CLOSE_REQUESTED): ("Unmapped", ["stop"]),
        (_state, E.SHUTDOWN): ("Unmapped", ["stop", ("on_shutdown",)]),
    }
    TABLE.setdefault((_state, E.MAP_OK), (_state, ["release 5"]))
    TABLE.setdefault((_state, E.REMAP_OK), (_state, ["release 5"]))
    TABLE.setdefault((_state, E.REMAP_FAILED), (_state, []))


def into(state: str, **settings: Any) -> tuple[ConsumerMachine, RoleRecorder]:
    port = RoleRecorder()
    machine = consumer_machine(port, **settings)
    if state != "Unmapped":
        machine.dispatch(E.MAP_OK, FakeMapping(3))
    if state in ("Remapping", "Backoff"):
        machine.dispatch(E.PRODUCER_REVOKED, 500)
    if state == "Backoff":
        machine.dispatch(E.ANNOUNCE_TIMEOUT)
    assert machine.current.name == state
    port.log.clear()
    port.counted.clear()
    return machine, port


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", list(E), ids=lambda e: e.name)
def test_C_024_every_state_takes_every_event_as_in_the_table(state: str, event: E) -> None:
    machine, port = into(state)
    machine.dispatch(event, ARGUMENTS.get(event))
    expected = TABLE.get((state, event))
    if expected is None:
        assert (machine.current.name, port.log) == (state, [])
        assert "consumer_unhandled" in port.counted
    else:
        assert (machine.current.name, port.log) == expected
        assert "consumer_unhandled" not in port.counted


def test_an_announce_without_lease_or_with_shm_off_maps_nothing() -> None:
    machine, port = into("Unmapped")
    port.lease_is_live = False
    machine.dispatch(E.ANNOUNCE_ACCEPTED, announce(5))
    assert machine.current.name == "Unmapped"
    port.lease_is_live = True
    machine.dispatch(E.SHM_DISABLED, "")
    machine.dispatch(E.ANNOUNCE_ACCEPTED, announce(5))
    assert machine.current.name == "Unmapped"
    machine.dispatch(E.SHM_ENABLED)
    machine.dispatch(E.ANNOUNCE_ACCEPTED, announce(5))
    assert machine.current.name == "Mapped"


def test_a_mapping_that_comes_while_closing_or_with_shm_off_is_released() -> None:
    machine, port = into("Unmapped")
    port.is_closing = True
    machine.dispatch(E.MAP_OK, FakeMapping(5))
    assert port.log == ["release 5"]
    machine, port = into("Unmapped")
    machine.dispatch(E.SHM_DISABLED, "")
    machine.dispatch(E.MAP_OK, FakeMapping(5))
    assert machine.current.name == "Unmapped"
    assert port.log[-1] == "release 5"


def test_C_066_the_same_epoch_is_revalidated_and_what_is_wrong_is_acted_on() -> None:
    machine, port = into("Mapped")
    machine.dispatch(E.ANNOUNCE_ACCEPTED, announce(3))
    assert (machine.current.name, port.log) == ("Mapped", ["revalidate 3"])
    port.invalid = E.INVALID_PID_CHANGED
    machine.dispatch(E.ANNOUNCE_ACCEPTED, announce(3))
    assert machine.current.name == "Remapping"
    assert machine.min_epoch == 4


@pytest.mark.parametrize(
    ("event", "barrier"),
    [
        (E.PRODUCER_REVOKED, 8),
        (E.INVALID_STALE_ACTIVITY, 7),
        (E.INVALID_NEWER_EPOCH, 7),
        (E.INVALID_SEQ_REGRESSION, 7),
        (E.INVALID_PID_CHANGED, 4),
    ],
    ids=lambda x: getattr(x, "name", x),
)
def test_each_way_out_of_mapped_sets_its_barrier(event: E, barrier: int) -> None:
    """C-024 and W-141: the lowest epoch that may be mapped next, with 7 the highest seen."""
    machine, port = into("Mapped")
    port.highest_epoch = 7
    machine.dispatch(event, ARGUMENTS.get(event))
    assert machine.min_epoch == barrier
    machine.dispatch(E.ANNOUNCE_ACCEPTED, announce(barrier - 1))
    assert machine.current.name == "Remapping"
    machine.dispatch(E.ANNOUNCE_ACCEPTED, announce(barrier))
    assert machine.current.name == "Mapped"
    assert port.counted == ["remaps"]


def test_C_056_a_notice_older_than_the_announce_behind_the_mapping_is_ignored() -> None:
    machine, port = into("Remapping")
    machine.dispatch(E.ANNOUNCE_ACCEPTED, announce(5, timestamp_ns=1000))
    assert machine.mapped_announce_ts == 1000
    port.log.clear()
    for stamp in (999, 1000):
        machine.dispatch(E.PRODUCER_REVOKED, stamp)
        assert (machine.current.name, port.log) == ("Mapped", [])
    machine.dispatch(E.PRODUCER_REVOKED, 1001)
    assert machine.current.name == "Remapping"


def test_a_second_notice_restarts_the_wait_and_raises_the_barrier() -> None:
    machine, port = into("Remapping")
    port.highest_epoch = 9
    machine.dispatch(E.PRODUCER_REVOKED, 600)
    assert machine.min_epoch == 10
    assert port.log == [WAIT]
    assert port.armed[ConsumerTimer.ANNOUNCE_WAIT] == 3_000_000_000


def test_a_mapping_below_the_barrier_is_released() -> None:
    machine, port = into("Remapping")
    machine.dispatch(E.REMAP_OK, FakeMapping(3, 1000))
    assert (machine.current.name, port.log) == ("Remapping", ["release 3"])


def test_failing_maps_back_off_longer_each_time_until_one_succeeds() -> None:
    machine, port = into("Unmapped")
    port.map_error = ERROR
    delays = []
    for _ in range(3):
        machine.dispatch(E.ANNOUNCE_ACCEPTED, announce(9))
        assert machine.current.name == "Backoff"
        delays.append(port.armed[ConsumerTimer.BACKOFF] // 1_000_000)
        machine.dispatch(E.BACKOFF_ELAPSED)
    assert delays == [100, 200, 400]
    machine.dispatch(E.MAP_OK, FakeMapping(9))
    assert machine.failures == 0
