"""Any array as a picture: 8-bit grey, RGB or RGBA.

Values of other types are stretched from the smallest to the largest. Of more than one plane the
first is taken. With the image format of its stream an array is read as that (S-133).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensor_pool.client.image_format import ENCODINGS, Encoding, ImageFormat

__all__ = ["picture_of", "sampled", "without_alpha"]

type Array = np.ndarray[Any, np.dtype[Any]]

_CHANNELS = (1, 2, 3, 4)


def picture_of(array: Array, image: ImageFormat | None = None) -> Array:
    """Return the array as a picture: uint8 of shape (h, w), (h, w, 3) or (h, w, 4).

    An array that does not fit the format is shown as one without a format.

    >>> picture_of(np.array([[0, 500], [1000, 250]], np.uint16)).tolist()
    [[0, 127], [255, 63]]
    >>> picture_of(np.array([[[255, 0, 10]]], np.uint8), ImageFormat(encoding="bgr8")).tolist()
    [[[10, 0, 255]]]
    """
    array = shaped(array, image)
    encoding = _encoding_of(array, image)
    plane = _plane(array) if encoding is None else _colours(_interleaved(array, image), encoding)
    if plane.ndim == 3 and plane.shape[2] == 1:
        plane = plane[:, :, 0]
    if plane.ndim == 3 and plane.shape[2] == 2:  # grey with transparency
        plane = np.repeat(plane, (3, 1), axis=2)
    if plane.dtype == np.bool_:
        return plane.astype(np.uint8) * 255
    return plane if plane.dtype == np.uint8 else _stretched(plane)


def without_alpha(picture: Array) -> Array:
    """Return a picture of shape (h, w, 4) as it looks on black, (h, w, 3); others as they are.

    >>> without_alpha(np.array([[[200, 100, 0, 255], [200, 100, 50, 51]]], np.uint8)).tolist()
    [[[200, 100, 0], [40, 20, 10]]]
    """
    if picture.ndim != 3 or picture.shape[2] != 4:
        return picture
    colour, alpha = picture[:, :, :3].astype(np.uint16), picture[:, :, 3:]
    blended: Array = ((colour * alpha + 127) // 255).astype(np.uint8)
    return blended


def sampled(array: Array, image: ImageFormat | None, width: int, height: int) -> Array:
    """Return one plane with every k-th pixel, and at least so many pixels each way if there are.

    The patterns of a mosaic, and of two pixels that share their colour, are kept whole.

    >>> sampled(np.zeros((3, 2160, 3840)), None, 960, 720).shape
    (3, 540, 960)
    """
    array = shaped(array, image)
    encoding = _encoding_of(array, image)
    if encoding is None:
        while array.ndim > 3:
            array = array[0]
        if array.ndim == 3 and array.shape[2] not in _CHANNELS and array.shape[0] not in _CHANNELS:
            array = array[0]
        array = np.atleast_2d(array)
        first = array.ndim == 3 and array.shape[2] not in _CHANNELS
    else:
        first = image is not None and image.planes > 1
    rows, columns = array.shape[1:] if first else array.shape[:2]
    step = max(1, rows // height, columns // width)
    if first:
        return array[:, ::step, ::step]
    if encoding is None or step == 1 or encoding.order in ("", "bgr"):
        return array[::step, ::step]
    rest = array.shape[2:]
    down = 1 if rest else 2  # a pair of YUV is in one row
    whole = array[: rows // down * down, : columns // 2 * 2]
    blocks = whole.reshape(rows // down, down, columns // 2, 2, *rest)[::step, :, ::step]
    return blocks.reshape(blocks.shape[0] * down, blocks.shape[2] * 2, *rest)


def shaped(array: Array, image: ImageFormat | None) -> Array:
    """Give a row of numbers the width and height of the format, if it has as many; an array
    without an element is shown as one black pixel."""
    if not array.size:
        return np.zeros((1, 1), array.dtype)
    if array.ndim != 1 or image is None or image.encoding not in ENCODINGS:
        return array
    shape = (image.height, image.width, ENCODINGS[image.encoding].channels)
    return array.reshape(shape) if array.size == math.prod(shape) else array


def _encoding_of(array: Array, image: ImageFormat | None) -> Encoding | None:
    """Return the encoding, None without one and for an array that does not fit it."""
    encoding = ENCODINGS.get(image.encoding) if image is not None else None
    if encoding is None or image is None or array.dtype != np.dtype(encoding.dtype):
        return None
    shape = array.shape
    if image.planes > 1:
        fits = array.ndim == 3 and shape[0] == image.planes == encoding.channels
    elif array.ndim == 2:
        fits = encoding.channels == 1
    else:
        fits = array.ndim == 3 and shape[2] == encoding.channels
    return encoding if fits and array.size else None


def _interleaved(array: Array, image: ImageFormat | None) -> Array:
    return array.transpose(1, 2, 0) if image is not None and image.planes > 1 else array


def _colours(array: Array, encoding: Encoding) -> Array:
    order = encoding.order
    if order == "bgr":
        return array[:, :, [2, 1, 0, *range(3, encoding.channels)]]
    if order in ("uyvy", "yuyv"):
        return _rgb_of_yuv(array, order)
    return _rgb_of_mosaic(array, order) if order else array


def _rgb_of_mosaic(array: Array, order: str) -> Array:
    """Give all four pixels of a cell of 2 x 2 its red, its blue and the mean of its greens."""
    array = array.reshape(array.shape[:2])
    rows, columns = array.shape[0] // 2 * 2, array.shape[1] // 2 * 2
    if not rows or not columns:
        return array
    cells = [array[y:rows:2, x:columns:2] for y in (0, 1) for x in (0, 1)]
    greens = [cell.astype(np.uint32) for cell, c in zip(cells, order, strict=True) if c == "g"]
    green = (sum(greens) // 2).astype(array.dtype)  # type: ignore[union-attr]
    small = np.stack([cells[order.index("r")], green, cells[order.index("b")]], axis=2)
    return small.repeat(2, axis=0).repeat(2, axis=1)


def _rgb_of_yuv(array: Array, order: str) -> Array:
    """Return RGB by BT.601 with the range 16 to 235, as cameras send it."""
    columns = array.shape[1] // 2 * 2
    luma_at = order.index("y")
    y = (array[:, :columns, luma_at].astype(np.float32) - 16) * 1.164
    chroma = array[:, :columns, 1 - luma_at].astype(np.float32) - 128
    u, v = (chroma[:, start::2].repeat(2, axis=1) for start in (0, 1))
    rgb = np.stack([y + 1.596 * v, y - 0.392 * u - 0.813 * v, y + 2.017 * u], axis=2)
    return np.rint(rgb).clip(0, 255).astype(np.uint8)


def _plane(array: Array) -> Array:
    while array.ndim > 3:
        array = array[0]
    if array.ndim == 3 and array.shape[2] not in _CHANNELS:
        if array.shape[0] in _CHANNELS:  # channels first, as deep learning has them
            return array.transpose(1, 2, 0)
        return np.asarray(array[0])
    return np.atleast_2d(array)


def _stretched(plane: Array) -> Array:
    values = np.nan_to_num(plane.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    if not high > low:
        return np.zeros(plane.shape, np.uint8)
    stretched: Array = ((values - low) * (255.0 / (high - low))).astype(np.uint8)
    return stretched
