"""Show that the tests notice wrong code: `make mutants`.

Each mutant is put into a copy of the tree, never into the tree itself, and the tests named with it
are run there until one fails. Before that they have to pass without it. Exit status 1 if a mutant
survives or does not fit the code any more.

    python -m tests.mutants                      all of them
    python -m tests.mutants --only "second word" those with these words in their name or file
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import msgspec

from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.records import MUTANTS

_PACKAGES = ("hsm", "protocol", "client", "driver", "bridge", "cli", "schemas")
_COPIED = (*_PACKAGES, "tests", "docs", "examples", "diagrams", "pyproject.toml", "README.md")
_TEST_TIMEOUT_S = 60
_RUN_TIMEOUT_S = 300
_FAILED = re.compile(r"^(FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
_TESTS_FAILED = 1  # pytest's status; others mean that no test was judged


class Verdict(msgspec.Struct, frozen=True):
    """The outcome for a mutant; `by` names the test that noticed it."""

    mutant: Mutant
    caught: bool
    by: str
    seconds: float


class Copy:
    """A copy of the tree in which the packages are imported from the copy."""

    def __init__(self, directory: Path) -> None:
        self._root = directory / "tree"
        self._root.mkdir(parents=True)
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self._root / name, ignore=ignored, symlinks=True)
            elif source.exists():
                shutil.copy(source, self._root / name)
        namespace = directory / "namespace"
        (namespace / "tensor_pool").mkdir(parents=True)
        for name in _PACKAGES:
            (namespace / "tensor_pool" / name).symlink_to(self._root / name)
        self._environ = {**os.environ, "PYTHONPATH": str(namespace)}
        self._written = int(time.time())
        self._require_own_packages()

    def _require_own_packages(self) -> None:
        program = "import tensor_pool.hsm, os; print(os.path.realpath(tensor_pool.hsm.__file__))"
        command = [sys.executable, "-c", program]
        said = subprocess.run(
            command, cwd=self._root, env=self._environ, check=True, capture_output=True, text=True
        ).stdout.strip()
        if Path(said) != (self._root / "hsm" / "__init__.py").resolve():
            raise RuntimeError(f"tests would import {said}, not the copy in {self._root}")

    def passes(self, tests: Sequence[str]) -> str:
        """Run tests to their end; the failures' names, empty if they pass."""
        status, output = self._pytest(tests)
        return "" if status == 0 else output[-2000:]

    def judge(self, mutant: Mutant) -> Verdict:
        """Run the mutant's tests with the mutant in place, and take it out again."""
        began = time.monotonic()
        original = (self._root / mutant.file).read_text()
        try:
            self._write(mutant.file, mutant.mutated(self._root))
            status, output = self._pytest(mutant.tests, "-x")
        except ValueError as error:
            return Verdict(mutant, False, str(error), 0.0)
        except subprocess.TimeoutExpired:
            return Verdict(mutant, True, "the tests do not end any more", _RUN_TIMEOUT_S)
        finally:
            self._write(mutant.file, original)
        seconds = time.monotonic() - began
        found = _FAILED.search(output)
        if status == _TESTS_FAILED and found is not None:
            return Verdict(mutant, True, found[2], seconds)
        by = "survived" if status == 0 else f"no test could judge it: {output[-300:]}"
        return Verdict(mutant, False, by, seconds)

    def _write(self, file: str, text: str) -> None:
        # Compiled files are recognised by second and size; no two versions may share a second.
        self._written += 1
        path = self._root / file
        path.write_text(text)
        os.utime(path, (self._written, self._written))

    def _pytest(self, tests: Sequence[str], *options: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=line", "-m", "not process"]
        command += ["-p", "no:cacheprovider", f"--timeout={_TEST_TIMEOUT_S}", *options, *tests]
        done = subprocess.run(
            command,
            cwd=self._root,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=_RUN_TIMEOUT_S,
        )
        return done.returncode, done.stdout + done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="words in the name or file of a mutant")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    mutants = [m for m in MUTANTS if options.only in m.name or options.only in m.file]
    os.nice(10)
    directory = Path(tempfile.mkdtemp(prefix="tensor-pool-mutants-"))
    try:
        return _run(mutants, directory, options.jobs)
    finally:
        shutil.rmtree(directory)


def _run(mutants: list[Mutant], directory: Path, jobs: int) -> int:
    began = time.monotonic()
    copies: SimpleQueue[Copy] = SimpleQueue()
    for number in range(jobs):
        copies.put(Copy(directory / str(number)))

    def passes(tests: list[str]) -> str:
        copy = copies.get()
        try:
            return copy.passes(tests)
        finally:
            copies.put(copy)

    def judge(mutant: Mutant) -> Verdict:
        copy = copies.get()
        try:
            return copy.judge(mutant)
        finally:
            copies.put(copy)

    lost = 0
    with ThreadPoolExecutor(jobs) as pool:
        for failures in pool.map(passes, _by_area(mutants)):
            if failures:
                print(f"the tests do not pass as they are:\n{failures}")
                return 1
        for number, verdict in enumerate(pool.map(judge, mutants), 1):
            lost += not verdict.caught
            mark = "caught" if verdict.caught else "LOST  "
            print(f"{number:3} {mark} {verdict.seconds:5.1f} s  {verdict.mutant.name}", flush=True)
            print(f"           {verdict.mutant.file}: {verdict.by}", flush=True)
    seconds = time.monotonic() - began
    print(f"{len(mutants) - lost} of {len(mutants)} mutants caught in {seconds:.0f} s")
    return 1 if lost else 0


def _by_area(mutants: list[Mutant]) -> list[list[str]]:
    """The test files that are used, those of one directory together."""
    areas: dict[str, set[str]] = {}
    for test in (test for mutant in mutants for test in mutant.tests):
        areas.setdefault(str(Path(test).parent), set()).add(test)
    return [sorted(tests) for tests in areas.values()]


if __name__ == "__main__":
    sys.exit(main())
