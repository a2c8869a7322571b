"""Reading recordings: finished ones by their index, unfinished ones up to the last whole chunk."""

from __future__ import annotations

import bisect
import contextlib
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from ..support.exit_status import USAGE, CommandError
from .mcap_file import (
    ENCODING,
    IMAGE_SCHEMA,
    LINK_SCHEMA,
    METADATA,
    SCHEMA,
    RecordedFrame,
    RecordedLink,
    RecordedMetadata,
    mcap_module,
)

__all__ = ["Recording"]

_MAGIC = b"\x89MCAP0\r\n"
_HEAD_BYTES = 9  # of a record: opcode and length
_CHUNKS_KEPT = 4  # streams that are read in step want the same ones


class _Chunk(msgspec.Struct):
    """A chunk with frames: its place in the file, and the log times of its frames."""

    offset: int
    times: list[int]


class StoredFrame(msgspec.Struct, frozen=True):
    """A frame as it stands in the file, with its times and the image message that has its pixels.

    The times are those of recording and of capture, in ns since 1970.
    """

    logged_ns: int
    captured_ns: int
    frame: RecordedFrame
    image: bytes | None

    def whole(self) -> RecordedFrame:
        """Return the frame with its payload; ValueError if its image is missing."""
        place = self.frame.image
        if place is None:
            return self.frame
        first, nbytes = place
        payload = self.image[first : first + nbytes] if self.image is not None else b""
        if len(payload) != nbytes:
            raise ValueError(f"frame {self.frame.seq} has no image")
        return msgspec.structs.replace(self.frame, payload=payload, image=None)


