"""Section 20: snapshot and restore."""

import contextlib
import json
import pickle
from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    DispatchError,
    Final,
    Machine,
    Outcome,
    State,
    Terminate,
    on_completion,
    on_event,
    on_initial,
)
from tests.hsm.logged import Logged, Trace


class Kept(Logged):
    A = State(defer=["later"])
    A1 = State(parent=A)
    A2 = State(parent=A)
    AEnd = Final(parent=A)
    B = State()
    Passing = State()
    Done = Final()
    Gone = Terminate()
    begin = on_initial(ROOT, target=A)
    a_initial = on_initial(A, target=A1)
    step = on_event(A1, "step", target=A2)
    out = on_event(A, "out", target=B)
    back = on_event(B, "back", target=A, history=DEEP)
    end = on_event(A, "end", target=AEnd)
    done = on_event(ROOT, "done", target=Done)
    halt = on_event(ROOT, "stop", target=Gone)
    passed = on_completion(Passing, target=B)

    @on_event(B, "later")
    def _later(self, arg: Any) -> Outcome:
        self.note(f"later{arg}")
        return HANDLED

    @on_event(A, "raise", targets=Passing)
    def _raise(self, arg: Any) -> Outcome:
        self.post("later", 5)
        self.transition(self.Passing)
        raise ArithmeticError

    @on_event(A, "fault", target=B)
    def _fault(self, arg: Any) -> None:
        raise ArithmeticError


def kept(*events: Any, **keywords: Any) -> Kept:
    machine = Kept(**keywords)
    for event in events:
        with contextlib.suppress(ArithmeticError):
            machine.dispatch(event, 1)
    machine.taken()
    return machine


def test_H_220_contents() -> None:
    machine = kept("step", "later")
    assert machine.snapshot() == {
        "machine": "Kept",
        "state": "A2",
        "lifecycle": "running",
        "history": {},
        "completion": None,
        "posted": [],
        "deferred": [["later", 1]],
        "timers": [],
        "format": 2,
    }
    left = kept("step", "raise").snapshot()
    assert left["history"] == {"A": "A2"}
    assert left["completion"] == "Passing"
    assert left["posted"] == [["later", 5]]


def test_H_258_snapshots_of_format_1_are_restored_and_unknown_formats_refused() -> None:
    snapshot = kept("step", "later").snapshot()
    old = {key: value for key, value in snapshot.items() if key not in ("format", "timers")}
    machine = Kept()
    machine.restore(old)
    assert machine.snapshot() == snapshot
    for wrong in (3, "2", None):
        with pytest.raises(ValueError, match="format"):
            machine.restore({**snapshot, "format": wrong})


@pytest.mark.parametrize(
    ("machine", "lifecycle", "state"),
    [
        (lambda: Kept(start=False), "new", "ROOT"),
        (lambda: kept(), "running", "A1"),
        (lambda: kept("done"), "complete", "Done"),
        (lambda: kept("stop"), "terminated", "ROOT"),
    ],
)
def test_H_220_lifecycles(machine: Any, lifecycle: str, state: str) -> None:
    snapshot = machine().snapshot()
    assert (snapshot["lifecycle"], snapshot["state"]) == (lifecycle, state)
    other = kept("step", "out")
    other.restore(snapshot)
    assert other.snapshot() == snapshot
    assert other.is_running == (lifecycle == "running")
    if lifecycle == "new":
        other.start()
        assert other.current is Kept.A1


def test_H_220_survives_json_and_pickle() -> None:
    machine = kept("step", "later", "out", "back", "later")
    snapshot = machine.snapshot()
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
    assert type(snapshot) is dict
    assert machine.snapshot() is not snapshot
    other = Kept()
    other.restore(json.loads(json.dumps(snapshot)))
    assert other.snapshot() == snapshot


def test_H_220_a_faulted_machine_has_none() -> None:
    with pytest.raises(DispatchError):
        kept("fault").snapshot()


