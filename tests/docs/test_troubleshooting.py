"""The texts that the page on errors lists are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "how-to" / "troubleshooting.md"
PACKAGES = ("client", "driver", "protocol", "bridge", "cli")
ANY = "\0"


def texts_of(source: str) -> Iterator[str]:
    """Yield each string of a module, with `ANY` for what is put in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = (
                str(part.value) if isinstance(part, ast.Constant) else ANY for part in node.values
            )
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%[-\d.]*[sdgfr]|\{[a-z_]*\}", ANY, node.value)


def test_every_text_of_the_troubleshooting_page_is_in_the_code() -> None:
    code = "\n".join(
        text
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*.py")
        for text in texts_of(path.read_text(encoding="utf-8"))
    )
    shown = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(shown) > 40
    missing = [
        text
        for text in shown
        if not re.search(rf"[^\n]*{ANY}[^\n]*".join(map(re.escape, parts(text))), code)
    ]
    assert missing == []


def parts(text: str) -> list[str]:
    """Return what stands between the dots, which stand for any text."""
    return [part for part in text.strip(". ").split("...") if part.strip(" ;:")]
