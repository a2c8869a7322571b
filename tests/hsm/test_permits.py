"""The transitions that a handler may take: several handlers, events and targets that meet."""

from typing import Any

import pytest

from tensor_pool.hsm import (
    HANDLED,
    ROOT,
    UNHANDLED,
    DispatchError,
    Outcome,
    State,
    TransitionError,
    on_event,
    on_initial,
)
from tests.hsm.logged import Logged, Trace

GO = ("go", 1)


def same_but_another(event: tuple[Any, ...]) -> tuple[Any, ...]:
    first, second = event
    other = (first, second)
    assert other == event
    assert other is not event
    return other


class Meeting(Logged):
    """In A1 three handlers lead to B, from sources of their own; B has one for the same event."""

    A = State()
    A1 = State(parent=A)
    B = State()
    C = State()

    begin = on_initial(ROOT, target=A)
    into_a = on_initial(A, target=A1)

    @on_event(A1, GO, targets=B)
    def _go(self, ask: Any) -> Outcome:
        return HANDLED if ask is None else ask(self)

    @on_event(A, GO, targets=C)
    def _go_of_a(self, ask: Any) -> Outcome:
        self.note("A asked")
        return ask(self)

    @on_event(A, "by name", targets=(A1, B))
    def _by_name(self, ask: Any) -> Outcome:
        return ask(self)

    @on_event(A1, "guarded", guard=lambda self, ask: True, targets=B)
    def _guarded(self, ask: Any) -> Outcome:
        return ask(self)

    @on_event(B, GO, "by name", "guarded", targets=(B, C))
    def _go_on(self, ask: Any) -> Outcome:
        return self.transition(self.C)


def to_b(m: Meeting) -> Outcome:
    result = m.transition(m.B, effect=lambda: m.note(f"{m.source.name} {m.current.name}"))
    m.note(f"{m.source.name} {m.event}")
    return result


@pytest.fixture(params=[False, True], ids=["plain", "observed"])
def machine(request: Any) -> Meeting:
    made = Meeting(observer=Trace() if request.param else None)
    made.taken()
    return made


@pytest.mark.parametrize(
    ("event", "log"),
    [
        (GO, f"-A1 -A A1 ROOT +B A1 {GO}"),
        (same_but_another(GO), f"-A1 -A A1 ROOT +B A1 {GO}"),
        ("by name", "-A1 -A A ROOT +B A by name"),
        ("guarded", "-A1 -A A1 ROOT +B A1 guarded"),
    ],
)
def test_handlers_of_one_leaf_with_one_target_each_take_their_own_transition(
    machine: Meeting, event: Any, log: str
) -> None:
    """H-065 H-085"""
    for _ in range(2):
        assert machine.dispatch(event, to_b) is HANDLED
        assert machine.taken() == log
        assert (machine.current, machine.source, machine.event) == (machine.B, machine.B, None)
        machine.reset()
        machine.taken()


@pytest.mark.parametrize("event", [GO, same_but_another(GO), "by name", "guarded"])
def test_H_065_the_event_is_the_object_dispatched_also_after_the_transition(
    machine: Meeting, event: Any
) -> None:
    seen: list[Any] = []

    def ask(m: Meeting) -> Outcome:
        seen.append(m.event)
        result = m.transition(m.B, effect=lambda: seen.append(m.event))
        seen.append(m.event)
        return result

    machine.dispatch(event, ask)
    assert len(seen) == 3
    assert all(each is event for each in seen)


@pytest.mark.parametrize("event", [GO, same_but_another(GO), "by name", "guarded"])
def test_H_086_the_next_states_permission_for_the_same_event_is_not_the_handlers(
    machine: Meeting, event: Any
) -> None:
    def twice(m: Meeting) -> Outcome:
        to_b(m)
        for target in (m.B, m.C):
            with pytest.raises(TransitionError):
                m.transition(target)
        with pytest.raises(TransitionError):
            m.choice(ROOT, [], otherwise=m.C)
        return HANDLED

    machine.dispatch(event, twice)
    assert machine.current is machine.B
    assert machine.dispatch(event) is HANDLED
    assert machine.current is machine.C


@pytest.mark.parametrize("event", [GO, same_but_another(GO)])
def test_H_087_an_outer_handler_has_none_of_the_targets_of_one_that_declined(
    machine: Meeting, event: Any
) -> None:
    def ask(m: Meeting) -> Outcome:
        if m.source is m.A1:
            return UNHANDLED
        with pytest.raises(TransitionError):
            m.transition(m.B)
        return m.transition(m.C)

    assert machine.dispatch(event, ask) is HANDLED
    assert machine.taken() == "A asked -A1 -A +C"


@pytest.mark.parametrize("answer", [UNHANDLED, None, 1])
@pytest.mark.parametrize("event", [GO, same_but_another(GO), "by name", "guarded"])
def test_H_066_a_wrong_answer_after_the_transition_is_an_error(
    machine: Meeting, event: Any, answer: Any
) -> None:
    def ask(m: Meeting) -> Any:
        to_b(m)
        return answer

    with pytest.raises(DispatchError, match=r"_g|_by_name"):
        machine.dispatch(event, ask)
    assert (machine.current, machine.is_running) == (machine.B, True)
    assert machine.dispatch(GO) is HANDLED


@pytest.mark.parametrize("event", [GO, "by name", "guarded"])
def test_H_086_a_refused_call_leaves_the_permission(machine: Meeting, event: Any) -> None:
    """H-087"""

    def ask(m: Meeting) -> Outcome:
        for target, effect in ((m.C, None), (m.B, 1), ([], None), ("B", None)):
            with pytest.raises(TransitionError):
                m.transition(target, effect)  # type: ignore[arg-type]
        return to_b(m)

    assert machine.dispatch(event, ask) is HANDLED
    for target in (machine.B, machine.C):
        with pytest.raises(TransitionError):
            machine.transition(target)
