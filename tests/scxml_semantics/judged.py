"""Machines that end in `passed` or `failed`, as the tests of the W3C SCXML suite do.

The translation is the same everywhere. Executable content is Python in handlers; `<raise>` is
`post`; an eventless transition is a completion. `<send>` to the own session is `send`: it queues
outside of the machine, and the queue is dispatched event by event once the machine is idle. An
error in executable content is an exception here: `attempt` catches it and posts `error.execution`,
as an SCXML platform does by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensor_pool.hsm import (
    ANY,
    ROOT,
    Final,
    Machine,
    State,
    on_completion,
    on_entry,
    on_event,
    on_initial,
)


class Judged(Machine, abstract=True):
    """A family base with the two outcomes and the queue of external events."""

    passed = Final()
    failed = Final()

    def __init__(self) -> None:
        self.outside: deque[tuple[str, Any]] = deque()
        self.var: Any = 0
        super().__init__()

    def send(self, event: str, argument: Any = None) -> None:
        self.outside.append((event, argument))

    def attempt(self, code: Callable[[], object]) -> None:
        """Run executable content; an error ends it and becomes an event."""
        try:
            code()
        except Exception as error:  # noqa: BLE001 - any error becomes an event
            self.post("error.execution", error)


@dataclass(frozen=True)
class Case:
    """One test of the W3C suite.

    Attributes:
        number: the number of the test.
        machine: makes the machine.
        verdict: true for a machine that has passed.
        differs: the reason of a documented difference; then `verdict` describes our outcome.
    """

    number: str
    machine: Callable[[], Machine]
    verdict: Callable[[Any], bool]
    differs: str | None = None

    def run(self) -> Machine:
        made = self.machine()
        outside = getattr(made, "outside", ())
        while outside and made.is_running:
            made.dispatch(*outside.popleft())
        return made


CASES: dict[str, Case] = {}


def has_passed(machine: Machine) -> bool:
    return machine.current.name == "passed"


def register(
    number: str | int,
    machine: Callable[[], Machine],
    verdict: Callable[[Any], bool] = has_passed,
    differs: str | None = None,
) -> None:
    assert str(number) not in CASES, number
    CASES[str(number)] = Case(str(number), machine, verdict, differs)


def w3c(*numbers: str | int) -> Callable[[type[Machine]], type[Machine]]:
    """Register a machine class as the tests of these numbers."""

    def mark(machine: type[Machine]) -> type[Machine]:
        for number in numbers:
            register(number, machine)
        return machine

    return mark


def content(
    number: str | int,
    code: Callable[[Any], object],
    is_right: Callable[[Any], bool],
) -> None:
    """A state whose entry runs `code`; its completion passes if `is_right`, and fails otherwise."""

    class Content(Judged):
        working = State()
        begin = on_initial(ROOT, target=working)

        @on_entry(working)
        def enter(self) -> None:
            code(self)

        def right(self) -> bool:
            return is_right(self)

        good = on_completion(working, guard=right, target=Judged.passed)
        bad = on_completion(working, target=Judged.failed)

    register(number, Content)


def order(number: str | int, code: Callable[[Any], object], *events: str) -> None:
    """A state whose entry runs `code`; passed if exactly these events arrive, in this order."""
    body: dict[str, Any] = {}
    states = [State(f"waits for event {index}") for index, _ in enumerate(events)]
    for index, (state, event) in enumerate(zip(states, events, strict=True)):
        body[f"state_{index}"] = state
        target = [*states[1:], Judged.passed][index]
        body[f"edge_{index}"] = on_event(state, event, target=target)
        body[f"other_{index}"] = on_event(state, ANY, target=Judged.failed)
    body["begin"] = on_initial(ROOT, target=states[0])

    @on_entry(states[0])
    def enter(self: Any) -> None:
        code(self)

    body["enter"] = enter
    register(number, type(Judged)(f"Order{number}", (Judged,), body))
