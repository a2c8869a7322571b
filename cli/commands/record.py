"""`record`: every frame of some streams into a file, and the repair of a file without an end.

One thread receives and copies, so that frames are out of the ring before it comes round. Another
thread compresses and writes. The queue between them is bounded; when the disk is too slow for too
long, frames are lost and counted.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO

from tensor_pool.client.config import ClientConfig
from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.consumer.frame import Frame
from tensor_pool.client.traces.listener import TraceListener
from tensor_pool.client.traces.store import TraceLink
from tensor_pool.protocol.clock import SystemClock
from tensor_pool.protocol.transport.ports import Transport

from ..media.foxglove_images import foxglove_module
from ..pool_view.tables import bytes_text
from ..support.amounts import Amount
from ..support.connection_options import Connection
from ..support.exit_status import FAILED, FRAMES_LOST, OK, USAGE, CommandError, complain
from ..support.progress import Progress
from ..support.replacing import replaced
from ..support.signals import Requests, Stop
from ._attach import attach_consumers, lost_frames, name_of
from ._mcap_reader import Recording
from ._recording_writer import (
    LastOnRequest,
    OneFile,
    Outlet,
    Parts,
    Received,
    nbytes_of,
    numbered_files,
)
from .mcap_file import RecordedFrame, RecordedLink, RecordedMetadata, RecordingWriter, counts_of

__all__ = ["record_streams", "repair_recording"]

_WAITING_BYTES = 512 << 20
_RECEIVE_S = 0.1
_RECEIVE_ONE_OF_MANY_S = 0.005
_IDLE_S = 0.5
_LINK_S = 0.1
_PAUSE_S = 0.01
_METADATA_PATIENCE_NS = 1_500_000_000


def record_streams(
    connection: Connection,
    streams: list[int | str],
    out: Path,
    *,
    count: int | None,
    duration_s: float | None,
    idle_s: float | None,
    compression: str,
    images: bool,
    split: Amount | None,
    last: Amount | None,
    force: bool,
) -> int:
    """Record until the count, the duration, the idle time or a signal ends it."""
    _check_out(out, is_numbered=bool(split or last), may_go_on=last is not None, force=force)
    if images:
        foxglove_module()
    with (
        Stop() as stop,
        Requests(signal.SIGUSR1) as requests,
        connection.client() as client,
        contextlib.ExitStack() as stack,
        contextlib.closing(connection.transport(client.config)) as transport,
    ):
        patience_s = idle_s if idle_s is not None else duration_s
        consumers = attach_consumers(client, streams, stop, patience_s=patience_s)
        for consumer in consumers:
            stack.enter_context(consumer)
        stream_ids = [consumer.stream_id for consumer in consumers]
        about = {
            consumer.stream_id: _about(consumer, asked)
            for consumer, asked in zip(consumers, streams, strict=True)
        }
        if len(about) < len(consumers):
            raise CommandError(f"a stream was given twice: {' '.join(map(str, streams))}", USAGE)

        def make_writer(file: IO[bytes]) -> RecordingWriter:
            return RecordingWriter(file, about, compression=compression, images=images)

        outlet: Outlet
        if last is not None:
            outlet = LastOnRequest(out, make_writer, stream_ids, last)
        elif split is not None:
            outlet = Parts(out, make_writer, stream_ids, split)
        else:
            outlet = OneFile(out, make_writer, stream_ids)
        session = _Session(
            consumers,
            _Links(transport, stream_ids, client.config),
            outlet,
            waits_for_metadata=images,
            requests=requests if last is not None else None,
        )
        session.run(stop, count, duration_s, idle_s)
    return _summary(session, outlet, stream_ids, is_on_request=last is not None)


def _check_out(out: Path, *, is_numbered: bool, may_go_on: bool, force: bool) -> None:
    """Raise CommandError for a file that must not be written."""
    if not is_numbered:
        if out.exists() and not force:
            raise CommandError(f"{out}: exists; --force overwrites it", USAGE)
        if out.exists() and not out.is_file():
            raise CommandError(f"{out}: not a regular file", USAGE)
        return
    if force:
        raise CommandError("--force overwrites one file; --split and --last write several", USAGE)
    if not may_go_on and (known := numbered_files(out)):
        raise CommandError(
            f"{known[0]}: exists; remove the files of that recording, or give another name", USAGE
        )


def _about(consumer: Consumer, asked: int | str) -> dict[str, str]:
    metadata = consumer.metadata  # may come seconds after the lease
    name = metadata.name if metadata is not None and metadata.name else name_of(asked)
    return {"source": name} if name else {}


def _summary(
    session: _Session, outlet: Outlet, stream_ids: list[int], *, is_on_request: bool
) -> int:
    """Print totals; return the exit status."""
    named = f"stream{'s' if len(stream_ids) > 1 else ''} {', '.join(map(str, stream_ids))}"
    frames = outlet.frames.total()
    if not session.frames:
        complain(f"{named}: no frame came; nothing was recorded")
        return FAILED
    if not outlet.paths and is_on_request:
        complain("nothing was recorded: no SIGUSR1 came")
        return OK
    size = bytes_text(sum(path.stat().st_size for path in outlet.paths))
    paths = ", ".join(map(str, dict.fromkeys((outlet.paths[0], outlet.paths[-1]))))
    if len(outlet.paths) > 2:
        paths = f"{outlet.paths[0]} to {outlet.paths[-1].name}"
    print(f"recorded {frames} frames of {named}, {size}: {paths}")
    status = OK
    for stream_id in stream_ids:
        if lost := outlet.lost[stream_id]:
            status = FRAMES_LOST
            where = "it" if len(stream_ids) == 1 else f"stream {stream_id}"
            complain(f"{lost} frames are missing in {where} ({session.causes(stream_id)})")
    return status


def repair_recording(path: Path, *, compression: str) -> int:
    """Give a recording without an end its counts and index; keep every whole frame.

    The old file is replaced when the new one is complete.
    """
    with Recording(path) as recording, path.open("rb") as old:
        try:
            fcntl.flock(old, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"{path}: a recorder still writes it", USAGE) from None
        if recording.is_whole:
            print(f"{path}: whole, {len(recording)} frames; nothing to repair")
            return OK
        if not len(recording):
            raise CommandError(f"{path}: no whole frame in it", USAGE)
        gaps = {stream_id: _Gaps() for stream_id in recording.stream_ids}
        frames = dict.fromkeys(gaps, 0)
        about = {stream_id: recording.about(stream_id) for stream_id in gaps}
        with replaced(path) as file:
            writer = RecordingWriter(
                file, about, compression=compression, image_schema=recording.image_schema
            )
            for metadata in recording.metadata:
                writer.add_metadata(metadata)
            for logged_ns, link in recording.links():
                writer.add_link(link, recorded_at_ns=logged_ns)
            for stored in recording.stored_frames():
                frame = stored.frame
                gaps[frame.stream_id].add(frame.epoch, frame.seq)
                frames[frame.stream_id] += 1
                recorded_at = stored.logged_ns, stored.captured_ns
                writer.add(frame, recorded_at=recorded_at, image=stored.image)
            lost = {stream_id: one.count for stream_id, one in gaps.items()}
            writer.finish(counts_of(frames, lost))
        print(f"repaired {path}: {writer.frames} frames")
        return OK


class _Gaps:
    """Count of the sequence numbers that are missing between frames of one epoch."""

    def __init__(self) -> None:
        self.count = 0
        self._last: tuple[int, int] | None = None

    def add(self, epoch: int, seq: int) -> bool:
        """Count the numbers between the last frame and this one; return true in a new epoch."""
        before, self._last = self._last, (epoch, seq)
        if before is None or before[0] != epoch:
            return before is not None
        self.count += seq - before[1] - 1
        return False


class _Losses:
    """The losses of one consumer, by its account of its frames (C-108).

    They are counted from the first recorded frame on, and looked up where sequences have a hole.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._at_first_frame: dict[str, int] | None = None
        self._next = 0, 0
        self.now = 0

    def before(self, frame: RecordedFrame) -> int:
        """Return the losses before this frame, the next one to be recorded."""
        if self._at_first_frame is None:
            self._at_first_frame = lost_frames(self._consumer)
        elif (frame.epoch, frame.seq) != self._next:
            self.look()
        self._next = frame.epoch, frame.seq + 1
        return self.now

    def look(self) -> dict[str, int]:
        """Return the losses until now by cause."""
        first = self._at_first_frame
        if first is None:
            return {}
        now = lost_frames(self._consumer)
        causes = {name.removeprefix("drops_"): n - first.get(name, 0) for name, n in now.items()}
        self.now = sum(causes.values())
        return {name: n for name, n in causes.items() if n}


