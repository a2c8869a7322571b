"""The settings with which a client reaches a driver of a given configuration."""

from __future__ import annotations

from typing import Any

from tensor_pool.client.config import ClientConfig

from ..core.configuration import DriverConfig

__all__ = ["ClientConfig", "client_config_for"]


def client_config_for(config: DriverConfig, aeron_dir: str | None, **changes: Any) -> ClientConfig:
    """Return the settings of a client; `changes` are fields of ClientConfig.

    Raises ConfigError for values that cannot work.
    """
    driver, policies = config.driver, config.policies
    fields: dict[str, Any] = {
        "aeron_dir": aeron_dir,
        "control_channel": driver.control_channel,
        "control_stream_id": driver.control_stream_id,
        "announce_channel": driver.announce_channel,
        "announce_stream_id": driver.announce_stream_id,
        "qos_channel": driver.qos_channel,
        "qos_stream_id": driver.qos_stream_id,
        "metadata_channel": driver.metadata_channel,
        "metadata_stream_id": driver.metadata_stream_id,
        "allowed_base_dirs": config.shm.allowed_base_dirs,
        "keepalive_interval": policies.lease_keepalive_interval_ms / 1000,
        "announce_period": policies.announce_period_ms / 1000,
    }
    return ClientConfig(**{**fields, **changes})
