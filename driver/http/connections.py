"""A bound on HTTP connections, so that idle ones never use up the driver's descriptors."""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["ACCEPTED_AT_ONCE", "MOST_CONNECTIONS", "REQUEST_TIMEOUT_S", "BoundedProtocol"]

# At most a quarter of the descriptors that this process may open.
MOST_CONNECTIONS = min(128, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
ACCEPTED_AT_ONCE = 16
REQUEST_TIMEOUT_S = 5.0  # from the connection to its first whole request
_LOG_PERIOD_S = 10.0

_log = logging.getLogger(__name__)


class BoundedProtocol(H11Protocol):
    """One connection; closed at once beyond the limit, and later if no request comes.

    Uvicorn's own time limit begins with the first response only.
    """

    _logged_s = float("-inf")

    def connection_made(self, transport: Any) -> None:
        """Take the connection, unless there are too many."""
        self._waiting: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._log_once()
            transport.abort()
            return
        self._waiting = self.loop.call_later(REQUEST_TIMEOUT_S, self._give_up, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its time limit."""
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle what has come; a whole request ends the time limit."""
        super().handle_events()
        if self.cycle is not None:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self, transport: Any) -> None:
        self._waiting = None
        transport.abort()

    def _log_once(self) -> None:
        now_s = self.loop.time()
        if now_s - BoundedProtocol._logged_s >= _LOG_PERIOD_S:
            BoundedProtocol._logged_s = now_s
            _log.warning(
                "more than %d HTTP connections: further ones are closed at once", MOST_CONNECTIONS
            )
