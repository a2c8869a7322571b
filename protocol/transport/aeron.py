"""The transport over Aeron, by pyaeron.

A thin layer: it turns pyaeron's results and exceptions into the port's, reassembles messages that
span fragments, detects that the media driver is gone, and keeps callers away from the uses of
pyaeron that end the process (see `tests/protocol/transport`, one test for each).

An `AeronTransport` may be used by several threads, one publication or subscription by one thread at
a time. `close()` may come from any thread.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pyaeron

from ..clock import Clock, SystemClock
from ..errors import ConcurrentUseError, TransportError
from .channel import dropping_stalled_readers, untethered
from .counters_file import counters_problem, counters_remedy
from .forked import FORKED, abandon_in_forked_children, never_finalize
from .ports import FragmentHandler, OfferResult
from .reassembly import WHOLE_MESSAGE, Reassembly
from .remedies import foreign_default, no_media_driver, storage_remedy

__all__ = ["DRIVER_TIMEOUT_MS", "AeronPublication", "AeronSubscription", "AeronTransport"]

DRIVER_TIMEOUT_MS = 10_000  # Aeron's default: silence after which the media driver counts as lost

# How often the C client's own thread checks liveness, for which it searches all counters of the
# media driver: at the default of 16 ms that is 4 % of a core for a client that does nothing.
_LIVENESS_CHECK_NS = 250_000_000

_REPLACEMENT_CHECK_NS = 250_000_000  # how often to look whether another media driver took the place

_NO_COUNTER = "Unable to allocate counter"

_ACCEPTED = OfferResult.ACCEPTED
_REFUSALS: dict[object, OfferResult] = {
    pyaeron.BACK_PRESSURED: OfferResult.BACK_PRESSURED,
    pyaeron.ADMIN_ACTION: OfferResult.ADMIN_ACTION,
    pyaeron.NOT_CONNECTED: OfferResult.NOT_CONNECTED,
}


def _plain(error: Exception) -> str:
    """An Aeron error in one line: its messages without the places in the C source."""
    lines = (line.strip() for line in str(error).splitlines())
    told = [line for line in lines if line and not line.startswith("(errcode=")]
    texts = [line.split("] ", 1)[-1] if line.startswith("[") else line for line in told]
    return "; ".join(dict.fromkeys(text for text in texts if text)) or type(error).__name__


def _media_driver_of(directory: str) -> tuple[int, int] | None:
    """The identity of a media driver, None where there is none."""
    try:
        status = os.stat(os.path.join(directory, "cnc.dat"))
    except OSError:
        return None
    return status.st_dev, status.st_ino


class AeronPublication:
    """An exclusive publication; see the port.

    `raw` is the `pyaeron.ExclusivePublication`, for a hot path that does the mapping itself.
    """

    __slots__ = (
        "_channel",
        "_closed",
        "_offer",
        "_session_id",
        "_stream_id",
        "_transport",
        "raw",
    )

    def __init__(self, transport: AeronTransport, raw: Any, channel: str, stream_id: int) -> None:
        self.raw = raw
        self._transport = transport
        self._offer: Callable[[bytes | bytearray | memoryview], object] = raw.offer
        self._channel = channel
        self._stream_id = stream_id
        self._session_id = int(raw.session_id)
        self._closed = False

    @property
    def channel(self) -> str:
        return self._channel

    @property
    def stream_id(self) -> int:
        return self._stream_id

    @property
    def session_id(self) -> int:
        return self._session_id

    @property
    def is_connected(self) -> bool:
        return not self._closed and bool(self.raw.is_connected)

    @property
    def is_closed(self) -> bool:
        """True after close() and after the loss of the media driver."""
        return self._closed or bool(self.raw.is_closed)

    @property
    def not_connected(self) -> object:
        return pyaeron.NOT_CONNECTED

    @property
    def quick_offer(self) -> Callable[[bytes | bytearray], object]:
        return self._offer

    def offer(self, message: bytes | bytearray | memoryview) -> OfferResult:
        """See the port. A message longer than the channel's terms allow is an ERROR."""
        try:
            result = self._offer(message)
        except (pyaeron.PublicationClosed, pyaeron.ResourceClosed):
            return OfferResult.CLOSED
        except pyaeron.MaxPositionExceeded:
            return OfferResult.MAX_POSITION_EXCEEDED
        except pyaeron.AeronError:
            return OfferResult.ERROR
        return _ACCEPTED if result is True else _REFUSALS.get(result, OfferResult.ERROR)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self.raw is not FORKED:
                self.raw.close()
                self._transport._on_released(self)

    def _abandon(self) -> None:
        never_finalize(self.raw)
        self.raw = self._offer = FORKED


