"""`capture`: the frames of a camera, a URL, a screen or a video become those of a stream."""

from __future__ import annotations

import time

from ..media.files import InputError
from ..media.live import LiveFrame, Source, SourceError, Wishes, pyav, read_source, source_of
from ..support.connection_options import Connection
from ..support.exit_status import FAILED, USAGE, CommandError, complain
from ..support.signals import Stop
from ._attach import name_of
from ._sending import Sender, open_sender

__all__ = ["capture_source"]

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
_ENDED = "it ended"


def capture_source(
    connection: Connection,
    stream_id: int | str,
    source_text: str,
    *,
    wishes: Wishes,
    loop: bool,
    reconnect: bool,
    frames: int | None,
    wait: int,
    linger_s: float,
    name: str | None,
) -> int:
    """Publish what the source gives until it ends; a live one is opened again when it fails."""
    try:
        pyav()
        wishes.check()
        source = source_of(source_text, wishes)
        with (
            Stop() as stop,
            connection.client() as client,
            open_sender(client, stream_id, stop, wait=wait) as sender,
        ):
            sender.producer.set_metadata(
                name or name_of(stream_id) or source.name, attributes={"source": source.name}
            )
            capture = _Capture(source, wishes, sender, stop, limit=frames)
            capture.run(loop=loop, reconnect=reconnect and source.is_live)
            sender.linger(linger_s)
            return sender.summary("captured")
    except InputError as error:
        raise CommandError(str(error), USAGE) from error


class _Capture:
    def __init__(
        self, source: Source, wishes: Wishes, sender: Sender, stop: Stop, *, limit: int | None
    ) -> None:
        self._source = source
        self._wishes = wishes
        self._sender = sender
        self._stop = stop
        self._left = limit
        self._described: tuple[str, int, int] | None = None
        self._timestamp_ns = 0

    def run(self, *, loop: bool, reconnect: bool) -> None:
        """Read the source, again and again if so wished; CommandError where it cannot be read."""
        pause_s = _FIRST_PAUSE_S
        told = ""
        while not self._stop.requested:
            before = self._sender.frames
            try:
                self._read_once()
                reason = _ENDED
            except SourceError as error:
                reason = str(error)
                if self._is_done:
                    return
                if not reconnect:
                    raise CommandError(f"{self._source.name}: {reason}", FAILED) from error
            if self._is_done or not (reconnect or loop):
                return
            if not reconnect:
                if self._sender.frames == before:
                    raise CommandError(f"{self._source.name}: no frame in it", FAILED)
                continue
            if self._sender.frames > before:
                pause_s = _FIRST_PAUSE_S
                told = told if told == _ENDED else ""  # a video at a URL ends again and again
            if reason != told:
                complain(f"{self._source.name}: {reason}; it is opened again until Ctrl-C")
                told = reason
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    @property
    def _is_done(self) -> bool:
        return self._stop.requested or self._left == 0

    def _read_once(self) -> None:
        first_ns: int | None = None
        due_ns = 0
        gap_ns = round(1e9 / self._wishes.rate_hz) if self._wishes.rate_hz else 0
        began_ns = time.monotonic_ns()
        for frame in read_source(self._source, self._wishes, lambda: self._stop.requested):
            if self._is_done:
                return
            if first_ns is None:
                first_ns = due_ns = frame.timestamp_ns
                began_ns = time.monotonic_ns()
            if gap_ns:
                if frame.timestamp_ns < due_ns - gap_ns // 4:  # above the rate
                    continue
                due_ns = max(due_ns + gap_ns, frame.timestamp_ns)
            if not self._source.paces_itself:
                behind_ns = time.monotonic_ns() - began_ns - (frame.timestamp_ns - first_ns)
                if behind_ns < 0 and self._stop.wait(-behind_ns / 1e9):
                    return
            self._send(frame)

    def _send(self, frame: LiveFrame) -> None:
        height, width = frame.shape[:2]
        described = (frame.encoding, width, height)
        if described != self._described:
            self._described = described
            self._sender.producer.set_image_format(frame.encoding, width=width, height=height)
        self._timestamp_ns = max(self._timestamp_ns, frame.timestamp_ns)
        self._sender.send_filled(
            self._source.name, frame.shape, frame.dtype, frame.fill, self._timestamp_ns
        )
        if self._left is not None:
            self._left -= 1
