"""The declarations of a chart, seen from outside: edges, reachability, lint (section 21)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from ..declarations import Role
from ..states import ANY, ROOT, Final, Region, State, Terminate
from . import completion_cycles
from .chart import Chart, Rule


class Edge(NamedTuple):
    """One declared edge (H-230).

    Attributes:
        source: the state that declares it.
        event: the event; None for initials and completions, the kind for a history default.
        target: where it leads; None for a handler that takes no transition.
        kind: `initial`, `completion`, `history-default`, `internal`, `history`, `self`, `local` or
            `external`.
        guard: the name of the guard, or None.
        handler: the attribute name of the function, or None.
    """

    source: State
    event: Hashable
    target: State | None
    kind: str
    guard: str | None
    handler: str | None


class Finding(NamedTuple):
    """Something that is legal but probably not meant (H-232)."""

    code: str
    state: State
    message: str


def edges_of(chart: Chart) -> tuple[Edge, ...]:
    """All edges in the order of their declaration, those of base classes first."""
    return tuple(edge for rule in chart.rules for edge in edges_of_rule(chart, rule))


def edges_of_rule(chart: Chart, rule: Rule) -> list[Edge]:
    source = rule.state
    if source is None or rule.role in (Role.ENTRY, Role.EXIT):
        return []
    event = rule.kind if rule.role is Role.HISTORY_DEFAULT else rule.event
    guard = None
    if rule.guard is not None:
        guard = getattr(rule.guard, "__name__", type(rule.guard).__name__)
    return [
        Edge(source, event, target, _kind(chart, rule, source, target), guard, rule.handler)
        for target in rule.targets or (None,)
    ]


def _kind(chart: Chart, rule: Rule, source: State, target: State | None) -> str:
    if rule.role is Role.INITIAL:
        return "initial"
    if rule.role is Role.COMPLETION:
        return "completion"
    if rule.role is Role.HISTORY_DEFAULT:
        return "history-default"
    if target is None:
        return "internal"
    if rule.history is not None:
        return "history"
    if target is source:
        return "self"
    if chart.is_below(source, target) or chart.is_below(target, source):
        return "local"
    return "external"


def unreachable_of(chart: Chart) -> tuple[State, ...]:
    """The states that no sequence of declared edges can enter, in document order (H-231)."""
    targets: dict[State, list[State]] = {}
    for edge in edges_of(chart):
        if edge.target is not None:
            targets.setdefault(edge.source, []).append(edge.target)
    reached = {ROOT}
    waiting = [ROOT]
    while waiting:
        for target in targets.get(waiting.pop(), ()):
            entered = chart.paths[target]
            entered += tuple(region for state in entered for region in chart.regions.get(state, ()))
            new = [state for state in dict.fromkeys(entered) if state not in reached]
            reached.update(new)
            waiting.extend(new)
    return tuple(state for state in chart.states if state not in reached)


def _hidden_by_any(chart: Chart) -> list[Finding]:
    """The states whose `ANY` takes events that a state around them declares (H-270)."""
    findings = []
    for state in chart.states:
        rules = chart.candidates.get(state, {}).get(ANY, ())
        if not rules or rules[-1].guard is not None:
            continue
        own = chart.candidates[state].keys() | state.defer
        hidden = [
            f"{event!r} of {outer.name}"
            for outer in chart.paths[state][1:]
            for event in chart.candidates.get(outer, ())
            if event is not ANY and event not in own
        ]
        if hidden:
            message = f"ANY in {state.name!r} hides {', '.join(hidden)}"
            findings.append(Finding("any-hides", state, message))
    return findings


def _deferred_by_all(chart: Chart) -> list[Finding]:
    """The states that defer an event which no state takes (H-270)."""
    taken: set[Hashable] = set()
    for events in chart.candidates.values():
        taken.update(events)
    return [
        Finding("deferred-by-all", state, f"{state.name!r} defers {event!r}, which no state takes")
        for state in chart.states
        for event in sorted(state.defer, key=repr)
        if event not in taken and ANY not in taken
    ]


def lint_of(chart: Chart) -> tuple[Finding, ...]:
    """All findings, in document order for each code."""
    findings = [
        Finding("unreachable", state, f"no sequence of declared edges enters {state.name!r}")
        for state in unreachable_of(chart)
    ]
    leaving = {
        edge.source
        for edge in edges_of(chart)
        if edge.target is not None and edge.kind not in ("initial", "history-default")
    }
    for state in chart.states:
        if isinstance(state, Final | Terminate) or not chart.can_rest_in(state):
            continue
        if leaving.isdisjoint(chart.paths[state]):
            message = f"no edge leads out of {state.name!r}; use a Final if this is meant"
            findings.append(Finding("dead-end", state, message))
    for state in chart.states:
        if isinstance(state, Region):
            continue
        ending = [
            child for home in chart.regions.get(state, (state,)) for child in chart.children[home]
        ]
        has_final = any(isinstance(child, Final) for child in ending)
        if has_final and state not in chart.completions:
            message = f"{state.name!r} has a Final child, and nothing follows its completion"
            findings.append(Finding("no-completion", state, message))
    for cycle in completion_cycles.possible(chart):
        names = " → ".join(state.name for state in (*cycle, cycle[0]))
        message = f"the completions {names} may follow each other without end"
        findings.append(Finding("completion-loop", cycle[0], message))
    findings.extend(_hidden_by_any(chart))
    findings.extend(_deferred_by_all(chart))
    return tuple(findings)
