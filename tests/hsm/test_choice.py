"""Section 12: choice."""

from typing import Any

import pytest

from tensor_pool.hsm import (
    HANDLED,
    ROOT,
    DispatchError,
    Machine,
    Outcome,
    State,
    TransitionError,
    on_event,
    on_initial,
)
from tests.hsm.logged import Logged, Trace


class Foreign(Machine):
    X = State()
    begin = on_initial(ROOT, target=X)


class Choosing(Logged):
    A = State()
    A1 = State(parent=A)
    A2 = State(parent=A)
    B = State()
    B1 = State(parent=B)
    B11 = State(parent=B1)
    B12 = State(parent=B1)
    B2 = State(parent=B)
    begin = on_initial(ROOT, target=A)
    a_initial = on_initial(A, target=A1)
    b_initial = on_initial(B, target=B2)
    b1_initial = on_initial(B1, target=B11)
    everything = (A, A1, A2, B, B1, B11, B12, B2)

    @on_event(A1, "A1", targets=everything)
    @on_event(A, "A", targets=everything)
    @on_event(ROOT, "ROOT", targets=everything)
    @on_event(B, "B", targets=everything)
    @on_event(B1, "B1", targets=everything)
    def _choose(self, call: Any) -> Outcome:
        return call(self)

    @on_event(ROOT, "few", targets=B2)
    def _few(self, call: Any) -> Outcome:
        return call(self)

    to_b12 = on_event(ROOT, "to B12", target=B12)

    def guard(self, name: str, value: object) -> Any:
        return lambda: self.note(f"?{name}") or value


def chosen(owner: State, index: int) -> Any:
    """A call with two branches and a default; `index` is the number of the one to take."""
    inner = {ROOT: "B", Choosing.A: "A2", Choosing.B: "B1", Choosing.B1: "B12"}[owner]
    second = {ROOT: "A2", Choosing.A: "A1", Choosing.B: "B2", Choosing.B1: "B11"}[owner]

    def call(m: Choosing) -> Outcome:
        return m.choice(
            owner,
            [
                (m.guard("1", index == 0), getattr(m, inner), m.noting("out1")),
                (m.guard("2", index <= 1), getattr(m, second)),
            ],
            otherwise=(getattr(m, inner), m.noting("out3")),
            effect=m.noting("in"),
        )

    return call


LOGS = [
    # start in, event (source), owner, branch, log
    ("A1", "A", ROOT, 0, "-A1 -A in ?1 ?2 out1 +B +B2"),
    ("A1", "A", ROOT, 1, "-A1 -A in ?1 ?2 +A +A2"),
    ("A1", "A1", "B", 0, "-A1 -A in +B ?1 ?2 out1 +B1 +B11"),
    ("A1", "ROOT", "B", 2, "-A1 -A in +B ?1 ?2 out3 +B1 +B11"),
    ("A1", "A1", "B1", 0, "-A1 -A in +B +B1 ?1 ?2 out1 +B12"),
    ("A1", "A1", "A", 0, "-A1 in ?1 ?2 out1 +A2"),
    ("A1", "A", "A", 1, "-A1 in ?1 ?2 +A1"),
    ("A1", "ROOT", ROOT, 2, "-A1 -A in ?1 ?2 out3 +B +B2"),
    ("B12", "B", "B", 1, "-B12 -B1 in ?1 ?2 +B2"),
    ("B12", "B", "B1", 0, "-B12 -B1 in +B1 ?1 ?2 out1 +B12"),
    ("B12", "B1", "B", 0, "-B12 -B1 in ?1 ?2 out1 +B1 +B11"),
    ("B12", "B1", "B1", 2, "-B12 in ?1 ?2 out3 +B12"),
]


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize(("start", "event", "owner", "index", "log"), LOGS)
def test_H_140_order(
    start: str, event: str, owner: Any, index: int, log: str, observed: bool
) -> None:
    """H-140 H-142"""
    machine = Choosing(observer=Trace() if observed else None)
    if start == "B12":
        machine.dispatch("to B12")
    owner = owner if owner is ROOT else getattr(Choosing, owner)
    machine.taken()
    assert machine.dispatch(event, chosen(owner, index)) is HANDLED
    assert machine.taken() == log
    assert machine.current.name == log.rsplit("+", 1)[1]


def test_H_141_branches_may_be_empty_and_otherwise_has_two_spellings() -> None:
    machine = Choosing()
    machine.taken()
    machine.dispatch("A", lambda m: m.choice(m.A, [], otherwise=m.A2))
    assert machine.taken() == "-A1 +A2"
    machine.dispatch("A", lambda m: m.choice(m.A, (), otherwise=(m.A2, m.noting("*"))))
    assert machine.taken() == "-A2 * +A2"
    machine.dispatch(
        "A", lambda m: m.choice(m.A, [(lambda: 1, m.A1, None)], otherwise=(m.A2, None))
    )
    assert machine.taken() == "-A2 +A1"


def test_H_142_a_choice_is_never_current() -> None:
    """H-085: the effect sees the scope, guards and the branch's effect see the owner."""
    seen: list[str] = []

    def call(m: Choosing) -> Outcome:
        return m.choice(
            m.B,
            [(lambda: seen.append(m.current.name), m.B2)],
            otherwise=(m.B1, lambda: seen.append(m.current.name)),
            effect=lambda: seen.append(m.current.name),
        )

    machine = Choosing()
    machine.dispatch("A", call)
    assert seen == ["ROOT", "B", "B"]


