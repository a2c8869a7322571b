"""A daemon with its page, real clients, and a real browser."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tests.driver.daemons import CHANNEL, Daemon, until
from tests.driver.http.page.browser import Browser
from tests.protocol.transport.media_driver import media_driver

__all__ = ["media_driver"]

INTERVAL_MS = 400


@pytest.fixture(scope="session")
def one_browser() -> Iterator[Browser]:
    """One headless browser for all tests; it fails where there is none, with the remedy."""
    browser = Browser.start()
    yield browser
    browser.close()


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    """The browser; it leaves the page at the end, since an open one computes for minutes."""
    yield one_browser
    one_browser.leave()


class Site:
    """A daemon that serves its page, and the clients of it that a test starts."""

    def __init__(self, directory: Path, base_dir: Path, aeron_dir: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port: int = server.getsockname()[1]
        self._base_dir = base_dir
        self._aeron_dir = aeron_dir
        self._directory = directory
        self._clients: list[subprocess.Popen[bytes]] = []
        self.start_driver()

    def start_driver(self, **settings: object) -> None:
        """Start the daemon, again perhaps."""
        self.daemon = Daemon(
            self._directory,
            self._base_dir,
            self._aeron_dir,
            settings={
                "driver.http_address": f"127.0.0.1:{self.port}",
                "policies.lease_keepalive_interval_ms": INTERVAL_MS,
                "policies.announce_period_ms": INTERVAL_MS,
                **settings,
            },
        ).ready()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start_client(self, role: str, stream_id: int = 10000) -> subprocess.Popen[bytes]:
        """A real client process: a `producer` of red pictures, or a `consumer`."""
        client = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("streaming_client.py")),
                role,
                str(stream_id),
                self._aeron_dir,
                CHANNEL,
                str(self.daemon.control_stream_id),
                str(self._base_dir),
            ]
        )
        self._clients.append(client)
        return client

    def start_bridges(self, stream_id: int, far_id: int, directory: Path) -> None:
        """Carry a stream of this pool over UDP into another one of it, by two bridges."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            place = f"127.0.0.1:{free.getsockname()[1]}"
        shared = ("--set", "media_driver=shared", "--config", str(self.daemon.config))
        for words in (
            ("receive", str(far_id), "--at", place, "--instance", "far-host"),
            ("send", f"{stream_id}={far_id}", "--to", place, "--instance", "near-host"),
        ):
            command = [sys.executable, "-m", "tensor_pool.cli", "bridge", *words, *shared]
            with (directory / f"{words[0]}.txt").open("wb") as out:
                self._clients.append(subprocess.Popen(command, stdout=out, stderr=out))

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}status.json") as page:
            document: dict[str, Any] = json.load(page)
        return document

    def close(self) -> None:
        for client in self._clients:
            client.kill()
            client.wait()
        self.daemon.close()


@contextlib.contextmanager
def running_site(directory: Path, aeron_dir: str) -> Iterator[Site]:
    base_dir = Path(tempfile.mkdtemp(prefix="tp-web-", dir="/dev/shm"))
    try:
        with contextlib.closing(Site(directory, base_dir, aeron_dir)) as site:
            yield site
    finally:
        shutil.rmtree(base_dir)


@pytest.fixture
def site(tmp_path: Path, media_driver: MediaDriverProcess) -> Iterator[Site]:
    """A daemon of the test's own."""
    with running_site(tmp_path, media_driver.directory) as site:
        yield site


@pytest.fixture(scope="module")
def quiet_site(
    tmp_path_factory: pytest.TempPathFactory, media_driver: MediaDriverProcess
) -> Iterator[Site]:
    """A daemon for tests that only look at its page."""
    with running_site(tmp_path_factory.mktemp("site"), media_driver.directory) as site:
        yield site


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait for something that another process does."""
    return until
