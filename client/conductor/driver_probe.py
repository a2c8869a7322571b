"""A question that every driver of the protocol answers: a detach of a lease that it never granted.

The answer is a refusal and has no other effect (D-085). So a client can wait for a driver without
an attach, and whatever streams there are.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from tensor_pool.protocol.wire import Role, ShmDetachRequest, ShmDetachResponse

__all__ = ["DriverProbe"]

_PERIOD_NS = 250_000_000


class DriverProbe:
    """Asks by `send` every 250 ms until an answer comes."""

    def __init__(self, send: Callable[[ShmDetachRequest], object]) -> None:
        self.is_answered = False
        self._send = send
        self._due_ns = 0
        self._request = ShmDetachRequest(
            correlation_id=1 + secrets.randbelow(2**62),
            lease_id=1 + secrets.randbelow(2**62),
            stream_id=1,
            client_id=1 + secrets.randbelow(2**31),
            role=Role.CONSUMER,
        )

    def on_detach_response(self, response: ShmDetachResponse) -> None:
        """Take an answer that a driver sent to any client."""
        if response.correlation_id == self._request.correlation_id:
            self.is_answered = True

    def do_work(self, now: int) -> int:
        """Ask again when it is time; return 1 if it was."""
        if self.is_answered or now < self._due_ns:
            return 0
        self._due_ns = now + _PERIOD_NS
        self._send(self._request)
        return 1
