"""Cameras, URLs, screens, test pictures and video files through PyAV, one frame at a time.

A source is opened, read until it ends or fails, and may be opened again. Its frames keep the pixel
format of the source where an encoding of ours has it (S-131); others become RGB.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tensor_pool.client.image_format import ENCODINGS

from .files import Array, InputError, needs_package

__all__ = ["LiveFrame", "Source", "SourceError", "Wishes", "pyav", "read_source", "source_of"]

_TIMEOUT_S = 5.0
_PIPE = "-"
_LOOK_S = 0.05
_SHORT_PROBE = {"probesize": "32768", "analyzeduration": "0"}
_NEAR_NS = 10_000_000_000

# The pixel formats of FFmpeg that are encodings of ours as they are: no conversion, any plane.
_ENCODING_OF = {
    "gray": "mono8",
    "gray16le": "mono16",
    "rgb24": "rgb8",
    "bgr24": "bgr8",
    "rgba": "rgba8",
    "bgra": "bgra8",
    "rgb48le": "rgb16",
    "bgr48le": "bgr16",
    "yuyv422": "yuv422_yuy2",
    "uyvy422": "yuv422",
    "bayer_rggb8": "bayer_rggb8",
    "bayer_bggr8": "bayer_bggr8",
    "bayer_gbrg8": "bayer_gbrg8",
    "bayer_grbg8": "bayer_grbg8",
}
_FORMAT_OF = {encoding: format_ for format_, encoding in _ENCODING_OF.items()}
_DEFAULT_ENCODING = "rgb8"


class SourceError(Exception):
    """The source cannot be opened or read now; it may be later."""


class Wishes(msgspec.Struct, frozen=True):
    """The caller's wishes: pixels, frames a second, an encoding; 0 or "" is the source's own."""

    width: int = 0
    height: int = 0
    rate_hz: float = 0.0
    encoding: str = ""

    def check(self) -> None:
        """Raise InputError for an encoding that frames cannot be given."""
        if self.encoding and self.encoding not in _FORMAT_OF:
            raise InputError(
                f"--format {self.encoding}: give one of {', '.join(sorted(_FORMAT_OF))}"
            )


class Source(msgspec.Struct, frozen=True):
    """A place that frames come from.

    `is_live` sources are opened again when they end. `paces_itself` is false for a file, whose
    frames can be read faster than they are due.
    """

    name: str
    url: str
    format: str = ""
    options: dict[str, str] = {}
    is_live: bool = True
    paces_itself: bool = True


class LiveFrame:
    """A decoded frame; `fill()` writes its pixels into an array.

    `timestamp_ns` is the time of the source on the monotonic clock.
    """

    def __init__(self, frame: Any, encoding: str, timestamp_ns: int) -> None:
        self._frame = frame
        self.encoding = encoding
        self.timestamp_ns = timestamp_ns
        known = ENCODINGS[encoding]
        self.dtype = np.dtype(known.dtype)
        self._channels = known.channels
        colours = () if known.channels == 1 else (known.channels,)
        self.shape = (frame.height, frame.width, *colours)

    def fill(self, target: Array) -> None:
        """Copy the pixels, once, without the padding that the decoder has at the end of rows."""
        plane = self._frame.planes[0]
        items = self._frame.width * self._channels
        rows = np.frombuffer(plane, self.dtype).reshape(
            self._frame.height, plane.line_size // self.dtype.itemsize
        )
        np.copyto(target.reshape(self._frame.height, items), rows[:, :items])


def source_of(text: str, wishes: Wishes) -> Source:
    """Return the source that a command line names. Raise InputError for one that cannot be.

    >>> source_of("/dev/video0", Wishes(width=640, height=480)).options["video_size"]
    '640x480'
    >>> source_of("test", Wishes()).url
    'testsrc2=size=640x480:rate=30'
    """
    size = f"{wishes.width}x{wishes.height}" if wishes.width else ""
    if text == "test":
        url = f"testsrc2=size={size or '640x480'}:rate={wishes.rate_hz or 30:g}"
        return Source(text, url, "lavfi", is_live=False, paces_itself=False)
    if text == _PIPE:
        return Source("standard input", _PIPE, options=_SHORT_PROBE, is_live=False)
    if text.startswith("lavfi:"):
        graph = text.removeprefix("lavfi:")
        return Source(text, graph, "lavfi", is_live=False, paces_itself=False)
    options = {"video_size": size} if size else {}
    if wishes.rate_hz:
        options["framerate"] = f"{wishes.rate_hz:g}"
    if text == "screen" or text.startswith("screen:"):
        display = text.removeprefix("screen").removeprefix(":") or os.environ.get("DISPLAY", "")
        if not display:
            raise InputError("screen: DISPLAY is not set; give it as screen:DISPLAY (screen::0)")
        return Source(text, display, "x11grab", options)
    if re.fullmatch(r"/dev/video\d+", text) or text.startswith("/dev/v4l/"):
        return Source(text, text, "v4l2", options)
    if re.match(r"[a-z][a-z0-9+.-]*://", text):
        is_rtsp = text.startswith("rtsp")
        transport = {"rtsp_transport": "tcp"} if is_rtsp else {}
        return Source(text, text, options=transport, paces_itself=is_rtsp)
    if not Path(text).exists():
        raise InputError(
            f"{text}: no such file; give a file, a device (/dev/video0), a URL (rtsp://, http://),"
            " test, lavfi:GRAPH, screen or - for a video on standard input"
        )
    return Source(text, text, is_live=False, paces_itself=False)


def pyav() -> Any:
    """Return the module. Raise InputError, with the extra to install, where it is missing."""
    try:
        import av
    except ImportError:
        raise InputError(needs_package("av", "cameras, URLs and videos")) from None
    return av


class _StandardInput:
    """Standard input, which ends when the command is to end: a pipe may be silent for long."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over

    def read(self, size: int) -> bytes:
        """Return what is there, at most `size` bytes; none at the end."""
        while not self._is_over():
            if select.select([sys.stdin.fileno()], [], [], _LOOK_S)[0]:
                return os.read(sys.stdin.fileno(), size)
        return b""


