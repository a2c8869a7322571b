"""Small machines for single features, ours and written by hand.

`Passing` has entry and exit handlers that take the event's argument; `Timed` has a timer in one of
its two states. Both go from one state to the other and back. `Regions` has two regions of two
states that both take the event; by hand these are two machines that are dispatched to in turn.
"""

from __future__ import annotations

import time

from tensor_pool.hsm import (
    HANDLED,
    ROOT,
    UNHANDLED,
    Machine,
    Outcome,
    Region,
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


class Regions(Machine):
    Both = State()
    Left = Region(Both)
    Right = Region(Both)
    A = State(parent=Left)
    B = State(parent=Left)
    C = State(parent=Right)
    D = State(parent=Right)
    begin = on_initial(ROOT, target=Both)
    left = on_initial(Left, target=A)
    right = on_initial(Right, target=C)
    a_b = on_event(A, "go", target=B)
    b_a = on_event(B, "go", target=A)
    c_d = on_event(C, "go", target=D)
    d_c = on_event(D, "go", target=C)

    def __init__(self) -> None:
        self.count = 0

    @on_entry(A)
    @on_entry(B)
    @on_entry(C)
    @on_entry(D)
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


class _OneOfTwo(_ByHand):
    def a_to_b(self, arg: object) -> Outcome:
        self.enter(arg)
        self.in_a = False
        return HANDLED

    def b_to_a(self, arg: object) -> Outcome:
        self.enter(arg)
        self.in_a = True
        return HANDLED


class TwoByHand:
    """Two machines instead of two regions."""

    def __init__(self) -> None:
        self.left, self.right = _OneOfTwo(), _OneOfTwo()

    @property
    def count(self) -> int:
        return self.left.count + self.right.count

    def dispatch(self, event: str, arg: object = None) -> Outcome:
        first = self.left.dispatch(event, arg)
        second = self.right.dispatch(event, arg)
        return HANDLED if first or second else UNHANDLED


PAIRS = (
    ("entry and exit take the argument", Passing, PassingByHand, None),
    ("a timer is armed and disarmed", Timed, TimedByHand, None),
    ("a machine with two regions", Regions, TwoByHand, 1.5),
)
