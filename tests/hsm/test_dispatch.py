"""Section 5: the search for a handler and what it answers."""

from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    DEFERRED,
    HANDLED,
    ROOT,
    UNHANDLED,
    DispatchError,
    Final,
    Machine,
    Outcome,
    State,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_initial,
)
from tests.hsm.logged import Logged
from tests.hsm.test_lifecycle import PHASES, life


class Levels(Logged):
    """A, B in A, C in B; each declines if its name is in `declining`."""

    A = State()
    B = State(parent=A)
    C = State(parent=B)
    D = State(parent=A)
    begin = on_initial(ROOT, target=C)
    a_initial = on_initial(A, target=B)
    b_initial = on_initial(B, target=C)

    def __init__(self, *declining: str) -> None:
        self.declining = declining
        super().__init__()

    def _answer(self, name: str) -> Outcome:
        self.note(name)
        return UNHANDLED if name in self.declining else HANDLED

    @on_event(C, "up")
    def _c(self, arg: Any) -> Outcome:
        return self._answer("C")

    @on_event(B, "up", targets=D)
    def _b(self, arg: Any) -> Outcome:
        return self._answer("B")

    @on_event(A, "up")
    def _a(self, arg: Any) -> Outcome:
        return self._answer("A")

    @on_event(ROOT, "up")
    def _root(self, arg: Any) -> Outcome:
        return self._answer("ROOT")


def test_H_060_outcomes() -> None:
    assert Levels().dispatch("up") is HANDLED
    assert Levels().dispatch("unknown") is UNHANDLED
    assert bool(HANDLED)
    assert not bool(UNHANDLED)


@pytest.mark.parametrize("arg", [None, 0, "", False, [], {}])
def test_H_060_the_argument_arrives_as_it_is(arg: Any) -> None:
    class Taking(Machine):
        A = State()
        B = State()
        begin = on_initial(ROOT, target=A)

        @on_event(A, "handler")
        def _handler(self, given: Any) -> Outcome:
            self.given = given
            return HANDLED

        @on_event(A, "edge", target=B)
        def _edge(self, given: Any) -> None:
            self.given = given

        @on_event(A, ANY)
        def _any(self, given: Any, event: Any) -> Outcome:
            self.given = given
            return HANDLED

    for event in ("handler", "other", "edge"):
        machine = Taking()
        machine.dispatch(event, arg)
        assert machine.given is arg


@pytest.mark.parametrize(
    ("declining", "asked", "outcome"),
    [
        ((), "C", HANDLED),
        (("C",), "C B", HANDLED),
        (("C", "B"), "C B A", HANDLED),
        (("C", "B", "A"), "C B A ROOT", HANDLED),
        (("C", "B", "A", "ROOT"), "C B A ROOT", UNHANDLED),
    ],
)
def test_H_061_the_search_goes_up_while_handlers_decline(
    declining: tuple[str, ...], asked: str, outcome: Outcome
) -> None:
    machine = Levels(*declining)
    machine.log.clear()
    assert machine.dispatch("up") is outcome
    assert machine.taken() == asked
    assert machine.current is Levels.C


class Selecting(Logged):
    A = State()
    B = State(parent=A)
    begin = on_initial(ROOT, target=B)
    a_initial = on_initial(A, target=B)
    enabled = True

    @on_event(B, "specific")
    def _specific(self, arg: Any) -> Outcome:
        self.note("B specific")
        return UNHANDLED

    @on_event(B, "guarded", guard=lambda self, arg: self.enabled)
    def _guarded(self, arg: Any) -> Outcome:
        self.note("B guarded")
        return UNHANDLED

    @on_event(B, ANY)
    def _any(self, arg: Any, event: Any) -> Outcome:
        self.note(f"B any {event}")
        return HANDLED

    @on_event(A, "specific", "guarded", "outer")
    def _outer(self, arg: Any) -> Outcome:
        self.note("A specific")
        return HANDLED


