"""The situations of the W3C SCXML suite, by number, as machines of ours."""

from __future__ import annotations

import pytest

from tests.scxml_semantics.catalogue import NOT_EXPRESSED
from tests.scxml_semantics.judged import CASES, Case

TESTS_OF_THE_SUITE = 193


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.differs is None], ids=lambda case: case.number
)
def test_the_machine_passes(case: Case) -> None:
    assert case.verdict(case.run())


@pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if case.differs is not None],
    ids=lambda case: case.number,
)
def test_a_documented_difference_is_exactly_the_documented_one(case: Case) -> None:
    assert case.verdict(case.run())


def test_every_test_of_the_suite_is_a_case_or_has_a_reason() -> None:
    assert CASES.keys().isdisjoint(NOT_EXPRESSED)
    assert len(CASES) + len(NOT_EXPRESSED) == TESTS_OF_THE_SUITE
