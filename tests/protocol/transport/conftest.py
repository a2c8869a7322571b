"""The two worlds in which every test of the contract runs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.testing.memory_network import MemoryNetwork
from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.channel import tethered
from tests.protocol.transport.media_driver import media_driver

__all__ = ["media_driver"]

CHANNEL = "aeron:ipc?term-length=64k"
_stream_ids = itertools.count(5000)


class World:
    """Transports that reach each other, and a stream id that no other test uses."""

    channel = CHANNEL

    def __init__(self) -> None:
        self.stream_id = next(_stream_ids)
        self.opened: list[Any] = []

    def transport(self, name: str) -> Any:
        transport = self.connect(name)
        self.opened.append(transport)
        return transport

    def connect(self, name: str) -> Any:
        raise NotImplementedError

    def pair(self, *, tether: bool = True) -> tuple[Any, Any]:
        """A connected publication and subscription of two processes."""
        channel = tethered(self.channel) if tether else self.channel
        subscription = self.transport("receiver").add_subscription(channel, self.stream_id)
        publication = self.transport("sender").add_publication(self.channel, self.stream_id)
        self.until(lambda: publication.is_connected and subscription.is_connected)
        return publication, subscription

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the world go on until the condition holds; fails when it never does."""
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "the condition never became true"
            self.wait()

    def wait(self) -> None:
        raise NotImplementedError

    def offer(self, publication: Any, message: bytes) -> None:
        """Offer until accepted."""
        self.until(lambda: publication.offer(message).name == "ACCEPTED")

    def receive(self, subscription: Any, count: int, limit: int = 10) -> list[bytes]:
        """Poll until `count` messages have arrived."""
        received: list[bytes] = []

        def take() -> bool:
            subscription.poll(lambda message: received.append(bytes(message)), limit)
            return len(received) >= count

        self.until(take)
        return received


class MemoryWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.clock = SimulatedClock()
        self.network = MemoryNetwork(self.clock, seed=1)

    def connect(self, name: str) -> Any:
        return self.network.transport(name)

    def wait(self) -> None:
        self.clock.advance(1_000_000)


class AeronWorld(World):
    def __init__(self, directory: str) -> None:
        super().__init__()
        self.directory = directory

    def connect(self, name: str) -> Any:
        return AeronTransport.connect(self.directory, client_name=name)

    def wait(self) -> None:
        time.sleep(0.001)


@pytest.fixture(params=["memory", pytest.param("aeron", marks=pytest.mark.process)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    world: World
    if request.param == "memory":
        world = MemoryWorld()
    else:
        world = AeronWorld(request.getfixturevalue("media_driver").directory)
    yield world
    for transport in world.opened:
        transport.close()