class Recording:
    """A recording, opened for reading; `frames()` starts anywhere.

    Its frames are those of all streams in it in the order of recording, or of `only` some of them.
    A file without an end is one whose recorder was killed or whose disk was full: `is_whole` is
    false, and its frames are those of the whole chunks. Raises CommandError with the reason for a
    file that is not a recording.
    """

    def __init__(self, path: Path, *, only: Collection[int] = ()) -> None:
        self.path = path
        self._records = mcap_module("mcap.records")
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}", USAGE) from error
        try:
            self._size = path.stat().st_size
            if self._file.read(len(_MAGIC)) != _MAGIC:
                raise self._not_one("it is not an MCAP file")
            self.is_whole = self._ends_with_magic()
            self._only = only
            self._cached: dict[int, list[Any]] = {}
            self._chunks: list[_Chunk] = []
            self._link_chunks: list[int] = []  # offsets
            self._channels: dict[int, Any] = {}
            self._schemas: dict[int, Any] = {}
            self.metadata: list[RecordedMetadata] = []
            if self.is_whole:
                with self._explained():
                    self._read_summary()
            else:
                self._scan()
            chosen = self._chosen_channels()
            self._streams = {
                stream_id: channel
                for stream_id, channel in self._frame_channels().items()
                if channel.id in chosen
            }
            for chunk in self._chunks:
                chunk.times.sort()
            self._times = [time_ns for chunk in self._chunks for time_ns in chunk.times]
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return len(self._times)

    @property
    def stream_ids(self) -> list[int]:
        """The streams that were recorded, in the order of the recorder's command line."""
        return list(self._streams)

    @property
    def stream_id(self) -> int:
        """The stream that was recorded, the first one of several."""
        return self.stream_ids[0]

    def about(self, stream_id: int) -> dict[str, str]:
        """The entries that the recorder wrote about the source of a stream."""
        return dict(self._streams[stream_id].metadata)

    def source(self, stream_id: int) -> str:
        """Name of the source of a stream; empty if it had none."""
        return self.about(stream_id).get("source") or next(
            (m.name for m in reversed(self.metadata_of(stream_id)) if m.name), ""
        )

    def metadata_of(self, stream_id: int) -> list[RecordedMetadata]:
        """The versions of the metadata of a stream."""
        return [m for m in self.metadata if m.stream_id in (0, stream_id)]

    @property
    def image_schema(self) -> bytes:
        """The schema of the images in the file; empty if it has none."""
        return next((s.data for s in self._schemas.values() if s.name == IMAGE_SCHEMA), b"")

    @property
    def duration_s(self) -> float:
        """Time between the first and the last frame, in seconds."""
        return (self._times[-1] - self._times[0]) / 1e9 if self._times else 0.0

    @property
    def started_at_ns(self) -> int:
        """Time of recording of the first frame, in ns since 1970."""
        return self._times[0] if self._times else 0

    def index_at(self, seconds: float) -> int:
        """Return the number of the first frame recorded `seconds` after the first one, or later."""
        if not self._times:
            return 0
        return bisect.bisect_left(self._times, self._times[0] + round(seconds * 1e9))

    def frames(
        self, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, RecordedFrame]]:
        """Yield frames number `start` up to `stop`, each with its capture time in ns since 1970.

        Only the chunks that hold them are read. CommandError if the file is damaged there.
        """
        for _, captured_ns, frame in self.timed_frames(start, stop):
            yield captured_ns, frame

    def frames_of(
        self, stream_id: int, start: int, stop: int
    ) -> Iterator[tuple[int, RecordedFrame]]:
        """Yield those of `frames(start, stop)` that are of one stream."""
        for stored in self.stored_frames(start, stop, only=stream_id):
            with self._explained():
                whole = stored.whole()
            yield stored.captured_ns, whole

    def timed_frames(
        self, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, int, RecordedFrame]]:
        """Yield log time, capture time and frame, as `frames` does."""
        for stored in self.stored_frames(start, stop):
            with self._explained():
                whole = stored.whole()
            yield stored.logged_ns, stored.captured_ns, whole

    def stored_frames(
        self, start: int = 0, stop: int | None = None, *, only: int | None = None
    ) -> Iterator[StoredFrame]:
        """Yield frames as they stand in the file, as `frames` does, or `only` those of a stream."""
        stop = len(self) if stop is None else min(stop, len(self))
        wanted = self._chosen_channels() if only is None else {self._streams[only].id}
        first = 0
        for chunk in self._chunks:
            last = first + len(chunk.times)
            if first < stop and start < last:
                with self._explained():
                    for number, stored in enumerate(self._stored(chunk.offset, wanted), first):
                        if stored is not None and start <= number < stop:
                            yield stored
            first = last

    def links(self) -> Iterator[tuple[int, RecordedLink]]:
        """Yield log time and link of every frame with more than one parent (S-154)."""
        decode = msgspec.msgpack.Decoder(RecordedLink).decode
        channel_ids = self._link_channels()
        for offset in self._link_chunks:
            with self._explained():
                for record in self._records_of_chunk(offset):
                    if self._is_message(record, channel_ids):
                        yield record.log_time, decode(record.data)

    def _ends_with_magic(self) -> bool:
        self._file.seek(max(0, self._size - len(_MAGIC)))
        return self._size >= 2 * len(_MAGIC) and self._file.read() == _MAGIC

    def _read_summary(self) -> None:
        """Read channels, metadata and the place of every frame from the index alone."""
        self._file.seek(0)
        reader = mcap_module("mcap.reader").make_reader(self._file)
        summary = reader.get_summary()
        if summary is None:
            raise self._not_one("it has no index")
        self._channels, self._schemas = summary.channels, summary.schemas
        frame_channels = self._chosen_channels()
        link_channels = self._link_channels()
        for index in summary.chunk_indexes:
            if not link_channels.isdisjoint(index.message_index_offsets):
                self._link_chunks.append(index.chunk_start_offset)
            times: list[int] = []
            for channel_id in frame_channels & index.message_index_offsets.keys():
                self._file.seek(index.message_index_offsets[channel_id] + _HEAD_BYTES)
                messages = self._records.MessageIndex.read(self._stream(self._file))
                times += [time_ns for time_ns, _ in messages.records]
            if times:
                self._chunks.append(_Chunk(index.chunk_start_offset, times))
        for record in reader.iter_metadata():
            self._take_metadata(record)

    def _scan(self) -> None:
        """Read every record up to the first one that is cut off or damaged."""
        opcode = mcap_module("mcap.opcode").Opcode
        offset = len(_MAGIC)
        while offset + _HEAD_BYTES <= self._size:
            self._file.seek(offset)
            head = self._file.read(_HEAD_BYTES)
            end = offset + _HEAD_BYTES + int.from_bytes(head[1:], "little")
            if end > self._size:
                return
            try:
                if head[0] == opcode.CHUNK:
                    self._scan_chunk(offset)
                elif head[0] == opcode.METADATA:
                    self._take_metadata(self._records.Metadata.read(self._stream(self._file)))
            except Exception:  # noqa: BLE001 - damaged from here on; decompressors raise anything
                return
            offset = end

    def _scan_chunk(self, offset: int) -> None:
        times = []
        has_links = False
        for record in self._records_of_chunk(offset):
            if isinstance(record, self._records.Channel):
                self._channels[record.id] = record
            elif isinstance(record, self._records.Schema):
                self._schemas[record.id] = record
            elif record.channel_id in self._chosen_channels():
                times.append(record.log_time)
            else:
                has_links |= self._is_message(record, self._link_channels())
        if has_links:
            self._link_chunks.append(offset)
        if times:
            self._chunks.append(_Chunk(offset, times))

    def _stored(self, offset: int, wanted: set[int]) -> Iterator[StoredFrame | None]:
        """Yield the frames of a chunk, None for those of other channels than the given ones.

        An image comes after its frame, with the same log time.
        """
        decode = msgspec.msgpack.Decoder(RecordedFrame).decode
        channel_ids = self._chosen_channels()
        records = self._records_of_chunk(offset)
        for number, record in enumerate(records):
            if self._is_message(record, channel_ids):
                if record.channel_id not in wanted:
                    yield None
                    continue
                frame = decode(record.data)
                image = None
                if frame.image is not None:
                    image = next(
                        (
                            other.data
                            # Its schema and channel may stand between.
                            for other in records[number + 1 : number + 4]
                            if isinstance(other, self._records.Message)
                            and other.log_time == record.log_time
                        ),
                        None,
                    )
                yield StoredFrame(record.log_time, record.publish_time, frame, image)

    def _is_message(self, record: Any, channel_ids: set[int]) -> bool:
        return isinstance(record, self._records.Message) and record.channel_id in channel_ids

    def _records_of_chunk(self, offset: int) -> list[Any]:
        if offset not in self._cached:
            while len(self._cached) >= _CHUNKS_KEPT:
                del self._cached[next(iter(self._cached))]
            self._cached[offset] = self._decompressed(offset)
        return self._cached[offset]

    def _decompressed(self, offset: int) -> list[Any]:
        self._file.seek(offset + _HEAD_BYTES)
        chunk = self._records.Chunk.read(self._stream(self._file))
        records: list[Any] = mcap_module("mcap.stream_reader").breakup_chunk(
            chunk, validate_crc=True
        )
        return records

    def _take_metadata(self, record: Any) -> None:
        if record.name == METADATA:
            with contextlib.suppress(KeyError, ValueError):  # of a later version of the format
                self.metadata.append(RecordedMetadata.of(record.metadata))

    def _link_channels(self) -> set[int]:
        return {channel.id for channel in self._channels_of(LINK_SCHEMA)}

    def _channels_of(self, schema: str) -> list[Any]:
        return [
            channel
            for channel in self._channels.values()
            if channel.message_encoding == ENCODING
            and channel.schema_id in self._schemas
            and self._schemas[channel.schema_id].name == schema
        ]

    def _frame_channels(self) -> dict[int, Any]:
        """Return the channels of frames by stream."""
        if not self._channels:
            raise self._not_one("it holds no frames")
        channels = self._channels_of(SCHEMA)
        if not channels:
            raise self._not_one("none of its channels holds tensor pool frames")
        return {int(channel.metadata.get("stream_id", "0")): channel for channel in channels}

    def _chosen_channels(self) -> set[int]:
        return {
            channel.id
            for stream_id, channel in self._frame_channels().items()
            if not self._only or stream_id in self._only
        }

    @staticmethod
    def _stream(file: io.BufferedReader) -> Any:
        return mcap_module("mcap.data_stream").ReadDataStream(file)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except CommandError:
            raise
        except Exception as error:  # decompressors raise any error for a damaged chunk
            raise self._not_one(str(error) or type(error).__name__) from error

    def _not_one(self, why: str) -> CommandError:
        return CommandError(f"{self.path}: not a whole recording of a stream ({why})", USAGE)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
