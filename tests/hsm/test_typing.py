"""H-194: what a strict type checker makes of user code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import tensor_pool.hsm

SAMPLE = Path(__file__).with_name("typed_sample.py")


def test_H_194_the_package_is_marked_as_typed() -> None:
    assert Path(tensor_pool.hsm.__file__).with_name("py.typed").exists()


def test_H_194_a_strict_checker_accepts_right_and_rejects_wrong_code(tmp_path: Path) -> None:
    """The checker reports exactly the lines marked `# error`, be it at the decorator or below."""
    typed = tmp_path / "typing" / "tensor_pool"
    typed.mkdir(parents=True)
    (typed / "hsm").symlink_to(Path(tensor_pool.hsm.__file__).parent)
    options = ["--strict", "--namespace-packages", "--explicit-package-bases"]
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            *options,
            "--no-error-summary",
            "--cache-dir",
            str(tmp_path / "cache"),
            "--follow-imports=silent",
            str(SAMPLE),
        ],
        env={**os.environ, "MYPYPATH": str(typed.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    reported = {int(n) for n in re.findall(r"typed_sample\.py:(\d+): error", run.stdout)}
    lines = SAMPLE.read_text().splitlines()
    marked = {n for n, line in enumerate(lines, 1) if line.endswith("# error")}
    assert reported == marked, run.stdout + run.stderr
