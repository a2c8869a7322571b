"""The order of rules when several are about one thing (H-020, H-021, H-183).

A rule comes with its rank: the position of the declaring class in the MRO. Of handlers that can be
there only once, the most derived class's is taken; candidates of an event are put in the order in
which they are tried. Within one class a conflict is a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from ..declarations import Role
from ..states import State
from .chart import Chart, Rule

Ranked = tuple[int, Rule]
Report = Callable[[str, tuple[str, int] | None, str], None]


def assemble(
    name: str,
    states: tuple[State, ...],
    ranked: list[Ranked],
    report: Report,
    *,
    abstract: bool,
    strict: bool,
) -> Chart:
    """Make the chart of a class.

    Args:
        ranked: all rules of the family in document order.
        report: takes each mistake: what, where, and the text.
    """
    singles: dict[Role, dict[Any, Ranked]] = {role: {} for role in Role}
    candidates: dict[State, dict[Hashable, list[Ranked]]] = {}
    completions: dict[State, list[Ranked]] = {}
    timeouts: dict[State, list[Rule]] = {}
    for rank, rule in ranked:
        if rule.role is Role.TIMEOUT and rule.state is not None:
            timeouts.setdefault(rule.state, []).append(rule)
        elif rule.role is Role.EVENT and rule.state is not None:
            events = candidates.setdefault(rule.state, {})
            events.setdefault(rule.event, []).append((rank, rule))
        elif rule.role is Role.COMPLETION and rule.state is not None:
            completions.setdefault(rule.state, []).append((rank, rule))
        else:
            _choose(singles[rule.role], rank, rule, report)
    ordered_candidates = {
        state: {event: _in_order(each, report) for event, each in events.items()}
        for state, events in candidates.items()
    }
    ordered_completions = {state: _in_order(each, report) for state, each in completions.items()}
    chosen = {
        role: {key: rule for key, (_, rule) in found.items()} for role, found in singles.items()
    }
    in_force = {
        *(rule for found in chosen.values() for rule in found.values()),
        *(
            rule
            for events in ordered_candidates.values()
            for rules in events.values()
            for rule in rules
        ),
        *(rule for rules in ordered_completions.values() for rule in rules),
        *(rule for rules in timeouts.values() for rule in rules),
    }
    return Chart(
        name=name,
        abstract=abstract,
        states=states,
        rules=tuple(rule for _, rule in ranked if rule in in_force),
        initials=chosen[Role.INITIAL],
        candidates=ordered_candidates,
        completions=ordered_completions,
        defaults=chosen[Role.HISTORY_DEFAULT],
        entries=chosen[Role.ENTRY],
        exits=chosen[Role.EXIT],
        timeouts={state: tuple(rules) for state, rules in timeouts.items()},
        strict=strict,
    )


def _choose(chosen: dict[Any, Ranked], rank: int, rule: Rule, report: Report) -> None:
    """Keep the rule of the most derived class; two of one class are a mistake (H-021)."""
    key = rule.state if rule.kind is None else (rule.state, rule.kind)
    other = chosen.get(key)
    if other is not None and other[0] == rank:
        problem = f"{other[1].attribute!r} declares the same ({_line(other[1])}); keep one of them"
        report(_title(rule), rule.place, problem)
    elif other is None or rank < other[0]:
        chosen[key] = (rank, rule)


def _in_order(ranked: list[Ranked], report: Report) -> tuple[Rule, ...]:
    """The candidates in the order of trial, up to the first unguarded one (H-020, H-183)."""
    chosen: list[Rule] = []
    last_rank = -1
    for rank, rule in sorted(ranked, key=lambda each: each[0]):
        if not chosen or chosen[-1].guard is not None:
            chosen.append(rule)
            last_rank = rank
            continue
        if rank != last_rank:
            break
        first = chosen[-1]
        what = "completion" if rule.role is Role.COMPLETION else f"event {rule.event!r}"
        report(
            _title(rule),
            rule.place,
            f"it is never tried for the {what}: {first.attribute!r} ({_line(first)}) comes first "
            "and has no guard; guard that one or remove this one",
        )
    return tuple(chosen)


def _title(rule: Rule) -> str:
    state = "ANY" if rule.state is None else rule.state.name
    return f"{rule.attribute} @{rule.role.value}({state})"


def _line(rule: Rule) -> str:
    return f"{rule.place[0]}:{rule.place[1]}"
