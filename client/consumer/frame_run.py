"""Frames that were received together: as a list, or as one array (C-103)."""

from __future__ import annotations

from itertools import repeat
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tensor_pool.protocol.shm.slot_header import timestamp_or_none
from tensor_pool.protocol.wire.frame_descriptor import NULL_U64

from .frame import Frame
from .read_state import FrameFormat, ReadState, SlotRun

__all__ = ["FrameRun", "FrameStack"]

type _Fields = tuple[Any, ...]


class FrameStack:
    """Copies of frames of one layout, in one array, with what belongs to each.

    Every copy is one whole frame: those that were overwritten while they were copied are left out
    and counted as `drops_late`.
    """

    __slots__ = ("_format", "_state", "array", "seqs", "timestamps_ns", "trace_ids")

    def __init__(
        self,
        state: ReadState,
        found: FrameFormat,
        array: npt.NDArray[Any],
        seqs: npt.NDArray[np.uint64],
        timestamps_ns: list[int | None],
        trace_ids: list[int],
    ) -> None:
        self._state = state
        self._format = found
        self.array = array
        """The frames; the first axis counts them, the others are those of a frame."""
        self.seqs = seqs
        """The sequence of each frame."""
        self.timestamps_ns = timestamps_ns
        """The capture time of each frame, None if the producer gave none."""
        self.trace_ids = trace_ids
        """The trace of each frame, 0 if it has none."""

    @classmethod
    def of(cls, frame: Frame, copy: npt.NDArray[Any]) -> Self:
        """A stack of one frame."""
        return cls(
            frame._state,
            frame._format,
            copy[np.newaxis],
            np.array([frame.seq], np.uint64),
            [frame.timestamp_ns],
            [frame.trace_id],
        )

    @classmethod
    def joined(cls, stacks: list[Self]) -> Self:
        """One stack of several of the same format."""
        first = stacks[0]
        if len(stacks) == 1:
            return first
        return cls(
            first._state,
            first._format,
            np.concatenate([stack.array for stack in stacks]),
            np.concatenate([stack.seqs for stack in stacks]),
            [time for stack in stacks for time in stack.timestamps_ns],
            [trace for stack in stacks for trace in stack.trace_ids],
        )

    @property
    def epoch(self) -> int:
        """Epoch that the frames are of."""
        return self._state.epoch

    def __len__(self) -> int:
        return len(self.seqs)

    def __repr__(self) -> str:
        shape, dtype = self.array.shape, self.array.dtype
        return f"<FrameStack of {len(self)} frames, shape={shape} dtype={dtype}>"

    def goes_with(self, state: ReadState, found: FrameFormat) -> bool:
        """Return whether frames of this format can be put behind these."""
        return self._state is state and self._format is found


class FrameRun:
    """Frames that were taken together; their headers are read, their payloads are not."""

    __slots__ = ("_fields", "_first", "_format", "_read", "state")

    def __init__(
        self,
        state: ReadState,
        found: FrameFormat,
        read: SlotRun,
        first: int,
        fields: list[_Fields],
    ) -> None:
        self.state = state
        self._format = found
        self._read = read
        self._first = first
        self._fields = fields

    def __len__(self) -> int:
        return len(self._fields)

    def frames(self) -> list[Frame]:
        """Each as a frame that is read in place."""
        read, first = self._read, self._first
        _, _, publish_times, _, traces = zip(*self._fields, strict=True)
        return list(
            map(
                Frame,
                range(first, first + len(traces)),
                traces,
                repeat(self.state),
                repeat(self._format),
                range(read.slots.start, read.slots.stop),
                read.words.tolist(),
                read.timestamps.tolist(),
                read.meta_versions.tolist(),
                publish_times,
            )
        )

    def stack(self) -> FrameStack:
        """Copies of those that are not written over before they are copied."""
        read, state = self._read, self.state
        array = self._format.copied(read.slots)
        stand = state.still_stand(read)
        seqs = read.words >> np.uint64(1)
        times: list[int | None] = read.timestamps.tolist()
        if NULL_U64 in times:
            times = [None if time is None else timestamp_or_none(time) for time in times]
        traces = [fields[4] for fields in self._fields]
        if not stand.all():
            kept = np.flatnonzero(stand).tolist()
            array, seqs = array[kept], seqs[kept]
            times, traces = [times[i] for i in kept], [traces[i] for i in kept]
        return FrameStack(state, self._format, array, seqs, times, traces)
