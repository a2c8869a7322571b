"""A frame as a small picture for a page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from tensor_pool.client.consumer.frame import Frame
from tensor_pool.client.image_format import ImageFormat

from .picture import picture_of, sampled, without_alpha

__all__ = ["thumbnail_of"]

_WIDTH, _HEIGHT = 480, 360
_SMALL = 64 * 64

type Array = np.ndarray[Any, np.dtype[Any]]


def thumbnail_of(frame: Frame, image: ImageFormat | None = None) -> str | None:
    """The frame as a `data:` URL, or None if the producer reused its slot meanwhile.

    Pixels are left out before anything is copied, so a large frame costs little more than a small
    one; at least twice as many stay as are shown, so that it can be smooth. Raises StaleFrameError.
    """
    pixels = sampled(frame.array, image, 2 * _WIDTH, 2 * _HEIGHT).copy()
    if not frame.valid:
        return None
    return _data_url(picture_of(pixels, image))


def _data_url(picture: Array) -> str:
    image = Image.fromarray(np.ascontiguousarray(without_alpha(picture)))
    image.thumbnail((_WIDTH, _HEIGHT), Image.Resampling.BILINEAR)
    # PNG keeps the few pixels of a tiny picture apart.
    kind = "PNG" if image.width * image.height <= _SMALL else "JPEG"
    encoded = io.BytesIO()
    image.save(encoded, format=kind, quality=80)
    data = base64.b64encode(encoded.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{data}"
