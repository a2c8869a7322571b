"""Machines and examples are written with what every user of the framework has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tensor_pool import hsm

REPOSITORY = Path(__file__).parents[2]
MACHINES = [
    *(REPOSITORY / "driver" / f"{name}.py" for name in ("lifecycle", "stream", "lease")),
    *(REPOSITORY / "client" / f"{name}.py" for name in ("connection", "producer_machine")),
    REPOSITORY / "client" / "consumer_machine.py",
]
EXAMPLES = sorted((REPOSITORY / "examples").rglob("*.py"))


def hidden_names(path: Path) -> list[str]:
    """What a source takes from the framework that is not in its `__all__`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and "hsm" in (node.module or "").split("."):
            names = [alias.name for alias in node.names]
            is_package = (node.module or "").endswith("hsm")
            found += [n for n in names if not is_package or n not in hsm.__all__]
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_hsm"):
            found.append(node.attr)
    return found


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_the_machines_use_the_public_framework_only(path: Path) -> None:
    assert "Machine" in path.read_text(encoding="utf-8")
    assert hidden_names(path) == []


def test_the_examples_use_the_public_framework_only() -> None:
    assert any("hsm" in path.read_text(encoding="utf-8") for path in EXAMPLES)
    assert {path.name: hidden_names(path) for path in EXAMPLES if hidden_names(path)} == {}


def test_a_hidden_name_is_found(tmp_path: Path) -> None:
    source = tmp_path / "machine.py"
    source.write_text("from ..hsm.nodes import Node\nfrom ..hsm import State\nself._hsm_event\n")
    assert hidden_names(source) == ["Node", "_hsm_event"]
