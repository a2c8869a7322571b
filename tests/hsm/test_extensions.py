"""Section 19: guards, posting and deferral."""

import copy
from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    DEFERRED,
    HANDLED,
    ROOT,
    UNHANDLED,
    DispatchError,
    Final,
    Outcome,
    State,
    on_completion,
    on_entry,
    on_event,
    on_initial,
)
from tests.hsm.logged import Logged, Trace
from tests.hsm.test_lifecycle import life


class Guarded(Logged):
    A = State()
    B = State(parent=A)
    C = State()
    begin = on_initial(ROOT, target=B)
    a_initial = on_initial(A, target=B)
    open: frozenset[str] = frozenset()

    @staticmethod
    def passing(name: str) -> Any:
        return lambda self, arg: self.note(f"?{name}") or name in self.open

    @on_event(B, "x", target=C, guard=passing("edge"))
    def _edge(self, arg: Any) -> None:
        self.note("edge")

    @on_event(B, "x", guard=passing("handler"))
    def _handler(self, arg: Any) -> Outcome:
        self.note("handler")
        return UNHANDLED

    @on_event(B, ANY, guard=lambda self, arg, event: self.note("?any") or "any" in self.open)
    def _any(self, arg: Any, event: Any) -> Outcome:
        self.note("any")
        return HANDLED

    @on_event(A, "x")
    def _outer(self, arg: Any) -> Outcome:
        self.note("outer")
        return HANDLED


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize(
    ("enabled", "log"),
    [
        ("edge", "?edge -B -A edge +C"),
        ("edge handler any", "?edge -B -A edge +C"),
        ("handler any", "?edge ?handler handler outer"),
        ("any", "?edge ?handler ?any any"),
        ("", "?edge ?handler ?any outer"),
    ],
)
def test_H_199_guards_in_order_each_once(enabled: str, log: str, observed: bool) -> None:
    machine = Guarded(observer=Trace() if observed else None)
    machine.open = frozenset(enabled.split())
    machine.taken()
    assert machine.dispatch("x") is HANDLED
    assert machine.taken() == log


def test_H_199_a_guard_may_be_any_callable() -> None:
    class Level:
        def __call__(self, machine: Any, arg: Any) -> bool:
            return arg > 3

    class Callables(Logged):
        A = State()
        B = State()
        begin = on_initial(ROOT, target=A)
        go = on_event(A, "x", target=B, guard=Level())

    machine = Callables()
    assert machine.dispatch("x", 3) is UNHANDLED
    assert machine.dispatch("x", 4) is HANDLED
    assert Callables.edges[-1].guard == "Level"


class Posting(Logged):
    A = State()
    B = State()
    Passing = State()
    Done = Final()
    begin = on_initial(ROOT, target=A)

    @on_event(A, "go", targets=B)
    def _go(self, arg: Any) -> Outcome:
        self.post("seen", 1)
        self.transition(self.B, effect=lambda: self.post("seen", 2))
        assert self.post("seen", 4) is None
        return HANDLED

    @on_entry(B)
    def _enter(self) -> None:
        self.note("+B")
        self.post("seen", 3)

    @on_event(ROOT, "seen")
    def _seen(self, arg: Any) -> Outcome:
        self.note(f"seen{arg}")
        if arg == 1:
            self.post("seen", 5)
        return HANDLED

    pass_by = on_event(ROOT, "pass", target=Passing)
    passed = on_completion(Passing, target=B)

    @on_event(ROOT, "post and pass", targets=Passing)
    def _post_and_pass(self, arg: Any) -> Outcome:
        self.post("seen", 9)
        return self.transition(self.Passing)

    @on_event(ROOT, "post and raise")
    def _post_and_raise(self, arg: Any) -> Outcome:
        self.post("raise")
        self.post("seen", 7)
        raise ArithmeticError

    @on_event(ROOT, "raise")
    def _raise(self, arg: Any) -> Outcome:
        self.note("raise")
        raise ArithmeticError

    @on_event(ROOT, "post and finish", target=Done)
    def _finish(self, arg: Any) -> None:
        self.post("seen", 8)

    @on_event(ROOT, "post and raise, then finish")
    def _raise_and_finish(self, arg: Any) -> Outcome:
        self.post("post and finish")
        raise ArithmeticError


