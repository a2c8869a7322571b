"""Compare the engines on one case, or on many seeds; a disagreement comes back minimised."""

from __future__ import annotations

from collections.abc import Sequence

from tensor_pool.hsm import DefinitionError
from tests.hsm.oracle.build import machine_class
from tests.hsm.oracle.chart import Chart, Op, Plan
from tests.hsm.oracle.generate import (
    EVERYTHING,
    Features,
    SeededPicker,
    draw_chart,
    draw_sequence,
)
from tests.hsm.oracle.minimise import Case, describe, minimise
from tests.hsm.oracle.python_statemachine import DIFFERENCES, statechart_of
from tests.hsm.oracle.runs import essence, run_engine, run_reference, run_statemachine

# The features that mean the same in all three engines.
COMMON: Features = EVERYTHING.without([difference.feature for difference in DIFFERENCES])


def disagreement(
    chart: Chart, sequences: Sequence[Sequence[Op]], *, common: bool
) -> tuple[Sequence[Op], str] | None:
    """The first sequence on which engine and reference, or also python-statemachine, disagree.

    Every case runs once without an observer; the first sequence once more with one, comparing the
    trace hooks as well and that observing changes nothing (H-177).
    """
    cls = machine_class(chart)
    foreign = statechart_of(cls, _plans(chart)) if common else None
    for number, operations in enumerate(sequences):
        expected = run_reference(chart, operations)
        found = run_engine(cls, chart, operations)
        if found != expected:
            return operations, _first_difference("reference", expected, "engine", found)
        if number == 0:
            expected = run_reference(chart, operations, traced=True)
            traced = run_engine(cls, chart, operations, traced=True)
            if traced != expected:
                return operations, _first_difference("reference", expected, "engine", traced)
        if foreign is not None:
            theirs = run_statemachine(foreign, chart, operations)
            if theirs != essence(found):
                return operations, _first_difference(
                    "python-statemachine", theirs, "engine", essence(found)
                )
    return None


def _plans(chart: Chart) -> dict[str, Plan]:
    items = [*chart.rules, *chart.initials]
    return {item.label: item.plan for item in items if item.plan is not None}


def _first_difference(
    name: str, expected: Sequence[object], other: str, found: Sequence[object]
) -> str:
    for number, (a, b) in enumerate(zip(expected, found, strict=False)):
        if a != b:
            return f"operation {number} (0 starts the machine)\n{name:>20}: {a}\n{other:>20}: {b}"
    return f"{name} has {len(expected)} records, {other} has {len(found)}"


def draw(seed: int, sequences: int, *, common: bool) -> tuple[Chart, list[tuple[Op, ...]]]:
    """The chart and the sequences of a seed."""
    features = COMMON if common else EVERYTHING
    pick = SeededPicker(seed)
    chart = draw_chart(pick, features)
    return chart, [draw_sequence(pick, features) for _ in range(sequences)]


def check_seed(seed: int, sequences: int, *, common: bool) -> None:
    """Raise AssertionError with seed, difference and minimised case when the engines disagree."""
    chart, drawn = draw(seed, sequences, common=common)
    found = disagreement(chart, drawn, common=common)
    if found is not None:
        raise AssertionError(report(seed, (chart, tuple(found[0])), common=common))


def is_sound(chart: Chart) -> bool:
    """True if what handlers do at run time, which no class statement checks, is still allowed."""
    parents = {v.parent for v in chart.vertices}
    plans = [item.plan for item in (*chart.rules, *chart.initials) if item.plan is not None]
    for plan in plans:
        if plan.what in ("recall", "choose") and plan.target not in parents:
            return False
        if plan.what == "choose":
            names = [branch.target for branch in plan.branches] + [plan.otherwise[0]]
            if not all(plan.target in _path(chart, name)[:-1] for name in names):
                return False
    return True


def _path(chart: Chart, name: str) -> list[str]:
    vertex = next((v for v in chart.vertices if v.name == name), None)
    return [name] if vertex is None else [*_path(chart, vertex.parent), name]


def report(seed: int | None, case: Case, *, common: bool) -> str:
    def fails(smaller: Case) -> bool:
        try:
            if not is_sound(smaller[0]):
                return False
            return disagreement(smaller[0], [smaller[1]], common=common) is not None
        except (DefinitionError, AssertionError, KeyError, StopIteration, ValueError):
            return False  # no longer a chart

    small = minimise(case, fails)
    found = disagreement(small[0], [small[1]], common=common)
    difference = found[1] if found else "(only the unminimised case fails)"
    engines = "all three engines" if common else "engine and reference"
    return f"{engines}, seed {seed}\n{difference}\n{describe(small)}"
