"""Turns requirement ids in pages into links: `W-012` leads to its text in the specification.

A hook of MkDocs. Ids in code, headings and links stay as they are, as do definitions and ids that
the specification does not define.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

SPECIFICATION = Path(__file__).resolve().parents[1] / "specification"

_DEFINITION = re.compile(r'<a id="([A-Z]-\d{3})"></a>')
_LEFT_ALONE = (
    r"^ *(?:```|~~~).*?^ *(?:```|~~~) *$|^#.*$|`[^`\n]+`|\[[^\]\n]*\]\([^)\n]*\)|<[^>\n]*>"
)
_ID = re.compile(rf"(?P<kept>{_LEFT_ALONE})|(?<![\w-])(?P<id>[A-Z]-\d{{3}})(?![\w-])", re.M | re.S)

_pages: dict[str, str] = {}


def on_pre_build(config: Any) -> None:
    """Read which page defines which id."""
    for page in SPECIFICATION.glob("*.md"):
        for requirement in _DEFINITION.findall(page.read_text(encoding="utf-8")):
            _pages[requirement] = f"specification/{page.name}"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Link each mention of a defined id."""
    here = posixpath.dirname(page.file.src_uri) or "."

    def linked(match: re.Match[str]) -> str:
        requirement = match["id"]
        defined_here = markdown[: match.start()].endswith(f'<a id="{requirement}"></a>**')
        if requirement not in _pages or defined_here:
            return match[0]
        return f"[{requirement}]({posixpath.relpath(_pages[requirement], here)}#{requirement})"

    return _ID.sub(linked, markdown)
