"""The published frames, to compare with the received ones."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from tensor_pool.client.consumer.frame import Frame
from tensor_pool.client.consumer.frame_run import FrameStack
from tensor_pool.protocol.errors import FrameOverwrittenError, StaleFrameError

from .invariants_driver import InvariantError

__all__ = ["FrameBook"]

_SIZES = (0, 1, 8, 16, 17, 60, 64)
"""Elements of four bytes: nothing, either pool, the last one exactly full."""


class FrameBook:
    """Every frame by stream, epoch and sequence. No two frames have the same contents."""

    def __init__(self) -> None:
        self._written: dict[tuple[int, int, int], bytes] = {}
        self._writer: dict[tuple[int, int], str] = {}
        self._next = 1
        self.count: Counter[str] = Counter()

    def contents(self, size: int) -> npt.NDArray[Any]:
        """A frame never made before; every element is its number."""
        number = self._next
        self._next += 1
        return np.full(_SIZES[size % len(_SIZES)], number, np.uint32)

    def write(self, stream_id: int, epoch: int, seq: int, who: str, contents: bytes) -> None:
        """A frame is about to be published: a sequence is used once, by one writer."""
        key = (stream_id, epoch, seq)
        if key in self._written:
            raise InvariantError(f"C-073: frame {key} written twice, now by {who}")
        writer = self._writer.setdefault((stream_id, epoch), who)
        if writer != who:
            raise InvariantError(f"D-001: {writer} and {who} both write epoch {epoch}")
        self._written[key] = contents
        self.count["frames_written"] += 1

    def check_private(self, stream_id: int, frame: Frame) -> None:
        """A frame delivered as a copy is a whole published frame (CI-7)."""
        self._compare(stream_id, frame, frame.array.tobytes())

    def check_shared(self, stream_id: int, frame: Frame) -> bool:
        """Read a frame in place: it counts only if it is still valid after the last access.

        Returns whether it counted; then it was whole and it was published (C-093).
        """
        try:
            contents = frame.array.tobytes()
        except StaleFrameError:
            self.count["frames_stale"] += 1
            return False
        if not frame.valid:
            self.count["frames_overwritten"] += 1
            return False
        self._compare(stream_id, frame, contents)
        return True

    def check_copy(self, stream_id: int, frame: Frame) -> None:
        """Copy a frame: what is returned is whole, or it raises (C-094)."""
        try:
            contents = frame.copy().tobytes()
        except FrameOverwrittenError:
            self.count["frames_overwritten"] += 1
        except StaleFrameError:
            self.count["frames_stale"] += 1
        else:
            self._compare(stream_id, frame, contents)

    def check_stack(self, stream_id: int, stack: FrameStack) -> None:
        """Each frame of a stack is a whole published frame (C-103)."""
        for seq, contents in zip(stack.seqs, stack.array, strict=True):
            self._compare_key((stream_id, stack.epoch, int(seq)), contents.tobytes())

    def _compare(self, stream_id: int, frame: Frame, contents: bytes) -> None:
        self._compare_key((stream_id, frame.epoch, frame.seq), contents)

    def _compare_key(self, key: tuple[int, int, int], contents: bytes) -> None:
        published = self._written.get(key)
        if published is None:
            raise InvariantError(f"CI-7: frame {key} was accepted but never published")
        if contents != published:
            raise InvariantError(f"CI-7: frame {key} is torn or another one")
        self.count["frames_checked"] += 1