@pytest.mark.parametrize(
    ("event", "enabled", "log"),
    [
        ("specific", True, "B specific A specific"),
        ("guarded", True, "B guarded A specific"),
        ("guarded", False, "B any guarded"),
        ("outer", True, "B any outer"),
        ("unknown", True, "B any unknown"),
    ],
)
def test_H_062_selection_within_a_state(event: str, enabled: bool, log: str) -> None:
    """H-062 H-063"""
    machine = Selecting()
    machine.enabled = enabled
    machine.log.clear()
    assert machine.dispatch(event) is HANDLED
    assert machine.taken() == log


def test_H_063_any_receives_the_event_also_as_guard_and_effect() -> None:
    seen: list[Any] = []

    class Catching(Machine):
        A = State()
        B = State()
        begin = on_initial(ROOT, target=A)

        @on_event(A, ANY, target=B, guard=lambda self, arg, event: seen.append(event) or True)
        def _effect(self, arg: Any, event: Any) -> None:
            seen.append((arg, event))

        @on_event(B, ANY)
        def _handler(self, arg: Any, event: Any) -> Outcome:
            seen.append((arg, event))
            return HANDLED

    machine = Catching()
    machine.dispatch(("x", 1), 5)
    machine.dispatch(None, 6)
    assert seen == [("x", 1), (5, ("x", 1)), (6, None)]


def test_H_064_an_unhandled_event_changes_nothing() -> None:
    machine = Levels("C", "B", "A", "ROOT")
    before = machine.snapshot()
    machine.log.clear()
    assert machine.dispatch("unknown") is UNHANDLED
    assert machine.taken() == ""
    machine.dispatch("up")
    assert machine.snapshot() == before


class Sources(Machine):
    """Notes source, event and current in every function."""

    A = State()
    A1 = State(parent=A)
    B = State()
    B1 = State(parent=B)
    B11 = State(parent=B1)
    Passing = State()

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any, str]] = []

    def see(self, where: str) -> None:
        event = self.event
        self.seen.append((where, self.source.name, event, self.current.name))

    @on_initial(ROOT, target=A)
    def _begin(self) -> None:
        self.see("initial")

    @on_initial(A, targets=A1)
    def _a_initial(self) -> Outcome:
        self.see("before")
        outcome = self.transition(self.A1, effect=lambda: self.see("initial effect"))
        self.see("after")
        return outcome

    @on_initial(B, target=B1)
    def _b_initial(self) -> None:
        self.see("initial")

    b1_initial = on_initial(B1, target=B11)

    @on_event(ROOT, "root")
    def _at_root(self, arg: Any) -> Outcome:
        self.see("handler")
        return HANDLED

    @on_event(A, "edge", target=B)
    def _edge(self, arg: Any) -> None:
        self.see("effect")

    @on_event(A, "guarded", guard=lambda self, arg: self.see("guard") or True)
    def _guarded(self, arg: Any) -> Outcome:
        self.see("handler")
        return UNHANDLED

    @on_event(B, "imperative", targets=Passing)
    def _imperative(self, arg: Any) -> Outcome:
        self.see("before")
        self.transition(self.Passing, effect=lambda: self.see("effect"))
        self.see("after")
        return HANDLED

    @on_completion(Passing, target=A1)
    def _complete(self) -> None:
        self.see("completion")

    @on_exit(A1)
    def _exit(self) -> None:
        self.see("exit")

    @on_entry(B1)
    def _entry(self) -> None:
        self.see("entry")

    @on_entry(A1)
    def _entry_a1(self) -> None:
        self.see("entry")

    @on_event(A, "raise")
    def _raise(self, arg: Any) -> Outcome:
        raise ArithmeticError


