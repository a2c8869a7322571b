"""The daemon that owns shared-memory tensor pools.

>>> from tensor_pool.driver import DriverConfig, EmbeddedDriver, Pool, Profile, StreamConfig
>>> config = DriverConfig(
...     profiles={"camera": Profile(payload_pools=(Pool(pool_id=1, stride_bytes=1 << 20),))},
...     streams={"left": StreamConfig(stream_id=10_000, profile="camera")},
... )
>>> with EmbeddedDriver(config) as driver:  # doctest: +SKIP
...     with connect(driver.client_config()) as pool:
...         ...

The names below are imported when first used, so that the command line pays only for what it runs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import (
        ConfigError,
        DriverConfig,
        DriverTable,
        IdRange,
        PoliciesTable,
        Pool,
        Profile,
        ShmTable,
        StreamConfig,
    )
    from .config_load import LoadedConfig, load_config
    from .driver import Driver
    from .embedded import EmbeddedDriver
    from .ports import DriverLockedError, ProvisionError

__all__ = [
    "ConfigError",
    "Driver",
    "DriverConfig",
    "DriverLockedError",
    "DriverTable",
    "EmbeddedDriver",
    "IdRange",
    "LoadedConfig",
    "PoliciesTable",
    "Pool",
    "Profile",
    "ProvisionError",
    "ShmTable",
    "StreamConfig",
    "load_config",
]

_MODULES = {
    "ConfigError": "config",
    "Driver": "driver",
    "DriverConfig": "config",
    "DriverLockedError": "ports",
    "DriverTable": "config",
    "EmbeddedDriver": "embedded",
    "IdRange": "config",
    "LoadedConfig": "config_load",
    "PoliciesTable": "config",
    "Pool": "config",
    "Profile": "config",
    "ProvisionError": "ports",
    "ShmTable": "config",
    "StreamConfig": "config",
    "load_config": "config_load",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
