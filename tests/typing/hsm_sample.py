"""The public types of the state machines, as a user's type checkers see them; read by
`test_state_machines.py`. A line that ends in `# error` is one that every checker rejects."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_type

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    UNHANDLED,
    Final,
    Machine,
    Outcome,
    State,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)


@dataclass(frozen=True)
class Hello:
    nonce: int


@dataclass(frozen=True)
class Bye:
    code: int


class Key(Enum):
    UP = auto()


class Right(Machine, strict=True):
    Off = State()
    On = State(defer=[Key.UP])
    Inner = State(parent=On)
    Done = Final()
    begin = on_initial(ROOT, target=Off)
    inner = on_initial(On, target=Inner)
    back = on_history_default(On, DEEP, target=Inner)

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__()

    def small(self, message: Hello) -> bool:
        return message.nonce < self.limit

    @on_event(Off, Hello, guard=small, target=On)
    def hello(self, message: Hello) -> None:
        self.limit = message.nonce

    @on_event(On, Hello, Bye, targets=(Off, Done))
    def both(self, message: Hello | Bye) -> Outcome:
        return HANDLED if isinstance(message, Hello) else self.transition(self.Off)

    @on_event(ROOT, ANY)
    def other(self, arg: object, event: object) -> Outcome:
        return UNHANDLED

    @on_event(On, Key.UP, "x", Hello, target=Off)
    def up(self, arg: object) -> None: ...

    @on_entry(On)
    def enter(self) -> None: ...

    @on_entry(Off, Inner)
    def enter_with_argument(self, arg: object) -> None: ...

    @on_exit(ANY)
    def leave(self, state: State) -> None: ...

    @on_entry(ANY)
    def enter_any(self, state: State, arg: object) -> None: ...

    @on_completion(Off, guard=lambda self: True, target=On)
    def complete(self) -> None: ...


machine = Right(3)
assert_type(machine.current, State)
assert_type(machine.dispatch(Hello, Hello(1)), Outcome)
assert_type(machine.can("x"), bool)
assert_type(machine.hello(Hello(1)), None)


def guard_without_argument(machine: Machine) -> bool:
    return True


def guard_of_another_message(machine: Machine, message: Bye) -> bool:
    return True


class Wrong(Machine):
    Off = State()
    On = State()
    begin = on_initial(ROOT, target=Off)

    @on_event(Off, Hello, target=On)  # error
    def another_message(self, message: Bye) -> None: ...

    @on_event(Off, Hello, targets=On)  # error
    def without_an_outcome(self, message: Hello) -> None: ...

    @on_event(Off, "x", target=On)  # error
    def too_few_parameters(self) -> None: ...

    @on_event(ROOT, ANY)  # error
    def any_without_the_event(self, arg: object) -> Outcome:
        return UNHANDLED

    @on_entry(On)  # error
    def entry_with_two_arguments(self, arg: object, more: object) -> None: ...

    @on_exit(ANY)  # error
    def any_without_the_state(self) -> None: ...

    @on_completion(Off, target=On)  # error
    def completion_with_an_argument(self, arg: object) -> None: ...

    @on_initial(On, target=Off)  # error
    def initial_with_an_argument(self, arg: object) -> None: ...

    @on_event(Off, "r")  # error
    async def coroutine(self, arg: object) -> Outcome:
        return HANDLED

    a = on_event(Off, "y", guard=guard_without_argument, target=On)  # error
    b = on_event(Off, Hello, guard=guard_of_another_message, target=On)  # error
    c = on_event(Off, ["a", "b"], target=On)  # error
    d = on_event(Off, "z", target=On, targets=On)  # error
    e = on_event(Off, "z", history=DEEP)  # error
    f = on_initial(On)  # error
    g = on_event(Off, On, "x", target=On)  # error

    @on_event(Off, "q", targets=On)
    def name_at_run_time(self, arg: object) -> Outcome:
        return self.transition("On")  # error


Right("three")  # error
machine.dispatch([1])  # error
machine.is_in("On")  # error
machine.current = Right.On  # error
Right(limit=3, strat=True)  # error
