"""`replay`: publish a recording as a stream again."""

from __future__ import annotations

import datetime
import heapq
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tensor_pool.client.producer.producer import Producer

from ..pool_view.tables import bytes_text
from ..support.connection_options import Connection
from ..support.exit_status import OK, USAGE, CommandError, complain
from ..support.pausing import Pauses
from ..support.signals import Stop
from ._mcap_reader import Recording
from ._sending import Pace, open_senders
from .mcap_file import RecordedFrame, RecordedMetadata

__all__ = ["chosen_streams", "describe_recording", "note_missing_end", "replay_recording"]


def replay_recording(
    connection: Connection,
    path: Path,
    *,
    targets: Mapping[str, int | str],
    start_s: float,
    first: int,
    count: int | None,
    speed: float,
    rate_hz: float | None,
    loop: bool,
    wait: int,
    linger_s: float,
) -> int:
    """Publish recorded frames at their own pace, a multiple of it, or at a fixed rate.

    `targets` has the streams to publish to by those recorded, "" stands for the only one.
    """
    with Recording(path) as every:
        note_missing_end(every)
        chosen = chosen_streams(every, targets)
    with Recording(path, only=chosen) as recording:
        begin = max(first, recording.index_at(start_s))
        end = len(recording) if count is None else min(len(recording), begin + count)
        if begin >= end:
            raise CommandError(
                f"{path}: no frames from there on; it has {len(recording)} in"
                f" {recording.duration_s:.1f} s",
                USAGE,
            )
        if rate_hz and len(chosen) > 1:
            raise CommandError("--rate is for one stream; several stay in step by --speed", USAGE)
        with (
            Stop() as stop,
            connection.client() as client,
            open_senders(client, list(chosen.values()), stop, wait=wait) as senders,
            Pauses(stop) as pauses,
        ):
            by_stream = dict(zip(chosen, senders, strict=True))
            described = {
                stream_id: _Metadata(recording, stream_id, sender.producer)
                for stream_id, sender in by_stream.items()
            }
            parents = {
                (link.stream_id, link.epoch, link.seq): link.parents
                for _, link in recording.links()
            }
            pace = Pace(stop)
            for gap_s, frame in _paced(recording, begin, end, speed, rate_hz, loop):
                is_going_on = pace.wait(gap_s)
                while is_going_on and (paused_s := pauses.hold()):
                    pace.shift(paused_s)
                    is_going_on = pace.wait(0)
                if not is_going_on:
                    break
                described[frame.stream_id].set_for(frame)
                by_stream[frame.stream_id].send(
                    f"frame {frame.seq}",
                    frame.payload,
                    shape=frame.shape,
                    dtype=frame.wire_dtype,
                    strides=frame.strides,
                    timestamp_ns=pace.due_ns,
                    trace_id=frame.trace_id,
                    parents=parents.get((frame.stream_id, frame.epoch, frame.seq)),
                )
            if any(sender.frames for sender in senders):
                stop.wait(linger_s)
            return max(sender.summary("replayed") for sender in senders)


def chosen_streams(recording: Recording, targets: Mapping[str, int | str]) -> dict[int, int | str]:
    """Return the streams to publish to by the streams of the recording."""
    streams = recording.stream_ids
    if not targets:
        return {stream_id: stream_id for stream_id in streams}
    known = {str(stream_id): stream_id for stream_id in streams}
    known |= {source: s for s in streams if (source := recording.source(s))}
    if len(streams) == 1:
        known[""] = streams[0]
    found: dict[int, int | str] = {}
    for recorded, target in targets.items():
        if recorded not in known:
            what = f"has no stream {recorded}" if recorded else "holds several streams"
            raise CommandError(
                f"{recording.path}: {what}; give --stream RECORDED={target} with one of"
                f" {', '.join(name for name in known if name)}",
                USAGE,
            )
        found[known[recorded]] = target
    if len(set(found.values())) < len(found) or len(found) < len(targets):
        raise CommandError("--stream: each recorded stream needs a stream of its own", USAGE)
    return found


class _Metadata:
    """The recorded metadata, given to the producer when the frames that name it are published."""

    def __init__(self, recording: Recording, stream_id: int, producer: Producer) -> None:
        self._producer = producer
        recorded = recording.metadata_of(stream_id)
        self._recorded = {(m.epoch, m.version): m for m in recorded}
        self._current: RecordedMetadata | None = None
        if not self._recorded:
            name = recording.path.name
            source = recording.about(stream_id).get("source", name)
            producer.set_metadata(source, attributes={"replayed": name})

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
        streams = [_described(path, stream_id) for stream_id in recording.stream_ids]
        about = {
            "file": str(path),
            "stream_id": recording.stream_id,
            "source": recording.about(recording.stream_id).get("source", ""),
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
            "streams": streams,
            "file_bytes": path.stat().st_size,
        }
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(about).decode(), indent=2) + "\n")
    else:
        named = ", ".join(str(stream["stream_id"]) for stream in streams)
        print(f"{path}: {about['frames']} frames of stream{'s'[: len(streams) > 1]} {named}")
        size = bytes_text(path.stat().st_size)
        print(f"started {about['started']}, {about['duration_s']} s, {size}")
        print(f"first frame: {first.dtype} {'x'.join(map(str, first.shape))}")
    return OK


def _described(path: Path, stream_id: int) -> dict[str, object]:
    with Recording(path, only=[stream_id]) as recording:
        return {
            "stream_id": stream_id,
            "source": recording.source(stream_id),
            "frames": len(recording),
        }


def _paced(
    recording: Recording,
    begin: int,
    end: int,
    speed: float,
    rate_hz: float | None,
    loop: bool,
) -> Iterator[tuple[float, RecordedFrame]]:
    """Frames by their capture times, each with the seconds between the one before and itself."""
    fixed_s = 1 / rate_hz if rate_hz else None
    while True:
        before_ns: int | None = None
        each = [recording.frames_of(stream_id, begin, end) for stream_id in recording.stream_ids]
        for captured_ns, frame in heapq.merge(*each, key=lambda one: one[0]):
            gap_s = 0.0 if before_ns is None else max(0, captured_ns - before_ns) / 1e9 / speed
            before_ns = captured_ns
            yield fixed_s if fixed_s is not None else gap_s, frame
        if not loop:
            return
