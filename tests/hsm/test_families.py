"""Section 16: what subclasses inherit, override and replace."""

from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    UNHANDLED,
    DefinitionError,
    Machine,
    Outcome,
    State,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)
from tests.hsm.logged import Logged


class Base(Logged):
    Off = State()
    On = State()
    begin = on_initial(ROOT, target=Off)
    bare = on_event(Off, "bare", target=On)

    @on_event(Off, "go", "again", targets=On)
    def _go(self, arg: Any) -> Outcome:
        self.note("base")
        return self.transition(self.On)

    @on_event(Off, "ask")
    def _ask(self, arg: Any) -> Outcome:
        self.note("base ask")
        return UNHANDLED


class Mixin:
    Extra = State()
    mixed = on_event("Off", "mixed", target=Extra)

    @on_event("Extra", "back", target="Off")
    def _back(self: Any, arg: Any) -> None:
        self.note("mixin")


def test_H_180_states_and_declarations_of_the_whole_mro() -> None:
    class Sub(Mixin, Base):
        Deep = State(parent=Base.On)
        on_initial_ = on_initial(Base.On, target=Deep)
        deeper = on_event(Deep, "out", target=Base.Off)

    assert Sub.On is Base.On
    assert [state.name for state in Sub.states] == ["Off", "On", "Extra", "Deep"]
    machine = Sub()
    for event, leaf in (("mixed", "Extra"), ("back", "Off"), ("bare", "Deep"), ("out", "Off")):
        assert machine.dispatch(event) is HANDLED
        assert machine.current.name == leaf
    plain = Base()
    assert plain.dispatch("mixed") is UNHANDLED
    plain.dispatch("bare")
    assert plain.current is Base.On


def test_H_180_siblings_are_unaffected() -> None:
    class One(Base):
        Deep = State(parent=Base.On)
        initial = on_initial(Base.On, target=Deep)

    class Other(Base):
        pass

    assert Other.states == Base.states
    machine = Other()
    machine.dispatch("go")
    assert machine.current is Base.On


def test_H_181_an_undecorated_function_overrides_the_body_only() -> None:
    class Sub(Base):
        def _go(self, arg: Any) -> Outcome:
            self.note("sub")
            return self.transition(self.On)

        def bare(self, arg: Any) -> None:
            self.note("effect")

    machine = Sub()
    assert machine.dispatch("again") is HANDLED
    assert machine.taken() == "+Off sub -Off +On"
    machine.reset()
    machine.dispatch("bare")
    assert machine.taken() == "+Off -Off effect +On"


def test_H_181_a_decorated_function_replaces_all_declarations_of_the_name() -> None:
    class Sub(Base):
        @on_event(Base.Off, "other")
        def _go(self, arg: Any) -> Outcome:
            return HANDLED

    machine = Sub()
    assert machine.dispatch("other") is HANDLED
    assert machine.dispatch("go") is UNHANDLED
    assert machine.dispatch("again") is UNHANDLED


def test_H_181_an_overriding_body_is_checked_like_any_handler() -> None:
    with pytest.raises(DefinitionError, match="_go"):

        class Sub(Base):
            def _go(self) -> Outcome:  # type: ignore[override]
                return HANDLED


def test_H_182_none_removes_the_declarations() -> None:
    class Sub(Base):
        _go = None
        bare = None

    class Grandchild(Sub):
        def _go(self, arg: Any) -> Outcome:
            return HANDLED

    for cls in (Sub, Grandchild):
        machine = cls()
        for event in ("go", "again", "bare"):
            assert machine.dispatch(event) is UNHANDLED


def test_H_183_entry_exit_initial_and_default_under_another_name_replace() -> None:
    class First(Logged):
        A = State()
        B = State()
        B1 = State(parent=B)
        B2 = State(parent=B)
        begin = on_initial(ROOT, target=A)
        b_initial = on_initial(B, target=B1)
        default = on_history_default(B, DEEP, target=B1)
        recall = on_event(A, "recall", target=B, history=DEEP)
        plain = on_event(A, "plain", target=B)

        @on_entry(A, B)
        def _enter(self) -> None:
            self.note("first")

        @on_exit(A)
        def _exit(self) -> None:
            self.note("first")

    class Second(First):
        another_begin = on_initial(ROOT, target=First.A)
        another_initial = on_initial(First.B, target=First.B2)
        another_default = on_history_default(First.B, DEEP, target=First.B2)

        @on_entry(First.A)
        def _enter_a(self) -> None:
            self.note("second")

        @on_exit(First.A)
        def _exit_a(self) -> None:
            self.note("second")

        @on_entry(ANY)
        def _any(self, state: State) -> None:
            self.note(f"any {state.name}")

    machine = Second()
    machine.dispatch("recall")
    assert machine.taken() == "second second first any B2"
    machine.reset()
    machine.dispatch("plain")
    assert machine.taken() == "second second first any B2"


