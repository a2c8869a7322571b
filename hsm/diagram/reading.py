"""Read the outline of a machine class: what is declared, drawn as UML draws it.

Everything comes from the class's chart. Only one thing is not declared there: whether an imperative
handler uses its targets for a transition, a choice or a history. That is read off the names its
code (and that of the methods it calls on `self`) refers to, without running it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from types import FunctionType
from typing import Any

from .._definition.chart import Chart, Rule
from .._definition.chart_of import chart_of
from ..machine import Machine
from ..states import ANY, DEEP, ROOT, SHALLOW, Final, History, Region, State, Terminate
from .outline import ROOT_ID, Arrow, ArrowKind, Node, NodeKind, Outline

# Words that Mermaid reads as syntax, so that they cannot be ids.
_RESERVED = {
    "end",
    "state",
    "note",
    "class",
    "default",
    "direction",
    "style",
    "as",
    "click",
    "root",
}


def outline_of(machine: type[Machine]) -> Outline:
    """The outline of a machine class.

    >>> from tensor_pool.hsm import Machine, ROOT, State, on_event, on_initial
    >>> class Door(Machine):
    ...     Closed, Open = State(), State()
    ...     begin = on_initial(ROOT, target=Closed)
    ...     push = on_event(Closed, "push", target=Open)
    >>> [(a.source, a.target, a.labels) for a in outline_of(Door).arrows]
    [('ROOT__initial', 'Closed', ()), ('Closed', 'Open', ('push',))]
    """
    return _Reader(machine).read()


class _Reader:
    def __init__(self, machine: type[Machine]) -> None:
        self._machine = machine
        self._chart: Chart = chart_of(machine)
        self._attributes = _attributes(machine)
        self._ids = _ids(self._chart.states)
        self._states = {ident: state for state, ident in self._ids.items()}
        self._extra: dict[str, Node] = {}
        self._arrows: dict[tuple[str, str, ArrowKind], list[str]] = {}
        self._lines: dict[State, list[str]] = {
            state: list(self._behaviours(state)) for state in (ROOT, *self._chart.states)
        }

    def read(self) -> Outline:
        for owner, rule in self._chart.initials.items():
            self._read_initial(owner, rule)
        for group in self._groups():
            self._read_group(group)
        for (owner, kind), rule in self._chart.defaults.items():
            history = self._history(owner, kind)
            self._connect(history, self._ids[_target(rule)], "default", _label("", rule))
        extras: dict[str | None, list[Node]] = {}
        for node in self._extra.values():
            extras.setdefault(node.parent, []).append(node)
        nodes = [Node(ROOT_ID, self._machine.__name__, "composite", None, self._text(ROOT))]
        nodes += extras.get(ROOT_ID, [])
        for state in self._chart.states:
            ident = self._ids[state]
            parent = self._ids[state.parent or ROOT]
            region = isinstance(state, Region)
            node = Node(ident, state.name, self._kind(state), parent, self._text(state), region)
            nodes.append(node)
            nodes += extras.get(ident, [])
        arrows = (Arrow(*ends, tuple(labels)) for ends, labels in self._arrows.items())
        return Outline(self._machine.__name__, tuple(nodes), tuple(arrows))

    def _text(self, state: State) -> tuple[str, ...]:
        lines = self._lines[state]
        if state.defer:
            lines = [*lines, "defer " + ", ".join(sorted(map(_event_name, state.defer)))]
        return tuple(lines)

    def _kind(self, state: State) -> NodeKind:
        if isinstance(state, Final):
            return "final"
        if isinstance(state, Terminate):
            return "terminate"
        return "composite" if self._chart.is_composite(state) else "state"

    def _behaviours(self, state: State) -> Iterator[str]:
        """The entry and exit lines of a box; those for all states stand in the machine's box."""
        for what, rules in (("entry", self._chart.entries), ("exit", self._chart.exits)):
            key = None if state is ROOT else state
            rule = rules.get(key)
            if rule is not None:
                scope = " of any other state" if state is ROOT else ""
                yield f"{what}{scope} / {_plain(rule.attribute)}"

    def _groups(self) -> list[tuple[str, list[Rule]]]:
        """Candidates of states; those that differ only in the event are drawn as one."""
        groups: dict[tuple[object, ...], tuple[list[str], list[Rule]]] = {}
        for state in (ROOT, *self._chart.states):
            for event, candidates in self._chart.candidates.get(state, {}).items():
                for rule in candidates:
                    key = (state, rule.attribute, rule.guard, rule.target, rule.targets)
                    names, rules = groups.setdefault(key, ([], []))
                    names.append(_event_name(event))
                    rules.append(rule)
            for rule in self._chart.timeouts.get(state, ()):
                groups[state, rule] = ([repr(rule.event)], [rule])
            for rule in self._chart.completions.get(state, ()):
                groups[state, rule] = ([], [rule])
        return [(", ".join(names), rules) for names, rules in groups.values()]

    def _read_group(self, group: tuple[str, list[Rule]]) -> None:
        events, (rule, *_) = group
        assert rule.state is not None
        source = self._ids[rule.state]
        label = _label(events, rule)
        kind: ArrowKind = "event" if events else "completion"
        if not rule.targets:
            self._lines[rule.state].append(_label(events or "completion", rule))
        elif rule.is_declarative:
            self._connect(source, self._end(rule), kind, label)
        else:
            self._read_imperative(source, rule, kind, label)

    def _read_imperative(self, source: str, rule: Rule, kind: ArrowKind, label: str) -> None:
        names = set(_names_used(rule.function, self._attributes))
        depth = DEEP if "DEEP" in names else SHALLOW
        if "choice" in names:
            choice = self._choice(rule)
            self._connect(source, choice, kind, label)
            for target in rule.targets:
                # A region is among the targets for its history only.
                end = self._entrance(target, depth if isinstance(target, Region) else None)
                self._connect(choice, end, "choice", "")
            return
        recalls = "transition_history" in names
        for target in rule.targets:
            by_history = recalls and target is not ROOT and self._chart.is_composite(target)
            end = self._entrance(target, depth if by_history else None)
            self._connect(source, end, kind, label)

    def _read_initial(self, owner: State, rule: Rule) -> None:
        ident = f"{self._ids[owner]}__initial"
        self._extra[ident] = Node(ident, "", "initial", self._ids[owner])
        if rule.is_declarative:
            self._connect(ident, self._end(rule), "initial", _label("", rule))
        else:
            self._read_imperative(ident, rule, "initial", _label("", rule))

    def _end(self, rule: Rule) -> str:
        """The vertex that a declarative edge leads to."""
        target = _target(rule)
        if not rule.fork:
            return self._entrance(target, rule.history)
        home = self._ids[target.parent or ROOT]
        ident = f"{home}__fork{len(self._extra)}"
        self._extra[ident] = Node(ident, "", "fork", home)
        for branch in rule.fork:
            self._connect(ident, self._ids[branch], "fork", "")
        return ident

    def _entrance(self, target: State, history: History | None) -> str:
        return self._ids[target] if history is None else self._history(target, history)

    def _history(self, owner: State, kind: History) -> str:
        sign: NodeKind = "deep" if kind is DEEP else "shallow"
        ident = f"{self._ids[owner]}__{sign}"
        self._extra.setdefault(ident, Node(ident, "", sign, self._ids[owner]))
        return ident

    def _choice(self, rule: Rule) -> str:
        """A diamond in the innermost state that contains every target."""
        first, *others = [self._chart.paths[target][1:] or (ROOT,) for target in rule.targets]
        around_all = set(first).intersection(*others)
        owner = next(state for state in first if state in around_all)
        ident = f"{self._ids[owner]}__choice{len(self._extra)}"
        self._extra[ident] = Node(ident, "", "choice", self._ids[owner])
        return ident

    def _connect(self, source: str, target: str, kind: ArrowKind, label: str) -> None:
        if source == target and source in self._states:
            state = self._states[source]
            if state is ROOT or self._chart.is_composite(state):
                # A loop around a box full of states cannot be read: it stands as a line in it.
                self._lines[state].append(f"{label} (self)")
                return
        labels = self._arrows.setdefault((source, target, kind), [])
        if label:
            labels.append(label)


