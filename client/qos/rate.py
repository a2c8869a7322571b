"""A rate per second from totals that are reported now and then (S-051)."""

from __future__ import annotations

__all__ = ["Rate"]

_SHORTEST_NS = 500_000_000


class Rate:
    """A rate over the time between two reports, at least 0.5 s apart.

    A total that falls belongs to another incarnation of its sender and begins anew.
    """

    def __init__(self) -> None:
        self.per_second: float | None = None
        self._mark: tuple[int, int] | None = None

    def add(self, now_ns: int, total: int) -> None:
        """Take a total that was received at `now_ns`, monotonic."""
        if self._mark is None or total < self._mark[1]:
            self._mark = (now_ns, total)
            self.per_second = None
            return
        since_ns, before = self._mark
        if now_ns - since_ns >= _SHORTEST_NS:
            self.per_second = (total - before) * 1e9 / (now_ns - since_ns)
            self._mark = (now_ns, total)