def test_H_065_source_and_event_in_every_function() -> None:
    """H-065 H-085"""
    machine = Sources()
    assert machine.seen == [
        ("initial", "ROOT", None, "ROOT"),
        ("before", "A", None, "A"),
        ("initial effect", "A", None, "A"),
        ("entry", "A", None, "A1"),
        ("after", "A", None, "A1"),
    ]
    machine.seen.clear()
    machine.dispatch("root")
    machine.dispatch("guarded")
    assert machine.seen == [
        ("handler", "ROOT", "root", "A1"),
        ("guard", "A", "guarded", "A1"),
        ("handler", "A", "guarded", "A1"),
    ]
    machine.seen.clear()
    machine.dispatch("edge")
    assert machine.seen == [
        ("exit", "A", "edge", "A1"),
        ("effect", "A", "edge", "ROOT"),
        ("initial", "B", "edge", "B"),
        ("entry", "B", "edge", "B1"),
    ]
    machine.seen.clear()
    machine.dispatch("imperative")
    assert machine.seen == [
        ("before", "B", "imperative", "B11"),
        ("effect", "B", "imperative", "ROOT"),
        ("after", "B", "imperative", "Passing"),
        ("completion", "Passing", None, "ROOT"),
        ("entry", "Passing", None, "A1"),
    ]
    assert machine.source is machine.current is Sources.A1
    assert machine.event is None
    with pytest.raises(ArithmeticError):
        machine.dispatch("raise")
    assert machine.source is Sources.A1
    assert machine.event is None


@pytest.mark.parametrize("observed", [False, True])
def test_H_065_source_is_the_state_being_searched(observed: bool) -> None:
    class Searching(Logged):
        A = State()
        B = State(parent=A)
        C = State(parent=B)
        begin = on_initial(ROOT, target=C)
        a_initial = on_initial(A, target=C)
        b_initial = on_initial(B, target=C)

        @on_event(C, "x", guard=lambda self, arg: self.see() or False)
        @on_event(B, "x", guard=lambda self, arg: self.see() or True)
        @on_event(A, "x")
        def _x(self, arg: Any) -> Outcome:
            self.see()
            return UNHANDLED

        @on_event(ROOT, ANY)
        def _any(self, arg: Any, event: Any) -> Outcome:
            self.see()
            return HANDLED

        def see(self) -> None:
            self.note(self.source.name)

    machine = Searching(observer=object() if observed else None)
    machine.taken()
    assert machine.dispatch("x") is HANDLED
    assert machine.taken() == "C B B A ROOT"
    machine.dispatch("unknown")
    assert machine.taken() == "ROOT"
    assert machine.source is Searching.C


class Answers(Machine):
    A = State()
    B = State()
    begin = on_initial(ROOT, target=A)
    b_completes = on_completion(B, target="C", guard=lambda self: self.completing)
    C = State()
    completing = False

    @on_event(A, "plain")
    def _plain(self, arg: Any) -> Any:
        return arg

    @on_event(A, "listed", targets=B)
    def _listed(self, arg: Any) -> Any:
        return arg

    @on_event(A, "guarded", guard=lambda self, arg: True)
    def _guarded(self, arg: Any) -> Any:
        return arg

    @on_event(A, "any")
    def _declines(self, arg: Any) -> Any:
        return UNHANDLED

    @on_event(ROOT, ANY)
    def _any(self, arg: Any, event: Any) -> Any:
        return arg

    @on_event(A, "moves", targets=B)
    def _moves(self, arg: Any) -> Any:
        self.transition(self.B)
        return arg

    @on_completion(A)
    def _completed(self) -> Any:
        return self.answer

    answer = HANDLED

    @on_event(C, "edge", target=B)
    def _edge(self, arg: Any) -> Any:
        return arg

    @on_entry(B)
    def _enter(self) -> Any:
        return UNHANDLED


@pytest.mark.parametrize("answer", [None, True, 1, "HANDLED", DEFERRED, State()])
@pytest.mark.parametrize("event", ["plain", "listed", "guarded", "any", "moves"])
def test_H_066_any_other_answer_is_an_error(event: str, answer: Any) -> None:
    machine = Answers()
    with pytest.raises(DispatchError, match="answered"):
        machine.dispatch(event, answer)
    assert machine.is_running
    assert machine.current is (Answers.B if event == "moves" else Answers.A)
    assert machine.dispatch("unknown", HANDLED) is HANDLED