@pytest.mark.parametrize("observed", [False, True])
def test_H_201_posted_events_come_first_in_first_out(observed: bool) -> None:
    machine = Posting(observer=Trace() if observed else None)
    machine.taken()
    assert machine.dispatch("go") is HANDLED
    assert machine.taken() == "-A +B seen1 seen2 seen3 seen4 seen5"


def test_H_201_completions_come_before_posted_events() -> None:
    machine = Posting()
    machine.taken()
    machine.dispatch("post and pass")
    assert machine.taken() == "-A +Passing -Passing +B seen9 seen3"


def test_H_201_the_result_is_that_of_the_dispatched_event() -> None:
    class Results(Logged):
        A = State()
        begin = on_initial(ROOT, target=A)

        @on_event(A, "x")
        def _x(self, arg: Any) -> Outcome:
            self.post("unknown" if arg is HANDLED else "y")
            return arg

        @on_event(A, "y")
        def _y(self, arg: Any) -> Outcome:
            self.note("y")
            return HANDLED

    machine = Results()
    assert machine.dispatch("x", HANDLED) is HANDLED
    assert machine.dispatch("x", UNHANDLED) is UNHANDLED
    assert machine.taken() == "+A y"


def test_H_201_the_queues_are_cleared_when_the_machine_stops() -> None:
    machine = Posting()
    machine.dispatch("post and finish")
    assert machine.is_complete
    assert "seen8" not in machine.taken()
    machine.reset()
    assert machine.taken() == "+A"


def test_H_200_post_between_steps_is_processed_at_once() -> None:
    machine = Posting()
    machine.taken()
    assert machine.post("seen", 1) is None
    assert machine.taken() == "seen1 seen5"
    machine.post("unknown")
    with pytest.raises(ArithmeticError):
        machine.post("raise")


def test_H_200_post_does_not_go_through_an_overridden_dispatch() -> None:
    class Counting(Posting):
        dispatched = 0

        def dispatch(self, event: Any, arg: Any = None) -> Outcome:
            self.dispatched += 1
            return super().dispatch(event, arg)

    machine = Counting()
    machine.taken()
    machine.post("seen", 2)
    assert (machine.taken(), machine.dispatched) == ("seen2", 0)


def test_H_200_post_before_start_waits_for_the_initial_step() -> None:
    machine = Posting(start=False)
    machine.post("seen", 2)
    machine.post("go")
    assert machine.log == []
    assert not machine.is_running
    machine.start()
    assert machine.taken() == "+A seen2 -A +B seen1 seen2 seen3 seen4 seen5"


@pytest.mark.parametrize("phase", ["complete", "terminated", "faulted"])
def test_H_200_post_on_a_dead_machine(phase: str) -> None:
    machine = life(phase)
    with pytest.raises(DispatchError):
        machine.post("b")


def test_H_200_any_and_unhashable_events_are_refused() -> None:
    for machine in (Posting(), Posting(start=False)):
        with pytest.raises(DispatchError):
            machine.post(ANY)
        with pytest.raises(TypeError):
            machine.post([])
        assert machine.snapshot()["posted"] == []


def test_H_200_post_of_any_in_a_step_is_refused() -> None:
    class Wrong(Logged):
        A = State()
        begin = on_initial(ROOT, target=A)

        @on_event(A, "x")
        def _x(self, event: Any) -> Outcome:
            self.post(event)
            return HANDLED

    machine = Wrong()
    with pytest.raises(DispatchError):
        machine.dispatch("x", ANY)
    with pytest.raises(TypeError):
        machine.dispatch("x", [])
    assert machine.dispatch("x", "unknown") is HANDLED


@pytest.mark.parametrize("by_post", [False, True])
def test_H_202_a_queued_event_that_raises_is_consumed_and_the_rest_waits(by_post: bool) -> None:
    machine = Posting()
    machine.taken()
    with pytest.raises(ArithmeticError):
        machine.dispatch("post and raise")
    assert machine.snapshot()["posted"] == [["raise", None], ["seen", 7]]
    with pytest.raises(ArithmeticError):
        machine.dispatch("seen", 6)
    assert machine.taken() == "raise"
    assert machine.snapshot()["posted"] == [["seen", 7]]
    if by_post:
        machine.post("seen", 6)
    else:
        assert machine.dispatch("seen", 6) is HANDLED
    assert machine.taken() == "seen7 seen6"
    assert machine.snapshot()["posted"] == []


