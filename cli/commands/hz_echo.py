"""`hz` and `echo`: what comes on a stream, in numbers."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from typing import Any

import msgspec
import numpy as np

from tensor_pool.client.consumer.frame import Frame
from tensor_pool.protocol.errors import FrameOverwrittenError, StaleFrameError

from ..pool_view.tables import bytes_text
from ..support.connection_options import Connection
from ..support.exit_status import FAILED, OK, complain
from ..support.signals import Stop
from ._attach import attach_consumer, lost_frames

__all__ = ["FrameLine", "Rhythm", "echo_stream", "measure_rate"]

_RECEIVE_S = 0.1
_REPORT_PERIOD_S = 1.0


class Rhythm(msgspec.Struct):
    """The times and sizes of the latest frames; times in ns."""

    times_ns: deque[int]
    sizes: deque[int]

    @classmethod
    def over(cls, window: int) -> Rhythm:
        """Of at most `window` frames."""
        return cls(deque(maxlen=window), deque(maxlen=window))

    def add(self, time_ns: int, nbytes: int) -> None:
        """One more frame; one from before the latest begins a new series (a new epoch)."""
        if self.times_ns and time_ns < self.times_ns[-1]:
            self.times_ns.clear()
            self.sizes.clear()
        self.times_ns.append(time_ns)
        self.sizes.append(nbytes)

    def figures(self) -> dict[str, float] | None:
        """Rate, periods in ms and bytes a second; None for less than two frames.

        >>> rhythm = Rhythm.over(10)
        >>> for time_ns in (0, 10_000_000, 20_000_000):
        ...     rhythm.add(time_ns, 1000)
        >>> figures = rhythm.figures()
        >>> figures["rate_hz"], figures["period_mean_ms"], figures["bytes_per_s"]
        (100.0, 10.0, 100000.0)
        """
        if len(self.times_ns) < 2:
            return None
        periods = np.diff(np.array(self.times_ns, np.int64)) / 1e6
        mean = float(periods.mean())
        if not mean:
            return None
        return {
            "rate_hz": 1e3 / mean,
            "period_mean_ms": mean,
            "period_min_ms": float(periods.min()),
            "period_max_ms": float(periods.max()),
            "period_std_ms": float(periods.std()),
            "bytes_per_s": float(np.mean(self.sizes)) * 1e3 / mean,
            "frames": float(len(self.times_ns)),
        }


def measure_rate(
    connection: Connection,
    stream_id: int | str,
    *,
    window: int,
    duration_s: float | None,
    as_json: bool,
) -> int:
    """Say once a second how often frames come, by their capture times."""
    rhythm = Rhythm.over(window)
    frames = 0
    with (
        Stop() as stop,
        connection.client() as client,
        attach_consumer(client, stream_id, stop, patience_s=duration_s) as consumer,
    ):
        began = time.monotonic()
        report_due = began + _REPORT_PERIOD_S
        while not stop.requested:
            frame = consumer.receive(min(_RECEIVE_S, max(0.0, report_due - time.monotonic())))
            now = time.monotonic()
            if frame is not None:
                frames += 1
                captured_ns = frame.timestamp_ns
                rhythm.add(
                    time.monotonic_ns() if captured_ns is None else captured_ns, frame.nbytes
                )
            is_over = duration_s is not None and now - began >= duration_s
            if now >= report_due or is_over:
                report_due += _REPORT_PERIOD_S
                _report(consumer.stream_id, rhythm, sum(lost_frames(consumer).values()), as_json)
            if is_over:
                break
    if frames < 2:
        complain(f"stream {stream_id}: {frames or 'no'} frame{'s' if frames != 1 else ''} came")
        return FAILED
    return OK


def _report(stream_id: int, rhythm: Rhythm, lost: int, as_json: bool) -> None:
    figures = rhythm.figures()
    if as_json:
        line: dict[str, Any] = {"stream_id": stream_id, "lost": lost, **(figures or {"rate_hz": 0})}
        _write_json(line)
    elif figures is None:
        print("no frames", flush=True)
    else:
        print(
            f"{figures['rate_hz']:8.2f} Hz   period {figures['period_mean_ms']:.3f} ms"
            f" (min {figures['period_min_ms']:.3f}, max {figures['period_max_ms']:.3f},"
            f" std {figures['period_std_ms']:.3f})   {bytes_text(figures['bytes_per_s'])}/s"
            f"   {int(figures['frames'])} frames, {lost} lost",
            flush=True,
        )


class FrameLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The fields that `echo` prints of a frame. Numbers above 2^53 are text."""

    stream_id: int
    epoch: str
    seq: int
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    timestamp_ns: str | None = None
    age_ms: float | None = None
    meta_version: int | None = None
    trace_id: str | None = None
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None

    @classmethod
    def of(cls, frame: Frame, stream_id: int, *, with_statistics: bool) -> FrameLine | None:
        """None if the frame was overwritten before it was read."""
        captured_ns = frame.timestamp_ns
        statistics: dict[str, float] = {}
        if with_statistics:
            try:
                statistics = _statistics(frame.copy())
            except (FrameOverwrittenError, StaleFrameError):
                return None
        return cls(
            stream_id=stream_id,
            epoch=str(frame.epoch),
            seq=frame.seq,
            shape=frame.shape,
            dtype=frame.wire_dtype.name.lower(),
            nbytes=frame.nbytes,
            timestamp_ns=None if captured_ns is None else str(captured_ns),
            age_ms=None if captured_ns is None else (time.monotonic_ns() - captured_ns) / 1e6,
            meta_version=frame.meta_version,
            trace_id=str(frame.trace_id) if frame.trace_id else None,
            **statistics,
        )

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        parts = [f"seq {self.seq}", f"epoch {self.epoch}", f"{self.dtype} {shape}"]
        parts.append(bytes_text(self.nbytes))
        if self.age_ms is not None:
            parts.append(f"age {self.age_ms:.2f} ms")
        if self.mean is not None:
            parts.append(f"min {self.min:g} max {self.max:g} mean {self.mean:.4g}")
            parts.append(f"std {self.std:.4g}")
        if self.meta_version is not None:
            parts.append(f"meta {self.meta_version}")
        if self.trace_id is not None:
            parts.append(f"trace {self.trace_id}")
        return "  ".join(parts)


