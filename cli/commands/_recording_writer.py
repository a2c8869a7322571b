"""The files of a recorder: one, one after the other, or those of the last seconds on request.

All of it is used by the thread that writes. Items come in the order of receipt.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from ..pool_view.tables import bytes_text
from ..support.amounts import Amount
from ..support.exit_status import USAGE, CommandError
from ..support.replacing import part_of
from ._mcap_reader import Recording
from .mcap_file import RecordedFrame, RecordedLink, RecordedMetadata, RecordingWriter, counts_of

__all__ = [
    "Item",
    "LastOnRequest",
    "OneFile",
    "Outlet",
    "Parts",
    "Received",
    "nbytes_of",
    "numbered_files",
]

_VERSIONS_KEPT = 8
_LAST_BYTES = 2 << 30

type Item = RecordedFrame | RecordedLink | RecordedMetadata
type MakeWriter = Callable[[IO[bytes]], RecordingWriter]


class Received(NamedTuple):
    """An item, the monotonic time of its receipt, and the losses of its stream until then."""

    item: Item
    received_ns: int
    lost: int = 0


def numbered_files(out: Path) -> list[Path]:
    """Return the files that belong to a name, `run-0000.mcap` and so on for `run.mcap`."""
    found = out.parent.glob(f"{out.stem}-[0-9][0-9][0-9][0-9]{out.suffix}")
    return sorted(path for path in found if path.stem.startswith(out.stem))


def _numbered(out: Path, number: int) -> Path:
    return out.with_name(f"{out.stem}-{number:04d}{out.suffix}")


class _File:
    """One file. Its losses are those since its first frame, or since the end of the one before."""

    def __init__(self, path: Path, make_writer: MakeWriter, lost_before: Mapping[int, int]) -> None:
        self.path = path
        self._file = path.open("xb")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)  # `--repair` keeps away
            self.writer = make_writer(self._file)
        except BaseException:
            self._file.close()
            path.unlink()
            raise
        self._lost_before = dict(lost_before)
        self.lost = dict(lost_before)
        self.frames: collections.Counter[int] = collections.Counter()
        self.began_ns = 0

    @property
    def nbytes(self) -> int:
        """Bytes in the file and, not compressed, of what is still to be written."""
        return self._file.tell() + self.writer.unwritten_bytes

    def add(self, received: Received) -> None:
        """Append an item."""
        item, received_ns, lost = received
        if isinstance(item, RecordedFrame):
            self.began_ns = self.began_ns or received_ns
            self._lost_before.setdefault(item.stream_id, lost)
            self.lost[item.stream_id] = lost
            self.frames[item.stream_id] += 1
            self.writer.add(item, received_ns=received_ns)
        elif isinstance(item, RecordedLink):
            self.writer.add_link(item, received_ns=received_ns)
        else:
            self.writer.add_metadata(item)

    def losses(self) -> dict[int, int]:
        """Return the losses of each stream with frames here."""
        return {
            stream_id: lost - self._lost_before[stream_id]
            for stream_id, lost in self.lost.items()
            if stream_id in self._lost_before
        }

    def finish(self, stream_ids: Iterable[int]) -> None:
        """Write the counts and the index, and close the file."""
        frames = {stream_id: self.frames[stream_id] for stream_id in stream_ids}
        self.writer.finish(counts_of(frames, self.losses()))
        self._file.close()

    def cut_short(self, error: OSError, whole: int) -> CommandError:
        """Return the error for a file that could not be written to its end, and close it."""
        with contextlib.suppress(OSError):
            self._file.close()
        text = f"{self.path}: {error.strerror or error}"
        safe = 0
        with contextlib.suppress(CommandError), Recording(self.path) as recording:
            safe = len(recording)
        before = f"; {whole} files before it are whole" if whole else ""
        if not safe:
            self.path.unlink(missing_ok=True)
            return CommandError(f"{text}; nothing was recorded{' in it' if whole else ''}{before}")
        return CommandError(
            f"{text}; {safe} frames are safe in the file: `tensor-pool replay` reads them, and"
            f" `tensor-pool record --repair {self.path}` completes the file once there is"
            f" room{before}"
        )


class Outlet:
    """The place that a recorder writes to: the files so far, and the losses in them."""

    def __init__(self, out: Path, make_writer: MakeWriter, stream_ids: list[int]) -> None:
        self._out = out
        self._make_writer = make_writer
        self._stream_ids = stream_ids
        self.paths: list[Path] = []
        self.frames: collections.Counter[int] = collections.Counter()
        self.lost: collections.Counter[int] = collections.Counter()
        self.nbytes = 0
        """Bytes on the disk, for a user who watches."""

    def write(self, received: Received) -> None:
        """Take an item."""
        raise NotImplementedError

    def snapshot(self) -> str:
        """Write the last seconds to a file of their own and return a line about it."""
        raise NotImplementedError

    def when_idle(self) -> None:
        """Write what has waited for long enough."""

    def finish(self, lost: Mapping[int, int]) -> None:
        """Complete what is open; `lost` has the losses of each stream up to now."""

    def _opened(self, path: Path, lost_before: Mapping[int, int]) -> _File:
        if not path.parent.is_dir():
            raise CommandError(f"{path.parent}: no such directory", USAGE)
        try:
            return _File(path, self._make_writer, lost_before)
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror or error}") from error

    def _ended(self, file: _File) -> None:
        """Complete a file; one without a frame is removed."""
        try:
            file.finish(self._stream_ids)
        except OSError as error:
            raise file.cut_short(error, len(self.paths)) from error
        if not file.frames:
            file.path.unlink()
            return
        self.paths.append(file.path)
        self.frames += file.frames
        self.lost.update(file.losses())

    @contextlib.contextmanager
    def _explained(self, file: _File) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise file.cut_short(error, len(self.paths)) from error


class Parts(Outlet):
    """Files of a size or a duration, one after the other, each of them whole.

    Each begins with the newest versions of the metadata.
    """

    def __init__(
        self,
        out: Path,
        make_writer: MakeWriter,
        stream_ids: list[int],
        limit: Amount,
    ) -> None:
        super().__init__(out, make_writer, stream_ids)
        self._limit = limit
        self._versions = _Versions()
        self._closed_bytes = 0
        self._file = self._opened(self._path(0), {})

    def _path(self, number: int) -> Path:
        return _numbered(self._out, number)

    def write(self, received: Received) -> None:
        if self._is_full(received):
            before = self._file
            self._ended(before)
            self._closed_bytes += before.path.stat().st_size
            self._file = self._opened(self._path(len(self.paths)), before.lost)
            with self._explained(self._file):
                for version in self._versions.newest():
                    self._file.add(version)
        self._versions.add(received)
        with self._explained(self._file):
            self._file.add(received)
        self.nbytes = self._closed_bytes + self._file.nbytes

    def _is_full(self, received: Received) -> bool:
        file, limit = self._file, self._limit
        if not isinstance(received.item, RecordedFrame) or not file.frames:
            return False
        if limit.nbytes is not None:
            return file.nbytes + len(received.item.payload) > limit.nbytes
        if limit.seconds is not None:
            return received.received_ns - file.began_ns >= limit.seconds * 1e9
        return False

    def when_idle(self) -> None:
        with self._explained(self._file):
            self._file.writer.flush_when_due()

    def finish(self, lost: Mapping[int, int]) -> None:
        self._file.lost |= {k: n for k, n in lost.items() if k in self._file.lost}
        self._ended(self._file)


class OneFile(Parts):
    """One file. It replaces an old one when it is complete and has a frame."""

    def __init__(self, out: Path, make_writer: MakeWriter, stream_ids: list[int]) -> None:
        self._target = part_of(out) if out.exists() else out
        super().__init__(out, make_writer, stream_ids, Amount())

    def _path(self, number: int) -> Path:
        return self._target

    def finish(self, lost: Mapping[int, int]) -> None:
        super().finish(lost)
        if self.paths and self._target != self._out:
            self._target.replace(self._out)
            self.paths = [self._out]


class LastOnRequest(Outlet):
    """The last seconds, or bytes, in memory; a file on each request."""

    def __init__(
        self, out: Path, make_writer: MakeWriter, stream_ids: list[int], limit: Amount
    ) -> None:
        super().__init__(out, make_writer, stream_ids)
        if not out.parent.is_dir():
            raise CommandError(f"{out.parent}: no such directory", USAGE)
        self._limit_ns = round(limit.seconds * 1e9) if limit.seconds is not None else None
        self._limit_bytes = limit.nbytes if limit.nbytes is not None else _LAST_BYTES
        self._items: collections.deque[Received] = collections.deque()
        self._versions = _Versions()
        self._was_cut = False
        known = numbered_files(out)
        self._next = int(known[-1].stem[-4:]) + 1 if known else 0

    def write(self, received: Received) -> None:
        self._items.append(received)
        self.nbytes += nbytes_of(received.item)
        self._forget_old(received.received_ns)

    def _forget_old(self, now_ns: int) -> None:
        items = self._items
        while items:
            is_old = self._limit_ns is not None and now_ns - items[0].received_ns > self._limit_ns
            is_much = self.nbytes > self._limit_bytes
            if not (is_old or is_much):
                return
            self._was_cut |= is_much and self._limit_ns is not None
            oldest = items.popleft()
            self.nbytes -= nbytes_of(oldest.item)
            self._versions.add(oldest)

    def snapshot(self) -> str:
        file = self._opened(_numbered(self._out, self._next), {})
        with self._explained(file):
            for received in (*self._versions.newest(), *self._items):
                file.add(received)
        if not file.frames:
            self._ended(file)
            return f"stream {' '.join(map(str, self._stream_ids))}: no frame is there to keep"
        self._ended(file)
        self._next += 1
        first = next(r for r in self._items if isinstance(r.item, RecordedFrame))
        seconds = (self._items[-1].received_ns - first.received_ns) / 1e9
        size = bytes_text(file.path.stat().st_size)
        frames = file.frames.total()
        cut = f"; no more fit into {bytes_text(self._limit_bytes)}" if self._was_cut else ""
        return f"recorded the last {seconds:.1f} s, {frames} frames, {size}: {file.path}{cut}"


class _Versions:
    """The newest versions of the metadata of each stream."""

    def __init__(self) -> None:
        self._kept: dict[int, collections.deque[Received]] = {}

    def add(self, received: Received) -> None:
        """Keep the item if it is metadata."""
        if isinstance(received.item, RecordedMetadata):
            new: collections.deque[Received] = collections.deque(maxlen=_VERSIONS_KEPT)
            self._kept.setdefault(received.item.stream_id, new).append(received)

    def newest(self) -> list[Received]:
        """Return what is kept."""
        return [version for kept in self._kept.values() for version in kept]


def nbytes_of(item: Item) -> int:
    return len(item.payload) if isinstance(item, RecordedFrame) else 0
