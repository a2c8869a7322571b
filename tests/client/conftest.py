from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.deployment import Deployment
from tests.client.live_world import LiveWorld
from tests.client.world import World


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory in shared memory for region files."""
    directory = Path(tempfile.mkdtemp(prefix="tp-client-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def world(base: Path) -> Iterator[World]:
    world = World(base)
    yield world
    world.close()


@pytest.fixture
def live(base: Path) -> Iterator[LiveWorld]:
    live = LiveWorld(base)
    yield live
    live.close()


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    deployment = Deployment(Path(tempfile.mkdtemp(prefix="tp-e2e-", dir="/dev/shm")))
    yield deployment
    deployment.close()