def _ids(states: Iterable[State]) -> dict[State, str]:
    """Ids that Graphviz and Mermaid take: the state's name where that is a plain word."""
    ids = {ROOT: ROOT_ID}
    taken = {ROOT_ID}
    for state in states:
        # Two underscores in a row are kept for the vertices that belong to a state.
        ident = re.sub(r"[^0-9A-Za-z]+", "_", state.name)
        if not ident.isidentifier() or ident.lower() in _RESERVED:
            ident = f"state_{ident}".rstrip("_")
        base, number = ident, len(ids)
        while ident in taken:
            ident, number = f"{base}_{number}", number + 1
        taken.add(ident)
        ids[state] = ident
    return ids


def _target(rule: Rule) -> State:
    assert rule.target is not None
    return rule.target


def _label(events: str, rule: Rule) -> str:
    parts = [events] if events else []
    if rule.guard is not None:
        parts.append(f"[{_guard_name(rule.guard)}]")
    if rule.function is not None:
        parts.append(f"/ {_plain(rule.attribute)}")
    return " ".join(parts)


def _guard_name(guard: Callable[..., Any]) -> str:
    name = getattr(guard, "__name__", type(guard).__name__)
    return "\N{GREEK SMALL LETTER LAMDA}" if name == "<lambda>" else _plain(name)


def _plain(name: str) -> str:
    return name.strip("_") or name


def _event_name(event: Hashable) -> str:
    if event is ANY:
        return "any other"
    if isinstance(event, enum.Enum):
        return event.name
    if isinstance(event, type):
        return event.__name__
    # An address would make each drawing different.
    return str(event) if isinstance(event, str) else re.sub(r" at 0x[0-9a-f]+", "", repr(event))


def _names_used(
    function: object, attributes: dict[str, Any], seen: set[str] | None = None
) -> Iterator[str]:
    """The names that a handler's code refers to, and those of the methods it may call."""
    seen = set() if seen is None else seen
    if not isinstance(function, FunctionType):
        return
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if hasattr(constant, "co_names")]
        for name in code.co_names:
            if name in seen:
                continue
            seen.add(name)
            yield name
            if not hasattr(Machine, name):
                yield from _names_used(attributes.get(name), attributes, seen)


def _attributes(machine: type) -> dict[str, Any]:
    """All attributes of a class and its bases, the most derived ones winning."""
    found: dict[str, Any] = {}
    for klass in reversed(machine.__mro__):
        found.update(vars(klass))
    return found
