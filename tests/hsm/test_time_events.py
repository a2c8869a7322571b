"""Section 23: time events on a clock that the test moves."""

import copy
import json
import math
import pickle
import random
from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    UNHANDLED,
    Coverage,
    DefinitionError,
    DispatchError,
    Final,
    Machine,
    Outcome,
    State,
    Terminate,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_initial,
    on_timeout,
    paths,
)
from tensor_pool.hsm.diagram import render
from tensor_pool.hsm.scxml import ScxmlError, export_scxml
from tests.hsm.logged import Logged, Trace


class Clock:
    """Seconds that a test sets; counts how often they are read."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


class Timed(Logged, abstract=True):
    def __init__(self, clock: Clock | None = None, **keywords: Any) -> None:
        self.clock = clock or Clock()
        super().__init__(**keywords)

    def after(self, seconds: float) -> bool:
        self.clock.now += seconds
        return self.poll()


class Call(Timed):
    Idle = State()
    Greeting = State()
    Talking = State(defer=["later"])
    Fast = State(parent=Talking)
    Slow = State(parent=Talking)
    Lost = State()
    Done = Final()
    Gone = Terminate()

    begin = on_initial(ROOT, target=Idle)
    talking = on_initial(Talking, target=Fast)
    dial = on_event(Idle, "dial", target=Greeting)
    give_up = on_timeout(Greeting, 2.0, target=Lost)
    again = on_timeout(Greeting, 0.5, guard=lambda self: self.retries > 0, target=Greeting)
    answer = on_event(Greeting, "answer", target=Talking)
    slower = on_event(Fast, "slower", target=Slow)
    hang_up = on_event(ROOT, "hang up", target=Idle)
    back = on_event(Idle, "back", target=Talking, history=DEEP)
    end = on_event(ROOT, "end", target=Done)
    gone = on_event(ROOT, "gone", target=Gone)
    fail = on_event(ROOT, "fail", target=Idle)(lambda self, arg: 1 / 0)
    retries = 0
    period = 1.0

    @on_event(Greeting, "note")
    def _note(self, arg: Any) -> Outcome:
        return HANDLED

    @on_timeout(Talking, lambda self: self.period, every=True)
    def _beat(self) -> Outcome:
        self.note("beat")
        return HANDLED

    @on_timeout(Slow, 3, targets=(Fast, Lost))
    def _slow(self) -> Outcome:
        return self.transition(self.Fast, effect=self.noting("*"))

    @on_event(ROOT, ANY)
    def _any(self, arg: Any, event: Any) -> Outcome:
        self.note(f"any {event}")
        return UNHANDLED


def greeting(**keywords: Any) -> Call:
    machine = Call(**keywords)
    machine.dispatch("dial")
    machine.taken()
    return machine


def talking(**keywords: Any) -> Call:
    machine = greeting(**keywords)
    machine.dispatch("answer")
    machine.taken()
    return machine


@pytest.mark.parametrize("observed", [False, True])
def test_H_240_an_edge_a_guard_a_handler_and_a_period(observed: bool) -> None:
    trace = Trace() if observed else None
    machine = greeting(observer=trace)
    assert machine.next_deadline == 100.5
    assert not machine.after(0.5)  # the guard is false: this one is lost
    assert machine.next_deadline == 102.0
    assert machine.after(1.5)
    assert machine.taken() == "-Greeting +Lost"
    assert machine.next_deadline is None
    machine = talking(observer=trace)
    machine.dispatch("slower")
    machine.taken()
    assert machine.after(2.9)
    assert machine.taken() == "beat"  # two periods have passed, one beat
    assert machine.after(0.1)
    assert machine.taken() == "beat -Slow * +Fast"


@pytest.mark.parametrize("after", [0, -1, math.nan, math.inf, True, "1", None, lambda: 1])
def test_H_240_wrong_times_are_definition_errors(after: Any) -> None:
    with pytest.raises(DefinitionError, match=r"after=|called as"):

        class Wrong(Machine):
            A = State()
            begin = on_initial(ROOT, target=A)
            late = on_timeout(A, after, target=A)


@pytest.mark.parametrize("owner", ["ROOT", "End", "Gone", "Nowhere"])
def test_H_240_states_that_have_no_timers(owner: str) -> None:
    with pytest.raises(DefinitionError):

        class Wrong(Machine):
            A = State()
            End = Final()
            Gone = Terminate()
            begin = on_initial(ROOT, target=A)
            late = on_timeout(owner, 1, target=A)


@pytest.mark.parametrize(
    "declaration",
    [
        lambda: on_timeout("A", 1),
        lambda: on_timeout("A", 1, target="A", targets="A"),
        lambda: on_timeout("A", 1, target="A", history=DEEP),
        lambda: on_timeout("A", 1, every=1, target="A"),  # type: ignore[call-overload]
        lambda: on_timeout("A", 1, target="A", guard=lambda self, arg: True),
        lambda: on_timeout("A", 1)(lambda self, arg: HANDLED),
    ],
)
def test_H_240_the_rules_of_other_declarations_hold(declaration: Any) -> None:
    with pytest.raises(DefinitionError):
        type(Machine)(
            "Wrong",
            (Machine,),
            {"A": State("A"), "begin": on_initial(ROOT, target="A"), "late": declaration()},
        )


@pytest.mark.parametrize("period", [0, -2.0, math.nan, True, "soon", None])
def test_H_240_wrong_times_at_run_time(period: Any) -> None:
    """The handler was entered: the error leaves a transition, and faults the machine (H-161)."""
    machine = greeting()
    machine.period = period
    with pytest.raises(DispatchError, match="number of seconds"):
        machine.dispatch("answer")
    assert machine.is_faulted
    assert machine.next_deadline is None


def test_H_241_armed_after_the_entry_by_one_reading_and_disarmed_before_the_exit() -> None:
    seen: list[Any] = []

    class Watching(Timed):
        A = State()
        B = State()
        begin = on_initial(ROOT, target=B)
        go = on_event(B, "go", target=A)
        leave = on_event(A, "leave", target=B)
        one = on_timeout(A, 1, target=B)
        two = on_timeout(A, 2, target=B)

        @on_entry(A)
        def _enter(self) -> None:
            seen.append(self.next_deadline)
            self.clock.now += 10

        @on_exit(A)
        def _exit(self) -> None:
            seen.append(self.next_deadline)

    machine = Watching()
    machine.clock.reads = 0
    machine.dispatch("go")
    assert machine.clock.reads == 1
    assert machine.next_deadline == 111.0
    machine.dispatch("leave")
    assert seen == [None, None]


def test_H_241_a_self_transition_arms_anew_and_internal_ones_do_not() -> None:
    machine = greeting()
    machine.retries = 1
    machine.clock.now += 0.4
    machine.dispatch("note")
    assert machine.next_deadline == 100.5
    assert machine.after(0.1)
    assert machine.taken() == "-Greeting +Greeting"
    assert machine.next_deadline == 101.0
    machine = talking()
    machine.clock.now += 0.4
    machine.dispatch("slower")
    assert machine.next_deadline == 101.0  # of Talking, which stayed active


def test_H_241_a_timer_of_a_state_that_was_left_never_fires() -> None:
    machine = greeting()
    machine.clock.now += 5
    machine.dispatch("hang up")
    machine.taken()
    assert not machine.poll()
    assert machine.taken() == ""
    machine.dispatch("dial")
    assert machine.next_deadline == 105.5


def test_H_242_due_timers_run_one_by_one_earliest_first_then_as_declared() -> None:
    class Many(Timed):
        A = State()
        B = State()
        begin = on_initial(ROOT, target=A)

        @on_timeout(A, 3)
        def _third(self) -> Outcome:
            self.note("third")
            return HANDLED

        @on_timeout(A, 2)
        def _first(self) -> Outcome:
            self.note(f"first {self.event!r} {self.source.name}")
            self.post("posted")
            return HANDLED

        @on_timeout(A, 2)
        def _second(self) -> Outcome:
            self.note("second")
            return UNHANDLED

        @on_event(ROOT, "posted")
        def _posted(self, arg: Any) -> Outcome:
            self.note("posted")
            self.clock.now += 1  # the clock is read anew: the next one is due now
            return HANDLED

        leave = on_timeout(A, 4, target=B)
        never = on_timeout(A, 4, target=A)

    machine = Many()
    machine.taken()
    assert machine.after(2)
    assert machine.taken() == "first after 2 s A posted second third"
    assert machine.after(1)
    assert machine.taken() == "-A +B"
    assert machine.next_deadline is None
    assert not machine.after(100)


def test_H_242_a_periodic_timer_keeps_its_rhythm_and_skips_what_was_missed() -> None:
    machine = talking()
    assert machine.after(1.25)
    assert machine.next_deadline == 102.0
    assert machine.after(3600)
    assert machine.taken() == "beat beat"
    assert machine.next_deadline == 3702.0
    machine.period = 10.0
    machine.after(1)
    assert machine.next_deadline == 3712.0


def test_H_242_poll_is_a_driving_call() -> None:
    """H-068 H-160 H-202"""
    with pytest.raises(DispatchError, match="start"):
        Call(start=False).poll()
    machine = Call()

    class Calling(Call):
        @on_event(ROOT, "call")
        def _call(self, arg: Any) -> Outcome:
            with pytest.raises(DispatchError, match="during a step"):
                self.poll()
            self.post("dial")
            raise ArithmeticError

    machine = Calling()
    with pytest.raises(ArithmeticError):
        machine.dispatch("call")
    assert not machine.poll()  # works off what the failed step left over
    assert machine.current is Call.Greeting
    machine.dispatch("end")
    with pytest.raises(DispatchError, match="complete"):
        machine.poll()


def test_H_242_an_exception_of_a_time_event_ends_its_step_only() -> None:
    class Failing(Call):
        @on_timeout(Call.Greeting, 1)
        def _fail(self) -> Outcome:
            raise ArithmeticError

    machine = Failing()
    machine.dispatch("dial")
    with pytest.raises(ArithmeticError):
        machine.after(1)
    assert machine.is_running
    assert machine.after(1)
    assert machine.current is Call.Lost


def test_H_243_any_defer_and_events_do_not_see_time_events() -> None:
    machine = greeting()
    machine.after(0.5)
    assert machine.taken() == ""  # ANY of ROOT did not see the one that was lost
    assert all(isinstance(event, str) for event in Call.events)


def test_H_243_traces_edges_coverage_lint_and_diagrams_show_them() -> None:
    trace = Trace()
    machine = greeting(observer=trace)
    coverage = Coverage(Call)
    machine.add_observer(coverage)
    trace.lines.clear()
    machine.after(2)
    assert trace.lines[:3] == [
        "dispatch_start after 0.5 s None",
        "dispatch_attempt Greeting after 0.5 s",
        "dispatch_result Greeting after 0.5 s UNHANDLED",
    ]
    assert "dispatch_result Greeting after 2.0 s HANDLED" in trace.lines
    timed = [edge for edge in Call.edges if str(edge.event).startswith(("after", "every"))]
    assert [(str(e.event), e.target and e.target.name, e.kind) for e in timed] == [
        ("after 2.0 s", "Lost", "external"),
        ("after 0.5 s", "Greeting", "self"),
        ("every <lambda>", None, "internal"),
        ("after 3 s", "Fast", "external"),
        ("after 3 s", "Lost", "external"),
    ]
    assert coverage.edges[timed[0]] == 1
    assert coverage.edges[timed[1]] == 0
    assert Call.unreachable() == ()
    assert "after 2.0 s" in render(Call, "mermaid")
    reached = {path.edge: path.events for path in paths(Call)}
    assert [str(event) for event in reached[timed[0]]] == ["dial", "after 2.0 s"]
    with pytest.raises(ScxmlError, match="Greeting has time events"):
        export_scxml(Call)


def test_H_244_snapshots_carry_the_remaining_time() -> None:
    machine = greeting()
    machine.clock.now += 0.25
    snapshot = json.loads(json.dumps(machine.snapshot()))
    assert snapshot["timers"] == [["Greeting", 0, 1.75], ["Greeting", 1, 0.25]]
    other = Call(Clock(), start=False)
    other.clock.now = 5000.0
    other.restore(snapshot)
    assert other.next_deadline == 5000.25
    other.restore(snapshot, elapsed=1.0)
    assert other.next_deadline == 4999.25
    assert not other.poll()  # the guard is false
    assert other.next_deadline == 5000.75
    assert other.after(1)
    assert other.current is Call.Lost


def test_H_244_a_snapshot_from_before_there_were_timers_arms_them_anew() -> None:
    """H-258"""
    machine = greeting()
    snapshot = machine.snapshot()
    del snapshot["timers"], snapshot["format"]
    machine.clock.now += 50
    machine.restore(snapshot)
    assert machine.next_deadline == 150.5


@pytest.mark.parametrize(
    "timers",
    [
        5,
        [5],
        [["Greeting", 0]],
        [["Greeting", 2, 1.0]],
        [["Greeting", True, 1.0]],
        [["Greeting", 0, "1"]],
        [["Greeting", 0, math.nan]],
        [["Talking", 0, 1.0]],
        [["Idle", 0, 1.0]],
        [["Nowhere", 0, 1.0]],
    ],
)
def test_H_244_impossible_timers_are_refused(timers: Any) -> None:
    """H-222"""
    machine = greeting()
    snapshot = {**machine.snapshot(), "timers": timers}
    with pytest.raises(ValueError, match="no snapshot of Call"):
        machine.restore(snapshot)
    with pytest.raises(ValueError, match="elapsed"):
        machine.restore(machine.snapshot(), elapsed=-1)
    assert machine.next_deadline == 100.5


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_H_244_copies_go_on_with_the_remaining_time(copied: Any) -> None:
    machine = talking()
    machine.clock.now += 0.25
    other = copied(machine)
    assert other.next_deadline == 101.0
    assert other.after(0.75)
    assert other.next_deadline == 102.0
    assert machine.next_deadline == 101.0  # the original is not touched


def test_H_244_a_copy_that_gets_its_clock_late_arms_what_its_states_have_not_armed_since() -> None:
    class Late(Machine):
        A = State()
        B = State()
        C = State()
        begin = on_initial(ROOT, target=A)
        go = on_event(A, "go", target=B)
        back = on_event(B, "back", target=A)
        leave = on_event(ROOT, "leave", target=C)
        late = on_timeout(A, 8, target=B)

        def __init__(self, clock: Clock) -> None:
            self.clock = clock

        def __setstate__(self, state: Any) -> None:
            self.clock = Clock()  # and does not call that of Machine

    machine = Late(Clock())
    machine.clock.now += 3
    first, entered_again, left = (copy.copy(machine) for _ in range(3))
    assert first.next_deadline == 105.0
    entered_again.dispatch("go")
    entered_again.dispatch("back")
    assert entered_again.next_deadline == 108.0
    left.dispatch("leave")
    assert left.next_deadline is None


def test_H_241_several_timers_of_a_state_share_one_reading_of_the_clock() -> None:
    class Several(Timed):
        A = State()
        begin = on_initial(ROOT, target=A)
        one = on_timeout(A, 1, target=A)
        two = on_timeout(A, lambda self: 2.0, target=A)
        three = on_timeout(A, 3, target=A)

    machine: Any = Several()
    assert machine.clock.reads == 1
    assert [machine.next_deadline, machine.clock.reads] == [101.0, 1]


@pytest.mark.parametrize("event", ["end", "gone", "fail"])
def test_H_245_a_machine_that_has_ended_has_no_timer(event: str) -> None:
    machine = greeting()
    if event == "fail":
        with pytest.raises(ZeroDivisionError):
            machine.dispatch(event)
    else:
        machine.dispatch(event)
    assert machine.next_deadline is None
    machine.reset()
    assert machine.next_deadline is None
    machine.dispatch("dial")
    assert machine.next_deadline == 100.5
    machine.stop()
    assert machine.next_deadline is None


def test_the_clock_is_monotonic_time_unless_the_class_or_the_machine_has_another() -> None:
    class Own(Machine):
        A = State()
        begin = on_initial(ROOT, target=A)
        late = on_timeout(A, 7, target=A)

        def clock(self) -> float:
            return 3.0

    assert Own().next_deadline == 10.0
    assert Machine.clock() > 0


def test_random_times_fire_in_the_order_of_their_deadlines() -> None:
    """H-242 against a list that is sorted."""
    random.seed(7)
    for _ in range(50):
        delays = [random.choice([1, 2, 3, 5]) for _ in range(8)]
        fired: list[int] = []

        def timer(index: int, seconds: int, fired: list[int] = fired) -> Any:
            def fire(self: Any) -> Outcome:
                fired.append(index)
                return HANDLED

            return on_timeout("A", seconds)(fire)

        body = {f"t{index}": timer(index, delay) for index, delay in enumerate(delays)}
        body |= {"A": State("A"), "begin": on_initial(ROOT, target="A")}
        machine = type(Timed)("Random", (Timed,), body)()
        while machine.next_deadline is not None:
            machine.after(random.choice([0.5, 1, 4]))
        assert fired == sorted(range(8), key=lambda index: (delays[index], index))


def test_completions_follow_a_time_event_within_its_step() -> None:
    """H-135 H-242"""

    class Passing(Timed):
        A = State()
        B = State()
        C = State()
        begin = on_initial(ROOT, target=A)
        late = on_timeout(A, 1, target=B)
        on = on_completion(B, target=C)

    machine = Passing()
    assert machine.after(1)
    assert machine.current is Passing.C
