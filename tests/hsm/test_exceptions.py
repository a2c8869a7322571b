"""Section 14: run to completion, exceptions and faults."""

import copy
import pickle
from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    UNHANDLED,
    DefinitionError,
    DispatchError,
    HsmError,
    Machine,
    Outcome,
    State,
    TransitionError,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_initial,
)
from tests.hsm.logged import Logged, Trace


class Acting(Logged):
    """Calls `self.act(place)` at every place where user code can run."""

    A = State()
    A1 = State(parent=A)
    B = State()
    B1 = State(parent=B)
    Passing = State()

    def __init__(self, **keywords: Any) -> None:
        self.place = ""
        self.action: Any = lambda: None
        super().__init__(**keywords)

    def act(self, place: str) -> bool:
        if place == self.place:
            self.note(place)
            self.action()
        return True

    @on_initial(ROOT, target=A)
    def _begin(self) -> None:
        self.act("root initial")

    @on_initial(A, targets=A1)
    def _a_initial(self) -> Outcome:
        self.act("imperative initial")
        return self.transition(self.A1)

    @on_initial(B, target=B1)
    def _b_initial(self) -> None:
        self.act("initial effect")

    @on_exit(A)
    def _exit(self) -> None:
        self.act("exit")

    @on_entry(B)
    def _enter(self) -> None:
        self.act("entry")

    @on_entry(B1)
    def _enter_inner(self) -> None:
        self.act("entry of the initial")

    @on_event(A, "edge", target=B, guard=lambda self, arg: self.act("guard"))
    def _edge(self, arg: Any) -> None:
        self.act("effect")

    @on_event(A, "handler", targets=(A, B))
    def _handler(self, arg: Any) -> Outcome:
        self.act("handler before")
        outcome = self.transition(self.B, effect=lambda: self.act("handler effect"))
        self.act("handler after")
        return outcome

    @on_event(A, "plain")
    def _plain(self, arg: Any) -> Outcome:
        self.act("plain handler")
        return UNHANDLED

    @on_event(ROOT, ANY)
    def _any(self, arg: Any, event: Any) -> Outcome:
        self.act("any handler")
        return HANDLED

    @on_event(A, "choose", targets=(B1, A1))
    def _choose(self, arg: Any) -> Outcome:
        return self.choice(
            self.B,
            [(lambda: self.act("choice guard"), self.B1, lambda: self.act("choice effect"))],
            otherwise=self.B1,
        )

    pass_by = on_event(A, "pass", target=Passing)

    @on_completion(Passing, targets=A, guard=lambda self: self.act("completion guard"))
    def _completed(self) -> Outcome:
        self.act("completion before")
        self.transition(self.A, effect=lambda: self.act("completion effect"))
        self.act("completion after")
        return HANDLED


