"""H-266: what type checkers make of machine classes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).with_name("hsm_sample.py")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.xdist_group("typing")


def _marked() -> set[int]:
    lines = SAMPLE.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# error")}


@pytest.mark.timeout(600)
def test_H_266_mypy_finds_exactly_the_marked_mistakes(tmp_path: Path, mypy_cache: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    run = subprocess.run(
        [*command, "--cache-dir", str(mypy_cache), "--follow-imports=silent", str(SAMPLE)],
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    reported = {int(n) for n in re.findall(r"hsm_sample\.py:(\d+): error", run.stdout)}
    assert reported == _marked(), run.stdout + run.stderr


@pytest.mark.timeout(600)
def test_H_266_pyright_finds_exactly_the_marked_mistakes(tmp_path: Path) -> None:
    (tmp_path / SAMPLE.name).write_text(SAMPLE.read_text())
    settings = {"extraPaths": [str(ROOT / "src")], "include": [SAMPLE.name]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    run = subprocess.run(
        [*command, "--project", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(run.stdout)["generalDiagnostics"]
    errors = [each for each in found if each["severity"] == "error"]
    reported = {each["range"]["start"]["line"] + 1 for each in errors}
    assert reported == _marked(), run.stdout + run.stderr
