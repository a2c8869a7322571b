"""A small world on simulated time: one network, one fake driver, any number of clients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensor_pool.client.client import Client
from tensor_pool.client.config import ClientConfig
from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.producer.producer import Producer
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.testing.memory_network import MemoryNetwork
from tensor_pool.protocol.transport.ports import Publication
from tensor_pool.protocol.wire import Message, decode, encode
from tests.client.fake_driver import CHANNEL, FakeDriver

MS = 1_000_000
S = 1_000_000_000
STREAM = 10_000


class World:
    """Everything runs when `run` is called, in steps of simulated time."""

    def __init__(self, base: Path, seed: int = 1) -> None:
        self.base = base
        self.clock = SimulatedClock()
        self.network = MemoryNetwork(self.clock, seed=seed)
        self.driver = FakeDriver(self.network.transport("driver"), self.clock, base)
        self.clients: list[Client] = []
        self._outsider: Any = None
        self._publications: dict[int, Publication] = {}
        self._heard: dict[int, list[Message]] = {}
        self._ears: dict[int, Any] = {}

    def client(
        self,
        name: str | None = None,
        *,
        reconnect: Callable[[], Any] | None = None,
        **settings: Any,
    ) -> Client:
        """A client in invoker mode; `settings` are fields of ClientConfig."""
        name = name or f"client-{len(self.clients)}"
        settings.setdefault("allowed_base_dirs", (str(self.base),))
        client = Client(
            ClientConfig(**settings),
            transport=self.network.transport(name),
            clock=self.clock,
            idle=self.idle,
            reconnect=reconnect,
        )
        self.clients.append(client)
        return client

    def idle(self) -> None:
        """Let a millisecond pass for all but the caller."""
        self.clock.advance(MS)
        self.driver.do_work()

    def run(self, seconds: float, step_ms: int = 10) -> None:
        """Let time pass for all."""
        until = self.clock.monotonic_ns() + round(seconds * S)
        while True:
            self.driver.do_work()
            for client in self.clients:
                if not client._closed:
                    client.do_work()
            for stream_id in self._ears:
                self._listen_once(stream_id)
            left = until - self.clock.monotonic_ns()
            if left <= 0:
                return
            self.clock.advance(min(step_ms * MS, left))

    def pair(self, client: Client | None = None, **options: Any) -> tuple[Producer, Consumer]:
        """A producer and a consumer of STREAM, both ready, on the same epoch."""
        client = client or self.client()
        producer = client.producer(STREAM)
        consumer = client.consumer(STREAM, **options)
        self.run(0.05)
        return producer, consumer

    # Another process on the network

    def say(self, stream_id: int, message: Message | bytes) -> None:
        """An outsider sends on a transport stream."""
        publication = self._publications.get(stream_id)
        if publication is None:
            publication = self._outside().add_publication(CHANNEL, stream_id)
            self._publications[stream_id] = publication
        data = message if isinstance(message, bytes) else encode(message, checked=False)
        publication.offer(data)

    def listen(self, stream_id: int) -> list[Message]:
        """All messages on a transport stream from now on; filled by `run` and by `hear`."""
        if stream_id not in self._ears:
            self._ears[stream_id] = self._outside().add_subscription(CHANNEL, stream_id)
            self._heard[stream_id] = []
        return self._heard[stream_id]

    def hear(self, stream_id: int) -> list[Message]:
        self._listen_once(stream_id)
        return self._heard[stream_id]

    def _listen_once(self, stream_id: int) -> None:
        heard = self._heard[stream_id]
        self._ears[stream_id].poll(lambda buffer: heard.append(decode(bytes(buffer))), 10_000)

    def _outside(self) -> Any:
        if self._outsider is None:
            self._outsider = self.network.transport("outsider")
        return self._outsider

    def close(self) -> None:
        for client in self.clients:
            client.close()
