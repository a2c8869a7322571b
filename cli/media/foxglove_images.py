"""Frames as `foxglove.RawImage`, the image message that Foxglove and other viewers read.

Pixels of an encoding that the message has are passed on as they are. Other frames are shown as a
picture of 8 bits, as on the web page.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensor_pool.client.image_format import ENCODINGS, ImageFormat
from tensor_pool.driver.http.page.picture import picture_of

from .files import Array, InputError

__all__ = ["foxglove_module", "image_topics", "kept_encoding", "raw_image"]

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
    encoding = kept_encoding(array, image)
    pixels = array
    if not encoding:
        pixels = picture_of(array, image)
        encoding = _BY_CHANNELS[_channels(pixels)]
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


def image_topics(sources: Mapping[int, str]) -> dict[int, str]:
    """Return the name of the channel for the images of each stream, from the names of the sources.

    >>> image_topics({7: "left camera", 8: "front", 9: "front"})
    {7: '/left_camera', 8: '/front_8', 9: '/front_9'}
    """
    names = list(sources.values())
    return {
        stream_id: f"/{source.replace(' ', '_').strip('/')}"
        + (f"_{stream_id}" if names.count(source) > 1 else "")
        for stream_id, source in sources.items()
    }


def kept_encoding(array: Array, image: ImageFormat | None) -> str:
    """Return the encoding in which the message has these pixels unchanged, "" if there is none.

    An array without a format is grey, RGB or RGBA by its shape, as on the web page.
    """
    encoding = image.encoding if image is not None else _encoding_by_shape(array)
    if encoding not in _SHARED or (image is not None and image.planes > 1):
        return ""
    known = ENCODINGS[encoding]
    fits = _channels(array) == known.channels and array.dtype == known.dtype
    return encoding if fits and array.size else ""


def _channels(array: Array) -> int:
    return {2: 1, 3: array.shape[-1]}.get(array.ndim, 0) if array.ndim else 0


def _encoding_by_shape(array: Array) -> str:
    if array.ndim == 2:
        return {"|u1": "mono8", "<u2": "mono16", "<f4": "32FC1"}.get(array.dtype.str, "")
    return _BY_CHANNELS.get(_channels(array), "") if array.dtype == np.uint8 else ""
