"""`publish`: files become frames."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from tensor_pool.client.producer.producer import Producer

from ..media.files import Picture, read_pictures, video_rate_hz
from ..support.connection_options import Connection
from ..support.exit_status import USAGE, CommandError, complain
from ..support.signals import Stop
from ._attach import name_of
from ._sending import open_sender

__all__ = ["publish_files"]

_DEFAULT_RATE_HZ = 30.0
_KEPT_BYTES = 256 << 20


def publish_files(
    connection: Connection,
    stream_id: int | str,
    files: list[Path],
    *,
    rate_hz: float | None,
    loop: bool,
    wait: int,
    linger_s: float,
    name: str | None,
) -> int:
    """Publish every frame of the files once, or over and over with `loop`."""
    reel = _Reel(files)
    frames = reel.frames()
    first = next(frames, None)  # before a lease is requested
    if first is None:
        raise CommandError(f"{files[0]}: nothing to publish in it", USAGE)
    if rate_hz is None:
        rate_hz = next(filter(None, map(video_rate_hz, files)), _DEFAULT_RATE_HZ)
    gap_s = 1 / rate_hz if rate_hz > 0 else 0.0
    with (
        Stop() as stop,
        connection.client() as client,
        open_sender(client, stream_id, stop, wait=wait) as sender,
    ):
        sender.producer.set_metadata(
            name or name_of(stream_id) or files[0].name,
            attributes={"rate_hz": f"{rate_hz:g}", "files": str(len(files))},
        )
        rounds = itertools.chain([itertools.chain([first], frames)], reel.repeated(loop))
        for picture in itertools.chain.from_iterable(rounds):
            if not sender.wait_until_due(gap_s):
                break
            _describe(sender.producer, picture)
            sender.send(picture.name, picture.array)
        sender.linger(linger_s)
        for note in reel.notes:
            complain(note)
        return sender.summary("published")


def _describe(producer: Producer, picture: Picture) -> None:
    """Set the image format of the frame that comes next, where it is another (S-133)."""
    if picture.encoding:
        height, width = picture.array.shape[:2]
        producer.set_image_format(picture.encoding, width=width, height=height)
    else:
        producer.set_image_format(None)


class _Reel:
    """The frames of some files; those of a short one are kept for the next round."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._kept: list[Picture] | None = []
        self.notes: list[str] = []

    def frames(self) -> Iterator[Picture]:
        """Every frame of every file, read as it is asked for."""
        kept: list[Picture] | None = []
        nbytes = 0
        self.notes.clear()
        for file in self._files:
            for picture in read_pictures(file, self.notes):
                nbytes += picture.array.nbytes
                if nbytes > _KEPT_BYTES:
                    kept = None
                if kept is not None:
                    kept.append(picture)
                yield picture
        self._kept = kept

    def repeated(self, loop: bool) -> Iterator[Iterator[Picture]]:
        """The rounds after the first one."""
        while loop:
            yield iter(self._kept) if self._kept else self.frames()
