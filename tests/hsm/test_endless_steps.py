"""H-270, H-271: completions and posted events that never end."""

from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    DefinitionError,
    DispatchError,
    Final,
    Machine,
    Outcome,
    State,
    on_completion,
    on_event,
    on_initial,
)


def test_H_270_a_cycle_of_unguarded_completions_is_a_mistake() -> None:
    with pytest.raises(DefinitionError, match=r"B → D → B .*without end"):

        class Ring(Machine):
            A = State()
            B = State()
            C = State()
            Inner = State(parent=C)
            begin = on_initial(ROOT, target=A)
            into_c = on_initial(C, target="D")
            Deep = State("D", parent=Inner)
            into_inner = on_initial(Inner, target=Deep)
            to_b = on_completion(A, target=B)
            to_c = on_completion(B, target=C)
            to_a = on_completion(Deep, target=B)


def test_H_270_a_state_that_completes_into_itself_is_a_mistake() -> None:
    with pytest.raises(DefinitionError, match="A → A"):

        class Self(Machine):
            A = State()
            begin = on_initial(ROOT, target=A)
            again = on_completion(A, target=A)


def test_H_270_cycles_that_can_end_are_legal_and_found_by_lint() -> None:
    class Guarded(Machine):
        A = State()
        B = State()
        C = State()
        begin = on_initial(ROOT, target=A)
        to_b = on_completion(A, target=B, guard=lambda self: False)
        to_a = on_completion(B, target=A)

        @on_completion(C, targets=(A, C))
        def _decide(self) -> Outcome:
            return HANDLED

    found = [(f.code, f.state.name) for f in Guarded.lint() if f.code == "completion-loop"]
    assert found == [("completion-loop", "A"), ("completion-loop", "C")]


def test_H_270_a_chain_that_ends_is_not_a_finding() -> None:
    class Chain(Machine):
        A = State()
        B = State()
        C = State()
        End = Final()
        begin = on_initial(ROOT, target=A)
        to_b = on_completion(A, target=B)
        to_c = on_completion(B, target=C)
        to_end = on_event(C, "end", target=End)

    assert Chain.lint() == ()


def test_H_270_any_that_hides_events_of_outer_states() -> None:
    class Hiding(Machine):
        Out = State()
        In = State(parent=Out, defer=["late"])
        begin = on_initial(ROOT, target=Out)
        into = on_initial(Out, target=In)
        out = on_event(Out, "x", "y", target=Out)
        late = on_event(ROOT, "late", target=Out)

        @on_event(In, "y")
        @on_event(In, ANY)
        def _swallow(self, arg: Any, event: Any = None) -> Outcome:
            return HANDLED

    assert [(f.code, f.state.name) for f in Hiding.lint()] == [("any-hides", "In")]
    assert "'x' of Out" in Hiding.lint()[0].message
    assert "'y'" not in Hiding.lint()[0].message


def test_H_270_a_guarded_any_hides_nothing() -> None:
    class Letting(Machine):
        Out = State()
        In = State(parent=Out)
        begin = on_initial(ROOT, target=Out)
        into = on_initial(Out, target=In)
        out = on_event(Out, "x", target=Out)

        @on_event(In, ANY, guard=lambda self, arg, event: False)
        def _swallow(self, arg: Any, event: Any) -> Outcome:
            return HANDLED

    assert Letting.lint() == ()


def test_H_270_a_deferred_event_that_no_state_takes() -> None:
    class Deferring(Machine):
        A = State(defer=["x", "y"])
        begin = on_initial(ROOT, target=A)
        again = on_event(A, "y", target=A)

    assert [(f.code, f.state.name) for f in Deferring.lint()] == [("deferred-by-all", "A")]
    assert "'x'" in Deferring.lint()[0].message


class Posting(Machine):
    """Each event posts the next one, `rounds` times."""

    A = State()
    B = State()
    begin = on_initial(ROOT, target=A)

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.count = 0
        super().__init__()

    @on_event(A, "x", targets=B)
    def _to_b(self, arg: Any) -> Outcome:
        return self._go(self.B)

    @on_event(B, "x", targets=A)
    def _to_a(self, arg: Any) -> Outcome:
        return self._go(self.A)

    def _go(self, target: State) -> Outcome:
        self.count += 1
        if self.count <= self.rounds:
            self.post("x", self.count)
        return self.transition(target)


def test_H_271_a_step_ends_after_max_steps_and_what_is_queued_stays() -> None:
    machine = Posting(rounds=10_001)
    with pytest.raises(DispatchError) as caught:
        machine.dispatch("x")
    text = str(caught.value)
    assert "10000 completions, recalled and posted events" in text
    assert text.count("posted event 'x' in ") == 5
    assert "max_steps" in text
    assert machine.count == 10_001
    assert machine.snapshot()["posted"] == [["x", 10_001]]
    assert machine.dispatch("nothing") is not HANDLED  # the one that waited has been processed
    assert machine.count == 10_002


def test_H_271_as_many_as_allowed_are_not_an_error() -> None:
    machine = Posting(rounds=10_000)
    assert machine.dispatch("x") is HANDLED
    assert machine.count == 10_001


def test_H_271_the_bound_is_an_attribute_and_holds_for_start_and_completions() -> None:
    class Ring(Machine):
        max_steps = 8
        A = State()
        B = State()
        begin = on_initial(ROOT, target=A)
        again = on_completion(B, target=A)

        @on_completion(A, targets=B)
        def _go(self) -> Outcome:
            return self.transition(self.B)

    with pytest.raises(DispatchError, match=r"8 completions.*completion in B.*completion in A"):
        Ring()
    machine = Ring(start=False)
    with pytest.raises(DispatchError):
        machine.start()
    assert machine.is_running