class AeronSubscription:
    """A subscription; see the port.

    `raw` is the `pyaeron.Subscription`, for a hot path that polls it with a handler of its own
    (`raw.poll(handler, limit, assemble=False)`; pyaeron's own assembly starts anew with each poll
    and loses a message whose fragments are taken by two of them). Such a caller has to keep the
    rules of `poll`: a handler never raises, polls, closes, or keeps the buffer.
    """

    __slots__ = (
        "_channel",
        "_clock",
        "_closed",
        "_error",
        "_handler",
        "_joined_ns",
        "_on_raw_fragment",
        "_polling",
        "_reassembly",
        "_released",
        "_sessions",
        "_stream_id",
        "_transport",
        "raw",
    )

    def __init__(self, transport: AeronTransport, channel: str, stream_id: int) -> None:
        self.raw: Any = None
        self._transport = transport
        self._channel = channel
        self._stream_id = stream_id
        self._clock = transport.clock
        self._joined_ns = self._clock.monotonic_ns()
        self._sessions: dict[int, int] = {}  # images by session
        self._reassembly = Reassembly()
        self._handler: FragmentHandler | None = None
        self._on_raw_fragment = self._on_fragment
        self._error: Exception | None = None
        self._polling = False
        self._closed = False
        self._released = False

    @property
    def channel(self) -> str:
        return self._channel

    @property
    def stream_id(self) -> int:
        return self._stream_id

    @property
    def is_connected(self) -> bool:
        # Images are not asked of Aeron: another thread may be polling, which would not be safe.
        return not self.is_closed and bool(self._sessions)

    @property
    def sessions(self) -> frozenset[int]:
        return frozenset(self._sessions.copy())

    @property
    def is_closed(self) -> bool:
        """True after close() and after the loss of the media driver."""
        return self._closed or bool(self.raw.is_closed)

    @property
    def join_time_ns(self) -> int:
        return self._joined_ns

    def poll(self, handler: FragmentHandler, fragment_limit: int) -> int:
        """See the port. A handler's exception is raised after the batch, so that no message is lost
        by it; a poll while another is running raises ConcurrentUseError. A closed subscription, or
        one whose media driver is lost, delivers nothing: ask the transport's `is_closed` too."""
        if self._polling:
            raise ConcurrentUseError(
                "poll() while another poll() of this subscription is running, in its handler or in "
                "another thread"
            )
        # Order matters: close() sets `_closed` and then looks at `_polling`.
        self._polling = True
        try:
            if self._closed:
                return 0
            self._handler = handler
            taken: int = self.raw.poll(self._on_raw_fragment, fragment_limit, assemble=False)
        except pyaeron.AeronError as error:
            raise TransportError(f"polling {self._channel}: {_plain(error)}") from error
        finally:
            self._polling = False
            if self._closed:
                self._release()
        if self._error is not None:
            error_of_handler, self._error = self._error, None
            raise error_of_handler
        return taken

    def poll_fragments(self, handler: Callable[[Any, Any], object], fragment_limit: int) -> int:
        """`poll` without what it adds to every fragment: `handler(buffer, header)` is pyaeron's own
        callback. It must not raise, and a message that spans fragments comes in pieces; for streams
        that carry only small messages, where this halves the cost of each."""
        if self._polling:
            raise ConcurrentUseError("poll_fragments() while another poll is running")
        self._polling = True
        try:
            if self._closed:
                return 0
            taken: int = self.raw.poll(handler, fragment_limit, assemble=False)
        except pyaeron.AeronError as error:
            raise TransportError(f"polling {self._channel}: {_plain(error)}") from error
        finally:
            self._polling = False
            if self._closed:
                self._release()
        return taken

    def close(self) -> None:
        """Read no more. During a poll the subscription is released when that poll ends."""
        self._closed = True
        if not self._polling:
            self._release()

    def open(self, client: Any) -> None:
        """Add it to the media driver; called once, by the transport."""
        self.raw = client.add_subscription(
            untethered(self._channel),
            self._stream_id,
            available_image=self._on_image_available,
            unavailable_image=self._on_image_unavailable,
        )

    def _on_fragment(self, buffer: Any, header: Any) -> None:
        # An exception that left this method would lose the rest of the batch.
        try:
            flags = header.flags & WHOLE_MESSAGE
            with memoryview(buffer) as view:
                if self._closed:
                    return
                handler = self._handler
                assert handler is not None
                if flags == WHOLE_MESSAGE:
                    handler(view)
                else:
                    message = self._reassembly.add(
                        view, flags, header.session_id, header.term_offset, header.frame_length
                    )
                    if message is not None:
                        with memoryview(message) as whole:
                            handler(whole)
        except Exception as error:  # noqa: BLE001 - raised by poll() after the batch
            self._error = self._error or error

    # The next two run on the client's conductor thread.

    def _on_image_available(self, _subscription: object, image: Any) -> None:
        self._joined_ns = self._clock.monotonic_ns()
        session_id = int(image.session_id)
        self._sessions[session_id] = self._sessions.get(session_id, 0) + 1

    def _on_image_unavailable(self, _subscription: object, image: Any) -> None:
        session_id = int(image.session_id)
        left = self._sessions.pop(session_id, 1) - 1
        if left > 0:
            self._sessions[session_id] = left
        self._reassembly.forget(session_id)

    def _release(self) -> None:
        if not self._released:
            self._released = True
            self.raw.close()
            self._transport._on_released(self)

    def _abandon(self) -> None:
        never_finalize(self.raw)
        self.raw = FORKED
        self._released = True
        self._polling = False


