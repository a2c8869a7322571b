"""H-110: entry and exit handlers that take the argument of the event."""

import sys
from typing import Any

import pytest

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    Machine,
    Outcome,
    State,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_initial,
)
from tests.hsm.logged import Trace


class Taking(Machine):
    """Entry and exit of A and its children take the argument, those of B do not."""

    A = State()
    A1 = State(parent=A)
    A2 = State(parent=A, defer=["later"])
    B = State()
    B1 = State(parent=B)
    Passing = State()

    begin = on_initial(ROOT, target=A1)
    b_initial = on_initial(B, target=B1)
    edge = on_event(ROOT, "edge", target=A2)
    back = on_event(ROOT, "back", target=A, history=DEEP)
    to_b = on_event(A, "b", target=B)
    later = on_event(B, "later", target=A1)
    passing = on_event(ROOT, "pass", target=Passing)
    after = on_completion(Passing, target=A2)

    def __init__(self, **keywords: Any) -> None:
        self.log: list[Any] = []
        super().__init__(**keywords)

    @on_initial(A, targets=(A1, A2))
    def _decide(self) -> Outcome:
        return self.choice(self.A, [], otherwise=self.A2)

    @on_entry(A)
    @on_exit(A)
    def _a(self, arg: Any) -> None:
        self.log.append(("A", arg))

    @on_entry(ANY)
    def _enter(self, state: State, arg: Any) -> None:
        self.log.append((f"+{state.name}", arg))

    @on_exit(ANY)
    def _leave(self, state: State, *rest: Any) -> None:
        self.log.append((f"-{state.name}", *rest))

    @on_entry(B)
    def _b(self) -> None:
        self.log.append("B")

    @on_event(ROOT, "decide", targets=(A, B))
    def _event(self, arg: Any) -> Outcome:
        return self.transition(self.B, effect=lambda: self.log.append("*"))

    @on_event(ROOT, "choose", targets=(A1, A2))
    def _choose(self, arg: Any) -> Outcome:
        return self.choice(self.A, [(lambda: arg == 6, self.A1)], otherwise=self.A2)

    @on_event(ROOT, "recall", targets=A)
    def _recall(self, arg: Any) -> Outcome:
        return self.transition_history(self.A, DEEP)

    @on_event(ROOT, "post")
    def _post(self, arg: Any) -> Outcome:
        self.post("edge", "posted")
        return HANDLED

    @on_event(ROOT, "to A", targets=A)
    def _to_a(self, arg: Any) -> Outcome:
        return self.transition(self.A)


@pytest.fixture(params=[False, True], ids=["plain", "observed"])
def machine(request: Any) -> Taking:
    made = Taking(observer=Trace() if request.param else None)
    assert made.log == [("A", None), ("+A1", None)]
    made.log.clear()
    return made


@pytest.mark.parametrize(
    ("event", "log"),
    [
        ("edge", [("-A1", 5), ("A", 5), ("A", 5), ("+A2", 5)]),
        ("b", [("-A1", 5), ("A", 5), "B", ("+B1", 5)]),
        ("back", [("-A1", 5), ("A", 5), ("A", 5), ("+A1", 5)]),
        ("decide", [("-A1", 5), ("A", 5), "*", "B", ("+B1", 5)]),
        ("choose", [("-A1", 5), ("A", 5), ("A", 5), ("+A2", 5)]),
        ("recall", [("-A1", 5), ("A", 5), ("A", 5), ("+A1", 5)]),
        ("to A", [("-A1", 5), ("A", 5), ("A", 5), ("+A2", 5)]),
        ("post", [("-A1", "posted"), ("A", "posted"), ("A", "posted"), ("+A2", "posted")]),
        ("pass", [("-A1", 5), ("A", 5), ("+Passing", 5), ("-Passing", None), ("A", None),
                  ("+A2", None)]),
    ],
)  # fmt: skip
def test_H_110_the_argument_of_the_event_that_left_and_entered(
    machine: Taking, event: str, log: list[Any]
) -> None:
    for _ in range(2):
        assert machine.dispatch(event, 5)
        assert machine.log == log
        machine.reset()
        machine.log.clear()


def test_H_110_a_recalled_event_brings_its_own_argument(machine: Taking) -> None:
    machine.dispatch("edge", 1)
    machine.dispatch("later", 2)
    machine.log.clear()
    machine.dispatch("decide", 3)
    assert machine.log == [
        ("-A2", 3), ("A", 3), "*", "B", ("+B1", 3),
        ("-B1", 2), ("-B", 2), ("A", 2), ("+A1", 2),
    ]  # fmt: skip


def test_H_110_none_after_a_reset(machine: Taking) -> None:
    machine.dispatch("edge", 1)
    machine.log.clear()
    machine.reset()
    assert machine.log == [("A", None), ("+A1", None)]


def test_H_110_the_argument_is_not_kept_alive(machine: Taking) -> None:
    """H-197"""
    argument = object()
    before = sys.getrefcount(argument)
    for event in ("edge", "decide", "to A"):
        machine.dispatch(event, argument)
        machine.log.clear()
    assert sys.getrefcount(argument) == before


def test_H_110_copies_take_arguments_too(machine: Taking) -> None:
    fresh = Taking(start=False)
    fresh.restore(machine.snapshot())
    fresh.dispatch("decide", 8)
    assert fresh.log[0] == ("-A1", 8)
