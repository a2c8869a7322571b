"""The examples in the docstrings of the driver's edges."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import tensor_pool.driver

FOLDER = Path(tensor_pool.driver.__file__).parent
WITH_EXAMPLES = [
    ".".join(path.relative_to(FOLDER).with_suffix("").parts)
    for path in sorted(FOLDER.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8") and path.name != "__init__.py"
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    module = importlib.import_module(f"tensor_pool.driver.{name}")
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
