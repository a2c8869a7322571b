"""Checkers find the types after `pip install -e .`; for a wheel, see `test_packaging.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.typing.checkers import INSTALLED_SAMPLE, marked_lines, mypy_lines, pyright_lines

pytestmark = [pytest.mark.xdist_group("typing"), pytest.mark.timeout(600)]


def test_mypy_finds_the_types_of_an_editable_installation(tmp_path: Path, mypy_cache: Path) -> None:
    """`.venv` has an editable installation; no path of the repository is given to the checker."""
    found = mypy_lines(INSTALLED_SAMPLE, sys.executable, tmp_path, mypy_cache)
    assert found == marked_lines(INSTALLED_SAMPLE)


def test_pyright_finds_the_types_of_an_editable_installation(tmp_path: Path) -> None:
    found = pyright_lines(INSTALLED_SAMPLE, sys.executable, tmp_path)
    assert found == marked_lines(INSTALLED_SAMPLE)