class _Session:
    """One recording: frames, metadata and links of some consumers into an outlet."""

    def __init__(
        self,
        consumers: list[Consumer],
        links: _Links,
        outlet: Outlet,
        *,
        waits_for_metadata: bool,
        requests: Requests | None,
    ) -> None:
        self._consumers = collections.deque(consumers)
        self._by_id = {consumer.stream_id: consumer for consumer in consumers}
        self._links = links
        self._has_links = False
        self._last: dict[int, tuple[int, int]] = {}  # epoch and sequence of the newest frames
        self._writing = _Writing(outlet)
        self._losses = {consumer.stream_id: _Losses(consumer) for consumer in consumers}
        self._causes: dict[int, dict[str, int]] = {}
        self._metadata: dict[int, object] = {}
        self._waits_for_metadata = waits_for_metadata
        self._held: collections.deque[Received] = collections.deque()
        self._requests = requests
        self._progress = Progress()
        self.frames = 0
        """Frames that were received."""

    def causes(self, stream_id: int) -> str:
        """Return the counters that rose between the first frame and the end, as text."""
        return ", ".join(f"{name} {n}" for name, n in self._causes[stream_id].items())

    def run(
        self, stop: Stop, count: int | None, duration_s: float | None, idle_s: float | None
    ) -> None:
        """Receive until the end, and complete what is open."""
        writing = self._writing
        try:
            self._receive(stop, count, duration_s, idle_s)
            while self._release():
                time.sleep(_PAUSE_S)
            for stream_id, (epoch, _) in self._last.items():
                self._take_metadata(stream_id, epoch)
            self._take_last_links()
            self._causes = {stream_id: losses.look() for stream_id, losses in self._losses.items()}
        finally:
            self._progress.end()
            writing.close({stream_id: losses.now for stream_id, losses in self._losses.items()})

    def _receive(
        self, stop: Stop, count: int | None, duration_s: float | None, idle_s: float | None
    ) -> None:
        began = last = time.monotonic()
        while not stop.requested and (count is None or self.frames < count):
            frame = self._next()
            self._take_links()
            self._release()
            self._serve_requests()
            now = time.monotonic()
            if duration_s is not None and now - began >= duration_s:
                break
            if frame is None:
                if idle_s is not None and now - last >= idle_s:
                    break
                continue
            last = now
            if not self.frames and sys.stderr.isatty():
                complain("recording; Ctrl-C ends it")
            self.frames += 1
            self._last[frame.stream_id] = frame.epoch, frame.seq
            lost = self._losses[frame.stream_id].before(frame)
            self._held.append(Received(frame, time.monotonic_ns(), lost))
            self._release()
            self._progress.show(lambda: self._text(began))

    def _next(self) -> RecordedFrame | None:
        """Return a copy of the next frame of any stream; None if none came for a while."""
        consumers = self._consumers
        if len(consumers) == 1:
            return self._copy(consumers[0].receive(_RECEIVE_S), consumers[0])
        for _ in range(len(consumers)):
            consumers.rotate(-1)
            if (frame := consumers[0].poll()) is not None:
                return self._copy(frame, consumers[0])
        consumers.rotate(-1)
        return self._copy(consumers[0].receive(_RECEIVE_ONE_OF_MANY_S), consumers[0])

    @staticmethod
    def _copy(frame: Frame | None, consumer: Consumer) -> RecordedFrame | None:
        """Return None also for a frame that was overwritten meanwhile, which is counted."""
        return RecordedFrame.of(frame, consumer.stream_id) if frame is not None else None

    def _release(self, *, all_of_it: bool = False) -> int:
        """Pass on what was received; images wait a little for the metadata that they name.

        Return the number of items that wait.
        """
        held = self._held
        while held:
            frame = held[0].item
            if isinstance(frame, RecordedFrame):
                is_late = time.monotonic_ns() - held[0].received_ns > _METADATA_PATIENCE_NS
                if not (all_of_it or is_late or self._is_described(frame)):
                    break
                self._take_metadata(frame.stream_id, frame.epoch)
            self._writing.put(held.popleft())
        return len(held)

    def _is_described(self, frame: RecordedFrame) -> bool:
        if not self._waits_for_metadata or not frame.meta_version:
            return True
        metadata = self._by_id[frame.stream_id].metadata
        return (
            metadata is not None
            and metadata.attributes is not None
            and metadata.version >= frame.meta_version
        )

    def _take_links(self) -> None:
        for link in self._links.taken():
            self._has_links = True
            self._held.append(Received(link, time.monotonic_ns()))

    def _take_last_links(self) -> None:
        """A link is sent after its frame (S-153): wait for that of the last one."""
        if self._has_links:
            time.sleep(_LINK_S)
        for link in self._links.taken():
            if (link.epoch, link.seq) <= self._last.get(link.stream_id, (0, -1)):
                self._writing.put(Received(link, time.monotonic_ns()))

    def _take_metadata(self, stream_id: int, epoch: int) -> None:
        """Record the metadata if it has changed since the last call."""
        metadata = self._by_id[stream_id].metadata
        if metadata is None or metadata == self._metadata.get(stream_id):
            return
        self._metadata[stream_id] = metadata
        recorded = RecordedMetadata(
            stream_id=stream_id,
            epoch=epoch,
            version=metadata.version,
            name=metadata.name,
            summary=metadata.summary,
            attributes=metadata.attributes or {},
        )
        self._writing.put(Received(recorded, time.monotonic_ns()))

    def _serve_requests(self) -> None:
        """Have the last seconds written if a signal has asked for it; print what was written."""
        while self._requests is not None and self._requests.take():
            self._release(all_of_it=True)
            self._writing.snapshot()
        for line in self._writing.taken_reports():
            self._progress.end()
            print(line, flush=True)

    def _text(self, began: float) -> str:
        lost = sum(losses.now for losses in self._losses.values())
        return (
            f"{time.monotonic() - began:.0f} s, {self.frames} frames,"
            f" {bytes_text(self._writing.outlet.nbytes)}, {lost} lost"
        )


