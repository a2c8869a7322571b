"""The header slots of a ring as NumPy columns, to write or read many of them at once.

A column has one element a slot. Assigning a slice of `words` stores one aligned 8-byte word after
the other, and copying one loads them so, as W-085 asks: the elements lie a slot apart, so NumPy has
no wider access for them. `tests/soak/torn_read.py --batch` looks for torn ones.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..wire.frame_descriptor import (
    SLOT_BODY_OFFSET,
    SLOT_BYTES,
    SLOT_COMMIT_OFFSET,
    SLOT_META_VERSION_OFFSET,
    SLOT_TIMESTAMP_NS_OFFSET,
    SUPERBLOCK_BYTES,
)
from .slot_header import SLOT_IMAGE

__all__ = ["SlotColumns", "body_words", "varying_words"]

type Words = npt.NDArray[np.uint64]

_BODY_BYTES: Final = SLOT_BYTES - SLOT_BODY_OFFSET
_BODY_WORDS: Final = _BODY_BYTES // 8
_PAYLOAD_SLOT_OFFSET: Final = SLOT_BODY_OFFSET + 4
_TIMESTAMP: Final = SLOT_TIMESTAMP_NS_OFFSET - SLOT_BODY_OFFSET
_META_VERSION: Final = SLOT_META_VERSION_OFFSET - SLOT_BODY_OFFSET


def body_words(nbytes: int, pool_id: int, image: bytes) -> Words:
    """The bytes behind the commit word, as words, without slot, timestamp and meta version."""
    return np.frombuffer(SLOT_IMAGE.pack(nbytes, 0, pool_id, 0, 0, 0, image), np.uint64)


def varying_words(bodies: Words) -> tuple[Words, npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Timestamps, meta versions and payload slots of copied bodies; these are then zero there."""
    count = len(bodies)
    step = (_BODY_BYTES,)
    timestamps = np.ndarray((count,), np.uint64, bodies, _TIMESTAMP, step)
    meta_versions = np.ndarray((count,), np.uint32, bodies, _META_VERSION, step)
    slots = np.ndarray((count,), np.uint32, bodies, _PAYLOAD_SLOT_OFFSET - SLOT_BODY_OFFSET, step)
    found = timestamps.copy(), meta_versions.copy(), slots.copy()
    timestamps[:] = 0
    meta_versions[:] = 0
    slots[:] = 0
    return found


class SlotColumns:
    """The columns of a header ring: `words` are the commit words, `bodies` all that follows them.

    `steps` is 0, 2, 4, …: the commit words of consecutive sequences less that of the first.
    """

    __slots__ = ("bodies", "meta_versions", "payload_slots", "steps", "timestamps", "words")

    def __init__(self, ring: memoryview, nslots: int) -> None:
        def column(dtype: type[np.generic], offset: int) -> npt.NDArray[Any]:
            return np.ndarray((nslots,), dtype, ring, SUPERBLOCK_BYTES + offset, (SLOT_BYTES,))

        self.words: Words = column(np.uint64, SLOT_COMMIT_OFFSET)
        self.timestamps: Words = column(np.uint64, SLOT_TIMESTAMP_NS_OFFSET)
        self.meta_versions: npt.NDArray[np.uint32] = column(np.uint32, SLOT_META_VERSION_OFFSET)
        self.payload_slots: npt.NDArray[np.uint32] = column(np.uint32, _PAYLOAD_SLOT_OFFSET)
        self.bodies: Words = np.ndarray(
            (nslots, _BODY_WORDS),
            np.uint64,
            ring,
            SUPERBLOCK_BYTES + SLOT_BODY_OFFSET,
            (SLOT_BYTES, 8),
        )
        self.steps: Words = np.arange(0, 2 * nslots, 2, dtype=np.uint64)

    def words_of(self, first_word: int, count: int) -> Words:
        """The words of `count` consecutive frames, the first of which has this one."""
        return self.steps[:count] + np.uint64(first_word)
