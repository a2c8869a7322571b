"""The six-state machine of the specification's section 7, logging entries, exits and effects."""

from typing import Any

from tensor_pool.hsm import (
    ANY,
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
)


class SixStates(Machine):
    s = State()
    s1 = State(parent=s)
    s11 = State(parent=s1)
    s2 = State(parent=s)
    s21 = State(parent=s2)
    s211 = State(parent=s21)

    def __init__(self, **keywords: Any) -> None:
        self.log: list[str] = []
        self.tried: list[str] = []
        super().__init__(**keywords)

    @on_initial(ROOT, target=s2)
    def _begin(self) -> None:
        self.foo = 0

    _s_initial = on_initial(s, target=s11)
    _s1_initial = on_initial(s1, target=s11)
    _s2_initial = on_initial(s2, target=s211)
    _s21_initial = on_initial(s21, target=s211)

    @on_entry(ANY)
    def _enter(self, state: State) -> None:
        self.log.append(f"+{state.name}")

    @on_exit(ANY)
    def _leave(self, state: State) -> None:
        self.log.append(f"-{state.name}")

    # s

    _s_E = on_event(s, "E", target=s11)

    @on_event(s, "I")
    def _s_I(self, arg: object) -> Outcome:
        self.tried.append("s")
        if self.foo:
            self.foo = 0
            return HANDLED
        return UNHANDLED

    # s1

    _s1_A = on_event(s1, "A", target=s1)
    _s1_B = on_event(s1, "B", target=s11)
    _s1_C = on_event(s1, "C", target=s2)
    _s1_F = on_event(s1, "F", target=s211)

    @on_event(s1, "D", targets=s1)
    def _s1_D(self, arg: object) -> Outcome:
        self.tried.append("s1")
        return UNHANDLED if self.foo else self.transition(self.s1)

    @on_event(s1, "I")
    def _s1_I(self, arg: object) -> Outcome:
        self.tried.append("s1")
        return HANDLED

    # s11

    _s11_G = on_event(s11, "G", target=s211)
    _s11_H = on_event(s11, "H", target=s)

    @on_event(s11, "D", targets=s1)
    def _s11_D(self, arg: object) -> Outcome:
        self.tried.append("s11")
        if not self.foo:
            return UNHANDLED
        return self.transition(self.s1, effect=self._clear)

    def _clear(self) -> None:
        self.log.append("*")
        self.foo = 0

    # s2

    _s2_C = on_event(s2, "C", target=s1)
    _s2_F = on_event(s2, "F", target=s11)

    @on_event(s2, "I")
    def _s2_I(self, arg: object) -> Outcome:
        self.tried.append("s2")
        if self.foo:
            return UNHANDLED
        self.foo = 1
        return HANDLED

    # s21

    _s21_A = on_event(s21, "A", target=s21)
    _s21_B = on_event(s21, "B", target=s211)
    _s21_G = on_event(s21, "G", target=s11)

    # s211

    _s211_D = on_event(s211, "D", target=s21)
    _s211_H = on_event(s211, "H", target=s)
