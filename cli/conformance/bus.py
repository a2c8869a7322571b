"""Messages over Aeron without anything in between: sent as bytes, kept as they were received."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pyaeron

from tensor_pool.protocol.wire import Message, WireError, decode, encode

__all__ = ["Bus", "Heard"]

_PAUSE_S = 0.004
_LOOK_AGAIN_S = 0.02  # a condition may hold by time or by what /proc shows, without a message
_BEGIN, _END = 0x80, 0x40  # flags of a fragment
_FRAGMENTS = 1000


class Heard(msgspec.Struct, frozen=True):
    """One message as it was received, with the local monotonic time in ns."""

    at_ns: int
    channel: str
    stream_id: int
    session_id: int
    data: bytes
    message: Message | None
    problem: str


class Bus:
    """One Aeron client; everything that its subscriptions receive goes into one list.

    Raises pyaeron.AeronError without a media driver in `aeron_dir`.
    """

    def __init__(self, aeron_dir: str) -> None:
        self._aeron = pyaeron.Aeron(
            context=pyaeron.Context(
                dir=aeron_dir, error_handler=self._on_error, client_name="tensor-pool-conformance"
            )
        )
        self._publications: dict[tuple[str, int], Any] = {}
        self._subscriptions: dict[tuple[str, int], tuple[Any, Callable[[Any, Any], None]]] = {}
        self.heard: list[Heard] = []
        self._own_sessions: set[int] = set()

    @staticmethod
    def _on_error(_code: int, text: str) -> None:
        print(f"aeron: {text}", file=sys.stderr)

    def listen(self, channel: str, stream_id: int) -> None:
        """Subscribe; a second time does nothing."""
        if (channel, stream_id) not in self._subscriptions:
            subscription = self._aeron.add_subscription(channel, stream_id)
            self._subscriptions[channel, stream_id] = (
                subscription,
                self._keeper(channel, stream_id),
            )

    def ignore(self, channel: str, stream_id: int) -> None:
        """Unsubscribe, if subscribed."""
        subscription, _ = self._subscriptions.pop((channel, stream_id), (None, None))
        if subscription is not None:
            subscription.close()

    def publication(self, channel: str, stream_id: int) -> Any:
        """Return the exclusive publication of a stream; it is opened at the first use."""
        if (channel, stream_id) not in self._publications:
            publication = self._aeron.add_exclusive_publication(channel, stream_id)
            self._publications[channel, stream_id] = publication
            self._own_sessions.add(int(publication.session_id))
        return self._publications[channel, stream_id]

    def close_publication(self, channel: str, stream_id: int) -> None:
        """Close the publication of a stream, if it was opened."""
        publication = self._publications.pop((channel, stream_id), None)
        if publication is not None:
            publication.close()

    def send(self, channel: str, stream_id: int, message: Message | bytes) -> bool:
        """Offer a message for up to 5 s; False if the transport did not take it."""
        data = message if isinstance(message, bytes) else encode(message, checked=False)
        publication = self.publication(channel, stream_id)
        return self.until(lambda: publication.offer(data) is True, 5.0)

    def is_own(self, heard: Heard) -> bool:
        """True for a message that this bus has sent."""
        return heard.session_id in self._own_sessions

    def poll(self) -> int:
        """Take what has arrived; return the number of fragments."""
        return sum(
            subscription.poll(keep, _FRAGMENTS, assemble=False)
            for subscription, keep in list(self._subscriptions.values())
        )

    def until(
        self,
        condition: Callable[[], object],
        seconds: float,
        turn: Callable[[], object] | None = None,
    ) -> bool:
        """Poll until the condition holds; False if it did not within the time.

        The condition is looked at after something was received, and now and then. `turn` is
        called in place of `poll`, which it calls itself.
        """
        turn = turn or self.poll
        deadline = time.monotonic() + seconds
        while not condition():
            if (now := time.monotonic()) > deadline:
                return False
            before, look = len(self.heard), min(now + _LOOK_AGAIN_S, deadline)
            turn()
            while len(self.heard) == before and time.monotonic() < look:
                time.sleep(_PAUSE_S)
                turn()
        return True

    def run_for(self, seconds: float) -> None:
        """Poll for a time."""
        self.until(lambda: False, seconds)

    def close(self) -> None:
        """Leave the media driver."""
        self._aeron.close()

    def _keeper(self, channel: str, stream_id: int) -> Callable[[Any, Any], None]:
        parts: dict[int, bytearray] = {}

        def keep(buffer: Any, header: Any) -> None:
            session, flags = int(header.session_id), int(header.flags)
            if flags & _BEGIN:
                parts[session] = bytearray()
            if session not in parts:
                return
            parts[session] += bytes(buffer)
            if flags & _END:
                data = bytes(parts.pop(session))
                self.heard.append(_heard(channel, stream_id, session, data))

        return keep


def _heard(channel: str, stream_id: int, session_id: int, data: bytes) -> Heard:
    message, problem = None, ""
    try:
        message = decode(data)
    except WireError as error:
        problem = str(error)
    return Heard(time.monotonic_ns(), channel, stream_id, session_id, data, message, problem)
