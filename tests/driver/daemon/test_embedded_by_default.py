"""A driver in the application's process that needs no configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client import ClientConfig, connect
from tensor_pool.driver import DriverConfig, EmbeddedDriver, load_config
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess

pytestmark = pytest.mark.process


def regions(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if path.suffix in (".ring", ".pool"))


def test_C_130_an_embedded_driver_needs_no_configuration(
    shm_dir: Path, media_driver: MediaDriverProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIVER_AERON_DIR", media_driver.directory)
    monkeypatch.setenv("SHM_BASE_DIR", str(shm_dir))
    with (
        EmbeddedDriver() as driver,
        connect(driver.client_config()) as pool,
        pool.producer("default") as camera,
        pool.consumer("default") as viewer,
    ):
        camera.publish(np.arange(12).reshape(3, 4))
        frame = viewer.receive(20)
        assert frame is not None
        assert frame.array.tolist() == np.arange(12).reshape(3, 4).tolist()
        assert regions(shm_dir) == ["1.pool", "header.ring"]
    assert regions(shm_dir) == []


def test_C_130_the_second_embedding_client_uses_the_driver_of_the_first(
    shm_dir: Path, media_driver: MediaDriverProcess
) -> None:
    config = ClientConfig(aeron_dir=media_driver.directory, allowed_base_dirs=(str(shm_dir),))
    with (
        connect(config, embed=True) as first,
        connect(config, embed=True) as second,
        first.producer("default") as camera,
        second.consumer("default") as viewer,
    ):
        camera.publish(np.full(5, 7, np.uint8))
        frame = viewer.receive(20)
        assert frame is not None
        assert frame.array.tolist() == [7] * 5
        second.close()
        with connect(config) as third, third.consumer("default") as another:
            camera.publish(np.full(3, 1))
            assert another.receive(20) is not None
    # The first client has ended the driver: another one may start.
    with EmbeddedDriver(_config_of(config)) as driver:
        assert driver.is_running


def _config_of(config: ClientConfig) -> DriverConfig:
    return load_config(
        overrides=[
            ("driver.aeron_dir", config.aeron_dir or ""),
            ("shm.base_dir", config.allowed_base_dirs[0]),
        ],
        environ={},
    ).config
