"""A driver in the client's own process, for `connect(embed=True)`."""

from __future__ import annotations

from tensor_pool.driver.config.load import load_config
from tensor_pool.driver.core.ports import DriverLockedError
from tensor_pool.driver.daemon.embedded import EmbeddedDriver

from .config import ClientConfig

__all__ = ["embed_driver"]


def embed_driver(config: ClientConfig) -> EmbeddedDriver | None:
    """Start a driver that clients of `config` reach; None if one runs in that place already.

    It is configured as `tensor-pool driver` without a file, and removes its region files at the
    end. Raises what EmbeddedDriver raises.
    """
    overrides: list[tuple[str, object]] = [
        ("policies.cleanup_shm_on_exit", True),
        ("policies.announce_period_ms", round(config.announce_period * 1000)),
        ("policies.lease_keepalive_interval_ms", round(config.keepalive_interval * 1000)),
        ("shm.base_dir", config.allowed_base_dirs[0]),
        ("shm.allowed_base_dirs", ":".join(config.allowed_base_dirs)),
        *(
            (f"driver.{name}", getattr(config, name))
            for name in (
                "control_channel",
                "control_stream_id",
                "announce_channel",
                "announce_stream_id",
                "qos_channel",
                "qos_stream_id",
                "metadata_channel",
                "metadata_stream_id",
            )
        ),
    ]
    if config.aeron_dir:
        overrides.append(("driver.aeron_dir", config.aeron_dir))
    try:
        return EmbeddedDriver(load_config(overrides=overrides).config)
    except DriverLockedError:
        return None
