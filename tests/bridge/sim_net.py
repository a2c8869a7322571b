"""A network of datagrams and sessions on simulated time, with the faults of section 3.1 (B-012)."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

import msgspec

from tensor_pool.bridge.channels import address_of
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.ports import OfferResult

__all__ = ["SimHostNet", "SimNetwork"]

_MS = 1_000_000
_SILENT_NS = 5_000 * _MS  # then a publication reports that it is not connected
_IMAGE_NS = 10_000 * _MS  # then an image ends

type Address = tuple[str, int]


class _InFlight(msgspec.Struct):
    due_ns: int
    message: bytes


class _Image:
    """Messages of one session under way to one subscription."""

    def __init__(self) -> None:
        self.messages: deque[_InFlight] = deque()
        self.nbytes = 0


class SimNetwork:
    """Every session of every host; `loss` and `duplication` are probabilities per message."""

    def __init__(
        self,
        clock: SimulatedClock,
        dice: random.Random,
        *,
        latency_ms: int = 2,
        loss: float = 0.0,
        duplication: float = 0.0,
        window_bytes: int = 16 << 10,
    ) -> None:
        self.clock = clock
        self.dice = dice
        self.latency_ms = latency_ms
        self.loss = loss
        self.duplication = duplication
        self.window_bytes = window_bytes
        self.duplicated_first_chunks = 0
        self.subscriptions: dict[Address, _Subscription] = {}
        self.publications: list[_Publication] = []
        self._cut_since_ns: int | None = None
        self._image_ended = False
        self._next_session = 1
        self.on_offer: Callable[[int, bytes], object] = lambda session, message: None
        self.on_arrival: Callable[[int, bytes], object] = lambda session, message: None

    def host(self) -> SimHostNet:
        return SimHostNet(self)

    def cut(self) -> None:
        """Partition: nothing arrives until `heal`."""
        if self._cut_since_ns is None:
            self._cut_since_ns = self.clock.monotonic_ns()
            self._image_ended = False

    def heal(self) -> None:
        self.step()
        self._cut_since_ns = None

    @property
    def is_cut(self) -> bool:
        return self._cut_since_ns is not None

    @property
    def silent_ns(self) -> int:
        """Ns since the network was cut; 0 while it works."""
        since = self._cut_since_ns
        return 0 if since is None else self.clock.monotonic_ns() - since

    def step(self) -> None:
        """End images of a long partition."""
        if self.silent_ns > _IMAGE_NS and not self._image_ended:
            self._image_ended = True
            for subscription in self.subscriptions.values():
                subscription.end_images()

    def new_session(self) -> int:
        self._next_session += 1
        return self._next_session

    def carry(self, publication: _Publication, message: bytes) -> OfferResult:
        subscription = self.subscriptions.get(publication.address)
        if subscription is None or self.silent_ns > _SILENT_NS:
            return OfferResult.NOT_CONNECTED
        image = subscription.image(publication.session_id)
        if image.nbytes + len(message) > self.window_bytes:
            return OfferResult.BACK_PRESSURED
        self.on_offer(publication.session_id, message)
        if self.loss and self.dice.random() < self.loss:
            return OfferResult.ACCEPTED
        copies = 1 + (self.dice.random() < self.duplication if self.duplication else 0)
        due_ns = self.clock.monotonic_ns() + self.dice.randint(1, 2 * self.latency_ms) * _MS
        if image.messages:
            due_ns = max(due_ns, image.messages[-1].due_ns)  # in order within a session
        for _ in range(copies):
            image.messages.append(_InFlight(due_ns, message))
            image.nbytes += len(message)
        return OfferResult.ACCEPTED


class SimHostNet:
    """The network side of one bridge; see the port Net."""

    def __init__(self, network: SimNetwork) -> None:
        self._network = network
        self._mine: list[_Publication | _Subscription] = []
        self.error: str | None = None
        self.directory = "/dev/shm/sim"

    def publication(self, channel: str, stream_id: int) -> _Publication:
        publication = _Publication(self._network, address_of(channel))
        self._network.publications.append(publication)
        self._mine.append(publication)
        return publication

    def subscription(self, channel: str, stream_id: int) -> _Subscription:
        address = address_of(channel)
        if address in self._network.subscriptions:
            raise TransportError(f"{address} is in use")
        subscription = _Subscription(self._network, address)
        self._network.subscriptions[address] = subscription
        self._mine.append(subscription)
        return subscription

    def close(self) -> None:
        for endpoint in self._mine:
            endpoint.close()
        self._mine.clear()

    @property
    def is_released(self) -> bool:
        return not self._mine


class _Publication:
    def __init__(self, network: SimNetwork, address: Address) -> None:
        self._network = network
        self.address = address
        self.session_id = network.new_session()
        self._closed = False

    @property
    def is_connected(self) -> bool:
        network = self._network
        return (
            not self._closed
            and self.address in network.subscriptions
            and network.silent_ns <= _SILENT_NS
        )

    def offer(self, message: bytes | bytearray | memoryview) -> OfferResult:
        if self._closed:
            return OfferResult.CLOSED
        return self._network.carry(self, bytes(message))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._network.publications.remove(self)
            subscription = self._network.subscriptions.get(self.address)
            if subscription is not None:
                subscription.end_image(self.session_id)


class _Subscription:
    def __init__(self, network: SimNetwork, address: Address) -> None:
        self._network = network
        self._address = address
        self._images: dict[int, _Image] = {}
        self._ended: list[int] = []

    def image(self, session: int) -> _Image:
        return self._images.setdefault(session, _Image())

    def end_images(self) -> None:
        for session in list(self._images):
            self.end_image(session)

    def end_image(self, session: int) -> None:
        """Lose the messages that are under way."""
        if self._images.pop(session, None) is not None:
            self._ended.append(session)

    def poll(self, handler: Callable[[int, memoryview], None], limit: int) -> int:
        if self._network.is_cut:
            return 0
        now = self._network.clock.monotonic_ns()
        taken = 0
        sessions = list(self._images)
        self._network.dice.shuffle(sessions)  # sessions overtake each other
        for session in sessions:
            image = self._images[session]
            while image.messages and image.messages[0].due_ns <= now and taken < limit:
                message = image.messages.popleft().message
                image.nbytes -= len(message)
                taken += 1
                self._network.on_arrival(session, message)
                handler(session, memoryview(message))
        return taken

    def source_address(self, session: int) -> str:
        return "10.0.0.1"

    def gone(self) -> list[int]:
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        if self._network.subscriptions.get(self._address) is self:
            del self._network.subscriptions[self._address]
        self._images.clear()
