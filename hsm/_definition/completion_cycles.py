"""Completions that lead to completions without end (H-270)."""

from __future__ import annotations

from collections.abc import Iterator

from ..states import ROOT, Final, State, Terminate
from .chart import Chart, Rule


def endless(chart: Chart) -> tuple[tuple[State, ...], ...]:
    """The cycles of unguarded completion edges of simple states: nothing can leave them.

    Each begins with its first state in document order.
    """
    following = {
        state: rested
        for state in chart.states
        for rule in chart.completions.get(state, ())[:1]
        if rule.guard is None and (rested := _rests_after(chart, rule)) is not None
    }
    return _cycles(chart, {state: (after,) for state, after in following.items()})


def possible(chart: Chart) -> tuple[tuple[State, ...], ...]:
    """The cycles that completions may run through when guards and handlers want it so."""
    following = {
        state: tuple(
            rested
            for rule in rules
            for target in rule.targets
            if rule.history is None and (rested := _leaf(chart, target)) is not None
        )
        for state, rules in chart.completions.items()
        if not chart.is_composite(state)
    }
    return _cycles(chart, following)


def _rests_after(chart: Chart, rule: Rule) -> State | None:
    if rule.target is None or rule.history is not None or rule.state is None:
        return None
    return None if chart.is_composite(rule.state) else _leaf(chart, rule.target)


def _leaf(chart: Chart, target: State) -> State | None:
    """The simple state that entering `target` ends in; None when that is decided at run time."""
    seen = set()
    while target not in seen:
        seen.add(target)
        if target is not ROOT and not chart.is_composite(target):
            return None if isinstance(target, Final | Terminate) else target
        initial = chart.initials.get(target)
        if initial is None or initial.target is None or initial.history is not None:
            return None
        target = initial.target
    return None


def _cycles(
    chart: Chart, following: dict[State, tuple[State, ...]]
) -> tuple[tuple[State, ...], ...]:
    found: dict[frozenset[State], tuple[State, ...]] = {}
    for start in chart.states:
        cycle = _way_back(start, following)
        if cycle:
            found.setdefault(frozenset(cycle), cycle)
    return tuple(found.values())


def _way_back(start: State, following: dict[State, tuple[State, ...]]) -> tuple[State, ...]:
    """A shortest way from a state to itself."""
    reached: dict[State, State] = {}
    waiting = [start]
    for state in waiting:
        for after in following.get(state, ()):
            if after is start:
                return tuple(_backwards(state, start, reached))[::-1]
            if after not in reached:
                reached[after] = state
                waiting.append(after)
    return ()


def _backwards(state: State, start: State, reached: dict[State, State]) -> Iterator[State]:
    while state is not start:
        yield state
        state = reached[state]
    yield start
