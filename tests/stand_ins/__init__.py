"""The parts of large libraries that programs of the guides use, on NumPy, and of ROS.

`make test-torch` and `make test-jax` install the libraries and run the same programs with them. ROS
is on no package index.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

LIBRARIES = {"torch": "torch", "jax": "jax", "ros2": "rclpy"}  # folder here, its module


def stand_ins() -> list[str]:
    """Return the folders that stand in for libraries that are not installed, for PYTHONPATH."""
    here = Path(__file__).parent
    return [
        str(here / folder)
        for folder, module in LIBRARIES.items()
        if importlib.util.find_spec(module) is None
    ]