@pytest.mark.parametrize(
    "before",
    [
        lambda: Kept(start=False),
        lambda: kept("step"),
        lambda: kept("fault"),
        lambda: kept("done"),
        lambda: kept("stop"),
        lambda: kept("step", "raise"),
    ],
)
def test_H_221_restore_in_every_phase_runs_nothing(before: Any) -> None:
    snapshot = kept("step", "out").snapshot()
    machine = before()
    machine.user = 5
    machine.restore(snapshot)
    assert machine.taken() == ""
    assert machine.snapshot() == snapshot
    assert machine.user == 5
    assert machine.dispatch("back") is HANDLED
    assert machine.current is Kept.A2


def test_H_221_queued_events_are_processed_with_the_next_step() -> None:
    snapshot = kept("step", "raise").snapshot()
    trace = Trace()
    machine = kept(observer=trace)
    trace.taken()
    machine.restore(snapshot)
    assert machine.taken() == ""
    assert trace.taken() == []
    assert machine.current is Kept.Passing
    machine.dispatch("unknown")
    assert machine.taken() == "-Passing +B later5"
    assert trace.lines


def test_H_221_deferred_events_work_afterwards() -> None:
    machine = Kept()
    machine.restore(kept("later").snapshot())
    machine.taken()
    machine.dispatch("out")
    assert machine.taken() == "-A1 -A +B later1"


def test_H_221_a_restored_machine_waits_in_its_final_state() -> None:
    machine = Kept()
    machine.restore(kept("end").snapshot())
    assert machine.current is Kept.AEnd
    assert machine.dispatch("out") is HANDLED


class Another(Machine):
    A = State()
    begin = on_initial(ROOT, target=A)


GOOD = kept("step", "out").snapshot()
WRONG: dict[str, Any] = {
    "none": None,
    "list": [],
    "empty": {},
    "missing key": {key: value for key, value in GOOD.items() if key != "posted"},
    "other class": Another().snapshot(),
    "other name": GOOD | {"machine": "Other"},
    "unknown state": GOOD | {"state": "Nowhere"},
    "state no name": GOOD | {"state": ["A"]},
    "composite leaf": GOOD | {"state": "A"},
    "terminate leaf": GOOD | {"state": "Gone"},
    "root leaf": GOOD | {"state": "ROOT"},
    "unknown lifecycle": GOOD | {"lifecycle": "asleep"},
    "lifecycle no name": GOOD | {"lifecycle": []},
    "faulted": GOOD | {"lifecycle": "faulted"},
    "new in a state": GOOD | {"lifecycle": "new"},
    "terminated in a state": GOOD | {"lifecycle": "terminated"},
    "complete elsewhere": GOOD | {"lifecycle": "complete"},
    "complete in a nested final": GOOD | {"lifecycle": "complete", "state": "AEnd"},
    "running in the final": GOOD | {"state": "Done"},
    "history no dict": GOOD | {"history": []},
    "history owner unknown": GOOD | {"history": {"Nowhere": "A1"}},
    "history owner simple": GOOD | {"history": {"B": "A1"}},
    "history owner root": GOOD | {"history": {"ROOT": "A1"}},
    "history leaf unknown": GOOD | {"history": {"A": "Nowhere"}},
    "history leaf elsewhere": GOOD | {"history": {"A": "B"}},
    "history leaf is the owner": GOOD | {"history": {"A": "A"}},
    "history leaf final": GOOD | {"history": {"A": "AEnd"}},
    "completion unknown": GOOD | {"completion": "Nowhere"},
    "completion elsewhere": GOOD | {"completion": "Passing"},
    "completion unhashable": GOOD | {"completion": []},
    "posted no list": GOOD | {"posted": 5},
    "posted no pair": GOOD | {"posted": [["x"]]},
    "posted any": GOOD | {"posted": [[ANY, 1]]},
    "posted unhashable": GOOD | {"posted": [[[], 1]]},
    "deferred no list": GOOD | {"deferred": None},
    "deferred string": GOOD | {"deferred": ["xy"]},
    "complete with events": kept("done").snapshot() | {"posted": [["x", 1]]},
    "new with history": Kept(start=False).snapshot() | {"history": {"A": "A1"}},
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_H_222_a_value_that_is_not_a_snapshot_changes_nothing(value: Any) -> None:
    machine = kept("later")
    before = machine.snapshot()
    with pytest.raises(ValueError, match="no snapshot of Kept"):
        machine.restore(value)
    assert machine.snapshot() == before
    assert machine.dispatch("step") is HANDLED
