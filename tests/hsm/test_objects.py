"""Sections 17 and 18: states and machines as Python objects, and the performance contract."""

import builtins
import copy
import doctest
import gc
import importlib
import inspect
import pickle
import sys
import threading
import tracemalloc
import weakref
from typing import Any

import pytest

import tensor_pool.hsm
from tensor_pool.hsm import (
    ANY,
    DEEP,
    DEFERRED,
    HANDLED,
    ROOT,
    SHALLOW,
    UNHANDLED,
    DispatchError,
    Final,
    Machine,
    Outcome,
    State,
    on_completion,
    on_event,
    on_initial,
)
from tests.hsm.logged import Logged, Trace
from tests.hsm.six_states import SixStates


class Copied(Logged):
    """At module level, so that it can be pickled."""

    A = State()
    A1 = State(parent=A)
    A2 = State(parent=A)
    B = State(defer=["later"])
    Done = Final()
    begin = on_initial(ROOT, target=A)
    a_initial = on_initial(A, target=A1)
    step = on_event(A1, "step", target=A2)
    to_b = on_event(A, "b", target=B)
    back = on_event(B, "back", target=A, history=DEEP)
    done = on_event(A, "done", target=Done)
    later = on_event(A, "later", target=Done)

    @on_event(A, "fault", target=B)
    def _fault(self, arg: Any) -> None:
        raise ArithmeticError

    @on_event(A, "interrupt")
    def _interrupt(self, arg: Any) -> Outcome:
        self.post("done")
        raise ArithmeticError


@pytest.mark.parametrize(
    "value",
    [ROOT, ANY, HANDLED, UNHANDLED, DEFERRED, SHALLOW, DEEP, Copied.A, Copied.A1, Copied.Done],
    ids=repr,
)
def test_H_190_states_and_constants_survive_copies(value: Any) -> None:
    assert copy.copy(value) is value
    assert copy.deepcopy(value) is value
    assert copy.deepcopy([value])[0] is value
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(value, protocol)) is value


def test_H_190_states_compare_by_identity() -> None:
    assert State("same") != State("same")
    assert len({State("same"), State("same")}) == 2


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda machine: pickle.loads(pickle.dumps(machine)),
}


@pytest.mark.parametrize("how", COPIES.values(), ids=COPIES)
def test_H_191_copies_carry_the_configuration_and_are_independent(how: Any) -> None:
    machine = Copied(observer=Trace() if how is not pickle else None)
    machine.box = ["shared"]
    for event in ("step", "b", "later"):
        machine.dispatch(event)
    twin = how(machine)
    assert type(twin) is Copied
    assert twin.observer is None
    assert twin.current is Copied.B
    assert twin.snapshot() == machine.snapshot()
    assert twin.box == ["shared"]
    assert (twin.box is machine.box) == (how is copy.copy)
    assert twin.log == machine.log
    assert twin.dispatch("back") is HANDLED
    assert twin.is_complete
    assert machine.current is Copied.B
    assert machine.snapshot()["deferred"] == [["later", None]]
    machine.dispatch("back")
    assert machine.is_complete


@pytest.mark.parametrize("how", COPIES.values(), ids=COPIES)
def test_H_191_every_phase_and_leftover_is_carried(how: Any) -> None:
    new = how(Copied(start=False))
    assert new.current is ROOT
    assert not new.is_running
    new.start()
    assert new.current is Copied.A1

    complete = Copied()
    complete.dispatch("done")
    assert how(complete).is_complete

    faulted = Copied()
    with pytest.raises(ArithmeticError):
        faulted.dispatch("fault")
    twin = how(faulted)
    assert twin.is_faulted
    assert twin.current is Copied.A1
    with pytest.raises(DispatchError):
        twin.dispatch("b")

    interrupted = Copied()
    with pytest.raises(ArithmeticError):
        interrupted.dispatch("interrupt")
    twin = how(interrupted)
    with pytest.raises(DispatchError):
        twin.dispatch("b")
    assert twin.is_complete
    assert interrupted.is_running


