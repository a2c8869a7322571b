"""Telling consumers how far a frame is filled while it is being written (W-180 to W-183).

The policy is the finest that any interested consumer asks for, bounded by the producer's floors; a
loan's reporter applies it. Only the newest figure matters, so intermediate ones are skipped.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tensor_pool.protocol.shm.tensor import TensorLayout
from tensor_pool.protocol.transport.ports import OfferResult, Publication
from tensor_pool.protocol.wire import FrameProgress, FrameProgressState, MajorOrder, encode

from ..config import ClientConfig
from .known_consumers import ConsumerEntry

__all__ = ["NO_PROGRESS", "ProgressCap", "ProgressPolicy", "ProgressReporter", "policy_for"]

_DEFAULT_INTERVAL_US = 250
_DEFAULT_BYTES_DELTA = 65536
_MAX_PER_SECOND = 2000
_SECOND_NS = 1_000_000_000


class ProgressPolicy(msgspec.Struct, frozen=True):
    """The times at which PROGRESS is due, and the targets of every FrameProgress."""

    interval_ns: int
    bytes_delta: int
    major_delta_units: int  # 0: unknown
    targets: tuple[Publication, ...] = ()

    def delta_for(self, layout: TensorLayout | None) -> int:
        """Bytes that a frame must advance by; by rows or columns where the layout is known."""
        if layout is None or not self.major_delta_units:
            return self.bytes_delta
        stride = layout.strides[0 if layout.order is MajorOrder.ROW else -1]
        return min(self.bytes_delta, self.major_delta_units * stride)


NO_PROGRESS = ProgressPolicy(0, 0, 0)


def policy_for(
    interested: Iterable[ConsumerEntry], config: ClientConfig, targets: tuple[Publication, ...]
) -> ProgressPolicy:
    """Return the policy for the consumers that asked for progress (W-182)."""
    hellos = [entry.hello for entry in interested if entry.hello is not None]
    intervals = [_hint(h.progress_interval_us, _DEFAULT_INTERVAL_US) for h in hellos]
    deltas = [_hint(h.progress_bytes_delta, _DEFAULT_BYTES_DELTA) for h in hellos]
    units = [h.progress_major_delta_units for h in hellos if h.progress_major_delta_units]
    return ProgressPolicy(
        max(min(intervals, default=_DEFAULT_INTERVAL_US), config.progress_interval_us) * 1000,
        max(min(deltas, default=_DEFAULT_BYTES_DELTA), config.progress_bytes),
        max(min(units), config.progress_units) if units else 0,
        targets,
    )


def _hint(hint: int | None, default: int) -> int:
    return default if hint is None else hint


class ProgressCap:
    """At most 2000 PROGRESS messages a second from one stream (W-181)."""

    def __init__(self) -> None:
        self._window_ns = 0
        self._sent = 0

    def allows(self, now: int) -> bool:
        """Return whether one more may go now; counts it if so."""
        if now - self._window_ns >= _SECOND_NS:
            self._window_ns = now
            self._sent = 0
        if self._sent >= _MAX_PER_SECOND:
            return False
        self._sent += 1
        return True


class ProgressReporter:
    """The FrameProgress messages of one frame, in order STARTED, PROGRESS..., COMPLETE."""

    __slots__ = (
        "_cap",
        "_delta",
        "_epoch",
        "_last_bytes",
        "_last_ns",
        "_policy",
        "_seq",
        "_stream_id",
        "sent",
    )

    def __init__(
        self,
        policy: ProgressPolicy,
        cap: ProgressCap,
        *,
        stream_id: int,
        epoch: int,
        seq: int,
        layout: TensorLayout | None,
        now: int,
    ) -> None:
        self._policy = policy
        self._cap = cap
        self._stream_id = stream_id
        self._epoch = epoch
        self._seq = seq
        self._delta = policy.delta_for(layout)
        self._last_ns = now
        self._last_bytes = 0
        self.sent = 0
        self._send(FrameProgressState.STARTED, 0)

    def advance(self, filled_bytes: int, now: int) -> None:
        """Report a fill if it is time for one."""
        if (
            now - self._last_ns >= self._policy.interval_ns
            and filled_bytes - self._last_bytes >= self._delta
            and self._cap.allows(now)
        ):
            self._last_ns = now
            self._last_bytes = filled_bytes
            self._send(FrameProgressState.PROGRESS, filled_bytes)

    def complete(self, filled_bytes: int) -> None:
        """The frame was committed with this many bytes."""
        self._send(FrameProgressState.COMPLETE, filled_bytes)

    def _send(self, state: FrameProgressState, filled_bytes: int) -> None:
        message = encode(
            FrameProgress(
                stream_id=self._stream_id,
                epoch=self._epoch,
                seq=self._seq,
                payload_bytes_filled=filled_bytes,
                state=state,
            )
        )
        for target in self._policy.targets:
            if target.offer(message) is OfferResult.ACCEPTED:
                self.sent += 1
