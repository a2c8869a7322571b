"""The pictures of message exchanges are those of the code as it is."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


def test_pictures_are_fresh() -> None:
    """Run this when it fails: make docs-pictures"""
    spec = importlib.util.spec_from_file_location("docs_pictures", PICTURES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    known = set(sys.modules)
    spec.loader.exec_module(module)
    try:
        stale = [p.name for p, s in module.pictures().items() if p.read_text("utf-8") != s]
    finally:
        sys.path.remove(str(PICTURES))
        for name in {"drawing", "house", "sequences"} - known:
            del sys.modules[name]
    assert stale == []


def test_the_script_takes_every_picture_of_the_web_page_that_the_guide_shows() -> None:
    """`make docs-screenshots`; one that it left out would show an older page."""
    page = (PICTURES.parent / "how-to" / "web-page.md").read_text("utf-8")
    script = (PICTURES.parent / "images" / "web_page.py").read_text("utf-8")
    taken = set(re.findall(r'camera\.take\("([\w-]+)"', script))
    assert taken == set(re.findall(r"web-page-([\w-]+)\.webp", page))
    files = {path.stem for path in (PICTURES.parent / "images").glob("web-page-*.webp")}
    assert files == {f"web-page-{name}" for name in taken}
