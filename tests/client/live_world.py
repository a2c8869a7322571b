"""A world of real time and real threads, for what a simulated one cannot show."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from tensor_pool.client.client import Client
from tensor_pool.client.config import ClientConfig
from tensor_pool.protocol.clock import SystemClock
from tensor_pool.protocol.testing.memory_network import MemoryNetwork
from tests.client.fake_driver import FakeDriver
from tests.client.world import STREAM


class LockedSubscription:
    """Real threads on a network made for one: every call takes one lock."""

    def __init__(self, lock: Any, inner: Any) -> None:
        self._lock, self._inner = lock, inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: Any) -> Any:
            with self._lock:
                return value(*arguments)

        return call


class LockedTransport:
    def __init__(self, lock: Any, inner: Any) -> None:
        self._lock, self._inner = lock, inner

    def add_publication(self, *address: Any) -> Any:
        with self._lock:
            return LockedSubscription(self._lock, self._inner.add_publication(*address))

    add_subscription = lambda self, *address: LockedSubscription(  # noqa: E731
        self._lock, self._inner.add_subscription(*address)
    )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class LiveWorld:
    """Real time, real threads, the in-memory network and the fake driver on a thread."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.lock = threading.RLock()
        self.clock = SystemClock()
        self.network = MemoryNetwork(self.clock)
        transport = LockedTransport(self.lock, self.network.transport("driver"))
        self.driver = FakeDriver(transport, self.clock, base)
        self.driver.add_stream(STREAM, nslots=64)
        self.clients: list[Client] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.001):
            with self.lock:
                self.driver.do_work()

    def client(self, *, threaded: bool = True, **settings: Any) -> Client:
        name = f"client-{len(self.clients)}"
        client = Client(
            ClientConfig(allowed_base_dirs=(str(self.base),), **settings),
            transport=LockedTransport(self.lock, self.network.transport(name)),
        )
        self.clients.append(client)
        return client.start() if threaded else client

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self._stop.set()
        self._thread.join()


def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait for something that has to happen, however slow the machine is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)
