"""H-260, H-261: which events a class declares, and which a machine would take now."""

import enum
from dataclasses import dataclass
from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    UNHANDLED,
    DispatchError,
    Final,
    Machine,
    Outcome,
    State,
    Terminate,
    on_event,
    on_initial,
)
from tests.hsm.logged import Trace
from tests.hsm.six_states import SixStates


def test_H_260_events_are_all_declared_ones_in_document_order() -> None:
    assert SixStates.events == ("E", "I", "A", "B", "C", "F", "D", "G", "H")

    class Sub(SixStates):
        more = on_event(SixStates.s, "new", int, target=SixStates.s)

        @on_event(ROOT, ANY)
        def _any(self, arg: Any, event: Any) -> Outcome:
            return UNHANDLED

    assert Sub.events == (*SixStates.events, "new", int)


@pytest.mark.parametrize("foo", [0, 1])
@pytest.mark.parametrize("leaf", ["s11", "s211"])
def test_H_260_can_returns_what_dispatch_would_find_for_all_rows_of_the_table(
    leaf: str, foo: int
) -> None:
    """H-090: handlers that decline count as able; the others agree with dispatch."""
    trace = Trace()
    for event in (*SixStates.events, "other"):
        machine = SixStates(observer=trace)
        machine.foo = foo
        if leaf == "s11":
            machine.dispatch("G")
        trace.lines.clear()
        machine.log.clear()
        machine.tried.clear()
        able = machine.can(event)
        assert (trace.lines, machine.log, machine.tried) == ([], [], [])
        assert machine.current.name == leaf
        assert able == (event != "other")
        taken = machine.dispatch(event)
        assert able or taken is UNHANDLED


class Asked(Machine):
    A = State(defer=["wait"])
    A1 = State(parent=A)
    End = Final()
    Gone = Terminate()
    begin = on_initial(ROOT, target=A)
    into = on_initial(A, target=A1)
    end = on_event(A, "end", target=End)
    gone = on_event(A, "gone", target=Gone)
    fail = on_event(A, "fail", target=A, guard=lambda self, arg: 1 / 0)

    def __init__(self, **keywords: Any) -> None:
        self.seen: list[Any] = []
        super().__init__(**keywords)

    def _allows(self, arg: Any) -> bool:
        self.seen.append((self.source.name, self.event, arg, self.current.name))
        with pytest.raises(DispatchError):
            self.dispatch("end")
        return bool(arg)

    guarded = on_event(A, "guarded", target=A, guard=_allows)

    @on_event(A1, "nested")
    def _nested(self, arg: Any) -> Outcome:
        assert not self.seen
        with pytest.raises(DispatchError):
            self.can("end")
        return HANDLED


def test_H_260_guards_are_evaluated_with_the_argument() -> None:
    machine = Asked()
    assert machine.can("guarded", 1)
    assert not machine.can("guarded", 0)
    assert not machine.can("guarded")
    assert machine.seen == [("A", "guarded", each, "A1") for each in (1, 0, None)]
    assert (machine.event, machine.source) == (None, Asked.A1)
    with pytest.raises(ZeroDivisionError):
        machine.can("fail")
    assert machine.can("end")


def test_H_260_a_deferred_event_can_be_taken_and_stays_out_of_the_queue() -> None:
    machine = Asked()
    assert machine.can("wait")
    assert machine.snapshot()["deferred"] == []


def test_H_260_a_machine_that_does_not_run_can_take_nothing() -> None:
    assert not Asked(start=False).can("end")
    for event in ("end", "gone"):
        machine = Asked()
        machine.dispatch(event)
        assert not machine.can("end")


def test_H_260_refusals_of_can() -> None:
    machine = Asked()
    assert machine.dispatch("nested") is HANDLED
    with pytest.raises(DispatchError):
        machine.can(ANY)
    with pytest.raises(TypeError):
        machine.can([])


