"""A chart as a `Machine` class of `tensor_pool.hsm`, made by public API alone."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from tensor_pool.hsm import ANY as HSM_ANY
from tensor_pool.hsm import (
    DEEP,
    HANDLED,
    SHALLOW,
    UNHANDLED,
    Final,
    Machine,
    Region,
    State,
    Terminate,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
    on_timeout,
)
from tensor_pool.hsm import ROOT as HSM_ROOT
from tests.hsm.oracle.chart import ANY, ROOT, Chart, Initial, Plan, Rule

_HISTORY = {"SHALLOW": SHALLOW, "DEEP": DEEP}
_KIND = {"final": Final, "terminate": Terminate}


def machine_class(chart: Chart, name: str = "Drawn") -> type[Machine]:
    """The class. Its instances need an attribute `world` before `start()`."""
    states: dict[str, Any] = {ROOT: HSM_ROOT}
    body: dict[str, Any] = {"__module__": __name__, "__qualname__": name}
    for vertex in chart.vertices:
        parent = states[vertex.parent]
        if vertex.kind == "state":
            state = State(vertex.name, parent=parent, defer=vertex.defer)
        elif vertex.kind == "region":
            state = Region(parent, vertex.name)
        else:
            state = _KIND[vertex.kind](vertex.name, parent=parent)
        body[vertex.name] = states[vertex.name] = state
    for state in chart.entries:
        label = f"entry_{state}"
        body[label] = on_entry(states[state])(_EFFECTS[label in chart.taking](label))
    for state in chart.exits:
        label = f"exit_{state}"
        body[label] = on_exit(states[state])(_EFFECTS[label in chart.taking](label))
    if chart.any_entry:
        body["any_entry"] = on_entry(HSM_ANY)(_generic("any_entry", chart))
    if chart.any_exit:
        body["any_exit"] = on_exit(HSM_ANY)(_generic("any_exit", chart))
    for initial in chart.initials:
        body[initial.label] = _initial(initial, states)
    for default in chart.defaults:
        declare = on_history_default(
            states[default.owner], _HISTORY[default.kind], target=states[default.target]
        )
        body[default.label] = declare(_no_argument(default.label)) if default.effect else declare
    for rule in chart.rules:
        body[rule.label] = _rule(rule, states)
    body["clock"] = lambda self: float(self.world.now)
    return type(Machine)(name, (Machine,), body)


def _initial(initial: Initial, states: dict[str, Any]) -> Any:
    owner = states[initial.owner]
    if initial.plan is not None:
        targets = [states[t] for t in initial.plan.targets()]
        return on_initial(owner, targets=targets)(
            _handler(initial.label, initial.plan, states, arguments=0)
        )
    assert initial.target is not None
    history = {} if initial.history is None else {"history": _HISTORY[initial.history]}
    declare = on_initial(owner, target=states[initial.target], **history)
    return declare(_no_argument(initial.label)) if initial.effect else declare


def _rule(rule: Rule, states: dict[str, Any]) -> Any:
    timed = rule.after is not None
    arguments = 0 if rule.event is None or timed else 2 if rule.event == ANY else 1
    options: dict[str, Any] = {}
    if rule.guard is not None:
        options["guard"] = _guard(rule.guard, arguments)
    if rule.plan is None:
        options["target"] = states[str(rule.target)]
        if rule.fork:
            options["target"] = tuple(states[name] for name in rule.fork)
        if rule.history is not None:
            options["history"] = _HISTORY[rule.history]
    elif rule.plan.targets():
        options["targets"] = [states[t] for t in rule.plan.targets()]
    if rule.after is not None:
        declare = on_timeout(states[rule.state], rule.after, every=rule.every, **options)
    elif rule.event is None:
        declare = on_completion(states[rule.state], **options)
    else:
        event = HSM_ANY if rule.event == ANY else rule.event
        declare = on_event(states[rule.state], event, **options)
    if rule.plan is not None:
        return declare(_handler(rule.label, rule.plan, states, arguments))
    return declare(_EFFECTS[arguments](rule.label)) if rule.effect else declare


def _handler(label: str, plan: Plan, states: dict[str, Any], arguments: int) -> FunctionType:
    def decide(self: Any, *passed: Any) -> Any:
        if plan.when is not None and not self.world.flag(plan.when):
            self.world.note(f"{label} declines", self, *passed)
            return UNHANDLED
        self.world.act(label, self, *passed)
        answer: Any = UNHANDLED if plan.what == "decline" else HANDLED
        effect = _call(self, plan.effect)
        if plan.what == "go":
            answer = self.transition(states[plan.target], effect)
        elif plan.what == "recall":
            answer = self.transition_history(states[plan.target], _HISTORY[plan.history], effect)
        elif plan.what == "choose":
            answer = self.choice(
                states[plan.target],
                [
                    (_ask(self, b.guard), states[b.target], _call(self, b.effect))
                    if b.effect
                    else (_ask(self, b.guard), states[b.target])
                    for b in plan.branches
                ],
                otherwise=(states[plan.otherwise[0]], _call(self, plan.otherwise[1]))
                if plan.otherwise[1]
                else states[plan.otherwise[0]],
                effect=effect,
            )
        if plan.after is not None:
            self.world.act(plan.after, self)
        return None if plan.what == "wrong" else answer

    def handler0(self: Any) -> Any:
        return decide(self)

    def handler1(self: Any, arg: Any) -> Any:
        return decide(self, arg)

    def handler2(self: Any, arg: Any, event: Any) -> Any:
        return decide(self, arg, event)

    return _named((handler0, handler1, handler2)[arguments], label)


def _call(machine: Any, label: str | None) -> Callable[[], None] | None:
    return None if label is None else lambda: machine.world.act(label, machine)


def _ask(machine: Any, guard: str) -> Callable[[], bool]:
    return lambda: machine.world.ask(guard, machine)


def _named(function: Any, name: str) -> FunctionType:
    function.__name__ = name
    function.__qualname__ = f"Drawn.{name}"
    return function


def _no_argument(label: str) -> FunctionType:
    return _named(lambda self: self.world.act(label, self), label)


def _one_argument(label: str) -> FunctionType:
    return _named(lambda self, arg: self.world.act(label, self, arg), label)


def _two_arguments(label: str) -> FunctionType:
    return _named(lambda self, arg, event: self.world.act(label, self, arg, event), label)


_EFFECTS = (_no_argument, _one_argument, _two_arguments)


def _generic(label: str, chart: Chart) -> FunctionType:
    if label in chart.taking:
        return _named(
            lambda self, state, arg: self.world.act(f"{label}:{state.name}", self, arg), label
        )
    return _named(lambda self, state: self.world.act(f"{label}:{state.name}", self), label)


def _guard(label: str, arguments: int) -> FunctionType:
    functions: tuple[Any, ...] = (
        lambda self: self.world.ask(label, self),
        lambda self, arg: self.world.ask(label, self, arg),
        lambda self, arg, event: self.world.ask(label, self, arg, event),
    )
    return _named(functions[arguments], label)
