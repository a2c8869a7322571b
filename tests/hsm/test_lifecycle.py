"""Section 4: construction and the phases of a machine."""

import inspect
from dataclasses import dataclass
from typing import Any, cast

import pytest

from tensor_pool.hsm import (
    HANDLED,
    ROOT,
    DispatchError,
    Final,
    Machine,
    State,
    Terminate,
    on_completion,
    on_entry,
    on_event,
    on_initial,
)
from tests.hsm.logged import Logged, Trace


class Life(Logged):
    A = State()
    B = State()
    B1 = State(parent=B)
    Done = Final()
    Gone = Terminate()

    begin = on_initial(ROOT, target=A)
    b_initial = on_initial(B, target=B1)
    to_b = on_event(A, "b", target=B)
    finish = on_event(A, "finish", target=Done)
    halt = on_event(A, "stop", target=Gone)

    @on_event(A, "fault", target=B)
    def _fault(self, arg: Any) -> None:
        raise ArithmeticError


PHASES = ["new", "running", "complete", "terminated", "faulted"]


def life(phase: str) -> Life:
    machine = Life(start=phase != "new")
    if phase in ("complete", "terminated"):
        machine.dispatch({"complete": "finish", "terminated": "stop"}[phase])
    if phase == "faulted":
        with pytest.raises(ArithmeticError):
            machine.dispatch("fault")
    machine.log.clear()
    return machine


@pytest.mark.parametrize("phase", PHASES)
def test_H_040_exactly_one_phase(phase: str) -> None:
    machine = life(phase)
    assert machine.is_running == (phase == "running")
    assert machine.is_complete == (phase == "complete")
    assert machine.is_terminated == (phase == "terminated")
    assert machine.is_faulted == (phase == "faulted")


class Seeing(Machine):
    """Notes which level its initial step finds."""

    A = State()
    begin = on_initial(ROOT, target=A)
    level: int = 0

    @on_entry(A)
    def _enter(self) -> None:
        self.seen = self.level


def test_H_041_the_initial_step_sees_what_init_set_after_the_base() -> None:
    class Late(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)

        def __init__(self) -> None:
            super().__init__()
            self.late = 7

        @on_entry(A)
        def _enter(self) -> None:
            self.seen = self.late

    assert Late().seen == 7


def test_H_041_the_initial_step_needs_no_call_of_the_base_init() -> None:
    @dataclass
    class Data(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)
        level: int = 3

        @on_entry(A)
        def _enter(self) -> None:
            self.seen = self.level

    assert Data(5).seen == 5
    assert Data().current is Data.A


@dataclass
class Settings:
    """A mixin that brings an `__init__` without a part for machines."""

    level: int = 3


def test_H_041_the_init_of_a_plain_mixin_comes_before_the_initial_step() -> None:
    class Mixed(Settings, Seeing): ...

    class Derived(Mixed): ...

    @dataclass
    class Decorated(Settings, Seeing):
        extra: int = 0

    assert (Mixed(4).seen, Mixed(level=5).seen) == (4, 5)
    assert Derived(6).seen == 6
    assert Decorated(1, 2).seen == 1
    assert Decorated(1, 2).extra == 2


def test_H_041_a_mixin_and_a_new_of_its_own_go_together() -> None:
    class Counted(Settings, Seeing):
        made = 0

        def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
            cls.made += 1
            return super().__new__(cls)

    assert (Counted(4).seen, Counted.made) == (4, 1)


@pytest.mark.parametrize("used_before", [False, True])
def test_H_041_an_init_assigned_later_comes_before_the_initial_step(used_before: bool) -> None:
    class Patched(Seeing):
        def __init__(self, level: int = 0) -> None:
            self.level = level

    class Heir(Patched): ...

    if used_before:
        assert (Patched(1).seen, Heir(2).seen) == (1, 2)
    original = Patched.__init__

    def patched(self: Any, level: int) -> None:
        original(self, level)
        self.level += 100

    Patched.__init__ = patched  # type: ignore[method-assign,assignment]
    assert (Patched(1).seen, Heir(2).seen) == (101, 102)
    Patched.__init__ = original  # type: ignore[method-assign]
    assert (Patched(1).seen, Heir(2).seen) == (1, 2)
    del Patched.__init__
    Patched.level = Heir.level = 7
    assert (Patched().seen, Heir().seen) == (7, 7)


