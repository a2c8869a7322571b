"""Named u64 counters and gauges: cheap to count, readable at any time."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Counters"]


class Counters:
    """A fixed set of names, each an integer that starts at 0.

    >>> counters = Counters(["frames_ok", "drops_gap"])
    >>> counters.inc("frames_ok")
    >>> counters["frames_ok"]
    1
    """

    __slots__ = ("_values",)

    def __init__(self, names: Iterable[str]) -> None:
        self._values = dict.fromkeys(names, 0)

    def inc(self, name: str, n: int = 1) -> None:
        """Add `n` to a counter; an unknown name raises KeyError."""
        self._values[name] += n

    def set(self, name: str, value: int) -> None:
        """Set a gauge; an unknown name raises KeyError."""
        if name not in self._values:
            raise KeyError(name)
        self._values[name] = value

    def __getitem__(self, name: str) -> int:
        return self._values[name]

    def snapshot(self) -> dict[str, int]:
        """A copy of all values by name."""
        return dict(self._values)
