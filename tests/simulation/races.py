"""Two processes in the middle of one operation, as two processors would be.

Besides payloads a producer and a consumer share commit words, one load or store each. So
whatever order their accesses fall into, it is one of those made here: the other side acts as a
whole right before or right after one access of this side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["RacingWords"]


class RacingWords:
    """Commit words as one side sees them.

    At access `n >= 1` the other side interferes: before it if n is odd, else after it, so 1 and 2
    stand for the first access, 3 and 4 for the second.
    """

    def __init__(self, words: memoryview, n: int, interfere: Callable[[], None]) -> None:
        self._words = words
        self._left = n
        self._interfere = interfere

    def __getitem__(self, index: int) -> int:
        self._tick()
        word: int = self._words[index]
        self._tick()
        return word

    def __setitem__(self, index: int, word: int) -> None:
        self._tick()
        self._words[index] = word
        self._tick()

    def __array__(self, *_: object, **__: object) -> npt.NDArray[np.uint64]:
        """All words at once: one access, after which the other side may act."""
        self._tick()
        words = np.array(self._words)
        self._tick()
        return words

    def _tick(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._interfere()