def read_source(
    source: Source, wishes: Wishes, is_over: Callable[[], bool] = lambda: False
) -> Iterator[LiveFrame]:
    """Open the source and yield its frames until it ends; standard input ends with `is_over` too.

    Raise SourceError when it cannot be opened or fails, InputError without PyAV.
    """
    av = pyav()
    try:
        with av.open(
            _StandardInput(is_over) if source.url == _PIPE else source.url,
            format=source.format or None,
            options=source.options,
            timeout=None if source.url == _PIPE else _TIMEOUT_S,
        ) as container:
            if not container.streams.video:
                raise SourceError("holds no video")
            video = container.streams.video[0]
            video.thread_type = "AUTO" if source.paces_itself is False else "SLICE"
            clock = _Clock(is_monotonic=source.format == "v4l2", is_piped=source.url == _PIPE)
            for frame in _decoded(av, container, video):
                picture = _converted(frame, wishes)
                encoding = _ENCODING_OF[picture.format.name]
                yield LiveFrame(picture, encoding, clock.timestamp_ns(frame))
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(getattr(error, "strerror", "") or str(error)) from error


def _decoded(av: Any, container: Any, video: Any) -> Iterator[Any]:
    """Yield frames; those in the decoder when the source fails come before the error."""
    try:
        for packet in container.demux(video):
            yield from packet.decode()
    except av.error.FFmpegError:
        with contextlib.suppress(av.error.FFmpegError):
            yield from video.codec_context.decode(None)
        raise


def _converted(frame: Any, wishes: Wishes) -> Any:
    wanted = _FORMAT_OF[wishes.encoding] if wishes.encoding else frame.format.name
    if wanted not in _ENCODING_OF:
        wanted = _FORMAT_OF[_DEFAULT_ENCODING]
    return frame.reformat(width=wishes.width or None, height=wishes.height or None, format=wanted)


class _Clock:
    """From a source's times to the monotonic clock, of which those of V4L2 mostly are.

    The first frames of a pipe were waiting there, so the frame with the shortest way counts.
    """

    def __init__(self, *, is_monotonic: bool, is_piped: bool) -> None:
        self._is_monotonic = is_monotonic
        self._is_piped = is_piped
        self._offset_ns: int | None = None
        self._last_ns = 0

    def timestamp_ns(self, frame: Any) -> int:
        now_ns = time.monotonic_ns()
        if frame.time is None:
            return now_ns
        source_ns = round(frame.time * 1_000_000_000)
        if self._offset_ns is None:
            fits = self._is_monotonic and 0 <= now_ns - source_ns < _NEAR_NS
            self._offset_ns = 0 if fits else now_ns - source_ns
        if self._is_piped:
            self._offset_ns = min(self._offset_ns, now_ns - source_ns)
        self._last_ns = max(self._last_ns, source_ns + self._offset_ns)
        return self._last_ns
