"""Commit words: the frame that a slot holds, and whether it is complete (W-080 to W-089).

The word of sequence S is `2 S` while S is being written and `2 S + 1` once it is complete. A writer
stores the first before it touches anything, the second after everything. A reader loads it before
and after: equal and odd means that what it read in between is one whole frame.

That only holds if

- each load and store of the word is one 8-byte access. A `memoryview` cast to native "Q" does that,
  `struct` does not: it clears the target first, so a reader sees 0 now and then (W-085);
- the processor keeps the order of stores among each other and of loads among each other. x86-64
does
  (W-086). Others need fences that Python does not offer, so `require_supported_platform()` refuses
  them.

`Mapping.words` of a header ring is such a view; word `commit_word_index(i)` is that of slot i.
"""

from __future__ import annotations

import platform
import sys
import threading

from ..errors import UnsupportedPlatformError
from ..wire.frame_descriptor import SLOT_BYTES, SLOT_COMMIT_OFFSET, SUPERBLOCK_BYTES

__all__ = [
    "COMMITTED",
    "FENCE_FROM_BYTES",
    "MAX_SEQ",
    "WORDS_PER_SLOT",
    "commit_word_index",
    "committed_word",
    "full_fence",
    "in_progress_word",
    "is_committed",
    "require_supported_platform",
    "seq_of",
]

WORD_BYTES = 8
WORDS_PER_SLOT = SLOT_BYTES // WORD_BYTES
_FIRST_WORD = (SUPERBLOCK_BYTES + SLOT_COMMIT_OFFSET) // WORD_BYTES

COMMITTED = 1
"""The flag bit of a commit word."""

MAX_SEQ = 2**63 - 1
"""The last sequence of an epoch; a producer that reaches it needs a new epoch (W-088)."""

_ORDERED_MACHINES = frozenset({"x86_64", "AMD64", "amd64"})


def require_supported_platform() -> None:
    """Raise UnsupportedPlatformError where commit words would not be safe (W-005, W-086)."""
    if sys.byteorder != "little":
        raise UnsupportedPlatformError(
            f"this host is {sys.byteorder}-endian; the layout of shared memory is little-endian and"
            " is not converted"
        )
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise UnsupportedPlatformError(
            "this is free-threaded Python without its global lock; producers and consumers rely on"
            " the lock between their threads: set PYTHON_GIL=1, or use a standard build"
        )
    machine = platform.machine()
    if machine not in _ORDERED_MACHINES or sys.maxsize < 2**32:
        raise UnsupportedPlatformError(
            f"processor {machine!r} does not promise the order of loads and stores that the commit"
            " protocol needs; only 64-bit x86-64 does, and no helper with fences exists for others"
        )


def commit_word_index(slot: int) -> int:
    """Index of a slot's commit word in the words of the header ring's mapping."""
    return _FIRST_WORD + WORDS_PER_SLOT * slot


def in_progress_word(seq: int) -> int:
    """The commit word while frame `seq` is being written."""
    return seq << 1


def committed_word(seq: int) -> int:
    """The commit word once frame `seq` is complete."""
    return seq << 1 | COMMITTED


def is_committed(word: int) -> bool:
    """Return whether a commit word stands for a complete frame; 0, a fresh slot, does not."""
    return word & COMMITTED == COMMITTED


def seq_of(word: int) -> int:
    """The sequence a commit word belongs to."""
    return word >> 1


FENCE_FROM_BYTES = 256 * 1024
"""Payload length from which a producer calls `full_fence()` after the in-progress word; well below
what any C library takes for large."""

_fence_lock = threading.Lock()


def full_fence() -> None:
    """Order everything before it against everything after it, also what x86-64 lets pass otherwise.

    A producer of large frames needs it between the in-progress word and the payload, since the C
    library copies from about a megabyte on with non-temporal stores, which may overtake (W-081 step
    2); it fences behind them itself. Taking a lock compiles to a locked instruction, which is a
    full fence (66 ns).
    """
    with _fence_lock:
        pass
