"""The parts of large libraries that programs of the guides use, on NumPy.

`make test-torch` and `make test-jax` install the libraries and run the same programs with them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

LARGE = ("torch", "jax")


def stand_ins() -> list[str]:
    """Return the folders that stand in for libraries that are not installed, for PYTHONPATH."""
    here = Path(__file__).parent
    return [str(here / name) for name in LARGE if importlib.util.find_spec(name) is None]
