"""`record`: every frame of a stream into a file.

One thread receives and copies, so that frames are out of the ring before it comes round; another
compresses and writes. What waits between them is bounded; when the disk is too slow for too long,
frames are lost, counted and said.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from pathlib import Path

from tensor_pool.client.consumer.consumer import Consumer

from ..pool_view.tables import bytes_text
from ..support.connection_options import Connection
from ..support.exit_status import FAILED, FRAMES_LOST, OK, USAGE, CommandError, complain
from ..support.signals import Stop
from ._attach import attach_consumer, lost_frames
from .mcap_file import RecordedFrame, RecordingWriter

__all__ = ["record_stream"]

_WAITING_BYTES = 512 << 20
_RECEIVE_S = 0.1


def record_stream(
    connection: Connection,
    stream_id: int,
    out: Path,
    *,
    count: int | None,
    duration_s: float | None,
    idle_s: float | None,
    compression: str,
    force: bool,
) -> int:
    """Record until the count, the duration, the idle time or the user ends it."""
    if out.exists() and not force:
        raise CommandError(f"{out}: exists; --force overwrites it", USAGE)
    with (
        Stop() as stop,
        connection.client() as client,
        attach_consumer(
            client, stream_id, stop, patience_s=idle_s if idle_s is not None else duration_s
        ) as consumer,
    ):
        metadata = consumer.metadata
        about = {"source": metadata.name} if metadata is not None else {}
        with out.open("wb") as file:
            writing = _Writing(
                RecordingWriter(file, stream_id, compression=compression, about=about)
            )
            try:
                overwritten = _receive(consumer, writing, stop, count, duration_s, idle_s)
            finally:
                writing.close()
            lost = lost_frames(consumer)
            writing.writer.finish({"frames": writing.writer.frames, "lost": sum(lost.values())})
    frames = writing.writer.frames
    if not frames:
        os.unlink(out)
        complain(f"stream {stream_id}: no frame came; nothing was recorded")
        return FAILED
    print(
        f"recorded {frames} frames of stream {stream_id}, {bytes_text(out.stat().st_size)}: {out}"
    )
    if lost:
        told = ", ".join(f"{name.removeprefix('drops_')} {n}" for name, n in lost.items())
        complain(f"{sum(lost.values())} frames were lost ({told}; {overwritten} while copied)")
        return FRAMES_LOST
    return OK


def _receive(
    consumer: Consumer,
    writing: _Writing,
    stop: Stop,
    count: int | None,
    duration_s: float | None,
    idle_s: float | None,
) -> int:
    """Hand frames to the writing thread; returns how many were overwritten while copied."""
    began = last = time.monotonic()
    taken = overwritten = 0
    while not stop.requested and (count is None or taken < count):
        frame = consumer.receive(_RECEIVE_S)
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
            overwritten += 1
            continue
        writing.put(recorded)
        taken += 1
        if taken == 1 and sys.stderr.isatty():
            complain("recording; Ctrl-C ends it")
    return overwritten


class _Writing:
    """The thread that writes. An error of the disk is raised by the next `put` or by `close`."""

    def __init__(self, writer: RecordingWriter) -> None:
        self.writer = writer
        self._frames: queue.SimpleQueue[RecordedFrame | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._room = threading.Condition()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def put(self, frame: RecordedFrame) -> None:
        """Queue a frame; waits while too much is waiting."""
        with self._room:
            while self._waiting_bytes > _WAITING_BYTES and self._error is None:
                self._room.wait()
            self._waiting_bytes += len(frame.payload)
        if self._error is not None:
            raise self._error
        self._frames.put(frame)

    def close(self) -> None:
        """Write what is waiting and end the thread."""
        self._frames.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while (frame := self._frames.get()) is not None:
                self.writer.add(frame)
                self._leave_room(len(frame.payload))
        except BaseException as error:  # noqa: BLE001 - raised in the receiving thread
            self._error = error
            self._leave_room(0)

    def _leave_room(self, nbytes: int) -> None:
        with self._room:
            self._waiting_bytes -= nbytes
            self._room.notify()
