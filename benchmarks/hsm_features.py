"""Two small machines for single features, ours and written by hand.

`Passing` has entry and exit handlers that take the event's argument; `Timed` has a timer in one of
its two states. Both go from one state to the other and back.
"""

from __future__ import annotations

import time

from tensor_pool.hsm import (
    HANDLED,
    ROOT,
    UNHANDLED,
    Machine,
    Outcome,
    State,
    on_entry,
    on_event,
    on_exit,
    on_initial,
    on_timeout,
)


class Passing(Machine):
    A = State()
    B = State()
    begin = on_initial(ROOT, target=A)
    go = on_event(A, "go", target=B)
    back = on_event(B, "go", target=A)

    def __init__(self) -> None:
        self.count = 0

    @on_entry(A)
    @on_entry(B)
    def enter(self, arg: object) -> None:
        self.count += 1

    @on_exit(A)
    @on_exit(B)
    def leave(self, arg: object) -> None:
        self.count += 1


class Timed(Machine):
    A = State()
    B = State()
    begin = on_initial(ROOT, target=A)
    go = on_event(A, "go", target=B)
    back = on_event(B, "go", target=A)
    late = on_timeout(B, 1000.0, target=A)

    def __init__(self) -> None:
        self.count = 0

    @on_entry(A)
    @on_entry(B)
    def enter(self) -> None:
        self.count += 1


class _ByHand:
    """A table for each state, straight-line transitions, a re-entrancy guard."""

    def __init__(self) -> None:
        self.count = 0
        self.busy = False
        self.in_a = True
        self.deadline: float | None = None
        self.enter(None)

    def dispatch(self, event: str, arg: object = None) -> Outcome:
        if self.busy:
            raise RuntimeError("dispatch during a step")
        self.busy = True
        try:
            if event != "go":
                return UNHANDLED
            return self.a_to_b(arg) if self.in_a else self.b_to_a(arg)
        finally:
            self.busy = False

    def enter(self, arg: object) -> None:
        self.count += 1

    def a_to_b(self, arg: object) -> Outcome:
        raise NotImplementedError

    def b_to_a(self, arg: object) -> Outcome:
        raise NotImplementedError


class PassingByHand(_ByHand):
    def leave(self, arg: object) -> None:
        self.count += 1

    def a_to_b(self, arg: object) -> Outcome:
        self.leave(arg)
        self.enter(arg)
        self.in_a = False
        return HANDLED

    def b_to_a(self, arg: object) -> Outcome:
        self.leave(arg)
        self.enter(arg)
        self.in_a = True
        return HANDLED


class TimedByHand(_ByHand):
    def a_to_b(self, arg: object) -> Outcome:
        self.enter(arg)
        self.deadline = time.monotonic() + 1000.0
        self.in_a = False
        return HANDLED

    def b_to_a(self, arg: object) -> Outcome:
        self.deadline = None
        self.enter(arg)
        self.in_a = True
        return HANDLED


PAIRS = (
    ("entry and exit take the argument", Passing, PassingByHand),
    ("a timer is armed and disarmed", Timed, TimedByHand),
)
