"""The reports of mypy and pyright for a program that uses an installed Tensor Pool."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["INSTALLED_SAMPLE", "marked_lines", "mypy_lines", "pyright_lines"]

INSTALLED_SAMPLE = Path(__file__).with_name("installed_sample.py")


def marked_lines(sample: Path) -> set[int]:
    """Return the numbers of the lines that end with `# error`."""
    lines = sample.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# error")}


def mypy_lines(sample: Path, python: str, directory: Path, cache: Path | None = None) -> set[int]:
    """Return the lines in which mypy finds errors, with the packages that `python` has."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    command += ["--cache-dir", str(cache or directory / "mypy"), "--follow-imports=silent"]
    output = _run([*command, "--python-executable", python, str(sample)], directory)
    return {int(number) for number in re.findall(r"^[^:\n]+\.py:(\d+): error", output, re.M)}


def pyright_lines(sample: Path, python: str, directory: Path) -> set[int]:
    """Return the lines in which pyright finds errors, with the packages that `python` has."""
    project = directory / "pyright"
    project.mkdir()
    (project / sample.name).write_text(sample.read_text(encoding="utf-8"), encoding="utf-8")
    (project / "pyrightconfig.json").write_text(json.dumps({"include": [sample.name]}))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", python]
    output = _run([*command, "--project", str(project)], directory)
    found = json.loads(output)["generalDiagnostics"]
    errors = [each for each in found if each["severity"] == "error"]
    return {each["range"]["start"]["line"] + 1 for each in errors}


def _run(command: list[str], directory: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("MYPYPATH", "PYTHONPATH")}
    run = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    if run.stderr:
        raise AssertionError(f"{command}: {run.stderr}")
    return run.stdout
