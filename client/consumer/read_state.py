"""A consumer's view of one mapping: everything receiving touches, prepared once (W-082, W-131)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.shm.commit_word import commit_word_index
from tensor_pool.protocol.shm.copying import copy_of
from tensor_pool.protocol.shm.slot_columns import SlotColumns, body_words, varying_words
from tensor_pool.protocol.shm.slot_header import SlotFault, SlotValidator, slot_body_offset
from tensor_pool.protocol.shm.tensor import TensorLayout, tensor_view
from tensor_pool.protocol.wire import Dtype
from tensor_pool.protocol.wire.frame_descriptor import (
    FRAME_DESCRIPTOR_TAIL_OFFSET,
    frame_descriptor_buffer,
)

from ..attachment.connection_machine import DriverConnection
from ..attachment.epoch_mapping import StreamMapping
from ..producer.slot_writer import PoolSlots

__all__ = ["UNMAPPED_MEANWHILE", "FrameFormat", "ReadState", "SlotRun"]

_MAX_FORMATS = 64
_WORDS_PER_SLOT = commit_word_index(1) - commit_word_index(0)

UNMAPPED_MEANWHILE = (ValueError, IndexError, TypeError, struct.error)
"""The exceptions of an access to the views of a state that the conductor, in its own thread, has
closed; nothing to report if the state is not open any more."""


class FrameFormat:
    """Frames of one layout and length in one pool; keeps an array per slot."""

    __slots__ = ("_pool", "arrays", "body", "image", "layout", "nbytes", "pool_id")

    def __init__(
        self, layout: TensorLayout, nbytes: int, pool: PoolSlots, image: bytes, nslots: int
    ) -> None:
        self.layout = layout
        self.nbytes = nbytes
        self.pool_id = pool.pool_id
        self.image = image
        self.arrays: list[npt.NDArray[Any] | None] = [None] * nslots
        self.body = body_words(nbytes, pool.pool_id, image)
        self._pool = pool

    def payload(self, index: int) -> memoryview:
        """The payload bytes of a slot."""
        return self._pool.slot(index)[: self.nbytes]

    def array(self, index: int) -> npt.NDArray[Any]:
        """A slot as an array; kept for the next frame there, unless it is a copy (booleans)."""
        array = tensor_view(self._pool.slot(index), self.layout, self.nbytes)
        if self.layout.dtype is not Dtype.BOOLEAN and self.nbytes:
            self.arrays[index] = array
        return array

    def copied(self, slots: slice) -> npt.NDArray[Any]:
        """A copy of slots that follow each other; the first axis counts them. Not checked."""
        layout, count = self.layout, slots.stop - slots.start
        if layout.dtype is Dtype.BIT:
            return self._pool.slots(np.uint8, (self.nbytes,), (1,))[slots].copy()
        if not self.nbytes or 0 in layout.shape:
            empty = self.array(slots.start)
            return np.empty((count, *empty.shape), empty.dtype)
        if layout.dtype is Dtype.BOOLEAN:
            truth: npt.NDArray[Any] = (
                self._pool.slots(np.uint8, layout.shape, layout.strides)[slots] != 0
            )
            return truth
        return copy_of(self._pool.slots(layout.numpy_dtype, layout.shape, layout.strides)[slots])


class SlotRun(NamedTuple):
    """Frames of the latest format in slots that follow each other, as their headers were read."""

    slots: slice
    words: npt.NDArray[np.uint64]
    timestamps: npt.NDArray[np.uint64]
    meta_versions: npt.NDArray[np.uint32]


class ReadState:
    """One mapped epoch as its consumer reads it, with the sequence tracking that belongs to it.

    `is_open` turns False once and for all when frames of this mapping no longer count: the receive
    path does so when a descriptor shows that the mapping is void, the conductor when it unmaps.
    """

    __slots__ = (
        "_columns",
        "_formats",
        "_pools",
        "_resume_at",
        "_validator",
        "accepted_words",
        "body_offsets",
        "connection",
        "counters",
        "epoch",
        "filled_to",
        "fills",
        "format",
        "is_later_epoch",
        "is_open",
        "is_overrun",
        "is_regressed",
        "is_resynced",
        "joined_at",
        "largest_stride_bytes",
        "last_seq",
        "mapping",
        "mask",
        "newest_seen",
        "next_seq",
        "now",
        "prefix",
        "resumes",
        "ring",
        "stream_id",
        "switched_at",
        "tracks",
        "usual_prefix",
        "word_indices",
        "words",
    )

    def __init__(
        self,
        mapping: StreamMapping,
        connection: DriverConnection,
        counters: Counters,
        now: Callable[[], int],
    ) -> None:
        geometry = mapping.stream.geometry
        nslots = mapping.nslots
        self.mapping = mapping
        self.connection = connection
        self.counters = counters
        self.now = now
        self.stream_id = geometry.stream_id
        self.epoch = mapping.epoch
        self.mask = nslots - 1
        self.words = mapping.stream.header.words
        self.ring = mapping.stream.header.buffer
        self.word_indices = [commit_word_index(i) for i in range(nslots)]
        self.body_offsets = [slot_body_offset(i) for i in range(nslots)]
        self.accepted_words = [0] * nslots  # the last word accepted from each slot (row 10)
        # The first bytes of every descriptor of this stream and epoch: rows 1, 2 and 5 at once.
        self.prefix = self.usual_prefix = bytes(
            frame_descriptor_buffer(geometry.stream_id, geometry.epoch)[
                :FRAME_DESCRIPTOR_TAIL_OFFSET
            ]
        )
        self.largest_stride_bytes = max(pool.stride_bytes for pool in geometry.pools)
        self.is_open = True
        self.tracks = False  # whether a descriptor was seen since mapping or resync
        self.last_seq = 0
        self.resumes: ReadState | None = None  # the previous mapping of this epoch
        self.next_seq = -1  # last_seq + 1 while tracking: the common case in one comparison
        self.is_overrun = False  # the producer came round to a frame before it was used
        self._resume_at = 0
        self.joined_at: int | None = None  # what is newer is this consumer's to hear
        self.is_later_epoch = False  # the consumer had read an earlier epoch
        self.is_resynced = False  # the next frame may have any sequence
        self.is_regressed = False  # its sequences went back: they do not count any more
        self.switched_at = -1  # last seq before the descriptor stream was changed
        self.fills = False  # a gap may come from a stream that was joined late (C-107)
        self.filled_to = -1  # the newest frame that was read before its descriptor
        self.newest_seen: int | None = None  # in the ring, at the previous look
        self.format: FrameFormat | None = None  # of the latest frame
        self._pools = {
            pool.pool_id: PoolSlots(
                pool.pool_id, pool.stride_bytes, mapping.stream.pools[pool.pool_id].buffer
            )
            for pool in geometry.pools
        }
        self._validator = SlotValidator(
            nslots, {pool.pool_id: pool.stride_bytes for pool in geometry.pools}
        )
        self._formats: dict[tuple[bytes, int, int], FrameFormat] = {}
        self._columns: SlotColumns | None = None  # made for the first batch

    def read_run(self, found: FrameFormat, seq: int, count: int) -> SlotRun | None:
        """Read the headers of consecutive frames by rows 8 to 21 of W-106, those that pass.

        At most `count`, not round the ring, and up to the first frame that is not committed, not of
        this format, or otherwise not as usual. None if that is the first one.
        """
        columns = self._columns
        if columns is None:
            columns = self._columns = SlotColumns(self.ring, self.mask + 1)
        first = seq & self.mask
        slots = slice(first, first + count)
        words = columns.words_of(seq << 1 | 1, count)
        good = columns.words[slots].copy() == words
        bodies = columns.bodies[slots].copy()
        good &= columns.words[slots].copy() == words
        timestamps, meta_versions, payload_slots = varying_words(bodies)
        good &= payload_slots == np.arange(slots.start, slots.stop, dtype=np.uint32)
        good &= (bodies == found.body).all(axis=1)
        if not good.all():
            count = int(good.argmin())
        if not count or max(self.accepted_words[slots]) > words[0]:
            return None
        slots = slice(first, first + count)
        return SlotRun(slots, words[:count], timestamps[:count], meta_versions[:count])

    def still_stand(self, run: SlotRun) -> npt.NDArray[np.bool_]:
        """Return which frames of a run were not written over: row 23 of W-106 for each."""
        columns = self._columns
        if columns is None or not self.is_open or self.now() > self.connection.deadline_ns:
            return np.zeros(len(run.words), np.bool_)
        stand: npt.NDArray[np.bool_] = columns.words[run.slots].copy() == run.words
        return stand

    def format_for(
        self,
        index: int,
        nbytes: int,
        payload_slot: int,
        pool_id: int,
        payload_offset: int,
        image: bytes,
    ) -> FrameFormat | SlotFault:
        """Rows 12 to 21 of W-106 on a private copy of a slot; remembers what passed."""
        checked = self._validator.check(index, nbytes, payload_slot, pool_id, payload_offset, image)
        if isinstance(checked, SlotFault):
            return checked
        key = (image, pool_id, nbytes)
        found = self._formats.get(key)
        if found is None:
            if len(self._formats) >= _MAX_FORMATS:
                self._formats.clear()
            found = self._formats[key] = FrameFormat(
                checked, nbytes, self._pools[pool_id], image, self.mask + 1
            )
        self.format = found
        return found

    @property
    def accounted(self) -> int | None:
        """The newest sequence that was delivered, counted, or from before the attach.

        None: no sequence of this epoch is known yet.
        """
        if self.tracks or self.resumes is None:
            return self.last_seq if self.tracks else self.joined_at
        return self.resumes.accounted

    @property
    def read_up_to(self) -> int:
        """As `accounted`; -1 where nothing is known."""
        return -1 if (accounted := self.accounted) is None else accounted

    def newest_seq(self) -> int:
        """Sequence of the newest frame that is committed in the ring; -1 for none."""
        return int(seqs.max()) if (seqs := self._committed_seqs()).size else -1

    def oldest_seq(self) -> int | None:
        """Sequence of the oldest frame that is committed in the ring; None for none."""
        return int(seqs.min()) if (seqs := self._committed_seqs()).size else None

    @property
    def is_once_around(self) -> bool:
        """True if every slot has been used, so that the first frames of the epoch may be gone."""
        return bool(self._slot_words().all())

    def _slot_words(self) -> npt.NDArray[np.uint64]:
        ring = self.ring
        words = np.frombuffer(ring, np.uint64) if len(ring) else np.empty(0, np.uint64)
        return words[self.word_indices[0] :: _WORDS_PER_SLOT][: self.mask + 1]

    def _committed_seqs(self) -> npt.NDArray[np.uint64]:
        words = self._slot_words().copy()  # the producer goes on
        seqs: npt.NDArray[np.uint64] = words >> np.uint64(1)
        # A word that does not belong to its slot is a faulty producer's.
        is_own = seqs & np.uint64(self.mask) == np.arange(len(words), dtype=np.uint64)
        return cast("npt.NDArray[np.uint64]", seqs[(words & np.uint64(1) == 1) & is_own])

    def skips(self, seq: int) -> bool:
        """True for a frame that an overrun consumer leaves out (C-101).

        When it is half the ring behind, it goes on with frames an eighth of the ring behind the
        newest. The producer then needs most of a round before it comes to them.
        """
        if seq < self._resume_at:
            return True
        nslots = self.mask + 1
        ahead = seq + nslots // 2
        if self.words[self.word_indices[ahead & self.mask]] >> 1 < ahead:
            return False
        self._resume_at = self.newest_seq() - nslots // 8
        return seq < self._resume_at

    def committed(self) -> list[int]:
        """Return the sequences of the frames that stand in the ring, ascending."""
        try:
            words = np.asarray(self.words)[self.word_indices[0] :: _WORDS_PER_SLOT][: self.mask + 1]
            words = words.copy()  # the producer goes on
        except UNMAPPED_MEANWHILE:
            if self.is_open:
                raise
            return []
        seqs = words >> np.uint64(1)
        stand = (words & np.uint64(1) == 1) & (seqs & np.uint64(self.mask) == np.arange(len(words)))
        return sorted(int(seq) for seq in seqs[stand])

    def shut(self) -> None:
        """Accept no more frames of this mapping."""
        self.is_open = False
        self.prefix = b"no descriptor begins like this"

    def close(self) -> None:
        """Let go of every view, then of the mapping; views the application holds stay (W-143)."""
        self.shut()
        for known in (*self._formats.values(), self.format):
            if known is not None:
                known.arrays[:] = [None] * len(known.arrays)
        self._formats.clear()
        self.format = None
        self._columns = None
        self.words = self.ring = memoryview(b"")
        for pool in self._pools.values():
            pool.buffer = memoryview(b"")
        self.mapping.close()
