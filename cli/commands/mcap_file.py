"""Recordings: frames of streams in an MCAP file, each one findable without reading the others.

MCAP (https://mcap.dev) is the container that robotics records into: chunks, compressed or not, with
a checksum each, and an index at the end. A recording holds

- the profile `tensorpool`;
- for each stream a channel `/tensorpool/<stream id>` with schema `tensorpool.Frame` and message
  encoding `msgpack`; each message is a map with the fields of `RecordedFrame`, its log time the
  time of recording (strictly rising in the file), its publish time the time of capture, both in ns
  since 1970;
- with images, a channel named after the source with schema `foxglove.RawImage`. The
  pixels of an image stand there only: the frame's own message, which comes before it in the same
  chunk with the same times, has their place in `image` and no payload;
- a channel `/tensorpool/<stream id>/traces` with schema `tensorpool.TraceLink`, if frames have more
  than one parent: maps with the fields of `RecordedLink`;
- a metadata record `tensorpool.metadata` for each version of a source's metadata, with the stream,
  and the epoch and version that frames name;
- a metadata record `tensorpool.recording.end` with the counts, those of all streams first.

The writer ends a chunk at least once a second, so a recorder that is killed loses at most the
frames of that second.

The payload is the frame's bytes as they were in shared memory, so a replayed frame equals the
recorded one bit for bit, padding included.
"""

from __future__ import annotations

import base64
import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

import msgspec

from tensor_pool.client.image_format import ImageFormat, image_format_of
from tensor_pool.client.metadata import AttributeValue
from tensor_pool.protocol.clock import Clock, SystemClock
from tensor_pool.protocol.shm.tensor import NUMPY_DTYPES
from tensor_pool.protocol.wire import Dtype

from ..media.files import needs_package
from ..media.foxglove_images import foxglove_module, image_topics, kept_encoding, raw_image
from ..support.exit_status import USAGE, CommandError

if TYPE_CHECKING:
    from tensor_pool.client.consumer.frame import Frame

__all__ = [
    "COMPRESSIONS",
    "ENCODING",
    "IMAGE_SCHEMA",
    "LINK_SCHEMA",
    "METADATA",
    "SCHEMA",
    "RecordedFrame",
    "RecordedLink",
    "RecordedMetadata",
    "RecordingWriter",
    "counts_of",
    "mcap_module",
]

COMPRESSIONS = ("lz4", "zstd", "none")
PROFILE = "tensorpool"
SCHEMA = "tensorpool.Frame"
LINK_SCHEMA = "tensorpool.TraceLink"
IMAGE_SCHEMA = "foxglove.RawImage"
ENCODING = "msgpack"
METADATA = "tensorpool.metadata"
_ABOUT = "tensorpool.recording"
_CHUNK_BYTES = 4 << 20
_NO_LIMIT = 1 << 62
_FLUSH_PERIOD_S = 1.0

_YEAR_2000_NS = 946_684_800 * 10**9
_SAME_CLOCK_NS = 3600 * 10**9


