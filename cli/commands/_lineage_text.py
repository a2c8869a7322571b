"""The lineage of a trace as a tree, and as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tensor_pool.client.traces.store import Lineage, TracedFrame, TraceLink

__all__ = ["clock_text", "follow_json", "follow_line", "lineage_json", "lineage_lines"]

_MOST_TRACES = 200
type _StreamText = Callable[[int], str]


def lineage_lines(lineage: Lineage, stream: _StreamText, shown: Callable[[int], bool]) -> list[str]:
    """Return one line for each trace and each frame, from the sources on.

    `stream` gives the label of a stream, and `shown` chooses the streams.
    """
    return _Tree(lineage, stream, shown).lines()


class _Tree:
    def __init__(self, lineage: Lineage, stream: _StreamText, shown: Callable[[int], bool]) -> None:
        self._lineage = lineage
        self._stream = stream
        self._shown = shown
        times = [frame.time_ns for frames in lineage.frames.values() for frame in frames]
        self._begin_ns = min(times, default=0)
        self._members = set(lineage.traces)
        self._children: dict[int, list[int]] = {}
        for trace in lineage.traces:
            for parent in lineage.parents.get(trace, ()):
                self._children.setdefault(parent, []).append(trace)
        self._printed: set[int] = set()
        self._lines: list[str] = []

    def lines(self) -> list[str]:
        lineage = self._lineage
        roots = [
            trace
            for trace in lineage.traces
            if self._members.isdisjoint(lineage.parents.get(trace, ()))
        ]
        waiting = [(root, 0) for root in reversed(roots or lineage.traces[:1])]
        while waiting:  # not recursive: a chain may be long
            trace, depth = waiting.pop()
            if trace not in self._printed and len(self._printed) >= _MOST_TRACES:
                continue
            if self._add(trace, depth):
                children = self._children.get(trace, [])
                waiting += [(child, depth + 1) for child in reversed(children)]
        left_out = len(self._members) - len(self._printed)
        if left_out:
            self._lines.append(f"... and {left_out} more traces")
        return self._lines

    def _add(self, trace: int, depth: int) -> bool:
        """Add a trace with its frames; False if it stands above already."""
        indent = "  " * depth
        parents = self._lineage.parents.get(trace, ())
        made_from = f", made from {', '.join(map(str, parents))}" if parents else ""
        if trace in self._printed:
            self._lines.append(f"{indent}trace {trace}, see above")
            return False
        self._printed.add(trace)
        asked = " *" if trace == self._lineage.trace_id and len(self._members) > 1 else ""
        self._lines.append(f"{indent}trace {trace}{asked}{made_from}")
        frames = self._lineage.frames[trace]
        if not frames:
            self._lines.append(f"{indent}  no frame of it was received")
        for frame in frames:
            if self._shown(frame.stream_id):
                self._lines.append(f"{indent}  {self._frame(frame)}")
        return True

    def _frame(self, frame: TracedFrame) -> str:
        after_ms = (frame.time_ns - self._begin_ns) / 1e6
        where = f"{self._stream(frame.stream_id)} epoch {frame.epoch} seq {frame.seq}"
        return f"{clock_text(frame.time_ns)}  {after_ms:+9.3f} ms  {where}"


def lineage_json(
    lineage: Lineage, names: Mapping[int, str], shown: Callable[[int], bool]
) -> dict[str, Any]:
    """Return the lineage for JSON; ids are text, since they exceed 2^53."""
    return {
        "trace_id": str(lineage.trace_id),
        "ancestors": [str(trace) for trace in lineage.ancestors],
        "descendants": [str(trace) for trace in lineage.descendants],
        "traces": [
            {
                "trace_id": str(trace),
                "parents": [str(parent) for parent in lineage.parents.get(trace, ())],
                "frames": [
                    _frame_json(frame, names)
                    for frame in lineage.frames[trace]
                    if shown(frame.stream_id)
                ],
            }
            for trace in lineage.traces
        ],
    }


def follow_line(record: TracedFrame | TraceLink, stream: _StreamText) -> str:
    """Return one frame or one link as a line."""
    where = f"{stream(record.stream_id)} epoch {record.epoch} seq {record.seq}"
    if isinstance(record, TracedFrame):
        return f"{clock_text(record.time_ns)}  {where}  trace {record.trace_id}"
    parents = ", ".join(map(str, record.parents))
    return f"{clock_text(record.received_ns)}  {where}  trace {record.trace_id} made from {parents}"


def follow_json(record: TracedFrame | TraceLink, names: Mapping[int, str]) -> dict[str, Any]:
    """Return one frame or one link for JSON."""
    if isinstance(record, TracedFrame):
        return {"trace_id": str(record.trace_id), **_frame_json(record, names)}
    return {
        "trace_id": str(record.trace_id),
        "parents": [str(parent) for parent in record.parents],
        "stream_id": record.stream_id,
        "stream": names.get(record.stream_id, ""),
        "epoch": str(record.epoch),
        "seq": record.seq,
        "received_ns": str(record.received_ns),
    }


def _frame_json(frame: TracedFrame, names: Mapping[int, str]) -> dict[str, Any]:
    document = {
        "stream_id": frame.stream_id,
        "stream": names.get(frame.stream_id, ""),
        "epoch": str(frame.epoch),
        "seq": frame.seq,
        "received_ns": str(frame.received_ns),
    }
    if frame.published_ns is not None:
        document["published_ns"] = str(frame.published_ns)
    return document


def clock_text(time_ns: int) -> str:
    """Return the time of day with microseconds.

    >>> clock_text(1_700_000_000_123_456_789)[5:]
    ':20.123456'
    """
    seconds, ns = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{ns // 1000:06d}"
