"""Section 10: what composites remember."""

from typing import Any

import pytest

from tensor_pool.hsm import (
    DEEP,
    HANDLED,
    ROOT,
    SHALLOW,
    Final,
    Outcome,
    State,
    on_completion,
    on_event,
    on_history_default,
    on_initial,
)
from tests.hsm.logged import Logged, Trace


class Remembering(Logged):
    A = State()
    A1 = State(parent=A)
    A11 = State(parent=A1)
    A12 = State(parent=A1)
    A2 = State(parent=A)
    AEnd = Final(parent=A)
    C = State()
    C1 = State(parent=C)
    C2 = State(parent=C)
    Out = State()

    begin = on_initial(ROOT, target=Out)

    @on_initial(A, target=A1)
    def _a_initial(self) -> None:
        self.note("initial A")

    @on_initial(A1, target=A11)
    def _a1_initial(self) -> None:
        self.note("initial A1")

    c_initial = on_initial(C, target=C1)

    to_a11 = on_event(ROOT, "A11", target=A11)
    to_a12 = on_event(ROOT, "A12", target=A12)
    to_a2 = on_event(A1, "A2", target=A2)
    to_c2 = on_event(ROOT, "C2", target=C2)
    to_end = on_event(ROOT, "end", target=AEnd)
    out = on_event(ROOT, "out", target=Out)
    plain = on_event(Out, "plain", target=A)

    @on_event(Out, "shallow", target=A, history=SHALLOW)
    def _shallow(self, arg: Any) -> None:
        self.note("*")

    @on_event(Out, "deep", target=A, history=DEEP)
    def _deep(self, arg: Any) -> None:
        self.note("*")

    deep_a1 = on_event(ROOT, "deep A1", target=A1, history=DEEP)
    deep_c = on_event(Out, "deep C", target=C, history=DEEP)

    @on_event(Out, "handler", targets=(A, C))
    def _handler(self, arg: Any) -> Outcome:
        owner, kind = arg
        return self.transition_history(owner, kind, effect=self.noting("*"))

    from_a2 = on_event(A2, "from A2", target=A1, history=DEEP)

    @on_event(ROOT, "around", targets=A)
    def _around(self, arg: Any) -> Outcome:
        owner, kind = arg
        return self.transition_history(owner, kind)

    @on_history_default(A1, DEEP, target=A12)
    def _a1_default(self) -> None:
        self.note("default")


def after(*events: Any) -> Remembering:
    machine = Remembering()
    for event in events:
        assert machine.dispatch(event) is HANDLED
    machine.log.clear()
    return machine


@pytest.mark.parametrize("observed", [False, True])
def test_H_120_each_composite_has_its_own_memory_and_the_latest_exit_wins(observed: bool) -> None:
    machine = Remembering(observer=Trace() if observed else None)
    history: list[dict[str, str]] = []
    for event in ("A12", "C2", "A11", "A2", "out", "A12", "end", "out"):
        machine.dispatch(event)
        history.append(machine.snapshot()["history"])
    assert history == [
        {},
        {"A": "A12", "A1": "A12"},
        {"A": "A12", "A1": "A12", "C": "C2"},
        {"A": "A12", "A1": "A11", "C": "C2"},
        {"A": "A2", "A1": "A11", "C": "C2"},
        {"A": "A2", "A1": "A11", "C": "C2"},
        {"A1": "A12", "C": "C2"},
        {"A1": "A12", "C": "C2"},
    ]


@pytest.mark.parametrize(
    ("kind", "log", "leaf"),
    [
        (DEEP, "-Out * +A +A1 +A12", "A12"),
        (SHALLOW, "-Out * +A +A1 initial A1 +A11", "A11"),
    ],
)
@pytest.mark.parametrize("style", ["edge", "handler"])
def test_H_121_deep_restores_the_leaf_and_shallow_the_child(
    kind: Any, log: str, leaf: str, style: str
) -> None:
    machine = after("A12", "out")
    if style == "edge":
        machine.dispatch("deep" if kind is DEEP else "shallow")
    else:
        machine.dispatch("handler", (Remembering.A, kind))
    assert machine.taken() == log
    assert machine.current.name == leaf


