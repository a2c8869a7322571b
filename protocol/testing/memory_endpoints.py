"""Publications and subscriptions of the in-memory network, and the images that join them.

An image is one publisher's session as one subscription sees it: a queue of what is still unread and
the position read up to. A publication may run ahead of its slowest image by its window.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..clock import Clock
from ..errors import ConcurrentUseError
from ..transport.channel import FRAME_ALIGNMENT, HEADER_LENGTH, MTU_LENGTH, Channel
from ..transport.ports import FragmentHandler, OfferResult
from .faults import Faults

__all__ = ["MemoryPublication", "MemorySubscription", "NetworkEvent", "link", "unlink"]

_MAX_FRAGMENT_PAYLOAD = MTU_LENGTH - HEADER_LENGTH


class NetworkEvent(NamedTuple):
    """One offer, or one delivery of a whole message to a handler."""

    time_ns: int
    kind: str  # "delivered", or the value of the offer's OfferResult
    transport: str
    stream_id: int
    session_id: int
    message: bytes


class _Unread:
    """One message in an image's queue; `message` is None for padding and for what was lost."""

    __slots__ = ("due_ns", "end_position", "fragments", "message", "order")

    def __init__(
        self, message: bytes | None, due_ns: int, order: int, fragments: int, end_position: int
    ) -> None:
        self.message = message
        self.due_ns = due_ns
        self.order = order
        self.fragments = fragments  # not yet polled
        self.end_position = end_position

    def copy(self) -> _Unread:
        return _Unread(self.message, self.due_ns, self.order, self.fragments, self.end_position)


class _Image:
    __slots__ = ("last_due_ns", "position", "publication", "queue", "subscription")

    def __init__(self, publication: MemoryPublication, subscription: MemorySubscription) -> None:
        self.publication = publication
        self.subscription = subscription
        self.position = publication.position
        self.last_due_ns = 0
        self.queue: deque[_Unread] = deque()

    def fall_behind(self, position: int) -> None:
        """Lose what is unread, as an image that the media driver drops and joins anew."""
        self.queue.clear()
        self.position = position


class EndpointNetwork(Protocol):
    """The network, as far as its endpoints use it."""

    clock: Clock
    observer: Callable[[NetworkEvent], None] | None

    def now(self) -> int: ...

    def next_order(self) -> int: ...

    def new_session_id(self) -> int: ...

    def random_for(self, *names: object) -> random.Random: ...

    def faults_of(self, transport: str, stream_id: int) -> Faults: ...

    def forget(self, endpoint: MemoryPublication | MemorySubscription) -> None: ...


class EndpointTransport(Protocol):
    """The transport of an endpoint."""

    name: str

    @property
    def network(self) -> EndpointNetwork: ...

    @property
    def is_closed(self) -> bool: ...


