"""A consumer of the demo: receives every frame it can and compares its content with the source."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tensor_pool.client.client import Client
from tensor_pool.client.consumer.frame import Frame
from tensor_pool.protocol.errors import StaleFrameError

from .protocol import (
    ConsumerReport,
    EpochSeen,
    Manifest,
    SourceFrame,
    WorkerSettings,
    content_digest,
)

__all__ = ["Tally", "consume"]

_WAIT_S = 0.05
_ATTACH_TIMEOUT_S = 5.0
_TOO_OLD_NS = 150_000_000


class Tally:
    """The totals of one consumer."""

    def __init__(self, manifest: Manifest) -> None:
        self._source = manifest.frames
        self.frames = 0
        self.nbytes = 0
        self.mismatches = 0
        self.first_mismatch: str | None = None
        self.mapped_ns: list[int] = []
        self._epochs: dict[int, EpochSeen] = {}
        self._recent: list[int] = []
        self._latencies: list[int] = []

    def take(self, frame: Frame, received_ns: int) -> None:
        """Compare a frame with its source. One that is overwritten meanwhile is not counted here:
        the library counts it as a late drop."""
        try:
            digest = content_digest(frame.payload)
        except StaleFrameError:
            return
        if not frame.valid:
            return
        self.frames += 1
        self.nbytes += frame.nbytes
        seen = self._epochs.setdefault(frame.epoch, EpochSeen(epoch=frame.epoch))
        seen.frames += 1
        if seen.first_frame_ns is None:
            seen.first_frame_ns = received_ns
        if frame.timestamp_ns is not None:
            self._recent.append(received_ns - frame.timestamp_ns)
        if not self._is_as_sent(frame, digest):
            self.mismatches += 1

    def report(self, state: str, drops: dict[str, int], *, final: bool = False) -> ConsumerReport:
        """Totals so far."""
        self._latencies += self._recent
        latencies = sorted(self._latencies if final else self._recent)
        self._recent.clear()
        return ConsumerReport(
            monotonic_ns=time.monotonic_ns(),
            state=state,
            frames=self.frames,
            nbytes=self.nbytes,
            mismatches=self.mismatches,
            first_mismatch=self.first_mismatch,
            drops=drops,
            latency_p50_ns=_quantile(latencies, 0.50),
            latency_p99_ns=_quantile(latencies, 0.99),
            epochs=tuple(self._epochs.values()),
            mapped_ns=tuple(self.mapped_ns),
            final=final,
        )

    def _is_as_sent(self, frame: Frame, digest: str) -> bool:
        source = self._source[frame.trace_id - 1] if self._knows(frame.trace_id) else None
        found = (frame.shape, frame.dtype.str, frame.nbytes, digest)
        if frame.trace_id == 0:  # read from the ring, where no trace id stands (C-107)
            candidates = self._source
        else:
            candidates = (source,) if source is not None else ()
        if any(found == _expected(one) for one in candidates):
            return True
        if self.first_mismatch is None:
            name = source.file if source is not None else "no picture of the source"
            self.first_mismatch = (
                f"seq {frame.seq} of epoch {frame.epoch} is not {name}: {frame.shape} "
                f"{frame.dtype} {digest[:12]}"
            )
        return False

    def _knows(self, trace_id: int) -> bool:
        return 0 < trace_id <= len(self._source)


def consume(
    client: Client,
    settings: WorkerSettings,
    manifest: Manifest,
    stop: threading.Event,
    report: Callable[[ConsumerReport], None],
) -> None:
    """Receive until `stop`, and then what is still waiting."""
    tally = Tally(manifest)
    with client.consumer(
        settings.stream_id,
        attach_timeout=_ATTACH_TIMEOUT_S,
        on_active=lambda: tally.mapped_ns.append(time.monotonic_ns()),
    ) as consumer:
        report_due = time.monotonic()
        while True:
            stopping = stop.is_set()
            frame = consumer.receive(0.0 if stopping else _WAIT_S)
            if frame is not None:
                if not stopping and _is_old(frame):
                    # Too slow for the producer: rather the newest than always the next to be lost.
                    frame = consumer.latest() or frame
                tally.take(frame, time.monotonic_ns())
            elif stopping:
                break
            if time.monotonic() >= report_due:
                report_due = time.monotonic() + settings.report_interval_s
                report(tally.report(consumer.state, _drops(consumer.metrics())))
        drops = _drops(consumer.metrics())
    report(tally.report("Closed", drops, final=True))


def _is_old(frame: Frame) -> bool:
    sent_ns = frame.timestamp_ns
    return sent_ns is not None and time.monotonic_ns() - sent_ns > _TOO_OLD_NS


def _expected(source: SourceFrame) -> tuple[tuple[int, ...], str, int, str]:
    return source.shape, source.dtype, source.nbytes, source.digest


def _drops(metrics: dict[str, int]) -> dict[str, int]:
    """Frames missed, by kind."""
    return {
        name.removeprefix("drops_"): count
        for name, count in metrics.items()
        if name.startswith("drops_")
    }


def _quantile(ordered: list[int], share: float) -> int | None:
    """The value that `share` of all do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
