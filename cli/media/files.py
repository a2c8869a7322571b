"""Read images, arrays and videos from files, one frame at a time.

Everything becomes NumPy arrays of a type that the protocol has, pixel for pixel as the decoder
gives them, in a fixed order. A file that cannot be read raises InputError with one line for the
user. Frames that were read are not kept, so a long video needs little memory.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tensor_pool.protocol.shm.tensor import dtype_of

__all__ = [
    "Array",
    "InputError",
    "Picture",
    "needs_package",
    "read_image",
    "read_pictures",
    "video_rate_hz",
]

# Pillow's modes whose pixels are numbers that NumPy has, and their encodings; palettes and prints
# become RGB or RGBA. Bits have no encoding.
_MODES_KEPT = {
    "1": "",
    "L": "mono8",
    "LA": "8UC2",
    "I": "32SC1",
    "I;16": "mono16",
    "I;16B": "mono16",
    "I;16L": "mono16",
    "F": "32FC1",
    "RGB": "rgb8",
    "RGBA": "rgba8",
}
_MAX_DIMENSIONS = 8

type Array = np.ndarray[Any, np.dtype[Any]]


class InputError(Exception):
    """The input cannot be streamed; the text is one line with the reason."""


class Picture(msgspec.Struct, frozen=True):
    """One frame of the source. `array` is C-contiguous and little-endian.

    `encoding` is that of its pixels (S-131), empty for an array of unknown meaning.
    """

    name: str
    array: Array
    encoding: str = ""


def read_pictures(path: Path, notes: list[str]) -> Iterator[Picture]:
    """The frames of a directory of images, an image, a `.npy` or `.npz` file or a video.

    Arrays of four and more dimensions are frames along the first axis, as are those of three whose
    last is not a colour (1 to 4 long); an animated image is its frames. Names of skipped files are
    appended to `notes`. Raise InputError, also while iterating.
    """
    path = path.expanduser()  # zsh leaves the ~ of `make demo INPUT=~/Pictures` alone
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file or directory")
        if path.is_dir():
            yield from _directory(path, notes)
        elif path.suffix.lower() in {".npy", ".npz"}:
            yield from _arrays(path)
        elif _is_image_name(path):
            yield from read_image(path)
        else:
            yield from _video(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def read_image(path: Path) -> Iterator[Picture]:
    """The frames of an image file, of which there mostly is one; OSError if it is not there."""
    image_module = _pillow()
    from PIL import ImageOps

    try:
        with image_module.open(path) as image:
            count = getattr(image, "n_frames", 1)
            for number in range(count):
                image.seek(number)
                upright = ImageOps.exif_transpose(image)
                if upright.mode not in _MODES_KEPT:
                    upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
                name = path.name if count == 1 else f"{path.name}[{number}]"
                yield _picture(name, np.asarray(upright), _MODES_KEPT[upright.mode])
    except (FileNotFoundError, InputError):
        raise
    # Pillow's decoders raise whatever a broken file makes them trip over.
    except Exception as error:
        raise InputError(f"{path}: not a readable image ({error})") from error


def video_rate_hz(path: Path) -> float | None:
    """Return the frame rate of a video in Hz; None for any other file."""
    if path.is_dir() or path.suffix.lower() in {".npy", ".npz"} or _is_image_name(path):
        return None
    try:
        import av

        with av.open(str(path)) as container:
            rate = container.streams.video[0].average_rate if container.streams.video else None
    except (ImportError, OSError, ValueError):  # FFmpeg's errors are kinds of these
        return None
    return float(rate) if rate else None


def needs_package(package: str, what: str) -> str:
    """Return the error text for a missing optional package."""
    return f"{what} need the package {package} of the extra tools: pip install {package}"


def _directory(path: Path, notes: list[str]) -> Iterator[Picture]:
    files = sorted(file for file in path.iterdir() if file.is_file() and _is_image_name(file))
    if not files:
        raise InputError(f"{path}: no images in this directory")
    skipped = []
    for file in files:
        try:
            yield from read_image(file)
        except InputError:
            skipped.append(file.name)
    if len(skipped) == len(files):
        raise InputError(f"{path}: none of its {len(files)} images can be read")
    if skipped:
        notes.append(f"skipped what cannot be read: {', '.join(skipped)}")


def _is_image_name(path: Path) -> bool:
    return path.suffix.lower() in _pillow().registered_extensions()


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise InputError(needs_package("pillow", "images")) from None
    return Image


def _arrays(path: Path) -> Iterator[Picture]:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable array file ({error})") from error
    if isinstance(loaded, np.lib.npyio.NpzFile):
        with loaded:
            for name in loaded.files:
                try:
                    array = loaded[name]
                except (ValueError, zipfile.BadZipFile) as error:
                    raise InputError(f"{path}: array {name}: {error}") from error
                yield from _frames(f"{path.name}:{name}", array)
    else:
        yield from _frames(path.name, loaded)


def _frames(name: str, array: Array) -> Iterator[Picture]:
    is_stack = array.ndim >= 4 or (array.ndim == 3 and array.shape[-1] > 4)
    if not is_stack:
        yield _picture(name, array)
        return
    for number, frame in enumerate(array):
        yield _picture(f"{name}[{number}]", frame)


def _video(path: Path) -> Iterator[Picture]:
    try:
        import av
    except ImportError:
        raise InputError(needs_package("av", "videos")) from None
    with path.open("rb"):
        pass  # raise for a file without permission before FFmpeg does
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: holds no video")
            for number, frame in enumerate(container.decode(video=0)):
                pixels = frame.to_ndarray(format="rgb24")
                yield _picture(f"{path.name}[{number}]", pixels, "rgb8")
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path}: neither an image, an array nor a video that can be read ({error.strerror})"
        ) from error


def _picture(name: str, array: Array, encoding: str = "") -> Picture:
    if array.ndim > _MAX_DIMENSIONS:
        raise InputError(f"{name}: {array.ndim} dimensions, at most {_MAX_DIMENSIONS} are possible")
    if array.size == 0:
        raise InputError(f"{name}: an array of shape {array.shape} has no elements to stream")
    try:
        dtype_of(array.dtype)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return Picture(name, plain, encoding)
