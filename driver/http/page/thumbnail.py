"""A frame as a small picture for a page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from tensor_pool.client.consumer.frame import Frame

from .picture import picture_of, without_alpha

__all__ = ["thumbnail_of"]

_WIDTH, _HEIGHT = 480, 360
_CHANNELS = (1, 2, 3, 4)
_SMALL = 64 * 64

type Array = np.ndarray[Any, np.dtype[Any]]


def thumbnail_of(frame: Frame) -> str | None:
    """The frame as a `data:` URL, or None if the producer reused its slot meanwhile.

    Pixels are left out before anything is copied, so a large frame costs little more than a small
    one. Raises StaleFrameError.
    """
    sampled = _sampled(frame.array).copy()
    if not frame.valid:
        return None
    return _data_url(picture_of(sampled))


def _sampled(array: Array) -> Array:
    """One plane with every k-th pixel, at least twice as large as needed so that it can be smooth.

    >>> _sampled(np.zeros((3, 2160, 3840))).shape
    (3, 540, 960)
    """
    while array.ndim > 3:
        array = array[0]
    if array.ndim == 3 and array.shape[2] not in _CHANNELS and array.shape[0] not in _CHANNELS:
        array = array[0]
    array = np.atleast_2d(array)
    channels_first = array.ndim == 3 and array.shape[2] not in _CHANNELS
    height, width = array.shape[1:] if channels_first else array.shape[:2]
    step = max(1, height // (2 * _HEIGHT), width // (2 * _WIDTH))
    return array[:, ::step, ::step] if channels_first else array[::step, ::step]


def _data_url(picture: Array) -> str:
    image = Image.fromarray(np.ascontiguousarray(without_alpha(picture)))
    image.thumbnail((_WIDTH, _HEIGHT), Image.Resampling.BILINEAR)
    # PNG keeps the few pixels of a tiny picture apart.
    kind = "PNG" if image.width * image.height <= _SMALL else "JPEG"
    encoded = io.BytesIO()
    image.save(encoded, format=kind, quality=80)
    data = base64.b64encode(encoded.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{data}"
