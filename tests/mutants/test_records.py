"""The mutants still fit the code; that they are caught is shown by `make mutants`."""

from __future__ import annotations

import ast
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
    [
        ("gone", "", "0 times"),
        ("x", "y", "2 times"),
        ("a = 1", "a  =  1", "changes nothing"),
        ('"key"', '"other"', "0 times"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    (tmp_path / "code.py").write_text("a = 1\nx = x\n")
    with pytest.raises(ValueError, match=complaint):
        Mutant("it", "code.py", old, new, ()).mutated(tmp_path)


@pytest.mark.parametrize(
    "code",
    [
        'def f(a):\n    if a and g(a, "the text"):\n        h(a)\n',
        "def f(a):\n    if (  # so\n        a and\n        g(a, 'a word')\n    ):\n        h(a)\n",
        'class C:\n    def f(a):\n        """A doc."""\n        if a and g(a, "the text"):\n'
        "            # a comment\n            h(a)\n",
    ],
    ids=["as it was", "wrapped and reworded", "deeper and commented"],
)
def test_a_record_fits_code_that_was_only_reworded_or_laid_out_anew(
    tmp_path: Path, code: str
) -> None:
    (tmp_path / "code.py").write_text(code)
    statement = Mutant("it", "code.py", "    h(a)\n", "    h(a)\n    h(a)\n", ())
    assert ast.unparse(ast.parse(statement.mutated(tmp_path))).count("h(a)") == 2
    part = Mutant("it", "code.py", 'a and g(a, "the text")', "a", ())
    mutated = ast.unparse(ast.parse(part.mutated(tmp_path)))
    assert "if a:" in mutated
    assert "text" not in mutated
