"""Frames that prove what they are: any byte of another frame in them shows.

A frame is a row of uint64: a mark, the stream, the producer (a random number a process), how many
frames that producer made before, the sequence it was written under (where the producer had it), a
pattern that differs with every frame, and a CRC of all that.
"""

from __future__ import annotations

from typing import Any

import crc32c
import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["UNKNOWN_SEQ", "Proof", "fill", "prove"]

Words = npt.NDArray[np.uint64]

UNKNOWN_SEQ = 2**64 - 1
SMALLEST = 8
_MARK = 0x5445_4E53_4F52_504C
_HEAD = 5
_STEP = np.uint64(0x9E37_79B9_7F4A_7C15)


class Proof(msgspec.Struct, frozen=True):
    """The fields of a sound frame."""

    stream_id: int
    producer: int
    number: int
    seq: int


def fill(words: Words, proof: Proof) -> None:
    """Write a frame into at least 8 words."""
    words[:_HEAD] = (_MARK, proof.stream_id, proof.producer, proof.number, proof.seq)
    body = words[_HEAD:-1]
    body[:] = np.arange(len(body), dtype=np.uint64) * _STEP + np.uint64(proof.number)
    words[-1] = crc32c.crc32c(memoryview(words[:-1]).cast("B"))


def prove(words: npt.NDArray[Any]) -> Proof | None:
    """Return the fields of a private copy of a frame; None if it is not one whole frame."""
    if words.dtype != np.uint64 or words.ndim != 1 or len(words) < SMALLEST:
        return None
    if int(words[0]) != _MARK:
        return None
    if int(words[-1]) != crc32c.crc32c(memoryview(np.ascontiguousarray(words[:-1])).cast("B")):
        return None
    stream_id, producer, number, seq = (int(word) for word in words[1:_HEAD])
    return Proof(stream_id, producer, number, seq)
