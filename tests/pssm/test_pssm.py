"""The tests of PSSM 1.0, each as a machine of ours whose trace the published test admits."""

from __future__ import annotations

import pytest

from tests.pssm.catalogue import NAMES, NOT_EXPRESSED
from tests.pssm.traced import CASES, Case


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.differs is None], ids=lambda case: case.name
)
def test_the_trace_is_one_that_the_pssm_test_admits(case: Case) -> None:
    assert "::".join(case.run().trace) in case.admits


@pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if case.differs is not None],
    ids=lambda case: case.name,
)
def test_a_documented_difference_is_exactly_the_documented_one(case: Case) -> None:
    trace = "::".join(case.run().trace)
    assert trace == case.ours
    assert trace not in case.admits


def test_every_test_of_the_suite_is_a_case_or_has_a_reason() -> None:
    assert len(NAMES) == len(set(NAMES)) == 103
    assert CASES.keys().isdisjoint(NOT_EXPRESSED)
    assert {*CASES, *NOT_EXPRESSED} == set(NAMES)


def test_no_history_test_differs() -> None:
    assert not [name for name in CASES if name.startswith("History") and CASES[name].differs]


def test_terminate_003_ends_the_machine() -> None:
    assert CASES["Terminate 003"].run().is_terminated
