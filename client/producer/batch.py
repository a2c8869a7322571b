"""Publishing several frames at once (C-085).

Frames are sorted into runs of one layout. Of a run, as many as `slots_at_once` allows are written
together, step by step of the write protocol; then each is announced by a descriptor of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tensor_pool.protocol.wire.frame_descriptor import NULL_U64

from ..attachment.connection_machine import DriverConnection
from .descriptor_streams import DescriptorStreams
from .open_loans import HeldFrame, OpenLoans
from .payload_layout import as_array, described_payload
from .results import PublishResult, PublishResults, PublishStatus
from .slot_writer import FramePlan, SlotWriter

__all__ = ["Batch", "slots_at_once"]

type Frames = npt.NDArray[Any] | Sequence[npt.NDArray[Any]]
type Numbers = Sequence[int] | npt.NDArray[np.integer[Any]]

_LARGEST_BYTES = 256 * 1024  # of frames that are written before the first of them is announced


class FrameRun:
    """Frames of one layout, one after the other; `like` is one of them."""

    __slots__ = ("frames", "like")

    def __init__(self, frames: Frames, like: npt.NDArray[Any]) -> None:
        self.frames = frames
        self.like = like

    def __len__(self) -> int:
        return len(self.frames)


def runs_of(frames: npt.NDArray[Any] | Iterable[Any]) -> list[FrameRun]:
    """Return the frames in their order, those of one layout together.

    The first axis of an array counts frames. Raises ValueError for an array without one, and for an
    element that is neither an array nor bytes.
    """
    if isinstance(frames, np.ndarray):
        if frames.ndim == 0:
            raise ValueError("publish_many: the first axis counts frames, this array has none")
        # An element of one axis is a scalar, which travels as shape (1,).
        stacked = frames if frames.ndim > 1 else frames.reshape(-1, 1)
        return [FrameRun(stacked, np.asarray(stacked[0]))] if len(stacked) else []
    if isinstance(frames, str | bytes | bytearray | memoryview):
        raise ValueError(
            f"publish_many: this {type(frames).__name__} is one frame; give a list of frames"
        )
    runs: list[FrameRun] = []
    run: list[npt.NDArray[Any]] = []
    dtype: Any = None
    shape: Any = None
    strides: Any = None
    for frame in frames:
        array = frame if type(frame) is np.ndarray else _as_frame(frame)
        if array.shape != shape or array.dtype is not dtype or array.strides != strides:
            dtype, shape, strides = array.dtype, array.shape, array.strides
            run = []
            runs.append(FrameRun(run, array))
        run.append(array)
    return runs


def _as_frame(data: Any) -> npt.NDArray[Any]:
    array = as_array(data)
    if array is not None:
        return array
    return np.frombuffer(described_payload(data, None, None, None)[1], np.uint8)


def slots_at_once(nslots: int, nbytes: int) -> int:
    """The number of frames that are written together: a quarter of the ring, 256 KiB, or one.

    Their slots are in progress until all of them are written; readers need the rest of the ring.
    """
    return max(1, min(nslots // 4, _LARGEST_BYTES // max(1, nbytes)))


def checked_u64s(name: str, values: Numbers | None, count: int) -> npt.NDArray[np.uint64] | None:
    """Return one number a frame as the wire carries them. Raises TypeError or ValueError."""
    if values is None:
        return None
    given = np.asarray(values)
    if given.shape != (count,):
        raise ValueError(f"{name}: {given.shape} numbers for {count} frames")
    if not count:
        return None
    if given.dtype.kind not in "iu":
        raise TypeError(f"{name}: these must be ints, not {given.dtype}")
    if given.dtype.kind == "i" and (lowest := int(given.min())) < 0:
        raise ValueError(f"{name}: {lowest} must be in 0..{NULL_U64 - 1}")
    numbers = given.astype(np.uint64)
    if int(numbers.max()) == NULL_U64:
        raise ValueError(f"{name}: {NULL_U64} must be in 0..{NULL_U64 - 1}")
    return numbers


class BatchProducer(Protocol):
    """The producer of a batch, as far as batches use it."""

    _strict: bool
    _descriptor_timestamps: bool
    _state: SlotWriter | None
    _bells: tuple[Any, ...]
    _loans: OpenLoans
    _descriptors: DescriptorStreams
    _mint: Callable[[], int] | None
    _now: Callable[[], int]

    @property
    def _connection(self) -> DriverConnection: ...

    @property
    def _meta_version(self) -> int: ...

    def _check_open(self) -> None: ...

    def _refuse_inactive(self) -> PublishResult: ...

    def _refuse_size(self, state: SlotWriter, nbytes: int) -> PublishResult: ...

    def _descriptor(
        self, state: SlotWriter, seq: int, meta_version: int, trace_id: int, now: int
    ) -> bytearray: ...

    def _send(
        self, state: SlotWriter, seq: int, meta_version: int, trace_id: int, now: int
    ) -> PublishStatus: ...

    def _ring(self) -> None: ...


class Batch:
    """The frames of one `publish_many`; its arguments are checked when it is made."""

    def __init__(
        self,
        producer: BatchProducer,
        frames: npt.NDArray[Any] | Iterable[Any],
        timestamps_ns: Numbers | None,
        trace_ids: Numbers | None,
    ) -> None:
        self._producer = producer
        self._runs = runs_of(frames)
        count = sum(len(run) for run in self._runs)
        self._times = checked_u64s("timestamps_ns", timestamps_ns, count)
        self._traces = checked_u64s("trace_ids", trace_ids, count)
        if self._times is not None and (self._times[1:] < self._times[:-1]).any():
            raise ValueError("timestamps_ns: capture times must not go back within an epoch")
        self._statuses: list[PublishStatus] = []
        self._seqs: list[int | None] = []

    def publish(self) -> PublishResults:
        """Publish them; the caller has the producer's lock."""
        producer = self._producer
        producer._check_open()
        state = producer._state
        if state is None or not self._is_live():
            for run in self._runs:
                self._refuse(len(run), producer._refuse_inactive)
        elif self._runs:
            plans = [state.plan_for(run.like, None, None, None)[1] for run in self._runs]
            if self._times is not None:
                state.checked_timestamp(int(self._times[0]))
            if producer._strict and None in plans:
                producer._refuse_size(state, self._runs[plans.index(None)].like.nbytes)
            for run, plan in zip(self._runs, plans, strict=True):
                self._publish_run(state, run, plan)
        return PublishResults(self._statuses, self._seqs)

    def _is_live(self) -> bool:
        producer = self._producer
        return producer._now() <= producer._connection.deadline_ns

    def _publish_run(self, state: SlotWriter, run: FrameRun, plan: FramePlan | None) -> None:
        producer = self._producer
        if plan is None:
            nbytes = run.like.nbytes
            self._refuse(len(run), lambda: producer._refuse_size(state, nbytes))
            return
        at_once = slots_at_once(state.nslots, plan.nbytes)
        at, end = 0, len(run)
        while at < end:
            now = producer._now()
            if now > producer._connection.deadline_ns:
                self._refuse(end - at, producer._refuse_inactive)
                return
            to_ring_end = state.nslots - (state.next_seq & state.mask)
            part = slice(at, min(at + at_once, at + to_ring_end, end))
            self._publish_part(state, plan, run.frames[part], now)
            at = part.stop
            if producer._bells:
                producer._ring()

    def _publish_part(self, state: SlotWriter, plan: FramePlan, frames: Frames, now: int) -> None:
        """Publish a few frames of one layout that do not go round the ring."""
        producer = self._producer
        count, meta_version = len(frames), producer._meta_version
        places = slice(len(self._seqs), len(self._seqs) + count)
        times = None if self._times is None else self._times[places]
        traces = self._traces_of(places)
        latest_ns = max(now, state.latest_timestamp_ns)
        if count == 1 or producer._loans.by_seq:
            for place in range(count):
                time_ns = latest_ns if times is None else int(times[place])
                result = self._publish_one(
                    state, plan, frames[place], time_ns, traces[place] if traces else 0, now
                )
                self._statuses.append(result.status)
                self._seqs.append(result.seq)
            return
        seqs = range(state.next_seq, state.next_seq + count)
        state.latest_timestamp_ns = latest_ns if times is None else int(times[-1])
        written = latest_ns if times is None else times
        state.write_together(plan, seqs.start, frames, written, meta_version)
        self._seqs.extend(seqs)
        if traces is None and not producer._descriptor_timestamps:
            descriptor = producer._descriptor(state, seqs.start, meta_version, 0, now)
            self._statuses += producer._descriptors.send_run(descriptor, state.seq_cell, seqs, now)
        else:
            self._statuses += [
                producer._send(state, seq, meta_version, trace_id, now)
                for seq, trace_id in zip(seqs, traces or [0] * count, strict=True)
            ]

    def _publish_one(
        self,
        state: SlotWriter,
        plan: FramePlan,
        frame: npt.NDArray[Any],
        timestamp_ns: int,
        trace_id: int,
        now: int,
    ) -> PublishResult:
        """Publish a frame as `publish` does; behind open loans its descriptor is held."""
        producer = self._producer
        seq, meta_version, loans = state.next_seq, producer._meta_version, producer._loans
        if loans.by_seq and loans.hold_up(seq, state.nslots):
            return PublishResult(PublishStatus.LOANS_OPEN)
        state.latest_timestamp_ns = timestamp_ns
        state.write(plan, seq, frame, timestamp_ns, meta_version)
        if loans.by_seq:
            loans.hold(HeldFrame(seq, meta_version, trace_id))
            return PublishResult(PublishStatus.DEFERRED, seq)
        return PublishResult(producer._send(state, seq, meta_version, trace_id, now), seq)

    def _traces_of(self, places: slice) -> list[int] | None:
        """The trace of each frame; None if none has one."""
        given = None if self._traces is None else self._traces[places].tolist()
        mint = self._producer._mint
        if mint is not None:
            return [trace or mint() for trace in given or [0] * (places.stop - places.start)]
        return given if given is not None and any(given) else None

    def _refuse(self, count: int, refuse: Callable[[], PublishResult]) -> None:
        for _ in range(count):
            self._statuses.append(refuse().status)
            self._seqs.append(None)
