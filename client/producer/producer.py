"""Producer: publish arrays, fill slots in place, describe the source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import posix_ipc

from tensor_pool.protocol.errors import LeaseLostError, StaleLoanError
from tensor_pool.protocol.shm.commit_word import FENCE_FROM_BYTES, full_fence
from tensor_pool.protocol.shm.slot_header import SLOT_TIMES, header_image
from tensor_pool.protocol.shm.tensor import TensorLayout, dtype_of, tensor_layout
from tensor_pool.protocol.transport.ports import Publication
from tensor_pool.protocol.wire import Dtype
from tensor_pool.protocol.wire.frame_descriptor import NULL_U64

from ..handle import HandleClient, HandleLock
from .attachment import ProducerAttachment
from .batch import Batch
from .described_source import DescribedSource
from .descriptor_streams import LOG_PERIOD_NS, DescriptorStreams
from .known_consumers import AssignedDescriptors
from .loan import Loan
from .open_loans import HeldFrame, OpenLoans
from .payload_layout import (
    Description,
    FrameHeader,
    as_array,
    described_loan,
)
from .progress import NO_PROGRESS, ProgressCap, ProgressPolicy, ProgressReporter
from .results import PublishResult, PublishResults, PublishStatus
from .slot_writer import PoolSlots, SlotWriter, checked_u64
from .traces import Parents, TraceIds, parent_ids, some_have_no_trace

__all__ = ["Producer"]

_log = logging.getLogger("tensor_pool.client")
_PUBLISHED = PublishStatus.PUBLISHED
_ndarray = np.ndarray
_pack_times = SLOT_TIMES.pack_into
_UNMAPPED = (IndexError, TypeError, ValueError)


class Producer(DescribedSource):
    """Publishes frames of one stream; made by `client.producer(...)`.

    One thread at a time may use it. It survives the loss of lease, driver and media driver: until a
    new lease is there, publishing returns NOT_ACTIVE.
    """

    _attachment: ProducerAttachment

    def __init__(
        self,
        client: HandleClient,
        attachment: ProducerAttachment,
        *,
        strict: bool = False,
        descriptor_timestamps: bool = False,
        trace: bool = False,
    ) -> None:
        super().__init__(client, attachment)
        self._strict = strict
        self._descriptor_timestamps = descriptor_timestamps
        self._lock = HandleLock()
        self._give = self._lock.give
        self._connection = attachment.connection
        self._counters = attachment.counters
        self._now = attachment.clock.monotonic_ns
        # The conductor exchanges these; publishing reads each once per frame (C-111).
        self._state: SlotWriter | None = None
        self._descriptors = DescriptorStreams(lambda: self.stream_id, self._counters)
        self._progress: ProgressPolicy = NO_PROGRESS
        self._bells: tuple[Any, ...] = ()
        # Of the current mapping
        self._loans = OpenLoans(self._counters)
        self._size_logged_ns = -LOG_PERIOD_NS
        self._progress_cap = ProgressCap()
        self._trace_ids = TraceIds(attachment.clock.realtime_ns)
        self._mint: Callable[[], int] | None = self._new_trace if trace else None

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
        parents: Parents | None = None,
        seq: int | None = None,
    ) -> PublishResult:
        """Copy a frame into shared memory and notify the consumers; never blocks (C-070, C-071).

        `data` is an array, or bytes that `shape`, `dtype` and `strides` (in bytes) describe; bytes
        alone are a flat uint8 array. `timestamp_ns` is the capture time, now if not given; it must
        not go back. `parents` are the frames, or trace ids, that this one was made from: it gets
        their trace, a new one linked to them if they are several, and a new one if they have none
        (S-152). `seq` is the frame's sequence, the next one if not given; sequences left out
        are gaps to consumers (W-088). The result is true if the frame was committed and its
        descriptor sent, held behind open loans, or no consumer was there to receive it.

        Raises ValueError for data that cannot be described on the wire and for a `seq` below the
        next one; with `strict=True` also for a frame that no pool can hold, and LeaseLostError
        while there is no lease.

        >>> camera.publish(np.zeros((480, 640), np.uint16))  # doctest: +SKIP
        PublishResult(status=<PublishStatus.PUBLISHED: 'published'>, seq=0)
        """
        # Straight-line code with few calls: what a call costs here, every small frame pays.
        if parents is not None:
            traces = self._traces_of(parents)
            given = trace_id or self._trace_for(traces)
            result = self.publish(
                data,
                shape=shape,
                dtype=dtype,
                strides=strides,
                timestamp_ns=timestamp_ns,
                trace_id=given,
                seq=seq,
            )
            self._link(result, given, traces)
            return result
        if type(data) is not _ndarray and shape is None and dtype is None and strides is None:
            # Before the lock: the application's `__array__` must not hold up the conductor.
            converted = as_array(data)
            data = data if converted is None else converted
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
                data, plan = state.plan_for(data, shape, dtype, strides)
                if plan is None:
                    return self._refuse_size(state, data.nbytes)
            if timestamp_ns is None:
                latest_ns = state.latest_timestamp_ns
                timestamp_ns = now if now > latest_ns else latest_ns
            else:
                timestamp_ns = state.checked_timestamp(timestamp_ns)
            if trace_id:
                trace_id = checked_u64("trace_id", trace_id)
            elif self._mint is not None:
                trace_id = self._mint()
            if seq is None:
                seq = state.next_seq
            else:
                state.check_seq(seq)
            loans = self._loans
            if loans.by_seq and loans.hold_up(seq, state.nslots):
                return PublishResult(PublishStatus.LOANS_OPEN)
            state.latest_timestamp_ns = timestamp_ns
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
            if loans.by_seq:
                loans.hold(HeldFrame(seq, meta_version, trace_id))
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
            streams = self._descriptors
            first: object = False
            second: object = False
            try:
                first = streams.first_offer(descriptor)
                other = streams.second_offer
                second = True if other is None else other(descriptor)
            except Exception:  # noqa: BLE001 - `offer` returns what it was
                pass
            if (
                first is True
                and second in streams.not_refused
                and not streams.private
                and not streams.refused
            ):
                streams.published += 1
                status = _PUBLISHED
            else:
                status = streams.settle(descriptor, (first is True, second is True), now)
        except _UNMAPPED:
            self._check_open()  # closed further up this call stack, by a signal handler
            raise
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

    def publish_many(
        self,
        frames: npt.NDArray[Any] | Iterable[npt.NDArray[Any] | bytes | bytearray | memoryview],
        *,
        timestamps_ns: Sequence[int] | npt.NDArray[np.integer[Any]] | None = None,
        trace_ids: Sequence[int] | npt.NDArray[np.integer[Any]] | None = None,
    ) -> PublishResults:
        """Publish several frames at once, as `publish` does one by one; never blocks (C-085).

        `frames` is an array whose first axis counts them, or a list of arrays or bytes, which may
        differ in shape and type. `timestamps_ns` are their capture times, now for all of them if
        not given; `trace_ids` their traces. The result is a sequence of PublishResult.

        Small frames cost a fraction of what `publish` takes for each. Each has a sequence and a
        descriptor of its own, so consumers receive them like any others.

        Raises ValueError for data that cannot be described on the wire and for times that go back,
        before a frame is written; with `strict=True` also for a frame that no pool can hold, and
        LeaseLostError while there is no lease.

        >>> camera.publish_many(np.zeros((64, 16), np.float32))[0]  # doctest: +SKIP
        PublishResult(status=<PublishStatus.PUBLISHED: 'published'>, seq=0)
        """
        batch = Batch(self, frames, timestamps_ns, trace_ids)
        self._lock.enter("this producer")
        try:
            return batch.publish()
        except _UNMAPPED:
            self._check_open()  # closed further up this call stack, by a signal handler
            raise
        finally:
            self._give(True)

    def _send(
        self, state: SlotWriter, seq: int, meta_version: int, trace_id: int, now: int
    ) -> PublishStatus:
        """Send the descriptor of a committed frame to every descriptor stream."""
        descriptor = self._descriptor(state, seq, meta_version, trace_id, now)
        return self._descriptors.send(descriptor, now)

    def _descriptor(
        self, state: SlotWriter, seq: int, meta_version: int, trace_id: int, now: int
    ) -> bytearray:
        return state.descriptor_for(
            seq,
            timestamp_ns=now if trace_id or self._descriptor_timestamps else None,
            meta_version=meta_version,
            trace_id=trace_id,
        )

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

    def _refuse_size(self, state: SlotWriter, nbytes: int) -> PublishResult:
        self._counters.inc("drops_too_large")
        text = (
            f"frame of {nbytes} bytes is larger than the largest slot of stream"
            f" {self.stream_id} ({state.largest_stride_bytes} bytes); configure a pool with a"
            f" stride_bytes of {nbytes} or more in the driver"
        )
        if self._strict:
            raise ValueError(text)
        now = self._now()
        if now - self._size_logged_ns >= LOG_PERIOD_NS:
            self._size_logged_ns = now
            _log.warning("%s (%d so far)", text, self._counters["drops_too_large"])
        return PublishResult(PublishStatus.TOO_LARGE)

    # Loans

    @overload
    def loan(
        self,
        shape: int,
        *,
        timestamp_ns: int | None = None,
        trace_id: int = 0,
        seq: int | None = None,
    ) -> Loan | None: ...

    @overload
    def loan(
        self,
        shape: tuple[int, ...] | int,
        dtype: npt.DTypeLike,
        *,
        timestamp_ns: int | None = None,
        trace_id: int = 0,
        seq: int | None = None,
    ) -> Loan: ...

    def loan(
        self,
        shape: tuple[int, ...] | int,
        dtype: npt.DTypeLike | None = None,
        *,
        timestamp_ns: int | None = None,
        trace_id: int = 0,
        seq: int | None = None,
    ) -> Loan | None:
        """Lend a slot to be filled in place (C-075).

        `loan(shape, dtype)` gives a typed Loan: fill `loan.array` in a `with` block; leaving it
        commits. It is a ValueError if no pool can hold it, and without a lease the loan is not live
        (see Loan). `loan(nbytes)` gives a raw Loan, or None if no pool can hold it or there is no
        lease.

        `seq` is the frame's sequence, the next one if not given (W-088).

        Raises LoanLimitError if `max_loans` are open, or the oldest one holds up the ring (C-076),
        and ValueError for a `seq` below the next one.

        >>> with camera.loan((480, 640), np.uint16) as frame:  # doctest: +SKIP
        ...     grab_into(frame.array)
        """
        layout: TensorLayout | None = None
        if dtype is not None:
            layout = tensor_layout(dtype_of(dtype), (shape,) if isinstance(shape, int) else shape)
            nbytes = layout.extent
        elif isinstance(shape, int) and shape >= 0:
            nbytes = shape
        else:
            raise ValueError(f"loan({shape!r}): give a dtype with a shape, or a size in bytes")
        self._lock.enter("this producer")
        try:
            return self._lend(nbytes, layout, timestamp_ns, trace_id, seq)
        finally:
            self._lock.leave()

    def _lend(
        self,
        nbytes: int,
        layout: TensorLayout | None,
        timestamp_ns: int | None,
        trace_id: int,
        seq: int | None,
    ) -> Loan | None:
        self._check_open()
        state = self._state
        now = self._now()
        if timestamp_ns is None:
            timestamp_ns = max(now, state.latest_timestamp_ns) if state is not None else now
        elif state is not None:
            timestamp_ns = state.checked_timestamp(timestamp_ns)
        else:
            timestamp_ns = checked_u64("timestamp_ns", timestamp_ns)
        trace_id = checked_u64("trace_id", trace_id)
        if not trace_id and self._mint is not None:
            trace_id = self._mint()
        pool: PoolSlots | None = None
        if state is None or now > self._connection.deadline_ns:
            self._refuse_inactive()
            if layout is None:
                return None
            state = None
        else:
            pool = state.pool_for(nbytes)
            if pool is None:
                result = self._refuse_size(state, nbytes)
                if layout is None:
                    return None
                raise ValueError(f"loan of {nbytes} bytes: {result.status.value}")
        if state is None or pool is None:
            return Loan(
                self,
                None,
                None,
                -1,
                nbytes=nbytes,
                layout=layout,
                timestamp_ns=timestamp_ns,
                trace_id=trace_id,
                reporter=None,
            )
        if seq is None:
            seq = state.next_seq
        else:
            state.check_seq(seq)
        self._loans.require_room(seq, state.nslots)
        state.latest_timestamp_ns = timestamp_ns
        state.begin(seq)
        full_fence()  # the caller may fill the loan with any instruction there is
        policy = self._progress
        reporter = None
        if policy.targets:
            reporter = ProgressReporter(
                policy,
                self._progress_cap,
                stream_id=self.stream_id,
                epoch=state.epoch,
                seq=seq,
                layout=layout,
                now=now,
            )
        loan = Loan(
            self,
            state,
            pool,
            seq,
            nbytes=nbytes,
            layout=layout,
            timestamp_ns=timestamp_ns,
            trace_id=trace_id,
            reporter=reporter,
        )
        self._loans.by_seq[seq] = loan
        return loan

    def _owns(self, state: SlotWriter) -> bool:
        return self._state is state

    def _report_progress(self, reporter: ProgressReporter, nbytes: int) -> None:
        reporter.advance(nbytes, self._now())

    def _commit_loan(
        self,
        loan: Loan,
        state: SlotWriter,
        described: Description | FrameHeader,
        timestamp_ns: int | None,
        trace_id: int | None,
    ) -> PublishResult:
        if timestamp_ns is not None:
            timestamp_ns = checked_u64("timestamp_ns", timestamp_ns)
        if trace_id is not None:
            trace_id = checked_u64("trace_id", trace_id)
        self._lock.enter("this producer")
        try:
            now = self._now()
            if self._state is not state or loan.seq not in self._loans.by_seq:
                loan._finish()
                raise StaleLoanError(
                    f"the lease of loan {loan.seq} is gone; its frame reaches no consumer"
                )
            if isinstance(described, FrameHeader):
                image, nbytes = described.image, described.nbytes
                timestamp_ns = NULL_U64 if described.timestamp_ns is None else timestamp_ns
                meta_version = described.meta_version or 0
            else:
                layout, nbytes = described_loan(
                    loan.layout, loan.nbytes, len(loan.buffer), *described
                )
                image, meta_version = header_image(layout), self._meta_version
            if now > self._connection.deadline_ns:
                loan._finish()
                return self._refuse_inactive()
            state.commit(
                loan.seq,
                (nbytes, loan.pool_id or 0, image),
                timestamp_ns=loan.timestamp_ns if timestamp_ns is None else timestamp_ns,
                meta_version=meta_version,
            )
            loan._finish()
            del self._loans.by_seq[loan.seq]
            if loan._reporter is not None:
                loan._reporter.complete(nbytes)
                self._counters.inc("progress_sent", loan._reporter.sent)
            if trace_id is None:
                trace_id = loan.trace_id
            if self._loans.none_wait:
                status = self._send(state, loan.seq, meta_version, trace_id, now)
            else:
                self._loans.hold(HeldFrame(loan.seq, meta_version, trace_id))
                status = self._send_held(state, now).get(loan.seq, PublishStatus.DEFERRED)
        finally:
            self._lock.leave()
        if self._bells:
            self._ring()
        return PublishResult(status, loan.seq)

    # Traces

    def _new_trace(self) -> int:
        grant = self._connection.grant
        return self._trace_ids.next((grant.node_id or 0) if grant is not None else 0)

    def _traces_of(self, parents: Parents) -> tuple[int, ...]:
        """Return the distinct traces of parents; count a frame of which a parent has none."""
        given = tuple(parents)
        traces = parent_ids(given)
        if some_have_no_trace(given):
            self._counters.inc("trace_parents_missing")
        return traces

    def _trace_for(self, parents: tuple[int, ...]) -> int:
        """Return the trace of a frame with these parents (S-152)."""
        return parents[0] if len(parents) == 1 else self._new_trace()

    def _link(self, result: PublishResult, trace_id: int, parents: tuple[int, ...]) -> None:
        """Send which traces a frame was made from, after its descriptor (S-153)."""
        state = self._state
        if result.seq is None or state is None or len(parents) < 2:
            return
        self._attachment.link_traces(state.epoch, result.seq, trace_id, parents)

    def _abort_loan(self, loan: Loan, state: SlotWriter) -> None:
        self._lock.enter("this producer")
        try:
            if self._state is state and self._loans.by_seq.pop(loan.seq, None) is not None:
                self._counters.inc("loans_aborted")
                self._send_held(state, self._now())
        finally:
            self._lock.leave()

    def _send_held(self, state: SlotWriter, now: int) -> dict[int, PublishStatus]:
        """Send every frame that no open loan precedes; return the status of each by sequence."""
        return {
            held.seq: self._send(state, held.seq, held.meta_version, held.trace_id, now)
            for held in self._loans.releasable()
        }

    @property
    def epoch(self) -> int:
        """Epoch that is published into; 0 without a lease."""
        state = self._state
        return state.epoch if state is not None else 0

    @property
    def largest_frame_bytes(self) -> int:
        """Bytes of the largest slot; 0 without a lease."""
        state = self._state
        return state.largest_stride_bytes if state is not None else 0

    # Consumers

    @property
    def consumers(self) -> int:
        """Consumers that have mapped the current epoch and read its descriptors."""
        return self._attachment.count_readers()

    def wait_for_consumers(self, n: int = 1, timeout: float | None = None) -> bool:
        """Wait until `n` consumers receive what is published, at most `timeout` seconds.

        False at the timeout. A frame published earlier reaches only the consumers that are there.

        >>> if camera.wait_for_consumers(2, timeout=10):  # doctest: +SKIP
        ...     camera.publish(image)
        """
        clock_ns = self._client.clock.monotonic_ns
        deadline_ns = None if timeout is None else clock_ns() + round(timeout * 1e9)
        while self.consumers < n:
            self._check_open()
            if deadline_ns is not None and clock_ns() >= deadline_ns:
                return False
            self._client.run_once()
        return True

    def _give_up_waiting(self) -> None:
        self._lock.gives_up = True

    # The conductor's side

    def _connect(self, publication: Publication | None) -> None:
        """Send descriptors by this shared publication from now on; None: nowhere."""
        with self._lock:
            self._descriptors.connect(publication)

    def _assign(
        self, wide: AssignedDescriptors | None, private: tuple[AssignedDescriptors, ...]
    ) -> None:
        """Send descriptors on these streams too from now on."""
        with self._lock:
            self._descriptors.assign(wide, private)

    def _install(self, state: SlotWriter, max_loans: int) -> None:
        with self._lock:
            self._loans.limit = max_loans
            self._state = state

    def _uninstall(self) -> None:
        with self._lock:
            state, self._state = self._state, None
            self._loans.clear()
            if state is not None:
                state.close()

    def _retire(self, publication: Publication) -> None:
        """Close a publication that this handle may have been using."""
        with self._lock:
            publication.close()
