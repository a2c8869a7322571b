"""Section 15: trace hooks and observers."""

import sys
from typing import Any

import pytest

from tensor_pool.hsm import (
    DEEP,
    HANDLED,
    ROOT,
    UNHANDLED,
    Coverage,
    Final,
    Outcome,
    State,
    Terminate,
    observed_by,
    on_completion,
    on_event,
    on_initial,
)
from tests.hsm.logged import Logged, Trace


class Traced(Logged):
    A = State()
    A1 = State(parent=A)
    A2 = State(parent=A)
    AEnd = Final(parent=A)
    B = State(defer=["later"])
    B1 = State(parent=B)
    Gone = Terminate()
    begin = on_initial(ROOT, target=A)
    a_initial = on_initial(A, target=A1)
    b_initial = on_initial(B, target=B1)
    to_b = on_event(A, "b", target=B)
    recall = on_event(B, "recall", target=A, history=DEEP)
    end = on_event(A1, "end", target=AEnd)
    halt = on_event(ROOT, "stop", target=Gone)
    completed = on_completion(A, target=B1)
    later = on_event(A, "later", target=A2)

    @on_event(A1, "internal")
    def _internal(self, arg: Any) -> Outcome:
        return UNHANDLED

    @on_event(A1, "choose", targets=(A2, B1))
    def _choose(self, arg: Any) -> Outcome:
        return self.choice(self.B, [(lambda: self.note("guard"), self.B1)], otherwise=self.B1)

    @on_event(A, "post")
    def _post(self, arg: Any) -> Outcome:
        self.post("unknown", 5)
        return HANDLED


def traced(*events: str) -> tuple[Traced, Trace]:
    trace = Trace()
    machine = Traced(observer=trace)
    for event in events:
        machine.dispatch(event)
    return machine, trace


def test_H_174_the_initial_step() -> None:
    """H-170 H-173 H-174"""
    _, trace = traced()
    assert trace.taken() == [
        "initial ROOT",
        "transition_begin ROOT A ROOT",
        "transition_action ROOT A",
        "entry A",
        "initial A",
        "transition_begin A A1 A",
        "transition_action A A1",
        "entry A1",
        "transition_end A A1",
        "transition_end ROOT A",
    ]


def test_H_172_a_handled_event() -> None:
    """H-170 H-172 H-173"""
    machine, trace = traced()
    trace.taken()
    machine.dispatch("b", 7)
    assert trace.taken() == [
        "dispatch_start 'b' 7",
        "dispatch_attempt A1 'b'",
        "dispatch_result A1 'b' UNHANDLED",
        "dispatch_attempt A 'b'",
        "transition_begin A1 B ROOT",
        "exit A1",
        "exit A",
        "transition_action A1 B",
        "entry B",
        "initial B",
        "transition_begin B B1 B",
        "transition_action B B1",
        "entry B1",
        "transition_end B B1",
        "transition_end A1 B",
        "dispatch_result A 'b' HANDLED",
    ]


@pytest.mark.parametrize("event", ["internal", "unknown"])
def test_H_172_an_unhandled_event(event: str) -> None:
    machine, trace = traced()
    trace.taken()
    assert machine.dispatch(event) is UNHANDLED
    assert trace.taken() == [
        f"dispatch_start '{event}' None",
        f"dispatch_attempt A1 '{event}'",
        f"dispatch_result A1 '{event}' UNHANDLED",
        f"dispatch_attempt A '{event}'",
        f"dispatch_result A '{event}' UNHANDLED",
        f"dispatch_attempt ROOT '{event}'",
        f"dispatch_result ROOT '{event}' UNHANDLED",
    ]


def test_H_173_history_reports_the_restored_state() -> None:
    machine, trace = traced("b")
    trace.taken()
    machine.dispatch("recall")
    assert trace.taken()[4:] == [
        "transition_begin B1 A1 ROOT",
        "exit B1",
        "exit B",
        "transition_action B1 A1",
        "entry A",
        "entry A1",
        "transition_end B1 A1",
        "dispatch_result B 'recall' HANDLED",
    ]


def test_H_173_terminate_is_not_entered() -> None:
    machine, trace = traced()
    trace.taken()
    machine.dispatch("stop")
    assert trace.taken()[6:] == [
        "transition_begin A1 Gone ROOT",
        "exit A1",
        "exit A",
        "transition_action A1 Gone",
        "transition_end A1 Gone",
        "dispatch_result ROOT 'stop' HANDLED",
    ]


