"""The reports of type checkers for programs that use the client."""

from __future__ import annotations

import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from tensor_pool.client import ClientConfig, ConsumerOptions
from tensor_pool.client.config import ClientSettings
from tensor_pool.client.consumer.options import ConsumerOptionFields

SAMPLE = Path(__file__).with_name("client_sample.py")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.xdist_group("typing")


@pytest.mark.timeout(600)
def test_the_types_of_the_client_are_found_and_mistakes_are_reported(
    tmp_path: Path, mypy_cache: Path
) -> None:
    """The checker reports exactly the lines marked `# error`."""
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--no-error-summary",
            "--cache-dir",
            str(mypy_cache),
            "--follow-imports=silent",
            str(SAMPLE),
        ],
        env={"MYPYPATH": str(ROOT / "src"), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    reported = {int(n) for n in re.findall(r"client_sample\.py:(\d+): error", run.stdout)}
    lines = SAMPLE.read_text().splitlines()
    marked = {n for n, line in enumerate(lines, 1) if line.endswith("# error")}
    assert reported == marked, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("fields", "struct"),
    [(ConsumerOptionFields, ConsumerOptions), (ClientSettings, ClientConfig)],
)
def test_keyword_arguments_are_the_fields_of_the_struct(fields: type, struct: type) -> None:
    assert typing.get_type_hints(fields) == typing.get_type_hints(struct)