def test_H_041_every_init_of_a_family_runs_once_before_the_initial_step() -> None:
    class Base(Seeing):
        def __init__(self, a: int, /, *, start: bool = True) -> None:
            super().__init__(start=start)
            self.calls = [a]

    class Middle(Base, abstract=True):
        def __init__(self, m: int, *rest: int, c1: int = 5, **keywords: Any) -> None:
            super().__init__(m, **keywords)
            self.calls += [*rest, c1]

    class Leaf(Middle):
        def __init__(self, m: int, c1: int = 6) -> None:
            super().__init__(m, c1, c1=c1)
            self.level = sum(self.calls)

    class Heir(Leaf): ...

    for _ in range(2):
        assert Leaf(1).seen == 13
        assert Heir(m=1, c1=2).seen == 5
        base = Base(3, start=False)
        assert (base.calls, base.is_running) == ([3], False)
        with pytest.raises(TypeError, match="abstract"):
            Middle(1)
        with pytest.raises(TypeError, match="argument"):
            Leaf()  # type: ignore[call-arg]
    assert list(inspect.signature(Leaf).parameters) == ["m", "c1"]


def test_H_041_the_initial_step_is_not_taken_twice() -> None:
    class Early(Logged):
        A = State()
        begin = on_initial(ROOT, target=A)

        def __init__(self, **keywords: Any) -> None:
            super().__init__(**keywords)
            self.start()

    assert Early().log == ["+A"]
    assert Early(start=False).log == ["+A"]


def test_H_041_start_false_waits() -> None:
    machine = Life(start=False)
    assert machine.log == []
    assert not machine.is_running


def test_H_041_a_machine_that_ends_or_resets_in_its_init_is_left_so() -> None:
    class Odd(Life):
        def __init__(self, event: str) -> None:
            super().__init__()
            self.start()
            if event == "reset":
                self.reset(start=False)
            else:
                self.dispatch(event)

    assert Odd("stop").is_terminated
    assert Odd("finish").is_complete
    waiting = Odd("reset")
    assert waiting.current is ROOT
    waiting.start()
    assert waiting.is_running


def test_H_041_a_class_with_its_own_new() -> None:
    class Picky(Life):
        def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
            made = super().__new__(cls)
            made.extra = keywords
            return made

    assert Picky().current is Picky.A
    assert Picky(start=False).extra == {"start": False}


def test_H_041_a_new_assigned_later_makes_the_machines_of_the_class_and_its_subclasses() -> None:
    class Patched(Life): ...

    class Heir(Patched): ...

    made: list[type] = []

    def new(cls: type, *arguments: Any, **keywords: Any) -> Any:
        made.append(cls)
        return object.__new__(cls)

    assert Patched().current is Heir().current is Life.A
    Patched.__new__ = new  # type: ignore[method-assign,assignment]
    assert Patched().current is Heir().current is Life.A
    assert made == [Patched, Heir]
    del Patched.__new__
    assert Patched(start=False).current is ROOT
    assert made == [Patched, Heir]


def test_H_042_a_new_machine() -> None:
    machine = Life(start=False)
    assert machine.current is ROOT
    assert machine.source is ROOT
    assert not any(machine.is_in(state) for state in (ROOT, *Life.states))
    with pytest.raises(DispatchError):
        machine.dispatch("b")
    machine.start()
    assert machine.current is Life.A


@pytest.mark.parametrize("phase", PHASES[1:])
def test_H_042_start_in_another_phase_has_no_effect(phase: str) -> None:
    machine = life(phase)
    current = machine.current
    with pytest.raises(DispatchError):
        machine.start()
    assert machine.current is current
    assert machine.log == []


