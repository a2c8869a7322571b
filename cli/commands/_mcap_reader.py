"""Reading recordings: finished ones by their index, unfinished ones up to the last whole chunk."""

from __future__ import annotations

import bisect
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from ..support.exit_status import USAGE, CommandError
from .mcap_file import (
    ENCODING,
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


class _Chunk(msgspec.Struct):
    """A chunk with frames: its place in the file, and the log times of its frames."""

    offset: int
    times: list[int]


class Recording:
    """A recording, opened for reading; `frames()` starts anywhere.

    A file without an end is one whose recorder was killed or whose disk was full: `is_whole` is
    false, and its frames are those of the whole chunks. Raises CommandError with the reason for a
    file that is not a recording.
    """

    def __init__(self, path: Path) -> None:
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
            self._channel = self._frame_channel()
            for chunk in self._chunks:
                chunk.times.sort()
            self._times = [time_ns for chunk in self._chunks for time_ns in chunk.times]
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
        """The entries that the recorder wrote about the source."""
        return dict(self._channel.metadata)

    @property
    def source(self) -> str:
        """Name of the source; empty if it had none."""
        return self.about.get("source") or next(
            (m.name for m in reversed(self.metadata) if m.name), ""
        )

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

    def timed_frames(
        self, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, int, RecordedFrame]]:
        """Yield log time, capture time and frame, as `frames` does."""
        stop = len(self) if stop is None else min(stop, len(self))
        decode = msgspec.msgpack.Decoder(RecordedFrame).decode
        first = 0
        for chunk in self._chunks:
            last = first + len(chunk.times)
            if first < stop and start < last:
                with self._explained():
                    for number, message in enumerate(self._messages(chunk.offset), first):
                        if start <= number < stop:
                            yield message.log_time, message.publish_time, decode(message.data)
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
        channel_id = self._frame_channel().id
        link_channels = self._link_channels()
        for index in summary.chunk_indexes:
            if not link_channels.isdisjoint(index.message_index_offsets):
                self._link_chunks.append(index.chunk_start_offset)
            offset = index.message_index_offsets.get(channel_id)
            if offset is not None:
                self._file.seek(offset + _HEAD_BYTES)
                messages = self._records.MessageIndex.read(self._stream(self._file))
                self._chunks.append(
                    _Chunk(index.chunk_start_offset, [time_ns for time_ns, _ in messages.records])
                )
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
            elif record.channel_id == self._frame_channel().id:
                times.append(record.log_time)
            else:
                has_links |= self._is_message(record, self._link_channels())
        if has_links:
            self._link_chunks.append(offset)
        if times:
            self._chunks.append(_Chunk(offset, times))

    def _messages(self, offset: int) -> Iterator[Any]:
        for record in self._records_of_chunk(offset):
            if self._is_message(record, {self._channel.id}):
                yield record

    def _is_message(self, record: Any, channel_ids: set[int]) -> bool:
        return isinstance(record, self._records.Message) and record.channel_id in channel_ids

    def _records_of_chunk(self, offset: int) -> list[Any]:
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

    def _frame_channel(self) -> Any:
        channels = self._channels_of(SCHEMA)
        if not self._channels:
            raise self._not_one("it holds no frames")
        if len(channels) != 1:
            raise self._not_one(f"{len(channels)} of its channels hold tensor pool frames")
        return channels[0]

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
