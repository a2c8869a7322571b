"""H-262, H-264: observers that come and go, the one that logs, and stopping."""

import logging
from typing import Any

import pytest

from tensor_pool.hsm import (
    DEEP,
    HANDLED,
    ROOT,
    DispatchError,
    Final,
    LoggingObserver,
    Outcome,
    State,
    Terminate,
    TransitionError,
    on_event,
    on_exit,
    on_initial,
)
from tests.hsm.logged import Logged, Trace


class Watched(Logged):
    A = State(defer=["wait"])
    A1 = State(parent=A)
    B = State()
    End = Final()
    Gone = Terminate()
    begin = on_initial(ROOT, target=A)
    into = on_initial(A, target=A1)
    go = on_event(A, "go", target=B)
    back = on_event(B, "back", target=A, history=DEEP)
    end = on_event(ROOT, "end", target=End)
    gone = on_event(ROOT, "gone", target=Gone)
    fault = on_event(ROOT, "fault", target=B)(lambda self, arg: 1 / 0)

    @on_event(ROOT, "call")
    def _call(self, call: Any) -> Outcome:
        call(self)
        return HANDLED

    @on_event(A, "choose", targets=B)
    def _choose(self, arg: Any) -> Outcome:
        return self.choice(ROOT, [], otherwise=self.B)


def test_H_262_an_observer_sees_what_happens_between_add_and_remove() -> None:
    machine = Watched()
    first, second = Trace(), Trace()
    machine.dispatch("go")
    machine.add_observer(first)
    machine.dispatch("back")
    machine.add_observer(second)
    assert machine.observer is not None
    machine.dispatch("go")
    machine.remove_observer(first)
    assert machine.observer is second
    machine.dispatch("back")
    machine.remove_observer(second)
    assert machine.observer is None
    machine.dispatch("go")
    assert [line for line in first.lines if line.startswith("dispatch_start")] == [
        "dispatch_start 'back' None",
        "dispatch_start 'go' None",
    ]
    assert [line for line in second.lines if line.startswith("dispatch_start")] == [
        "dispatch_start 'go' None",
        "dispatch_start 'back' None",
    ]


def test_H_262_a_machine_without_observers_is_back_on_the_plain_plans() -> None:
    """H-178"""
    machine = Watched()
    plain = machine._hsm_node
    trace = Trace()
    machine.add_observer(trace)
    assert machine._hsm_node is not plain
    machine.remove_observer(trace)
    assert machine._hsm_node is plain


def test_H_262_the_observer_given_at_construction_can_be_removed() -> None:
    trace = Trace()
    machine = Watched(observer=trace)
    machine.remove_observer(trace)
    trace.lines.clear()
    machine.dispatch("go")
    assert trace.lines == []


@pytest.mark.parametrize("start", [True, False])
def test_H_262_a_new_machine_keeps_whether_it_waits(start: bool) -> None:
    trace = Trace()

    class Early(Watched):
        def __init__(self, **keywords: Any) -> None:
            super().__init__(**keywords)
            self.add_observer(trace)

    machine = Early(start=start)
    assert machine.is_running is start
    assert bool(trace.lines) is start
    if not start:
        machine.start()
        assert trace.lines


@pytest.mark.parametrize("event", ["end", "gone", "fault"])
def test_H_262_machines_that_have_ended_may_be_observed(event: str) -> None:
    machine = Watched()
    if event == "fault":
        with pytest.raises(ZeroDivisionError):
            machine.dispatch(event)
    else:
        machine.dispatch(event)
    phases = (machine.is_complete, machine.is_terminated, machine.is_faulted)
    trace = Trace()
    machine.add_observer(trace)
    assert (machine.is_complete, machine.is_terminated, machine.is_faulted) == phases
    with pytest.raises(DispatchError):
        machine.dispatch("go")
    machine.reset()
    assert trace.lines


def test_H_262_wrong_uses() -> None:
    machine = Watched()
    trace = Trace()
    with pytest.raises(ValueError, match="does not observe"):
        machine.remove_observer(trace)
    machine.add_observer(trace)
    with pytest.raises(ValueError, match="already"):
        machine.add_observer(trace)
    for call in (
        lambda m: m.add_observer(Trace()),
        lambda m: m.remove_observer(trace),
    ):
        with pytest.raises(DispatchError, match="during a step"):
            machine.dispatch("call", call)
    machine.remove_observer(trace)


def test_H_262_logging_observer(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("test.machines")
    with caplog.at_level(logging.INFO, "test.machines"):
        machine = Watched(observer=LoggingObserver(logger))
        machine.dispatch("wait")
        machine.dispatch("choose")
        machine.dispatch("nothing")
        machine.dispatch("end")
    assert [record.getMessage() for record in caplog.records] == [
        "Watched: ROOT -> A1",
        "Watched: 'wait' is deferred in A1",
        "Watched: A1 -> B on 'choose'",
        "Watched: 'wait' is not handled in B",
        "Watched: 'nothing' is not handled in B",
        "Watched: B -> End on 'end'",
    ]
    assert {record.levelno for record in caplog.records} == {logging.INFO}


def test_H_262_logging_observer_goes_on_after_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "tensor_pool.hsm"):
        machine = Watched(observer=LoggingObserver(level=logging.DEBUG))
        with pytest.raises(ZeroDivisionError):
            machine.dispatch("fault")
        machine.reset()
        machine.dispatch("go")
    assert [record.getMessage() for record in caplog.records][-1] == "Watched: A1 -> B on 'go'"


@pytest.mark.parametrize("observed", [False, True])
def test_H_264_stop_leaves_from_the_inside_out_and_makes_the_machine_new(observed: bool) -> None:
    machine = Watched(observer=Trace() if observed else None)
    machine.dispatch("go")
    machine.dispatch("back")
    machine.dispatch("wait")
    machine.taken()
    machine.stop()
    assert machine.taken() == "-A1 -A"
    assert machine.current is ROOT
    assert not machine.is_running
    assert not machine.is_in(ROOT)
    assert machine.snapshot()["lifecycle"] == "new"
    assert machine.snapshot()["history"] == {}
    with pytest.raises(DispatchError):
        machine.dispatch("go")
    machine.start()
    assert machine.taken() == "+A +A1"
    assert machine.dispatch("go") is HANDLED


@pytest.mark.parametrize("event", ["end", "gone"])
def test_H_264_a_machine_that_has_ended_is_new_again(event: str) -> None:
    machine = Watched()
    machine.dispatch(event)
    machine.taken()
    machine.stop()
    assert machine.taken() == ""
    machine.start()
    assert machine.is_running


def test_H_264_stop_is_refused_in_a_step_and_after_a_fault() -> None:
    machine = Watched()
    with pytest.raises(DispatchError, match="during a step"):
        machine.dispatch("call", lambda m: m.stop())
    with pytest.raises(ZeroDivisionError):
        machine.dispatch("fault")
    with pytest.raises(DispatchError, match="faulted"):
        machine.stop()


def test_H_264_an_exit_handler_that_raises_faults_the_machine() -> None:
    """H-161 H-086 H-160"""

    class Failing(Watched):
        @on_exit(Watched.A)
        def _fail(self) -> None:
            for call in (lambda: self.transition(self.B), lambda: self.stop()):
                with pytest.raises((TransitionError, DispatchError)):
                    call()
            raise ArithmeticError

    machine = Failing()
    with pytest.raises(ArithmeticError):
        machine.stop()
    assert machine.is_faulted
    assert machine.current is Watched.A1
    machine.reset()
    assert machine.is_running
