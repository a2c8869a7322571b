"""The shared transport streams of one client, opened when first needed.

Logical streams that are configured onto one channel and number share one subscription, so that no
message is handled twice (W-001). After the loss of the transport everything is opened anew.
"""

from __future__ import annotations

import enum

from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.ports import (
    FragmentHandler,
    OfferResult,
    Publication,
    Subscription,
    Transport,
)
from tensor_pool.protocol.wire import Message, encode

from .config import ClientConfig

__all__ = ["Endpoints", "LogicalStream"]


class LogicalStream(enum.Enum):
    """The shared streams a conductor handles; consumers poll descriptors themselves."""

    CONTROL = "control"
    ANNOUNCE = "announce"
    QOS = "qos"
    METADATA = "metadata"


class Endpoints:
    """Publications and subscriptions of one client on one transport."""

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

    def subscribe(self, stream: LogicalStream) -> Subscription:
        """The subscription of a logical stream; opened by the first call. Raises TransportError."""
        address = self._addresses[stream]
        if (subscription := self._subscriptions.get(address)) is None:
            subscription = self.transport.add_subscription(*address)
            self._subscriptions[address] = subscription
        return subscription

    def poll(self, handler: FragmentHandler, fragment_limit: int) -> int:
        """Poll every open subscription once; returns the number of fragments."""
        return sum(s.poll(handler, fragment_limit) for s in list(self._subscriptions.values()))

    def send(self, stream: LogicalStream, message: Message) -> OfferResult:
        """Offer a message; a transport that cannot open the publication counts as closed."""
        publication = self._publications.get(stream)
        if publication is None:
            try:
                publication = self.transport.add_publication(*self._addresses[stream])
            except TransportError:
                return OfferResult.CLOSED
            self._publications[stream] = publication
        return publication.offer(encode(message))

    def open(self) -> None:
        """Open what every attachment needs: control both ways, and announces."""
        self.subscribe(LogicalStream.CONTROL)
        self.subscribe(LogicalStream.ANNOUNCE)
        stream = LogicalStream.CONTROL
        self._publications[stream] = self.transport.add_publication(*self._addresses[stream])
