"""A machine class as an SCXML document."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from .._definition.chart import Chart, Rule, chart_of
from ..machine import Machine
from ..states import ANY, DEEP, ROOT, SHALLOW, Final, History, State, Terminate
from .document import Element, ScxmlError, write


def export_scxml(machine: type[Machine]) -> str:
    """The SCXML document of a machine class.

    Behaviours become `<hsm:call name="…"/>`, guards `cond="name"`, `ANY` becomes `*`. Events are
    written by name: strings as they are, enum members and classes by their names.

    Raises:
        ScxmlError: the class has something without an equal in SCXML. All such things are listed:
            handlers that choose among `targets`, events of ROOT, transitions to ROOT or to a state
            around their source, recalls from inside the remembered state, `Terminate`, deferral,
            states with children and no initial, handlers for ANY state, guards without a name,
            events whose names are not single words.
    """
    return write(_Exporter(machine).document())


class _Exporter:
    def __init__(self, machine: type[Machine]) -> None:
        self._machine = machine
        self._chart: Chart = chart_of(machine)
        self._problems: list[str] = []
        self._used_history: dict[tuple[State, History], None] = dict.fromkeys(self._chart.defaults)

    def document(self) -> Element:
        self._check()
        for rule in self._rules():
            if rule.history is not None and rule.target is not None:
                self._used_history[rule.target, rule.history] = None
        root = Element("scxml", {"name": self._machine.__name__})
        self._initial(root, ROOT)
        for state in self._chart.children[ROOT]:
            self._state(root, state)
        if self._problems:
            subject = f"{self._machine.__qualname__} has no equal in SCXML"
            raise ScxmlError(subject, tuple(dict.fromkeys(self._problems)))
        return root

    # What cannot be expressed.

    def _check(self) -> None:
        for state in self._chart.states:
            if isinstance(state, Terminate):
                self._problems.append(f"{state.name} is a Terminate vertex")
            if state.defer:
                self._problems.append(f"{state.name} defers events")
            if self._chart.is_composite(state) and state not in self._chart.initials:
                self._problems.append(f"{state.name} rests without entering one of its children")
        for what, rules in (("entry", self._chart.entries), ("exit", self._chart.exits)):
            if None in rules:
                self._problems.append(f"{rules[None].attribute} is an {what} handler of ANY state")
        for rule in self._rules():
            self._check_rule(rule)
        names = {self._event(r) for r in self._rules() if r.event not in (None, ANY)}
        for name in sorted(names):
            for other in sorted(names):
                if other.startswith(name + "."):
                    self._problems.append(f"event {name} would also match {other} in SCXML")

    def _check_rule(self, rule: Rule) -> None:
        where = f"{rule.attribute} of {rule.state.name if rule.state else 'ANY'}"
        state, target = rule.state, rule.target
        if rule.targets and target is None:
            self._problems.append(f"{where} decides in its code where to go")
        is_initial = rule in self._chart.initials.values()
        if state is ROOT and not is_initial:
            self._problems.append(f"{where} is handled at ROOT")
        if rule.guard is not None and not _name_of(rule.guard).isidentifier():
            self._problems.append(f"{where} has a guard without a name")
        if state is None or target is None or is_initial:
            return
        if target is ROOT:
            self._problems.append(f"{where} leads to ROOT")
        elif rule.history is not None:
            if self._chart.is_below(state, target):
                self._problems.append(f"{where} recalls {target.name} from inside")
            elif state is target and (target, rule.history) not in self._chart.defaults:
                self._problems.append(f"{where} recalls itself without a history default")
        elif self._chart.is_below(state, target):
            self._problems.append(f"{where} is a local transition to {target.name} around it")

    def _rules(self) -> Iterator[Rule]:
        yield from self._chart.initials.values()
        for state in (ROOT, *self._chart.states):
            for candidates in self._chart.candidates.get(state, {}).values():
                yield from candidates
            yield from self._chart.completions.get(state, ())

    # The document.

    def _state(self, parent: Element, state: State) -> None:
        tag = "final" if isinstance(state, Final) else "state"
        element = parent.add(tag, id=self._id(state))
        self._initial(element, state)
        for kind in (SHALLOW, DEEP):
            if (state, kind) in self._used_history:
                self._history(element, state, kind)
        for what, rules in (("onentry", self._chart.entries), ("onexit", self._chart.exits)):
            rule = rules.get(state)
            if rule is not None:
                self._call(element.add(what), rule)
        candidates = self._chart.candidates.get(state, {})
        # A specific event comes before ANY, whatever the order of declaration.
        for event in [e for e in candidates if e is not ANY] + [e for e in candidates if e is ANY]:
            for rule in candidates[event]:
                self._transition(element, rule, event=self._event(rule))
        for rule in self._chart.completions.get(state, ()):
            if self._chart.is_composite(state):
                self._transition(element, rule, event=f"done.state.{self._id(state)}")
            else:
                self._transition(element, rule)
        for child in self._chart.children[state]:
            self._state(element, child)

    def _initial(self, element: Element, owner: State) -> None:
        rule = self._chart.initials.get(owner)
        if rule is not None and rule.target is not None:
            transition = element.add("initial").add("transition", target=self._target(rule))
            self._call(transition, rule)

    def _history(self, element: Element, owner: State, kind: History) -> None:
        history = element.add("history", id=self._history_id(owner, kind), type=kind.value)
        rule = self._chart.defaults.get((owner, kind))
        if rule is not None:
            self._call(history.add("transition", target=self._target(rule)), rule)
            return
        # Without a default our history enters the owner normally: by its initial.
        initial = self._chart.initials.get(owner)
        if initial is None or initial.target is None or initial.history is not None:
            self._problems.append(
                f"the history of {owner.name} has neither default nor plain initial"
            )
            return
        transition = history.add("transition", target=self._id(initial.target))
        transition.attributes["hsm:implied"] = "true"
        self._call(transition, initial)

    def _transition(self, element: Element, rule: Rule, event: str | None = None) -> None:
        attributes = {} if event is None else {"event": event}
        if rule.guard is not None:
            attributes["cond"] = _name_of(rule.guard)
        if rule.target is not None:
            attributes["target"] = self._target(rule)
            assert rule.state is not None
            below = self._chart.is_below(rule.target, rule.state)
            if below or (rule.history is not None and rule.target is rule.state):
                attributes["type"] = "internal"
        self._call(element.add("transition", **attributes), rule)

    def _call(self, element: Element, rule: Rule) -> None:
        if rule.function is not None:
            name = _name_of(rule.function)
            element.add("hsm:call", name=name if name.isidentifier() else rule.attribute)

    def _target(self, rule: Rule) -> str:
        assert rule.target is not None
        if rule.history is not None:
            return self._history_id(rule.target, rule.history)
        return self._id(rule.target)

    def _id(self, state: State) -> str:
        if not state.name.replace("-", "_").replace(".", "_").isidentifier():
            self._problems.append(f"the name {state.name!r} is not an XML id")
        return state.name

    def _history_id(self, owner: State, kind: History) -> str:
        return f"{self._id(owner)}.history.{kind.value}"

    def _event(self, rule: Rule) -> str:
        name = _event_name(rule.event)
        if rule.event is not ANY and (not name or any(c.isspace() or c == "*" for c in name)):
            self._problems.append(f"the event {name!r} is not a single word")
        return name


def _event_name(event: Hashable) -> str:
    if event is ANY:
        return "*"
    if isinstance(event, enum.Enum):
        return event.name
    if isinstance(event, type):
        return event.__name__
    return str(event)


def _name_of(guard: Callable[..., Any]) -> str:
    return str(getattr(guard, "__name__", ""))
