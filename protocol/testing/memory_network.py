"""A deterministic network in memory: many processes' transports in one interpreter.

Tests and the simulator run driver, producers and consumers on it. It behaves as Aeron IPC does
where that matters to a protocol: exclusive publications with sessions, NOT_CONNECTED without
subscribers, a bounded window per publication that the slowest subscription holds back, ADMIN_ACTION
when a term is full, fragments, late joiners, and a killed process whose resources linger until its
liveness timeout. On top it has faults (`Faults`), all drawn from one seed: the same seed and the
same calls give the same deliveries, byte for byte.

Nothing happens by itself: time is the given clock's, and whatever has become due is carried out at
the next call.

>>> from tensor_pool.protocol.clock import SimulatedClock
>>> network = MemoryNetwork(SimulatedClock(), seed=7)
>>> publication = network.transport("driver").add_publication("aeron:ipc", 1000)
>>> subscription = network.transport("client").add_subscription("aeron:ipc", 1000)
>>> publication.offer(b"hello")
<OfferResult.ACCEPTED: 'accepted'>
>>> received = []
>>> subscription.poll(lambda message: received.append(bytes(message)), 10)
1
>>> received
[b'hello']
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from ..clock import Clock
from ..errors import TransportError
from ..transport.channel import Channel
from .faults import NO_FAULTS, Faults
from .memory_endpoints import (
    MemoryPublication,
    MemorySubscription,
    NetworkEvent,
    link,
    unlink,
)

__all__ = ["LIVENESS_TIMEOUT_NS", "MemoryNetwork", "MemoryTransport", "NetworkEvent"]

LIVENESS_TIMEOUT_NS = 10_000_000_000  # Aeron's default before a dead client's resources are freed


class MemoryNetwork:
    """The medium that all transports made by it share.

    `observer` is called with every NetworkEvent, for journals and replay checks.
    """

    def __init__(
        self,
        clock: Clock,
        seed: int = 0,
        *,
        faults: Faults = NO_FAULTS,
        connect_delay_ns: int = 0,
        observer: Callable[[NetworkEvent], None] | None = None,
    ) -> None:
        self.clock = clock
        self.observer = observer
        self._seed = seed
        self._connect_delay_ns = connect_delay_ns
        self._faults: dict[tuple[str | None, int | None], Faults] = {(None, None): faults}
        self._transports: dict[str, MemoryTransport] = {}
        self._publications: dict[tuple[str, int], list[MemoryPublication]] = {}
        self._subscriptions: dict[tuple[str, int], list[MemorySubscription]] = {}
        self._cut_off: set[str] = set()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._session_ids = random.Random(f"{seed}/sessions")
        self._used_session_ids: set[int] = set()

    def transport(self, name: str) -> MemoryTransport:
        """A new transport, as of a process called `name`; the name is free again once closed."""
        existing = self._transports.get(name)
        if existing is not None and not existing.is_closed:
            raise TransportError(f"transport {name!r} is open already")
        transport = MemoryTransport(self, name)
        self._transports[name] = transport
        return transport

    def set_faults(
        self, faults: Faults, *, transport: str | None = None, stream_id: int | None = None
    ) -> None:
        """Set the faults everywhere, or for one transport, one stream, or one stream of one.

        The most specific setting wins as a whole; a transport's goes before a stream's. Offer
        faults follow the publisher's transport, delivery faults the subscriber's.
        """
        self._faults[transport, stream_id] = faults

    def faults_of(self, transport: str, stream_id: int) -> Faults:
        """The faults in force for one stream of one transport."""
        settings = self._faults
        if len(settings) == 1:
            return settings[None, None]
        for key in ((transport, stream_id), (transport, None), (None, stream_id)):
            if (found := settings.get(key)) is not None:
                return found
        return settings[None, None]

    def kill(self, name: str, *, liveness_timeout_ns: int = LIVENESS_TIMEOUT_NS) -> None:
        """The process dies with SIGKILL: it does nothing more, and no other process is notified.

        Its publications stay connected and its subscriptions hold windows back until the media
        driver misses it after `liveness_timeout_ns`.
        """
        transport = self._open_transport(name)
        transport._die("killed", release=False)
        self._schedule(liveness_timeout_ns, transport._release)

    def fail(self, name: str, error: str = "media driver lost") -> None:
        """The transport's client closes without a call: `error` is the reason."""
        self._open_transport(name)._die(error, release=True)

    def lose_media_driver(self) -> None:
        """Every open transport fails at once."""
        for name in [n for n, t in self._transports.items() if not t.is_closed]:
            self.fail(name)

    def disconnect(self, name: str) -> None:
        """Cut a transport off from all others; what they had not read of each other is lost."""
        self._open_transport(name)
        self._cut_off.add(name)
        for publication, subscription in self._pairs(name):
            unlink(publication, subscription)

    def reconnect(self, name: str) -> None:
        """Undo `disconnect`: new connections, with a new join time."""
        self._cut_off.discard(name)
        for publication, subscription in self._pairs(name):
            self._connect(publication, subscription)

    # The network's side of its endpoints.

    def now(self) -> int:
        """The time; carries out what has become due first."""
        now = self.clock.monotonic_ns()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        return now

    def next_order(self) -> int:
        """Numbers messages in the order they were offered, network-wide."""
        self._order += 1
        return self._order

    def random_for(self, *names: object) -> random.Random:
        """A source of chance of its own for one endpoint, so that endpoints do not disturb each
        other's draws."""
        return random.Random("/".join(map(str, (self._seed, *names))))

    def new_session_id(self) -> int:
        """A signed 32-bit id, as Aeron's, never used before in this network."""
        while True:
            session_id = self._session_ids.getrandbits(32) - (1 << 31)
            if session_id not in self._used_session_ids:
                self._used_session_ids.add(session_id)
                return session_id

    def register(self, endpoint: MemoryPublication | MemorySubscription) -> None:
        """A new endpoint: connect it with those that match."""
        key = (endpoint.address, endpoint.stream_id)
        publications = self._publications.setdefault(key, [])
        subscriptions = self._subscriptions.setdefault(key, [])
        if isinstance(endpoint, MemoryPublication):
            publications.append(endpoint)
            for subscription in list(subscriptions):
                self._connect(endpoint, subscription)
        else:
            subscriptions.append(endpoint)
            faults = self.faults_of(endpoint.transport.name, endpoint.stream_id)
            for publication in list(publications):
                self._connect(publication, endpoint, stale=faults.stale_fragments)

    def forget(self, endpoint: MemoryPublication | MemorySubscription) -> None:
        """An endpoint is gone for good; a closed publication only once nothing of it is unread."""
        key = (endpoint.address, endpoint.stream_id)
        if isinstance(endpoint, MemoryPublication):
            _discard(self._publications[key], endpoint)
        else:
            _discard(self._subscriptions[key], endpoint)

    def _schedule(self, delay_ns: int, action: Callable[[], None]) -> None:
        due = self.clock.monotonic_ns() + delay_ns
        heapq.heappush(self._due, (due, self.next_order(), action))

    def _connect(
        self,
        publication: MemoryPublication,
        subscription: MemorySubscription,
        *,
        stale: bool = False,
    ) -> None:
        if subscription.only_session not in (None, publication.session_id):
            return

        def connect() -> None:
            if self._reachable(publication, subscription):
                link(publication, subscription, stale=stale)

        if self._connect_delay_ns:
            self._schedule(self._connect_delay_ns, connect)
        else:
            connect()

    def _reachable(self, publication: MemoryPublication, subscription: MemorySubscription) -> bool:
        ends = {publication.transport.name, subscription.transport.name}
        return len(ends) == 1 or not ends & self._cut_off

    def _pairs(self, name: str) -> list[tuple[MemoryPublication, MemorySubscription]]:
        """Every possible connection between the transport and the others."""
        return [
            (publication, subscription)
            for key, publications in self._publications.items()
            for publication in publications
            for subscription in self._subscriptions[key]
            if (publication.transport.name == name) != (subscription.transport.name == name)
        ]

    def _open_transport(self, name: str) -> MemoryTransport:
        transport = self._transports.get(name)
        if transport is None or transport.is_closed:
            raise TransportError(f"no open transport {name!r} in this network")
        return transport