def nothing() -> bool:
    return True


MALFORMED = {
    "no otherwise": lambda m: m.choice(m.B, [(nothing, m.B2)]),
    "otherwise none": lambda m: m.choice(m.B, [(nothing, m.B2)], otherwise=None),
    "otherwise name": lambda m: m.choice(m.B, [], otherwise="B2"),
    "otherwise empty": lambda m: m.choice(m.B, [], otherwise=()),
    "otherwise three": lambda m: m.choice(m.B, [], otherwise=(m.B2, None, None)),
    "branch of one": lambda m: m.choice(m.B, [(nothing,)], otherwise=m.B2),
    "branch of four": lambda m: m.choice(m.B, [(nothing, m.B2, None, None)], otherwise=m.B2),
    "branch no tuple": lambda m: m.choice(m.B, [m.B2], otherwise=m.B2),
    "branches no list": lambda m: m.choice(m.B, None, otherwise=m.B2),
    "guard": lambda m: m.choice(m.B, [(True, m.B2)], otherwise=m.B2),
    "branch effect": lambda m: m.choice(m.B, [(nothing, m.B2, 1)], otherwise=m.B2),
    "effect": lambda m: m.choice(m.B, [], otherwise=m.B2, effect=1),
    "owner childless": lambda m: m.choice(m.A1, [], otherwise=m.B2),
    "owner foreign": lambda m: m.choice(Foreign.X, [], otherwise=m.B2),
    "owner name": lambda m: m.choice("B", [], otherwise=m.B2),
    "owner unhashable": lambda m: m.choice([], [], otherwise=m.B2),
    "target not below": lambda m: m.choice(m.B, [(nothing, m.A1)], otherwise=m.B2),
    "target is owner": lambda m: m.choice(m.B, [(nothing, m.B)], otherwise=m.B2),
    "target name": lambda m: m.choice(m.B, [(nothing, "B2")], otherwise=m.B2),
    "target foreign": lambda m: m.choice(m.B, [(nothing, Foreign.X)], otherwise=m.B2),
}


@pytest.mark.parametrize("call", MALFORMED.values(), ids=MALFORMED)
def test_H_143_a_malformed_choice_changes_nothing(call: Any) -> None:
    """H-143 H-033"""
    machine = Choosing()
    machine.taken()
    before = machine.snapshot()
    with pytest.raises(TransitionError):
        machine.dispatch("A", call)
    assert machine.snapshot() == before
    assert machine.taken() == ""
    assert machine.dispatch("A", lambda m: m.choice(m.B, [], otherwise=m.B2)) is HANDLED
    assert machine.current is Choosing.B2


def test_H_143_undeclared_targets() -> None:
    machine = Choosing()
    for call in (
        lambda m: m.choice(m.B, [], otherwise=m.B1),
        lambda m: m.choice(m.B, [(nothing, m.B1)], otherwise=m.B2),
    ):
        with pytest.raises(TransitionError, match="declared"):
            machine.dispatch("few", call)
    machine.dispatch("few", lambda m: m.choice(m.B, [], otherwise=m.B2))
    assert machine.current is Choosing.B2


def test_H_144_guards_run_inside_the_transition() -> None:
    seen: list[Any] = []
    machine = Choosing()

    def guard() -> bool:
        seen.append(machine.current.name)
        with pytest.raises(TransitionError):
            machine.transition(machine.B2)
        with pytest.raises(DispatchError):
            machine.dispatch("A")
        return True

    machine.dispatch("A", lambda m: m.choice(m.B, [(guard, m.B2)], otherwise=m.B1))
    assert seen == ["B"]
    assert machine.current is Choosing.B2


@pytest.mark.parametrize("observed", [False, True])
def test_H_144_an_exception_of_a_guard_faults_the_machine(observed: bool) -> None:
    machine = Choosing(observer=Trace() if observed else None)
    with pytest.raises(ZeroDivisionError):
        machine.dispatch("A", lambda m: m.choice(m.B, [(lambda: 1 / 0, m.B2)], otherwise=m.B1))
    assert machine.is_faulted
    assert machine.current is Choosing.A1


@pytest.mark.parametrize("observed", [False, True])
def test_H_065_after_a_choice_the_source_is_the_handler_s_again(observed: bool) -> None:
    """H-085: an initial on the way had a source of its own."""

    class After(Logged):
        A = State()
        B = State()
        B1 = State(parent=B)
        B2 = State(parent=B1)
        begin = on_initial(ROOT, target=A)
        into_b1 = on_initial(B1, target=B2)

        @on_initial(B, target=B1)
        def _into_b(self) -> None:
            self.note(self.source.name)

        @on_event(A, "go", targets=B)
        def _go(self, arg: Any) -> Outcome:
            result = self.choice(ROOT, [], otherwise=self.B)
            self.note(self.source.name)
            with pytest.raises(TransitionError, match="has taken its transition"):
                self.transition(self.B)
            return result

    machine = After(observer=Trace() if observed else None)
    machine.taken()
    assert machine.dispatch("go") is HANDLED
    assert machine.taken() == "-A +B B +B1 +B2 A"