class RecordedFrame(msgspec.Struct, kw_only=True):
    """One frame. `timestamp_ns` is the capture time as the producer gave it, by its own clock;
    `strides` are bytes, `dtype` is a name of the wire format. `image` is the place of the payload,
    offset and length, in the image message that follows in the file; None if it is here."""

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
    image: tuple[int, int] | None = None

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
    """The metadata of a source in one version; frames name its epoch and version.

    `stream_id` is 0 in files of one stream that were written before there were several.
    """

    stream_id: int
    epoch: int
    version: int
    name: str
    summary: str
    attributes: dict[str, AttributeValue]

    def entries(self) -> dict[str, str]:
        """Return the entries of the MCAP record; values that are not text become base64."""
        attributes = {key: _attribute_entry(value) for key, value in self.attributes.items()}
        return {
            "stream_id": str(self.stream_id),
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
            stream_id=int(entries.get("stream_id", "0")),
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
    """Writes a recording into a file that is open for writing.

    `streams` has what is known of the source of each stream. With `images` frames that are images
    get a message that other programs read; InputError where the library for that is missing.
    `image_schema` is that of the images in a copied recording.
    """

    def __init__(
        self,
        file: IO[bytes],
        streams: Mapping[int, dict[str, str]],
        *,
        compression: str,
        images: bool = False,
        image_schema: bytes = b"",
        clock: Clock | None = None,
    ) -> None:
        writer_module = mcap_module("mcap.writer")
        kinds = writer_module.CompressionType
        kind = {"lz4": kinds.LZ4, "zstd": kinds.ZSTD, "none": kinds.NONE}[compression]
        # Chunks end where this class ends them: a frame and its image are in one.
        self._writer = writer_module.Writer(file, chunk_size=_NO_LIMIT, compression=kind)
        version = importlib.metadata.version("aeron-tensor-pool")
        self._writer.start(profile=PROFILE, library=f"aeron-tensor-pool {version}")
        schema_id = self._writer.register_schema(SCHEMA, encoding="", data=b"")
        self._channels: dict[int, int] = {}
        self._about = {
            stream_id: {"stream_id": str(stream_id), **about}
            for stream_id, about in streams.items()
        }
        for stream_id, about in self._about.items():
            self._writer.add_metadata(_ABOUT, about)
            self._channels[stream_id] = self._writer.register_channel(
                f"/tensorpool/{stream_id}", ENCODING, schema_id, about
            )
        self._links: dict[int, int] = {}  # the channel of links, with the first of them
        self._link_schema_id = 0
        self._images = images
        self._image_channels: dict[int, int] = {}
        self._image_schema = image_schema
        self._image_schema_id = 0
        self._formats: dict[tuple[int, int, int], ImageFormat | None] = {}
        self._names = {stream_id: about.get("source", "") for stream_id, about in streams.items()}
        if images:
            self._image_schema = foxglove_module("foxglove.messages").RawImage.get_schema().data
        self._encoder = msgspec.msgpack.Encoder()
        self._clock = clock or SystemClock()
        # Fixed for the whole recording: a step of the wall clock must not stretch the replay.
        self._wall_offset_ns = self._clock.realtime_ns() - self._clock.monotonic_ns()
        self._log_time_ns = 0
        self._flushed_ns = self._clock.monotonic_ns()
        self.unwritten_bytes = 0
        """Bytes of messages in the chunk that has not been written."""
        self.frames = 0

    def add(
        self,
        frame: RecordedFrame,
        *,
        received_ns: int | None = None,
        recorded_at: tuple[int, int] | None = None,
        image: bytes | None = None,
    ) -> None:
        """Append a frame that was received at that monotonic time (default: now).

        `recorded_at` has its log and publish times in a copy of a recording, `image` its image
        message there, if it has one.
        """
        if recorded_at is None:
            if received_ns is None:
                received_ns = self._clock.monotonic_ns()
            now_ns = received_ns + self._wall_offset_ns
            recorded_at = (now_ns, self._captured_ns(frame.timestamp_ns, now_ns))
        self._log_time_ns = max(self._log_time_ns + 1, recorded_at[0])
        if self._images:
            frame, image = self._imaged(frame, recorded_at[1])
        channel_id = self._channels[frame.stream_id]
        self._add_message(channel_id, frame.seq, recorded_at[1], self._encoder.encode(frame))
        if image is not None:
            channel_id = self._image_channel(frame.stream_id)
            self._add_message(channel_id, frame.seq, recorded_at[1], image)
        self.frames += 1
        self.flush_when_due()

    def _add_message(self, channel_id: int, seq: int, published_ns: int, data: bytes) -> None:
        self._writer.add_message(
            channel_id,
            log_time=self._log_time_ns,
            publish_time=published_ns,
            sequence=seq & 0xFFFFFFFF,
            data=data,
        )
        self.unwritten_bytes += len(data)

    def _imaged(self, frame: RecordedFrame, captured_ns: int) -> tuple[RecordedFrame, bytes | None]:
        """Return the frame without its payload, and the image message that has it."""
        named = frame.stream_id, frame.epoch, frame.meta_version or 0
        if frame.meta_version and named not in self._formats:
            return frame, None  # its colours are not known
        array = frame.array()
        image = self._formats.get(named)
        nbytes = len(frame.payload)
        if array.nbytes != nbytes or not array.flags.c_contiguous:
            return frame, None
        if not kept_encoding(array, image):
            return frame, None
        source = self._source(frame.stream_id)
        data: bytes = raw_image(array, image, captured_ns, source).encode()
        offset = data.find(frame.payload)
        return msgspec.structs.replace(frame, payload=b"", image=(offset, nbytes)), data

    def _source(self, stream_id: int) -> str:
        return self._names.get(stream_id) or f"stream {stream_id}"

    def _image_channel(self, stream_id: int) -> int:
        if stream_id not in self._image_channels:
            if not self._image_schema_id:
                self._image_schema_id = self._writer.register_schema(
                    IMAGE_SCHEMA, "protobuf", self._image_schema
                )
            sources = {known: self._source(known) for known in self._about}
            self._image_channels[stream_id] = self._writer.register_channel(
                image_topics(sources)[stream_id],
                "protobuf",
                self._image_schema_id,
                {"stream_id": str(stream_id)},
            )
        return self._image_channels[stream_id]

    def add_link(
        self,
        link: RecordedLink,
        *,
        received_ns: int | None = None,
        recorded_at_ns: int | None = None,
    ) -> None:
        """Append a link between traces; the times are those of `add`."""
        if link.stream_id not in self._links:
            if not self._link_schema_id:
                self._link_schema_id = self._writer.register_schema(LINK_SCHEMA, "", b"")
            self._links[link.stream_id] = self._writer.register_channel(
                f"/tensorpool/{link.stream_id}/traces", ENCODING, self._link_schema_id
            )
        if recorded_at_ns is None:
            if received_ns is None:
                received_ns = self._clock.monotonic_ns()
            recorded_at_ns = received_ns + self._wall_offset_ns
        self._writer.add_message(
            self._links[link.stream_id],
            log_time=recorded_at_ns,
            publish_time=recorded_at_ns,
            sequence=link.seq & 0xFFFFFFFF,
            data=self._encoder.encode(link),
        )

    def add_metadata(self, metadata: RecordedMetadata) -> None:
        """Append a version of a source's metadata."""
        self._writer.add_metadata(METADATA, metadata.entries())
        if not self._names.get(metadata.stream_id):
            self._names[metadata.stream_id] = metadata.name
        if self._images:
            named = metadata.stream_id, metadata.epoch, metadata.version
            self._formats[named] = image_format_of(metadata.attributes)

    def flush_when_due(self) -> None:
        """End the chunk and write it if it is large or the last one was written a second ago."""
        now_ns = self._clock.monotonic_ns()
        is_late = now_ns - self._flushed_ns >= _FLUSH_PERIOD_S * 1e9
        if is_late or self.unwritten_bytes > _CHUNK_BYTES:
            self._flushed_ns = now_ns
            self.unwritten_bytes = 0
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


def counts_of(frames: Mapping[int, int], lost: Mapping[int, int]) -> dict[str, int]:
    """Return the counts at the end of a recording: of all streams, and of each if they are several.

    >>> counts_of({1: 5, 2: 4}, {2: 1})
    {'frames': 9, 'lost': 1, 'frames.1': 5, 'lost.1': 0, 'frames.2': 4, 'lost.2': 1}
    """
    counts = {"frames": sum(frames.values()), "lost": sum(lost.values())}
    if len(frames) > 1:
        for stream_id in frames:
            counts[f"frames.{stream_id}"] = frames[stream_id]
            counts[f"lost.{stream_id}"] = lost.get(stream_id, 0)
    return counts


def mcap_module(module: str) -> Any:
    """Return a module of the package mcap; CommandError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise CommandError(needs_package("mcap", "recordings"), USAGE) from None
