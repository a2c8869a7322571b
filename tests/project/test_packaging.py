"""The built wheel, in an environment that holds nothing else, is complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.typing.checkers import INSTALLED_SAMPLE, marked_lines, mypy_lines, pyright_lines

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
        if info.name.endswith("__main__"):
            pass
        elif info.name == "tensor_pool.client.torch":  # its base class is torch's
            try:
                importlib.import_module(info.name)
            except ImportError as error:
                assert "of the extra torch: pip install torch" in str(error), error
        else:
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
    venv.create(environment)  # our pip installs into it: a pip of its own takes 8 s
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    install = [*pip, "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    subprocess.run([*install, str(wheel)], cwd=tmp_path, check=True, capture_output=True)
    check_plain_installation(environment, tmp_path)
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
    for checker in (mypy_lines, pyright_lines):
        found = checker(INSTALLED_SAMPLE, str(python), tmp_path)
        assert found == marked_lines(INSTALLED_SAMPLE), checker


def check_plain_installation(environment: Path, directory: Path) -> None:
    """Without an extra: the library and the driver, and no package of the command line."""
    python = environment / "bin" / "python"
    program = environment / "bin" / "tensor-pool"
    script = "from tensor_pool.client import connect, Consumer, Producer; import tensor_pool.driver"
    subprocess.run([python, "-c", script], cwd=directory, check=True)
    started = subprocess.run(
        [program, "driver", "--config", "none.toml"],
        cwd=directory,
        check=False,
        capture_output=True,
    )
    assert (started.returncode, b"none.toml" in started.stderr) == (2, True)
    site = next(environment.glob("lib/python*/site-packages"))
    installed = {path.name for path in site.iterdir()}
    assert not installed & {"pydantic", "pygments", "rich", "typer"}
    refused = subprocess.run(
        [program, "streams"], cwd=directory, check=False, capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "tensor-pool: this command needs the package typer of the extra cli: pip install rich typer"
    ]


def test_nothing_in_the_repository_names_a_private_path() -> None:
    """Text in the repository is for everyone: no machine's own folders."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode()
    folders = {str(ROOT.parent), str(Path.home())} - {"/", "/tmp", "/home", "/opt", "/srv"}
    private = [folder.encode() + b"/" for folder in folders]
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
