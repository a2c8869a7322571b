"""`record`: every frame of a stream into a file, and the repair of a file without an end.

One thread receives and copies, so that frames are out of the ring before it comes round. Another
thread compresses and writes. The queue between them is bounded; when the disk is too slow for too
long, frames are lost and counted.
"""

from __future__ import annotations

import contextlib
import fcntl
import queue
import sys
import threading
import time
from pathlib import Path
from typing import IO

from tensor_pool.client.config import ClientConfig
from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.traces.listener import TraceListener
from tensor_pool.client.traces.store import TraceLink
from tensor_pool.protocol.clock import SystemClock
from tensor_pool.protocol.transport.ports import Transport

from ..pool_view.tables import bytes_text
from ..support.connection_options import Connection
from ..support.exit_status import FAILED, FRAMES_LOST, OK, USAGE, CommandError, complain
from ..support.replacing import part_of, replaced
from ..support.signals import Stop
from ._attach import attach_consumer, lost_frames
from ._mcap_reader import Recording
from .mcap_file import RecordedFrame, RecordedLink, RecordedMetadata, RecordingWriter

__all__ = ["record_stream", "repair_recording"]

_WAITING_BYTES = 512 << 20
_RECEIVE_S = 0.1
_IDLE_S = 0.5
_LINK_S = 0.1
type _Item = RecordedFrame | RecordedLink | RecordedMetadata


