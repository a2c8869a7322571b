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

from typing import TYPE_CHECKING

from tensor_pool.protocol.lazy_names import lazy_names

if TYPE_CHECKING:
    from .config.findings import ConfigError
    from .config.load import LoadedConfig, load_config
    from .core.configuration import (
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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "tensor_pool.driver.config.load": (
            "LoadedConfig",
            "load_config",
        ),
        "tensor_pool.driver.config.findings": ("ConfigError",),
        "tensor_pool.driver.core.configuration": (
            "DriverConfig",
            "DriverTable",
            "IdRange",
            "PoliciesTable",
            "Pool",
            "Profile",
            "ShmTable",
            "StreamConfig",
        ),
        "tensor_pool.driver.core.ports": (
            "DriverLockedError",
            "ProvisionError",
        ),
        "tensor_pool.driver.daemon.embedded": ("EmbeddedDriver",),
        "tensor_pool.driver.driver": ("Driver",),
    },
)
