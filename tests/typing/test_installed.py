"""Checkers find the types after `pip install -e .`; for a wheel, see `test_packaging.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.typing.checkers import INSTALLED_SAMPLE, marked_lines, mypy_lines, pyright_lines


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", [mypy_lines, pyright_lines])
def test_the_types_of_an_editable_installation_are_found(
    tmp_path: Path, checker: Callable[[Path, str, Path], set[int]]
) -> None:
    """`.venv` has an editable installation; no path of the repository is given to the checker."""
    found = checker(INSTALLED_SAMPLE, sys.executable, tmp_path)
    assert found == marked_lines(INSTALLED_SAMPLE)
