"""`export`: a recording as a video, pictures, arrays or an MCAP file that other programs open."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tensor_pool.client.image_format import ImageFormat, image_format_of
from tensor_pool.driver.http.page.picture import picture_of, without_alpha

from ..media.files import Array, InputError, needs_package
from ..media.foxglove_images import foxglove_module, image_topics, raw_image
from ..media.live import pyav
from ..support.exit_status import OK, USAGE, CommandError
from ..support.progress import Progress
from ..support.replacing import part_of, replaced
from ..support.signals import Stop
from ._mcap_reader import Recording
from .mcap_file import RecordedFrame
from .replay import chosen_streams, note_missing_end

__all__ = ["FORMATS", "export_recording"]

_VIDEOS = {"mp4": "libx264", "mkv": "libx264"}
_PICTURES = {"png": "PNG", "tiff": "TIFF"}
FORMATS = (*_VIDEOS, *_PICTURES, "npz", "zarr", "mcap")
_MICROSECONDS = Fraction(1, 1_000_000)

type _Export = Callable[["_Frames", Path], None]


class _Frames:
    """The frames of a recording, each with its capture time in ns since 1970 and its format."""

    def __init__(self, recording: Recording, first: int, stop: int, signal: Stop) -> None:
        self._recording = recording
        self._first = first
        self._stop = stop
        self._signal = signal
        self.sources = {
            stream_id: recording.source(stream_id) or f"stream {stream_id}"
            for stream_id in recording.stream_ids
        }
        self.source = ", ".join(self.sources.values())
        self.count = 0

    def __len__(self) -> int:
        return self._stop - self._first

    def __iter__(self) -> Iterator[tuple[int, int, Array, ImageFormat | None]]:
        for frame, captured_ns, image in self.whole():
            yield frame.seq, captured_ns, frame.array(), image

    def whole(self) -> Iterator[tuple[RecordedFrame, int, ImageFormat | None]]:
        """Yield frame, capture time and format."""
        formats = {
            (stream_id, one.epoch, one.version): image_format_of(one.attributes)
            for stream_id in self._recording.stream_ids
            for one in self._recording.metadata_of(stream_id)
        }
        progress = Progress()
        for captured_ns, frame in self._recording.frames(self._first, self._stop):
            self._signal.check()
            yield (
                frame,
                captured_ns,
                formats.get((frame.stream_id, frame.epoch, frame.meta_version or 0)),
            )
            self.count += 1
            progress.show(lambda: f"{self.count} of {len(self)} frames")
        progress.end()


def export_recording(
    path: Path,
    out: Path,
    *,
    to: str | None,
    stream: str | None,
    first: int,
    count: int | None,
    force: bool,
) -> int:
    """Write the frames of a recording in another form."""
    kind = to or _kind_of(out)
    if out.exists() and not force and not (kind in _PICTURES and out.is_dir()):
        raise CommandError(f"{out}: exists; --force overwrites it", USAGE)
    exports: dict[str, _Export] = {
        **dict.fromkeys(_VIDEOS, _to_video),
        **{name: _to_pictures(form, f".{name}") for name, form in _PICTURES.items()},
        "npz": _to_arrays,
        "zarr": _to_zarr,
        "mcap": _to_foxglove,
    }
    with Recording(path) as every:
        note_missing_end(every)
        chosen = list(chosen_streams(every, {stream: stream})) if stream else every.stream_ids
        if len(chosen) > 1 and kind != "mcap":
            known = ", ".join(map(str, chosen))
            raise CommandError(
                f"{path}: holds several streams; choose one with --stream, of {known}", USAGE
            )
    with Recording(path, only=chosen) as recording, Stop() as signal:
        stop = len(recording) if count is None else min(len(recording), first + count)
        if first >= stop:
            raise CommandError(f"{path}: no frames from there on; it has {len(recording)}", USAGE)
        frames = _Frames(recording, first, stop, signal)
        try:
            exports[kind](frames, out)
        except InputError as error:
            raise CommandError(str(error), USAGE) from error
        except OSError as error:
            raise CommandError(f"{out}: {error.strerror or error}") from error
    print(f"exported {frames.count} frames of {frames.source}: {out}")
    return OK


def _kind_of(out: Path) -> str:
    kind = {"tif": "tiff"}.get(out.suffix[1:].lower(), out.suffix[1:].lower())
    if kind not in FORMATS or kind in _PICTURES:
        raise CommandError(
            f"{out}: give a file that ends in .mp4, .mkv, .npz, .zarr or .mcap, or a directory with"
            " --to png or --to tiff",
            USAGE,
        )
    return kind


def _to_video(frames: _Frames, out: Path) -> None:
    """Encode with H.264, each frame at its time; an odd row or column at the end is left out."""
    av = pyav()
    kind = out.suffix[1:].lower()
    form = {"mkv": "matroska"}.get(kind, "mp4")
    with replaced(out) as file, av.open(file, "w", format=form) as container:
        stream: Any = None
        began_ns = last = -1
        for _, captured_ns, array, image in frames:
            picture = without_alpha(picture_of(array, image))
            height, width = (length // 2 * 2 for length in picture.shape[:2])
            if not height or not width:
                raise InputError(f"frames of shape {array.shape} make no video")
            if stream is None:
                stream = container.add_stream(_VIDEOS.get(kind, "libx264"))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.time_base = stream.codec_context.time_base = _MICROSECONDS
                began_ns = captured_ns
            pixels = np.ascontiguousarray(picture[:height, :width])
            frame = av.VideoFrame.from_ndarray(pixels, "gray" if pixels.ndim == 2 else "rgb24")
            frame = frame.reformat(stream.width, stream.height, "yuv420p")
            last = max(last + 1, (captured_ns - began_ns) // 1000)
            frame.pts, frame.time_base = last, _MICROSECONDS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _to_pictures(form: str, suffix: str) -> _Export:
    """Write a file a frame, named after its number; 16-bit grey and, in TIFF, floats are kept."""

    def export(frames: _Frames, out: Path) -> None:
        try:
            from PIL import Image
        except ImportError:
            raise InputError(needs_package("pillow", "pictures")) from None
        out.mkdir(parents=True, exist_ok=True)
        for number, (_, _, array, image) in enumerate(frames):
            is_mosaic = image is not None and image.encoding.startswith("bayer_")
            kept = {"<u2", "<f4"} if form == "TIFF" else {"<u2"}
            is_kept = array.ndim == 2 and array.dtype.str in kept and not is_mosaic
            pixels = array if is_kept else picture_of(array, image)
            with replaced(out / f"{number:06d}{suffix}") as file:
                Image.fromarray(np.ascontiguousarray(pixels)).save(file, format=form)

    return export


def _to_arrays(frames: _Frames, out: Path) -> None:
    """Write `frames`, `timestamps_ns` and `seq`; all frames must be of one shape and dtype."""
    arrays: list[Array] = []
    times: list[int] = []
    numbers: list[int] = []
    for seq, captured_ns, array, _ in frames:
        _check_kind(seq, array, arrays[0] if arrays else array)
        arrays.append(array)
        times.append(captured_ns)
        numbers.append(seq)
    with replaced(out) as file:
        np.savez(
            file, frames=np.stack(arrays), timestamps_ns=np.array(times), seq=np.array(numbers)
        )


def _to_zarr(frames: _Frames, out: Path) -> None:
    """Write the same arrays as a Zarr group, a chunk for each frame, without keeping them."""
    try:
        import zarr
    except ImportError:
        raise InputError(
            "Zarr needs the package zarr of the extra zarr: pip install zarr"
        ) from None
    if out.exists() and not (out / "zarr.json").exists():
        raise InputError(f"{out}: not a Zarr group, so it is not overwritten")
    part = part_of(out)
    try:
        group = zarr.open_group(part, mode="w-", attributes={"source": frames.source})
        stored: Any = None
        times: list[int] = []
        numbers: list[int] = []
        first: Array | None = None
        for seq, captured_ns, array, _ in frames:
            if first is None:
                first = array
                stored = group.create_array(
                    "frames",
                    shape=(len(frames), *array.shape),
                    chunks=(1, *array.shape),
                    dtype=array.dtype,
                )
            _check_kind(seq, array, first)
            stored[len(times)] = array
            times.append(captured_ns)
            numbers.append(seq)
        group.create_array("timestamps_ns", data=np.array(times))
        group.create_array("seq", data=np.array(numbers))
        if out.exists():
            shutil.rmtree(out)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_kind(seq: int, array: Array, first: Array) -> None:
    """Raise InputError for a frame that does not go into one array with the first one."""
    if (array.shape, array.dtype) != (first.shape, first.dtype):
        raise InputError(
            f"frame {seq} is {array.dtype} {array.shape}, those before are {first.dtype}"
            f" {first.shape}: an array takes frames of one kind; choose them with --first"
            " and --count"
        )


def _to_foxglove(frames: _Frames, out: Path) -> None:
    """Write `foxglove.RawImage` messages, a channel for each stream."""
    foxglove = foxglove_module()
    context = foxglove.Context()
    with replaced(out) as file:
        writer = foxglove.open_mcap(file, context=context)
        make_channel = foxglove_module("foxglove.channels").RawImageChannel
        channels = {
            stream_id: make_channel(topic, context=context)
            for stream_id, topic in image_topics(frames.sources).items()
        }
        for frame, captured_ns, image in frames.whole():
            source = frames.sources[frame.stream_id]
            message = raw_image(frame.array(), image, captured_ns, source)
            channels[frame.stream_id].log(message, log_time=captured_ns)
        writer.close()
