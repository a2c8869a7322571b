"""The language check finds what it promises to find, and only there."""

from __future__ import annotations

from pathlib import Path

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
        "def test_C_001_a_lease_that_nobody_keeps_ends() -> None: ...\n",
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
        "def nobody_says() -> None: ...\n",
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


def test_the_repository_has_no_findings() -> None:
    assert [str(finding) for finding in language.findings(language.tracked_files())] == []


def test_a_finding_ends_the_command_with_status_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "a.py").write_text("# Nobody comes.\n")
    (tmp_path / "clip.py").write_text("# It works.\n")
    monkeypatch.setattr(language, "ROOT", tmp_path)
    monkeypatch.setattr(language, "tracked_files", lambda: ["cli/a.py", "clip.py"])
    for arguments, status in ([], 1), (["./cli/"], 1), (["cli/a.py"], 1), (["clip.py"], 0):
        monkeypatch.setattr("sys.argv", ["language.py", *arguments])
        assert language.main() == status
        printed = capsys.readouterr().out
        assert ("cli/a.py:1: nobody: 'Nobody'" in printed) == bool(status)
