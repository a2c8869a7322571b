"""The specification in the repository: each id has its anchor, each id that is named exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import coverage_matrix

ROOT = Path(__file__).parents[2]
SPECIFICATION = coverage_matrix.SPECIFICATION
SERIES = "".join(coverage_matrix.FAMILIES)


def test_every_family_has_a_page_and_every_bold_id_that_opens_a_rule_is_an_anchor() -> None:
    ids = coverage_matrix.requirement_ids()
    assert {i[0] for i in ids} == set(coverage_matrix.FAMILIES)
    for page in SPECIFICATION.glob("*.md"):
        opened = re.findall(rf"^\W*\*\*([{SERIES}]-\d{{3}})\*\*", page.read_text(), re.M)
        assert opened == [], f"{page.name}: rules without an anchor"


def test_an_id_that_is_defined_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.md").write_text('<a id="W-001"></a>**W-001** one\n')
    (tmp_path / "b.md").write_text('<a id="W-001"></a>**W-001** two\n')
    monkeypatch.setattr(coverage_matrix, "SPECIFICATION", tmp_path)
    with pytest.raises(ValueError, match=r"more than once.*W-001"):
        coverage_matrix.requirement_ids()


def test_every_id_that_code_tests_and_pages_name_is_in_the_specification() -> None:
    defined = set(coverage_matrix.requirement_ids())
    named: dict[str, str] = {}
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "*.py", "*.md"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if path.is_relative_to(SPECIFICATION) or path == Path(__file__) or not path.is_file():
            continue
        for requirement in re.findall(rf"(?<![\w-])[{SERIES}]-\d{{3}}(?![\w-])", path.read_text()):
            named.setdefault(requirement, name)
    assert len(named) > 300
    assert {i: where for i, where in named.items() if i not in defined} == {}


@pytest.mark.parametrize("family", ["W", "M", "C"])
def test_every_requirement_of_a_finished_family_has_a_test(family: str) -> None:
    found = coverage_matrix.tests_by_requirement(coverage_matrix.TESTS)
    assert [i for i in coverage_matrix.requirement_ids() if i[0] == family and i not in found] == []


def test_no_page_of_the_specification_names_a_file_that_is_not_here() -> None:
    for page in SPECIFICATION.glob("*.md"):
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            assert (page.parent / target).is_file(), f"{page.name} links to {target}"
        for target in re.findall(r"`([\w/]*vectors/[\w./]+)`", text):
            assert (ROOT / target).is_file(), f"{page.name} names {target}"
