"""A real driver on real files and clients in invoker mode, on simulated time and one network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensor_pool.client.client import Client
from tensor_pool.client.config import ClientConfig
from tensor_pool.driver.core.configuration import (
    DiscoveryTable,
    DriverConfig,
    DriverTable,
    IdRange,
    PoliciesTable,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)
from tensor_pool.driver.driver import Driver
from tensor_pool.driver.files.store import FileStore
from tensor_pool.driver.runtime.metrics import DriverMetrics
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.testing.memory_network import MemoryNetwork

MS = 1_000_000
LEFT, RIGHT = 10_000, 10_001


class PoolWorld:
    """Time passes in `run` and in every blocking call."""

    def __init__(
        self,
        base: Path,
        *,
        streams: dict[str, int] | None = None,
        nslots: int = 16,
        discovery: bool = True,
        clock: SimulatedClock | None = None,
    ) -> None:
        self.clock = clock or SimulatedClock()
        self.network = MemoryNetwork(self.clock, seed=1)
        self.clients: list[Client] = []
        self.tasks: list[Callable[[], object]] = []  # what goes on beside blocking calls
        self.base = base
        self._streams = streams if streams is not None else {"left": LEFT, "right": RIGHT}
        self._nslots = nslots
        self._discovery = discovery
        self.driver = self.start_driver()

    def start_driver(self, name: str = "driver") -> Driver:
        """Start a driver; after `driver.close()` the next one."""
        config = DriverConfig(
            driver=DriverTable(stream_id_range=IdRange(20_000, 20_999)),
            shm=ShmTable(base_dir=str(self.base)),
            policies=PoliciesTable(allow_dynamic_streams=True),
            discovery=DiscoveryTable(enabled=self._discovery),
            profiles={
                "small": Profile(
                    header_nslots=self._nslots, payload_pools=(Pool(pool_id=1, stride_bytes=4096),)
                )
            },
            streams={n: StreamConfig(i, "small") for n, i in self._streams.items()},
        )
        metrics = DriverMetrics()
        self.driver = Driver(
            config,
            clock=self.clock,
            transport=self.network.transport(name),
            store=FileStore(config, self.clock, metrics),
            metrics=metrics,
            pause=lambda: self.clock.advance(MS),
        )
        self.driver.start()
        return self.driver

    def client(self, **settings: Any) -> Client:
        """A client in invoker mode; `settings` are fields of ClientConfig."""
        client = Client(
            ClientConfig(allowed_base_dirs=(str(self.base),), **settings),
            transport=self.network.transport(f"client-{len(self.clients)}"),
            clock=self.clock,
            idle=self.idle,
        )
        self.clients.append(client)
        return client

    def idle(self) -> None:
        """A millisecond passes for the driver, and for every client that is not in a call."""
        self.clock.advance(MS)
        self._work()

    def run(self, seconds: float, step_ms: int = 10) -> None:
        """Let time pass for everyone."""
        until = self.clock.monotonic_ns() + round(seconds * 1e9)
        while self.clock.monotonic_ns() < until:
            self.clock.advance(step_ms * MS)
            self._work()

    def _work(self) -> None:
        """One turn of driver, clients and tasks; no time passes."""
        if not self.driver.is_stopped:
            self.driver.do_work()
        for client in self.clients:
            if not client._closed:
                client.do_work()
        for task in list(self.tasks):
            task()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.driver.close(drain=False)
