"""`trace`: the frames of one trace, and the traces that it comes from and goes into (S-154).

Descriptors carry trace ids and links travel on the metadata stream, so a trace is received while it
happens. Recordings keep both.
"""

from __future__ import annotations

import contextlib
import fnmatch
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from tensor_pool.client import AttachTimeoutError
from tensor_pool.client.traces.listener import TraceListener
from tensor_pool.client.traces.store import Lineage, TracedFrame, TraceLink, TraceStore
from tensor_pool.protocol.clock import SystemClock

from ..support.connection_options import Connection
from ..support.exit_status import FAILED, OK, CommandError, complain
from ..support.signals import Stop
from ._lineage_text import follow_json, follow_line, lineage_json, lineage_lines
from ._mcap_reader import Recording

__all__ = ["follow_pool", "trace_pool", "trace_recordings"]

_PAUSE_S = 0.001
_LOOK_S = 0.05
_LONGEST_SETTLES = 10  # a trace that goes on for ever is printed after so many settle times
_FOR_EVER_NS = 1 << 62


class _Printer:
    """Names of streams, the choice of streams, and the two forms of output."""

    def __init__(self, patterns: Sequence[str], names: dict[int, str], *, as_json: bool) -> None:
        self._patterns = patterns
        self._as_json = as_json
        self.names = names

    def shows(self, stream_id: int) -> bool:
        """Return True if the stream was chosen, by id, name or pattern."""
        if not self._patterns:
            return True
        name = self.names.get(stream_id, "")
        return any(
            pattern == str(stream_id) or (name and fnmatch.fnmatchcase(name, pattern))
            for pattern in self._patterns
        )

    def stream(self, stream_id: int) -> str:
        """Return name and id of a stream for people."""
        name = self.names.get(stream_id)
        return f"{name} ({stream_id})" if name else f"stream {stream_id}"

    def lineage(self, lineage: Lineage) -> None:
        if self._as_json:
            document = msgspec.json.encode(lineage_json(lineage, self.names, self.shows))
            sys.stdout.write(msgspec.json.format(document.decode(), indent=2) + "\n")
        else:
            print("\n".join(lineage_lines(lineage, self.stream, self.shows)))
        sys.stdout.flush()

    def record(self, record: TracedFrame | TraceLink) -> bool:
        """Print a frame or a link of a stream that was chosen; True if it was."""
        if not self.shows(record.stream_id):
            return False
        if self._as_json:
            print(msgspec.json.encode(follow_json(record, self.names)).decode(), flush=True)
        else:
            print(follow_line(record, self.stream), flush=True)
        return True


class TraceSession:
    """One look: what was received, and the trace that is asked for.

    Without an id that is the first one that begins a settle time after the start, so that its first
    frame was not missed, and that was made from no other.
    """

    def __init__(self, trace_id: int | None, *, window_s: float, settle_s: float) -> None:
        self.trace_id = trace_id
        self.store = TraceStore(round(window_s * 1e9))
        self._is_given = trace_id is not None
        self._settle_ns = round(settle_s * 1e9)
        self._began_ns = time.time_ns()
        self._found_ns = 0
        self._passed_over: set[int] = set()

    def take(self, record: TracedFrame | TraceLink) -> None:
        self.store.add(record)
        if self._is_given:
            return
        trace_id = record.trace_id
        is_made = isinstance(record, TraceLink)  # the link may come before or after the frame
        if is_made or record.received_ns - self._began_ns < self._settle_ns:
            self._passed_over.add(trace_id)
            if trace_id == self.trace_id:
                self.trace_id = None
        elif self.trace_id is None and trace_id not in self._passed_over:
            self.trace_id = trace_id

    def is_settled(self) -> bool:
        """Return True once nothing more comes of the trace; one without an end is cut."""
        now_ns = time.time_ns()
        self.store.expire(now_ns)
        if (lineage := self.lineage()) is None:
            return False
        self._found_ns = self._found_ns or now_ns
        return (
            now_ns - lineage.last_ns >= self._settle_ns
            or now_ns - self._found_ns >= _LONGEST_SETTLES * self._settle_ns
        )

    def lineage(self) -> Lineage | None:
        return None if self.trace_id is None else self.store.lineage(self.trace_id)


class _Follower:
    """Prints records as they come: all, or those of one trace, its ancestors and descendants."""

    def __init__(self, printer: _Printer, trace_id: int | None, *, window_s: float) -> None:
        self._printer = printer
        self._all = trace_id is None
        self._made: set[int] = set() if trace_id is None else {trace_id}
        self._sources: set[int] = set()
        self.store = TraceStore(round(window_s * 1e9))
        self.printed = 0

    def take(self, record: TracedFrame | TraceLink) -> None:
        self.store.add(record)
        if not self._all:
            if isinstance(record, TraceLink) and not self._made.isdisjoint(record.parents):
                self._include(self._made, record.trace_id, but=record)
            if record.trace_id not in self._made and record.trace_id not in self._sources:
                return
            if isinstance(record, TraceLink):
                for parent in record.parents:
                    self._include(self._sources, parent)
        self._print(record)

    def _include(
        self, traces: set[int], trace_id: int, *, but: TracedFrame | TraceLink | None = None
    ) -> None:
        """Print from now on what comes of a trace, and what came of it before."""
        if trace_id in self._made or trace_id in self._sources:
            return
        traces.add(trace_id)
        for record in self.store.records_of(trace_id):
            if record is not but:
                self._print(record)

    def _print(self, record: TracedFrame | TraceLink) -> None:
        self.printed += self._printer.record(record)


