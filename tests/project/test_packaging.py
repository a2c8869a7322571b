"""The built wheel, in an environment that holds nothing else, is complete."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.name for path in (ROOT / "src" / "tensor_pool").iterdir())

IMPORT_EVERYTHING = """
import importlib, pkgutil, pathlib
import tensor_pool
names = []
for package in {packages!r}:
    module = importlib.import_module("tensor_pool." + package)
    names.append(module.__name__)
    for info in pkgutil.walk_packages(module.__path__, module.__name__ + "."):
        if not info.name.endswith("__main__"):
            importlib.import_module(info.name)
        names.append(info.name)
print("\\n".join(sorted(names)))
"""


def modules_in_the_repository() -> set[str]:
    """Every importable module below the package folders, by its installed name."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[:2] == ("schemas", "generator"):
                continue  # needs a checkout: it writes into it
            if parts[-1] == "__init__":
                parts = parts[:-1]
            found.add(".".join(("tensor_pool", *parts)))
    return found


@pytest.mark.process
@pytest.mark.timeout(400)
def test_the_wheel_installs_into_an_empty_environment_with_every_module(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), "."]
    source = tmp_path / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).exists():  # a copy, so that no build folder appears in the checkout
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = dist.glob("*.whl")

    environment = tmp_path / "empty"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*install, str(wheel)], cwd=tmp_path, check=True, capture_output=True)
    command = [str(environment / "bin" / "tensor-pool"), "--help"]  # works without any extra
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([*install, f"{wheel}[http]"], cwd=tmp_path, check=True, capture_output=True)

    script = IMPORT_EVERYTHING.format(packages=PACKAGES)
    listed = subprocess.run(
        [str(python), "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.split()
    assert set(listed) == modules_in_the_repository()
    assert (environment / "bin" / "tensor-pool").exists()
    site = next(environment.glob("lib/python*/site-packages"))
    assert not (site / "client").exists()
    assert not (site / "driver").exists()
    for package in PACKAGES:
        assert (site / "tensor_pool" / package / "py.typed").exists()


ALLOWED = {
    "hsm": {"hsm"},
    "protocol": {"protocol"},
    "client": {"client", "hsm", "protocol"},
    "driver": {"driver", "client", "hsm", "protocol"},
    "cli": {"cli", "driver", "client", "hsm", "protocol"},
}


def _imported_packages(path: Path, package: str) -> set[str]:
    """Top-level packages of this project, and names of anything else, that a module imports."""
    depth = len(path.relative_to(ROOT).parts) - 1
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                names.add((node.module or "").split(".")[0])
            elif node.level <= depth:
                names.add(package)
            else:
                names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_only_down_the_layers(package: str) -> None:
    """hsm <- client <- driver, and hsm uses nothing but the standard library (design.md)."""
    for path in (ROOT / package).rglob("*.py"):
        used = _imported_packages(path, package)
        foreign = (used & set(PACKAGES)) - ALLOWED[package] - {"schemas"}
        assert not foreign, f"{path.relative_to(ROOT)} imports {sorted(foreign)}"
        if package == "hsm":
            outside = used - set(sys.stdlib_module_names) - {"hsm"}
            assert not outside, f"{path.relative_to(ROOT)} imports {sorted(outside)}"


def test_make_says_how_to_get_python_when_none_is_new_enough(tmp_path: Path) -> None:
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


def test_nothing_in_the_repository_names_a_private_path() -> None:
    """Text in the repository is for everyone: no machine's own folders."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode()
    private = (str(ROOT.parent).encode() + b"/", str(Path.home()).encode() + b"/")
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if path.is_file():
            content = path.read_bytes()
            for text in private:
                assert len(text) < 5 or text not in content, f"{name} names {text.decode()}"


def test_no_text_installs_the_project_from_an_index_that_does_not_have_it() -> None:
    """The name is on no package index: texts install a path, `.[extra]` or another package."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "*.py", "*.md", "*.toml", "Makefile", "*.yaml", "*.service"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    wrong = re.compile(r"pip install [^\n]*" + "aeron-" + "tensor-pool")
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if path.is_file():
            found = wrong.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{name}: {found and found[0]}"
