"""Sections 6, 8 and 9: what a transition leaves, runs and enters."""

from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    SHALLOW,
    UNHANDLED,
    DispatchError,
    Final,
    Machine,
    Outcome,
    State,
    Terminate,
    TransitionError,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)
from tests.hsm.logged import Logged, Trace

TREE = {
    "A": None,
    "A1": "A",
    "A11": "A1",
    "A2": "A",
    "A21": "A2",
    "B": None,
    "B1": "B",
    "B11": "B1",
    "B111": "B11",
    "B2": "B",
}
SCOPES = [
    ("A11", "A21", "A"),
    ("A1", "A2", "A"),
    ("A11", "A1", "A1"),
    ("A", "A11", "A"),
    ("B111", "B1", "B1"),
    ("A11", "B111", "ROOT"),
    ("A", "A", "ROOT"),
    ("A1", "A1", "A"),
    ("A11", "A11", "A1"),
    ("A11", "ROOT", "ROOT"),
    ("ROOT", "A11", "ROOT"),
    ("ROOT", "ROOT", "ROOT"),
]
INITIALS = {"A": "A1", "A1": "A11", "A2": "A21", "B": "B1", "B1": "B11", "B11": "B111"}


def tree(**more: Any) -> type[Logged]:
    body: dict[str, Any] = {name: State(parent=parent) for name, parent in TREE.items()}
    body.update(
        {f"initial_{owner}": on_initial(owner, target=INITIALS[owner]) for owner in INITIALS}
    )
    body["begin"] = on_initial(ROOT, target="A")
    for name in ("A11", "A21", "B111", "B2"):
        body[f"to_{name}"] = on_event(ROOT, f"to {name}", target=name)
    return type(Machine)("Tree", (Logged,), {**body, **more})


def path(name: str | None) -> list[str]:
    return [] if name in (None, "ROOT") else [*path(TREE[str(name)]), str(name)]


@pytest.mark.parametrize(
    ("leaf", "source", "target", "scope"),
    [
        (leaf, source, target, scope)
        for leaf in ("A11", "A21", "B111", "B2")
        for source, target, scope in SCOPES
        if source in ("ROOT", *path(leaf))
    ],
)
@pytest.mark.parametrize("style", ["edge", "handler", "observed"])
def test_H_081_scopes(leaf: str, source: str, target: str, scope: str, style: str) -> None:
    """H-080 H-081 H-082 H-083 H-084"""

    def effect(self: Any, arg: Any) -> None:
        self.note("*")

    def handler(self: Any, arg: Any) -> Outcome:
        to = ROOT if target == "ROOT" else getattr(self, target)
        return self.transition(to, effect=self.noting("*"))

    if style == "handler":
        cls = tree(go=on_event(source, "go", targets=target)(handler))
    else:
        cls = tree(go=on_event(source, "go", target=target)(effect))
    trace = Trace()
    machine = cls(observer=trace if style == "observed" else None)
    machine.dispatch(f"to {leaf}")
    machine.taken()
    trace.taken()
    assert machine.dispatch("go") is HANDLED
    reached = target
    while (reached == "ROOT" and (reached := "A")) or reached in INITIALS:
        reached = INITIALS.get(reached, reached)
    kept = path(scope)
    exits = [f"-{name}" for name in reversed(path(leaf)) if name not in kept]
    entries = [f"+{name}" for name in path(reached) if name not in kept]
    assert machine.taken().split() == [*exits, "*", *entries]
    assert machine.current.name == reached
    if style == "observed":
        begin = next(line for line in trace.lines if line.startswith("transition_begin"))
        assert begin == f"transition_begin {leaf} {target} {scope}"


def test_H_081_internal_leaves_and_enters_nothing() -> None:
    cls = tree(internal=on_event("A", "go")(_handled))
    machine = cls()
    machine.taken()
    assert machine.dispatch("go") is HANDLED
    assert machine.taken() == ""


def _handled(self: Any, arg: Any) -> Outcome:
    return HANDLED


class Positions(Logged):
    A = State()
    A1 = State(parent=A)
    B = State()
    B1 = State(parent=B)
    begin = on_initial(ROOT, target=A1)
    a_initial = on_initial(A, target=A1)

    @on_initial(B, target=B1)
    def _b_initial(self) -> None:
        self.see("initial")

    def see(self, where: str) -> None:
        self.note(f"{where}:{self.source.name}/{self.current.name}")

    @on_exit(ANY)
    def _log_exit(self, state: State) -> None:
        self.see(f"-{state.name}")

    @on_entry(ANY)
    def _log_entry(self, state: State) -> None:
        self.see(f"+{state.name}")

    @on_event(A, "go", target=B)
    def _go(self, arg: Any) -> None:
        self.see("*")


