"""Recordings: frames of one stream in an MCAP file, each one findable without reading the others.

MCAP (https://mcap.dev) is the container that robotics records into: chunks, compressed or not, with
a checksum each, and an index at the end. A recording holds

- the profile `tensorpool`;
- one channel `/tensorpool/<stream id>` with schema `tensorpool.Frame` and message encoding
  `msgpack`; each message is a map with the fields of `RecordedFrame`, its log time the time of
  recording (strictly rising), its publish time the time of capture, both in ns since 1970;
- a metadata record `tensorpool.recording` with what is known of the source, at the end the counts.

The payload is the frame's bytes as they were in shared memory, so a replayed frame equals the
recorded one bit for bit, padding included.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import msgspec

from tensor_pool.protocol.clock import SystemClock
from tensor_pool.protocol.shm.tensor import NUMPY_DTYPES
from tensor_pool.protocol.wire import Dtype

from ..media.files import needs_package
from ..support.exit_status import USAGE, CommandError

if TYPE_CHECKING:
    from tensor_pool.client.consumer.frame import Frame

__all__ = ["COMPRESSIONS", "RecordedFrame", "Recording", "RecordingWriter"]

COMPRESSIONS = ("lz4", "zstd", "none")
PROFILE = "tensorpool"
SCHEMA = "tensorpool.Frame"
ENCODING = "msgpack"
METADATA = "tensorpool.recording"
_CHUNK_BYTES = 4 << 20


class RecordedFrame(msgspec.Struct, kw_only=True):
    """One frame. `timestamp_ns` is the capture time as the producer gave it, by its own clock;
    `strides` are bytes, `dtype` is a name of the wire format."""

    stream_id: int
    epoch: int
    seq: int
    trace_id: int
    timestamp_ns: int | None
    meta_version: int | None
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    order: str
    payload: bytes

    @property
    def wire_dtype(self) -> Dtype:
        """The element type; ValueError for a name that this version does not know."""
        try:
            return Dtype[self.dtype]
        except KeyError:
            raise ValueError(f"frame {self.seq} has the unknown dtype {self.dtype!r}") from None

    def array(self) -> Any:
        """The frame as a read-only NumPy array."""
        import numpy as np

        return np.ndarray(
            self.shape, NUMPY_DTYPES[self.wire_dtype], self.payload, strides=self.strides
        )

    @classmethod
    def of(cls, frame: Frame, stream_id: int) -> RecordedFrame | None:
        """A private copy of a received frame; None if it was overwritten meanwhile."""
        recorded = cls(
            stream_id=stream_id,
            epoch=frame.epoch,
            seq=frame.seq,
            trace_id=frame.trace_id,
            timestamp_ns=frame.timestamp_ns,
            meta_version=frame.meta_version,
            dtype=frame.wire_dtype.name,
            shape=frame.shape,
            strides=frame.strides,
            order=frame.order.name,
            payload=bytes(frame.payload),
        )
        return recorded if frame.valid else None


class RecordingWriter:
    """Writes a recording into a file that is open for writing."""

    def __init__(
        self, file: IO[bytes], stream_id: int, *, compression: str, about: dict[str, str]
    ) -> None:
        writer_module = _mcap("mcap.writer")
        kinds = writer_module.CompressionType
        kind = {"lz4": kinds.LZ4, "zstd": kinds.ZSTD, "none": kinds.NONE}[compression]
        self._writer = writer_module.Writer(file, chunk_size=_CHUNK_BYTES, compression=kind)
        version = importlib.metadata.version("aeron-tensor-pool")
        self._writer.start(profile=PROFILE, library=f"aeron-tensor-pool {version}")
        self._writer.add_metadata(METADATA, {"stream_id": str(stream_id), **about})
        schema_id = self._writer.register_schema(SCHEMA, encoding="", data=b"")
        self._channel_id = self._writer.register_channel(
            f"/tensorpool/{stream_id}",
            ENCODING,
            schema_id,
            {"stream_id": str(stream_id), **about},
        )
        self._encoder = msgspec.msgpack.Encoder()
        self._clock = SystemClock()
        self._wall_offset_ns = self._clock.realtime_ns() - self._clock.monotonic_ns()
        self._log_time_ns = 0
        self.frames = 0

    def add(self, frame: RecordedFrame) -> None:
        """Append one frame."""
        now_ns = self._clock.realtime_ns()
        self._log_time_ns = max(self._log_time_ns + 1, now_ns)
        captured_ns = frame.timestamp_ns
        self._writer.add_message(
            self._channel_id,
            log_time=self._log_time_ns,
            publish_time=now_ns if captured_ns is None else captured_ns + self._wall_offset_ns,
            sequence=frame.seq & 0xFFFFFFFF,
            data=self._encoder.encode(frame),
        )
        self.frames += 1

    def finish(self, counts: dict[str, int]) -> None:
        """Write the counts and the index; the file stays open."""
        self._writer.add_metadata(
            f"{METADATA}.end", {name: str(count) for name, count in counts.items()}
        )
        self._writer.finish()


class Recording:
    """A finished recording, opened for reading; `frames()` starts anywhere.

    Raises CommandError with what is wrong with a file that is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        reader_module = _mcap("mcap.reader")
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}", USAGE) from error
        try:
            with self._explained():
                self._reader = reader_module.make_reader(self._file, validate_crcs=True)
                self._summary = self._reader.get_summary()
            if self._summary is None or not self._summary.channels:
                raise self._not_one("it holds no frames")
            channels = [
                channel
                for channel in self._summary.channels.values()
                if channel.message_encoding == ENCODING
                and channel.schema_id in self._summary.schemas
                and self._summary.schemas[channel.schema_id].name == SCHEMA
            ]
            if len(channels) != 1:
                raise self._not_one(f"{len(channels)} of its channels hold tensor pool frames")
            self._channel = channels[0]
            with self._explained():
                self._times = self._read_times()
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return len(self._times)

    @property
    def stream_id(self) -> int:
        """The stream that was recorded."""
        return int(self._channel.metadata.get("stream_id", "0"))

    @property
    def about(self) -> dict[str, str]:
        """What the recorder knew of the source."""
        return dict(self._channel.metadata)

    @property
    def duration_s(self) -> float:
        """Time between the first and the last frame."""
        return (self._times[-1] - self._times[0]) / 1e9 if self._times else 0.0

    @property
    def started_at_ns(self) -> int:
        """When the first frame was recorded, in ns since 1970."""
        return self._times[0] if self._times else 0

    def index_at(self, seconds: float) -> int:
        """Number of the first frame recorded `seconds` after the first one, or later."""
        import bisect

        if not self._times:
            return 0
        return bisect.bisect_left(self._times, self._times[0] + round(seconds * 1e9))

    def frames(
        self, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, RecordedFrame]]:
        """Frames number `start` up to `stop`, each with its capture time in ns since 1970.

        Only the chunks that hold them are read. CommandError if the file is damaged there.
        """
        times = self._times[start:stop]
        if not times:
            return
        decode = msgspec.msgpack.Decoder(RecordedFrame).decode
        with self._explained():
            for _, _, message in self._reader.iter_messages(
                topics=self._channel.topic, starting_at=times[0], ending_at=times[-1]
            ):
                yield message.publish_time, decode(message.data)

    def _read_times(self) -> list[int]:
        """Log time of every frame, from the message indexes alone."""
        from mcap.data_stream import ReadDataStream
        from mcap.records import MessageIndex

        assert self._summary is not None
        times: list[int] = []
        for chunk in self._summary.chunk_indexes:
            offset = chunk.message_index_offsets.get(self._channel.id)
            if offset is not None:
                self._file.seek(offset + 1 + 8)  # behind the record's opcode and length
                index = MessageIndex.read(ReadDataStream(self._file))
                times.extend(time_ns for time_ns, _ in index.records)
        return sorted(times)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except CommandError:
            raise
        except Exception as error:  # decompressors raise whatever a damaged chunk makes them
            raise self._not_one(str(error) or type(error).__name__) from error

    def _not_one(self, why: str) -> CommandError:
        return CommandError(f"{self.path}: not a whole recording of a stream ({why})", USAGE)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _mcap(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise CommandError(needs_package("mcap", "recordings"), USAGE) from None
