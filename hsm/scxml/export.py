"""A machine class as an SCXML document."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Iterator
from types import FunctionType
from typing import Any

from .._definition.chart import Chart, Rule
from .._definition.chart_of import chart_of
from ..declarations import Role
from ..machine import Machine
from ..states import ANY, DEEP, ROOT, SHALLOW, Final, History, State, Terminate
from .document import Element, ScxmlError, write
from .events import is_platform_event, matches
from .regions import taken_in_several


def export_scxml(machine: type[Machine]) -> str:
    """Return the SCXML document of a machine class.

    Behaviours become `<hsm:call name="…"/>`, guards `cond="name"`, `ANY` becomes `*`. Events are
    written by name: strings as they are, enum members and classes by their names.

    Raises:
        ScxmlError: the class has something without an equal in SCXML. All such things are listed:
            handlers that choose among `targets`, events of ROOT, transitions to ROOT or to a state
            around their source, recalls from inside the remembered state, `Terminate`, deferral,
            states with children and no initial, handlers for ANY state, guards without a name.
            Further: completions of simple states that may be declined, histories of states that
            contain a `Final`, `ANY` where SCXML would take a `done.state` event. Events, guards
            and functions that differ and share a name. Transitions from a state with regions into
            them, and events that two regions take where the order of the behaviours shows, since
            SCXML leaves all states before it enters any. Event names that are not single words,
            that begin with `done` or `error`, or that are prefixes of others.
    """
    return write(_Exporter(machine).document())


class _Exporter:
    def __init__(self, machine: type[Machine]) -> None:
        self._machine = machine
        self._chart: Chart = chart_of(machine)
        self._problems: list[str] = []
        self._named: dict[str, object] = {}
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

    # Charts that SCXML cannot express.

    def _check(self) -> None:
        for state in self._chart.states:
            if isinstance(state, Terminate):
                self._problems.append(f"{state.name} is a Terminate vertex")
            if state.defer:
                self._problems.append(f"{state.name} defers events")
            if state in self._chart.timeouts:
                self._problems.append(f"{state.name} has time events")
            rests = self._chart.is_composite(state) and state not in self._chart.initials
            if rests and state not in self._chart.regions:
                self._problems.append(f"{state.name} rests without entering one of its children")
        for what, rules in (("entry", self._chart.entries), ("exit", self._chart.exits)):
            if None in rules:
                self._problems.append(f"{rules[None].attribute} is an {what} handler of ANY state")
        for rule in self._rules():
            self._check_rule(rule)
        self._check_events()
        self._check_completions()
        self._problems += taken_in_several(self._chart)

    def _check_events(self) -> None:
        """Refuse events that SCXML mistakes for other ones, for it has only their names."""
        named: dict[str, set[Hashable]] = {}
        for rule in self._rules():
            if rule.role is Role.EVENT and rule.event is not ANY:
                named.setdefault(self._event(rule), set()).add(rule.event)
        for name, events in sorted(named.items()):
            if len(events) > 1:
                several = " and ".join(sorted(map(repr, events)))
                self._problems.append(f"the events {several} are both named {name}")
            if is_platform_event(name):
                self._problems.append(f"event {name} is one that an SCXML platform raises itself")
            for other in sorted(named):
                if other != name and matches(name, other):
                    self._problems.append(f"event {name} would also match {other} in SCXML")

    def _check_completions(self) -> None:
        """Refuse completions that SCXML would offer to other candidates, or offer again."""
        for state, rules in self._chart.completions.items():
            last = rules[-1]
            if not self._chart.is_composite(state) and (last.guard or last.target is None):
                self._problems.append(
                    f"the completion of {state.name} may be declined: it occurs once, and SCXML "
                    "tries it after every event; end with one that has a target and no guard"
                )
        for owner in self._chart.states:
            if not isinstance(owner, Final) or owner.parent in (None, ROOT):
                continue
            completed = owner.parent
            assert completed is not None
            if any(rule.guard is None for rule in self._chart.completions.get(completed, ())):
                continue
            for above in self._chart.paths[completed]:
                if ANY in self._chart.candidates.get(above, {}):
                    self._problems.append(
                        f"ANY of {above.name} would take the completion of {completed.name} "
                        "in SCXML"
                    )

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
        if state in self._chart.regions and (
            self._chart.is_below(target, state) or (rule.fork and target is state)
        ):
            self._problems.append(f"{where} leads into its own regions, and SCXML leaves it before")
        if target is ROOT:
            self._problems.append(f"{where} leads to ROOT")
        elif rule.history is not None:
            if self._chart.is_below(state, target):
                self._problems.append(f"{where} recalls {target.name} from inside")
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
        tag = "parallel" if state in self._chart.regions else tag
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
        for event, rules_of_event in candidates.items():
            if event is not ANY:
                for rule in rules_of_event:
                    self._transition(element, rule, event=self._event(rule))
        for rule in self._chart.completions.get(state, ()):
            if self._chart.is_composite(state):
                self._transition(element, rule, event=f"done.state.{self._id(state)}")
            else:
                self._transition(element, rule)
        # `*` comes last: here specific events and completions come before ANY.
        for rule in candidates.get(ANY, ()):
            self._transition(element, rule, event=self._event(rule))
        for child in self._chart.children[state]:
            self._state(element, child)

    def _initial(self, element: Element, owner: State) -> None:
        rule = self._chart.initials.get(owner)
        if rule is not None and rule.target is not None:
            transition = element.add("initial").add("transition", target=self._target(rule))
            self._call(transition, rule)

    def _history(self, element: Element, owner: State, kind: History) -> None:
        history = element.add("history", id=self._history_id(owner, kind), type=kind.value)
        if any(
            isinstance(state, Final) and self._chart.is_below(state, owner)
            for state in self._chart.states
        ):
            self._problems.append(
                f"the history of {owner.name} is forgotten at a Final, in SCXML it is not"
            )
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
            self._claim(_name_of(rule.guard), rule.guard)
        if rule.target is not None:
            attributes["target"] = self._target(rule)
            assert rule.state is not None
            if self._chart.is_below(rule.target, rule.state):
                attributes["type"] = "internal"
        self._call(element.add("transition", **attributes), rule)

    def _call(self, element: Element, rule: Rule) -> None:
        if rule.function is None:
            return
        names = _name_of(rule.function).split()  # several after an import: see `in_order`
        if not names or not all(name.isidentifier() for name in names):
            names = [rule.attribute]
        if len(names) == 1:
            self._claim(names[0], rule.function)
        for name in names:
            element.add("hsm:call", name=name)

    def _claim(self, name: str, function: Callable[..., Any]) -> None:
        """Refuse two functions of one name: an importer cannot distinguish them."""
        if self._named.setdefault(name, _body_of(function)) != _body_of(function):
            self._problems.append(f"two different functions are named {name}")

    def _target(self, rule: Rule) -> str:
        assert rule.target is not None
        if rule.fork:
            return " ".join(self._id(target) for target in rule.fork)
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


def _body_of(function: Callable[..., Any]) -> object:
    """The identity of a function's code; copies of a function share it."""
    if isinstance(function, FunctionType):
        return function.__code__, function.__closure__
    return function
