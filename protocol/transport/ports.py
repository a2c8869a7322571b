"""The transport port: what the rest of the system may ask of whatever carries its messages.

Two adapters implement it: Aeron (`aeron.py`) and a deterministic in-memory network (`memory.py`).
Handlers given to `poll` receive one whole, reassembled message; the buffer is only valid during the
call, so a handler decodes or copies and returns. It never raises, polls or closes anything.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

__all__ = ["FragmentHandler", "OfferResult", "Publication", "Subscription", "Transport"]

type FragmentHandler = Callable[[memoryview], None]


class OfferResult(enum.Enum):
    """The result of offering a message."""

    ACCEPTED = "accepted"
    BACK_PRESSURED = "back_pressured"
    ADMIN_ACTION = "admin_action"
    NOT_CONNECTED = "not_connected"
    CLOSED = "closed"
    MAX_POSITION_EXCEEDED = "max_position_exceeded"
    ERROR = "error"


class Publication(Protocol):
    """An exclusive publication: one session of its own on one channel and stream id."""

    @property
    def channel(self) -> str: ...
    @property
    def stream_id(self) -> int: ...
    @property
    def session_id(self) -> int: ...
    @property
    def is_connected(self) -> bool: ...
    @property
    def is_closed(self) -> bool: ...

    def offer(self, message: bytes | bytearray) -> OfferResult:
        """Hand over one message. Never blocks and never raises for a transport condition."""
        ...

    @property
    def quick_offer(self) -> Callable[[bytes | bytearray], object]:
        """`offer` for a hot path: returns True if the message was accepted, `not_connected` if
        there is no subscriber. On anything else, also an exception, `offer` it to learn why."""
        ...

    @property
    def not_connected(self) -> object:
        """The value of `quick_offer` without a subscriber."""
        ...

    def close(self) -> None: ...


class Subscription(Protocol):
    """A subscription to one channel and stream id; used by one thread."""

    @property
    def channel(self) -> str: ...
    @property
    def stream_id(self) -> int: ...
    @property
    def is_connected(self) -> bool: ...
    @property
    def sessions(self) -> frozenset[int]:
        """The session ids of the publications that it receives."""
        ...

    @property
    def join_time_ns(self) -> int:
        """Monotonic time of the latest new connection; of the subscription if there was none."""
        ...

    def poll(self, handler: FragmentHandler, fragment_limit: int) -> int:
        """Deliver at most `fragment_limit` fragments; returns how many were taken."""
        ...

    def close(self) -> None: ...


class Transport(Protocol):
    """A client of the message transport."""

    @property
    def is_closed(self) -> bool:
        """True once closed, also by the loss of the media driver; see `error`."""
        ...

    @property
    def error(self) -> str | None:
        """The reason why the transport closed without a call, or None."""
        ...

    def add_publication(self, channel: str, stream_id: int) -> Publication: ...
    def add_subscription(self, channel: str, stream_id: int) -> Subscription: ...
    def close(self) -> None: ...
