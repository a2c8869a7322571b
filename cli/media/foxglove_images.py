"""Frames as `foxglove.RawImage`, the image message that Foxglove and other viewers read.

Pixels of an encoding that the message has are passed on as they are. Other frames are shown as a
picture of 8 bits, as on the web page.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tensor_pool.client.image_format import ImageFormat
from tensor_pool.driver.http.page.picture import picture_of

from .files import Array, InputError

__all__ = ["foxglove_module", "raw_image"]

# Our encodings that the message has under the same name.
_SHARED = frozenset(
    {
        *("mono8", "mono16", "rgb8", "bgr8", "rgba8", "bgra8", "8UC1", "8UC3", "16UC1", "32FC1"),
        *("yuv422", "yuv422_yuy2"),
        *(f"bayer_{order}8" for order in ("rggb", "bggr", "gbrg", "grbg")),
    }
)
_BY_CHANNELS = {1: "mono8", 3: "rgb8", 4: "rgba8"}


def foxglove_module(name: str = "foxglove") -> Any:
    """Return a module of the Foxglove SDK. Raise InputError, with the extra to install."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            "Foxglove needs the package foxglove-sdk of the extra foxglove: pip install"
            " foxglove-sdk"
        ) from None


def raw_image(array: Array, image: ImageFormat | None, time_ns: int, frame_id: str) -> Any:
    """Return the message for a frame; `time_ns` is its capture time since 1970."""
    messages = foxglove_module("foxglove.messages")
    encoding, pixels = _pixels(array, image)
    height, width = pixels.shape[:2]
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return messages.RawImage(
        timestamp=messages.Timestamp(sec=seconds, nsec=nanoseconds),
        frame_id=frame_id,
        width=width,
        height=height,
        encoding=encoding,
        step=pixels.nbytes // height if height else 0,
        data=pixels.tobytes(),
    )


def _pixels(array: Array, image: ImageFormat | None) -> tuple[str, Array]:
    encoding = image.encoding if image is not None else _encoding_by_shape(array)
    is_interleaved = image is None or image.planes == 1
    if encoding in _SHARED and is_interleaved and array.ndim in (2, 3):
        return encoding, np.ascontiguousarray(array)
    picture = picture_of(array, image)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    return _BY_CHANNELS[channels], np.ascontiguousarray(picture)


def _encoding_by_shape(array: Array) -> str:
    """Return the encoding that an array without a format most likely has, "" for none."""
    if array.ndim == 2:
        return {"|u1": "mono8", "<u2": "mono16", "<f4": "32FC1"}.get(array.dtype.str, "")
    return ""
