"""Directories on a memory file system, full or not, and stores on them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.driver.core.configuration import DriverConfig
from tensor_pool.driver.files.store import FileStore
from tensor_pool.driver.runtime.metrics import DriverMetrics
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tests.driver.config.configs import small_config
from tests.driver.daemons import Daemon, HandClient
from tests.protocol.transport.media_driver import media_driver

__all__ = ["media_driver"]


@pytest.fixture
def shm_dir() -> Iterator[Path]:
    """An empty directory on /dev/shm."""
    path = Path(tempfile.mkdtemp(prefix="tp-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


class Stores:
    """Opens stores and closes them at the end, so that no lock outlives a test."""

    def __init__(self, base_dir: Path, clock: SimulatedClock) -> None:
        self.base_dir = base_dir
        self.clock = clock
        self._open: list[FileStore] = []
        self.metrics = DriverMetrics()

    def make(
        self,
        *,
        shm: dict[str, object] | None = None,
        policies: dict[str, object] | None = None,
        config: DriverConfig | None = None,
    ) -> FileStore:
        config = config or small_config(self.base_dir, shm=shm, policies=policies)
        store = FileStore(config, self.clock, self.metrics)
        self._open.append(store)
        return store

    def open(self, **arguments: dict[str, object]) -> FileStore:
        store = self.make(**arguments)  # type: ignore[arg-type]
        store.open(self.clock.monotonic_ns())
        return store

    def close_all(self) -> None:
        for store in self._open:
            store.close()


@pytest.fixture
def stores(shm_dir: Path, clock: SimulatedClock) -> Iterator[Stores]:
    """Stores on `shm_dir`, by the simulated clock."""
    stores = Stores(shm_dir, clock)
    yield stores
    stores.close_all()


@pytest.fixture
def small_tmpfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Path]]:
    """A function that gives a directory on a file system of so many bytes.

    It is a tmpfs of its own where this user may mount one; elsewhere the two system calls
    that return the free space answer as such a tmpfs would.
    """
    mounted: list[Path] = []

    def make(size_bytes: int) -> Path:
        path = tmp_path / "small"
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(path)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            mounted.append(path)
        else:
            from tests.driver.files.limited_space import limit_space

            limit_space(monkeypatch, path, size_bytes)
        return path

    yield make
    for path in mounted:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


class Daemons:
    """Starts daemons on one media driver and one base directory, and ends them all."""

    def __init__(self, directory: Path, base_dir: Path, aeron_dir: str) -> None:
        self.directory = directory
        self.base_dir = base_dir
        self.aeron_dir = aeron_dir
        self._daemons: list[Daemon] = []
        self._clients: list[HandClient] = []

    def start(self, **arguments: Any) -> Daemon:
        arguments.setdefault("aeron_dir", self.aeron_dir)
        arguments.setdefault("base_dir", self.base_dir)
        daemon = Daemon(self.directory, **arguments)
        self._daemons.append(daemon)
        return daemon

    def client(self, daemon: Daemon, aeron_dir: str | None = None) -> HandClient:
        client = HandClient(aeron_dir or self.aeron_dir, daemon.control_stream_id)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()
        for daemon in self._daemons:
            daemon.close()


@pytest.fixture
def daemons(tmp_path: Path, shm_dir: Path, media_driver: MediaDriverProcess) -> Iterator[Daemons]:
    """Real daemons on a real, external media driver."""
    daemons = Daemons(tmp_path, shm_dir, media_driver.directory)
    yield daemons
    daemons.close()