@pytest.mark.parametrize("observed", [False, True])
def test_H_085_current_is_the_innermost_active_state_at_every_moment(observed: bool) -> None:
    machine = Positions(observer=Trace() if observed else None)
    machine.taken()
    machine.dispatch("go")
    assert machine.taken() == "-A1:A/A1 -A:A/A *:A/ROOT +B:A/B initial:B/B +B1:B/B1"


class Misused(Logged):
    """Calls `self.misuse` in every context where no transition may be taken."""

    A = State()
    A1 = State(parent=A)
    B = State()
    Passing = State()
    begin = on_initial(ROOT, target=A)
    a_initial = on_initial(A, target=A1)
    where = ""

    def __init__(self, **keywords: Any) -> None:
        self.refused: list[str] = []
        super().__init__(**keywords)

    def misuse(self, where: str) -> None:
        if where != self.where:
            return
        before = self.snapshot_of_position()
        for call in (
            lambda: self.transition(self.B),
            lambda: self.transition_history(self.A, DEEP),
            lambda: self.choice(ROOT, [], otherwise=self.B),
        ):
            with pytest.raises(TransitionError):
                call()
        assert self.snapshot_of_position() == before
        self.refused.append(where)

    def snapshot_of_position(self) -> tuple[Any, ...]:
        return self.current, self.source, self.event, tuple(self.log)

    def _guard(self, arg: Any) -> bool:
        self.misuse("guard")
        return True

    @on_event(A, "edge", target=B, guard=_guard)
    def _edge(self, arg: Any) -> None:
        self.misuse("effect")

    @on_event(B, "handler", targets=(A, B), guard=_guard)
    def _handler(self, arg: Any) -> Outcome:
        outcome = self.transition(self.A, effect=lambda: self.misuse("handler effect"))
        self.misuse("second call")
        self._deeper()
        return outcome

    def _deeper(self) -> None:
        self.misuse("second call deeper")

    @on_event(A, "undeclared")
    def _undeclared(self, arg: Any) -> Outcome:
        self.misuse("handler without targets")
        return HANDLED

    @on_event(A, "pass", target=Passing)
    def _pass(self, arg: Any) -> None: ...

    @on_completion(Passing, target=A)
    def _completed(self) -> None:
        self.misuse("completion effect")

    @on_exit(A)
    def _exit(self) -> None:
        self.misuse("exit")

    @on_entry(A)
    def _entry(self) -> None:
        self.misuse("entry")

    @on_event(B, "choose", targets=(A1, B))
    def _choose(self, arg: Any) -> Outcome:
        return self.choice(
            self.A,
            [(lambda: self.misuse("choice guard") or True, self.A1)],
            otherwise=self.A1,
        )


@pytest.mark.parametrize(
    ("where", "events"),
    [
        ("guard", ["edge"]),
        ("effect", ["edge"]),
        ("exit", ["edge"]),
        ("handler effect", ["edge", "handler"]),
        ("second call", ["edge", "handler"]),
        ("second call deeper", ["edge", "handler"]),
        ("handler without targets", ["undeclared"]),
        ("completion effect", ["pass"]),
        ("entry", ["edge", "handler"]),
        ("choice guard", ["edge", "choose"]),
    ],
)
@pytest.mark.parametrize("observed", [False, True])
def test_H_086_in_handler_calls_elsewhere_are_refused(
    where: str, events: list[str], observed: bool
) -> None:
    """H-086 H-144"""
    machine, plain = Misused(observer=Trace() if observed else None), Misused()
    machine.where = where
    for event in events:
        machine.dispatch(event)
        plain.dispatch(event)
    assert machine.refused
    assert set(machine.refused) == {where}
    assert machine.log == plain.log
    assert machine.current is plain.current


def test_H_086_in_handler_calls_outside_of_a_step_are_refused() -> None:
    machine = Misused()
    for call in (
        lambda: machine.transition(machine.B),
        lambda: machine.transition_history(machine.A, DEEP),
        lambda: machine.choice(ROOT, [], otherwise=machine.B),
        lambda: machine._handler(None),
    ):
        with pytest.raises(TransitionError):
            call()
    assert machine.current is Misused.A1


