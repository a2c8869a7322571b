"""From a file, the environment and overrides to a `DriverConfig`, or to every problem there is.

Precedence, highest first: overrides, environment, file, default (D-180). Nothing is created or
opened for writing on the way, so a configuration can be checked beside a running driver.
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..core.configuration import (
    AUTOMATIC_ADDRESS,
    DiscoveryTable,
    DriverConfig,
    DriverTable,
    PoliciesTable,
    ShmTable,
)
from .check import check_across_keys
from .findings import ConfigError, Findings, Problem
from .keys import SETTING_BY_KEY, SETTINGS, TABLES, Setting
from .values import from_text, from_toml, read_profiles, read_streams

__all__ = ["STARTER", "LoadedConfig", "check_config", "load_config", "parse_override"]

# Configuration of a driver without a file: one ready stream, and more on request.
STARTER: Mapping[str, Any] = {
    "driver": {"stream_id_range": "20000-29999", "http_address": AUTOMATIC_ADDRESS},
    "policies": {"allow_dynamic_streams": True},
    "profiles": {
        "default": {
            "header_nslots": 32,
            "payload_pools": [{"pool_id": 1, "stride_bytes": 1 << 20}],
        }
    },
    "streams": {"default": {"stream_id": 10000, "profile": "default"}},
}


class LoadedConfig(msgspec.Struct, frozen=True):
    """A valid configuration, where each value came from, and what deserves a warning."""

    config: DriverConfig
    sources: dict[str, str]
    warnings: tuple[str, ...]


def load_config(
    path: str | os.PathLike[str] | None = None,
    *,
    overrides: Iterable[tuple[str, object]] = (),
    environ: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """Load and validate a driver configuration (D-180, D-181, D-182).

    `path` names a TOML file; None stands for the built-in starter. An override is a key and either
    a value of the right type or its text. `environ` defaults to the process's environment.

    Raises ConfigError with every problem found; an unreadable or malformed file is one.

    >>> loaded = load_config(overrides=[("driver.fragment_limit", 50)], environ={})
    >>> loaded.config.driver.fragment_limit, loaded.sources["driver.fragment_limit"]
    (50, 'override')
    """
    document = _read(path) if path is not None else _deep_copy(STARTER)
    origin = "file" if path is not None else "built-in"
    return _load(document, origin, overrides, os.environ if environ is None else environ)


def check_config(config: DriverConfig) -> tuple[str, ...]:
    """Judge a configuration that was made by hand by the same rules; returns the warnings.

    Raises ConfigError with every problem found.

    >>> check_config(DriverConfig())
    Traceback (most recent call last):
        ...
    tensor_pool.driver.config.findings.ConfigError: profiles: at least one profile is required
    streams: at least one stream is required when policies.allow_dynamic_streams=false
    """
    document: dict[str, Any] = {
        "profiles": msgspec.to_builtins(config.profiles),
        "streams": msgspec.to_builtins(config.streams),
    }
    for setting in SETTINGS:
        value = getattr(getattr(config, setting.table), setting.name)
        if value != setting.default:
            document.setdefault(setting.table, {})[setting.name] = value
    return _load(document, "program", (), {}).warnings


def _load(
    document: dict[str, Any],
    origin: str,
    overrides: Iterable[tuple[str, object]],
    environ: Mapping[str, str],
) -> LoadedConfig:
    findings = Findings()
    given: dict[str, tuple[object, str]] = {}
    _take_overrides(overrides, document, given, findings)
    _take_environment(environ, given)
    _take_file(document, given, origin, findings)

    for setting in SETTINGS:
        findings.expect(setting.key)
        _take_value(setting, given, findings)
    profiles = read_profiles(document.get("profiles"), origin, findings)
    streams = read_streams(document.get("streams"), profiles, origin, findings)
    check_across_keys(findings, profiles, streams)
    if problems := findings.problems():
        raise ConfigError(*problems, warnings=tuple(findings.warnings))

    config = DriverConfig(
        driver=DriverTable(**findings.table("driver")),
        shm=ShmTable(**findings.table("shm")),
        policies=PoliciesTable(**findings.table("policies")),
        discovery=DiscoveryTable(**findings.table("discovery")),
        profiles=profiles,
        streams=streams,
    )
    return LoadedConfig(config, findings.sources, tuple(findings.warnings))


def parse_override(text: str) -> tuple[str, str]:
    """Key and text of a `key=value` argument; raises ConfigError for anything else."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(Problem("--set", "expected key=value", text, "override"))
    return key.strip(), value


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(Problem(str(path), f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise ConfigError(Problem(str(path), f"is not UTF-8: {error.reason}")) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(Problem(str(path), f"is not valid TOML: {error}")) from error


def _deep_copy(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _deep_copy(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
    }


def _take_overrides(
    overrides: Iterable[tuple[str, object]],
    document: dict[str, Any],
    given: dict[str, tuple[object, str]],
    findings: Findings,
) -> None:
    for key, value in overrides:
        if key in SETTING_BY_KEY:
            given[key] = (value, "override")
        elif key.partition(".")[0] in ("profiles", "streams"):
            _merge(document, _as_document(key, value))
            findings.sources[key] = "override"
        else:
            findings.unknown(key, SETTING_BY_KEY)


def _as_document(key: str, value: object) -> dict[str, Any]:
    """The nested tables that `key = value` means in TOML; a bare word is a string."""
    try:
        tables = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(Problem(key, "is not a key", value, "override")) from error
    if isinstance(value, str):
        with contextlib.suppress(tomllib.TOMLDecodeError):
            value = tomllib.loads(f"value = {value}")["value"]
    parts: list[str] = []
    node: object = tables
    while isinstance(node, dict):
        parts.extend(node)
        node = node[parts[-1]]
    nested: Any = value
    for part in reversed(parts):
        nested = {part: nested}
    return dict(nested)


def _merge(into: dict[str, Any], table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _take_environment(environ: Mapping[str, str], given: dict[str, tuple[object, str]]) -> None:
    for setting in SETTINGS:
        for variable in (setting.environment, *setting.aliases):
            if variable in environ:
                given.setdefault(setting.key, (environ[variable], f"environment {variable}"))
                break


def _take_file(
    document: Mapping[str, Any],
    given: dict[str, tuple[object, str]],
    origin: str,
    findings: Findings,
) -> None:
    for table, content in document.items():
        if table in ("profiles", "streams"):
            continue
        if table not in TABLES:
            findings.unknown(table, (*TABLES, "profiles", "streams"))
        elif not isinstance(content, dict):
            findings.expect(table)
            findings.problem(table, "expected table", content, origin)
        else:
            for name, value in content.items():
                key = f"{table}.{name}"
                if key in SETTING_BY_KEY:
                    given.setdefault(key, (value, origin))
                else:
                    findings.unknown(key, SETTING_BY_KEY)


def _take_value(
    setting: Setting, given: Mapping[str, tuple[object, str]], findings: Findings
) -> None:
    if setting.key not in given:
        findings.sources[setting.key] = "default"
        return
    raw, source = given[setting.key]
    from_outside = source == "override" or source.startswith("environment")
    try:
        if isinstance(raw, str) and from_outside:
            value = from_text(setting.type, raw)
        else:
            value = from_toml(setting.type, raw)
    except ValueError as error:
        findings.problem(setting.key, str(error), raw, source)
        return
    findings.accept(setting.key, value, source)
    if setting.rule is not None and not setting.rule.holds(value):
        findings.problem(setting.key, setting.rule.text, raw, source)