def test_H_202_leftovers_may_end_the_machine_before_the_new_event() -> None:
    machine = Posting()
    with pytest.raises(ArithmeticError):
        machine.dispatch("post and raise, then finish")
    machine.taken()
    with pytest.raises(DispatchError):
        machine.dispatch("seen", 1)
    assert machine.is_complete
    assert machine.taken() == "-A"


def test_H_202_refused_events_leave_the_leftovers_alone() -> None:
    machine = Posting()
    with pytest.raises(ArithmeticError):
        machine.dispatch("post and raise")
    before = machine.snapshot()
    for wrong, error in ((ANY, DispatchError), ([], TypeError)):
        with pytest.raises(error):
            machine.dispatch(wrong)
        assert machine.snapshot() == before


# Deferral -----------------------------------------------------------------------------------------


class Deferring(Logged):
    """Busy defers; Idle takes one event at a time."""

    Busy = State(defer=["job", "stale", "odd"])
    Nested = State(parent=Busy)
    Deeper = State(parent=Nested)
    Idle = State()
    Open = State()
    begin = on_initial(ROOT, target=Busy)
    busy_initial = on_initial(Busy, target=Nested)
    nested_initial = on_initial(Nested, target=Deeper)
    to_idle = on_event(ROOT, "idle", target=Idle)
    to_open = on_event(ROOT, "open", target=Open)
    to_busy = on_event(ROOT, "busy", target=Busy)
    allowed = False

    @on_event(Busy, "job", guard=lambda self, arg: self.allowed)
    def _allowed(self, arg: Any) -> Outcome:
        self.note(f"allowed{arg}")
        return HANDLED

    @on_event(Deeper, "odd", guard=lambda self, arg: self.allowed)
    def _odd(self, arg: Any) -> Outcome:
        self.note("odd")
        return UNHANDLED

    @on_event(Idle, "job", target=Busy)
    def _start(self, arg: Any) -> None:
        self.note(f"job{arg}")

    @on_event(Open, "job")
    def _work(self, arg: Any) -> Outcome:
        self.note(f"work{arg}")
        if arg == "raise":
            raise ArithmeticError
        return HANDLED


def deferring(*jobs: Any, observer: Any = None) -> Deferring:
    machine = Deferring(observer=observer)
    for job in jobs:
        assert machine.dispatch("job", job) is DEFERRED
    machine.taken()
    return machine


def queue(machine: Deferring) -> list[Any]:
    return [arg for _, arg in machine.snapshot()["deferred"]]


def test_H_210_an_event_waits_unless_a_specific_candidate_takes_it() -> None:
    machine = deferring(1)
    machine.allowed = True
    assert machine.dispatch("job", 2) is HANDLED
    assert machine.taken() == "allowed2"
    assert queue(machine) == [1]
    assert Deferring.Busy.defer == frozenset({"job", "stale", "odd"})


def test_H_210_a_handler_that_declined_lets_an_outer_state_defer() -> None:
    machine = deferring()
    machine.allowed = True
    assert machine.dispatch("odd") is DEFERRED
    assert machine.taken() == "odd"


def test_H_210_nested_states_come_first() -> None:
    class Nested(Logged):
        A = State(defer=["x", "y"])
        B = State(parent=A)
        C = State(parent=B, defer=["z"])
        begin = on_initial(ROOT, target=C)
        a_initial = on_initial(A, target=C)
        b_initial = on_initial(B, target=C)

        @on_event(B, "x")
        def _x(self, arg: Any) -> Outcome:
            self.note("specific")
            return HANDLED

        @on_event(C, ANY)
        def _any(self, arg: Any, event: Any) -> Outcome:
            self.note(f"any {event}")
            return UNHANDLED

        @on_event(A, ANY)
        def _outer(self, arg: Any, event: Any) -> Outcome:
            self.note("outer")
            return HANDLED

    machine = Nested()
    machine.taken()
    assert machine.dispatch("x") is HANDLED
    assert machine.dispatch("y") is DEFERRED
    assert machine.dispatch("z") is DEFERRED
    assert machine.dispatch("w") is HANDLED
    assert machine.taken() == "any x specific any y any w outer"


def test_H_211_deferred_is_true_and_reported() -> None:
    assert bool(DEFERRED)
    trace = Trace()
    machine = deferring(observer=trace)
    trace.taken()
    assert machine.dispatch("stale") is DEFERRED
    assert trace.taken()[-1] == "dispatch_result Busy 'stale' DEFERRED"


