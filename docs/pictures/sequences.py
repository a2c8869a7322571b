"""Message exchanges for the sequence diagrams, recorded from the real driver and client.

Driver and clients run on a simulated clock and network, with region files in a directory of their
own. The messages on the network are recorded. Only repetitions are left out: of keepalives, hellos,
announces and refusals the first of a kind is shown.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tensor_pool.client import Client, ClientConfig, PublishMode
from tensor_pool.client.attachment import backoff
from tensor_pool.driver import Driver, DriverConfig, PoliciesTable, Pool, Profile, StreamConfig
from tensor_pool.driver.core.configuration import ShmTable
from tensor_pool.driver.files.store import FileStore
from tensor_pool.driver.runtime.metrics import DriverMetrics
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.testing.memory_network import MemoryNetwork, NetworkEvent
from tensor_pool.protocol.wire import (
    ConsumerHello,
    FrameDescriptor,
    Message,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    decode,
)

STREAM = 10_000
MS = 1_000_000
SHOWN_FRAMES = 2


class Arrow(NamedTuple):
    """A message, at `ms` of simulated time."""

    ms: int
    sender: str
    receiver: str
    text: str


class Note(NamedTuple):
    """Something that happens at one place."""

    ms: int
    who: str
    text: str


type Line = Arrow | Note


class Stage:
    """A machine with a driver and any number of client processes."""

    def __init__(self, directory: Path) -> None:
        self.lines: list[Line] = []
        self.clock = SimulatedClock()
        self._start_ns = self.clock.monotonic_ns()
        self.network = MemoryNetwork(self.clock, seed=1, observer=self._on_network)
        self._config = DriverConfig(
            shm=ShmTable(base_dir=str(directory), allowed_base_dirs=(str(directory),)),
            policies=PoliciesTable(cleanup_shm_on_exit=True, shutdown_timeout_ms=100),
            profiles={"camera": Profile(header_nslots=4, payload_pools=(Pool(1, 4096),))},
            streams={"front": StreamConfig(stream_id=STREAM, profile="camera")},
        )
        self._client_config = ClientConfig(allowed_base_dirs=(str(directory),))
        self._senders: dict[int, str] = {}
        self._askers: dict[int, str] = {}
        self._epochs: list[int] = []
        self._leases: list[int] = []
        self._refused: set[str] = set()
        self._seen: set[tuple[object, ...]] = set()
        self.driver: Driver | None = None
        self.clients: dict[str, Client] = {}

    # What happens

    def start_driver(self) -> None:
        metrics = DriverMetrics()
        self._driver_transport = self.network.transport("driver")
        self.driver = Driver(
            self._config,
            clock=self.clock,
            transport=self._driver_transport,
            store=FileStore(self._config, self.clock, metrics),
            metrics=metrics,
            pause=lambda: self.clock.advance(MS),
        )
        self.driver.start()

    def stop_driver(self) -> None:
        """SIGTERM: the driver drains, sends the notice and ends."""
        assert self.driver is not None
        self.driver.request_shutdown()
        self.run(lambda: self.driver is not None and self.driver.is_stopped)
        self.driver.close()
        self._driver_transport.close()
        self.driver = None

    def client(self, name: str) -> Client:
        client = Client(
            self._client_config,
            transport=self.network.transport(name),
            clock=self.clock,
            idle=self._idle,
        )
        self.clients[name] = client
        return client

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.note(name, "killed")
        client = self.clients.pop(name)
        self.network.kill(name)
        client._closed = True

    def run(self, until: Callable[[], object] | None = None, ms: int = 60_000) -> None:
        """Let all run until something is so, or for `ms`."""
        for _ in range(ms):
            if until is not None and until():
                return
            self._idle()
            for client in list(self.clients.values()):
                client.do_work()
        assert until is None, "it never happened"

    def _idle(self) -> None:
        self.clock.advance(MS)
        if self.driver is not None and not self.driver.is_stopped:
            self.driver.do_work()

    # What is recorded

    def note(self, who: str, text: str) -> None:
        self.lines.append(Note(self._ms(), who, text))

    def _ms(self) -> int:
        return (self.clock.monotonic_ns() - self._start_ns) // MS

    def _on_network(self, event: NetworkEvent) -> None:
        if event.kind == "accepted":
            self._senders[event.session_id] = event.transport
            return
        sender, receiver = self._senders.get(event.session_id), event.transport
        if event.kind != "delivered" or sender is None or sender == receiver:
            return
        message = decode(event.message)
        if isinstance(message, ShmAttachRequest | ShmDetachRequest):
            self._askers[message.correlation_id] = sender
        text = self._shown(message, sender, receiver)
        if text is not None:
            self.lines.append(Arrow(self._ms(), sender, receiver, text))

    def _shown(self, message: Message, sender: str, receiver: str) -> str | None:
        """Return the text of a message; None for repetitions and for messages of others."""
        to_driver = receiver == "driver"
        match message:
            case ShmAttachRequest(role=role) if to_driver:
                if sender in self._refused:
                    self._again = Arrow(self._ms(), sender, receiver, f"attach as {_name(role)}")
                    return None
                return f"attach as {_name(role)}"
            case ShmAttachResponse(correlation_id=asked) if self._askers.get(asked) == receiver:
                if message.code is not ResponseCode.OK:
                    if not self._refused:
                        self._refused.add(receiver)
                        return f"refused: {message.code.name}"
                    return None
                if receiver in self._refused:
                    at = next((n for n, x in enumerate(self.lines) if x.ms == self._ms()), None)
                    self.lines.insert(len(self.lines) if at is None else at, self._again)
                return f"granted: {self._lease(message.lease_id)}, {self._epoch(message.epoch)}"
            case ShmLeaseKeepalive(lease_id=lease) if to_driver and self._first("alive", lease):
                return "keepalive, every second"
            case ShmDetachRequest() if to_driver:
                return "detach"
            case ShmDetachResponse(correlation_id=asked) if self._askers.get(asked) == receiver:
                return "detached"
            case ShmLeaseRevoked(lease_id=lease, reason=reason):
                return f"{self._lease(lease)} ended: {reason.name}"
            case ShmPoolAnnounce(epoch=epoch) if receiver == "viewer" and self._first(epoch):
                return f"announce: {self._epoch(epoch)}"
            case ConsumerHello() if to_driver and self._first("hello", sender):
                return "hello"
            case ShmDriverShutdown(reason=reason):
                return f"shutdown: {reason.name}"
            case FrameDescriptor(epoch=epoch, seq=seq) if seq < SHOWN_FRAMES:
                return f"frame {seq} of {self._epoch(epoch)}"
        return None

    def _epoch(self, epoch: int | None) -> str:
        """A short name in place of a large number."""
        assert epoch is not None
        if epoch not in self._epochs:
            self._epochs.append(epoch)
        return f"epoch {'ABCDEFGH'[self._epochs.index(epoch)]}"

    def _lease(self, lease_id: int | None) -> str:
        assert lease_id is not None
        if lease_id not in self._leases:
            self._leases.append(lease_id)
        return f"lease {self._leases.index(lease_id) + 1}"

    def _first(self, *what: object) -> bool:
        if what in self._seen:
            return False
        self._seen.add(what)
        return True


def _name(role: int) -> str:
    return Role(role).name.lower()


def _publish(stage: Stage, producer: Any, consumer: Any) -> None:
    """Frames until two have arrived."""
    arrived = 0
    while arrived < SHOWN_FRAMES:
        stage.run(ms=20)
        producer.publish(np.zeros(8, np.uint8))
        while consumer.poll() is not None:
            arrived += 1


def attach_use_detach(stage: Stage) -> tuple[str, ...]:
    stage.start_driver()
    producer = stage.client("camera").producer(STREAM)
    consumer = stage.client("viewer").consumer(STREAM)
    stage.note("viewer", "maps the files")
    _publish(stage, producer, consumer)
    stage.run(ms=1500)
    producer.close()
    stage.run(ms=20)
    return ("camera", "driver", "viewer")


def producer_crash(stage: Stage) -> tuple[str, ...]:
    stage.start_driver()
    producer = stage.client("camera").producer(STREAM)
    consumer = stage.client("viewer").consumer(STREAM)
    _publish(stage, producer, consumer)
    stage.run(ms=1200)
    stage.kill("camera")
    later = stage.client("camera 2").begin_attach_producer(STREAM)
    stage.run(ms=100)
    stage.note("camera 2", "asks again and again")
    stage.run(lambda: later.poll_ready())
    stage.run(lambda: consumer.state == "Mapped")
    stage.note("viewer", "maps new files")
    _publish(stage, later, consumer)
    return ("camera", "camera 2", "driver", "viewer")


def driver_restart(stage: Stage) -> tuple[str, ...]:
    stage.start_driver()
    producer = stage.client("camera").producer(STREAM)
    consumer = stage.client("viewer").consumer(STREAM, publish_mode=PublishMode.EXISTING_OR_CREATE)
    stage.run(ms=100)
    stage.note("driver", "SIGTERM")
    stage.stop_driver()
    stage.run(ms=200)
    stage.note("driver", "started again")
    stage.start_driver()
    stage.run(lambda: producer.poll_ready() and consumer.poll_ready())
    stage.run(ms=50)
    _publish(stage, producer, consumer)
    return ("camera", "driver", "viewer")


SCENES: dict[str, tuple[str, Callable[[Stage], tuple[str, ...]]]] = {
    "attach-use-detach": ("A client attaches, uses its stream and detaches", attach_use_detach),
    "producer-crash": ("A producer crashes and is replaced", producer_crash),
    "driver-restart": ("The driver is restarted", driver_restart),
}


def record(name: str) -> tuple[str, tuple[str, ...], list[Line]]:
    """Title, participants from left to right, and what happened, in order."""
    backoff._random = random.Random(name)  # the clients' delays before they ask again
    title, scene = SCENES[name]
    with tempfile.TemporaryDirectory(prefix="tensor-pool-pictures-", dir="/dev/shm") as directory:
        stage = Stage(Path(directory))
        participants = scene(stage)
        lines = list(stage.lines)
        for client in stage.clients.values():
            client._closed = True
        if stage.driver is not None:
            stage.driver.close(drain=False)
    return title, participants, lines
