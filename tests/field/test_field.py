"""The field test in short (`make field` is the long run)."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.process
@pytest.mark.timeout(400)
def test_three_cameras_six_consumers_and_a_recorder_survive_the_world() -> None:
    """C-108, W-008, D-146: every frame is received or counted, and no camera is refused."""
    command = [sys.executable, "-m", "tests.field", "--short", "--rounds", "1"]
    # `make field` bounds refusals by 0.1 s; beside other tests all processes wait for that long.
    command += ["--rate", "50", "--bound", "120", "--refusal", "3"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
