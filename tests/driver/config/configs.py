"""Configurations to start from, as TOML documents and as records."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tensor_pool.driver.config.findings import ConfigError
from tensor_pool.driver.config.load import LoadedConfig, load_config
from tensor_pool.driver.core.configuration import (
    DriverConfig,
    PoliciesTable,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)

MINIMAL = """
[profiles.camera]
payload_pools = [{ pool_id = 1, stride_bytes = 65536 }]
[streams.left]
stream_id = 10000
profile = "camera"
"""


def load(tmp_path: Path, toml: str = "", **arguments: object) -> LoadedConfig:
    """Load `toml` plus the minimal profile and stream, with no environment unless given."""
    return load_exactly(tmp_path, toml + MINIMAL, **arguments)


def load_exactly(tmp_path: Path, toml: str, **arguments: object) -> LoadedConfig:
    """Load `toml` as it is; base_dir is below `tmp_path` unless the file or environment has it."""
    path = tmp_path / "driver.toml"
    path.write_text(toml)
    arguments.setdefault("environ", {})
    return load_config(path, **arguments)  # type: ignore[arg-type]


def problems(tmp_path: Path, toml: str, **arguments: object) -> list[str]:
    """The problems of `toml` plus the minimal profile and stream, as `<key>: <text>`."""
    return problems_exactly(tmp_path, toml + MINIMAL, **arguments)


def problems_exactly(tmp_path: Path, toml: str, **arguments: object) -> list[str]:
    try:
        load_exactly(tmp_path, toml, **arguments)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


SMALL = Profile(header_nslots=4, payload_pools=(Pool(pool_id=1, stride_bytes=4096), Pool(2, 16384)))
SMALL_BYTES = (64 + 4 * 256) + (64 + 4 * 4096) + (64 + 4 * 16384)


def small_config(
    base_dir: Path,
    *,
    shm: dict[str, object] | None = None,
    policies: dict[str, object] | None = None,
) -> DriverConfig:
    """One stream 10000 with small regions below `base_dir`."""
    return DriverConfig(
        shm=msgspec.convert({"base_dir": str(base_dir), **(shm or {})}, ShmTable),
        policies=msgspec.convert(policies or {}, PoliciesTable),
        profiles={"small": SMALL},
        streams={"left": StreamConfig(stream_id=10000, profile="small")},
    )
