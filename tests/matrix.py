"""The suite on every Python that is found, from 3.12 on: `make test-matrix`.

Looks for `python3.N` on PATH and among the versions of pyenv and uv. Each gets an environment
`.venv-3.N`. Prints the versions that were found and the result of each; arguments go to pytest.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = 12, 20
REQUIRED = (12, 13)
_WHICH = "import sys; print(sys.version_info.minor, sys.version.split()[0], sys._base_executable)"


def candidates(minor: int) -> Iterator[str]:
    """Yield places where an interpreter may be."""
    yield f"python3.{minor}"
    for pattern in (
        f".pyenv/versions/3.{minor}.*/bin/python3.{minor}",
        f".local/share/uv/python/cpython-3.{minor}.*/bin/python3.{minor}",
    ):
        yield from (str(path) for path in sorted(Path.home().glob(pattern), reverse=True))


def found_interpreters() -> dict[int, tuple[str, str]]:
    """Return minor version -> (version, path) of the interpreters that run."""
    found = {}
    for minor in range(OLDEST, NEWEST):
        for name in candidates(minor):
            try:
                done = subprocess.run(
                    [name, "-c", _WHICH], capture_output=True, text=True, check=False
                )
            except OSError:
                continue
            if done.returncode == 0 and done.stdout.split()[0] == str(minor):
                _, version, path = done.stdout.split()
                found[minor] = (version, path)
                break
    return found


def run_suite(minor: int, path: str, arguments: list[str]) -> int:
    """Run the suite in an environment of this interpreter; return its exit status."""
    environment = ROOT / f".venv-3.{minor}"
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([path, "-m", "venv", environment], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*install, "-e", ".[dev]"], cwd=ROOT, check=False)
    if done.returncode:
        print(f"3.{minor}: the dependencies cannot be installed", file=sys.stderr)
        return done.returncode
    default = ["-n", "4", "--dist", "loadgroup", "--no-loadscope-reorder"]
    suite = [python, "-m", "pytest", *(arguments or default)]
    return subprocess.run(suite, cwd=ROOT, check=False).returncode


def main() -> int:
    found = found_interpreters()
    for version, path in found.values():
        print(f"found Python {version}: {path}", flush=True)
    missing = [minor for minor in REQUIRED if minor not in found]
    for minor in missing:
        print(f"not found: Python 3.{minor}", flush=True)
    results = {minor: run_suite(minor, path, sys.argv[1:]) for minor, (_, path) in found.items()}
    for minor, status in results.items():
        print(f"Python {found[minor][0]}: {'passed' if status == 0 else f'failed ({status})'}")
    return 1 if missing or any(results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