def test_H_043_the_initial_step_runs_to_completion() -> None:
    class Steps(Logged):
        Outer = State()
        Inner = State(parent=Outer)
        Passed = State()
        Last = State()

        begin = on_initial(ROOT, target=Outer)
        inner = on_initial(Outer, target=Inner)
        go_on = on_completion(Inner, target=Passed)

        @on_entry(Inner)
        def _inner(self) -> None:
            self.log.append("+Inner")
            assert self.is_running
            self.post("last")

        last = on_event(Passed, "last", target=Last)

    machine = Steps()
    assert machine.taken() == "+Outer +Inner -Inner -Outer +Passed -Passed +Last"
    assert machine.current is Steps.Last


def test_H_044_an_exception_in_the_initial_step() -> None:
    class Failing(Logged):
        A = State()
        begin = on_initial(ROOT, target=A)
        fails = True

        @on_entry(A)
        def _enter(self) -> None:
            if self.fails:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Failing()
    machine = Failing(start=False)
    with pytest.raises(ZeroDivisionError):
        machine.start()
    assert machine.is_faulted
    assert machine.current is ROOT
    with pytest.raises(ZeroDivisionError):
        machine.reset()
    machine.fails = False
    machine.reset()
    assert machine.current is Failing.A


@pytest.mark.parametrize("phase", PHASES)
def test_H_045_reset_begins_anew_in_every_phase(phase: str) -> None:
    machine = life(phase)
    machine.user = "kept"
    machine.reset()
    assert machine.taken() == "+A"
    assert machine.is_running
    assert machine.user == "kept"
    machine.reset(start=False)
    assert machine.taken() == ""
    assert machine.current is ROOT
    with pytest.raises(DispatchError):
        machine.dispatch("b")
    machine.start()
    assert machine.current is Life.A


def test_H_045_reset_forgets_history_and_queues_and_keeps_the_observer() -> None:
    class Observer:
        entries = 0

        def trace_entry(self, machine: Machine, state: State) -> None:
            self.entries += 1

    observer = Observer()
    machine = Life(start=False, observer=observer)
    machine.post("b")
    machine.reset(start=False)
    machine.start()
    assert machine.current is Life.A
    machine.dispatch("b")
    machine.reset()
    assert machine.snapshot()["history"] == {}
    assert machine.observer is observer
    assert observer.entries == 4


def test_H_046_is_in() -> None:
    machine = Life()
    machine.dispatch("b")
    active = {ROOT, Life.B, Life.B1}
    assert {state for state in (ROOT, *Life.states) if machine.is_in(state)} == active
    for wrong in ("B", None, 3):
        with pytest.raises(TypeError):
            machine.is_in(wrong)


def test_H_046_is_in_root_once_started() -> None:
    assert life("terminated").is_in(ROOT)
    assert life("complete").is_in(Life.Done)
    assert life("faulted").is_in(Life.A)


def test_H_047_instances_share_nothing() -> None:
    one, other = Life(), Life()
    assert one.dispatch("b") is HANDLED
    one.post("anything")
    assert other.current is Life.A
    assert other.snapshot()["history"] == {}
    assert other.dispatch("finish") is HANDLED
    assert one.is_running


def test_H_041_a_class_may_get_its_init_after_its_statement() -> None:
    """The initial step follows it, as it does for a dataclass and a mixin's `__init__`."""

    class Late(Logged):
        A = State()
        begin = on_initial(ROOT, target=A)

    assert Late().log == ["+A"]

    def written(self: Any, size: int) -> None:
        self.size = size
        self.log: list[str] = ["init"]

    setattr(Late, "__init__", written)  # noqa: B010
    machine: Any = cast(Any, Late)(5)
    assert machine.size == 5
    assert machine.log == ["init", "+A"]


def test_H_041_an_observer_that_init_adds_sees_the_initial_step() -> None:
    trace = Trace()

    class Watched(Logged):
        A = State()
        begin = on_initial(ROOT, target=A)

        def __init__(self) -> None:
            super().__init__()
            self.add_observer(trace)

    machine = Watched()
    assert machine.log == ["+A"]
    assert "initial ROOT" in trace.lines
