"""`view`: the newest frame of a stream in the terminal, as a PNG file or in Rerun."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tensor_pool.client.consumer.consumer import Consumer
from tensor_pool.client.image_format import ImageFormat
from tensor_pool.driver.http.page.picture import picture_of, without_alpha
from tensor_pool.protocol.errors import FrameOverwrittenError, StaleFrameError

from ..media.files import needs_package
from ..media.pixels import half_blocks
from ..media.rerun_images import rerun_image, rerun_module, rerun_recording
from ..support.connection_options import Connection
from ..support.exit_status import FAILED, OK, USAGE, CommandError, complain
from ..support.replacing import replaced
from ..support.signals import Stop
from ._attach import attach_consumer, lost_frames

__all__ = ["view_in_rerun", "view_stream"]

_RECEIVE_S = 0.1
_METADATA_PATIENCE_S = 1.5
_PAUSE_S = 0.01
_REPORT_PERIOD_S = 1.0
_CLEAR, _HOME = "\x1b[2J\x1b[H", "\x1b[H"


def view_stream(
    connection: Connection,
    stream_id: int | str,
    *,
    png: Path | None,
    follow_hz: float | None,
    width: int | None,
    idle_s: float | None,
) -> int:
    """Show one frame, or the newest one again and again."""
    pillow = _pillow()
    with (
        Stop() as stop,
        connection.client() as client,
        attach_consumer(client, stream_id, stop, patience_s=idle_s) as consumer,
    ):
        shown = 0
        while not stop.requested and (not shown or follow_hz is not None):
            began = time.monotonic()
            taken = _next_copy(consumer, stop, idle_s)
            if taken is None:
                break
            title, array, _ = taken
            shown += 1
            image = consumer.image_format
            if png is not None:
                _save(pillow, array, image, png)
                print(f"{title}: {png}", flush=True)
            else:
                start = "" if follow_hz is None else _CLEAR if shown == 1 else _HOME
                sys.stdout.write(f"{start}{_drawn(pillow, array, image, width)}\n{title}\x1b[K\n")
                sys.stdout.flush()
            if follow_hz is not None:
                stop.wait(began + 1 / follow_hz - time.monotonic())
    if not shown:
        complain(f"stream {stream_id}: no frame came")
        return FAILED
    return OK


def view_in_rerun(
    connection: Connection,
    stream_id: int | str,
    target: str,
    *,
    follow_hz: float | None,
    idle_s: float | None,
) -> int:
    """Log frames as images, and once a second the losses, until a signal or `idle_s` ends it."""
    rerun = rerun_module()
    with (
        Stop() as stop,
        connection.client() as client,
        attach_consumer(client, stream_id, stop, patience_s=idle_s) as consumer,
        rerun_recording(target, "tensor-pool") as recording,
    ):
        shown, reported = 0, 0.0
        while not stop.requested:
            began = time.monotonic()
            taken = _next_copy(consumer, stop, idle_s)
            if taken is None:
                break
            shown += 1
            metadata = consumer.metadata
            entity = (metadata.name if metadata is not None else "") or f"stream {stream_id}"
            recording.set_time("seq", sequence=taken.seq)
            recording.set_time("received", timestamp=np.datetime64(time.time_ns(), "ns"))
            recording.log(entity, rerun_image(taken.array, consumer.image_format))
            if began - reported >= _REPORT_PERIOD_S:
                reported = began
                lost = sum(lost_frames(consumer).values())
                recording.log(f"{entity}/lost", rerun.Scalars([lost]))
            if follow_hz is not None:
                stop.wait(began + 1 / follow_hz - time.monotonic())
    if not shown:
        complain(f"stream {stream_id}: no frame came")
        return FAILED
    print(f"logged {shown} frames of stream {stream_id}: {target}")
    return OK


class _Copy(NamedTuple):
    title: str
    array: np.ndarray[Any, np.dtype[Any]]
    seq: int


def _next_copy(consumer: Consumer, stop: Stop, idle_s: float | None) -> _Copy | None:
    """The newest frame as an array of its own; None at the end of patience."""
    began = time.monotonic()
    patient_until = began + _METADATA_PATIENCE_S
    while not stop.requested and (idle_s is None or time.monotonic() - began < idle_s):
        frame = consumer.latest() or consumer.receive(_RECEIVE_S)
        if frame is None:
            continue
        if frame.meta_version:  # its metadata is repeated every announce period
            while not _is_described(consumer) and time.monotonic() < patient_until:
                if stop.wait(_PAUSE_S):
                    return None
        try:
            array = frame.copy()
        except (FrameOverwrittenError, StaleFrameError):
            continue
        shape = "x".join(map(str, frame.shape))
        title = f"stream {consumer.stream_id} seq {frame.seq} {frame.dtype} {shape}"
        return _Copy(title, array, frame.seq)
    return None


def _is_described(consumer: Consumer) -> bool:
    metadata = consumer.metadata
    return metadata is not None and metadata.attributes is not None


def _drawn(
    pillow: Any,
    array: np.ndarray[Any, np.dtype[Any]],
    image: ImageFormat | None,
    width: int | None,
) -> str:
    terminal = shutil.get_terminal_size()
    picture = pillow.fromarray(np.ascontiguousarray(without_alpha(picture_of(array, image))))
    columns = width or terminal.columns
    lines = max(1, terminal.lines - 2) if width is None else 10**6
    scale = min(columns / picture.width, 2 * lines / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    box = pillow.Resampling.BOX if scale < 1 else pillow.Resampling.NEAREST
    return half_blocks(np.asarray(picture.convert("RGB").resize(size, box)))


def _save(
    pillow: Any, array: np.ndarray[Any, np.dtype[Any]], image: ImageFormat | None, png: Path
) -> None:
    is_mosaic = image is not None and image.encoding.startswith("bayer_")
    if array.ndim == 2 and array.dtype == np.uint16 and not is_mosaic:  # PNG has 16 bits for grey
        picture = pillow.fromarray(array)
    else:
        picture = pillow.fromarray(np.ascontiguousarray(picture_of(array, image)))
    try:
        with replaced(png) as file:
            picture.save(file, format="PNG")
    except OSError as error:
        raise CommandError(f"{png}: {error.strerror or error}") from error


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise CommandError(needs_package("pillow", "pictures"), USAGE) from None
    return Image
