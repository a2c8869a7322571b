"""Frames for Rerun: images in the pixel formats that it has, other frames as pictures of 8 bits."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tensor_pool.client.image_format import ImageFormat
from tensor_pool.driver.http.page.picture import picture_of

from .files import Array, InputError
from .foxglove_images import kept_encoding

__all__ = ["rerun_image", "rerun_module", "rerun_recording"]

_COLOR_MODELS = {
    "mono8": "L",
    "mono16": "L",
    "8UC1": "L",
    "16UC1": "L",
    "32FC1": "L",
    "rgb8": "RGB",
    "bgr8": "BGR",
    "rgba8": "RGBA",
    "bgra8": "BGRA",
}
_PIXEL_FORMATS = {
    "yuv422_yuy2": "YUY2",
    **{f"bayer_{order}8": f"Bayer{order.upper()}8" for order in ("rggb", "bggr", "gbrg", "grbg")},
}
_BY_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}


def rerun_module() -> Any:
    """Return the module of the Rerun SDK. Raise InputError, with the extra to install."""
    try:
        return importlib.import_module("rerun")
    except ImportError:
        raise InputError(
            "Rerun needs the package rerun-sdk of the extra rerun: pip install rerun-sdk (760 MB)"
        ) from None


def rerun_recording(target: str, name: str) -> Any:
    """Return a recording into a `.rrd` file, a viewer at a URL, or one that it starts."""
    recording = rerun_module().RecordingStream(name)
    if target == "viewer":
        recording.spawn()
    elif target.endswith(".rrd"):
        recording.save(target)
    elif "://" in target:
        recording.connect_grpc(target)
    else:
        raise InputError(
            f"--rerun {target}: give viewer, a file such as run.rrd, or the address of a viewer"
            " such as rerun+http://127.0.0.1:9876/proxy"
        )
    return recording


def rerun_image(array: Array, image: ImageFormat | None) -> Any:
    """Return the image of a frame."""
    rerun = rerun_module()
    encoding = kept_encoding(array, image)
    if encoding in _COLOR_MODELS:
        return rerun.Image(np.ascontiguousarray(array), color_model=_COLOR_MODELS[encoding])
    if encoding in _PIXEL_FORMATS:
        height, width = array.shape[:2]
        return rerun.Image(
            bytes=array.tobytes(),
            width=width,
            height=height,
            pixel_format=getattr(rerun.PixelFormat, _PIXEL_FORMATS[encoding]),
        )
    picture = picture_of(array, image)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    return rerun.Image(np.ascontiguousarray(picture), color_model=_BY_CHANNELS[channels])
