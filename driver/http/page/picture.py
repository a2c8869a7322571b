"""Any array as a picture: 8-bit grey, RGB or RGBA.

Values of other types are stretched from the smallest to the largest. Of more than one plane the
first is taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["picture_of", "without_alpha"]

type Array = np.ndarray[Any, np.dtype[Any]]

_CHANNELS = (1, 2, 3, 4)


def picture_of(array: Array) -> Array:
    """Return the array as a picture: uint8 of shape (h, w), (h, w, 3) or (h, w, 4).

    >>> picture_of(np.array([[0, 500], [1000, 250]], np.uint16)).tolist()
    [[0, 127], [255, 63]]
    """
    plane = _plane(array)
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