@pytest.mark.parametrize("observed", [False, True])
def test_H_212_recalled_oldest_first_one_at_a_time(observed: bool) -> None:
    machine = deferring(1, 2, 3, observer=Trace() if observed else None)
    machine.dispatch("idle")
    assert machine.taken() == ("-Deeper -Nested -Busy +Idle -Idle job1 +Busy +Nested +Deeper")
    assert queue(machine) == [2, 3]
    machine.dispatch("idle")
    assert queue(machine) == [3]
    machine.dispatch("job", 4)
    assert queue(machine) == [3, 4]


def test_H_212_a_state_that_takes_them_all_gets_them_in_order() -> None:
    machine = deferring(1, 2, 3)
    machine.dispatch("open")
    assert machine.taken() == "-Deeper -Nested -Busy +Open work1 work2 work3"
    assert queue(machine) == []


def test_H_212_an_unhandled_recall_is_dropped() -> None:
    machine = deferring()
    machine.dispatch("stale")
    machine.dispatch("job", 1)
    machine.dispatch("open")
    assert machine.taken() == "-Deeper -Nested -Busy +Open work1"
    assert machine.snapshot()["deferred"] == []


def test_H_212_internal_events_recall_nothing() -> None:
    machine = deferring(1)
    machine.allowed = True
    machine.dispatch("job", 2)
    assert queue(machine) == [1]
    machine.dispatch("busy")
    assert queue(machine) == []
    assert machine.log[-1] == "allowed1"


def test_H_212_recalls_come_before_posted_events_and_after_completions() -> None:
    class Ordered(Logged):
        A = State(defer=["x"])
        Passing = State()
        B = State()
        begin = on_initial(ROOT, target=A)
        passed = on_completion(Passing, target=B)

        @on_event(A, "go", target=Passing)
        def _go(self, arg: Any) -> None:
            self.post("posted")

        @on_event(B, "x", "posted")
        def _see(self, arg: Any) -> Outcome:
            self.note(str(self.event))
            return HANDLED

    machine = Ordered()
    machine.dispatch("x")
    machine.taken()
    machine.dispatch("go")
    assert machine.taken() == "-A +Passing -Passing +B x posted"


@pytest.mark.parametrize("observed", [False, True])
def test_H_212_an_event_deferred_again_keeps_its_position(observed: bool) -> None:
    class Choosy(Logged):
        First = State(defer=["a", "b", "c", "d"])
        Second = State(defer=["a", "c"])
        begin = on_initial(ROOT, target=First)
        go = on_event(First, "go", target=Second)

        @on_event(Second, "b", "d")
        def _take(self, arg: Any) -> Outcome:
            self.note(f"{self.event}")
            return HANDLED

    machine = Choosy(observer=Trace() if observed else None)
    for event in "abcd":
        assert machine.dispatch(event) is DEFERRED
    machine.taken()
    machine.dispatch("go")
    assert machine.taken() == "-First +Second b d"
    assert machine.snapshot()["deferred"] == [["a", None], ["c", None]]


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_H_191_a_copy_goes_on_with_an_interrupted_recall(how: Any) -> None:
    machine = deferring(1, "raise", 2)
    with pytest.raises(ArithmeticError):
        machine.dispatch("open")
    twin = how(machine)
    twin.taken()
    twin.dispatch("unknown")
    assert twin.taken() == "work2"


def test_H_202_a_recalled_event_that_raises_is_consumed() -> None:
    machine = deferring(1, "raise", 2, 3)
    with pytest.raises(ArithmeticError):
        machine.dispatch("open")
    assert machine.taken() == "-Deeper -Nested -Busy +Open work1 workraise"
    assert queue(machine) == [2, 3]
    assert machine.dispatch("unknown") is UNHANDLED
    assert machine.taken() == "work2 work3"


def test_H_210_none_may_be_deferred() -> None:
    class Nothing(Logged):
        A = State(defer=[None])
        B = State()
        begin = on_initial(ROOT, target=A)
        go = on_event(A, "go", target=B)

        @on_event(B, None)
        def _take(self, arg: Any) -> Outcome:
            self.note(f"none {self.event} {arg}")
            return HANDLED

    machine = Nothing()
    assert machine.dispatch(None, 3) is DEFERRED
    machine.dispatch("go")
    assert machine.taken() == "+A -A +B none None 3"
