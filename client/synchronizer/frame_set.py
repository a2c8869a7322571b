"""FrameSet: frames that belong together, as a tuple in the order of the inputs."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .matching import MatchedSet

__all__ = ["FrameSet"]


class FrameSet(tuple[Any, ...]):
    """A tuple of frames, None where an input that may be missing has none (S-101).

    `key` is the sequence or the time in ns of the reference frame; `skew_ns` the largest distance
    of a frame to its target, 0 by sequence. Frames are read in place: what is computed from them
    counts if `valid` is true afterwards.
    """

    key: int
    skew_ns: int

    @classmethod
    def of(cls, matched: MatchedSet) -> FrameSet:
        """Return the set that a matcher made."""
        made = cls(matched.frames)
        made.key = matched.key
        made.skew_ns = matched.skew
        return made

    @property
    def missing(self) -> tuple[int, ...]:
        """The places of inputs without a frame."""
        return tuple(index for index, frame in enumerate(self) if frame is None)

    @property
    def valid(self) -> bool:
        """True if everything read from all frames so far was unchanged (C-093)."""
        return all(frame is None or frame.valid for frame in self)

    def copy(self) -> tuple[npt.NDArray[Any] | None, ...]:
        """Return arrays of their own; raises FrameOverwrittenError or StaleFrameError (C-094)."""
        return tuple(None if frame is None else frame.copy() for frame in self)
