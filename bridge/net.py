"""The network side over Aeron UDP: sessions, their sources, joined fragments (section 3)."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.aeron import (
    AeronPublication,
    AeronSubscription,
    AeronTransport,
)
from tensor_pool.protocol.transport.media_driver import (
    EmbeddedMediaDriver,
    remove_abandoned,
    unique_aeron_dir,
    unique_prefix,
)
from tensor_pool.protocol.transport.reassembly import WHOLE_MESSAGE, Reassembly

from .channels import address_of

__all__ = ["AeronNet", "SessionSubscription", "sweep_abandoned"]

_log = logging.getLogger("tensor_pool.bridge")
_LABEL = "tensorpool-bridge"
_SHARED_MEMORY = Path("/dev/shm")
_MAX_MESSAGE_BYTES = 128 * 1024
"""A longer message is dropped while it is joined (B-075)."""


def sweep_abandoned(folder: Path = _SHARED_MEMORY) -> list[Path]:
    """Remove the media driver directories of this user's bridges that were killed (B-024)."""
    removed = []
    for path in folder.glob(f"{unique_prefix(_LABEL)}*"):
        with contextlib.suppress(OSError, TransportError):
            if remove_abandoned(str(path)):
                removed.append(path)
    return removed


class SessionSubscription(AeronSubscription):
    """A subscription that delivers the session of each message; see NetSubscription."""

    __slots__ = ("_fragments", "_gone", "_on_message", "_sources")

    def __init__(self, transport: AeronTransport, channel: str, stream_id: int) -> None:
        super().__init__(transport, channel, stream_id)
        self._fragments = Reassembly(_MAX_MESSAGE_BYTES)
        self._gone: deque[int] = deque()
        self._sources: dict[int, str] = {}
        self._on_message: Callable[[int, memoryview], None] | None = None

    def poll_sessions(self, handler: Callable[[int, memoryview], None], limit: int) -> int:
        """Deliver whole messages of at most `limit` fragments; returns the fragments taken."""
        self._on_message = handler
        return self.poll_fragments(self._on_session_fragment, limit)

    def source_address(self, session: int) -> str:
        """IP address of a session's sender; empty if it is not known."""
        identity = self._sources.get(session, "")
        return identity.rpartition(":")[0].strip("[]")

    def gone(self) -> list[int]:
        """Sessions that have ended since the last call."""
        ended: list[int] = []
        while self._gone:
            ended.append(self._gone.popleft())
        return ended

    def _on_session_fragment(self, buffer: Any, header: Any) -> None:
        # An exception that left this method would lose the rest of the batch.
        try:
            flags = header.flags & WHOLE_MESSAGE
            session = header.session_id
            handler = self._on_message
            assert handler is not None
            with memoryview(buffer) as view:
                if flags == WHOLE_MESSAGE:
                    handler(session, view)
                    return
                message = self._fragments.add(
                    view, flags, session, header.term_offset, header.frame_length
                )
            if message is not None:
                handler(session, memoryview(message))
        except Exception:  # noqa: BLE001 - logged; the rest of the batch counts
            _log.exception("a message of session %s was dropped", header.session_id)

    # On the client's conductor thread

    def _on_image_available(self, subscription: object, image: Any) -> None:
        super()._on_image_available(subscription, image)
        self._sources[image.session_id] = str(image.source_identity)

    def _on_image_unavailable(self, subscription: object, image: Any) -> None:
        super()._on_image_unavailable(subscription, image)
        self._fragments.forget(image.session_id)
        self._gone.append(image.session_id)
        self._sources.pop(image.session_id, None)


class _NetSubscription:
    """A SessionSubscription under the names of the port."""

    def __init__(self, subscription: SessionSubscription) -> None:
        self._subscription = subscription
        self.poll = subscription.poll_sessions
        self.source_address = subscription.source_address
        self.gone = subscription.gone
        self.close = subscription.close


_REMEDIES = {
    "Cannot assign requested address": "give an address of this host; `ip -br address` lists them",
    "Address already in use": "another program has this port; end it, or give another port",
}


def _explained(error: TransportError, channel: str) -> TransportError:
    """The error in short, with the remedy, where the reason is a common one."""
    host, port = address_of(channel)
    for reason, remedy in _REMEDIES.items():
        if reason in str(error):
            return TransportError(f"cannot listen at {host}:{port}: {reason}; {remedy}")
    return error


class AeronNet:
    """The network side; with an embedded media driver of its own unless a directory is given."""

    def __init__(self, directory: str = "", *, threading_mode: str = "shared") -> None:
        """Raises TransportError."""
        self._driver: EmbeddedMediaDriver | None = None
        if not directory:
            directory = unique_aeron_dir(_LABEL)
            self._driver = EmbeddedMediaDriver(directory, threading_mode)
            # In the background: a directory counts as abandoned after 2 s without a heartbeat.
            threading.Thread(target=sweep_abandoned, name="bridge-sweep", daemon=True).start()
        try:
            self._transport = AeronTransport.connect(directory, client_name="tensor-pool-bridge")
        except TransportError:
            self._close_driver()
            raise
        self.directory = directory

    @property
    def error(self) -> str | None:
        """The reason for the loss of the network side, or None."""
        return self._transport.error

    def publication(self, channel: str, stream_id: int) -> AeronPublication:
        """Open a session towards another host. Raises TransportError."""
        return self._transport.add_publication(channel, stream_id)

    def subscription(self, channel: str, stream_id: int) -> _NetSubscription:
        """Read every session that reaches a local address. Raises TransportError."""
        subscription = SessionSubscription(self._transport, channel, stream_id)
        try:
            return _NetSubscription(self._transport.add(subscription))
        except TransportError as error:
            raise _explained(error, channel) from error

    def close(self) -> None:
        """Leave the network."""
        self._transport.close()
        self._close_driver()

    def _close_driver(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()
