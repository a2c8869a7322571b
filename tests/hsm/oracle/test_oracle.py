"""Random charts and sequences in the engine, the reference interpreter and python-statemachine.

Every entry, exit, effect, guard, handler and their order, what each of them sees of the machine,
the outcome, phase, leaf, memory and queues must agree after every operation. The checks carry out
H-080,
H-081, H-101, H-110, H-120, H-121, H-122, H-134, H-140, H-150, H-161, H-162, H-199, H-201, H-212 on
generated charts; every one of these has tests of its own with charts written by hand.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hsm.oracle.chart import Chart, Op
from tests.hsm.oracle.differ import COMMON, check_seed, disagreement, draw
from tests.hsm.oracle.generate import EVERYTHING, draw_chart, draw_sequence
from tests.hsm.oracle.minimise import describe
from tests.hsm.oracle.python_statemachine import DIFFERENCES

SEQUENCES = 10  # of each chart; `make soak-hsm` draws as many charts as one likes
FULL_CHARTS = 180
COMMON_CHARTS = 30


class HypothesisPicker:
    """Draws every decision from hypothesis, so that a failing chart shrinks."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def integer(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))


@pytest.mark.parametrize("block", range(4))
def test_engine_and_reference_agree_on_charts_with_everything(block: int) -> None:
    """H-080 H-101 H-110 H-120 H-121 H-134 H-140 H-150 H-160 H-161 H-162 H-172 H-177 H-201
    H-212 H-221
    """
    for seed in range(block * FULL_CHARTS // 4, (block + 1) * FULL_CHARTS // 4):
        check_seed(seed, SEQUENCES, common=False)


@pytest.mark.parametrize("block", range(2))
def test_all_three_engines_agree_on_charts_of_the_common_subset(block: int) -> None:
    """H-080 H-100 H-110 H-120 H-121 H-133 H-134 H-140 H-150 H-199 H-200"""
    for seed in range(block * COMMON_CHARTS // 2, (block + 1) * COMMON_CHARTS // 2):
        check_seed(seed, SEQUENCES, common=True)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.booleans())
def test_hypothesis_finds_no_chart_on_which_they_disagree(
    data: st.DataObject, common: bool
) -> None:
    features = COMMON if common else EVERYTHING
    pick = HypothesisPicker(data)
    chart = draw_chart(pick, features)
    operations = draw_sequence(pick, features)
    found = disagreement(chart, [operations], common=common)
    assert found is None, f"{found[1]}\n{describe((chart, operations))}"


def _path_kinds(chart: Chart, name: str) -> list[str]:
    vertex = next((v for v in chart.vertices if v.name == name), None)
    return [] if vertex is None else [*_path_kinds(chart, vertex.parent), vertex.kind]


def _features_of(chart: Chart, sequences: list[tuple[Op, ...]]) -> set[str]:
    plans = [x.plan for x in (*chart.rules, *chart.initials) if x.plan is not None]
    steps = {step.what for script in chart.scripts.values() for step in script}
    present = {
        "terminate": any(v.kind == "terminate" for v in chart.vertices),
        "final": any(v.kind == "final" for v in chart.vertices),
        "deferral": any(v.defer for v in chart.vertices),
        "completion": any(r.event is None for r in chart.rules),
        "any": any(r.event == "*" for r in chart.rules),
        "any entry": chart.any_entry,
        "any exit": chart.any_exit,
        "argument of entry or exit": bool(chart.taking),
        "guard": any(r.guard for r in chart.rules),
        "history edge": any(r.history for r in chart.rules),
        "history default": bool(chart.defaults),
        "history initial": any(i.history for i in chart.initials),
        "declining": any(p.what == "decline" or p.when is not None for p in plans),
        "regions": any(v.kind == "region" for v in chart.vertices),
        "nested regions": any(
            v.kind == "region" and len([p for p in _path_kinds(chart, v.name) if p == "region"]) > 1
            for v in chart.vertices
        ),
        "fork": any(r.fork for r in chart.rules),
        "timer": any(r.after for r in chart.rules),
        "periodic timer": any(r.every for r in chart.rules),
        "self transition": any(r.target == r.state for r in chart.rules),
        "to ROOT": any(r.target == "ROOT" for r in chart.rules),
        "from ROOT": any(r.state == "ROOT" for r in chart.rules),
        **{what: any(p.what == what for p in plans) for what in ("go", "recall", "choose")},
        **{what: what in steps for what in ("flip", "post", "raise", "burn", "misuse")},
        **{
            op: any(o.what == op for ops in sequences for o in ops)
            for op in ("dispatch", "post", "reset", "roundtrip", "copy", "wait")
        },
    }
    return {name for name, here in present.items() if here}


def test_the_drawn_charts_have_every_feature_many_times() -> None:
    """A generator that stopped drawing something would make all of the above pass."""
    counts: dict[str, int] = {}
    for seed in range(FULL_CHARTS):
        for name in _features_of(*draw(seed, 3, common=False)):
            counts[name] = counts.get(name, 0) + 1
    assert len(counts) == 34
    assert min(counts.values()) >= FULL_CHARTS // 50, counts


def test_every_difference_to_python_statemachine_is_a_feature_with_a_reason() -> None:
    assert len({d.feature for d in DIFFERENCES}) == len(DIFFERENCES)
    for difference in DIFFERENCES:
        assert getattr(EVERYTHING, difference.feature) is True
        assert getattr(COMMON, difference.feature) is False
        assert difference.reason