class AeronTransport:
    """A client of a media driver. Make one with `connect`."""

    def __init__(self, client: Any, directory: str, clock: Clock) -> None:
        self.directory = directory
        self.clock = clock
        self.raw = client
        self._publications: set[AeronPublication] = set()
        self._subscriptions: set[AeronSubscription] = set()
        self._client_in_use = threading.Lock()  # adding and closing wait for the media driver
        self._closed = False
        self._released = False
        self._error: str | None = None
        self._media_driver: tuple[int, int] | None = None  # by the file that it answers through
        self._next_check_ns = 0
        self._is_replaced = False
        abandon_in_forked_children(self)

    @classmethod
    def connect(
        cls,
        aeron_dir: str | None = None,
        clock: Clock | None = None,
        *,
        driver_timeout_ms: int = DRIVER_TIMEOUT_MS,
        client_name: str = "tensor-pool",
    ) -> AeronTransport:
        """Connect to the media driver of `aeron_dir`; None or "" is Aeron's default directory.

        `driver_timeout_ms`: how long the media driver may be silent before it counts as lost, and
        how long it may take to answer. Raises TransportError when there is none.
        """
        directory = aeron_dir or pyaeron.default_path()
        if not aeron_dir and (foreign := foreign_default(directory)) is not None:
            raise TransportError(foreign)
        if not pyaeron.is_driver_active(directory, driver_timeout_ms):
            raise TransportError(no_media_driver(directory))
        transport = cls(None, directory, clock if clock is not None else SystemClock())
        transport._media_driver = _media_driver_of(directory)
        try:
            # Without a handler of ours the C client answers the loss of the media driver by exit().
            context = pyaeron.Context(
                dir=directory,
                error_handler=transport._on_client_error,
                driver_timeout_ms=driver_timeout_ms,
                idle_sleep_duration_ns=_LIVENESS_CHECK_NS,
                client_name=client_name,
            )
            transport.raw = pyaeron.Aeron(context=context)
        except pyaeron.AeronError as error:
            raise TransportError(
                f"cannot connect to the media driver in {directory}: {_plain(error)}"
                + storage_remedy(str(error), directory)
            ) from error
        return transport

    @property
    def is_closed(self) -> bool:
        return self._closed or bool(self.raw.is_closed) or self._has_another_media_driver()

    @property
    def error(self) -> str | None:
        """The reason why the client closed without a call: as a rule the media driver is gone."""
        if self._closed or not self.is_closed:
            return None
        return self._error or "the Aeron client closed without being asked to"

    def _has_another_media_driver(self) -> bool:
        """Return whether another one has taken the place of ours, by a look now and then. Aeron's
        own client gives up one that was killed after the whole timeout only."""
        if (now_ns := self.clock.monotonic_ns()) >= self._next_check_ns:
            self._next_check_ns = now_ns + _REPLACEMENT_CHECK_NS
            there = _media_driver_of(self.directory)
            if there not in (None, self._media_driver):
                self._error = f"another media driver has started in {self.directory}"
                self._is_replaced = True
        return self._is_replaced

    def add_publication(self, channel: str, stream_id: int) -> AeronPublication:
        """Waits for the media driver's answer; raises TransportError."""
        with self._adding("publication", channel, stream_id):
            raw = self.raw.add_exclusive_publication(dropping_stalled_readers(channel), stream_id)
            publication = AeronPublication(self, raw, channel, stream_id)
            self._publications.add(publication)
        if problem := counters_problem(self.directory):  # some reader may not be connected
            publication.close()
            raise TransportError(
                f"cannot add a publication on {channel} stream {stream_id}: {problem}"
            )
        return publication

    def add_subscription(self, channel: str, stream_id: int) -> AeronSubscription:
        """Waits for the media driver's answer; raises TransportError."""
        return self.add(AeronSubscription(self, channel, stream_id))

    def add[S: AeronSubscription](self, subscription: S) -> S:
        """Open a subscription of a class of the caller's own; as `add_subscription`."""
        with self._adding("subscription", subscription.channel, subscription.stream_id):
            subscription.open(self.raw)
            self._subscriptions.add(subscription)
        # Aeron does not report a subscription that it could not connect for want of a counter.
        if problem := counters_problem(self.directory):
            subscription.close()
            raise TransportError(
                f"cannot add a subscription on {subscription.channel} stream"
                f" {subscription.stream_id}: {problem}"
            )
        return subscription

    def close(self) -> None:
        """Close everything of this client; what a running poll still holds, when that poll ends."""
        self._closed = True
        for publication in list(self._publications):
            publication.close()
        for subscription in list(self._subscriptions):
            subscription.close()
        self._release_when_idle()

    @contextlib.contextmanager
    def _adding(self, kind: str, channel: str, stream_id: int) -> Iterator[None]:
        with self._client_in_use:
            # pyaeron would let the caller wait for a full timeout.
            if self.is_closed:
                raise TransportError(
                    f"cannot add a {kind}: the transport is closed ({self.error or 'by close()'})"
                )
            try:
                yield
            except pyaeron.AeronError as error:
                problem = counters_remedy(self.directory) if _NO_COUNTER in str(error) else ""
                raise TransportError(
                    f"cannot add a {kind} on {channel} stream {stream_id}: "
                    + (problem or _plain(error) + storage_remedy(str(error), self.directory))
                ) from error

    def _on_client_error(self, code: int, message: str) -> None:
        """Runs on the client's conductor thread."""
        self._error = f"{message} (Aeron error {code})"

    def _on_released(self, endpoint: AeronPublication | AeronSubscription) -> None:
        if isinstance(endpoint, AeronPublication):
            self._publications.discard(endpoint)
        else:
            self._subscriptions.discard(endpoint)
            if self._closed:
                self._release_when_idle()

    def _release_when_idle(self) -> None:
        if self._released:
            return
        with self._client_in_use:
            if not (self._publications or self._subscriptions or self._released):
                self._released = True
                self.raw.close()

    def _abandon(self) -> None:
        for publication in self._publications:
            publication._abandon()
        for subscription in self._subscriptions:
            subscription._abandon()
        self._publications.clear()
        self._subscriptions.clear()
        never_finalize(self.raw)
        self.raw = FORKED
        self._released = True
