"""The frames that the demo streams: photographs that come with it, or files of the user.

The photographs are those that the package `mahotas` ships (a department store, its author, cell
nuclei under a microscope): 1.9 MB as a wheel, MIT licence, nothing but NumPy behind it, still
released. They are taken from its files; the package itself is not imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..media.files import (
    InputError,
    Picture,
    needs_package,
    read_image,
    read_pictures,
)

__all__ = ["MAX_SOURCE_BYTES", "Pictures", "load_pictures"]

MAX_SOURCE_BYTES = 256 * 1024 * 1024
_PHOTOGRAPHS = ("DepartmentStore.jpg", "luispedro.jpg", "nuclear.png")


class Pictures(msgspec.Struct, frozen=True):
    """The source: at least one picture, and notes for the user."""

    origin: str
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...] = ()


def load_pictures(path: Path | None) -> Pictures:
    """Read everything there is in `path`; None: the photographs.

    Reads at most MAX_SOURCE_BYTES of pictures, with a note when there was more. Raises InputError.
    """
    if path is None:
        return _photographs()
    notes: list[str] = []
    pictures = tuple(_within_limit(read_pictures(path, notes), notes))
    if not pictures:
        raise InputError(f"{path}: nothing to stream in it")
    return Pictures(str(path), pictures, tuple(notes))


def _photographs() -> Pictures:
    package = importlib.util.find_spec("mahotas")
    if package is None or package.origin is None:
        raise InputError(needs_package("mahotas", "the demo's photographs"))
    folder = Path(package.origin).parent / "demos" / "data"
    try:
        pictures = tuple(picture for name in _PHOTOGRAPHS for picture in read_image(folder / name))
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror or error}") from error
    return Pictures("photographs of the package mahotas", pictures)


def _within_limit(found: Iterator[Picture], notes: list[str]) -> Iterator[Picture]:
    total = 0
    for count, picture in enumerate(found):
        total += picture.array.nbytes
        if count and total > MAX_SOURCE_BYTES:
            notes.append(f"only the first {count} pictures, which is what fits into memory")
            return
        yield picture
