"""Node ids: one for each active lease, and a client's own again when it comes back (§14.1)."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

__all__ = ["NULL_NODE_ID", "REMEMBERED_RELEASES", "NodeIds"]

NULL_NODE_ID = 2**32 - 1
REMEMBERED_RELEASES = 4096


class _Release(NamedTuple):
    client_id: int
    at_ns: int


class NodeIds:
    """Gives out node ids and remembers, for a while, who had which.

    `peek` and `take` answer alike; only `take` changes anything.
    """

    __slots__ = ("_active", "_cooldown_ns", "_last_of_client", "_next", "_released")

    def __init__(self, cooldown_ns: int) -> None:
        self._cooldown_ns = cooldown_ns
        self._active: set[int] = set()
        self._released: OrderedDict[int, _Release] = OrderedDict()  # by node id, oldest first
        self._last_of_client: dict[int, int] = {}  # client id -> the node id it released last
        self._next = 1

    @property
    def next_id(self) -> int:
        """The value of the counter."""
        return self._next

    @property
    def active(self) -> frozenset[int]:
        """The ids of active leases."""
        return frozenset(self._active)

    def peek(self, client_id: int, desired: int | None, now: int) -> int | None:
        """The id this client would get; None when the desired one cannot be given (D-161)."""
        if desired is not None:
            return desired if self._is_free(desired, client_id, now) else None
        former = self._former_id(client_id, now)
        return former if former is not None else self._count(client_id, now)

    def take(self, client_id: int, desired: int | None, now: int) -> int | None:
        """As `peek`, and the id is in use from now on (D-160)."""
        counted = desired is None and self._former_id(client_id, now) is None
        node_id = self.peek(client_id, desired, now)
        if node_id is not None:
            self._active.add(node_id)
            if counted:
                self._next = _after(node_id)
        return node_id

    def release(self, node_id: int, client_id: int, now: int) -> None:
        """The lease has ended; for the cooldown the id is kept for this client (D-163)."""
        self._active.discard(node_id)
        self._forget(node_id)
        self._released[node_id] = _Release(client_id, now)
        self._last_of_client[client_id] = node_id
        if len(self._released) > REMEMBERED_RELEASES:
            self._forget(next(iter(self._released)))

    def _is_free(self, node_id: int, client_id: int, now: int) -> bool:
        if node_id in self._active or node_id == NULL_NODE_ID:
            return False
        release = self._released.get(node_id)
        if release is None or release.client_id == client_id:
            return True
        return now - release.at_ns >= self._cooldown_ns

    def _former_id(self, client_id: int, now: int) -> int | None:
        former = self._last_of_client.get(client_id)
        if former is None or not self._is_free(former, client_id, now):
            return None
        return former

    def _count(self, client_id: int, now: int) -> int:
        node_id = self._next
        while not self._is_free(node_id, client_id, now):
            node_id = _after(node_id)
        return node_id

    def _forget(self, node_id: int) -> None:
        release = self._released.pop(node_id, None)
        if release is not None and self._last_of_client.get(release.client_id) == node_id:
            del self._last_of_client[release.client_id]


def _after(node_id: int) -> int:
    return node_id + 1 if node_id + 1 < NULL_NODE_ID else 1
