"""The ids of an attachment, by which it finds its own answers on the shared control stream.

Every attachment has a client id; every request has a correlation id that carries part of it.
The answers to all clients arrive on one stream, so an answer belongs to an attachment only if it
still waits for it, or remembers having asked and given up (C-010 to C-015).
"""

from __future__ import annotations

import secrets
from collections import OrderedDict

from tensor_pool.protocol.errors import ConfigError

__all__ = ["Correlations", "Identity"]

_MAX_CLIENT_ID = 0xFFFFFFFF
_REMEMBERED = 16
_REMEMBERED_NS = 10_000_000_000


class Identity:
    """A client id, given by the application or chosen with the system's randomness (C-010)."""

    def __init__(self, client_id: int = 0) -> None:
        if not 0 <= client_id <= _MAX_CLIENT_ID:
            raise ConfigError(f"client_id: {client_id} must be in 0..{_MAX_CLIENT_ID}")
        self.is_chosen = client_id == 0
        self.client_id = client_id or _choose()

    def renew(self) -> None:
        """Choose another id; a given one is never changed (C-011)."""
        if self.is_chosen:
            previous = self.client_id
            while self.client_id == previous:
                self.client_id = _choose()


def _choose() -> int:
    return 1 + secrets.randbelow(_MAX_CLIENT_ID - 1)


class Correlations:
    """The correlation ids of one attachment.

    At most one attach request is outstanding (C-014). Requests that were given up are remembered
    for 10 s, the newest 16 of them, with the client id they were made for: their answer may grant a
    lease that has to be adopted or returned.
    """

    def __init__(self) -> None:
        self.outstanding: int | None = None
        self._client_id = 0
        self._remembered: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._detaches: set[int] = set()
        self._count = 1 + secrets.randbelow(0xFFFFFFFF)

    def new(self, client_id: int) -> int:
        """A correlation id never used before by this attachment: positive int64 (C-013)."""
        correlation_id = (client_id & 0x7FFFFFFF) << 32 | self._count
        self._count = self._count % 0xFFFFFFFF + 1
        return correlation_id

    def begin_attach(self, client_id: int) -> int:
        """The id of a new attach request, which is now the outstanding one."""
        self.outstanding = self.new(client_id)
        self._client_id = client_id
        return self.outstanding

    def give_up(self, now: int) -> None:
        """Stop waiting for the outstanding attach request, if there is one, but remember it."""
        if self.outstanding is None:
            return
        self._remembered[self.outstanding] = (self._client_id, now)
        self.outstanding = None
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    def take_answer(self, correlation_id: int) -> bool:
        """True, once, for the answer to the outstanding attach request."""
        if self.outstanding is None or correlation_id != self.outstanding:
            return False
        self.outstanding = None
        return True

    def take_late_answer(self, correlation_id: int, now: int) -> int | None:
        """The client id, once, of the given-up request that this answers; None for others."""
        client_id, asked = self._remembered.pop(correlation_id, (None, 0))
        return client_id if now - asked <= _REMEMBERED_NS else None

    def expects(self, now: int) -> bool:
        """Return whether the answer to a request that was given up may still come."""
        return any(now - asked <= _REMEMBERED_NS for _, asked in self._remembered.values())

    def begin_detach(self, client_id: int) -> int:
        """The id of one attempt to detach."""
        correlation_id = self.new(client_id)
        self._detaches.add(correlation_id)
        return correlation_id

    def take_detach_answer(self, correlation_id: int) -> bool:
        """True, once, for the answer to any attempt of the running detach."""
        if correlation_id not in self._detaches:
            return False
        self._detaches.clear()
        return True

    def end_detach(self) -> None:
        """Answers to the attempts so far do not matter any more."""
        self._detaches.clear()