class MemoryPublication:
    """An exclusive publication; see the port."""

    def __init__(self, transport: EndpointTransport, channel: Channel, stream_id: int) -> None:
        self.transport = transport
        self.address = channel.address
        self.position = 0
        self.images: list[_Image] = []
        self.released = False
        self._network = transport.network
        self._channel = channel
        self._stream_id = stream_id
        given = channel.session_id
        self._session_id = given if given is not None else self._network.new_session_id()
        self._random: random.Random | None = None

    def _chance(self) -> random.Random:
        """Seeded at the first draw: that takes as long as a dozen messages."""
        if self._random is None:
            self._random = self._network.random_for("publication", self._session_id)
        return self._random

    @property
    def channel(self) -> str:
        return self._channel.uri

    @property
    def stream_id(self) -> int:
        return self._stream_id

    @property
    def session_id(self) -> int:
        return self._session_id

    @property
    def is_connected(self) -> bool:
        self._network.now()
        return bool(self.images) and not self.is_closed

    @property
    def is_closed(self) -> bool:
        return self.released or self.transport.is_closed

    def offer(self, message: bytes | bytearray) -> OfferResult:
        """See the port; a message longer than the channel's terms allow is an ERROR."""
        now = self._network.now()
        result = self._offer(message, now)
        if (observer := self._network.observer) is not None:
            name = self.transport.name
            observer(
                NetworkEvent(
                    now, result.value, name, self._stream_id, self._session_id, bytes(message)
                )
            )
        return result

    not_connected = OfferResult.NOT_CONNECTED

    def quick_offer(self, message: bytes | bytearray) -> bool | OfferResult:
        """See the port."""
        result = self.offer(message)
        return result is OfferResult.ACCEPTED or result

    def close(self) -> None:
        """Offer no more; what was accepted can still be read."""
        self.release()

    def release(self) -> None:
        """The media driver's part of closing: images end once they are drained."""
        self.released = True
        for image in list(self.images):
            if not image.queue:
                unlink(self, image.subscription)
        if not self.images:
            self._network.forget(self)

    def _offer(self, message: bytes | bytearray, now: int) -> OfferResult:
        if self.is_closed:
            return OfferResult.CLOSED
        faults = self._network.faults_of(self.transport.name, self._stream_id)
        if faults.offer_result is not None:
            return faults.offer_result
        if not self.images:
            return OfferResult.NOT_CONNECTED
        if faults.back_pressure and self._chance().random() < faults.back_pressure:
            return OfferResult.BACK_PRESSURED
        if faults.admin_action and self._chance().random() < faults.admin_action:
            return OfferResult.ADMIN_ACTION
        if len(message) > self._channel.max_message_bytes:
            return OfferResult.ERROR
        full_below = self.position - self._channel.window_bytes
        for image in [i for i in self.images if i.position <= full_below]:
            if image.subscription.is_tethered:
                return OfferResult.BACK_PRESSURED
            image.fall_behind(self.position)
        fragments, length = _framing(len(message))
        rest_of_term = -self.position % self._channel.term_length
        if rest_of_term and length > rest_of_term:
            self._append(None, now, 0, rest_of_term)
            return OfferResult.ADMIN_ACTION
        self._append(bytes(message), now, fragments, length)
        if faults.disconnect and self._chance().random() < faults.disconnect:
            subscription = self._chance().choice(self.images).subscription
            unlink(self, subscription)
            link(self, subscription)
        return OfferResult.ACCEPTED

    def _append(self, message: bytes | None, now: int, fragments: int, length: int) -> None:
        self.position += length
        order = self._network.next_order()
        for image in self.images:
            self._deliver(image, message, now, order, fragments)

    def _deliver(
        self, image: _Image, message: bytes | None, now: int, order: int, fragments: int
    ) -> None:
        receiver = image.subscription.transport.name
        faults = self._network.faults_of(receiver, self._stream_id)
        copies = 1
        if message is not None:
            if faults.loss and self._chance().random() < faults.loss:
                message = None
                fragments = 0
            elif faults.duplicate and self._chance().random() < faults.duplicate:
                copies = 2
        due = now
        if faults.max_delay_ns:
            due += self._chance().randint(faults.min_delay_ns, faults.max_delay_ns)
        # Never before what was offered earlier: one publisher's messages stay in order.
        due = image.last_due_ns = max(due, image.last_due_ns)
        for _ in range(copies):
            image.queue.append(_Unread(message, due, order, fragments, self.position))


