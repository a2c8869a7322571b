"""Frames that were announced but not read yet."""

from __future__ import annotations

import msgspec

from tensor_pool.protocol.errors import (
    FrameOverwrittenError,
    InvalidFrameError,
    StaleFrameError,
)
from tensor_pool.protocol.shm.slot_header import SLOT_IMAGE, SlotFault

from .frame import Frame
from .read_state import UNMAPPED_MEANWHILE, ReadState

__all__ = ["Announced"]


class Announced(msgspec.Struct, frozen=True, gc=False):
    """A frame known by its descriptor only: its payload stays where it is until it is read."""

    seq: int
    trace_id: int
    _state: ReadState

    @property
    def epoch(self) -> int:
        """Epoch of the regions the frame is in."""
        return self._state.epoch

    def read(self) -> Frame:
        """Return the frame, its slot checked (rows 9 to 21 of W-106).

        Raises FrameOverwrittenError if the producer has reused the slot, StaleFrameError if the
        regions are no longer mapped, InvalidFrameError if the slot is not a valid frame.
        """
        state, seq = self._state, self.seq
        try:
            if state.is_open:
                index = seq & state.mask
                word_index = state.word_indices[index]
                word = state.words[word_index]
                body = SLOT_IMAGE.unpack_from(state.ring, state.body_offsets[index])
                if word != seq << 1 | 1 or state.words[word_index] != word:
                    raise FrameOverwrittenError(f"frame {seq}: its slot is used again already")
                nbytes, payload_slot, pool_id, offset, timestamp, meta_version, image = body
                found = state.format_for(index, nbytes, payload_slot, pool_id, offset, image)
                if isinstance(found, SlotFault):
                    raise InvalidFrameError(f"frame {seq}: {found.name} of its slot (W-106)")
                return Frame(
                    *(seq, self.trace_id, state, found, index, word, timestamp, meta_version),
                    *(_NO_TIME,),
                )
        except UNMAPPED_MEANWHILE:
            if state.is_open:
                raise
        raise StaleFrameError(f"frame {seq} of epoch {state.epoch}: no longer mapped")


_NO_TIME = (1 << 64) - 1