def test_H_121_the_target_is_computed_before_the_first_exit() -> None:
    machine = after("A12", "A11", "out", "deep")
    assert machine.current is Remembering.A11
    machine = after("A12", "A2")
    machine.dispatch("deep A1")
    assert machine.taken() == "-A2 -A +A +A1 +A12"


@pytest.mark.parametrize("kind", [SHALLOW, DEEP])
@pytest.mark.parametrize("source", ["ROOT", "A", "A1"])
@pytest.mark.parametrize("first_visit", [True, False])
@pytest.mark.parametrize("style", ["edge", "handler"])
def test_H_121_a_recall_from_the_owner_or_around_it_comes_back_to_where_the_machine_is(
    kind: Any, source: str, first_visit: bool, style: str
) -> None:
    """The traces of the PSSM tests History 001-A (shallow) and 002-A (deep): the owner is left."""

    class Back(Logged):
        A = State()
        A1 = State(parent=A)
        A11 = State(parent=A1)
        A12 = State(parent=A1)
        Out = State()
        begin = on_initial(ROOT, target=Out)
        a_initial = on_initial(A, target=A1)
        to_a12 = on_event(ROOT, "A12", target=A12)
        to_a11 = on_event(ROOT, "A11", target=A11)
        out = on_event(ROOT, "out", target=Out)
        edge = on_event(source, "edge", target=A1, history=kind)

        @on_initial(A1, target=A11)
        def _a1_initial(self) -> None:
            self.note("initial A1")

        @on_event(source, "handler", targets=A1)
        def _handler(self, arg: Any) -> Outcome:
            assert self.transition_history(self.A1, kind) is HANDLED
            return HANDLED

    machine = Back()
    if not first_visit:
        machine.dispatch("A11")
        machine.dispatch("out")
    machine.dispatch("A12")
    machine.taken()
    assert machine.dispatch(style) is HANDLED
    # A1's own transition to itself does not leave A; neither does one of A, which is around it.
    inside = "-A12 -A1 +A1 +A12"
    log = {"ROOT": "-A12 -A1 -A +A +A1 +A12", "A": inside, "A1": inside}[source]
    assert machine.taken() == log
    assert machine.current is Back.A12


def test_H_121_shallow_takes_the_initial_of_the_child_that_is_left() -> None:
    machine = after("A12")
    machine.dispatch("around", (Remembering.A, SHALLOW))
    assert machine.taken() == "-A12 -A1 -A +A +A1 initial A1 +A11"


def test_H_121_a_final_leaf_of_an_active_owner_counts_as_no_memory() -> None:
    """H-122 then holds: the owner has no default and is entered."""
    machine = after("A12", "out", "A11", "end")
    machine.dispatch("around", (Remembering.A, DEEP))
    assert machine.taken() == "-A +A initial A +A1 initial A1 +A11"


def test_H_121_a_source_below_the_owner_restores_the_last_exit_without_leaving_it() -> None:
    machine = after("A12", "A2")
    machine.dispatch("from A2")
    assert machine.taken() == "-A2 +A1 +A12"


@pytest.mark.parametrize("style", ["edge", "handler"])
def test_H_122_without_a_memory_and_a_default_the_owner_is_entered(style: str) -> None:
    machine = after()
    if style == "edge":
        machine.dispatch("deep")
    else:
        machine.dispatch("handler", (Remembering.A, DEEP))
    assert machine.taken() == "-Out * +A initial A +A1 initial A1 +A11"


