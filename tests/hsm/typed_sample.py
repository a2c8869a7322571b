"""Correct and incorrect uses, for the type checker only; `test_typing.py` reads the comments.

A line that ends in `# error` is one that the checker must reject; every other line must pass.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, assert_type

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    UNHANDLED,
    Coverage,
    Edge,
    Final,
    Machine,
    Outcome,
    Region,
    State,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)


@dataclass
class Attach:
    stream: int


@dataclass
class Detach:
    reason: str


class Unhashable:
    """Its instances cannot be hashed, the class itself can."""

    __hash__ = None  # type: ignore[assignment]


class Event(Enum):
    TICK = 1


class Sample(Machine):
    Idle = State(defer=[Event.TICK, Attach])
    Busy = State()
    Inner = State(parent=Busy)
    Done = Final()
    Both = State()
    Left, Right = Region(Both), Region("Both", "right")
    InLeft, InRight = State(parent=Left), State(parent=Right)

    begin = on_initial(ROOT, target=Idle)
    left, right = on_initial(Left, target=InLeft), on_initial(Right, target=InRight)
    fork = on_event(Idle, "fork", target=(InLeft, "InRight"))
    fork_by_class = on_event(Inner, Attach, target=(InLeft, InRight))
    fork_wrong = on_event(Inner, "fork", target=(InLeft, 3))  # error
    default_wrong = on_history_default(Both, DEEP, target=(InLeft, InRight))  # error
    busy_initial = on_initial(Busy, target=Inner)
    bare = on_event(Idle, "bare", target="Busy")
    default = on_history_default(Busy, DEEP, target=Inner)
    recall = on_event(Idle, "recall", target=Busy, history=DEEP)
    done = on_completion(Inner, target=Done, guard=lambda self: False)

    def __init__(self, level: int) -> None:
        super().__init__(start=True)
        self.level = level

    @on_event(Idle, Attach, targets=(Busy, Inner))
    def attach(self, arg: Attach) -> Outcome:
        assert_type(arg.stream, int)
        if arg.stream < self.level:
            return UNHANDLED
        return self.transition(self.Busy, effect=lambda: None)

    @on_event(Idle, Attach)  # error
    def attach_wrong(self, arg: Detach) -> Outcome:
        return HANDLED

    @on_event(Busy, Attach, Detach)
    def either(self, arg: Attach | Detach) -> Outcome:
        return HANDLED

    @on_event(Busy, Attach, Detach)  # error
    def either_wrong(self, arg: Attach) -> Outcome:
        return HANDLED

    @on_event(Busy, Attach)
    def wider(self, arg: object) -> Outcome:
        return HANDLED

    @on_event(Idle, Detach, target=Busy, guard=lambda self, arg: bool(arg.reason))
    def effect(self, arg: Detach) -> None: ...

    @on_event(Idle, Detach, target=Busy)  # error
    def effect_wrong(self, arg: Attach) -> None: ...

    @on_event(Idle, Event.TICK, "tick")
    def tick(self, arg: int) -> Outcome:
        return self.choice(self.Busy, [(lambda: True, self.Inner)], otherwise=self.Inner)

    @on_event(Idle, "no outcome")  # error
    def no_outcome(self, arg: int) -> None: ...

    @on_event(ROOT, ANY)
    def anything(self, arg: Any, event: object) -> Outcome:
        return HANDLED

    @on_entry(Idle, Busy)
    def enter(self) -> None: ...

    @on_exit(ANY)
    def leave(self, state: State) -> None: ...

    @on_completion(Busy, targets=Idle)
    def completed(self) -> Outcome:
        return self.transition_history(self.Busy, DEEP)


class Child(Sample):
    def attach(self, arg: Attach) -> Outcome:
        return super().attach(arg)

    def tick(self, arg: int) -> Outcome:
        return super().tick(arg)


sample = Sample(3)
Sample("three")  # error
assert_type(sample.Idle, State)
assert_type(sample.current, State)
assert_type(sample.source, State)
assert_type(sample.leaves, tuple[State, ...])
Region()  # error
assert_type(sample.dispatch(Attach, Attach(1)), Outcome)
assert_type(sample.tick(3), Outcome)
assert_type(sample.attach(Attach(1)), Outcome)
assert_type(sample.is_in(Sample.Busy), bool)
assert_type(sample.snapshot(), dict[str, Any])
assert_type(Sample.states, tuple[State, ...])
assert_type(Sample.unreachable(), tuple[State, ...])
first: Edge = Sample.edges[0]
coverage = Coverage(Sample)
sample.tick("three")  # error
sample.attach(Detach("x"))  # error
sample.transition("Busy")  # error
sample.dispatch({})  # error
sample.transition(Sample.Busy, effect=3)  # error
sample.dispatch(Unhashable)
sample.post(Unhashable)
