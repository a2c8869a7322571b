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
    from .config.load import LoadedConfig, load_config
    from .config.records import (
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
    from .core.ports import DriverLockedError, ProvisionError
    from .daemon.embedded import EmbeddedDriver
    from .driver import Driver

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
    "ConfigError": "tensor_pool.driver.config.records",
    "Driver": "tensor_pool.driver.driver",
    "DriverConfig": "tensor_pool.driver.config.records",
    "DriverLockedError": "tensor_pool.driver.core.ports",
    "DriverTable": "tensor_pool.driver.config.records",
    "EmbeddedDriver": "tensor_pool.driver.daemon.embedded",
    "IdRange": "tensor_pool.driver.config.records",
    "LoadedConfig": "tensor_pool.driver.config.load",
    "PoliciesTable": "tensor_pool.driver.config.records",
    "Pool": "tensor_pool.driver.config.records",
    "Profile": "tensor_pool.driver.config.records",
    "ProvisionError": "tensor_pool.driver.core.ports",
    "ShmTable": "tensor_pool.driver.config.records",
    "StreamConfig": "tensor_pool.driver.config.records",
    "load_config": "tensor_pool.driver.config.load",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