# place, event, whether an exception there is inside a transition, the leaf if it is not
PLACES = [
    ("guard", "edge", False, "A1"),
    ("effect", "edge", True, "A1"),
    ("exit", "edge", True, "A1"),
    ("entry", "edge", True, "A1"),
    ("initial effect", "edge", True, "A1"),
    ("entry of the initial", "edge", True, "A1"),
    ("handler before", "handler", False, "A1"),
    ("handler effect", "handler", True, "A1"),
    ("handler after", "handler", False, "B1"),
    ("plain handler", "plain", False, "A1"),
    ("any handler", "unknown", False, "A1"),
    ("choice guard", "choose", True, "A1"),
    ("choice effect", "choose", True, "A1"),
    ("completion guard", "pass", False, "Passing"),
    ("completion before", "pass", False, "Passing"),
    ("completion effect", "pass", True, "Passing"),
    ("completion after", "pass", False, "A1"),
    ("imperative initial", "pass", True, "Passing"),
]
CALLS = {
    "dispatch": lambda m: m.dispatch("edge"),
    "start": lambda m: m.start(),
    "reset": lambda m: m.reset(),
    "reset without start": lambda m: m.reset(start=False),
    "snapshot": lambda m: m.snapshot(),
    "restore": lambda m: m.restore({}),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("observed", [False, True])
def test_H_160_driving_calls_in_a_step_are_refused_without_effect(
    call: Any, observed: bool
) -> None:
    for place, event, _, _ in PLACES:
        machine, plain = Acting(observer=Trace() if observed else None), Acting()

        def action(machine: Acting = machine) -> None:
            with pytest.raises(DispatchError):
                call(machine)

        machine.action = action
        machine.place = plain.place = place
        assert machine.dispatch(event) is plain.dispatch(event)
        assert place in machine.log, place
        assert machine.log == plain.log
        assert machine.current is plain.current
        assert machine.snapshot() == plain.snapshot()


def test_H_160_also_in_the_initial_step_and_in_trace_hooks() -> None:
    refused = []

    class Hooked(Acting):
        def trace_entry(self, state: State) -> None:
            with pytest.raises(DispatchError):
                self.dispatch("edge")
            refused.append(state.name)

    machine = Hooked(start=False)
    machine.start()
    machine.dispatch("edge")
    assert refused == ["A", "A1", "B", "B1"]


class Failure(BaseException):
    pass


@pytest.mark.parametrize("exception", [ArithmeticError, Failure, KeyboardInterrupt])
@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize(("place", "event", "inside", "leaf"), PLACES)
def test_H_161_inside_a_transition_an_exception_faults_elsewhere_it_does_not(
    place: str, event: str, inside: bool, leaf: str, exception: Any, observed: bool
) -> None:
    """H-161 H-162"""
    machine = Acting(observer=Trace() if observed else None)
    raised = exception("unchanged")

    def action() -> None:
        raise raised

    machine.place, machine.action = place, action
    with pytest.raises(exception) as caught:
        machine.dispatch(event)
    assert caught.value is raised
    assert machine.current.name == leaf
    assert machine.source is machine.current
    assert machine.event is None
    assert machine.is_faulted is inside
    assert machine.is_running is not inside
    machine.place = ""
    if inside:
        for call in (
            lambda: machine.dispatch("edge"),
            lambda: machine.post("edge"),
            machine.start,
            machine.snapshot,
        ):
            with pytest.raises(DispatchError):
                call()
        assert machine.is_faulted
        machine.reset()
    assert machine.is_running
    assert machine.dispatch("unknown") is HANDLED


@pytest.mark.parametrize("place", ["root initial", "imperative initial"])
def test_H_161_in_the_initial_step(place: str) -> None:
    machine = Acting(start=False)
    machine.place = place
    machine.action = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        machine.start()
    assert machine.is_faulted
    assert machine.current is ROOT


def test_H_161_a_fault_that_a_handler_swallows_stays_a_fault() -> None:
    class Swallowing(Acting):
        @on_event(Acting.A, "swallow", targets=Acting.B)
        def _swallow(self, arg: Any) -> Outcome:
            with pytest.raises(ZeroDivisionError):
                self.transition(self.B, effect=lambda: 1 / 0)
            assert self.is_faulted
            assert self.source is self.current is self.A1
            self.refused = []
            for call in (lambda: self.post("x"), lambda: self.transition(self.B)):
                with pytest.raises(HsmError):
                    call()
            return HANDLED

    machine = Swallowing()
    assert machine.dispatch("swallow") is HANDLED
    assert machine.is_faulted
    assert machine.current is Acting.A1
    with pytest.raises(DispatchError):
        machine.dispatch("edge")
    machine.reset()
    assert machine.dispatch("edge") is HANDLED


def test_H_161_restore_recovers() -> None:
    machine = Acting()
    snapshot = machine.snapshot()
    machine.place, machine.action = "exit", lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        machine.dispatch("edge")
    machine.restore(snapshot)
    machine.place = ""
    assert machine.dispatch("edge") is HANDLED


HOOKS = [
    # hook, event, whether it lies behind the commit point
    ("trace_dispatch_start", "handler", False, "A1"),
    ("trace_dispatch_attempt", "handler", False, "A1"),
    ("trace_transition_begin", "edge", False, "A1"),
    ("trace_choice_begin", "choose", False, "A1"),
    ("trace_exit", "edge", True, "A1"),
    ("trace_transition_action", "edge", True, "A1"),
    ("trace_entry", "edge", True, "A1"),
    ("trace_initial", "edge", True, "A1"),
    ("trace_transition_end", "edge", True, "A1"),
    ("trace_choice_selected", "choose", True, "A1"),
    ("trace_choice_end", "choose", True, "A1"),
    ("trace_dispatch_result", "handler", False, "A1"),
    ("trace_dispatch_result", "edge", False, "A1"),
]


@pytest.mark.parametrize("by_observer", [False, True])
@pytest.mark.parametrize(("hook", "event", "inside", "leaf"), HOOKS)
def test_H_177_exceptions_of_hooks_obey_their_position(
    hook: str, event: str, inside: bool, leaf: str, by_observer: bool
) -> None:
    """H-161 H-162 H-177"""
    armed = []

    def fail(*arguments: Any) -> None:
        if armed:
            raise ArithmeticError

    if by_observer:
        machine: Acting = Acting(observer=type("Observer", (), {hook: fail})())
    else:
        machine = type(Acting)("Hooked", (Acting,), {hook: fail})()
    armed.append(True)
    with pytest.raises(ArithmeticError):
        machine.dispatch(event)
    assert machine.is_faulted is inside
    assert machine.event is None
    armed.clear()
    if not inside:
        assert machine.dispatch("unknown") is HANDLED
    else:
        assert machine.current.name == leaf


@pytest.mark.parametrize("place", ["handler before", "completion before", "guard", "choice guard"])
def test_H_162_a_failed_handler_leaves_no_permission_behind(place: str) -> None:
    """H-086 H-162"""
    event = next(event for each, event, _, _ in PLACES if each == place)
    machine = Acting()
    machine.place, machine.action = place, lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        machine.dispatch(event)
    machine.place = ""
    current = machine.current
    with pytest.raises(TransitionError):
        machine.transition(machine.B)
    assert machine.current is current
    assert machine.source is current


def test_H_163_framework_errors_are_exceptions_like_others() -> None:
    for place, event, inside, leaf in PLACES:
        machine = Acting()
        machine.place = place
        machine.action = lambda machine=machine: machine.dispatch("edge")
        with pytest.raises(DispatchError):
            machine.dispatch(event)
        assert machine.is_faulted is inside, place
        assert machine.current.name == leaf


def test_H_164_exception_classes() -> None:
    assert issubclass(HsmError, Exception)
    for kind in (DefinitionError, DispatchError, TransitionError):
        assert issubclass(kind, HsmError)
        assert not issubclass(kind, ValueError | TypeError)
    error = DefinitionError("class X", ("one", "two"))
    copied = pickle.loads(pickle.dumps(error))
    assert (str(copied), copied.problems) == (str(error), error.problems)


def test_H_164_bad_answers_do_not_fault() -> None:
    class Bad(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)

        @on_event(A, "x")
        def _bad(self, arg: Any) -> Any:
            return None

    machine = Bad()
    with pytest.raises(DispatchError):
        machine.dispatch("x")
    assert machine.is_running
