"""Everything that README and guides show is run, against a real daemon where they start one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs_snippets import run_page, snippets

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [
    REPOSITORY / "README.md",
    DOCS / "tutorial.md",
    *sorted((DOCS / "how-to").glob("*.md")),
    *sorted((DOCS / "explanation").glob("*.md")),
]
RUN = ("python", "pycon", "console", "output")


def _has_something_to_run(page: Path) -> bool:
    return any(s.language in RUN for s in snippets(page))


@pytest.mark.parametrize(
    "page", [p for p in PAGES if _has_something_to_run(p)], ids=lambda page: page.stem
)
@pytest.mark.timeout(180)
def test_every_snippet_of_a_page_runs_and_prints_what_the_page_shows(
    page: Path, deployment: None, tmp_path: Path
) -> None:
    shown = snippets(page)
    ran = [s for s in shown if s.language in RUN]
    written = [s for s in shown if s.language in ("py", "toml") and s.title]
    assert not [s for s in shown if s.language == "py" and not s.title], "shown but never run"
    assert run_page(page, tmp_path) == len(ran) + len(written)


@pytest.mark.parametrize(
    "page", [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.stem
)
def test_the_text_before_a_file_has_its_name(page: Path) -> None:
    """GitHub shows no titles of blocks, so a reader there has only the text to save the file by."""
    lines = page.read_text(encoding="utf-8").splitlines()
    nameless = []
    for snippet in snippets(page):
        if snippet.title is None or snippet.language not in ("py", "toml", "python"):
            continue
        above = lines[: snippet.line - 2]
        since = max((n for n, line in enumerate(above) if line.startswith(("```", "#"))), default=0)
        if f"`{snippet.title}`" not in " ".join(above[since + 1 :]):
            nameless.append(f"{snippet}: {snippet.title}")
    assert not nameless
