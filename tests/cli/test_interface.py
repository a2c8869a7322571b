"""Common properties of all commands, found by walking the program itself."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tensor_pool.cli.app import app
from tests.cli.pools import run

REPOSITORY = Path(__file__).parents[2]
ROOT = typer.main.get_command(app)
SCRIPT = "import sys; sys.argv[0] = 'tensor-pool'; from tensor_pool.cli import main; main()"
HEAVY = ("numpy", "pyaeron", "av", "PIL", "mcap", "starlette", "uvicorn")


def commands(group: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command by its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


ALL = list(commands())


def test_the_commands_that_users_expect_are_there() -> None:
    expected = (
        *("driver", "demo", "status", "streams", "leases", "watch", "hz", "echo", "view"),
        *("publish", "record", "replay", "bench", "shutdown", "diagram"),
    )
    nested = [
        ("shm", "inspect"),
        ("shm", "gc"),
        *(("config", c) for c in ("check", "show", "init")),
    ]
    assert {(name,) for name in expected} | set(nested) <= set(ALL)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_help_page_has_an_exit_status(words: tuple[str, ...]) -> None:
    outcome = run(*words, "--help")
    assert outcome.status == 0
    assert "Exit status:" in outcome.stdout
    assert "\n\n  Exit status: 0 " in outcome.stdout


@pytest.mark.parametrize("words", [w for w in ALL if w[0] not in ("driver", "demo")], ids=" ".join)
def test_every_help_page_has_an_example_with_options_that_exist(words: tuple[str, ...]) -> None:
    outcome = run(*words, "--help")
    (example,) = re.findall(r"Example: tensor-pool (.*)", outcome.stdout)
    assert example.startswith(" ".join(words))
    for option in re.findall(r"--[a-z-]+|(?<= )-[a-z]\b", example):
        assert option in outcome.stdout.replace(example, "")


@pytest.mark.parametrize("words", ["status", "streams", "leases"])
def test_lists_can_be_had_as_json(words: str) -> None:
    assert "--json" in run(words, "--help").stdout


@pytest.mark.process
def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nsys.argv = ['tensor-pool', '--help']\n"
        "from tensor_pool.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.process
@pytest.mark.parametrize("words", ["status", "leases --json", "hz 10000", "shutdown"])
def test_a_command_on_a_pool_loads_nothing_that_it_does_not_use(words: str, tmp_path: Path) -> None:
    """Not the parser's validation, and no TLS for pages of this machine: half a second each."""
    script = (
        f"import sys\nsys.argv = ['tensor-pool', *{words.split()!r}]\n"
        "sys.argv += ['--aeron-dir', '/dev/shm/none-here']\n"
        "from tensor_pool.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code)\n"
        "print([name for name in ('pydantic', 'urllib.request') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-2:] == ["1", "[]"]


@pytest.mark.process
def test_stream_ids_are_completed_from_the_configuration() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={
            "_TENSOR_POOL_COMPLETE": "complete_bash",
            "COMP_WORDS": "tensor-pool hz 1",
            "COMP_CWORD": "2",
            "PATH": "",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "10000" in done.stdout.split(), done


def test_the_page_of_the_reference_is_not_stale() -> None:
    """Run `make reference` when this fails."""
    page = runpy.run_path(str(REPOSITORY / "docs" / "reference" / "cli_page.py"))
    assert page["PAGE"].read_text() == page["page"](), "cli.md is stale: make reference"
