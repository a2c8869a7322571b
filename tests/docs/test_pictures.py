"""The pictures of message exchanges are those of the code as it is."""

from __future__ import annotations

import importlib.util
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
