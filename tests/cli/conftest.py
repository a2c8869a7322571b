"""One daemon for all tests of the commands, and a camera that never stops."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tests.cli.pools import Command, DriverProcess, until
from tests.protocol.transport.media_driver import media_driver

__all__ = ["media_driver"]

_running = ExitStack()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """End driver and camera with the last of these tests: a session fixture would let them run
    beside all the tests of other folders."""
    if nextitem is not None and Path(__file__).parent not in nextitem.path.parents:
        _running.close()


@pytest.fixture(scope="session")
def base_dir() -> Iterator[Path]:
    """A directory for region files."""
    path = Path(tempfile.mkdtemp(prefix="tp-cli-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def pool(
    tmp_path_factory: pytest.TempPathFactory, media_driver: MediaDriverProcess, base_dir: Path
) -> Iterator[DriverProcess]:
    """A running driver with the streams 10000 and 10001."""
    driver = DriverProcess(
        tmp_path_factory.mktemp("driver"), media_driver.directory, base_dir, 1701
    )
    _running.callback(driver.close)
    yield driver
    _running.close()


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture with known pixels, 40 high and 60 wide."""
    path = tmp_path_factory.mktemp("pictures") / "noise.png"
    Image.fromarray(pixels()).save(path)
    return path


def pixels() -> np.ndarray:
    """The pixels of `picture`."""
    return np.random.default_rng(7).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture(scope="session")
def camera(pool: DriverProcess, picture: Path) -> Iterator[Command]:
    """`publish --loop` of the picture on stream 10000, 50 Hz."""
    yield _running.enter_context(_camera(pool, picture))
    _running.close()


@contextmanager
def _camera(pool: DriverProcess, picture: Path) -> Iterator[Command]:
    arguments = ("10000", str(picture), "--loop", "--rate", "50", "--name", "cam")
    with pool.running("publish", *arguments) as command:
        until(lambda: pool.has_producer(10000), "the camera's attach")
        yield command
        command.interrupt()
        outcome = command.outcome()
        assert outcome.status == 0, outcome
        assert "published" in outcome.stdout
