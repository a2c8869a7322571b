"""`tensor-pool driver`: checking and printing a configuration."""

from __future__ import annotations

import importlib.metadata
import logging
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.testing

from tensor_pool.cli.app import app
from tensor_pool.driver.config.load import load_config
from tensor_pool.driver.config.print import printed_config
from tensor_pool.driver.daemon import command
from tensor_pool.driver.daemon.command import DriverCommand
from tests.driver.config.configs import MINIMAL, load

runner = typer.testing.CliRunner()


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("DRIVER_FRAGMENT_LIMIT", "AERON_DIR", "POLICIES_SHUTDOWN_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    path = tmp_path / "driver.toml"
    path.write_text("[driver]\nfragment_limit = 20\n" + MINIMAL)
    return path


@pytest.mark.parametrize("flag", ["--check", "--check-config"])
@pytest.mark.parametrize("positional", [True, False])
def test_D_192_a_sound_configuration_passes_the_check(
    config: Path, flag: str, positional: bool
) -> None:
    where = [str(config)] if positional else ["--config", str(config)]
    result = runner.invoke(app, ["driver", flag, *where])
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "no problems found" in result.stderr


def test_D_192_a_check_lists_every_problem_with_status_2(config: Path) -> None:
    """D-181, D-192."""
    settings = ["driver.fragment_limit=0", "shm.namespace=..", "driver.media_driver=x"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    result = runner.invoke(app, ["driver", "--check", str(config), *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0] == f"{config}: 3 problems"
    assert lines[1:] == [
        "  driver.media_driver: must be auto, embedded or external (it is 'x', from override)",
        "  driver.fragment_limit: must be in 1..1000 (it is '0', from override)",
        "  shm.namespace: must be 1-64 characters of A-Z a-z 0-9 . _ - (it is '..', from override)",
    ]


def test_D_192_two_different_files_are_one_too_many(config: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["driver", "--check", "other.toml", "--config", str(config)])
    assert result.exit_code == 2
    assert "two configuration files" in result.stderr


def test_a_misspelt_key_is_warned_about_even_beside_problems(config: Path) -> None:
    """D-182."""
    config.write_text("[driver]\nfragmentlimit = 0\nfragment_limit = 0\n" + MINIMAL)
    result = runner.invoke(app, ["driver", "--check", str(config)])
    assert result.exit_code == 2
    assert "did you mean driver.fragment_limit?" in result.stderr


def test_D_192_the_printed_configuration_names_every_source(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AERON_DIR", "/dev/shm/a")
    monkeypatch.setenv("POLICIES_SHUTDOWN_TOKEN", "open sesame")
    result = runner.invoke(
        app, ["driver", "--print-config", str(config), "--set", "policies.max_leases=3"]
    )
    assert result.exit_code == 0
    for line in (
        'driver.instance_id = "driver-01"  # default',
        "driver.fragment_limit = 20  # file",
        'driver.aeron_dir = "/dev/shm/a"  # environment AERON_DIR',
        "policies.max_leases = 3  # override",
        "# driver.stream_id_range is unset  # default",
        "# policies.shutdown_token = ***  # environment POLICIES_SHUTDOWN_TOKEN",
        "streams.left.stream_id = 10000  # file",
        "profiles.camera.header_nslots = 1024  # default",
    ):
        assert line in result.stdout.splitlines()
    assert "sesame" not in result.output


def test_D_192_what_is_printed_can_be_loaded_again(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        '[driver]\nstream_id_range = "20000-20009"\ninstance_id = "a \\"quoted\\" name"\n'
        '[shm]\nallowed_base_dirs = ["/dev/shm", "/tmp"]\n'
        '[streams."the second: ü"]\nstream_id = 3\nprofile = "camera"\n',
    )
    printed = printed_config(loaded)
    again = tmp_path / "again.toml"
    again.write_text(printed)
    assert load_config(again, environ={}).config == loaded.config
    assert tomllib.loads(printed_config(load_config(environ={})))


def test_D_192_an_unreadable_or_malformed_file_is_a_configuration_error(tmp_path: Path) -> None:
    absent = runner.invoke(app, ["driver", "--check", str(tmp_path / "absent.toml")])
    assert absent.exit_code == 2
    assert "cannot be read: No such file or directory" in absent.stderr
    (tmp_path / "bad.toml").write_text("[driver\n")
    bad = runner.invoke(app, ["driver", "--check", str(tmp_path / "bad.toml")])
    assert bad.exit_code == 2
    assert "is not valid TOML" in bad.stderr


def test_checking_needs_neither_aeron_nor_numpy() -> None:
    program = (
        "import sys, tensor_pool.cli.app, tensor_pool.driver.daemon.command\n"
        "assert not {'pyaeron', 'numpy', 'rich'} & set(sys.modules), 'to check'\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_running_imports_no_more_than_it_needs() -> None:
    """Start to `driver ready` under half a second."""
    program = (
        "import sys, tensor_pool.cli as cli, tensor_pool.driver.daemon.process as process\n"
        "process.run_daemon = lambda config: 42\n"
        "sys.argv = ['tensor-pool', 'driver', '--set', 'driver.fragment_limit=50']\n"
        "try:\n    cli.main()\n"
        "except SystemExit as exit:\n    assert exit.code == 42\n"
        "unneeded = {'numpy', 'typer', 'pydantic', 'rich', 'starlette', 'uvicorn'}\n"
        "print(unneeded & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.stdout == "set()\n", result.stderr


PLAIN = (
    "",
    "pool.toml",
    "--config pool.toml",
    "--config=pool.toml --log-level error",
    "--set a=b --set=c.d=e=f pool.toml --set g=",
    "--log-format json --log-level=debug",
    "--set a=--b",
)
NOT_PLAIN = (
    "--help",
    "--check",
    "--print-config pool.toml",
    "--version",
    "--set",
    "--set=",
    "--set -x",
    "--",
    "-- pool.toml",
    "--config a --config b",
    "a b",
    "--config a b",
    "--log-level loud",
    "--log-level error --log-level info",
    "--log-format yaml",
    "--conf a",
    "-c a",
    "-",
)


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_command_line_means_what_typer_reads(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-192"""
    seen: list[DriverCommand] = []
    monkeypatch.setattr(command, "run_driver_command", lambda given: seen.append(given) or 7)
    assert runner.invoke(app, ["driver", *line.split()]).exit_code == 7
    assert [command.plain_command(line.split())] == seen


@pytest.mark.parametrize("line", NOT_PLAIN)
def test_all_other_arguments_of_the_driver_are_left_to_typer(line: str) -> None:
    assert command.plain_command(line.split()) is None


def test_the_version_is_that_of_the_distribution() -> None:
    result = runner.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"tensor-pool {importlib.metadata.version('aeron-tensor-pool')}\n"


def test_the_command_without_arguments_lists_the_commands() -> None:
    result = runner.invoke(app, [])
    assert "driver" in result.output