def test_H_191_the_observer_is_not_carried() -> None:
    trace = Trace()
    machine = Copied(observer=trace)
    trace.taken()
    copy.copy(machine).dispatch("step")
    assert trace.taken() == []


def test_H_191_slots_of_users_are_carried() -> None:
    machine = Slotted()
    machine.level = 7
    machine.dispatch("toggle")
    twin = copy.copy(machine)
    assert (twin.level, twin.current) == (7, Slotted.B)
    assert pickle.loads(pickle.dumps(machine)).level == 7


class Slotted(Machine):
    __slots__ = ("level",)
    A = State()
    B = State()
    begin = on_initial(ROOT, target=A)
    go = on_event(A, "toggle", target=B)


def test_H_191_a_machine_without_a_dict_cannot_be_observed() -> None:
    with pytest.raises(TypeError, match="__dict__"):
        Slotted(observer=Trace())


def test_H_192_states_are_the_same_on_class_and_instance() -> None:
    assert Copied().A is Copied.A


def test_H_193_private_names_are_free() -> None:
    class Names(Machine):
        A = State()
        B = State()
        _begin = on_initial(ROOT, target=A)

        @on_event(A, "x", targets=B)
        def _start(self, arg: Any) -> Outcome:
            self._event = self._current = self._state = self._table = self._queue = 1
            self._node = self._source = self._history = self._observer = self._dispatch = 2
            return self.transition(self.B)

        @on_event(B, "y")
        def _transition(self, arg: Any) -> Outcome:
            return HANDLED

    machine = Names()
    machine.dispatch("x")
    assert machine.dispatch("y") is HANDLED
    internal = [name for name in dir(machine) if name.startswith("_") and name not in dir(object)]
    own = {"_begin", "_start", "_transition", *vars(machine)}
    for name in internal:
        assert name in own or name.startswith(("_hsm_", "__")), name


