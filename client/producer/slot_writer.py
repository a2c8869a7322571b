"""Writes and commits the slots of one mapped epoch, everything prepared once (W-081).

The conductor makes a `SlotWriter` when a mapping is installed and drops it when the mapping goes.
The publishing thread reads it once per frame (C-111). Offsets, views and templates are computed
here so that a frame costs little more than its copy.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tensor_pool.protocol.shm.commit_word import (
    COMMITTED,
    FENCE_FROM_BYTES,
    MAX_SEQ,
    commit_word_index,
    full_fence,
)
from tensor_pool.protocol.shm.slot_columns import SlotColumns, body_words
from tensor_pool.protocol.shm.slot_header import (
    SLOT_IMAGE,
    SLOT_TIMES,
    SLOT_TIMES_OFFSET,
    header_image,
    payload_offset,
    slot_body_offset,
)
from tensor_pool.protocol.shm.tensor import TensorLayout, dtype_of, tensor_layout
from tensor_pool.protocol.wire import Dtype, MajorOrder
from tensor_pool.protocol.wire.frame_descriptor import (
    FRAME_DESCRIPTOR_TAIL,
    FRAME_DESCRIPTOR_TAIL_OFFSET,
    NULL_U32,
    NULL_U64,
    frame_descriptor_buffer,
)

from ..attachment.epoch_mapping import StreamMapping
from .payload_layout import as_array, described_payload

__all__ = ["FramePlan", "HeaderFields", "PoolSlots", "SlotWriter", "checked_u64"]

type HeaderFields = tuple[int, int, bytes]
"""The header of a slot without the times: length, pool, image."""

_MAX_PLANS = 64
_pack_slot = SLOT_IMAGE.pack_into
_pack_tail = FRAME_DESCRIPTOR_TAIL.pack_into


def checked_u64(name: str, value: int) -> int:
    """Return the value as an int that the wire can carry. Raises TypeError or ValueError."""
    if type(value) is not int:
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{name}: {value!r} must be an int") from None
    if not 0 <= value < NULL_U64:
        raise ValueError(f"{name}: {value} must be in 0..{NULL_U64 - 1}")
    return value


class PoolSlots:
    """The payload slots of one pool."""

    __slots__ = ("buffer", "pool_id", "stride_bytes")

    def __init__(self, pool_id: int, stride_bytes: int, buffer: memoryview) -> None:
        self.pool_id = pool_id
        self.stride_bytes = stride_bytes
        self.buffer = buffer

    def slot(self, index: int) -> memoryview:
        """The whole payload slot, `stride_bytes` long."""
        start = payload_offset(index, self.stride_bytes)
        return self.buffer[start : start + self.stride_bytes]

    def slots(
        self, dtype: npt.DTypeLike, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> npt.NDArray[Any]:
        """All slots as one array; its first axis counts them."""
        start = payload_offset(0, self.stride_bytes)
        nslots = (len(self.buffer) - start) // self.stride_bytes
        return np.ndarray(
            (nslots, *shape), dtype, self.buffer, start, (self.stride_bytes, *strides)
        )


class PlanSlots(dict[int, "tuple[int, int, npt.NDArray[Any]]"]):
    """The parts of a slot that publishing needs, by index; made when first used.

    Index of its commit word, offset of its timestamp, an array of one layout over its payload.
    """

    def __init__(self, layout: TensorLayout, pool: PoolSlots) -> None:
        super().__init__()
        self._layout = layout
        self._pool = pool

    def __missing__(self, index: int) -> tuple[int, int, npt.NDArray[Any]]:
        layout = self._layout
        view: npt.NDArray[Any] = np.ndarray(
            layout.shape,
            layout.numpy_dtype,
            buffer=self._pool.slot(index),
            strides=layout.strides,
        )
        times_offset = slot_body_offset(index) + SLOT_TIMES_OFFSET
        slot = self[index] = (commit_word_index(index), times_offset, view)
        return slot

    def together(self) -> npt.NDArray[Any]:
        """The arrays of all slots as one."""
        layout = self._layout
        return self._pool.slots(layout.numpy_dtype, layout.shape, layout.strides)


class FramePlan:
    """The way to write frames of one layout and length: pool, header, slots.

    `written_as` is the layout of the copy where it differs from the one described: bytes are
    written as bytes, whatever type the header gives them.
    """

    __slots__ = ("dtype", "header", "nbytes", "shape", "slots", "strides")

    def __init__(
        self,
        layout: TensorLayout,
        nbytes: int,
        pool: PoolSlots,
        *,
        source: npt.NDArray[Any] | None = None,
        written_as: TensorLayout | None = None,
    ) -> None:
        self.header: HeaderFields = (nbytes, pool.pool_id, header_image(layout))
        self.nbytes = nbytes
        self.slots = PlanSlots(written_as or layout, pool)
        # Of the arrays it is for; a plan for bytes fits none.
        self.dtype = source.dtype if source is not None else None
        self.shape = source.shape if source is not None else None
        # They decide between ROW and COLUMN, so they do not matter with one dimension.
        self.strides = source.strides if source is not None and source.ndim > 1 else None


class SlotWriter:
    """One mapped epoch as its producer writes it; `next_seq` is the next to be assigned.

    `written` has the header of each slot, so that a frame like the one before it in the
    same slot writes only what differs: its timestamp and meta version. Likewise the
    descriptor: `meta_version` and `trace_id` are those it holds, and only its seq is written
    through `seq_cell` while they stay.
    """

    __slots__ = (
        "_columns",
        "_plans",
        "_pools",
        "body_offsets",
        "descriptor",
        "epoch",
        "latest_timestamp_ns",
        "mapping",
        "mask",
        "meta_version",
        "next_seq",
        "nslots",
        "plan",
        "ring",
        "seq_cell",
        "trace_id",
        "word_indices",
        "words",
        "written",
    )

    def __init__(self, mapping: StreamMapping) -> None:
        geometry = mapping.stream.geometry
        self.mapping = mapping
        self.epoch = mapping.epoch
        self.nslots = mapping.nslots
        self.mask = self.nslots - 1
        self.next_seq = 0
        self.latest_timestamp_ns = 0
        self.words = mapping.stream.header.words
        self.ring = mapping.stream.header.buffer
        self.word_indices = [commit_word_index(i) for i in range(self.nslots)]
        self.body_offsets = [slot_body_offset(i) for i in range(self.nslots)]
        self.descriptor = frame_descriptor_buffer(geometry.stream_id, geometry.epoch)
        seq_end = FRAME_DESCRIPTOR_TAIL_OFFSET + 8
        self.seq_cell = memoryview(self.descriptor)[FRAME_DESCRIPTOR_TAIL_OFFSET:seq_end].cast("Q")
        self.meta_version = self.trace_id = 0
        self.written: list[HeaderFields | None] = [None] * self.nslots
        self.plan: FramePlan | None = None  # of the latest array
        self._plans: dict[tuple[object, ...], FramePlan] = {}
        self._columns: SlotColumns | None = None  # made for the first batch
        pools = [
            PoolSlots(pool.pool_id, pool.stride_bytes, mapping.stream.pools[pool.pool_id].buffer)
            for pool in geometry.pools
        ]
        self._pools = sorted(pools, key=lambda pool: pool.stride_bytes)  # stable: ties by order

    def pool_for(self, nbytes: int) -> PoolSlots | None:
        """The smallest pool that fits; ties go to the first announced (W-091)."""
        for pool in self._pools:
            if pool.stride_bytes >= nbytes:
                return pool
        return None

    def plan_for(
        self,
        data: Any,
        shape: tuple[int, ...] | int | None,
        dtype: npt.DTypeLike | Dtype | None,
        strides: tuple[int, ...] | None,
    ) -> tuple[npt.NDArray[Any], FramePlan | None]:
        """Return the array to copy from and its plan; None if no pool is large enough."""
        if shape is None and dtype is None and strides is None:
            array = as_array(data)
            if array is not None:
                return array, self._plan_for_array(array)
        layout, payload = described_payload(data, shape, dtype, strides)
        return np.frombuffer(payload, np.uint8), self._plan_for_bytes(layout, payload.nbytes)

    def _plan_for_array(self, array: npt.NDArray[Any]) -> FramePlan | None:
        """Return the plan for arrays like this one; None if no pool is large enough.

        An array in Fortran order goes out in COLUMN order as it is, any other in ROW order; byte
        order and gaps between elements are handled by the copy. Raises ValueError for an array that
        the wire cannot describe (C-074).
        """
        source = (array.dtype, array.shape, array.strides)
        plan = self._plans.get(source)
        if plan is None:
            column = array.flags.f_contiguous and not array.flags.c_contiguous
            layout = tensor_layout(
                dtype_of(array.dtype),
                array.shape or (1,),
                order=MajorOrder.COLUMN if column else MajorOrder.ROW,
            )
            pool = self.pool_for(layout.extent)
            if pool is None:
                return None
            plan = FramePlan(layout, layout.extent, pool, source=array)
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[source] = plan
        self.plan = plan
        return plan

    def _plan_for_bytes(self, layout: TensorLayout, nbytes: int) -> FramePlan | None:
        """Return the plan for `nbytes` that the layout describes; None if no pool has room."""
        pool = self.pool_for(nbytes)
        if pool is None:
            return None
        return FramePlan(
            layout, nbytes, pool, written_as=tensor_layout(Dtype.UINT8, (max(nbytes, 1),))
        )

    @property
    def largest_stride_bytes(self) -> int:
        """Bytes of the largest frame that can be published."""
        return self._pools[-1].stride_bytes

    def check_seq(self, seq: int) -> None:
        """Raise ValueError for a sequence that the application may not ask for (W-088)."""
        if not self.next_seq <= seq <= MAX_SEQ:
            raise ValueError(f"seq {seq} must be in {self.next_seq}..{MAX_SEQ}: it only rises")

    def checked_timestamp(self, timestamp_ns: int) -> int:
        """Return a capture time of the application; ValueError if it goes back."""
        timestamp_ns = checked_u64("timestamp_ns", timestamp_ns)
        if timestamp_ns < self.latest_timestamp_ns:
            raise ValueError(
                f"timestamp_ns {timestamp_ns} is before that of the previous frame"
                f" ({self.latest_timestamp_ns}); capture times must not go back within an epoch"
            )
        return timestamp_ns

    def begin(self, seq: int) -> None:
        """Take a sequence and mark its slot in progress (W-081 steps 1 and 2)."""
        self.next_seq = seq + 1
        self.words[self.word_indices[seq & self.mask]] = seq << 1

    def commit(
        self, seq: int, header: HeaderFields, *, timestamp_ns: int, meta_version: int
    ) -> None:
        """Write the header slot, then the committed word (W-081 steps 4 to 6)."""
        index = seq & self.mask
        self.write_header(index, header, timestamp_ns, meta_version)
        self.words[self.word_indices[index]] = seq << 1 | 1

    def write_header(
        self, index: int, header: HeaderFields, timestamp_ns: int, meta_version: int
    ) -> None:
        """Write the whole header of a slot, and remember it (W-081 step 4)."""
        nbytes, pool_id, image = header
        _pack_slot(
            self.ring,
            self.body_offsets[index],
            nbytes,
            index,
            pool_id,
            0,
            timestamp_ns,
            meta_version,
            image,
        )
        self.written[index] = header

    def write(
        self,
        plan: FramePlan,
        seq: int,
        frame: npt.NDArray[Any],
        timestamp_ns: int,
        meta_version: int,
    ) -> None:
        """Write and commit one frame, as `Producer.publish` does (W-081)."""
        index = seq & self.mask
        word_index, times_offset, payload = plan.slots[index]
        self.begin(seq)
        if plan.nbytes:
            if plan.nbytes >= FENCE_FROM_BYTES:
                full_fence()
            payload[...] = frame
        if self.written[index] is plan.header:
            SLOT_TIMES.pack_into(self.ring, times_offset, timestamp_ns, meta_version)
        else:
            self.write_header(index, plan.header, timestamp_ns, meta_version)
        self.words[word_index] = seq << 1 | COMMITTED

    def write_together(
        self,
        plan: FramePlan,
        seq: int,
        frames: npt.NDArray[Any] | Sequence[npt.NDArray[Any]],
        timestamps_ns: int | npt.NDArray[np.uint64],
        meta_version: int,
    ) -> None:
        """Write and commit frames of one layout, in slots that follow each other (W-081, C-085).

        Each step of the write protocol is done for all of them before the next step.
        """
        columns = self._columns
        if columns is None:
            columns = self._columns = SlotColumns(self.ring, self.nslots)
        count = len(frames)
        first = seq & self.mask
        slots = slice(first, first + count)
        words = columns.words_of(seq << 1, count)
        self.next_seq = seq + count
        columns.words[slots] = words
        full_fence()  # all the payloads may be one large copy
        if not plan.nbytes:
            pass
        elif isinstance(frames, np.ndarray):
            plan.slots.together()[slots] = frames
        else:
            for index, frame in enumerate(frames, first):
                plan.slots[index][2][...] = frame
        header = plan.header
        if self.written[slots].count(header) != count:
            columns.bodies[slots] = body_words(*header)
            columns.payload_slots[slots] = np.arange(slots.start, slots.stop)
            self.written[slots] = [header] * count
        columns.timestamps[slots] = timestamps_ns
        columns.meta_versions[slots] = meta_version
        words |= np.uint64(COMMITTED)
        columns.words[slots] = words

    def descriptor_for(
        self, seq: int, *, timestamp_ns: int | None, meta_version: int, trace_id: int
    ) -> bytearray:
        """The descriptor message; valid until the next call."""
        self.meta_version = meta_version
        # A trace comes with a time of sending, so that no such descriptor is used again.
        self.trace_id = trace_id and -1
        _pack_tail(
            self.descriptor,
            FRAME_DESCRIPTOR_TAIL_OFFSET,
            seq,
            NULL_U64 if timestamp_ns is None else timestamp_ns,
            meta_version or NULL_U32,
            trace_id,
        )
        return self.descriptor

    def close(self) -> None:
        """Let go of every view, then of the mapping."""
        for plan in self._plans.values():
            plan.slots.clear()
        self.written.clear()
        self.plan = None
        self._plans.clear()
        self._pools.clear()
        self._columns = None
        self.words = self.ring = memoryview(b"")
        self.mapping.close()
