"""Differences between orthogonal regions here and `<parallel>` in SCXML."""

from __future__ import annotations

from collections.abc import Iterator

from .._definition.chart import Chart, Rule
from ..states import ANY, State


def taken_in_several(chart: Chart) -> list[str]:
    """Return the events that several regions of a state take in an order that SCXML has not.

    Here each transition is taken whole; SCXML leaves all states, then runs all effects, then
    enters. Without behaviours nothing shows the order.
    """
    if not (chart.entries or chart.exits):
        return []
    problems = []
    for owner, regions in chart.regions.items():
        taken = [{rule.event for rule in _transitions(chart, region)} for region in regions]
        for number, events in enumerate(taken):
            others = set().union(*taken[:number])
            several = events & others if ANY not in events | others else events | others
            if events and others and several:
                names = ", ".join(sorted(map(str, several)))
                problems.append(
                    f"several regions of {owner.name} take {names}: here one transition after the "
                    "other, in SCXML the exits of all come first"
                )
    return problems


def _transitions(chart: Chart, region: State) -> Iterator[Rule]:
    for state, events in chart.candidates.items():
        if chart.is_below(state, region):
            for rules in events.values():
                yield from (rule for rule in rules if rule.targets)
