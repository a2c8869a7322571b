"""Section 21: edges, reachability, lint and coverage."""

from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    SHALLOW,
    UNHANDLED,
    Coverage,
    Edge,
    Final,
    Machine,
    Outcome,
    State,
    Terminate,
    on_completion,
    on_entry,
    on_event,
    on_history_default,
    on_initial,
)
from tests.hsm.six_states import SixStates


def is_even(self: Any, arg: Any) -> bool:
    return arg % 2 == 0


class Rich(Machine):
    A = State()
    A1 = State(parent=A)
    A2 = State(parent=A)
    AEnd = Final(parent=A)
    B = State()
    Gone = Terminate()

    begin = on_initial(ROOT, target=A)

    @on_initial(A, targets=(A1, A2))
    def _a_initial(self) -> Outcome:
        return self.choice(self.A, [], otherwise=self.A1)

    default = on_history_default(A, SHALLOW, target=A2)
    recall = on_event(B, "recall", target=A, history=SHALLOW)
    self_ = on_event(A1, "self", "again", target=A1)
    local = on_event(A1, "local", target=A, guard=is_even)
    external = on_event(A, ANY, target=B, guard=lambda self, arg, event: event == "go")

    @on_event(A1, "internal")
    def _internal(self, arg: Any) -> Outcome:
        return arg

    @on_event(B, "many", targets=(A, B, A2))
    def _many(self, arg: Any) -> Outcome:
        return self.transition(arg) if arg else HANDLED

    @on_completion(A)
    def _completed(self) -> Outcome:
        return HANDLED

    @on_completion(B, target=A2, guard=lambda self: False)
    def _never(self) -> None: ...

    to_end = on_event(A1, "end", target=AEnd)
    halt = on_event(ROOT, "stop", target=Gone)

    @on_event(A2, "history", targets=B)
    @on_event(B, "history", targets=A)
    def _history(self, arg: Any) -> Outcome:
        if self.source is self.B:
            return self.transition_history(self.A, DEEP)
        return self.transition(self.B)

    @on_entry(A)
    def _enter(self) -> None: ...


def test_H_230_edges() -> None:
    r = Rich
    assert Rich.edges == (
        Edge(ROOT, None, r.A, "initial", None, None),
        Edge(r.A, None, r.A1, "initial", None, "_a_initial"),
        Edge(r.A, None, r.A2, "initial", None, "_a_initial"),
        Edge(r.A, SHALLOW, r.A2, "history-default", None, None),
        Edge(r.B, "recall", r.A, "history", None, None),
        Edge(r.A1, "self", r.A1, "self", None, None),
        Edge(r.A1, "again", r.A1, "self", None, None),
        Edge(r.A1, "local", r.A, "local", "is_even", None),
        Edge(r.A, ANY, r.B, "external", "<lambda>", None),
        Edge(r.A1, "internal", None, "internal", None, "_internal"),
        Edge(r.B, "many", r.A, "external", None, "_many"),
        Edge(r.B, "many", r.B, "self", None, "_many"),
        Edge(r.B, "many", r.A2, "external", None, "_many"),
        Edge(r.A, None, None, "completion", None, "_completed"),
        Edge(r.B, None, r.A2, "completion", "<lambda>", "_never"),
        Edge(r.A1, "end", r.AEnd, "external", None, None),
        Edge(ROOT, "stop", r.Gone, "local", None, None),
        Edge(r.A2, "history", r.B, "external", None, "_history"),
        Edge(r.B, "history", r.A, "external", None, "_history"),
    )
    assert Rich().edges is Rich.edges


def test_H_230_the_six_state_machine() -> None:
    found = {(e.source.name, e.event, e.target and e.target.name, e.kind) for e in SixStates.edges}
    assert len(found) == len(SixStates.edges) == 24
    assert {
        ("ROOT", None, "s2", "initial"),
        ("s1", "B", "s11", "local"),
        ("s11", "H", "s", "local"),
        ("s1", "A", "s1", "self"),
        ("s1", "C", "s2", "external"),
        ("s1", "I", None, "internal"),
        ("s11", "D", "s1", "local"),
    } <= found


def test_H_230_hidden_candidates_are_not_in_force() -> None:
    class Base(Machine):
        A = State()
        B = State()
        begin = on_initial(ROOT, target=A)
        go = on_event(A, "x", target=B)

    class Sub(Base):
        other = on_event(Base.A, "x", target=Base.A)

    assert [(e.event, e.target) for e in Sub.edges] == [(None, Base.A), ("x", Base.A)]
    assert [(e.event, e.target) for e in Base.edges] == [(None, Base.A), ("x", Base.B)]


