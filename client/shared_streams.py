"""The shared transport streams of one client, opened when first needed.

Logical streams that are configured onto one channel and number share one subscription, so that no
message is handled twice (W-001). After the loss of the transport everything is opened anew.
"""

from __future__ import annotations

import enum

from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.channel import beacon, of_session
from tensor_pool.protocol.transport.ports import (
    FragmentHandler,
    OfferResult,
    Publication,
    Subscription,
    Transport,
)
from tensor_pool.protocol.wire import Message, encode
from tensor_pool.protocol.wire.channel_terms import with_short_terms

from .config import ClientConfig

__all__ = ["Endpoints", "LogicalStream"]

_WITHOUT_DRIVER_NS = 2_000_000_000
_RETRY_NS = 1_000_000_000


class LogicalStream(enum.Enum):
    """The shared streams a conductor handles; consumers poll descriptors themselves."""

    CONTROL = "control"
    ANNOUNCE = "announce"
    QOS = "qos"
    METADATA = "metadata"


class Endpoints:
    """Publications and subscriptions of one client on one transport.

    On the control stream every client sends, so that a client that receives all of it adds to the
    work and the connections of every other. One that needs the drivers' messages only subscribes to
    their sessions, which their beacons show (W-009).
    """

    def __init__(self, transport: Transport, config: ClientConfig) -> None:
        self.transport = transport
        self._addresses = {
            stream: (
                getattr(config, f"{stream.value}_channel"),
                getattr(config, f"{stream.value}_stream_id"),
            )
            for stream in LogicalStream
        }
        self._publications: dict[LogicalStream, Publication] = {}
        self._subscriptions: dict[tuple[str, int], Subscription] = {}
        self._beacons: Subscription | None = None
        self._of_drivers: dict[int, Subscription] = {}  # by session, instead of the whole stream
        self._closing: list[Subscription] = []  # what waits there is still to be read
        self._driver_seen_ns = 0
        self._next_try_ns = 0

    def subscribe(self, stream: LogicalStream) -> Subscription:
        """The subscription of a logical stream; opened by the first call. Raises TransportError."""
        address = self._addresses[stream]
        if self._of_drivers and address == self._addresses[LogicalStream.CONTROL]:
            return max(self._of_drivers.values(), key=lambda s: s.join_time_ns)
        if (subscription := self._subscriptions.get(address)) is None:
            subscription = self.transport.add_subscription(*address)
            self._subscriptions[address] = subscription
        return subscription

    def leave(self, stream: LogicalStream) -> None:
        """Receive a logical stream no more, unless another one shares its subscription."""
        address = self._addresses[stream]
        is_shared = list(self._addresses.values()).count(address) > 1
        if not is_shared and (subscription := self._subscriptions.pop(address, None)) is not None:
            self._closing.append(subscription)  # what waits there is still to be read

    def poll(self, handler: FragmentHandler, fragment_limit: int) -> int:
        """Poll every open subscription once; returns the number of fragments."""
        taken = 0
        for subscription in (*self._subscriptions.values(), *self._of_drivers.values()):
            taken += subscription.poll(handler, fragment_limit)
        for subscription in self._closing.copy():
            if not (n := subscription.poll(handler, fragment_limit)):
                self._closing.remove(subscription)
                subscription.close()
            taken += n
        return taken

    @property
    def drivers(self) -> frozenset[int]:
        """The sessions of the drivers whose beacons show (W-009)."""
        return self._beacons.sessions if self._beacons is not None else frozenset()

    def listen(self, now: int, *, to_clients: bool) -> None:
        """Receive the control messages of the drivers, or of the clients too.

        Without a beacon it is all of them: the driver may be of another implementation.
        """
        drivers = self.drivers
        if drivers:
            self._driver_seen_ns = now
        elif self._of_drivers and now - self._driver_seen_ns < _WITHOUT_DRIVER_NS:
            drivers = frozenset(self._of_drivers)
        wanted = frozenset() if to_clients else drivers
        if wanted == self._of_drivers.keys() or now < self._next_try_ns:
            return
        try:
            self._receive_only(wanted)
        except TransportError:  # everything stays as it is
            self._next_try_ns = now + _RETRY_NS

    def _receive_only(self, sessions: frozenset[int]) -> None:
        """Subscribe to these sessions of the control stream; without any to all of it."""
        channel, stream_id = address = self._addresses[LogicalStream.CONTROL]
        if not sessions and address not in self._subscriptions:
            self._subscriptions[address] = self.transport.add_subscription(*address)
        for session_id in sessions - self._of_drivers.keys():
            self._of_drivers[session_id] = self.transport.add_subscription(
                of_session(channel, session_id), stream_id
            )
        for session_id in self._of_drivers.keys() - sessions:
            self._closing.append(self._of_drivers.pop(session_id))
        if sessions and address in self._subscriptions:
            self._closing.append(self._subscriptions.pop(address))

    def send(self, stream: LogicalStream, message: Message) -> OfferResult:
        """Offer a message; a transport that cannot open the publication counts as closed."""
        publication = self._publications.get(stream)
        if publication is None:
            try:
                publication = self._add_publication(stream)
            except TransportError:
                return OfferResult.CLOSED
            self._publications[stream] = publication
        return publication.offer(encode(message))

    def open(self) -> None:
        """Open what every attachment needs: control both ways, and announces."""
        self.subscribe(LogicalStream.CONTROL)
        self.subscribe(LogicalStream.ANNOUNCE)
        address = beacon(*self._addresses[LogicalStream.CONTROL])
        if address is not None:
            self._beacons = self.transport.add_subscription(*address)
        self._publications[LogicalStream.CONTROL] = self._add_publication(LogicalStream.CONTROL)

    def _add_publication(self, stream: LogicalStream) -> Publication:
        channel, stream_id = self._addresses[stream]
        if stream is not LogicalStream.METADATA:  # whose messages may be long
            channel = with_short_terms(channel)
        return self.transport.add_publication(channel, stream_id)
