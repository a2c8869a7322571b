"""Producer: publish arrays, fill slots in place, describe the source."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, overload

import numpy.typing as npt

from tensor_pool.protocol.errors import LoanLimitError, StaleLoanError
from tensor_pool.protocol.shm.commit_word import full_fence
from tensor_pool.protocol.shm.slot import header_image
from tensor_pool.protocol.shm.tensor import TensorLayout, dtype_of, tensor_layout
from tensor_pool.protocol.wire.in_place import NULL_U64

from ..attachment.connection_machine import NEVER
from ..blobs import blob_messages
from ..metadata import Metadata, MetadataValue
from .loan import Loan
from .payload_layout import Description, FrameHeader, described_loan
from .progress import ProgressCap, ProgressReporter
from .publisher import HeldFrame, Publisher
from .results import PublishResult, PublishStatus
from .write_state import PoolSlots, WriteState

if TYPE_CHECKING:
    from ..client import Client
    from .attachment import ProducerAttachment

__all__ = ["Producer"]


class Producer(Publisher):
    """Publishes frames of one stream; made by `client.producer(...)`.

    One thread at a time may use it. It survives the loss of lease, driver and media driver: until a
    new lease is there, publishing says NOT_ACTIVE.
    """

    def __init__(
        self,
        client: Client,
        attachment: ProducerAttachment,
        *,
        strict: bool = False,
        descriptor_timestamps: bool = False,
    ) -> None:
        super().__init__(
            client, attachment, strict=strict, descriptor_timestamps=descriptor_timestamps
        )
        self._progress_cap = ProgressCap()
        self.metadata = Metadata(attachment.clock, self._on_metadata)
        """Name, summary and attributes of the source; see `set_metadata`."""

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
            timestamp_ns = now
        if timestamp_ns < self._latest_timestamp_ns:
            self._refuse_timestamp(timestamp_ns)
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
        if len(self._loans) >= self._max_loans:
            self._counters.inc("loans_refused")
            raise LoanLimitError(
                f"{len(self._loans)} loans are open and max_loans is {self._max_loans}; commit or"
                " abort one first"
            )
        if seq is None:
            seq = state.next_seq
        else:
            state.check_seq(seq)
        if self._loans and seq - next(iter(self._loans)) >= state.nslots:
            self._counters.inc("loans_refused")
            raise LoanLimitError(
                f"loan {next(iter(self._loans))} is open and the ring of {state.nslots} slots has"
                " come round to it; commit or abort it first"
            )
        self._latest_timestamp_ns = timestamp_ns
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
        self._loans[seq] = loan
        return loan

    def _owns(self, state: WriteState) -> bool:
        return self._state is state

    def _report_progress(self, reporter: ProgressReporter, nbytes: int) -> None:
        reporter.advance(nbytes, self._now())

    def _commit_loan(
        self,
        loan: Loan,
        state: WriteState,
        described: Description | FrameHeader,
        timestamp_ns: int | None,
        trace_id: int | None,
    ) -> PublishResult:
        self._lock.enter("this producer")
        try:
            now = self._now()
            if self._state is not state or loan.seq not in self._loans:
                loan._finish()
                raise StaleLoanError(
                    f"the lease of loan {loan.seq} is gone; its frame reaches nobody"
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
            del self._loans[loan.seq]
            if loan._reporter is not None:
                loan._reporter.complete(nbytes)
                self._counters.inc("progress_sent", loan._reporter.sent)
            held = HeldFrame(
                loan.seq, meta_version, loan.trace_id if trace_id is None else trace_id
            )
            heapq.heappush(self._held, held)
            status = self._release_held(state, now).get(loan.seq, PublishStatus.DEFERRED)
        finally:
            self._lock.leave()
        if self._bells:
            self._ring()
        return PublishResult(status, loan.seq)

    def _abort_loan(self, loan: Loan, state: WriteState) -> None:
        self._lock.enter("this producer")
        try:
            if self._state is state and self._loans.pop(loan.seq, None) is not None:
                self._counters.inc("loans_aborted")
                self._release_held(state, self._now())
        finally:
            self._lock.leave()

    def _release_held(self, state: WriteState, now: int) -> dict[int, PublishStatus]:
        """Send every held descriptor that no open loan precedes; what became of each."""
        oldest_open = next(iter(self._loans), NEVER)
        sent: dict[int, PublishStatus] = {}
        while self._held and self._held[0].seq < oldest_open:
            held = heapq.heappop(self._held)
            sent[held.seq] = self._send(state, held.seq, held.meta_version, held.trace_id, now)
        return sent

    # Metadata

    def set_metadata(
        self,
        name: str,
        summary: str = "",
        attributes: dict[str, MetadataValue] | None = None,
        *,
        version: int | None = None,
    ) -> None:
        """Describe the source to consumers: a name, a summary, and attributes by key (C-081).

        Values are str, int or bytes, or a pair (format, value) with a media type. `version` is for
        one that passes on the metadata of another source: at least the current version, 1 more if
        not given. Raises ValueError for a lower one.
        """
        self._check_open()
        self.metadata.set(name, summary, attributes or {}, version=version)

    def set_attribute(self, key: str, format: str, value: str | int | bytes) -> None:  # noqa: A002
        """Set or replace one attribute; `format` is a media type (W-195)."""
        self._check_open()
        self.metadata.set_attribute(key, format, value)

    def delete_attribute(self, key: str) -> None:
        """Remove one attribute; KeyError if there is none of that name."""
        self._check_open()
        self.metadata.delete_attribute(key)

    def send_blob(self, data: bytes, *, blob_type: int = 0, checksum: bool = True) -> None:
        """Send a larger piece of metadata in chunks, without repair (W-197).

        It belongs to the current `metadata_version`; who was not listening misses it.
        """
        self._check_open()
        messages = blob_messages(
            bytes(data),
            stream_id=self.stream_id,
            meta_version=self.metadata_version,
            blob_type=blob_type,
            checksum=checksum,
        )
        self._attachment.request(lambda: self._attachment.send_blob(messages))

    @property
    def metadata_version(self) -> int:
        """Raised by 1 with each change; 0 while nothing was set (W-190)."""
        return self.metadata.version

    def _on_metadata(self, version: int) -> None:
        self._meta_version = version
        self._attachment.request(self._attachment.announce_metadata)