def test_H_086_in_trace_hooks_they_are_refused() -> None:
    refused = []

    class Hooked(Misused):
        def trace_transition_begin(self, origin: State, target: State, lca: State) -> None:
            with pytest.raises(TransitionError):
                self.transition(self.B)
            refused.append("begin")

        def trace_dispatch_attempt(self, state: State, event: Any) -> None:
            with pytest.raises(TransitionError):
                self.transition(self.B)
            refused.append("attempt")

    machine = Hooked()
    machine.dispatch("edge")
    machine.dispatch("handler")
    assert set(refused) == {"begin", "attempt"}
    assert machine.current is Misused.A1


def test_H_086_they_return_handled() -> None:
    returned = []

    class Returning(Logged):
        A = State()
        B = State()
        C = State(parent=B)
        begin = on_initial(ROOT, target=A)
        b_initial = on_initial(B, target=C)

        @on_event(ROOT, "transition", targets=A)
        def _t(self, arg: Any) -> Outcome:
            returned.append(self.transition(self.A))
            return HANDLED

        @on_event(ROOT, "history", targets=B)
        def _h(self, arg: Any) -> Outcome:
            returned.append(self.transition_history(self.B, SHALLOW))
            return HANDLED

        @on_event(ROOT, "choice", targets=C)
        def _c(self, arg: Any) -> Outcome:
            returned.append(self.choice(self.B, [], otherwise=self.C))
            return HANDLED

    machine = Returning()
    for event in ("transition", "history", "choice"):
        machine.dispatch(event)
    assert returned == [HANDLED] * 3


class Foreign(Machine):
    X = State()
    begin = on_initial(ROOT, target=X)


class Undeclared(Logged):
    A = State()
    B = State()
    B1 = State(parent=B)
    C = State()
    begin = on_initial(ROOT, target=A)
    b_initial = on_initial(B, target=B1)

    @on_event(A, "listed", targets=(B, C))
    def _listed(self, call: Any) -> Outcome:
        return call(self)

    @on_event(A, "unlisted")
    def _unlisted(self, call: Any) -> Outcome:
        return call(self)

    @on_event(A, "guarded", targets=(B, C), guard=lambda self, arg: True)
    def _guarded(self, call: Any) -> Outcome:
        return call(self)


WRONG_CALLS = {
    "undeclared": lambda m: m.transition(m.A),
    "undeclared child": lambda m: m.transition(m.B1),
    "foreign": lambda m: m.transition(Foreign.X),
    "root": lambda m: m.transition(ROOT),
    "none": lambda m: m.transition(None),
    "name": lambda m: m.transition("B"),
    "unhashable": lambda m: m.transition([]),
    "effect": lambda m: m.transition(m.B, effect="no function"),
    "history undeclared": lambda m: m.transition_history(m.A, DEEP),
    "history foreign": lambda m: m.transition_history(Foreign.X, DEEP),
    "history childless": lambda m: m.transition_history(m.C, DEEP),
    "history root": lambda m: m.transition_history(ROOT, DEEP),
    "history kind": lambda m: m.transition_history(m.B, "deep"),
    "history name": lambda m: m.transition_history("B", DEEP),
    "history unhashable": lambda m: m.transition_history([], DEEP),
    "history effect": lambda m: m.transition_history(m.B, DEEP, effect=1),
    "choice target": lambda m: m.choice(ROOT, [], otherwise=m.A),
    "choice owner": lambda m: m.choice("B", [], otherwise=m.B),
}