def record_stream(
    connection: Connection,
    stream_id: int | str,
    out: Path,
    *,
    count: int | None,
    duration_s: float | None,
    idle_s: float | None,
    compression: str,
    force: bool,
) -> int:
    """Record until the count, the duration, the idle time or a signal ends it."""
    replaces = out.exists()
    if replaces and not force:
        raise CommandError(f"{out}: exists; --force overwrites it", USAGE)
    if replaces and not out.is_file():
        raise CommandError(f"{out}: not a regular file", USAGE)
    target = part_of(out) if replaces else out  # an old file stays until the new one is complete
    with (
        Stop() as stop,
        connection.client() as client,
        attach_consumer(
            client, stream_id, stop, patience_s=idle_s if idle_s is not None else duration_s
        ) as consumer,
        contextlib.closing(connection.transport(client.config)) as transport,
    ):
        try:
            with target.open("xb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # `--repair` keeps away
                links = _Links(transport, consumer, client.config)
                session = _Session(consumer, links, file, compression)
                session.run(stop, count, duration_s, idle_s)
        except OSError as error:
            raise _cut_short(target, error) from error
    if not session.frames:
        target.unlink()
        complain(f"stream {stream_id}: no frame came; nothing was recorded")
        return FAILED
    if replaces:
        target.replace(out)
    size = bytes_text(out.stat().st_size)
    print(f"recorded {session.frames} frames of stream {stream_id}, {size}: {out}")
    if session.lost:
        complain(f"{session.lost} frames are missing in it ({session.causes})")
        return FRAMES_LOST
    return OK


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
        gaps = _Gaps()
        about = {name: v for name, v in recording.about.items() if name != "stream_id"}
        with replaced(path) as file:
            writer = RecordingWriter(
                file, recording.stream_id, compression=compression, about=about
            )
            for metadata in recording.metadata:
                writer.add_metadata(metadata)
            for logged_ns, link in recording.links():
                writer.add_link(link, recorded_at_ns=logged_ns)
            for logged_ns, captured_ns, frame in recording.timed_frames():
                gaps.add(frame.epoch, frame.seq)
                writer.add(frame, recorded_at=(logged_ns, captured_ns))
            writer.finish({"frames": writer.frames, "lost": gaps.count})
        print(f"repaired {path}: {writer.frames} frames")
        return OK


def _cut_short(target: Path, error: OSError) -> CommandError:
    """Return the error for a recording that could not be written to its end."""
    text = f"{target}: {error.strerror or error}"
    safe = 0
    with contextlib.suppress(CommandError), Recording(target) as recording:
        safe = len(recording)
    if not safe:
        target.unlink(missing_ok=True)
        return CommandError(f"{text}; nothing was recorded")
    return CommandError(
        f"{text}; {safe} frames are safe in the file: `tensor-pool replay` reads them, and"
        f" `tensor-pool record --repair {target}` completes the file once there is room"
    )


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


class _Session:
    """One recording: frames and metadata of a consumer into a file.

    `lost` counts from the first recorded frame on, by the consumer's account of its frames (C-108).
    """

    def __init__(
        self, consumer: Consumer, links: _Links, file: IO[bytes], compression: str
    ) -> None:
        self._consumer = consumer
        self._links = links
        self._has_links = False
        self._last = 0, -1  # epoch and sequence of the newest frame
        metadata = consumer.metadata
        about = {"source": metadata.name} if metadata is not None else {}
        self._writer = RecordingWriter(
            file, consumer.stream_id, compression=compression, about=about
        )
        self._metadata: object = None
        self._at_first_frame: dict[str, int] = {}
        self.lost = 0
        self.causes = ""
        """The counters that rose between the first frame and the end, as text."""

    @property
    def frames(self) -> int:
        """Frames in the file."""
        return self._writer.frames

    def run(
        self, stop: Stop, count: int | None, duration_s: float | None, idle_s: float | None
    ) -> None:
        """Receive until the end, and write the counts and the index."""
        writing = _Writing(self._writer)
        try:
            last_epoch = self._receive(writing, stop, count, duration_s, idle_s)
            self._take_metadata(writing, last_epoch)
            self._take_last_links(writing)
        finally:
            writing.close()
        losses = {
            name.removeprefix("drops_"): n - self._at_first_frame.get(name, 0)
            for name, n in lost_frames(self._consumer).items()
        }
        self.lost = sum(losses.values()) if self.frames else 0
        self.causes = ", ".join(f"{name} {n}" for name, n in losses.items() if n)
        self._writer.finish({"frames": self.frames, "lost": self.lost})

    def _receive(
        self,
        writing: _Writing,
        stop: Stop,
        count: int | None,
        duration_s: float | None,
        idle_s: float | None,
    ) -> int:
        """Pass frames to the writing thread; return the epoch of the last one."""
        consumer = self._consumer
        began = last = time.monotonic()
        taken = epoch = 0
        while not stop.requested and (count is None or taken < count):
            frame = consumer.receive(_RECEIVE_S)
            self._take_links(writing)
            now = time.monotonic()
            if duration_s is not None and now - began >= duration_s:
                break
            if frame is None:
                if idle_s is not None and now - last >= idle_s:
                    break
                continue
            last = now
            recorded = RecordedFrame.of(frame, consumer.stream_id)
            if recorded is None:
                continue  # the consumer has counted it
            epoch = recorded.epoch
            self._last = epoch, recorded.seq
            if not taken:
                self._at_first_frame = lost_frames(consumer)
                if sys.stderr.isatty():
                    complain("recording; Ctrl-C ends it")
            self._take_metadata(writing, epoch)
            writing.put(recorded)
            taken += 1
        return epoch

    def _take_links(self, writing: _Writing) -> None:
        for link in self._links.taken():
            self._has_links = True
            writing.put(link)

    def _take_last_links(self, writing: _Writing) -> None:
        """A link is sent after its frame (S-153): wait for that of the last one."""
        if self._has_links:
            time.sleep(_LINK_S)
        for link in self._links.taken():
            if (link.epoch, link.seq) <= self._last:
                writing.put(link)

    def _take_metadata(self, writing: _Writing, epoch: int) -> None:
        """Record the metadata if it has changed since the last call."""
        metadata = self._consumer.metadata
        if metadata is None or metadata == self._metadata or not epoch:
            return
        self._metadata = metadata
        writing.put(
            RecordedMetadata(
                epoch=epoch,
                version=metadata.version,
                name=metadata.name,
                summary=metadata.summary,
                attributes=metadata.attributes or {},
            )
        )


class _Links:
    """The links between traces that come for the stream of a consumer (S-154)."""

    def __init__(self, transport: Transport, consumer: Consumer, config: ClientConfig) -> None:
        self._consumer = consumer
        self._taken: list[RecordedLink] = []
        self._listener = TraceListener(transport, config, SystemClock(), on_link=self._on_link)

    def taken(self) -> list[RecordedLink]:
        """Return the links that came since the last call."""
        self._listener.poll()
        taken, self._taken = self._taken, []
        return taken

    def _on_link(self, link: TraceLink) -> None:
        if link.stream_id == self._consumer.stream_id:
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
    """The thread that writes. An error of the disk is raised by the next `put` or by `close`."""

    def __init__(self, writer: RecordingWriter) -> None:
        self.writer = writer
        self._items: queue.SimpleQueue[tuple[_Item, int] | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._room = threading.Condition()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def put(self, item: _Item) -> None:
        """Queue an item that came now; wait while too many bytes are waiting."""
        received_ns = time.monotonic_ns()  # not when it is written: the disk may be slow
        with self._room:
            while self._waiting_bytes > _WAITING_BYTES and self._error is None:
                self._room.wait()
            self._waiting_bytes += _nbytes(item)
        if self._error is not None:
            raise self._error
        self._items.put((item, received_ns))

    def close(self) -> None:
        """Write what is waiting and end the thread."""
        self._items.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while True:
                try:
                    waiting = self._items.get(timeout=_IDLE_S)
                except queue.Empty:
                    self.writer.flush_when_due()
                    continue
                if waiting is None:
                    return
                item, received_ns = waiting
                if isinstance(item, RecordedFrame):
                    self.writer.add(item, received_ns=received_ns)
                elif isinstance(item, RecordedLink):
                    self.writer.add_link(item, received_ns=received_ns)
                else:
                    self.writer.add_metadata(item)
                self._leave_room(_nbytes(item))
        except BaseException as error:  # noqa: BLE001 - raised in the receiving thread
            self._error = error
            self._leave_room(0)

    def _leave_room(self, nbytes: int) -> None:
        with self._room:
            self._waiting_bytes -= nbytes
            self._room.notify()


def _nbytes(item: _Item) -> int:
    return len(item.payload) if isinstance(item, RecordedFrame) else 0