def trace_pool(
    connection: Connection,
    trace_id: int | None,
    patterns: Sequence[str],
    *,
    window_s: float,
    settle_s: float,
    duration_s: float | None,
    as_json: bool,
) -> int:
    """Listen until the trace has settled, and print its lineage."""
    session = TraceSession(trace_id, window_s=window_s, settle_s=settle_s)
    with Stop() as stop:
        printer = _Printer(patterns, _names(connection), as_json=as_json)
        listener = _listen(
            connection,
            stop,
            printer,
            session,
            until_s=window_s if duration_s is None else duration_s,
            is_done=session.is_settled,
        )
        lineage = session.lineage()
        if lineage is not None:
            printer.lineage(lineage)
        _explain(listener, printer, session.store, trace_id, was_found=lineage is not None)
        return OK if lineage is not None else FAILED


def follow_pool(
    connection: Connection,
    trace_id: int | None,
    patterns: Sequence[str],
    *,
    window_s: float,
    duration_s: float | None,
    as_json: bool,
) -> int:
    """Print frames and links as they come, until a signal or the duration."""
    with Stop() as stop:
        printer = _Printer(patterns, _names(connection), as_json=as_json)
        follower = _Follower(printer, trace_id, window_s=window_s)

        def look() -> bool:
            follower.store.expire(time.time_ns())
            return False

        listener = _listen(connection, stop, printer, follower, until_s=duration_s, is_done=look)
        was_found = follower.printed > 0
        _explain(listener, printer, follower.store, trace_id, was_found=was_found)
        return OK if was_found else FAILED


def trace_recordings(
    paths: Sequence[Path], trace_id: int | None, patterns: Sequence[str], *, as_json: bool
) -> int:
    """Print the lineage of a trace from recordings; without an id all they have, by time."""
    printer = _Printer(patterns, {}, as_json=as_json)
    records: list[TracedFrame | TraceLink] = []
    for path in paths:
        with Recording(path) as recording:
            for stream_id in recording.stream_ids:
                if source := recording.source(stream_id):
                    printer.names[stream_id] = source
            records += _records_of(recording)
    if trace_id is None:
        for record in sorted(records, key=lambda record: record.received_ns):
            printer.record(record)
        return OK if records else _failed("no frame in these recordings has a trace")
    store = TraceStore(_FOR_EVER_NS)
    for record in records:
        store.add(record)
    if (lineage := store.lineage(trace_id)) is None:
        return _failed(f"trace {trace_id} is not in these recordings; they have {store.traces}")
    printer.lineage(lineage)
    return OK


def _records_of(recording: Recording) -> Iterator[TracedFrame | TraceLink]:
    for logged_ns, _, frame in recording.timed_frames():
        if frame.trace_id:
            yield TracedFrame(
                stream_id=frame.stream_id,
                epoch=frame.epoch,
                seq=frame.seq,
                trace_id=frame.trace_id,
                received_ns=logged_ns,
            )
    for logged_ns, link in recording.links():
        yield TraceLink(
            stream_id=link.stream_id,
            epoch=link.epoch,
            seq=link.seq,
            trace_id=link.trace_id,
            parents=link.parents,
            received_ns=logged_ns,
        )


def _names(connection: Connection) -> dict[int, str]:
    """Return the names of the streams that the driver has; others come with their metadata."""
    with connection.client() as client:
        try:
            return {info.stream_id: info.name for info in client.streams() if info.name}
        except AttachTimeoutError as error:
            complain(str(error))
            return {}


def _listen(
    connection: Connection,
    stop: Stop,
    printer: _Printer,
    taker: TraceSession | _Follower,
    *,
    until_s: float | None,
    is_done: Callable[[], bool],
) -> TraceListener:
    """Hand over what comes until a signal, the time or `is_done` ends it."""
    config = connection.client_config()
    with contextlib.closing(connection.transport(config)) as transport:
        listener = TraceListener(
            transport,
            config,
            SystemClock(),
            names=printer.names,
            on_frame=taker.take,
            on_link=taker.take,
        )
        complain("listening for traces; Ctrl-C ends it")
        began = look_due = time.monotonic()
        while not stop.requested:
            if transport.is_closed:
                raise CommandError(f"the media driver is gone: {transport.error or 'closed'}")
            if not listener.poll():
                time.sleep(_PAUSE_S)
            now = time.monotonic()
            if until_s is not None and now - began >= until_s:
                break
            if now >= look_due:
                look_due = now + _LOOK_S
                if is_done():
                    break
        return listener


def _explain(
    listener: TraceListener,
    printer: _Printer,
    store: TraceStore,
    trace_id: int | None,
    *,
    was_found: bool,
) -> None:
    """Print the reason for what was not found, and for streams whose frames have no trace."""
    if not was_found:
        what = "no trace came" if trace_id is None else f"trace {trace_id} did not come"
        traced, untraced = listener.traced.total(), listener.untraced.total()
        complain(
            f"{what} among {traced + untraced} frames, {traced} of them with a trace; it can be"
            " received only while its frames are published; recordings keep it (tensor-pool trace"
            " --file run.mcap)"
        )
    without = {
        stream_id: n for stream_id, n in listener.untraced.items() if printer.shows(stream_id)
    }
    if without:
        streams = ", ".join(f"{n} of {printer.stream(each)}" for each, n in without.items())
        complain(
            f"frames without a trace: {streams}; their producers publish without trace=True and"
            " without parents=..."
        )
    if store.forgotten:
        complain(f"{store.forgotten} records were forgotten before their time: too many traces")


def _failed(text: str) -> int:
    complain(text)
    return FAILED
