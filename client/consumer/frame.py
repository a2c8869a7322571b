"""Frame: what a consumer is given, a promise about bounds but not about time (C-092 to C-095).

A frame is a window onto its slot in shared memory. The producer never waits, so it may reuse the
slot while the application looks: results count only if `frame.valid` is true after the last access
(W-084), or if they come from `frame.copy()`, which checks by itself.
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt

from tensor_pool.protocol.errors import FrameOverwrittenError, StaleFrameError
from tensor_pool.protocol.shm.copying import VECTORS_FROM_BYTES, copy_array, copy_of
from tensor_pool.protocol.shm.slot_header import SLOT_IMAGE, meta_version_or_none, timestamp_or_none
from tensor_pool.protocol.wire import Dtype, MajorOrder

from .read_state import UNMAPPED_MEANWHILE, FrameFormat, ReadState

__all__ = ["Frame"]


class Frame(msgspec.Struct, gc=False, eq=False, repr_omit_defaults=True):
    """One frame of a stream, read in place.

    `seq` counts frames from 0 in each epoch; `trace_id` is 0 if there is none, and in a frame that
    was read from the ring because its descriptor did not arrive (C-104, C-107);
    `publish_timestamp_ns` is the time at which the descriptor was sent, None unless the producer
    sends it.
    """

    seq: int
    trace_id: int
    _state: ReadState
    _format: FrameFormat
    _index: int
    _word: int
    _timestamp: int
    _meta_version: int
    _publish_timestamp: int
    _is_late: bool = False
    _private: Any = None  # the array of a frame delivered as a copy

    @property
    def epoch(self) -> int:
        """Epoch of the regions the frame is in."""
        return self._state.epoch

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        return self._format.layout.numpy_dtype

    @property
    def wire_dtype(self) -> Dtype:
        """Element type on the wire, which differs for BYTES, BIT and bytes that are numbers."""
        return self._format.layout.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return self._format.layout.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes between neighbours along each dimension."""
        return self._format.layout.strides

    @property
    def order(self) -> MajorOrder:
        """ROW or COLUMN."""
        return self._format.layout.order

    @property
    def nbytes(self) -> int:
        """Length of the payload."""
        return self._format.nbytes

    @property
    def pool_id(self) -> int:
        """The payload pool the frame is in."""
        return self._format.pool_id

    @property
    def timestamp_ns(self) -> int | None:
        """Capture time in ns, None if the producer gave none."""
        return timestamp_or_none(self._timestamp)

    @property
    def publish_timestamp_ns(self) -> int | None:
        """Time in ns at which the descriptor was sent, None if not given."""
        return timestamp_or_none(self._publish_timestamp)

    @property
    def meta_version(self) -> int | None:
        """Version of the metadata that belongs to the frame, None if there is none."""
        return meta_version_or_none(self._meta_version)

    @property
    def array(self) -> npt.NDArray[Any]:
        """The frame as a read-only array over shared memory; nothing is copied.

        The array stays readable for as long as it is held, but its contents count only if `valid`
        is true after the last access. Frames of booleans are converted, hence copied (W-078).
        Raises StaleFrameError once the frame's regions are unmapped.
        """
        if self._private is not None:
            return self._private  # type: ignore[no-any-return]
        array = self._format.arrays[self._index]
        if array is None:
            array = self._make_array()
        return array.view()  # of one that is kept: its shape and type are the caller's to change

    @property
    def payload(self) -> memoryview:
        """The payload bytes, read-only, over shared memory; see `array`."""
        if self._private is not None:
            return memoryview(self._private.tobytes("A"))
        payload = self._format.payload(self._index)
        if not self._state.is_open:
            raise self._stale()
        return payload

    @property
    def slot(self) -> bytes:
        """The 256 bytes of the header slot, commit word first, reserved bytes of it zero."""
        values = (self.nbytes, self._index, self.pool_id, 0, self._timestamp, self._meta_version)
        return self._word.to_bytes(8, "little") + SLOT_IMAGE.pack(*values, self._format.image)

    @property
    def valid(self) -> bool:
        """True if everything read from the frame so far was this frame, unchanged (C-093)."""
        if self._private is not None:
            return True
        state = self._state
        try:
            if (
                state.is_open
                and state.words[state.word_indices[self._index]] == self._word
                and state.now() <= state.connection.deadline_ns
            ):
                return True
        except UNMAPPED_MEANWHILE:
            if state.is_open:
                raise
        self._count_late()
        return False

    def copy(self, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """An array of its own with the frame's contents, or `out` filled with them.

        Raises FrameOverwrittenError if the producer reused the slot meanwhile, StaleFrameError if
        the regions are unmapped (C-094).
        """
        source = self._private
        if source is None:
            source = self._format.arrays[self._index]
            if source is None:
                source = self._make_array()
        if out is None:
            result = copy_of(source)
        else:
            result = out
            if source.nbytes < VECTORS_FROM_BYTES:
                out[...] = source
            else:
                copy_array(out, source)
        if not self.valid:
            if not self._state.is_open:
                raise self._stale()
            raise FrameOverwrittenError(
                f"frame {self.seq}: the producer has come round to its slot while it was copied;"
                " read faster, or give the stream more slots"
            )
        return result

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """For `np.asarray(frame)` and everything that takes arrays; a copy is a checked one."""
        if copy:
            array = self.copy()
            return array if dtype is None else array.astype(dtype, copy=False)
        return np.asarray(self.array, dtype=dtype)

    def __dlpack__(self, **options: Any) -> Any:
        """For `from_dlpack(frame)`: the read-only memory of `array`.

        Libraries that do not know read-only DLPack tensors refuse; give them `frame.array` or
        `frame.copy()`.
        """
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Frame cannot be pickled: it is shared memory; pickle frame.copy()")

    def __repr__(self) -> str:
        return f"<Frame seq={self.seq} shape={self.shape} dtype={self.dtype}>"

    def _count_late(self) -> None:
        if not self._is_late:
            self._is_late = True
            self._state.is_overrun = True
            self._state.counters.inc("drops_late")
            self._state.counters.inc("late_changed")

    def _make_array(self) -> npt.NDArray[Any]:
        """The slot as an array; StaleFrameError if the conductor unmaps or has unmapped it."""
        state = self._state
        try:
            if state.is_open:
                return self._format.array(self._index)
        except UNMAPPED_MEANWHILE:
            if state.is_open:
                raise
        raise self._stale()

    def _stale(self) -> StaleFrameError:
        self._count_late()
        return StaleFrameError(
            f"frame {self.seq} of epoch {self.epoch}: its regions are no longer mapped"
        )