@pytest.mark.parametrize("event", ["listed", "unlisted", "guarded"])
@pytest.mark.parametrize("call", WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_H_087_wrong_targets_are_refused_before_anything_is_left(event: str, call: Any) -> None:
    """H-087 H-125"""
    machine = Undeclared()
    machine.taken()
    before = machine.snapshot()
    with pytest.raises(TransitionError):
        machine.dispatch(event, call)
    assert machine.snapshot() == before
    assert machine.taken() == ""

    def first_wrong_then_right(m: Undeclared) -> Outcome:
        with pytest.raises(TransitionError):
            call(m)
        return m.transition(m.C)

    if event != "unlisted":
        assert machine.dispatch(event, first_wrong_then_right) is HANDLED
        assert machine.current is Undeclared.C


def test_H_088_only_the_selected_declaration_counts() -> None:
    class Stacked(Logged):
        A = State()
        B = State()
        C = State()
        begin = on_initial(ROOT, target=A)

        @on_event(A, "to B", targets=B)
        @on_event(A, "to C", targets=C)
        def _go(self, target: State) -> Outcome:
            return self.transition(target)

    machine = Stacked()
    with pytest.raises(TransitionError):
        machine.dispatch("to B", Stacked.C)
    with pytest.raises(TransitionError):
        machine.dispatch("to C", Stacked.B)
    assert machine.dispatch("to C", Stacked.C) is HANDLED


# Initials -----------------------------------------------------------------------------------------


def test_H_100_initials_are_taken_whenever_the_owner_is_the_target() -> None:
    counts = dict.fromkeys(("A", "A1"), 0)

    class Counted(Logged):
        A = State()
        A1 = State(parent=A)
        A11 = State(parent=A1)
        A12 = State(parent=A1)
        B = State()

        @on_initial(ROOT, target=A)
        def _root(self) -> None:
            self.note("root")

        @on_initial(A, target=A1)
        def _a(self) -> None:
            counts["A"] += 1

        @on_initial(A1, target=A11)
        def _a1(self) -> None:
            counts["A1"] += 1

        deep = on_event(ROOT, "deep", target=A12)
        up = on_event(A12, "up", target=A1)
        again = on_event(ROOT, "again", target=ROOT)
        recall = on_event(B, "recall", target=A, history=SHALLOW)
        away = on_event(A, "away", target=B)

    machine = Counted()
    assert (counts, machine.log[0]) == ({"A": 1, "A1": 1}, "root")
    machine.dispatch("deep")
    assert counts == {"A": 1, "A1": 1}
    machine.dispatch("up")
    assert counts == {"A": 1, "A1": 2}
    machine.dispatch("again")
    assert counts == {"A": 2, "A1": 3}
    machine.dispatch("away")
    machine.dispatch("recall")
    assert counts == {"A": 2, "A1": 4}


def test_H_101_the_effect_runs_before_the_entries() -> None:
    class Effects(Logged):
        A = State()
        A1 = State(parent=A)
        A11 = State(parent=A1)

        @on_initial(ROOT, target=A)
        def _root(self) -> None:
            self.note("root")

        @on_initial(A, target=A11)
        def _a(self) -> None:
            self.note("a")

        a1_initial = on_initial(A1, target=A11)

    assert Effects().taken() == "root +A a +A1 +A11"


class Deciding(Logged):
    A = State()
    B = State()
    B1 = State(parent=B)
    B2 = State(parent=B)

    def __init__(self, root: Any, nested: Any = None) -> None:
        self.root, self.nested = root, nested
        super().__init__()

    @on_initial(ROOT, targets=(A, B))
    def _root(self) -> Any:
        return self.root(self)

    @on_initial(B, targets=(B1, B2))
    def _nested(self) -> Any:
        return self.nested(self)

    to_b = on_event(A, "b", target=B)


def to_a(machine: Any) -> Any:
    return machine.choice(ROOT, [], otherwise=machine.A)


def to_b(machine: Any) -> Any:
    return machine.choice(ROOT, [(lambda: False, machine.A)], otherwise=machine.B)


@pytest.mark.parametrize(
    ("initial", "error"),
    [
        (lambda m: HANDLED, TransitionError),
        (lambda m: None, TransitionError),
        (lambda m: m.transition(m.A), TransitionError),
        (lambda m: m.transition_history(m.B, DEEP), TransitionError),
        (lambda m: (to_a(m), to_a(m))[1], TransitionError),
        (lambda m: to_a(m) and None, DispatchError),
        (lambda m: to_a(m) and UNHANDLED, DispatchError),
    ],
)
def test_H_102_an_imperative_initial_takes_exactly_one_transition(
    initial: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        Deciding(initial)


def test_H_102_choice_in_the_root_initial_and_in_a_nested_one() -> None:
    assert Deciding(to_a).taken() == "+A"
    nested = Deciding(to_b, lambda m: m.choice(m.B, [(lambda: True, m.B2)], otherwise=m.B1))
    assert nested.taken() == "+B +B2"
    assert nested.current is Deciding.B2


def test_H_102_a_choice_outside_of_the_owner_is_refused() -> None:
    with pytest.raises(TransitionError):
        Deciding(to_b, lambda m: m.choice(ROOT, [], otherwise=m.B1))


def test_H_102_one_declared_target_is_taken_by_transition() -> None:
    class Single(Logged):
        A = State()
        A1 = State(parent=A)

        @on_initial(ROOT, targets=A1)
        def _root(self) -> Any:
            return self.transition(self.A1, effect=self.noting("*"))

        @on_initial(A, targets="A1")
        def _a(self) -> Any:
            return self.transition(self.A1)

        again = on_event(A1, "up", target=A)

    machine = Single()
    assert machine.taken() == "* +A +A1"
    machine.dispatch("up")
    assert machine.taken() == "-A1 +A1"


def test_H_103_an_initial_through_the_own_history() -> None:
    class Remembering(Logged):
        A = State()
        A1 = State(parent=A)
        A2 = State(parent=A)
        B = State()
        begin = on_initial(ROOT, target=A)

        @on_initial(A, target=A, history=DEEP)
        def _a(self) -> None:
            self.note("initial")

        @on_history_default(A, DEEP, target=A1)
        def _default(self) -> None:
            self.note("default")

        step = on_event(A1, "step", target=A2)
        away = on_event(A, "away", target=B)
        back = on_event(B, "back", target=A)

    machine = Remembering()
    assert machine.taken() == "+A initial default +A1"
    machine.dispatch("step")
    machine.dispatch("away")
    machine.taken()
    machine.dispatch("back")
    assert machine.taken() == "-B +A initial +A2"


def test_H_104_an_initial_may_end_the_machine() -> None:
    class Ending(Logged):
        Done = Final()
        Gone = Terminate()

        def __init__(self, terminate: bool) -> None:
            self.terminate = terminate
            super().__init__()

        @on_initial(ROOT, targets=(Done, Gone))
        def _begin(self) -> Any:
            return self.choice(ROOT, [(lambda: self.terminate, self.Gone)], otherwise=self.Done)

    assert Ending(False).is_complete
    assert Ending(True).is_terminated
    assert Ending(True).current is ROOT


# Entry and exit -----------------------------------------------------------------------------------


def test_H_110_the_specific_handler_runs_instead_of_the_generic_one() -> None:
    class Base(Logged, abstract=True):
        A = State()
        B = State(parent=A)
        C = State(parent=B)

        @on_entry(B)
        def _enter_b(self) -> None:
            self.note("specific +B")

    class Generic(Base):
        begin = on_initial(ROOT, target=Base.C)
        a_initial = on_initial(Base.A, target=Base.B)
        b_initial = on_initial(Base.B, target=Base.C)
        again = on_event(ROOT, "again", target=Base.C)

        @on_entry(ANY)
        def _any(self, state: State) -> None:
            self.note(f"generic +{state.name}")

        @on_exit(Base.C, Base.A)
        def _leave(self) -> None:
            self.note("specific -")

    machine = Generic()
    assert machine.taken() == "generic +A specific +B generic +C"
    machine.dispatch("again")
    assert machine.log[:3] == ["specific -", "-B", "specific -"]


def test_H_111_final_terminate_and_root_have_no_behaviors() -> None:
    class Ending(Logged):
        A = State()
        End = Final()
        Inner = Final(parent=A)
        A1 = State(parent=A)
        Gone = Terminate()
        begin = on_initial(ROOT, target=A)
        a_initial = on_initial(A, target=A1)
        inner = on_event(A1, "inner", target=Inner)
        leave = on_event(A, "leave", target=End)
        halt = on_event(A, "stop", target=Gone)

    machine = Ending()
    machine.dispatch("inner")
    machine.dispatch("leave")
    assert machine.taken() == "+A +A1 -A1 -A"
    machine = Ending()
    machine.dispatch("stop")
    assert machine.taken() == "+A +A1 -A1 -A"


def test_H_112_a_common_ancestor_is_neither_left_nor_entered() -> None:
    cls = tree(go=on_event("A1", "go", target="A2"))
    machine = cls()
    machine.taken()
    machine.dispatch("go")
    assert machine.taken() == "-A11 -A1 +A2 +A21"


@pytest.mark.parametrize("effect", [None, lambda: None])
def test_H_085_the_initial_of_an_ancestor_that_a_handler_goes_back_to(effect: Any) -> None:
    """With and without an effect of the handler, between the exits and that initial."""

    class Back(Machine):
        Outer = State()
        Inner = State(parent=Outer)
        begin = on_initial(ROOT, target=Outer)

        def __init__(self) -> None:
            self.seen: list[State] = []

        @on_initial(Outer, target=Inner)
        def _inside(self) -> None:
            self.seen.append(self.current)

        @on_event(Inner, "back", targets=Outer)
        def _back(self, arg: Any) -> Outcome:
            return self.transition(self.Outer, effect)

    machine = Back()
    machine.dispatch("back")
    assert machine.seen == [Back.Outer, Back.Outer]
    assert machine.current is Back.Inner
