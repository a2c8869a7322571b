"""The account of frames that come without a ring of the consumer's bell."""

from __future__ import annotations

import time

__all__ = ["Unrung"]

_REPORTED = 10  # frames one after the other
_FOR_S = 5.0  # since the first of them; a producer learns of the bell from a hello


class Unrung:
    """Frames one after the other that came while the consumer slept, without a ring."""

    __slots__ = ("_count", "_is_reported", "_since_s")

    def __init__(self) -> None:
        self._count = 0
        self._since_s = 0.0
        self._is_reported = False

    def rang(self) -> None:
        """Begin anew: the bell is in reach."""
        self._count = 0

    def missed(self) -> bool:
        """Count a frame without a ring; return True once, when there were none for long enough."""
        now = time.monotonic()
        if not self._count:
            self._since_s = now
        self._count += 1
        if self._is_reported or self._count < _REPORTED or now - self._since_s < _FOR_S:
            return False
        self._is_reported = True
        return True
