"""Recordings: frames of one stream in an MCAP file, each one findable without reading the others.

MCAP (https://mcap.dev) is the container that robotics records into: chunks, compressed or not, with
a checksum each, and an index at the end. A recording holds

- the profile `tensorpool`;
- one channel `/tensorpool/<stream id>` with schema `tensorpool.Frame` and message encoding
  `msgpack`; each message is a map with the fields of `RecordedFrame`, its log time the time of
  recording (strictly rising), its publish time the time of capture, both in ns since 1970;
- a channel `/tensorpool/<stream id>/traces` with schema `tensorpool.TraceLink`, if frames have more
  than one parent: maps with the fields of `RecordedLink`;
- a metadata record `tensorpool.metadata` for each version of the source's metadata, with the epoch
  and version that frames name;
- a metadata record `tensorpool.recording.end` with the counts.

The writer ends a chunk at least once a second, so a recorder that is killed loses at most the
frames of that second.

The payload is the frame's bytes as they were in shared memory, so a replayed frame equals the
recorded one bit for bit, padding included.
"""

from __future__ import annotations

import base64
import importlib
import importlib.metadata
from typing import IO, TYPE_CHECKING, Any

import msgspec

from tensor_pool.client.metadata import AttributeValue
from tensor_pool.protocol.clock import Clock, SystemClock
from tensor_pool.protocol.shm.tensor import NUMPY_DTYPES
from tensor_pool.protocol.wire import Dtype

from ..media.files import needs_package
from ..support.exit_status import USAGE, CommandError

if TYPE_CHECKING:
    from tensor_pool.client.consumer.frame import Frame

__all__ = [
    "COMPRESSIONS",
    "ENCODING",
    "LINK_SCHEMA",
    "METADATA",
    "SCHEMA",
    "RecordedFrame",
    "RecordedLink",
    "RecordedMetadata",
    "RecordingWriter",
    "mcap_module",
]

COMPRESSIONS = ("lz4", "zstd", "none")
PROFILE = "tensorpool"
SCHEMA = "tensorpool.Frame"
LINK_SCHEMA = "tensorpool.TraceLink"
ENCODING = "msgpack"
METADATA = "tensorpool.metadata"
_ABOUT = "tensorpool.recording"
_CHUNK_BYTES = 4 << 20
_FLUSH_PERIOD_S = 1.0

_YEAR_2000_NS = 946_684_800 * 10**9
_SAME_CLOCK_NS = 3600 * 10**9


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


class RecordedLink(msgspec.Struct, frozen=True, kw_only=True):
    """The traces that one frame was made from (S-154)."""

    stream_id: int
    epoch: int
    seq: int
    trace_id: int
    parents: tuple[int, ...]


class RecordedMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of the source in one version; frames name its epoch and version."""

    epoch: int
    version: int
    name: str
    summary: str
    attributes: dict[str, AttributeValue]

    def entries(self) -> dict[str, str]:
        """Return the entries of the MCAP record; values that are not text become base64."""
        attributes = {key: _attribute_entry(value) for key, value in self.attributes.items()}
        return {
            "epoch": str(self.epoch),
            "version": str(self.version),
            "name": self.name,
            "summary": self.summary,
            "attributes": msgspec.json.encode(attributes).decode(),
        }

    @classmethod
    def of(cls, entries: dict[str, str]) -> RecordedMetadata:
        """Return the metadata of an MCAP record; KeyError or ValueError if it is not one."""
        attributes = msgspec.json.decode(entries["attributes"], type=dict[str, dict[str, str]])
        return cls(
            epoch=int(entries["epoch"]),
            version=int(entries["version"]),
            name=entries["name"],
            summary=entries["summary"],
            attributes={key: _attribute_of(entry) for key, entry in attributes.items()},
        )


def _attribute_entry(attribute: AttributeValue) -> dict[str, str]:
    try:
        return {"format": attribute.format, "text": attribute.value.decode()}
    except UnicodeDecodeError:
        return {
            "format": attribute.format,
            "base64": base64.b64encode(attribute.value).decode(),
        }


def _attribute_of(entry: dict[str, str]) -> AttributeValue:
    value = entry["text"].encode() if "text" in entry else base64.b64decode(entry["base64"])
    return AttributeValue(entry["format"], value)


class RecordingWriter:
    """Writes a recording into a file that is open for writing."""

    def __init__(
        self,
        file: IO[bytes],
        stream_id: int,
        *,
        compression: str,
        about: dict[str, str],
        clock: Clock | None = None,
    ) -> None:
        writer_module = mcap_module("mcap.writer")
        kinds = writer_module.CompressionType
        kind = {"lz4": kinds.LZ4, "zstd": kinds.ZSTD, "none": kinds.NONE}[compression]
        self._writer = writer_module.Writer(file, chunk_size=_CHUNK_BYTES, compression=kind)
        version = importlib.metadata.version("aeron-tensor-pool")
        self._writer.start(profile=PROFILE, library=f"aeron-tensor-pool {version}")
        self._writer.add_metadata(_ABOUT, {"stream_id": str(stream_id), **about})
        schema_id = self._writer.register_schema(SCHEMA, encoding="", data=b"")
        self._channel_id = self._writer.register_channel(
            f"/tensorpool/{stream_id}",
            ENCODING,
            schema_id,
            {"stream_id": str(stream_id), **about},
        )
        self._links_id: int | None = None  # the channel of links, with the first of them
        self._links_name = f"/tensorpool/{stream_id}/traces"
        self._encoder = msgspec.msgpack.Encoder()
        self._clock = clock or SystemClock()
        # Fixed for the whole recording: a step of the wall clock must not stretch the replay.
        self._wall_offset_ns = self._clock.realtime_ns() - self._clock.monotonic_ns()
        self._log_time_ns = 0
        self._flushed_ns = self._clock.monotonic_ns()
        self.frames = 0

    def add(
        self,
        frame: RecordedFrame,
        *,
        received_ns: int | None = None,
        recorded_at: tuple[int, int] | None = None,
    ) -> None:
        """Append a frame that was received at that monotonic time (default: now).

        `recorded_at` has its log and publish times in a copy of a recording.
        """
        if recorded_at is None:
            if received_ns is None:
                received_ns = self._clock.monotonic_ns()
            now_ns = received_ns + self._wall_offset_ns
            recorded_at = (now_ns, self._captured_ns(frame.timestamp_ns, now_ns))
        self._log_time_ns = max(self._log_time_ns + 1, recorded_at[0])
        self._writer.add_message(
            self._channel_id,
            log_time=self._log_time_ns,
            publish_time=recorded_at[1],
            sequence=frame.seq & 0xFFFFFFFF,
            data=self._encoder.encode(frame),
        )
        self.frames += 1
        self.flush_when_due()

    def add_link(
        self,
        link: RecordedLink,
        *,
        received_ns: int | None = None,
        recorded_at_ns: int | None = None,
    ) -> None:
        """Append a link between traces; the times are those of `add`."""
        if self._links_id is None:
            schema_id = self._writer.register_schema(LINK_SCHEMA, encoding="", data=b"")
            self._links_id = self._writer.register_channel(self._links_name, ENCODING, schema_id)
        if recorded_at_ns is None:
            if received_ns is None:
                received_ns = self._clock.monotonic_ns()
            recorded_at_ns = received_ns + self._wall_offset_ns
        self._writer.add_message(
            self._links_id,
            log_time=recorded_at_ns,
            publish_time=recorded_at_ns,
            sequence=link.seq & 0xFFFFFFFF,
            data=self._encoder.encode(link),
        )

    def add_metadata(self, metadata: RecordedMetadata) -> None:
        """Append a version of the source's metadata."""
        self._writer.add_metadata(METADATA, metadata.entries())

    def flush_when_due(self) -> None:
        """End the chunk and write it if the last one was written a second ago."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._flushed_ns >= _FLUSH_PERIOD_S * 1e9:
            self._flushed_ns = now_ns
            self._writer.flush()

    def _captured_ns(self, timestamp_ns: int | None, now_ns: int) -> int:
        """Return the capture time in ns since 1970.

        Producers stamp frames with CLOCK_MONOTONIC, with time since 1970 (PTP, NTP), or with a
        counter of their own. A stamp between the year 2000 and now is the second kind, one near
        this host's monotonic time the first. For any other the time of recording is the best there
        is; the stamp itself is in the frame.
        """
        if timestamp_ns is None:
            return now_ns
        if _YEAR_2000_NS <= timestamp_ns <= now_ns + _SAME_CLOCK_NS:
            return timestamp_ns
        captured_ns = timestamp_ns + self._wall_offset_ns
        return captured_ns if abs(captured_ns - now_ns) <= _SAME_CLOCK_NS else now_ns

    def finish(self, counts: dict[str, int]) -> None:
        """Write the counts and the index; the file stays open."""
        self._writer.add_metadata(
            f"{_ABOUT}.end", {name: str(count) for name, count in counts.items()}
        )
        self._writer.finish()


def mcap_module(module: str) -> Any:
    """Return a module of the package mcap; CommandError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise CommandError(needs_package("mcap", "recordings"), USAGE) from None