def test_H_195_two_machines_of_a_class_in_two_threads() -> None:
    class Fresh(SixStates):
        """A class without plans yet."""

    logs: list[list[str]] = []
    barrier = threading.Barrier(4)

    def drive() -> None:
        machine = Fresh()
        barrier.wait()
        for _ in range(50):
            for event in "ABCDEFGHI":
                machine.dispatch(event)
        logs.append(machine.log)

    threads = [threading.Thread(target=drive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(logs) == 4
    assert all(log == logs[0] for log in logs)


def test_H_195_the_documentation_names_the_threads_that_may_drive_a_machine() -> None:
    assert "thread" in (Machine.__doc__ or "")


# Speed --------------------------------------------------------------------------------------------


def test_H_196_dispatch_inspects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fresh(SixStates):
        recall = on_event(ROOT, "recall", target=SixStates.s, history=DEEP)

    machine = Fresh()

    def fail(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("inspection during dispatch")

    monkeypatch.setattr(inspect, "signature", fail)
    names = ("getattr", "hasattr", "dir", "vars", "setattr")
    kept = {name: vars(builtins)[name] for name in names}
    outcomes = []
    try:
        vars(builtins).update(dict.fromkeys(names, fail))
        outcomes = [machine.dispatch(event) for event in [*"ABCDEFGHI", "recall", "x"] * 2]
    finally:
        builtins.__dict__.update(kept)
    assert HANDLED in outcomes


class Steady(Machine):
    """One event for each kind of work of H-197."""

    A = State()
    A1 = State(parent=A)
    A2 = State(parent=A)
    B = State()
    B1 = State(parent=B)
    Passing = State()
    begin = on_initial(ROOT, target=A)
    a_initial = on_initial(A, target=A1)
    b_initial = on_initial(B, target=B1)
    self_ = on_event(A1, "self", target=A1)
    local = on_event(A1, "local", target=A)
    sibling = on_event(A1, "external", target=A2)
    sibling_back = on_event(A2, "external", target=A1)
    over = on_event(A, "nested", target=B)
    back = on_event(B, "nested", target=A)
    away = on_event(A, "history", target=B)
    recall = on_event(B, "history", target=A, history=DEEP)
    passing = on_event(A, "completion", target=Passing)
    completed = on_completion(Passing, target=A)

    @on_event(A1, "leaf")
    def _leaf(self, arg: Any) -> Outcome:
        return HANDLED

    @on_event(ROOT, "ancestor")
    def _ancestor(self, arg: Any) -> Outcome:
        return HANDLED

    @on_event(A1, "imperative", targets=A1)
    def _imperative(self, arg: Any) -> Outcome:
        return self.transition(self.A1)

    @on_event(A, "choice", targets=(A1, A2))
    def _choice(self, arg: Any) -> Outcome:
        return self.choice(self.A, [(_true, self.A1)], otherwise=self.A2)

    @on_event(ROOT, "post")
    def _post(self, arg: Any) -> Outcome:
        self.post("ancestor")
        return HANDLED


def _true() -> bool:
    return True


CYCLES = [
    ("leaf",),
    ("ancestor",),
    ("unknown",),
    ("self",),
    ("local",),
    ("external", "external"),
    ("nested", "nested"),
    ("history", "history"),
    ("completion",),
    ("imperative",),
    ("choice",),
    ("post",),
]


@pytest.mark.parametrize("cycle", CYCLES, ids=lambda cycle: cycle[0])
def test_H_197_the_steady_state_retains_no_memory(cycle: tuple[str, ...]) -> None:
    machine = Steady()
    dispatch = machine.dispatch

    def drive(times: int) -> None:
        for _ in range(times):
            for event in cycle:
                dispatch(event)

    drive(2000)
    grown = []
    gc.collect()
    for _ in range(3):
        before = sys.getallocatedblocks()
        drive(3000)
        grown.append(sys.getallocatedblocks() - before)
    assert min(grown) <= 20


@pytest.mark.parametrize("cycle", [c for c in CYCLES if c[0] not in ("choice", "post")], ids=str)
def test_H_197_one_dispatch_allocates_next_to_nothing(cycle: tuple[str, ...]) -> None:
    machine = Steady()
    for _ in range(200):
        for event in cycle:
            machine.dispatch(event)
    tracemalloc.start()
    try:
        for event in cycle:
            machine.dispatch(event)
        peaks = []
        for event in cycle:
            tracemalloc.reset_peak()
            base = tracemalloc.get_traced_memory()[0]
            machine.dispatch(event)
            peaks.append(tracemalloc.get_traced_memory()[1] - base)
    finally:
        tracemalloc.stop()
    assert max(peaks) < 512


def test_H_197_a_class_without_users_is_collected() -> None:
    def define() -> weakref.ref[type]:
        class Local(SixStates):
            Own = State()
            to_own = on_event(SixStates.s, "own", target=Own)

        machine = Local()
        for event in [*"ABCDEFGHI", "own"]:
            machine.dispatch(event)
        Local(observer=Trace()).dispatch("A")
        assert Local.edges
        return weakref.ref(Local)

    reference = define()
    gc.collect()
    assert reference() is None


def test_H_198_the_benchmark_measures_every_row() -> None:
    source = inspect.getsource(importlib.import_module("benchmarks.hsm"))
    for row in ("in the leaf", "three levels up", "unhandled", "sibling", "imperative", "1000"):
        assert row in source


# Documentation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["", ".machine", ".states", ".coverage", ".declarations"])
def test_examples_in_docstrings_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"tensor_pool.hsm{module}"))
    assert result.failed == 0
    assert result.attempted or module == ".declarations"


def test_the_public_names_are_those_of_the_specification() -> None:
    wanted = """Machine State Final Terminate ROOT
    on_initial on_event on_entry on_exit on_completion on_history_default
    ANY HANDLED UNHANDLED SHALLOW DEEP HsmError DefinitionError DispatchError
    TransitionError DEFERRED Edge Finding Coverage"""
    assert set(wanted.split()) <= set(tensor_pool.hsm.__all__)
    for name in tensor_pool.hsm.__all__:
        assert hasattr(tensor_pool.hsm, name)
