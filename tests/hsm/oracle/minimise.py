"""Shrink a failing (chart, sequence): drop whatever can go while it still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from tests.hsm.oracle.chart import Chart, Op

Case = tuple[Chart, tuple[Op, ...]]


def minimise(case: Case, fails: Callable[[Case], bool], limit: int = 3000) -> Case:
    """The smallest case found. `fails` is called at most `limit` times."""
    tries = 0
    again = True
    while again:
        again = False
        for smaller in _smaller(case):
            tries += 1
            if tries > limit:
                return case
            if fails(smaller):
                case, again = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    chart, operations = case
    for less in _each_dropped(operations):
        yield chart, tuple(less)
    for vertex in reversed(chart.vertices):
        without = _without_vertex(chart, vertex.name)
        if without is not None:
            yield without, operations
    for name in ("rules", "defaults", "initials", "entries", "exits", "taking"):
        for less in _each_dropped(getattr(chart, name)):
            yield replace(chart, **{name: tuple(less)}), operations
    for flag in ("any_entry", "any_exit"):
        if getattr(chart, flag):
            yield replace(chart, **{flag: False}), operations
    for label in chart.scripts:
        rest = {k: v for k, v in chart.scripts.items() if k != label}
        yield replace(chart, scripts=rest), operations
    for number, rule in enumerate(chart.rules):
        simpler = []
        if rule.plan is not None:
            plain = {"after": None, "when": None, "effect": None, "branches": ()}
            for name, nothing in plain.items():
                if getattr(rule.plan, name) != nothing:
                    simpler.append(replace(rule, plan=replace(rule.plan, **{name: nothing})))
        if rule.guard is not None:
            simpler.append(replace(rule, guard=None))
        for changed in simpler:
            rules = (*chart.rules[:number], changed, *chart.rules[number + 1 :])
            yield replace(chart, rules=rules), operations
    for number, op in enumerate(operations):
        if op.flags:
            cleared = replace(op, flags=0)
            yield chart, (*operations[:number], cleared, *operations[number + 1 :])


def _each_dropped[T](items: Sequence[T]) -> Iterator[list[T]]:
    for number in range(len(items)):
        yield [*items[:number], *items[number + 1 :]]


def _without_vertex(chart: Chart, name: str) -> Chart | None:
    if any(v.parent == name for v in chart.vertices):
        return None
    dropped = next(v for v in chart.vertices if v.name == name)
    siblings = [v for v in chart.vertices if v.parent == dropped.parent and v is not dropped]
    if dropped.kind == "region" and len(siblings) == 1:
        return None
    return replace(
        chart,
        vertices=tuple(v for v in chart.vertices if v.name != name),
        initials=tuple(i for i in chart.initials if not _mentions(i, name)),
        rules=tuple(r for r in chart.rules if not _mentions(r, name)),
        defaults=tuple(d for d in chart.defaults if not _mentions(d, name)),
        entries=tuple(s for s in chart.entries if s != name),
        exits=tuple(s for s in chart.exits if s != name),
    )


def _mentions(item: Any, name: str) -> bool:
    if is_dataclass(item) and not isinstance(item, type):
        return any(_mentions(getattr(item, f.name), name) for f in fields(item))
    if isinstance(item, tuple):
        return any(_mentions(part, name) for part in item)
    return bool(item == name)


def describe(case: Case) -> str:
    """The case as text that a person can read and paste back."""
    chart, operations = case
    used = {
        "vertices": chart.vertices,
        "initials": chart.initials,
        "rules": chart.rules,
        "defaults": chart.defaults,
        "guards": tuple(chart.guards.items()),
        "scripts": tuple(chart.scripts.items()),
    }
    lines = [f"entries={chart.entries} exits={chart.exits}"]
    lines.append(f"any_entry={chart.any_entry} any_exit={chart.any_exit}")
    lines.append(f"taking={chart.taking}")
    for name, items in used.items():
        lines += [f"{name}:", *(f"    {_short(item)}" for item in items)]
    return "\n".join([*lines, "sequence:", *(f"    {op}" for op in operations)])


def _short(item: Any) -> str:
    if is_dataclass(item) and not isinstance(item, type):
        shown = [
            f"{f.name}={_short(getattr(item, f.name))}"
            for f in fields(item)
            if getattr(item, f.name) != f.default
        ]
        return f"{type(item).__name__}({', '.join(shown)})"
    return repr(item)
