"""The publishing half of a Producer: arrays into shared memory, descriptors to consumers."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import posix_ipc

from tensor_pool.protocol.errors import LeaseLostError
from tensor_pool.protocol.shm.commit_word import FENCE_FROM_BYTES, full_fence
from tensor_pool.protocol.shm.slot import SLOT_TIMES
from tensor_pool.protocol.transport.ports import OfferResult, Publication
from tensor_pool.protocol.wire import Dtype

from ..handle import Handle, HandleLock
from .known_consumers import PrivateDescriptors
from .loan import Loan
from .payload_layout import as_array, described_payload
from .progress import NO_PROGRESS, ProgressPolicy
from .results import PublishResult, PublishStatus
from .write_state import FramePlan, WriteState

if TYPE_CHECKING:
    from ..client import Client
    from .attachment import ProducerAttachment

__all__ = ["HeldFrame", "Publisher"]

_log = logging.getLogger("tensor_pool.client")
_PUBLISHED = PublishStatus.PUBLISHED
_ACCEPTED = OfferResult.ACCEPTED
_ADMIN_ACTION = OfferResult.ADMIN_ACTION
_ndarray = np.ndarray
_pack_times = SLOT_TIMES.pack_into
_ADMIN_RETRIES = 16  # a term rotation takes one or two
_LOG_PERIOD_NS = 1_000_000_000
_REFUSAL_COUNTERS = {
    OfferResult.BACK_PRESSURED: "descriptor_backpressured",
    OfferResult.ADMIN_ACTION: "descriptor_admin_action",
    OfferResult.NOT_CONNECTED: "descriptor_not_connected",
    OfferResult.CLOSED: "descriptor_closed",
    OfferResult.MAX_POSITION_EXCEEDED: "descriptor_max_position_exceeded",
    OfferResult.ERROR: "descriptor_errors",
}


def _offer_nowhere(_: bytearray) -> OfferResult:
    return OfferResult.CLOSED


class HeldFrame:
    """A committed frame whose descriptor waits for older loans (C-076)."""

    __slots__ = ("meta_version", "seq", "trace_id")

    def __init__(self, seq: int, meta_version: int, trace_id: int) -> None:
        self.seq = seq
        self.meta_version = meta_version
        self.trace_id = trace_id

    def __lt__(self, other: HeldFrame) -> bool:
        return self.seq < other.seq


class Publisher(Handle):
    """What a Producer does with frames that the application hands over whole."""

    _attachment: ProducerAttachment

    def __init__(
        self,
        client: Client,
        attachment: ProducerAttachment,
        *,
        strict: bool = False,
        descriptor_timestamps: bool = False,
    ) -> None:
        super().__init__(client, attachment)
        self._strict = strict
        self._descriptor_timestamps = descriptor_timestamps
        self._lock = HandleLock()
        self._give = self._lock.give
        self._connection = attachment.connection
        self._counters = attachment.counters
        self._now = attachment.clock.monotonic_ns
        # What the conductor exchanges; publishing reads each once per frame (C-111).
        self._state: WriteState | None = None
        self._publication: Publication | None = None
        self._offer: Callable[[bytearray], OfferResult] = _offer_nowhere
        self._quick_offer: Callable[[bytearray], object] = _offer_nowhere
        self._published = 0
        self._private: tuple[PrivateDescriptors, ...] = ()
        self._progress: ProgressPolicy = NO_PROGRESS
        self._bells: tuple[Any, ...] = ()
        self._meta_version = 0
        self._max_loans = 1
        # Of the current mapping
        self._loans: dict[int, Loan] = {}  # by seq, ascending
        self._held: list[HeldFrame] = []  # a heap
        self._latest_timestamp_ns = 0
        self._logged_ns = -_LOG_PERIOD_NS

    # Publishing

    def publish(
        self,
        data: npt.NDArray[Any] | bytes | bytearray | memoryview,
        *,
        shape: tuple[int, ...] | int | None = None,
        dtype: npt.DTypeLike | Dtype | None = None,
        strides: tuple[int, ...] | None = None,
        timestamp_ns: int | None = None,
        trace_id: int = 0,
        seq: int | None = None,
    ) -> PublishResult:
        """Copy a frame into shared memory and tell the consumers; never blocks (C-070, C-071).

        `data` is an array, or bytes that `shape`, `dtype` and `strides` (in bytes) describe; bytes
        alone are a flat uint8 array. `timestamp_ns` is the capture time, now if not given; it must
        not go back. `seq` is the frame's sequence, the next one if not given; sequences left out
        are gaps to consumers (W-088). The result is true if the frame was committed and its
        descriptor sent, held behind open loans, or nobody was there to receive it.

        Raises ValueError for what cannot be described on the wire and for a `seq` below the next
        one; with `strict=True` also for a
        frame that no pool can hold, and LeaseLostError while there is no lease.

        >>> camera.publish(np.zeros((480, 640), np.uint16))  # doctest: +SKIP
        PublishResult(status=<PublishStatus.PUBLISHED: 'published'>, seq=0)
        """
        # Straight-line code with few calls: what a call costs here, every small frame pays.
        try:
            self._lock.take()
        except IndexError:
            self._lock.enter("this producer")
        except BaseException:  # Ctrl-C, on the way in
            self._give(True)
            raise
        try:
            state = self._state
            now = self._now()
            if state is None or now > self._connection.deadline_ns:
                return self._refuse_inactive()
            plan = state.plan
            if (
                plan is None
                or type(data) is not _ndarray
                or data.shape != plan.shape
                or data.dtype is not plan.dtype
                or (plan.strides is not None and data.strides != plan.strides)
                or shape is not None
                or dtype is not None
                or strides is not None
            ):
                data, plan = self._plan(state, data, shape, dtype, strides)
                if plan is None:
                    return self._refuse_size(state, data.nbytes)
            if timestamp_ns is None:
                timestamp_ns = now
            if timestamp_ns < self._latest_timestamp_ns:
                self._refuse_timestamp(timestamp_ns)
            if seq is None:
                seq = state.next_seq
            else:
                state.check_seq(seq)
            loans = self._loans
            if loans and seq - next(iter(loans)) >= state.nslots:
                self._counters.inc("loans_refused")
                return PublishResult(PublishStatus.LOANS_OPEN)
            self._latest_timestamp_ns = timestamp_ns
            # W-081 from here on
            index = seq & state.mask
            word_index, times_offset, payload = plan.slots[index]
            words = state.words
            state.next_seq = seq + 1
            words[word_index] = seq << 1
            nbytes = plan.nbytes
            if nbytes:
                if nbytes >= FENCE_FROM_BYTES:
                    full_fence()
                payload[...] = data
            meta_version = self._meta_version
            if state.written[index] is plan.header:
                _pack_times(state.ring, times_offset, timestamp_ns, meta_version)
            else:
                state.write_header(index, plan.header, timestamp_ns, meta_version)
            words[word_index] = seq << 1 | 1
            if loans:
                heapq.heappush(self._held, HeldFrame(seq, meta_version, trace_id))
                return PublishResult(PublishStatus.DEFERRED, seq)
            if (
                trace_id == state.trace_id
                and meta_version == state.meta_version
                and not self._descriptor_timestamps
            ):
                descriptor = state.descriptor
                state.seq_cell[0] = seq
            else:
                descriptor = self._descriptor(state, seq, meta_version, trace_id, now)
            try:
                accepted = self._quick_offer(descriptor) is True
            except Exception:  # noqa: BLE001 - `offer` says what it was
                accepted = False
            if accepted and not self._private:
                self._published += 1
                status = _PUBLISHED
            else:
                result = _ACCEPTED if accepted else self._offer(descriptor)
                status = self._settle(descriptor, result, now)
        finally:
            self._give(True)
        bells = self._bells
        if bells:  # as in `_ring`, without a call
            try:
                for bell in bells:
                    if not bell.value:
                        bell.release()
            except posix_ipc.Error:
                pass
        return PublishResult(status, seq)

    def _plan(
        self,
        state: WriteState,
        data: Any,
        shape: tuple[int, ...] | int | None,
        dtype: npt.DTypeLike | Dtype | None,
        strides: tuple[int, ...] | None,
    ) -> tuple[npt.NDArray[Any], FramePlan | None]:
        """The array to copy from and how to write it; no plan if no pool is large enough."""
        if shape is None and dtype is None and strides is None:
            array = as_array(data)
            if array is not None:
                return array, state.plan_for_array(array)
        layout, payload = described_payload(data, shape, dtype, strides)
        return np.frombuffer(payload, np.uint8), state.plan_for_bytes(layout, payload.nbytes)

    def _send(
        self, state: WriteState, seq: int, meta_version: int, trace_id: int, now: int
    ) -> PublishStatus:
        """Send the descriptor of a committed frame to the shared and the private streams."""
        descriptor = self._descriptor(state, seq, meta_version, trace_id, now)
        return self._settle(descriptor, self._offer(descriptor), now)

    def _descriptor(
        self, state: WriteState, seq: int, meta_version: int, trace_id: int, now: int
    ) -> bytearray:
        return state.descriptor_for(
            seq,
            timestamp_ns=now if self._descriptor_timestamps else None,
            meta_version=meta_version,
            trace_id=trace_id,
        )

    def _settle(self, descriptor: bytearray, result: OfferResult, now: int) -> PublishStatus:
        """Count what became of the descriptor; private streams, refusals."""
        for _ in range(_ADMIN_RETRIES):
            if result is not _ADMIN_ACTION:
                break
            result = self._offer(descriptor)
        reached = result is _ACCEPTED
        results = [result]
        for private in self._private:
            private_result = private.offer(descriptor, now)
            if private_result is None or private_result is _ACCEPTED:
                reached = True
            else:
                results.append(private_result)
        nobody = not reached and all(r is OfferResult.NOT_CONNECTED for r in results)
        for refused in results:
            if refused is not _ACCEPTED and not (nobody and refused is results[0]):
                self._counters.inc(_REFUSAL_COUNTERS[refused])
        if reached:
            self._published += 1
            return _PUBLISHED
        if nobody:
            self._counters.inc("drops_no_subscriber")
            return PublishStatus.NO_SUBSCRIBERS
        if now - self._logged_ns >= _LOG_PERIOD_NS:
            self._logged_ns = now
            _log.warning(
                "stream %d: descriptor not accepted (%s); some subscriber does not poll, or the"
                " channel's term length is too small",
                self.stream_id,
                results[0].value,
            )
        return PublishStatus.BACK_PRESSURED

    def _ring(self) -> None:
        """Wake sleeping consumers."""
        try:
            for bell in self._bells:
                if not bell.value:  # a bell that holds a ring belongs to a consumer that is awake
                    bell.release()
        except posix_ipc.Error:
            return  # let go of meanwhile, with its consumer

    # Refusals

    def _refuse_inactive(self) -> PublishResult:
        self._check_open()
        self._counters.inc("drops_not_active")
        self._client._wake()
        if self._strict:
            raise LeaseLostError(
                "no live lease", f"producer of stream {self.stream_id} is {self.state}"
            )
        return PublishResult(PublishStatus.NOT_ACTIVE)

    def _refuse_size(self, state: WriteState, nbytes: int) -> PublishResult:
        self._counters.inc("drops_too_large")
        if self._strict:
            raise ValueError(
                f"frame of {nbytes} bytes is larger than the largest slot of stream"
                f" {self.stream_id} ({state.largest_stride_bytes} bytes); configure a pool with a"
                " larger stride in the driver"
            )
        return PublishResult(PublishStatus.TOO_LARGE)

    def _refuse_timestamp(self, timestamp_ns: int) -> None:
        raise ValueError(
            f"timestamp_ns {timestamp_ns} is before that of the previous frame"
            f" ({self._latest_timestamp_ns}); capture times must not go back within an epoch"
        )

    # The conductor's side

    def _connect(self, publication: Publication | None) -> None:
        """Send descriptors by this publication from now on; None: nowhere."""
        with self._lock:
            self._publication = publication
            if publication is None:
                self._offer = self._quick_offer = _offer_nowhere
            else:
                self._offer = publication.offer
                self._quick_offer = publication.quick_offer

    def _install(self, state: WriteState, max_loans: int) -> None:
        with self._lock:
            self._max_loans = max_loans
            self._latest_timestamp_ns = 0
            self._state = state

    def _uninstall(self) -> None:
        with self._lock:
            state, self._state = self._state, None
            self._loans.clear()
            self._held.clear()
            if state is not None:
                state.close()

    def _retire(self, publication: Publication) -> None:
        """Close a publication that this handle may have been using."""
        with self._lock:
            publication.close()
