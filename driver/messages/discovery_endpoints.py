"""Publications to the endpoints that discovery requests name (S-035).

A provider that sends to any address in a request is a reflector. So endpoints are on this host only
(`aeron:ipc`), few, opened slowly, and closed when they are no longer used.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.channel import Channel
from tensor_pool.protocol.transport.ports import OfferResult, Publication, Transport

__all__ = ["DiscoveryEndpoints"]

_OPENING_PERIOD_NS = 100_000_000
_UNUSED_NS = 60_000_000_000
_ANSWER_TTL_NS = 1_000_000_000
_WAITING_ANSWERS = 4
_RETRY = (OfferResult.BACK_PRESSURED, OfferResult.ADMIN_ACTION, OfferResult.NOT_CONNECTED)

type _Address = tuple[str, int]


class _Endpoint:
    """One publication; answers wait in it for a second until a subscriber is connected."""

    def __init__(self, publication: Publication) -> None:
        self.publication = publication
        self.used_ns = 0
        self.waiting: deque[tuple[int, bytes]] = deque(maxlen=_WAITING_ANSWERS)

    def flush(self, now: int) -> None:
        while self.waiting:
            sent_ns, answer = self.waiting[0]
            if now - sent_ns < _ANSWER_TTL_NS and self.publication.offer(answer) in _RETRY:
                return
            self.waiting.popleft()


class DiscoveryEndpoints:
    """At most `limit` publications, the least recently used of which makes room."""

    def __init__(self, transport: Transport, clock: Clock, limit: int) -> None:
        self._transport = transport
        self._clock = clock
        self._limit = limit
        self._open: OrderedDict[_Address, _Endpoint] = OrderedDict()
        self._opened_ns = -_OPENING_PERIOD_NS

    def __len__(self) -> int:
        return len(self._open)

    @property
    def has_backlog(self) -> bool:
        """Return True while an answer waits for its subscriber."""
        return any(endpoint.waiting for endpoint in self._open.values())

    def send(self, channel: str, stream_id: int, answer: bytes) -> bool:
        """Send an answer; False if this endpoint is not served."""
        endpoint = self._endpoint(channel, stream_id)
        if endpoint is None:
            return False
        now = self._clock.monotonic_ns()
        endpoint.used_ns = now
        endpoint.waiting.append((now, answer))
        endpoint.flush(now)
        return True

    def flush(self) -> None:
        """Offer waiting answers again, and close what was not used for 60 s."""
        if not self._open:
            return
        now = self._clock.monotonic_ns()
        for endpoint in self._open.values():
            if endpoint.waiting:
                endpoint.flush(now)
        address, oldest = next(iter(self._open.items()))
        if now - oldest.used_ns >= _UNUSED_NS:
            del self._open[address]
            oldest.publication.close()

    def use(self, transport: Transport) -> None:
        """Open endpoints on this transport from now on; those of a former one must be closed."""
        self._transport = transport

    def close(self) -> None:
        """Close all of them."""
        while self._open:
            self._open.popitem()[1].publication.close()

    def _endpoint(self, channel: str, stream_id: int) -> _Endpoint | None:
        address = (channel, stream_id)
        endpoint = self._open.get(address)
        if endpoint is not None:
            self._open.move_to_end(address)
            return endpoint
        now = self._clock.monotonic_ns()
        if now - self._opened_ns < _OPENING_PERIOD_NS or not self._limit:
            return None
        try:
            if Channel.parse(channel).address != "aeron:ipc":
                return None
            publication = self._transport.add_publication(channel, stream_id)
        except TransportError:
            return None
        self._opened_ns = now
        if len(self._open) >= self._limit:
            self._open.popitem(last=False)[1].publication.close()
        endpoint = self._open[address] = _Endpoint(publication)
        return endpoint
