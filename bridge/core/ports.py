"""Ports of a bridge to the world; tests replace all of them by fakes (B-012).

Consumer and Producer of the client library have the shapes of Source and Sink: a bridge talks to
its pool through them and nothing else (B-001).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tensor_pool.client.metadata import MetadataValue
from tensor_pool.client.producer.payload_layout import FrameHeader
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import DataSourceAnnounce, DataSourceMeta

__all__ = [
    "Lent",
    "Net",
    "NetPublication",
    "NetSubscription",
    "Pool",
    "Sink",
    "Source",
    "SourceFrame",
    "TakenFrame",
]


class SourceFrame(Protocol):
    """A frame in its slot, checked; `valid` loads the commit word again."""

    @property
    def slot(self) -> bytes: ...
    @property
    def payload(self) -> memoryview: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def valid(self) -> bool: ...


class TakenFrame(Protocol):
    """A frame known by its descriptor."""

    @property
    def seq(self) -> int: ...
    @property
    def trace_id(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    def read(self) -> SourceFrame: ...


class Source(Protocol):
    """A source stream under a lease; see Consumer."""

    @property
    def epoch(self) -> int: ...
    @property
    def nslots(self) -> int: ...
    @property
    def largest_frame_bytes(self) -> int: ...
    @property
    def has_producer(self) -> bool: ...
    @property
    def metadata_messages(
        self,
    ) -> tuple[DataSourceAnnounce | None, DataSourceMeta | None]: ...
    def announced(self, limit: int = 64) -> Sequence[TakenFrame]: ...
    def begin_close(self) -> None: ...
    @property
    def is_finished(self) -> bool: ...


class Lent(Protocol):
    """A lent slot of the far stream; see Loan."""

    @property
    def buffer(self) -> memoryview: ...
    def progress(self, nbytes: int) -> None: ...
    def commit_as(self, header: FrameHeader) -> object: ...
    def abort(self) -> None: ...


class Sink(Protocol):
    """A far stream under a producer lease; see Producer."""

    @property
    def stream_id(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def largest_frame_bytes(self) -> int: ...
    def loan(self, shape: int, *, trace_id: int = 0, seq: int | None = None) -> Lent | None: ...
    def set_metadata(
        self,
        name: str,
        summary: str = "",
        attributes: dict[str, MetadataValue] | None = None,
        *,
        version: int | None = None,
    ) -> None: ...
    def begin_close(self) -> None: ...
    @property
    def is_finished(self) -> bool: ...


class Pool(Protocol):
    """The pool of this host."""

    def source(self, stream_id: int) -> Source:
        """Attach as a consumer; retried for ever in the background."""
        ...

    def sink(
        self,
        stream_id: int,
        *,
        on_ready: Callable[[], object],
        on_lost: Callable[[str], object],
        on_refused: Callable[[int, str], object],
    ) -> Sink:
        """Begin to attach as the producer; callbacks may come from another thread."""
        ...


class NetPublication(Protocol):
    """One session towards another host."""

    @property
    def is_connected(self) -> bool: ...
    def offer(self, message: bytes | bytearray | memoryview) -> OfferResult: ...
    def close(self) -> None: ...


class NetSubscription(Protocol):
    """All sessions that reach one local address."""

    def poll(self, handler: Callable[[int, memoryview], None], limit: int) -> int:
        """Deliver whole messages with their session; returns the fragments taken."""
        ...

    def source_address(self, session: int) -> str:
        """IP address that a session comes from; empty if it is not known."""
        ...

    def gone(self) -> list[int]:
        """Sessions that have ended since the last call."""
        ...

    def close(self) -> None: ...


class Net(Protocol):
    """The network side."""

    @property
    def error(self) -> str | None:
        """The reason for the loss of the network side, or None."""
        ...

    @property
    def directory(self) -> str:
        """Directory of its media driver."""
        ...

    def publication(self, channel: str, stream_id: int) -> NetPublication: ...
    def subscription(self, channel: str, stream_id: int) -> NetSubscription: ...
    def close(self) -> None: ...
