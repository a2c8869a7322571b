"""Taking FrameProgress in: how much of a frame it makes usable (W-184 to W-187)."""

from __future__ import annotations

import msgspec

from tensor_pool.protocol.shm.slot_header import SLOT_IMAGE, SlotFault
from tensor_pool.protocol.shm.tensor import TensorLayout
from tensor_pool.protocol.wire import FrameProgress, FrameProgressState, MajorOrder, ProgressUnit

from .read_state import FrameFormat, ReadState

__all__ = ["ProgressReader", "ProgressUpdate"]

_REPORTED = (
    FrameProgressState.STARTED,
    FrameProgressState.PROGRESS,
    FrameProgressState.COMPLETE,
)


class ProgressUpdate(msgspec.Struct, frozen=True):
    """The fill level of a frame, for `on_progress`.

    While the frame is being written this is a number and nothing else. `prefix` is the filled part,
    read-only, once the slot is committed and its layout allows to use a part; `complete_units` the
    whole rows or columns in it, where the frame counts in those. A frame is available only when the
    consumer delivers it.
    """

    seq: int
    epoch: int
    state: FrameProgressState
    bytes_filled: int
    prefix: memoryview | None = None
    complete_units: int | None = None


class ProgressReader:
    """The checks of W-184 for one mapping; remembers the latest progress of each slot."""

    def __init__(self, state: ReadState) -> None:
        self._state = state
        self._latest: dict[int, tuple[int, FrameProgressState, int]] = {}

    def read(self, message: FrameProgress) -> ProgressUpdate | None:
        """The update, or None where the message has to be dropped."""
        state = self._state
        if not state.is_open or message.epoch != state.epoch or message.state not in _REPORTED:
            return None
        index = message.seq & state.mask
        seq, stage, filled = self._latest.get(index, (-1, FrameProgressState.UNKNOWN, 0))
        if message.seq == seq and (message.state < stage or message.payload_bytes_filled < filled):
            return None
        word = state.words[state.word_indices[index]]
        if word >> 1 != message.seq:
            return None
        prefix: memoryview | None = None
        units: int | None = None
        if word & 1:
            found = self._committed(index, word, message.payload_bytes_filled)
            if found is None:
                return None
            prefix, units = found
        self._latest[index] = (message.seq, message.state, message.payload_bytes_filled)
        return ProgressUpdate(
            message.seq, message.epoch, message.state, message.payload_bytes_filled, prefix, units
        )

    def _committed(
        self, index: int, word: int, filled: int
    ) -> tuple[memoryview | None, int | None] | None:
        """Return the part of a committed slot that may be used (W-186); None drops the message."""
        state = self._state
        nbytes, payload_slot, pool_id, offset, _, _, image = SLOT_IMAGE.unpack_from(
            state.ring, state.body_offsets[index]
        )
        if state.words[state.word_indices[index]] != word:
            return None
        found = state.format_for(index, nbytes, payload_slot, pool_id, offset, image)
        if isinstance(found, SlotFault) or filled > nbytes:
            return None
        prefix = _usable(found, index, filled)
        if state.words[state.word_indices[index]] != word:
            return None
        return prefix


def _usable(found: FrameFormat, index: int, filled: int) -> tuple[memoryview | None, int | None]:
    layout = found.layout
    if not (layout.contiguous or _counts_along_its_order(layout)):
        return None, None
    units = None
    if layout.progress_unit is not ProgressUnit.NONE:
        units = filled // layout.progress_stride_bytes
    return found.payload(index)[:filled], units


def _counts_along_its_order(layout: TensorLayout) -> bool:
    if layout.progress_unit is ProgressUnit.ROWS:
        return layout.order is MajorOrder.ROW
    if layout.progress_unit is ProgressUnit.COLUMNS:
        return layout.order is MajorOrder.COLUMN and layout.ndims == 2
    return False
