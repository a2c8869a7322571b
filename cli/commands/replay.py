"""`replay`: publish a recording as a stream again."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tensor_pool.client.producer.producer import Producer

from ..pool_view.tables import bytes_text
from ..support.connection_options import Connection
from ..support.exit_status import OK, USAGE, CommandError, complain
from ..support.signals import Stop
from ._mcap_reader import Recording
from ._sending import open_sender
from .mcap_file import RecordedFrame, RecordedMetadata

__all__ = ["describe_recording", "note_missing_end", "replay_recording"]


def replay_recording(
    connection: Connection,
    path: Path,
    *,
    stream_id: int | str | None,
    start_s: float,
    first: int,
    count: int | None,
    speed: float,
    rate_hz: float | None,
    loop: bool,
    wait: int,
    linger_s: float,
) -> int:
    """Publish recorded frames at their own pace, a multiple of it, or at a fixed rate."""
    with Recording(path) as recording:
        note_missing_end(recording)
        begin = max(first, recording.index_at(start_s))
        end = len(recording) if count is None else min(len(recording), begin + count)
        if begin >= end:
            raise CommandError(
                f"{path}: no frames from there on; it has {len(recording)} in"
                f" {recording.duration_s:.1f} s",
                USAGE,
            )
        target = recording.stream_id if stream_id is None else stream_id
        with (
            Stop() as stop,
            connection.client() as client,
            open_sender(connection, client, target, stop, wait=wait) as sender,
        ):
            described = _Metadata(recording, sender.producer)
            parents = {(link.epoch, link.seq): link.parents for _, link in recording.links()}
            for gap_s, frame in _paced(recording, begin, end, speed, rate_hz, loop):
                if not sender.wait_until_due(gap_s):
                    break
                described.set_for(frame)
                sender.send(
                    f"frame {frame.seq}",
                    frame.payload,
                    shape=frame.shape,
                    dtype=frame.wire_dtype,
                    strides=frame.strides,
                    trace_id=frame.trace_id,
                    parents=parents.get((frame.epoch, frame.seq)),
                )
            sender.linger(linger_s)
            return sender.summary("replayed")


class _Metadata:
    """The recorded metadata, given to the producer when the frames that name it are published."""

    def __init__(self, recording: Recording, producer: Producer) -> None:
        self._producer = producer
        self._recorded = {(m.epoch, m.version): m for m in recording.metadata}
        self._current: RecordedMetadata | None = None
        if not self._recorded:
            name = recording.path.name
            producer.set_metadata(
                recording.about.get("source", name), attributes={"replayed": name}
            )

    def set_for(self, frame: RecordedFrame) -> None:
        """Set the metadata that a frame names, unless it is set already."""
        named = self._recorded.get((frame.epoch, frame.meta_version or 0))
        if named is None or named == self._current:
            return
        self._current = named
        self._producer.set_metadata(
            named.name,
            named.summary,
            {key: (one.format, one.value) for key, one in named.attributes.items()},
            # The recorded number, unless the recording has begun again or the producer changed.
            version=max(named.version, self._producer.metadata_version + 1),
        )


def note_missing_end(recording: Recording) -> None:
    """Print a line if the recording has no end, with the remedy."""
    if not recording.is_whole:
        complain(
            f"{recording.path}: the recording has no end; {len(recording)} frames can be read"
            f" (`tensor-pool record --repair {recording.path}` completes the file)"
        )


def describe_recording(path: Path, *, as_json: bool) -> int:
    """Print the contents of a recording."""
    with Recording(path) as recording:
        note_missing_end(recording)
        if not len(recording):
            raise CommandError(f"{path}: no whole frame in it", USAGE)
        _, first = next(recording.frames(0, 1))
        about = {
            "file": str(path),
            "stream_id": recording.stream_id,
            "source": recording.about.get("source", ""),
            "frames": len(recording),
            "whole": recording.is_whole,
            "started": datetime.datetime.fromtimestamp(
                recording.started_at_ns / 1e9, datetime.UTC
            ).isoformat(timespec="milliseconds"),
            "duration_s": round(recording.duration_s, 3),
            "first_frame": {
                "shape": first.shape,
                "dtype": first.dtype,
                "nbytes": len(first.payload),
            },
            "file_bytes": path.stat().st_size,
        }
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(about).decode(), indent=2) + "\n")
    else:
        print(f"{path}: {about['frames']} frames of stream {about['stream_id']}")
        size = bytes_text(path.stat().st_size)
        print(f"started {about['started']}, {about['duration_s']} s, {size}")
        print(f"first frame: {first.dtype} {'x'.join(map(str, first.shape))}")
    return OK


def _paced(
    recording: Recording,
    begin: int,
    end: int,
    speed: float,
    rate_hz: float | None,
    loop: bool,
) -> Iterator[tuple[float, RecordedFrame]]:
    """Frames, each with the seconds between the one before and itself."""
    fixed_s = 1 / rate_hz if rate_hz else None
    while True:
        before_ns: int | None = None
        for captured_ns, frame in recording.frames(begin, end):
            gap_s = 0.0 if before_ns is None else max(0, captured_ns - before_ns) / 1e9 / speed
            before_ns = captured_ns
            yield fixed_s if fixed_s is not None else gap_s, frame
        if not loop:
            return
