"""Driver, client and examples are written with what every user of the framework has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tensor_pool import hsm
from tensor_pool.hsm import diagram, scxml

REPOSITORY = Path(__file__).parents[2]
PUBLIC = {"": hsm.__all__, "diagram": diagram.__all__, "scxml": scxml.__all__}
PARTS = ("driver", "client", "examples")
SOURCES = sorted(p for part in PARTS for p in (REPOSITORY / part).rglob("*.py"))


def hidden_names(path: Path) -> list[str]:
    """Return the names that a source takes from the framework outside of `__all__`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and "hsm" in (node.module or "").split("."):
            submodule = (node.module or "").rpartition("hsm")[2].removeprefix(".")
            public = PUBLIC.get(submodule, ())
            found += [alias.name for alias in node.names if alias.name not in public]
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_hsm"):
            found.append(node.attr)
    return found


@pytest.mark.parametrize("part", PARTS)
def test_the_public_framework_only_is_used(part: str) -> None:
    sources = [p for p in SOURCES if p.is_relative_to(REPOSITORY / part)]
    assert any("Machine" in path.read_text(encoding="utf-8") for path in sources)
    assert {str(path): hidden_names(path) for path in sources if hidden_names(path)} == {}


def test_a_hidden_name_is_found(tmp_path: Path) -> None:
    source = tmp_path / "machine.py"
    source.write_text("from ..hsm.nodes import Node\nfrom ..hsm import State\nself._hsm_event\n")
    assert hidden_names(source) == ["Node", "_hsm_event"]
