"""Machine classes for the tests of the tools, with one of everything that can be drawn."""

from __future__ import annotations

import enum

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    SHALLOW,
    Final,
    Machine,
    Outcome,
    State,
    Terminate,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)


class Key(enum.Enum):
    PLAY = 1


class Stop:
    """An event that is a class."""


class Everything(Machine):
    """One of everything."""

    Idle = State(defer=["later"])
    Busy = State("Very busy")
    Inner = State(parent=Busy)
    Other = State(parent=Busy)
    Done = Final(parent=Busy)
    Empty = State()
    Rest = Final(parent=Empty)
    Dead = Terminate()

    begin = on_initial(ROOT, target=Idle)

    @on_initial(Busy, target=Inner)
    def prepare(self) -> None:
        """Only drawn."""

    @on_history_default(Busy, SHALLOW, target=Other)
    def first_time(self) -> None:
        """Only drawn."""

    def is_ready(self, arg: object) -> bool:
        return True

    play = on_event(Idle, Key.PLAY, guard=is_ready, target=Busy)

    @on_event(Idle, "resume", "go on", target=Busy, history=SHALLOW)
    def resume(self, arg: object) -> None:
        """Only drawn."""

    deep = on_event(Idle, "deep", target=Busy, history=DEEP)

    @on_event(Idle, "choose", targets=(Inner, Other))
    def _pick(self, arg: object) -> Outcome:
        return self._pick_now()

    def _pick_now(self) -> Outcome:
        return self.choice(self.Busy, [(lambda: True, self.Inner)], otherwise=self.Other)

    @on_event(Other, "recall", targets=Busy)
    def recall(self, arg: object) -> Outcome:
        return self.transition_history(self.Busy, DEEP)

    @on_event(Inner, "toggle", targets=(Other, Idle))
    def toggle(self, arg: object) -> Outcome:
        return self.transition(self.Other)

    finish = on_event(Inner, Stop, target=Done)
    back = on_event(Inner, "back", target=Busy)
    again = on_event(Busy, "again", target=Busy)
    inside = on_event(Busy, "inside", target=Other)
    halt = on_completion(Busy, target=Idle)
    kill = on_event(ROOT, "kill", target=Dead)
    rest = on_event(ROOT, "rest", target=Rest)

    @on_event(Busy, ANY)
    def shrug(self, arg: object, event: object) -> Outcome:
        return HANDLED

    @on_entry(Idle, Inner)
    def greet(self) -> None:
        """Only drawn."""

    @on_exit(ANY)
    def leave(self, state: State) -> None:
        """Only drawn."""