class MemorySubscription:
    """A subscription; see the port."""

    def __init__(self, transport: EndpointTransport, channel: Channel, stream_id: int) -> None:
        self.transport = transport
        self.address = channel.address
        self.images: list[_Image] = []
        self.released = False
        self.joined_ns = transport.network.clock.monotonic_ns()
        self._network = transport.network
        self._channel = channel
        self._stream_id = stream_id
        self._order = self._network.next_order()
        self._random: random.Random | None = None
        self._polling = False

    def _chance(self) -> random.Random:
        if self._random is None:
            self._random = self._network.random_for("subscription", self._order)
        return self._random

    @property
    def channel(self) -> str:
        return self._channel.uri

    @property
    def stream_id(self) -> int:
        return self._stream_id

    @property
    def is_tethered(self) -> bool:
        """True if publishers wait for it."""
        return self._channel.is_tethered

    @property
    def only_session(self) -> int | None:
        """The one session that it receives; None for all."""
        return self._channel.session_id

    @property
    def sessions(self) -> frozenset[int]:
        self._network.now()
        return frozenset(image.publication.session_id for image in self.images)

    @property
    def is_connected(self) -> bool:
        self._network.now()
        return bool(self.images) and not self.is_closed

    @property
    def is_closed(self) -> bool:
        return self.released or self.transport.is_closed

    @property
    def join_time_ns(self) -> int:
        self._network.now()
        return self.joined_ns

    def poll(self, handler: FragmentHandler, fragment_limit: int) -> int:
        """See the port. A handler's exception is raised after the batch, so that no message is lost
        by it; a poll from inside a handler raises ConcurrentUseError."""
        if self._polling:
            raise ConcurrentUseError("poll() of a subscription called from inside its own handler")
        self._polling = True
        try:
            return self._poll(handler, fragment_limit)
        finally:
            self._polling = False

    def close(self) -> None:
        """Read no more; may be called from inside a handler, which is then the last one called."""
        self.release()

    def release(self) -> None:
        """The media driver's part of closing."""
        self.released = True
        for image in list(self.images):
            unlink(image.publication, self)
        self._network.forget(self)

    def _poll(self, handler: FragmentHandler, fragment_limit: int) -> int:
        now = self._network.now()
        taken = 0
        error: Exception | None = None
        while not self.is_closed and (image := self._next_image(now)) is not None:
            unread = image.queue[0]
            if unread.fragments:
                if taken == fragment_limit:
                    break
                took = min(unread.fragments, fragment_limit - taken)
                unread.fragments -= took
                taken += took
                if unread.fragments:
                    break
            image.queue.popleft()
            if not (image.queue and image.queue[0].end_position == unread.end_position):
                image.position = unread.end_position
            if image.publication.released and not image.queue:
                unlink(image.publication, self)
            if unread.message is not None:
                try:
                    self._hand_over(handler, unread.message, image.publication, now)
                except Exception as caught:  # noqa: BLE001 - raised below, after the batch
                    error = error or caught
        if error is not None:
            raise error
        return taken

    def _next_image(self, now: int) -> _Image | None:
        """The image whose head was offered first among those that have arrived."""
        ready = [image for image in self.images if image.queue and image.queue[0].due_ns <= now]
        if not ready:
            return None
        if len(ready) > 1:
            faults = self._network.faults_of(self.transport.name, self._stream_id)
            if faults.reorder and self._chance().random() < faults.reorder:
                return self._chance().choice(ready)
        return min(ready, key=lambda image: image.queue[0].order)

    def _hand_over(
        self, handler: FragmentHandler, message: bytes, publication: MemoryPublication, now: int
    ) -> None:
        if (observer := self._network.observer) is not None:
            name = self.transport.name
            observer(
                NetworkEvent(
                    now, "delivered", name, self._stream_id, publication.session_id, message
                )
            )
        with memoryview(message) as view:
            handler(view)


def link(
    publication: MemoryPublication, subscription: MemorySubscription, *, stale: bool = False
) -> None:
    """Connect the two, unless they are already, or one of them is gone.

    `stale`: start where the slowest subscription is, which may be that of a closed publication.
    """
    if subscription.released or any(i.subscription is subscription for i in publication.images):
        return
    stale = stale and bool(publication.images)
    if publication.released and not stale:
        return
    image = _Image(publication, subscription)
    if stale:
        slowest = min(publication.images, key=lambda other: other.position)
        image.position = slowest.position
        image.queue.extend(unread.copy() for unread in slowest.queue)
    publication.images.append(image)
    subscription.images.append(image)
    subscription.joined_ns = publication.transport.network.clock.monotonic_ns()


def unlink(publication: MemoryPublication, subscription: MemorySubscription) -> None:
    """End the connection of the two, if any, and lose what is unread."""
    for image in [i for i in publication.images if i.subscription is subscription]:
        publication.images.remove(image)
        subscription.images.remove(image)
        if publication.released and not publication.images:
            network = publication.transport.network
            network.forget(publication)


def _framing(length: int) -> tuple[int, int]:
    """Fragments of a message and the bytes they take in the log."""
    whole, rest = divmod(length, _MAX_FRAGMENT_PAYLOAD)
    if whole and not rest:
        return whole, whole * MTU_LENGTH
    last = -(-(rest + HEADER_LENGTH) // FRAME_ALIGNMENT) * FRAME_ALIGNMENT
    return whole + 1, whole * MTU_LENGTH + last