class MemoryTransport:
    """One process's client of a MemoryNetwork; made by `MemoryNetwork.transport`."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.network = network
        self.name = name
        self._endpoints: list[MemoryPublication | MemorySubscription] = []
        self._closed = False
        self._error: str | None = None

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def error(self) -> str | None:
        return self._error

    def add_publication(self, channel: str, stream_id: int) -> MemoryPublication:
        """Raises TransportError for a bad channel or a closed transport."""
        return self._add(MemoryPublication(self, Channel.parse(channel), stream_id))

    def add_subscription(self, channel: str, stream_id: int) -> MemorySubscription:
        """Raises TransportError for a bad channel or a closed transport."""
        return self._add(MemorySubscription(self, Channel.parse(channel), stream_id))

    def close(self) -> None:
        """Close all publications and subscriptions; may be called again."""
        if not self._closed:
            self._closed = True
            self._release()

    def _add[E: (MemoryPublication, MemorySubscription)](self, endpoint: E) -> E:
        if self._closed:
            raise TransportError(
                f"transport {self.name!r} is closed: {self._error or 'by close()'}"
            )
        self._endpoints.append(endpoint)
        self.network.register(endpoint)
        return endpoint

    def _die(self, error: str, *, release: bool) -> None:
        self._closed = True
        self._error = error
        if release:
            self._release()

    def _release(self) -> None:
        for endpoint in self._endpoints:
            endpoint.release()
        self._endpoints.clear()


def _discard[E](items: list[E], item: E) -> None:
    if item in items:
        items.remove(item)
