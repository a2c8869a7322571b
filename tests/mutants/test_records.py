"""The mutants still fit the code; that they are caught is shown by `make mutants`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant
from tests.mutants.records import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code_and_its_tests_exist(mutant: Mutant) -> None:
    assert mutant.mutated()
    assert not mutant.missing_tests()
    assert mutant.tests


def test_mutants_have_names_of_their_own_and_are_many() -> None:
    assert [name for name, count in Counter(m.name for m in MUTANTS).items() if count > 1] == []
    assert len(MUTANTS) >= 40


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [("gone", "", "0 times"), ("x", "y", "2 times"), ("a = 1", "a  =  1", "changes nothing")],
)
def test_a_record_that_does_not_fit_is_refused(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    (tmp_path / "code.py").write_text("a = 1\nx = x\n")
    with pytest.raises(ValueError, match=complaint):
        Mutant("it", "code.py", old, new, ()).mutated(tmp_path)
