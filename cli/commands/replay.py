"""`replay`: a recording becomes a stream again."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..pool_view.tables import bytes_text
from ..support.connection_options import Connection
from ..support.exit_status import OK, USAGE, CommandError
from ..support.signals import Stop
from ._sending import open_sender
from .mcap_file import RecordedFrame, Recording

__all__ = ["describe_recording", "replay_recording"]


def replay_recording(
    connection: Connection,
    path: Path,
    *,
    stream_id: int | None,
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
            sender.producer.set_metadata(
                recording.about.get("source", path.name), attributes={"replayed": path.name}
            )
            for gap_s, frame in _paced(recording, begin, end, speed, rate_hz, loop):
                if not sender.wait_until_due(gap_s):
                    break
                sender.send(
                    f"frame {frame.seq}",
                    frame.payload,
                    shape=frame.shape,
                    dtype=frame.wire_dtype,
                    strides=frame.strides,
                    trace_id=frame.trace_id,
                )
            sender.linger(linger_s)
            return sender.summary("replayed")


def describe_recording(path: Path, *, as_json: bool) -> int:
    """Say what is in a recording."""
    with Recording(path) as recording:
        _, first = next(recording.frames(0, 1))
        about = {
            "file": str(path),
            "stream_id": recording.stream_id,
            "source": recording.about.get("source", ""),
            "frames": len(recording),
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
