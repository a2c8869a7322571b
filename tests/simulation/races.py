"""Two processes in the middle of one operation, as two processors would be.

Besides payloads a producer and a consumer share commit words, one load or store each. So
whatever order their accesses fall into, it is one of those made here: the other side acts as a
whole right before or right after one access of this side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["RacingWords"]


class RacingWords:
    """Commit words as one side sees them.

    At access `n >= 1` the other side interferes: before it if n is odd, else after it, so 1 and 2
    stand for the first access, 3 and 4 for the second.
    """

    def __init__(self, words: Any, n: int, interfere: Callable[[], None]) -> None:
        self._words = words
        self._left = n
        self._interfere = interfere

    def __getitem__(self, index: int | slice) -> Any:
        """A word, or those of a batch."""
        self._tick()
        word = self._words[index] if isinstance(index, int) else self._words[index].copy()
        self._tick()
        return word

    def __setitem__(self, index: int | slice, word: Any) -> None:
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