def test_H_175_a_choice() -> None:
    machine, trace = traced()
    trace.taken()
    machine.dispatch("choose")
    assert trace.taken()[2:] == [
        "choice_begin A1 B",
        "exit A1",
        "exit A",
        "entry B",
        "choice_selected A1 B1",
        "entry B1",
        "choice_end A1 B1",
        "dispatch_result A1 'choose' HANDLED",
    ]


def test_H_176_completions_are_traced_as_transitions_only() -> None:
    machine, trace = traced()
    trace.taken()
    machine.dispatch("end")
    assert trace.taken()[2:] == [
        "transition_begin A1 AEnd A",
        "exit A1",
        "transition_action A1 AEnd",
        "entry AEnd",
        "transition_end A1 AEnd",
        "dispatch_result A1 'end' HANDLED",
        "transition_begin AEnd B1 ROOT",
        "exit AEnd",
        "exit A",
        "transition_action AEnd B1",
        "entry B",
        "entry B1",
        "transition_end AEnd B1",
    ]


def test_H_176_posted_and_recalled_events_are_traced_like_others() -> None:
    machine, trace = traced()
    trace.taken()
    machine.dispatch("post")
    assert [line for line in trace.taken() if "dispatch_start" in line] == [
        "dispatch_start 'post' None",
        "dispatch_start 'unknown' 5",
    ]
    machine.dispatch("b")
    trace.taken()
    machine.dispatch("later", 9)
    assert trace.taken() == [
        "dispatch_start 'later' 9",
        "dispatch_attempt B1 'later'",
        "dispatch_result B1 'later' UNHANDLED",
        "dispatch_attempt B 'later'",
        "dispatch_result B 'later' DEFERRED",
    ]
    machine.dispatch("recall")
    assert "dispatch_start 'later' 9" in trace.taken()
    assert machine.current is Traced.A2


def test_H_171_partial_observer_and_own_hook() -> None:
    order: list[Any] = []

    class Hooked(Traced):
        def trace_entry(self, state: State) -> None:
            order.append(("own", state.name))

    class Partial:
        def trace_entry(self, machine: Any, state: State) -> None:
            order.append((machine, state.name))

    partial = Partial()
    machine = Hooked(observer=partial)
    assert machine.observer is partial
    assert order == [("own", "A"), (machine, "A"), ("own", "A1"), (machine, "A1")]
    assert Traced().observer is None


def test_H_171_several_observers_are_called_in_order() -> None:
    order: list[Any] = []

    class Entries:
        def trace_entry(self, machine: Any, state: State) -> None:
            order.append(("entries", state.name))

    class Exits:
        def trace_entry(self, machine: Any, state: State) -> None:
            order.append(("exits", state.name))

        def trace_exit(self, machine: Any, state: State) -> None:
            order.append(("left", state.name))

    coverage = Coverage(Traced)
    machine = Traced(observer=observed_by(Entries(), coverage, Exits()))
    assert order == [("entries", "A"), ("exits", "A"), ("entries", "A1"), ("exits", "A1")]
    order.clear()
    machine.dispatch("b")
    assert [entry for entry in order if entry[0] == "left"] == [("left", "A1"), ("left", "A")]
    assert coverage.states[Traced.A1] == coverage.states[Traced.B] == 1
    assert [edge.event for edge, times in coverage.edges.items() if times] == [
        None,
        None,
        "b",
        None,
    ]
    alone = Exits()
    assert observed_by(alone) is alone


def test_H_177_tracing_changes_nothing() -> None:
    events = ["internal", "b", "later", "recall", "post", "unknown", "b", "recall", "end", "stop"]
    plain, observed = Traced(), Traced(observer=Trace())
    for event in events:
        assert plain.dispatch(event) is observed.dispatch(event)
        assert plain.log == observed.log
        assert plain.snapshot() == observed.snapshot()


def test_H_178_hooks_that_are_not_overridden_are_not_called() -> None:
    machine = Traced()
    called: set[str] = set()

    def watch(frame: Any, event: str, arg: Any) -> None:
        if event == "call":
            called.add(frame.f_code.co_name)

    sys.setprofile(watch)
    try:
        for event in ("internal", "b", "later", "recall", "choose", "stop"):
            machine.dispatch(event)
    finally:
        sys.setprofile(None)
    assert not [name for name in called if name.startswith("trace") or name == "_ignore"]
