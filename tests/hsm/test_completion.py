"""Sections 11 and 13: final states, completion, terminate."""

from typing import Any

import pytest

from tensor_pool.hsm import (
    HANDLED,
    ROOT,
    UNHANDLED,
    DispatchError,
    Final,
    Outcome,
    State,
    Terminate,
    TransitionError,
    on_completion,
    on_event,
    on_initial,
)
from tests.hsm.logged import Logged, Trace


class Ending(Logged):
    A = State()
    A1 = State(parent=A)
    A2 = State(parent=A)
    A21 = State(parent=A2)
    A2End = Final(parent=A2)
    AEnd = Final(parent=A)
    Done = Final()
    Other = State()

    begin = on_initial(ROOT, target=A)
    a_initial = on_initial(A, target=A1)
    a2_initial = on_initial(A2, target=A21)
    deep = on_event(A1, "deep", target=A21)
    end_inner = on_event(A2, "end", target=A2End)
    end = on_event(A1, "end", target=AEnd)
    done = on_event(ROOT, "done", target=Done)
    owner_edge = on_event(A, "leave", target=Other)
    accept = True

    @on_completion(A, target=Other, guard=lambda self: self.accept)
    def _a_completed(self) -> None:
        self.note("A completed")


def test_H_130_a_final_becomes_current_without_behaviors() -> None:
    trace = Trace()
    machine = Ending(observer=trace)
    machine.taken()
    trace.taken()
    machine.dispatch("done")
    assert machine.current is Ending.Done
    assert machine.taken() == "-A1 -A"
    assert "entry Done" in trace.lines


def test_H_131_a_top_level_final_completes_the_machine() -> None:
    class Completing(Ending):
        @on_event(ROOT, "finish", targets=Ending.Done)
        def _finish(self, arg: Any) -> Outcome:
            self.post("leave")
            self.transition(self.Done)
            assert self.is_complete
            assert not self.is_running
            with pytest.raises(DispatchError):
                self.post("leave")
            with pytest.raises(TransitionError):
                self.transition(self.Done)
            return HANDLED

    machine = Completing()
    assert machine.dispatch("finish") is HANDLED
    assert machine.is_complete
    machine.taken()
    for call in (machine.dispatch, machine.post):
        with pytest.raises(DispatchError):
            call("leave")
    assert machine.taken() == ""
    assert machine.snapshot()["posted"] == []


def test_H_132_a_nested_final_completes_its_parent_only() -> None:
    machine = Ending()
    machine.dispatch("deep")
    machine.taken()
    machine.dispatch("end")
    assert machine.current is Ending.A2End
    assert machine.taken() == "-A21"


def test_H_132_completion_of_the_parent() -> None:
    machine = Ending()
    machine.taken()
    machine.dispatch("end")
    assert machine.taken() == "-A1 -A A completed +Other"


class Transient(Logged):
    """Passing completes at once; Waiting completes but is guarded."""

    Begin = State()
    Passing = State()
    Whole = State()
    Inner = State(parent=Whole)
    Waiting = State()
    Last = State()
    begin = on_initial(ROOT, target=Begin)
    whole = on_initial(Whole, target=Inner)
    go = on_event(Begin, "go", target=Passing)
    wait = on_event(ROOT, "wait", target=Waiting)
    ready = False

    @on_completion(Passing, target=Whole)
    def _passed(self) -> None:
        self.note("*")

    @on_completion(Whole, target=Last)
    def _never(self) -> None: ...

    @on_completion(Waiting, targets=Last)
    def _waiting(self) -> Outcome:
        self.note("asked")
        return self.transition(self.Last) if self.ready else UNHANDLED

    @on_event(Waiting, "internal")
    def _internal(self, arg: Any) -> Outcome:
        return HANDLED

    @on_event(ROOT, "post", targets=Passing)
    def _post(self, arg: Any) -> Outcome:
        self.post("seen")
        return self.transition(self.Passing)

    @on_event(ROOT, "seen")
    def _seen(self, arg: Any) -> Outcome:
        self.note(f"seen in {self.current.name}")
        return HANDLED


@pytest.mark.parametrize("observed", [False, True])
def test_H_133_a_simple_state_completes_when_entered_a_composite_does_not(observed: bool) -> None:
    machine = Transient(observer=Trace() if observed else None)
    machine.taken()
    assert machine.dispatch("go") is HANDLED
    assert machine.taken() == "-Begin +Passing -Passing * +Whole +Inner"
    assert machine.current is Transient.Inner


def test_H_133_reentry_completes_again_and_internal_events_do_not() -> None:
    machine = Transient()
    machine.dispatch("wait")
    machine.taken()
    machine.dispatch("internal")
    assert machine.taken() == ""
    machine.dispatch("wait")
    assert machine.taken() == "-Waiting +Waiting asked"


def test_H_134_a_declined_completion_is_lost() -> None:
    machine = Transient()
    machine.dispatch("wait")
    machine.ready = True
    assert machine.dispatch("internal") is HANDLED
    assert machine.current is Transient.Waiting
    machine.dispatch("wait")
    assert machine.current is Transient.Last


