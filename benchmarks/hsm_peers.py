"""The benchmark's machine in other libraries: the same states, events, entries and exits.

Features that a library does not have are approximated in its favour; a handler at the root, for
example, sits in `A` where there is no root. Nothing here is imported unless `make` is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CASES = [
    ("leaf", ("leaf",)),
    ("levels up", ("up",)),
    ("unhandled", ("unknown",)),
    ("sibling", ("sibling", "sibling")),
    ("across", ("across", "across")),
]
STATES = ("A", "A1", "A11", "A12", "B", "B1", "B11")


@dataclass
class Peer:
    """A library: how to make its machine, and how many times longer it is expected to take.

    The result of `make` dispatches an event.
    """

    name: str
    make: Callable[[], Callable[[str], object]]
    target: int


class Model:
    """The functions that every library calls; they count like those of our machine."""

    def __init__(self) -> None:
        self.count = 0

    def act(self, *arguments: Any, **keywords: Any) -> None:
        self.count += 1


def python_statemachine() -> Callable[[str], object]:
    from statemachine import State, StateChart

    class Chart(StateChart):
        class A(State.Compound):
            class A1(State.Compound):
                A11 = State(initial=True, enter="act", exit="act")
                A12 = State(enter="act", exit="act")
                sibling = A11.to(A12, on="act") | A12.to(A11, on="act")
                leaf = A11.to(None, on="act")

        class B(State.Compound):
            class B1(State.Compound):
                B11 = State(initial=True, enter="act", exit="act")

        across = A.to(B, on="act") | B.to(A, on="act")
        up = A.to(None, on="act")

        def act(self) -> None:
            self.acts = getattr(self, "acts", 0) + 1

        # The library finds the behaviors of composite states by these names.
        for state in ("A", "A1", "B", "B1"):
            vars()[f"on_enter_{state}"] = vars()[f"on_exit_{state}"] = act
        del state

    machine = Chart()
    return machine.send


def sismic() -> Callable[[str], object]:
    from sismic.interpreter import Interpreter
    from sismic.io import import_from_yaml

    def state(name: str, transitions: str, inner: str = "", indent: int = 4) -> str:
        lines = [f"- name: {name}", "  on entry: act()", "  on exit: act()"]
        lines += [f"  {line}" for line in inner.splitlines()]
        if transitions:
            lines.append("  transitions:")
            lines += [f"  - {line}" for line in transitions.split("; ")]
        return "\n".join(lines)

    def go(event: str, target: str | None) -> str:
        to = f"target: {target}, " if target else ""
        return f"{{{to}event: {event}, action: act()}}"

    a11 = state("A11", f"{go('leaf', None)}; {go('sibling', 'A12')}")
    a12 = state("A12", go("sibling", "A11"))
    a1 = state("A1", "", f"initial: A11\nstates:\n{a11}\n{a12}")
    a = state("A", f"{go('across', 'B')}; {go('up', None)}", f"initial: A1\nstates:\n{a1}")
    b11 = state("B11", "")
    b1 = state("B1", "", f"initial: B11\nstates:\n{b11}")
    b = state("B", go("across", "A"), f"initial: B1\nstates:\n{b1}")
    root = "\n".join(f"    {line}" for line in f"{a}\n{b}".splitlines())
    text = "statechart:\n  name: benchmark\n  root state:\n    name: root\n    initial: A\n"
    text += f"    states:\n{root}\n"
    interpreter = Interpreter(import_from_yaml(text), initial_context={"act": Model().act})
    interpreter.execute()

    def dispatch(event: str) -> None:
        interpreter.queue(event).execute()

    return dispatch


def transitions() -> Callable[[str], object]:
    from transitions.extensions import HierarchicalMachine

    model = Model()

    def state(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "on_enter": "act", "on_exit": "act", **more}

    a = state(
        "A", initial="1", children=[state("1", initial="11", children=[state("11"), state("12")])]
    )
    b = state("B", initial="1", children=[state("1", initial="11", children=[state("11")])])
    machine = HierarchicalMachine(
        model,
        states=[a, b],
        initial="A",
        transitions=[
            ["leaf", "A_1_11", None],
            ["up", "A", None],
            ["sibling", "A_1_11", "A_1_12"],
            ["sibling", "A_1_12", "A_1_11"],
            ["across", "A", "B"],
            ["across", "B", "A"],
            ["unknown", "A_1_12", "A_1_11"],
        ],
        after_state_change="act",
        ignore_invalid_triggers=True,
    )
    assert machine
    trigger: Callable[[str], object] = model.trigger  # type: ignore[attr-defined]
    return trigger


def pysm() -> Callable[[str], object]:
    from pysm import Event, State, StateMachine

    model = Model()

    def dressed(state: Any) -> Any:
        state.handlers = {"enter": model.act, "exit": model.act}
        return state

    root = StateMachine("root")
    a, a1 = dressed(StateMachine("A")), dressed(StateMachine("A1"))
    a11, a12 = dressed(State("A11")), dressed(State("A12"))
    b, b1, b11 = dressed(StateMachine("B")), dressed(StateMachine("B1")), dressed(State("B11"))
    for parent, child, initial in (
        (root, a, True),
        (root, b, False),
        (a, a1, True),
        (a1, a11, True),
        (a1, a12, False),
        (b, b1, True),
        (b1, b11, True),
    ):
        parent.add_state(child, initial=initial)
    a11.handlers["leaf"] = model.act
    root.handlers = {"up": model.act}
    a1.add_transition(a11, a12, events=["sibling"], action=model.act)
    a1.add_transition(a12, a11, events=["sibling"], action=model.act)
    root.add_transition(a, b, events=["across"], action=model.act)
    root.add_transition(b, a, events=["across"], action=model.act)
    root.initialize()

    def dispatch(event: str) -> None:
        root.dispatch(Event(event))

    return dispatch


def miros() -> Callable[[str], object]:
    from miros import Event, HsmWithQueues, return_status, signals

    model = Model()

    def state(parent: Any, edges: dict[str, Any], initial: Any = None) -> Any:
        def handler(chart: Any, event: Any) -> Any:
            if event.signal in (signals.ENTRY_SIGNAL, signals.EXIT_SIGNAL):
                model.act()
                return return_status.HANDLED
            if event.signal == signals.INIT_SIGNAL and initial is not None:
                return chart.trans(found[initial])
            if event.signal_name in edges:
                model.act()
                target = edges[event.signal_name]
                return chart.trans(found[target]) if target else return_status.HANDLED
            chart.temp.fun = found[parent] if parent else chart.top
            return return_status.SUPER

        return handler

    found: dict[str, Any] = {}
    found["A"] = state(None, {"across": "B", "up": None}, "A1")
    found["A1"] = state("A", {}, "A11")
    found["A11"] = state("A1", {"leaf": None, "sibling": "A12"})
    found["A12"] = state("A1", {"sibling": "A11"})
    found["B"] = state(None, {"across": "A"}, "B1")
    found["B1"] = state("B", {}, "B11")
    found["B11"] = state("B1", {})
    for name, handler in found.items():
        handler.__name__ = name
    chart = HsmWithQueues()
    chart.start_at(found["A"])

    def dispatch(event: str) -> None:
        chart.dispatch(Event(signal=event))

    return dispatch


PEERS = [
    Peer("python-statemachine", python_statemachine, 200),
    Peer("sismic", sismic, 200),
    Peer("transitions", transitions, 80),
    Peer("pysm", pysm, 10),
    Peer("miros", miros, 10),
]
