"""A whole frame with its values, for the page's window on one picture.

A number of 4 bytes, so much JSON, the picture as the page shows it, then the values: layers one
behind the other (planes) or side by side in each pixel (channels).
"""

from __future__ import annotations

import io
import struct
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from tensor_pool.client.consumer.frame import Frame
from tensor_pool.client.image_format import ENCODINGS, ImageFormat

from .picture import picture_of, sampled, shaped, without_alpha

__all__ = ["pixels_of"]

_MOST_BYTES = 8 << 20
_MOST_LAYERS = 16
_SMALL = 512 * 512
_CHANNELS = (1, 2, 3, 4)
_NAMES = {"rgb": ("red", "green", "blue", "alpha"), "bgr": ("blue", "green", "red", "alpha")}

type Array = np.ndarray[Any, np.dtype[Any]]


def pixels_of(frame: Frame, image: ImageFormat | None = None) -> bytes | None:
    """Return a frame as bytes, or None if the producer reused its slot meanwhile.

    Of a frame of more than 8 MiB every k-th pixel is taken; `step` has that k. Raises
    StaleFrameError.
    """
    array = frame.array
    layers, planar = _layers(array, image)
    step = 1
    while _bytes(layers, step) > _MOST_BYTES:
        step += 1
    values = layers[:, ::step, ::step] if planar else layers[::step, ::step]
    values = np.ascontiguousarray(values).copy()
    height, width = layers.shape[1:3] if planar else layers.shape[:2]
    shown = sampled(array, image, max(1, width // step), max(1, height // step)).copy()
    if not frame.valid:
        return None
    picture = _encoded(picture_of(shown, image))
    if values.dtype == np.bool_:
        values = values.view(np.uint8)
    head = msgspec.json.encode(
        {
            "seq": frame.seq,
            "shape": frame.shape,
            "dtype": values.dtype.name,
            "step": step,
            "planar": planar,
            "height": values.shape[1 if planar else 0],
            "width": values.shape[2 if planar else 1],
            "layers": _names(values.shape[0] if planar else values.shape[2], planar, image),
            "picture_bytes": len(picture),
        }
    )
    return struct.pack("<I", len(head)) + head + picture + values.tobytes()


def _layers(array: Array, image: ImageFormat | None) -> tuple[Array, bool]:
    """Return the array as planes (n, h, w), True or as channels (h, w, n), False."""
    array = shaped(array, image)
    if array.ndim <= 2:
        return np.atleast_2d(array)[:, :, np.newaxis], False
    if array.ndim > 3:
        array = array.reshape(-1, *array.shape[-2:])
    elif array.shape[2] in _CHANNELS:
        return array, False
    return array[:_MOST_LAYERS], True


def _bytes(layers: Array, step: int) -> int:
    return layers.nbytes // (step * step)


def _names(count: int, planar: bool, image: ImageFormat | None) -> list[str]:
    """Return names of the layers: those of the colours where the encoding has them."""
    encoding = image.encoding if image is not None else ""
    if encoding in ENCODINGS and ENCODINGS[encoding].channels == count:
        for order, names in _NAMES.items():
            if encoding.startswith(order):
                return list(names[:count])
    if count == 1:
        return ["value"]
    return [f"{'plane' if planar else 'channel'} {number}" for number in range(count)]


def _encoded(picture: Array) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(without_alpha(picture)))
    kind = "PNG" if image.width * image.height <= _SMALL else "JPEG"  # PNG is exact, and slower
    encoded = io.BytesIO()
    image.save(encoded, format=kind, quality=92)
    return encoded.getvalue()
