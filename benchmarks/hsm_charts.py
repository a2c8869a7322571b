"""The machine that the state machine benchmark drives, ours and written by hand.

Seven states, `A(A1(A11, A12))` and `B(B1(B11))`. Every entry, exit and effect counts itself, which
is the least that a behavior does, and lets the benchmark see that both did the same. The
hand-written class is what one would write for speed without a framework: a table per leaf,
straight-line transitions, the same re-entrancy guard, in the initial step too. Its methods that
handlers call to take a transition accept an effect, as ours do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
)

STATES = ("A", "A1", "A11", "A12", "B", "B1", "B11")


class Ours(Machine):
    A = State()
    A1 = State(parent=A)
    A11 = State(parent=A1)
    A12 = State(parent=A1)
    B = State()
    B1 = State(parent=B)
    B11 = State(parent=B1)

    def __init__(self) -> None:
        self.count = 0  # also what the instances of both classes hold

    begin = on_initial(ROOT, target=A)
    a_initial = on_initial(A, target=A1)
    a1_initial = on_initial(A1, target=A11)
    b_initial = on_initial(B, target=B1)
    b1_initial = on_initial(B1, target=B11)

    @on_event(A11, "leaf")
    def leaf(self, arg: object) -> Outcome:
        return HANDLED

    @on_event(ROOT, "up")
    def up(self, arg: object) -> Outcome:
        return HANDLED

    @on_event(A11, "sibling", target=A12)
    def sibling(self, arg: object) -> None:
        self.count += 1

    @on_event(A12, "sibling", target=A11)
    def sibling_back(self, arg: object) -> None:
        self.count += 1

    @on_event(A, "across", target=B)
    def across(self, arg: object) -> None:
        self.count += 1

    @on_event(B, "across", target=A)
    def across_back(self, arg: object) -> None:
        self.count += 1

    @on_event(A11, "decide", targets=A12)
    def decide(self, arg: object) -> Outcome:
        return self.transition(self.A12)

    @on_event(A12, "decide", targets=A11)
    def decide_back(self, arg: object) -> Outcome:
        return self.transition(self.A11)

    @on_event(A, "decide_across", targets=B)
    def decide_across(self, arg: object) -> Outcome:
        return self.transition(self.B)

    @on_event(B, "decide_across", targets=A)
    def decide_across_back(self, arg: object) -> Outcome:
        return self.transition(self.A)

    @on_entry(A)
    def enter_a(self) -> None:
        self.count += 1

    @on_entry(A1)
    def enter_a1(self) -> None:
        self.count += 1

    @on_entry(A11)
    def enter_a11(self) -> None:
        self.count += 1

    @on_entry(A12)
    def enter_a12(self) -> None:
        self.count += 1

    @on_entry(B)
    def enter_b(self) -> None:
        self.count += 1

    @on_entry(B1)
    def enter_b1(self) -> None:
        self.count += 1

    @on_entry(B11)
    def enter_b11(self) -> None:
        self.count += 1

    @on_exit(A)
    def exit_a(self) -> None:
        self.count += 1

    @on_exit(A1)
    def exit_a1(self) -> None:
        self.count += 1

    @on_exit(A11)
    def exit_a11(self) -> None:
        self.count += 1

    @on_exit(A12)
    def exit_a12(self) -> None:
        self.count += 1

    @on_exit(B)
    def exit_b(self) -> None:
        self.count += 1

    @on_exit(B1)
    def exit_b1(self) -> None:
        self.count += 1

    @on_exit(B11)
    def exit_b11(self) -> None:
        self.count += 1


class ByHand:
    def __init__(self) -> None:
        self.count = 0
        self.busy = True  # entering is a step as well; nothing may dispatch in it
        self.enter_a()
        self.enter_a1()
        self.enter_a11()
        self.table = IN_A11
        self.busy = False

    def dispatch(self, event: str, arg: object = None) -> Outcome:
        if self.busy:
            raise RuntimeError("dispatch during a step")
        self.busy = True
        try:
            handler = self.table.get(event)
            if handler is None:
                return UNHANDLED
            return handler(self, arg)
        finally:
            self.busy = False

    def leaf(self, arg: object) -> Outcome:
        return HANDLED

    def up(self, arg: object) -> Outcome:
        return HANDLED

    def effect(self, arg: object) -> None:
        self.count += 1

    def a11_to_a12(self, arg: object) -> Outcome:
        self.exit_a11()
        self.effect(arg)
        self.enter_a12()
        self.table = IN_A12
        return HANDLED

    def a12_to_a11(self, arg: object) -> Outcome:
        self.exit_a12()
        self.effect(arg)
        self.enter_a11()
        self.table = IN_A11
        return HANDLED

    def a11_to_b(self, arg: object) -> Outcome:
        self.exit_a11()
        self.exit_a1()
        self.exit_a()
        self.effect(arg)
        self.enter_b()
        self.enter_b1()
        self.enter_b11()
        self.table = IN_B11
        return HANDLED

    def b11_to_a(self, arg: object) -> Outcome:
        self.exit_b11()
        self.exit_b1()
        self.exit_b()
        self.effect(arg)
        self.enter_a()
        self.enter_a1()
        self.enter_a11()
        self.table = IN_A11
        return HANDLED

    def decide(self, arg: object) -> Outcome:
        return self.decided_for_a12()

    def decided_for_a12(self, effect: Callable[[], object] | None = None) -> Outcome:
        self.exit_a11()
        if effect is not None:
            effect()
        self.enter_a12()
        self.table = IN_A12
        return HANDLED

    def decide_back(self, arg: object) -> Outcome:
        return self.decided_for_a11()

    def decided_for_a11(self, effect: Callable[[], object] | None = None) -> Outcome:
        self.exit_a12()
        if effect is not None:
            effect()
        self.enter_a11()
        self.table = IN_A11
        return HANDLED

    def decide_across(self, arg: object) -> Outcome:
        return self.decided_for_b()

    def decided_for_b(self, effect: Callable[[], object] | None = None) -> Outcome:
        self.exit_a11()
        self.exit_a1()
        self.exit_a()
        if effect is not None:
            effect()
        self.enter_b()
        self.enter_b1()
        self.enter_b11()
        self.table = IN_B11
        return HANDLED

    def decide_across_back(self, arg: object) -> Outcome:
        return self.decided_for_a()

    def decided_for_a(self, effect: Callable[[], object] | None = None) -> Outcome:
        self.exit_b11()
        self.exit_b1()
        self.exit_b()
        if effect is not None:
            effect()
        self.enter_a()
        self.enter_a1()
        self.enter_a11()
        self.table = IN_A11
        return HANDLED

    def enter_a(self) -> None:
        self.count += 1

    def enter_a1(self) -> None:
        self.count += 1

    def enter_a11(self) -> None:
        self.count += 1

    def enter_a12(self) -> None:
        self.count += 1

    def enter_b(self) -> None:
        self.count += 1

    def enter_b1(self) -> None:
        self.count += 1

    def enter_b11(self) -> None:
        self.count += 1

    def exit_a(self) -> None:
        self.count += 1

    def exit_a1(self) -> None:
        self.count += 1

    def exit_a11(self) -> None:
        self.count += 1

    def exit_a12(self) -> None:
        self.count += 1

    def exit_b(self) -> None:
        self.count += 1

    def exit_b1(self) -> None:
        self.count += 1

    def exit_b11(self) -> None:
        self.count += 1


_Table = dict[str, Callable[[Any, object], Outcome]]
IN_A11: _Table = {
    "leaf": ByHand.leaf,
    "up": ByHand.up,
    "sibling": ByHand.a11_to_a12,
    "across": ByHand.a11_to_b,
    "decide": ByHand.decide,
    "decide_across": ByHand.decide_across,
}
IN_A12: _Table = {
    "up": ByHand.up,
    "sibling": ByHand.a12_to_a11,
    "decide": ByHand.decide_back,
}
IN_B11: _Table = {
    "up": ByHand.up,
    "across": ByHand.b11_to_a,
    "decide_across": ByHand.decide_across_back,
}


def ours_with_states(count: int) -> Machine:
    """Our machine, its chart widened to `count` states of three events each."""
    body: dict[str, Any] = {}
    names = [f"S{index}" for index in range(count - len(STATES))]
    for index, name in enumerate(names):
        body[name] = State()
        for event in ("x", "y", "leaf"):
            target = names[(index + 1) % len(names)]
            body[f"{name}_{event}"] = on_event(name, event, target=target)
    kind: Any = type(Ours)
    machine: Machine = kind(f"Ours{count}", (Ours,), body)()
    return machine


def define_class(states: int = 20, edges: int = 60) -> type[Machine]:
    """Define a class with that many states, in groups of four, and edges with effects."""
    body: dict[str, Any] = {"begin": on_initial(ROOT, target="S0")}
    for index in range(states):
        parent = None if index % 4 == 0 else f"S{index - index % 4}"
        body[f"S{index}"] = State(parent=parent)
        if index % 4 == 0:
            body[f"initial_{index}"] = on_initial(f"S{index}", target=f"S{index + 1}")
    for index in range(edges):

        def effect(self: Any, arg: object) -> None: ...

        source, target = f"S{index % states}", f"S{(index * 7 + 3) % states}"
        body[f"edge_{index}"] = on_event(source, f"e{index}", target=target)(effect)
    kind: Any = type(Machine)
    defined: type[Machine] = kind("Defined", (Machine,), body)
    return defined
