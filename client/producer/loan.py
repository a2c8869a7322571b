"""Loans: slots handed to the application to fill in place, without a copy (C-075 to C-077)."""

from __future__ import annotations

from typing import Any, NoReturn, Protocol, Self

import numpy as np
import numpy.typing as npt

from tensor_pool.protocol.errors import StaleLoanError
from tensor_pool.protocol.shm.tensor import TensorLayout

from .payload_layout import Description, FrameHeader
from .progress import ProgressReporter
from .results import PublishResult, PublishStatus
from .slot_writer import PoolSlots, SlotWriter
from .traces import Parents

__all__ = ["Loan"]


class LoanProducer(Protocol):
    """The producer of a loan, as far as loans use it."""

    def _owns(self, state: SlotWriter) -> bool: ...

    def _report_progress(self, reporter: ProgressReporter, nbytes: int) -> None: ...

    def _commit_loan(
        self,
        loan: Loan,
        state: SlotWriter,
        described: Description | FrameHeader,
        timestamp_ns: int | None,
        trace_id: int | None,
    ) -> PublishResult: ...

    def _abort_loan(self, loan: Loan, state: SlotWriter) -> None: ...

    def _traces_of(self, parents: Parents) -> tuple[int, ...]: ...

    def _trace_for(self, parents: tuple[int, ...]) -> int: ...

    def _link(self, result: PublishResult, trace_id: int, parents: tuple[int, ...]) -> None: ...


class Loan:
    """A slot to fill.

    Made by `producer.loan(shape, dtype)` it has an `array` to fill and leaving its `with` block
    without an exception commits it. Made by `producer.loan(nbytes)` it has only `buffer`, the whole
    slot, and is aborted on leaving the block unless `commit()` was called with what it holds.

    A typed loan taken while there is no lease is not live: its array is ordinary memory and its
    commit returns NOT_ACTIVE, so that a program need not ask before each frame.
    """

    __slots__ = (
        "_array",
        "_finished",
        "_layout",
        "_nbytes",
        "_pool",
        "_producer",
        "_progress_bytes",
        "_reporter",
        "_state",
        "buffer",
        "result",
        "seq",
        "timestamp_ns",
        "trace_id",
    )

    def __init__(
        self,
        producer: LoanProducer,
        state: SlotWriter | None,
        pool: PoolSlots | None,
        seq: int,
        *,
        nbytes: int,
        layout: TensorLayout | None,
        timestamp_ns: int,
        trace_id: int,
        reporter: ProgressReporter | None,
    ) -> None:
        self._producer = producer
        self._state = state
        self._pool = pool
        self._nbytes = nbytes
        self._layout = layout
        self._array: npt.NDArray[Any] | None = None
        self._finished = False
        self._progress_bytes = 0
        self._reporter = reporter
        self.seq = seq
        self.timestamp_ns = timestamp_ns
        self.trace_id = trace_id
        self.result: PublishResult | None = None
        """The result of the commit, once there was one."""
        if state is None or pool is None:
            self.buffer = memoryview(bytearray(nbytes))
        else:
            self.buffer = pool.slot(seq & state.mask)

    @property
    def is_live(self) -> bool:
        """True if a commit would send a frame: the lease of the loan is still the current one."""
        return not self._finished and self._state is not None and self._producer._owns(self._state)

    @property
    def pool_id(self) -> int | None:
        """The pool the slot belongs to."""
        return self._pool.pool_id if self._pool is not None else None

    @property
    def nbytes(self) -> int:
        """Bytes asked for."""
        return self._nbytes

    @property
    def layout(self) -> TensorLayout | None:
        """Type and shape of a typed loan."""
        return self._layout

    @property
    def array(self) -> npt.NDArray[Any]:
        """The slot as a writable array of the loan's shape and dtype; of bytes for a raw loan."""
        if self._array is None:
            layout = self._layout
            if layout is None:
                self._array = np.frombuffer(self.buffer, np.uint8)[: self._nbytes]
            elif 0 in layout.shape:
                self._array = np.empty(layout.shape, layout.numpy_dtype)
            else:
                self._array = np.ndarray(
                    layout.shape, layout.numpy_dtype, buffer=self.buffer, strides=layout.strides
                )
        return self._array

    def progress(self, nbytes: int) -> None:
        """Report to interested consumers that the first `nbytes` bytes are filled (C-080).

        Raises ValueError if `nbytes` goes back or exceeds the loan. Costs nothing if no consumer
        asked.
        """
        if nbytes < self._progress_bytes or nbytes > len(self.buffer):
            raise ValueError(
                f"progress of {nbytes} bytes: must be between {self._progress_bytes} (reported"
                f" before) and {len(self.buffer)} (the loan)"
            )
        self._progress_bytes = nbytes
        if self._reporter is not None and self.is_live:
            self._producer._report_progress(self._reporter, nbytes)

    def commit(
        self,
        nbytes_used: int | None = None,
        shape: tuple[int, ...] | int | None = None,
        dtype: npt.DTypeLike | None = None,
        *,
        strides: tuple[int, ...] | None = None,
        timestamp_ns: int | None = None,
        trace_id: int | None = None,
        parents: Parents | None = None,
    ) -> PublishResult:
        """Publish what was filled in.

        A typed loan needs no arguments. A raw one is `nbytes_used` bytes (all of the loan if not
        given) of `shape` and `dtype`; without these, a flat uint8 array. `parents` are those of
        `publish` (S-152). Raises StaleLoanError if
        the loan was finished before or its lease is gone, ValueError for a shape that does not fit.
        """
        if self._finished:
            raise StaleLoanError("this loan was committed or aborted already")
        if self._state is None:
            self._finished = True
            self.result = PublishResult(PublishStatus.NOT_ACTIVE)
            return self.result
        described = (nbytes_used, shape, dtype, strides)
        traces = self._producer._traces_of(parents) if parents is not None else None
        if traces is not None and trace_id is None:
            trace_id = (self.trace_id if not traces else 0) or self._producer._trace_for(traces)
        self.result = self._producer._commit_loan(
            self, self._state, described, timestamp_ns, trace_id
        )
        if traces is not None:
            self._producer._link(self.result, trace_id or 0, traces)
        return self.result

    def commit_as(self, header: FrameHeader) -> PublishResult:
        """Publish a raw loan under the header of another frame, every field of it kept.

        Raises StaleLoanError as `commit` does, and ValueError for more bytes than the loan has.
        """
        if self._finished or self._state is None:
            raise StaleLoanError("this loan was committed or aborted already, or never had a lease")
        if header.nbytes > len(self.buffer):
            raise ValueError(f"header of {header.nbytes} bytes, the loan has {len(self.buffer)}")
        self.result = self._producer._commit_loan(
            self, self._state, header, header.timestamp_ns, header.trace_id
        )
        return self.result

    def abort(self) -> None:
        """Give the slot up; consumers see a gap of one. Does nothing on a finished loan."""
        if not self._finished:
            self._finished = True
            if self._state is not None:
                self._producer._abort_loan(self, self._state)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._finished:
            return
        if kind is not None or self._layout is None:
            self.abort()
        else:
            try:
                self.commit()
            except StaleLoanError:  # the lease went while the slot was being filled
                self._finished = True
                self.result = PublishResult(PublishStatus.NOT_ACTIVE)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Loan cannot be pickled: it is a piece of this process's shared memory")

    def _finish(self) -> None:
        self._finished = True