def test_H_122_defaults_by_kind_and_their_effects() -> None:
    class Defaults(Logged):
        A = State()
        A1 = State(parent=A)
        A2 = State(parent=A)
        Out = State()
        begin = on_initial(ROOT, target=Out)
        a_initial = on_initial(A, target=A1)
        out = on_event(A, "out", target=Out)

        @on_history_default(A, DEEP, target=A2)
        def _deep_default(self) -> None:
            self.note("deep default")

        @on_history_default(A, SHALLOW, target=A1)
        def _shallow_default(self) -> None:
            self.note("shallow default")

        @on_event(Out, "go", targets=A)
        def _go(self, kind: Any) -> Outcome:
            return self.transition_history(self.A, kind, effect=self.noting("*"))

    machine = Defaults()
    machine.taken()
    machine.dispatch("go", DEEP)
    assert machine.taken() == "-Out * +A deep default +A2"
    machine.dispatch("out")
    machine.taken()
    machine.dispatch("go", SHALLOW)
    assert machine.taken() == "-Out * +A +A2"
    machine = Defaults()
    machine.taken()
    machine.dispatch("go", SHALLOW)
    assert machine.taken() == "-Out * +A shallow default +A1"


def test_H_122_the_default_of_an_owner_inside_others_runs_after_their_entries() -> None:
    """The traces of the PSSM tests History 001-B and 002-D."""
    machine = after()
    machine.dispatch("deep A1")
    assert machine.taken() == "-Out +A +A1 default +A12"


def test_H_122_the_default_of_an_owner_that_stays_active_runs_before_the_entries() -> None:
    class Inside(Logged):
        A = State()
        A1 = State(parent=A)
        A2 = State(parent=A)
        begin = on_initial(ROOT, target=A)
        a_initial = on_initial(A, target=A1)

        @on_event(A1, "recall", target=A, history=DEEP)
        def _recall(self, arg: Any) -> None:
            self.note("*")

        @on_history_default(A, DEEP, target=A2)
        def _default(self) -> None:
            self.note("default")

    machine = Inside()
    machine.taken()
    machine.dispatch("recall")
    assert machine.taken() == "-A1 * default +A2"


def test_H_123_ordinary_transitions_ignore_the_memory() -> None:
    machine = after("A12", "out")
    machine.dispatch("plain")
    assert machine.current is Remembering.A11


@pytest.mark.parametrize("event", ["deep", "shallow"])
def test_H_124_a_final_clears_the_memory_of_its_parent(event: str) -> None:
    machine = after("A12", "out", "end")
    assert "A" not in machine.snapshot()["history"]
    machine.dispatch("out")
    machine.taken()
    machine.dispatch(event)
    assert machine.taken() == "-Out * +A initial A +A1 initial A1 +A11"


def test_H_124_reset_clears_all_memories() -> None:
    machine = after("A12", "out")
    machine.reset()
    machine.dispatch("deep")
    assert machine.current is Remembering.A11


def test_H_125_a_refused_recall_changes_nothing_and_a_correct_one_still_restores() -> None:
    machine = after("A12", "out")
    before = machine.snapshot()
    for wrong in ((Remembering.A1, DEEP), (ROOT, DEEP), (Remembering.A, "deep"), (None, DEEP)):
        with pytest.raises(Exception, match="transition_history"):
            machine.dispatch("handler", wrong)
        assert machine.snapshot() == before
    machine.dispatch("handler", (Remembering.A, DEEP))
    assert machine.current is Remembering.A12


def test_a_composite_that_rests_in_itself_remembers_nothing() -> None:
    """H-120 H-222"""

    class Resting(Logged):
        A = State()
        End = Final(parent=A)
        Out = State()
        begin = on_initial(ROOT, target=A)
        out = on_event(A, "out", target=Out)
        back = on_event(Out, "back", target=A, history=DEEP)
        done = on_completion(A, target=Out)

    machine = Resting()
    machine.dispatch("out")
    assert machine.snapshot()["history"] == {}
    machine.dispatch("back")
    assert machine.current is Resting.A