def echo_stream(
    connection: Connection,
    stream_id: int | str,
    *,
    count: int | None,
    idle_s: float | None,
    with_statistics: bool,
    as_json: bool,
) -> int:
    """A line for each frame that could be read in time."""
    printed = 0
    with (
        Stop() as stop,
        connection.client() as client,
        attach_consumer(client, stream_id, stop, patience_s=idle_s) as consumer,
    ):
        last = time.monotonic()
        while not stop.requested and (count is None or printed < count):
            frame = consumer.receive(_RECEIVE_S)
            if frame is None:
                if idle_s is not None and time.monotonic() - last >= idle_s:
                    break
                continue
            last = time.monotonic()
            line = FrameLine.of(frame, consumer.stream_id, with_statistics=with_statistics)
            if line is None:
                continue
            printed += 1
            if as_json:
                _write_json(line)
            else:
                print(line, flush=True)
    if printed < (count or 1):
        complain(f"stream {stream_id}: {printed or 'no'} frames came")
        return FAILED
    return OK


def _statistics(array: np.ndarray[Any, np.dtype[Any]]) -> dict[str, float]:
    if not array.size:
        return {}
    figures = {
        "min": float(array.min()),
        "max": float(array.max()),
        "mean": float(array.mean(dtype=np.float64)),
        "std": float(array.std(dtype=np.float64)),
    }
    # JSON has no NaN and no infinity.
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _write_json(line: object) -> None:
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()
