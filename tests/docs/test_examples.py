"""The examples run as their first lines say, and leave nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).parents[2]


def _run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, f"examples/{name}", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_cross_is_where_the_camera_drew_the_disc() -> None:
    said = _run("camera_to_viewer.py", "--frames", "40")
    found = re.fullmatch(r"(\d+) frames seen, cross at most ([\d.]+) pixels off, .*\n", said)
    assert found is not None, said
    assert int(found[1]) == 40
    assert float(found[2]) <= 1.5


def test_every_image_goes_through_three_stages_and_is_classified() -> None:
    assert _run("three_stages.py", "--images", "20").startswith("20 of 20 images")


def test_the_cells_of_the_notebook_run_in_order() -> None:
    said = _run("notebook.py")
    assert "Serving.Running.Normal" in said
    assert "(480, 640) 7" in said


def test_frames_are_summed_and_a_missing_gpu_is_reported() -> None:
    said = _run("pinned_transfers.py", "--frames", "20").splitlines()
    assert re.match(r"no GPU: .*; frames are summed on the processor|GPU: ", said[0])
    assert said[1:] == ["the pool is one mapping of 8 MiB", "20 of 20 sums are right"]


def test_every_example_is_in_the_list() -> None:
    listed = (REPOSITORY / "examples" / "README.md").read_text(encoding="utf-8")
    for example in (REPOSITORY / "examples").glob("*.py"):
        assert f"({example.name})" in listed
