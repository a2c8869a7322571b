"""The texts of errors that are made easily: each names the thing and the remedy (H-007, H-164)."""

from collections.abc import Callable
from typing import Any

import pytest

from tensor_pool.hsm import (
    HANDLED,
    ROOT,
    SHALLOW,
    Final,
    HsmError,
    Machine,
    Outcome,
    State,
    on_completion,
    on_entry,
    on_event,
    on_initial,
)

MISTAKES: dict[str, tuple[Callable[[], object], str]] = {}


def mistake(text: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Register a program with a mistake, and a pattern of the error's text."""

    def mark(program: Callable[[], object]) -> Callable[[], object]:
        MISTAKES[program.__name__] = program, text
        return program

    return mark


def define(**body: Any) -> type[Machine]:
    """A machine of the states A and B, and what `body` adds."""
    a, b = State(), State()
    own = {name: make(a, b) for name, make in body.items()}
    names = {"A": a, "B": b, "begin": on_initial(ROOT, target=a), **own}
    return type(Machine)("Made", (Machine,), names)


@mistake(r"ROOT: it has no initial; add on_initial\(ROOT, target=…\)")
def no_initial() -> object:
    return type(Machine)("Made", (Machine,), {"A": State()})


@mistake(r"unknown target 'b'; name one of: A, B")
def misspelt_state() -> object:
    return define(go=lambda a, b: on_event(a, "x", target="b"))


@mistake(r"State\('B'\) is given as an event; pass further states by name or stack")
def two_states() -> object:
    return define(go=lambda a, b: on_event(a, b, "x", target=b))


@mistake(r"never tried for the event 'x': 'one' .* comes first and has no guard")
def hidden_candidate() -> object:
    edge = lambda a, b: on_event(a, "x", target=b)  # noqa: E731
    return define(one=edge, two=edge)


@mistake(r"history needs a composite target; State\('B'\) has no history")
def history_of_a_simple_state() -> object:
    return define(go=lambda a, b: on_event(a, "x", target=b, history=SHALLOW))


@mistake(r"Final\('End'\) can have no declarations; declare this for its parent")
def edge_of_a_final() -> object:
    end = Final()
    return define(End=lambda a, b: end, go=lambda a, b: on_event(end, "x", target=b))


@mistake(r"completions A → B → A follow each other without end; guard one of them")
def ring() -> object:
    return define(
        one=lambda a, b: on_completion(a, target=b), two=lambda a, b: on_completion(b, target=a)
    )


@mistake(r"defer='x'; give an iterable of events")
def deferred_text() -> object:
    return define(C=lambda a, b: State(defer="x"))


@mistake(r"the guard 'is_ok' is not callable; give a function")
def guard_by_name() -> object:
    guard: Any = "is_ok"
    return define(go=lambda a, b: on_event(a, "x", guard=guard, target=b))


@mistake(r"Machine\.reset is an attribute; rename the state")
def reserved_name() -> object:
    return define(reset=lambda a, b: State())


@mistake(r"the class is closed; declare it in the class body or in a subclass")
def late_state() -> object:
    setattr(define(), "C", State())  # noqa: B010
    return None


class Talking(Machine):
    A = State()
    B = State()
    begin = on_initial(ROOT, target=A)
    known = on_event(A, "known", target=A)
    enter = on_event(A, "enter", target=B)

    @on_event(A, "plain")
    def _plain(self, arg: Any) -> Outcome:
        return self.transition(self.B)

    @on_event(A, "other", targets=A)
    def _other(self, arg: Any) -> Outcome:
        return self.transition(self.B)

    @on_event(A, "nested")
    def _nested(self, arg: Any) -> Outcome:
        return self.dispatch("known")

    @on_event(A, "choose", targets=B)
    def _choose(self, arg: Any) -> Outcome:
        return self.choice(ROOT, [(lambda: True, self.B)])

    @on_event(A, "wrong")
    def _wrong(self, arg: Any) -> Outcome:
        answer: Any = True
        return answer

    @on_entry(B)
    def _entered(self) -> None:
        self.transition(self.A)


for event, text in {
    "plain": r"Talking\.transition\(B\) in state A, event 'plain': this handler declares no "
    r"targets; add targets=… to its declaration",
    "other": r"not among the targets of the declaration that was selected \(A\)",
    "enter": r"entry and exit handlers and trace hooks take no transition; declare an edge",
    "nested": r"dispatch during a step \(event 'nested', state A\); use post",
    "choose": r"otherwise is missing; say where to go when no guard is true",
    "wrong": r"_wrong \(on_event of A\) answered True to 'wrong'; answer HANDLED, UNHANDLED or",
}.items():
    MISTAKES[f"the event {event}"] = (lambda event=event: Talking().dispatch(event)), text


@mistake(r"only a running imperative handler may take a transition")
def transition_from_outside() -> object:
    return Talking().transition(Talking.B)


@mistake(r"the machine is running; only a new one can be started, reset\(\) begins anew")
def started_twice() -> object:
    Talking().start()
    return None


@mistake(r"the machine is new; call start\(\) first")
def not_started() -> object:
    return Talking(start=False).dispatch("known")


@pytest.mark.parametrize("name", MISTAKES)
def test_H_007_the_text_of_an_error_names_the_thing_and_the_remedy(name: str) -> None:
    program, text = MISTAKES[name]
    with pytest.raises(HsmError, match=text):
        program()


def test_the_machine_of_the_mistakes_is_right_without_them() -> None:
    assert define()().dispatch("x") is not HANDLED
    assert Talking().dispatch("known") is HANDLED
