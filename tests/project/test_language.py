"""The language check finds what it promises to find, and only there."""

from __future__ import annotations

import pytest

from tests import language
from tests.language import findings_in, texts_of_markdown, texts_of_python

PLANTED = {
    "opening": [
        'def f(): \n    """How long the lease lasts."""\n',
        'def f():\n    """Whether the slot is committed."""\n',
        'class A:\n    """What a client sends."""\n',
        '"""Who owns the region."""\n',
        'class A:\n    n: int = 1\n    """Which slot is next."""\n',
        'x = 1\n"""Where the file stands."""\n',
    ],
    "clause subject": [
        "# Who takes the item owns the handle.\n",
        '"""Return it.\n\nWhat a client sends is\nread once.\n"""\n',
        "x = 1  # first. Whoever closes it wakes the others.\n",
    ],
    "nobody": [
        'raise ValueError("nobody has attached to it")\n',
        'help = f"printed when somebody asks for {name}"\n',
        "# Anyone can open the file.\n",
    ],
    "is no": [
        'log.warning("%s is no directory", path)\n',
        '"""Raise if there are no slots or the pools are no powers of two."""\n',
    ],
    "programs do not speak": [
        'log.info("the driver says it goes away")\n',
        '"""Return the text that the kernel told."""\n',
        "# Consumers know the epoch.\n",
        'help = ("Exit when the consumer "\n        "wants no more frames")\n',
    ],
    "metaphor": [
        '"""The desk of leases."""\n',
        "# Let the rope out.\n",
        'print("the second process begins the next act here")\n',
    ],
}


@pytest.mark.parametrize(
    ("rule", "source"), [(rule, source) for rule, sources in PLANTED.items() for source in sources]
)
def test_a_planted_example_is_found_in_python(rule: str, source: str) -> None:
    found = [f for text in texts_of_python(source) for f in findings_in(text)]
    assert rule in {finding.rule.name for finding in found}


def test_every_rule_has_planted_examples() -> None:
    assert {rule.name for rule in language.RULES} == set(PLANTED)


@pytest.mark.parametrize(
    "source",
    [
        '"""Return the owner. There is no second one, and it is no longer open."""\n',
        '"""Lease times.\n\nWhat happens next? The driver sends a notice.\n"""\n',
        "tell = says = desk = 1\n",
        'words = {"whoever", "desk"}\n',
        "# The field `nobody` is set by `says`.\n",
        '"""Act on each event; threads act as one."""\n',
    ],
)
def test_plain_sentences_identifiers_and_code_are_left_alone(source: str) -> None:
    assert [f for text in texts_of_python(source) for f in findings_in(text)] == []


def test_a_page_is_read_without_its_code_and_headings() -> None:
    page = (
        "# Who is nobody\n\n```\nnobody says\n```\n\nIt works.\n\nThen `desk` and nobody comes.\n"
    )
    found = [f for text in texts_of_markdown(page) for f in findings_in(text, "a.md")]
    assert [(f.rule.name, f.line) for f in found] == [("nobody", 9)]


def test_a_finding_names_its_line_and_its_remedy() -> None:
    source = 'x = 1\n\n\ndef f():\n    """Return it.\n\n    The driver says so.\n    """\n'
    (finding,) = [f for t in texts_of_python(source) for f in findings_in(t, "cli/a.py")]
    assert str(finding).startswith("cli/a.py:7: programs do not speak: 'says' (programs print")


def test_no_area_has_more_findings_than_its_limit_and_a_clean_area_has_none() -> None:
    found = language.findings(language.tracked_files())
    assert language.over_the_limit(found) == {}
    areas = {language.area_of(finding.path) for finding in found}
    assert set(language.ALLOWED) <= areas, "clean areas: take their limit away"


def test_one_finding_too_many_is_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = language.Text(1, "nobody and nobody")
    found = list(findings_in(text, "cli/a.py"))
    monkeypatch.setattr(language, "ALLOWED", {"cli": 2})
    assert language.over_the_limit(found) == {}
    monkeypatch.setattr(language, "ALLOWED", {"cli": 1, "docs": 9})
    assert language.over_the_limit(found) == {"cli": 2}
