"""The `tensor-pool` program as Typer sees it.

Each subcommand imports what it needs when it runs, so that none pays for the others at start.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from .options_bridge import bridge_app
from .options_pool import add_commands

__all__ = ["app"]

app = typer.Typer(
    name="tensor-pool",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class LogFormat(enum.StrEnum):
    """The form of log lines."""

    AUTO = "auto"
    HUMAN = "human"
    JSON = "json"


class LogLevel(enum.StrEnum):
    """The level of the least important lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tensor-pool {version('aeron-tensor-pool')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print and exit."),
    ] = False,
) -> None:
    """Move camera images and tensors between processes through leased shared memory."""


@app.command("driver", epilog="Example: tensor-pool driver pool.toml --log-format json")
def driver_command(
    file: Annotated[
        Path | None,
        typer.Argument(help="Configuration file, the same as --config.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="TOML file. Without one: stream 10000 with 32 slots of 1 MiB, and more streams of"
            " that kind on request (ids 20000-29999).",
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override one key, such as driver.fragment_limit=50. May be repeated.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", "--check-config", help="Validate the configuration and exit."),
    ] = False,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            help="Print the effective configuration, each value with its source, and exit.",
        ),
    ] = False,
    log_format: Annotated[
        LogFormat, typer.Option(help="auto: human on a terminal, else JSON lines.")
    ] = LogFormat.AUTO,
    log_level: Annotated[
        LogLevel, typer.Option(help="Least important lines to write.")
    ] = LogLevel.INFO,
) -> None:
    """Run the driver: it owns the memory, the leases and the epochs.

    Prints one line that starts with "driver ready" once it serves clients; logs go to stderr.
    SIGTERM, SIGINT or SIGHUP let clients detach and stop it; a second one stops it at once.

    Exit status: 0 stopped as asked, 1 fatal error, 2 configuration error, 3 another driver runs
    for the same directory.
    """
    from tensor_pool.driver.daemon.command import DriverCommand, run_driver_command

    if file is not None and config is not None and file != config:
        raise typer.BadParameter(f"two configuration files were given: {file} and {config}")
    raise typer.Exit(
        run_driver_command(
            DriverCommand(
                config_file=config or file,
                overrides=tuple(set_ or ()),
                check=check,
                print_config=print_config,
                log_format=log_format.value,
                log_level=log_level.value,
            )
        )
    )


app.add_typer(bridge_app, name="bridge")
add_commands(app)