def test_H_183_candidates_of_the_subclass_come_first() -> None:
    class Sub(Base):
        allowed = True

        @on_event(Base.Off, "go", guard=lambda self, arg: self.allowed)
        def _sub_go(self, arg: Any) -> Outcome:
            self.note("sub")
            return HANDLED

        @on_event(Base.Off, "ask")
        def _sub_ask(self, arg: Any) -> Outcome:
            self.note("sub ask")
            return UNHANDLED

        @on_event(Base.Off, ANY)
        def _any(self, arg: Any, event: Any) -> Outcome:
            self.note("any")
            return HANDLED

    machine = Sub()
    machine.taken()
    machine.dispatch("go")
    assert machine.taken() == "sub"
    assert machine.dispatch("ask") is UNHANDLED
    assert machine.taken() == "sub ask"
    machine.dispatch("other")
    assert machine.taken() == "any"
    machine.allowed = False
    machine.dispatch("go")
    assert machine.taken() == "base -Off +On"


def test_H_183_completions_of_the_subclass_come_first() -> None:
    class First(Logged):
        A = State()
        B = State()
        C = State()
        begin = on_initial(ROOT, target=A)
        a = on_completion(A, target=B)

    class Second(First):
        another = on_completion(First.A, target=First.C, guard=lambda self: self.to_c)
        to_c = True

    assert Second().current is First.C
    machine = Second(start=False)
    machine.to_c = False
    machine.start()
    assert machine.current is First.B
    assert First().current is First.B


class Middle(Base):
    def _go(self, arg: Any) -> Outcome:
        self.note("middle before")
        outcome = super()._go(arg)
        self.note("middle after")
        return outcome

    def _ask(self, arg: Any) -> Outcome:
        return super()._ask(arg)


class Lowest(Middle):
    @on_event(Base.Off, "lowest", targets=Base.On)
    def _go(self, arg: Any) -> Outcome:
        self.note("lowest")
        return super()._go(arg)

    @on_event(Base.Off, "missing")
    def _missing(self, arg: Any) -> Outcome:
        return super()._missing(arg)


def test_H_184_super_calls_are_plain_calls() -> None:
    machine = Middle()
    machine.taken()
    assert machine.dispatch("ask") is UNHANDLED
    assert machine.taken() == "base ask"
    assert machine.dispatch("go") is HANDLED
    assert machine.taken() == "middle before base -Off +On middle after"
    machine = Lowest()
    machine.taken()
    assert machine.dispatch("go") is UNHANDLED
    with pytest.raises(AttributeError):
        machine.dispatch("missing")
    assert machine.dispatch("lowest") is HANDLED
    assert machine.taken() == "lowest middle before base -Off +On middle after"


def test_H_185_a_subclass_does_not_change_its_base() -> None:
    before = Base()
    before.dispatch("unknown")
    edges = Base.edges

    class Sub(Base):
        More = State()
        _go = None
        more = on_event(Base.Off, "unknown", target=More)

    machine = Sub()
    assert machine.dispatch("unknown") is HANDLED
    assert machine.dispatch("go") is UNHANDLED
    after = Base()
    for base in (before, after):
        assert base.dispatch("unknown") is UNHANDLED
        assert base.dispatch("go") is HANDLED
    assert Base.edges is edges
    assert len(Base.states) == 2


def test_two_families_may_be_combined() -> None:
    """H-180 H-012"""

    class Other(Machine, abstract=True):
        Third = State()

        @on_event(Third, "ping")
        def _ping(self, arg: Any) -> Outcome:
            return HANDLED

    class Both(Base, Other):
        to_third = on_event(Base.Off, "third", target=Other.Third)
        home = on_event(Other.Third, "home", target=Base.Off)

    machine = Both()
    machine.dispatch("third")
    assert machine.dispatch("ping") is HANDLED
    machine.dispatch("home")
    assert machine.current is Base.Off