def test_H_134_the_first_enabled_candidate_with_the_completed_state_as_source() -> None:
    class Candidates(Logged):
        A = State()
        A1 = State(parent=A)
        End = Final(parent=A)
        B = State()
        begin = on_initial(ROOT, target=A)
        a_initial = on_initial(A, target=A1)
        end = on_event(A1, "end", target=End)

        @on_completion(A, target=B, guard=lambda self: self.note("first") or False)
        def _first(self) -> None: ...

        @on_completion(A, targets=B, guard=lambda self: self.note("second") or True)
        def _second(self) -> Outcome:
            self.note(f"{self.source.name} {self.event}")
            return self.transition(self.B)

        @on_completion(A, target=A1, guard=lambda self: self.note("third") or True)
        def _third(self) -> None: ...

    machine = Candidates()
    machine.taken()
    machine.dispatch("end")
    assert machine.taken() == "-A1 first second A None -A +B"


def test_H_135_completions_come_before_posted_events() -> None:
    machine = Transient()
    machine.taken()
    machine.dispatch("post")
    assert machine.taken() == "-Begin +Passing -Passing * +Whole +Inner seen in Inner"


def test_H_135_chains_run_to_the_end() -> None:
    class Chain(Logged):
        A = State()
        B = State()
        C = State()
        Done = Final()
        begin = on_initial(ROOT, target=A)
        a = on_completion(A, target=B)
        b = on_completion(B, target=C)
        c = on_completion(C, target=Done)

    machine = Chain()
    assert machine.is_complete
    assert machine.taken() == "+A -A +B -B +C -C"


@pytest.mark.parametrize("observed", [False, True])
def test_H_136_a_pending_completion_is_processed_by_the_next_step(observed: bool) -> None:
    class Raising(Transient):
        @on_event(Transient.Begin, "raise", targets=Transient.Passing)
        def _raise(self, arg: Any) -> Outcome:
            self.transition(self.Passing)
            raise ArithmeticError

    machine = Raising(observer=Trace() if observed else None)
    with pytest.raises(ArithmeticError):
        machine.dispatch("raise")
    assert machine.current is Transient.Passing
    assert machine.snapshot()["completion"] == "Passing"
    machine.taken()
    machine.dispatch("seen")
    assert machine.taken() == "-Passing * +Whole +Inner seen in Inner"


def test_H_137_the_leaf_may_stay_a_final() -> None:
    machine = Ending()
    machine.accept = False
    machine.dispatch("end")
    assert machine.current is Ending.AEnd
    assert machine.dispatch("leave") is HANDLED
    assert machine.current is Ending.Other


# Terminate ----------------------------------------------------------------------------------------


class Stopping(Logged):
    A = State()
    A1 = State(parent=A)
    B = State()
    B1 = State(parent=B)
    Gone = Terminate()
    AGone = Terminate(parent=A)
    BGone = Terminate(parent=B)

    def __init__(self, where: str = "", **keywords: Any) -> None:
        self.where = where
        super().__init__(**keywords)

    @on_initial(ROOT, targets=(A, Gone))
    def _begin(self) -> Outcome:
        return self.choice(ROOT, [(lambda: self.where == "root", self.Gone)], otherwise=self.A)

    a_initial = on_initial(A, target=A1)
    b_initial = on_initial(B, target=B1)
    inside = on_event(A1, "inside", target=AGone)
    choosing_targets = (BGone, B1)

    @on_event(A, "top", target=Gone)
    def _top(self, arg: Any) -> None:
        self.post("never")
        self.note("*")

    nested = on_event(A, "nested", target=BGone)

    @on_event(A, "choice", targets=choosing_targets)
    def _choice(self, arg: Any) -> Outcome:
        outcome = self.choice(
            self.B, [(lambda: True, self.BGone, self.noting("*"))], otherwise=self.B1
        )
        with pytest.raises(TransitionError):
            self.transition(self.B1)
        return outcome


@pytest.mark.parametrize(
    ("event", "log"),
    [
        ("top", "-A1 -A *"),
        ("nested", "-A1 -A +B"),
        ("choice", "-A1 -A +B *"),
        ("inside", "-A1"),
    ],
)
@pytest.mark.parametrize("observed", [False, True])
def test_H_150_a_terminate_stops_without_leaving_what_is_active(
    event: str, log: str, observed: bool
) -> None:
    machine = Stopping(observer=Trace() if observed else None)
    machine.taken()
    assert machine.dispatch(event) is HANDLED
    assert machine.taken() == log
    assert machine.is_terminated
    assert machine.current is ROOT
    assert machine.source is ROOT
    assert [state for state in (ROOT, *Stopping.states) if machine.is_in(state)] == [ROOT]
    snapshot = machine.snapshot()
    assert (snapshot["posted"], snapshot["lifecycle"]) == ([], "terminated")


def test_H_150_the_root_initial_may_terminate() -> None:
    machine = Stopping("root")
    assert machine.is_terminated
    assert machine.taken() == ""


def test_H_151_a_terminated_machine_is_good_for_inspection_only() -> None:
    machine = Stopping()
    machine.dispatch("top")
    for call in (lambda: machine.dispatch("top"), lambda: machine.post("top"), machine.start):
        with pytest.raises(DispatchError):
            call()
    with pytest.raises(TransitionError):
        machine.transition(machine.A)
    other = Stopping()
    other.restore(machine.snapshot())
    assert other.is_terminated
    machine.reset()
    assert machine.current is Stopping.A1
