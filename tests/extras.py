"""Install each extra into an empty environment and run a command that needs it.

`make test-extras`, or with the names of extras. The last commit is installed, from a copy. Prints a
table; exit status 1 if one failed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

# A program that runs with the extra, in a directory of its own, and the text that it prints.
TRIALS = {
    "cli": ("tensor-pool --help", "Commands"),
    "http": (
        "timeout --preserve-status 15 tensor-pool driver --set driver.aeron_dir=$PWD/aeron"
        " --set shm.base_dir=$PWD/pools --set driver.http_address=127.0.0.1:0 2>&1",
        "pages on http://127.0.0.1:",
    ),
    "tools": (
        "python -c 'import mcap, PIL; from tensor_pool.cli.media import live as m;"
        ' print(next(m.read_source(m.source_of("test", m.Wishes()), m.Wishes())).shape)\'',
        "(480, 640, 3)",
    ),
    "foxglove": ("tensor-pool foxglove --help && python -c 'import foxglove'", "WebSocket"),
    "zarr": ("python -c 'import zarr; print(zarr.group({}))'", "Group"),
    "rerun": ("tensor-pool view --help && python -c 'import rerun'", "Rerun"),
    "torch": (
        "python -c 'from tensor_pool.client.torch import FrameDataset as F; print(F(1))'",
        "FrameDataset",
    ),
    "demo": ("tensor-pool demo --help && python -c 'import mahotas'", "duration"),
    "diagrams": (
        "python -m tensor_pool.hsm diagram --format svg"
        " tensor_pool.driver.core.lease_machine:LeaseLifecycle",
        "<svg",
    ),
    "docs": ("mkdocs --version", "mkdocs"),
    "dev": ("pytest --version && ruff --version && mypy --version", "mypy"),
    "fuzz": ("python -c 'import atheris; print(atheris.__name__)'", "atheris"),
    "bench": ("python -c 'import zenoh, iceoryx2, zmq, pysm, miros; print(zmq.__name__)'", "zmq"),
}


def extras() -> list[str]:
    """Return the names of all extras."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["project"]["optional-dependencies"])


def built(directory: Path) -> Path:
    """Build a wheel of the last commit."""
    archive = subprocess.run(
        ["git", "archive", "HEAD"], cwd=REPOSITORY, check=True, capture_output=True
    ).stdout
    source = directory / "source"
    source.mkdir()
    subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, "."]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    return wheel


def tried(wheel: Path, extra: str, directory: Path) -> tuple[str, str]:
    """Return the verdict on one extra, and the size of its environment."""
    home = directory / "environment"
    venv.create(home, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install"]
    quiet = ["--quiet", "--no-compile", "--disable-pip-version-check"]
    environ = {**os.environ, "PATH": f"{home}/bin:{os.environ['PATH']}"}
    environ.pop("PYTHONPATH", None)
    installed = subprocess.run(
        [*pip, *quiet, f"{wheel}[{extra}]"], capture_output=True, text=True, check=False
    )
    if installed.returncode:
        return f"does not install: {_last_line(installed.stderr)}", ""
    size = subprocess.run(["du", "-sm", str(home)], capture_output=True, text=True, check=True)
    mib = f"{size.stdout.split()[0]} MiB"
    command, text = TRIALS[extra]
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or text not in re.sub(r"\x1b\[\d*m", "", done.stdout):
        return f"fails: {_last_line(done.stdout + done.stderr)}", mib
    return "works", mib


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]


def main() -> int:
    """Try the extras that are named, or all."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="tensor-pool-extras-") as place:
        wheel = built(Path(place))
        for extra in sys.argv[1:] or extras():
            began = time.monotonic()
            with tempfile.TemporaryDirectory(dir=place) as directory:
                verdict, size = tried(wheel, extra, Path(directory))
            failed += verdict != "works"
            seconds = f"{time.monotonic() - began:.0f} s"
            print(f"{extra:10} {size:>9} {seconds:>6}  {verdict}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