def test_H_231_unreachable_states() -> None:
    class Islands(Machine):
        A = State()
        B = State()
        B1 = State(parent=B)
        C = State()
        C1 = State(parent=C)
        D = State()
        begin = on_initial(ROOT, target=A)
        b_initial = on_initial(B, target=B1)
        c_initial = on_initial(C, target=C1)
        into = on_event(A, "x", target=C1)
        island = on_event(B1, "x", target=D)
        back = on_event(D, "x", target=B)
        out = on_event(D, "y", target=A)
        up = on_event(C, "z", target=A)

    assert Islands.unreachable() == (Islands.B, Islands.B1, Islands.D)
    assert SixStates.unreachable() == ()
    assert Rich.unreachable() == ()


def test_H_232_lint() -> None:
    class Suspicious(Machine):
        A = State()
        Stuck = State()
        Island = State()
        Whole = State()
        Part = State(parent=Whole)
        End = Final(parent=Whole)
        begin = on_initial(ROOT, target=A)
        whole = on_initial(Whole, target=Part)
        to_stuck = on_event(A, "x", target=Stuck)
        to_whole = on_event(A, "y", target=Whole)
        end = on_event(Part, "z", target=End)
        leave = on_event(Whole, "out", target=A)
        island = on_event(Island, "x", target=A)

        @on_event(Stuck, "internal")
        def _internal(self, arg: Any) -> Outcome:
            return HANDLED

    findings = Suspicious.lint()
    assert [(finding.code, finding.state) for finding in findings] == [
        ("unreachable", Suspicious.Island),
        ("dead-end", Suspicious.Stuck),
        ("no-completion", Suspicious.Whole),
    ]
    assert all(finding.message for finding in findings)
    assert SixStates.lint() == ()


def test_H_232_an_edge_of_root_leads_out_of_everything() -> None:
    class Fine(Machine):
        A = State()
        B = State()
        begin = on_initial(ROOT, target=A)
        to_b = on_event(ROOT, "b", target=B)

    assert Fine.lint() == ()


def counted(coverage: Coverage) -> dict[tuple[str, Any, str | None], int]:
    return {
        (edge.source.name, edge.event, edge.target.name if edge.target else None): count
        for edge, count in coverage.edges.items()
    }


def test_H_233_coverage_counts_over_all_observed_machines() -> None:
    coverage = Coverage(Rich)
    one, other = Rich(observer=coverage), Rich(observer=coverage)
    Rich().dispatch("self")
    one.dispatch("self")
    one.dispatch("unknown")
    one.dispatch("internal", HANDLED)
    one.dispatch("internal", UNHANDLED)
    other.dispatch("go")
    other.dispatch("many", None)
    assert coverage.states == {Rich.A: 2, Rich.A1: 3, Rich.B: 1}
    assert counted(coverage) == {
        ("ROOT", None, "A"): 2,
        ("A", None, "A1"): 2,
        ("A1", "self", "A1"): 1,
        ("A1", "internal", None): 1,
        ("A", ANY, "B"): 1,
    }


def test_H_233_history_defaults_choices_and_completions_are_counted() -> None:
    coverage = Coverage(Rich)
    machine = Rich(observer=coverage)
    machine.dispatch("go")
    machine.dispatch("many", Rich.A)
    machine.dispatch("end")
    machine.dispatch("go")
    coverage.edges.clear()
    machine.dispatch("recall")
    machine.dispatch("history")
    machine.dispatch("history")
    assert counted(coverage) == {
        ("B", "recall", "A"): 1,
        ("A", SHALLOW, "A2"): 1,
        ("A2", "history", "B"): 1,
        ("B", "history", "A"): 1,
    }
    machine.dispatch("go")
    machine.dispatch("many", Rich.A)
    machine.dispatch("end")
    assert counted(coverage)["A", None, None] == 1


def test_H_233_what_was_missed_in_order() -> None:
    coverage = Coverage(Rich)
    assert coverage.missed_states() == (Rich.A, Rich.A1, Rich.A2, Rich.AEnd, Rich.B)
    assert coverage.missed_edges() == Rich.edges
    machine = Rich(observer=coverage)
    machine.dispatch("stop")
    assert coverage.missed_states() == (Rich.A2, Rich.AEnd, Rich.B)
    taken = {(ROOT, None), (Rich.A, None), (ROOT, "stop")}
    missed = coverage.missed_edges()
    assert len(missed) == len(Rich.edges) - 3
    assert not [e for e in missed if (e.source, e.event) in taken and e.target is Rich.A1]


@pytest.mark.parametrize("transition", ["first", "second"])
def test_H_233_edges_that_agree_are_counted_on_the_first(transition: str) -> None:
    class Twice(Machine):
        A = State()
        B = State()
        begin = on_initial(ROOT, target=A)
        first = on_event(A, "x", target=B, guard=lambda self, arg: arg == "first")
        second = on_event(A, "x", target=B)

    coverage = Coverage(Twice)
    Twice(observer=coverage).dispatch("x", transition)
    assert coverage.edges[Twice.edges[1]] == 1
    assert coverage.missed_edges() == (Twice.edges[2],)
