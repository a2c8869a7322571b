"""What the demo streams: photographs that come with it, or whatever the user names.

Everything becomes a list of pictures, NumPy arrays of a type that the protocol knows, in a fixed
order. Whatever cannot be read is an InputError whose text is one line for the user.

The photographs are those that the package `mahotas` ships (a department store, its author, cell
nuclei under a microscope): 1.9 MB as a wheel, MIT licence, nothing but NumPy behind it, still
released. They are taken from its files; the package itself is not imported.
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...client.shm.tensor import dtype_of

__all__ = ["MAX_SOURCE_BYTES", "InputError", "Picture", "Pictures", "load_pictures"]

MAX_SOURCE_BYTES = 256 * 1024 * 1024
_PHOTOGRAPHS = ("DepartmentStore.jpg", "luispedro.jpg", "nuclear.png")
_MODES_KEPT = {"L", "RGB", "RGBA"}
_MAX_DIMENSIONS = 8

type Array = np.ndarray[Any, np.dtype[Any]]


class InputError(Exception):
    """The input cannot be streamed; the text says why, in one line."""


class Picture(msgspec.Struct, frozen=True):
    """One frame of the source. `array` is C-contiguous and little-endian."""

    name: str
    array: Array


class Pictures(msgspec.Struct, frozen=True):
    """The source: at least one picture, and what the user should know about the reading of it."""

    origin: str
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...] = ()


def load_pictures(path: Path | None) -> Pictures:
    """Read a directory of images, an image, a `.npy` or `.npz` file or a video; None: photographs.

    Reads at most MAX_SOURCE_BYTES of pictures and says so when there was more. Arrays of four and
    more dimensions are frames along the first axis, as are those of three whose last is not a
    colour (1 to 4 long). Raises InputError.
    """
    if path is None:
        return _photographs()
    notes: list[str] = []
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file or directory")
        if path.is_dir():
            found = _directory(path, notes)
        elif path.suffix.lower() in {".npy", ".npz"}:
            found = _arrays(path)
        elif _is_image_name(path):
            found = iter([_image(path)])
        else:
            found = _video(path)
        pictures = tuple(_within_limit(found, notes))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if not pictures:
        raise InputError(f"{path}: nothing to stream in it")
    return Pictures(str(path), pictures, tuple(notes))


def _photographs() -> Pictures:
    package = importlib.util.find_spec("mahotas")
    if package is None or package.origin is None:
        raise InputError(_needs("mahotas", "the demo's photographs"))
    folder = Path(package.origin).parent / "demos" / "data"
    try:
        pictures = tuple(_image(folder / name) for name in _PHOTOGRAPHS)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror or error}") from error
    return Pictures("photographs of the package mahotas", pictures)


def _needs(package: str, what: str) -> str:
    return f"{what} need the package {package}: pip install 'aeron-tensor-pool[demo]'"


def _within_limit(found: Iterator[Picture], notes: list[str]) -> Iterator[Picture]:
    total = 0
    for count, picture in enumerate(found):
        total += picture.array.nbytes
        if count and total > MAX_SOURCE_BYTES:
            notes.append(f"only the first {count} pictures, which is what fits into memory")
            return
        yield picture


def _directory(path: Path, notes: list[str]) -> Iterator[Picture]:
    files = sorted(file for file in path.iterdir() if file.is_file() and _is_image_name(file))
    if not files:
        raise InputError(f"{path}: no images in this directory")
    skipped = []
    for file in files:
        try:
            picture = _image(file)
        except InputError:
            skipped.append(file.name)
        else:
            yield picture
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
        raise InputError(_needs("pillow", "images")) from None
    return Image


def _image(path: Path) -> Picture:
    image_module = _pillow()
    from PIL import ImageOps

    try:
        with image_module.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            kept = upright if upright.mode in _MODES_KEPT else upright.convert("RGB")
            return _picture(path.name, np.asarray(kept))
    except FileNotFoundError:
        raise
    # Pillow's decoders raise whatever a broken file makes them trip over.
    except Exception as error:
        raise InputError(f"{path}: not a readable image ({error})") from error


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
        raise InputError(_needs("av", "videos")) from None
    with path.open("rb"):
        pass  # so that a file we may not read is told from one that is no video
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: holds no video")
            for number, frame in enumerate(container.decode(video=0)):
                yield _picture(f"{path.name}[{number}]", frame.to_ndarray(format="rgb24"))
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path}: neither an image, an array nor a video that can be read ({error.strerror})"
        ) from error


def _picture(name: str, array: Array) -> Picture:
    if array.ndim > _MAX_DIMENSIONS:
        raise InputError(f"{name}: {array.ndim} dimensions, at most {_MAX_DIMENSIONS} are possible")
    if array.size == 0:
        raise InputError(f"{name}: an array of shape {array.shape} has no elements to stream")
    try:
        dtype_of(array.dtype)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    return Picture(name, np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")))
