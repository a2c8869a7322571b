"""Ids of a configured range, given out so that a released one is reused last (D-164, D-170)."""

from __future__ import annotations

from collections import OrderedDict

from .configuration import IdRange

__all__ = ["RotatingIds"]


class RotatingIds:
    """The ids of one range; without a range there are none.

    >>> ids = RotatingIds(IdRange(7, 8))
    >>> ids.take(), ids.take(), ids.peek()
    (7, 8, None)
    >>> ids.release(7)
    >>> ids.take()
    7
    """

    __slots__ = ("_range", "_released", "_unused", "_used")

    def __init__(self, id_range: IdRange | None) -> None:
        self._range = id_range
        self._used: set[int] = set()
        self._released: OrderedDict[int, None] = OrderedDict()  # in order of release
        self._unused = id_range.start if id_range is not None else 0  # all below were given out

    @property
    def range(self) -> IdRange | None:
        """The configured range."""
        return self._range

    def peek(self) -> int | None:
        """The id that `take()` would give; None when the range is exhausted or unset."""
        if self._range is None:
            return None
        while self._unused in self._used or self._unused in self._released:
            self._unused += 1
        if self._unused <= self._range.end:
            return self._unused
        return next(iter(self._released), None)

    def has_free(self, wanted: int) -> bool:
        """Return True if an id lies in the range and is not taken."""
        return (
            self._range is not None
            and self._range.start <= wanted <= self._range.end
            and wanted not in self._used
        )

    def take(self, wanted: int | None = None) -> int | None:
        """Take the next free id, or the requested one, which must be free and in the range."""
        taken = self.peek() if wanted is None else wanted
        if taken is not None:
            self._used.add(taken)
            self._released.pop(taken, None)
        return taken

    def release(self, number: int) -> None:
        """Give an id back; one that was not taken stays as it was."""
        if number in self._used:
            self._used.remove(number)
            self._released[number] = None