def test_H_066_unhandled_after_a_transition_is_an_error() -> None:
    machine = Answers()
    with pytest.raises(DispatchError, match="after it took a transition"):
        machine.dispatch("moves", UNHANDLED)
    assert machine.current is Answers.B
    assert machine.is_running


def test_H_066_completion_handlers_answer_too() -> None:
    machine = Answers(start=False)
    machine.answer = None
    with pytest.raises(DispatchError):
        machine.start()
    assert machine.is_running
    assert machine.current is Answers.A


def test_H_067_an_edge_is_always_handled() -> None:
    machine = Answers(start=False)
    machine.completing = True
    machine.start()
    machine.dispatch("moves", HANDLED)
    assert machine.current is Answers.C
    machine.completing = False
    assert machine.dispatch("edge", UNHANDLED) is HANDLED
    assert machine.current is Answers.B


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase != "running"])
def test_H_068_dispatch_on_a_machine_that_is_not_running(phase: str) -> None:
    machine = life(phase)
    current = machine.current
    with pytest.raises(DispatchError):
        machine.dispatch("b")
    assert machine.current is current
    assert machine.log == []


@pytest.mark.parametrize("observed", [False, True])
def test_H_068_any_and_unhashable_events_are_refused_without_effect(observed: bool) -> None:
    trace: list[Any] = []

    class Observer:
        def trace_dispatch_start(self, machine: Machine, event: Any, arg: Any) -> None:
            trace.append(event)

    machine = Sources() if not observed else life("running").__class__(observer=Observer())
    for attempt in range(2):
        with pytest.raises(DispatchError):
            machine.dispatch(ANY)
        with pytest.raises(TypeError):
            machine.dispatch([])
        assert trace == []
        assert machine.event is None
        machine.dispatch("known" if attempt else "unknown")
        trace.clear()


def test_H_068_any_is_refused_where_any_is_handled() -> None:
    machine = Answers()
    with pytest.raises(DispatchError):
        machine.dispatch(ANY, HANDLED)


def test_H_068_dispatch_during_a_step_is_refused() -> None:
    class Nested(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)

        @on_event(A, "x")
        def _nested(self, arg: Any) -> Outcome:
            with pytest.raises(DispatchError, match="post"):
                self.dispatch("y")
            return HANDLED

    assert Nested().dispatch("x") is HANDLED


def test_H_068_an_event_whose_equality_dispatches_is_refused() -> None:
    machine = Levels()

    class Nasty:
        def __hash__(self) -> int:
            return hash("up")

        def __eq__(self, other: object) -> bool:
            machine.dispatch("up")
            return False

    with pytest.raises(DispatchError):
        machine.dispatch(Nasty())
    assert machine.dispatch("up") is HANDLED


@pytest.mark.parametrize("observed", [False, True])
def test_H_069_a_final_leaf_takes_no_events(observed: bool) -> None:
    class Ending(Machine):
        A = State()
        A1 = State(parent=A)
        End = Final(parent=A)
        begin = on_initial(ROOT, target=A)
        a_initial = on_initial(A, target=A1)
        end = on_event(A1, "end", target=End)

        @on_event(A, ANY)
        def _any(self, arg: Any, event: Any) -> Outcome:
            return HANDLED

    asked: list[str] = []

    class Observer:
        def trace_dispatch_attempt(self, machine: Machine, state: State, event: Any) -> None:
            asked.append(state.name)

    machine = Ending(observer=Observer() if observed else None)
    machine.dispatch("end")
    assert machine.current is Ending.End
    asked.clear()
    assert machine.dispatch("x") is HANDLED
    assert asked == (["End", "A"] if observed else [])
