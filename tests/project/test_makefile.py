"""The Makefile on machines that lack something: it explains, and installs nothing unasked."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_make_prints_how_to_get_python_when_none_is_new_enough(tmp_path: Path) -> None:
    """With only tools on PATH and no Python >= 3.12, make explains and stops."""
    (tmp_path / "bin").mkdir()
    for name in ("python3.12", "python3.13", "python3.14", "python3", "python"):
        fake = tmp_path / "bin" / name
        fake.write_text("#!/bin/sh\nexit 1\n")
        fake.chmod(0o755)
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    result = subprocess.run(
        ["make", "demo"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "Python 3.12" in result.stderr
    assert "uv python install" in result.stderr
    assert not (tmp_path / ".venv").exists()


TOOLS = ("bash", "id", "env", "rm", "cat")


@pytest.fixture
def machine_without_browser(tmp_path: Path) -> Path:
    """A PATH with make's tools and an `apt-get` that notes its arguments, but no chromium."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    called = tmp_path / "called"
    for name, text in (
        ("apt-get", f'#!/bin/bash\necho "$@" >> {called}\n'),
        ("sudo", '#!/bin/bash\n"$@"\n'),
    ):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return tools


def _system_packages(tools: Path, ci: str = "", stdin: int = subprocess.DEVNULL) -> str:
    make = shutil.which("make")
    assert make is not None
    return subprocess.run(
        [make, "system-packages", "SHELL=/bin/bash"],
        cwd=ROOT,
        env={"PATH": str(tools), "CI": ci},
        stdin=stdin,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stderr


def _installed(tools: Path) -> list[str]:
    called = tools.parent / "called"
    return called.read_text().splitlines() if called.exists() else []


def test_without_a_terminal_make_installs_no_package(machine_without_browser: Path) -> None:
    stderr = _system_packages(machine_without_browser)
    assert "no terminal to ask at" in stderr
    assert "apt-get install --no-install-recommends chromium" in stderr
    assert _installed(machine_without_browser) == []


@pytest.mark.parametrize(("answer", "installs"), [("y", True), ("n", False), ("", False)])
def test_at_a_terminal_make_asks_first(
    answer: str, installs: bool, machine_without_browser: Path
) -> None:
    ours, terminal = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        stderr = _system_packages(machine_without_browser, stdin=terminal)
    finally:
        os.close(ours)
        os.close(terminal)
    assert bool(_installed(machine_without_browser)) == installs
    assert ("chromium was not installed" in stderr) != installs


def test_in_ci_make_installs_without_a_question(machine_without_browser: Path) -> None:
    _system_packages(machine_without_browser, ci="true")
    update, install = _installed(machine_without_browser)
    assert update.startswith("update")
    assert install.endswith("chromium chromium-driver fonts-liberation")


def test_with_the_browser_nothing_is_asked(machine_without_browser: Path) -> None:
    for name in ("chromium", "chromedriver"):
        (machine_without_browser / name).symlink_to("/bin/true")
    assert _system_packages(machine_without_browser) == ""
    assert _installed(machine_without_browser) == []


def test_every_test_of_the_long_lab_is_run_by_its_target() -> None:
    """pytest leaves out a file that follows its own folder on the command line."""
    recipe = subprocess.run(
        ["make", "--dry-run", "lab-bridge"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    selections = re.findall(r"-m pytest ([^|]*) \|\|", recipe)
    collected = "".join(
        subprocess.run(
            [sys.executable, "-m", "pytest", "--collect-only", *selection.split()],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for selection in selections
    )
    source = (ROOT / "tests/bridge/lab_long.py").read_text(encoding="utf-8")
    assert set(re.findall(r"def (test_\w+)", source)) <= set(re.findall(r"test_\w+", collected))
    assert "test_two_hosts.py" in collected