class _Links:
    """The links between traces that come for some streams (S-154)."""

    def __init__(self, transport: Transport, stream_ids: list[int], config: ClientConfig) -> None:
        self._stream_ids = stream_ids
        self._taken: list[RecordedLink] = []
        self._listener = TraceListener(transport, config, SystemClock(), on_link=self._on_link)

    def taken(self) -> list[RecordedLink]:
        """Return the links that came since the last call."""
        self._listener.poll()
        taken, self._taken = self._taken, []
        return taken

    def _on_link(self, link: TraceLink) -> None:
        if link.stream_id in self._stream_ids:
            self._taken.append(
                RecordedLink(
                    stream_id=link.stream_id,
                    epoch=link.epoch,
                    seq=link.seq,
                    trace_id=link.trace_id,
                    parents=link.parents,
                )
            )


class _Writing:
    """The thread that writes. Its errors are raised by the next `put` or by `close`."""

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        # None asks for a file of the last seconds, a table of losses for the end.
        self._items: queue.SimpleQueue[Received | dict[int, int] | None] = queue.SimpleQueue()
        self._reports: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._room = threading.Condition()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def put(self, received: Received) -> None:
        """Queue an item; wait while too many bytes are waiting."""
        with self._room:
            while self._waiting_bytes > _WAITING_BYTES and self._error is None:
                self._room.wait()
            self._waiting_bytes += nbytes_of(received.item)
        if self._error is not None:
            raise self._error
        self._items.put(received)

    def snapshot(self) -> None:
        """Have the last seconds written to a file."""
        self._items.put(None)

    def taken_reports(self) -> list[str]:
        """Return a line for each file that was written on request since the last call."""
        lines = []
        with contextlib.suppress(queue.Empty):
            while True:
                lines.append(self._reports.get_nowait())
        return lines

    def close(self, lost: dict[int, int]) -> None:
        """Write what is waiting, complete the file and end the thread."""
        self._items.put(lost)
        self._thread.join()
        for line in self.taken_reports():
            print(line, flush=True)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while True:
                try:
                    waiting = self._items.get(timeout=_IDLE_S)
                except queue.Empty:
                    self.outlet.when_idle()
                    continue
                if waiting is None:
                    self._reports.put(self.outlet.snapshot())
                elif isinstance(waiting, dict):
                    self.outlet.finish(waiting)
                    return
                else:
                    self.outlet.write(waiting)
                    self._leave_room(nbytes_of(waiting.item))
        except BaseException as error:  # noqa: BLE001 - raised in the receiving thread
            self._error = error
            self._leave_room(0)

    def _leave_room(self, nbytes: int) -> None:
        with self._room:
            self._waiting_bytes -= nbytes
            self._room.notify()