def test_H_260_any_takes_every_event_that_its_guard_lets_through() -> None:
    class Open(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)

        @on_event(A, ANY, guard=lambda self, arg, event: event == "yes")
        def _any(self, arg: Any, event: Any) -> Outcome:
            return HANDLED

    assert Open().can("yes")
    assert not Open().can("no")


@dataclass(frozen=True)
class Hello:
    nonce: int


@dataclass
class Bye:
    code: int


class Key(enum.Enum):
    UP = 1


class Strict(Machine, strict=True):
    A = State(defer=["deferred"])
    B = State()
    begin = on_initial(ROOT, target=A)
    open_door = on_event(A, "open", target=B)
    close = on_event(B, "close", Key.UP, target=A)
    hello = on_event(ROOT, Hello, Bye, target=A)

    @on_event(ROOT, "later")
    def _later(self, arg: Any) -> Outcome:
        self.post(arg)
        return HANDLED


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("call", ["dispatch", "post"])
def test_H_261_a_strict_machine_refuses_events_that_it_does_not_declare(
    call: str, observed: bool
) -> None:
    machine = Strict(observer=Trace() if observed else None)
    with pytest.raises(DispatchError, match=r"'opne'.*did you mean 'open'"):
        getattr(machine, call)("opne")
    with pytest.raises(DispatchError, match="42"):
        getattr(machine, call)(42)
    with pytest.raises(DispatchError, match=r"'UP'"):
        getattr(machine, call)("UP")
    assert machine.current is Strict.A
    assert machine.dispatch("close") is UNHANDLED  # declared, for another state
    assert machine.dispatch("deferred")
    assert machine.dispatch("open") is HANDLED
    assert not machine.can("opne")


def test_H_261_posting_within_a_step_is_refused_at_the_call() -> None:
    with pytest.raises(DispatchError, match="did you mean 'close'"):
        Strict().dispatch("later", "clsoe")


def test_H_261_any_takes_what_is_not_declared() -> None:
    class Taking(Strict):
        @on_event(Strict.A, ANY)
        def _any(self, arg: Any, event: Any) -> Outcome:
            return HANDLED

    machine = Taking()  # strict as its base
    assert machine.dispatch("unknown") is HANDLED
    machine.post("unknown")
    machine.dispatch("open")
    with pytest.raises(DispatchError):
        machine.dispatch("unknown")


def test_H_261_a_subclass_may_be_lenient() -> None:
    class Lenient(Strict, strict=False): ...

    assert Lenient().dispatch("unknown") is UNHANDLED


class Talking(Machine):
    A = State()
    begin = on_initial(ROOT, target=A)

    @on_event(A, Hello, Bye)
    def _hello(self, message: Any) -> Outcome:
        return HANDLED


class Open(Talking):
    @on_event(ROOT, ANY)
    def _any(self, arg: Any, event: Any) -> Outcome:
        return HANDLED


@pytest.mark.parametrize("kind", [Talking, Open, Strict])
@pytest.mark.parametrize("call", ["dispatch", "post", "can"])
@pytest.mark.parametrize("message", [Hello(1), Bye(2)])
@pytest.mark.parametrize("observed", [False, True])
def test_H_261_a_message_object_is_refused_with_the_remedy(
    kind: type[Machine], call: str, message: Any, observed: bool
) -> None:
    """Also one that is not hashable, and also where `ANY` would take it."""
    machine = kind(observer=Trace() if observed else None)
    name = type(message).__name__
    with pytest.raises(DispatchError, match=rf"the event is the class {name}.*dispatch\({name}, m"):
        getattr(machine, call)(message)
    assert machine.dispatch(type(message), message) is HANDLED


def test_H_261_an_instance_that_is_declared_itself_is_an_event() -> None:
    class Both(Machine):
        A = State()
        B = State()
        begin = on_initial(ROOT, target=A)
        by_class = on_event(A, Key, target=B)
        by_member = on_event(B, Key.UP, target=A)

    machine = Both()
    assert machine.dispatch(Key.UP) is UNHANDLED
    assert machine.dispatch(Key) is HANDLED
    assert machine.dispatch(Key.UP) is HANDLED
