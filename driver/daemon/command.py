"""The command `tensor-pool driver`: load the configuration, then check, print or run (D-192)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ..config.findings import ConfigError, Problem
from ..config.load import LoadedConfig, load_config, parse_override
from ..config.print import printed_config
from .log import LOG_FORMATS, LOG_LEVELS, configure_logging

__all__ = ["EXIT_CONFIG_ERROR", "DriverCommand", "plain_command", "run_driver_command"]

EXIT_CONFIG_ERROR = 2

_log = logging.getLogger(__name__)


class DriverCommand(msgspec.Struct, frozen=True):
    """The command line, parsed."""

    config_file: Path | None = None
    overrides: tuple[str, ...] = ()
    check: bool = False
    print_config: bool = False
    log_format: str = "auto"
    log_level: str = "info"


def plain_command(arguments: Iterable[str]) -> DriverCommand | None:
    """Return the command of `driver` whose arguments only configure a run.

    None for other options, repeated options and anything that could be wrong. Typer reads those,
    and reads these in the same way.

    >>> plain_command(["pool.toml", "--set", "driver.fragment_limit=50"]).overrides
    ('driver.fragment_limit=50',)
    >>> plain_command(["--help"]) is None
    True
    """
    given: dict[str, list[str]] = {
        name: [] for name in ("--config", "--set", "--log-format", "--log-level")
    }
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            name, value = "--config", word
        elif "=" in word:
            name, _, value = word.partition("=")
        else:
            name, value = word, next(words, "")
        if name not in given or not value or value.startswith("-"):
            return None
        given[name].append(value)
    files, overrides, formats, levels = given.values()
    if max(len(files), len(formats), len(levels)) > 1:
        return None
    if not (set(formats) <= set(LOG_FORMATS) and set(levels) <= set(LOG_LEVELS)):
        return None
    return DriverCommand(
        config_file=Path(files[0]) if files else None,
        overrides=tuple(overrides),
        log_format=formats[0] if formats else "auto",
        log_level=levels[0] if levels else "info",
    )


def run_driver_command(command: DriverCommand) -> int:
    """Carry the command out and return its exit status."""
    configure_logging(command.log_format, command.log_level)
    try:
        overrides = [parse_override(text) for text in command.overrides]
        loaded = load_config(command.config_file, overrides=overrides)
    except ConfigError as error:
        _warn(error.warnings)
        _report(error, command)
        return EXIT_CONFIG_ERROR
    _warn(loaded.warnings)
    if command.print_config:
        sys.stdout.write(printed_config(loaded))
        return 0
    if command.check:
        print(f"{_described(command)}: no problems found", file=sys.stderr)
        return 0
    return _run(loaded)


def _run(loaded: LoadedConfig) -> int:
    # Not at the top: checking a configuration needs neither Aeron nor numpy.
    from .process import run_daemon

    return run_daemon(loaded.config)


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        _log.warning(warning)


def _report(error: ConfigError, command: DriverCommand) -> None:
    count = len(error.problems)
    print(f"{_described(command)}: {count} problem{'s' if count != 1 else ''}", file=sys.stderr)
    for problem in error.problems:
        print(f"  {problem}{_seen(problem)}", file=sys.stderr)


def _seen(problem: Problem) -> str:
    if problem.value is None:
        return ""
    value = repr(problem.value)
    if len(value) > 100:
        value = value[:100] + "…"
    source = f", from {problem.source}" if problem.source else ""
    return f" (it is {value}{source})"


def _described(command: DriverCommand) -> str:
    return str(command.config_file) if command.config_file else "configuration"
