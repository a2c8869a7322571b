"""Two processes in the middle of one operation: a producer writes between a reader's loads."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["RacingWords"]


class RacingWords:
    """Commit words as a reader sees them; at the n-th load somebody interferes just after it."""

    def __init__(self, words: memoryview, n: int, interfere: Callable[[], None]) -> None:
        self._words = words
        self._left = n
        self._interfere = interfere

    def __getitem__(self, index: int) -> int:
        word: int = self._words[index]
        self._left -= 1
        if self._left == 0:
            self._interfere()
        return word
