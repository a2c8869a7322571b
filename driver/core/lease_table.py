"""The leases in force, by id, by client and in the order in which they would expire (§6)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from .lease_machine import LeaseLifecycle

__all__ = ["LeaseTable", "lease_id_base"]


def lease_id_base(realtime_ns: int) -> int:
    """Return the base of the lease ids of an instance started at this time (D-080).

    >>> lease_id_base(1_700_000_000_000_000_000) == 1_700_000_000 << 32
    True
    """
    return (realtime_ns // 1_000_000_000) % 2**31 << 32


class LeaseTable:
    """Every lease that is Active between events.

    All leases live equally long after their last sign of life, and time does not go back, so the
    order of those signs is the order of expiry: a check looks at the front only, however many
    leases there are.
    """

    __slots__ = ("_base", "_by_client", "_by_id", "_next")

    def __init__(self, realtime_ns: int) -> None:
        self._base = lease_id_base(realtime_ns)
        self._next = self._base + 1
        self._by_id: OrderedDict[int, LeaseLifecycle] = OrderedDict()  # least recent first
        self._by_client: dict[int, LeaseLifecycle] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[LeaseLifecycle]:
        """All leases by ascending id."""
        return iter([self._by_id[lease_id] for lease_id in sorted(self._by_id)])

    @property
    def next_id(self) -> int:
        """The id of the next lease."""
        return self._next

    def take_id(self) -> int:
        """A lease id that this instance never gave before."""
        taken = self._next
        self._next += 1
        return taken

    def was_issued(self, lease_id: int) -> bool:
        """Return whether this instance gave out this id, at any time."""
        return self._base < lease_id < self._next

    def get(self, lease_id: int) -> LeaseLifecycle | None:
        """The lease with this id, if it is in force."""
        return self._by_id.get(lease_id)

    def of_client(self, client_id: int) -> LeaseLifecycle | None:
        """The one lease of this client, if it is in force (D-081)."""
        return self._by_client.get(client_id)

    def add(self, lease: LeaseLifecycle) -> None:
        self._by_id[lease.lease_id] = lease
        self._by_client[lease.client_id] = lease

    def remove(self, lease: LeaseLifecycle) -> None:
        self._by_id.pop(lease.lease_id, None)
        if self._by_client.get(lease.client_id) is lease:
            del self._by_client[lease.client_id]

    def extended(self, lease: LeaseLifecycle) -> None:
        """The lease has just got a new expiry."""
        self._by_id.move_to_end(lease.lease_id)

    def by_expiry(self) -> list[LeaseLifecycle]:
        """Return all leases, the first to expire first."""
        return list(self._by_id.values())

    def overdue(self, before_ns: int) -> list[LeaseLifecycle]:
        """Leases whose expiry lies before the given time, by ascending id."""
        found = []
        for lease in self._by_id.values():
            if lease.expiry_ns >= before_ns:
                break
            found.append(lease)
        return sorted(found, key=lambda lease: lease.lease_id)
