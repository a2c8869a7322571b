"""Any array as a picture: 8-bit grey, RGB or RGBA.

What is no image already is stretched from its smallest to its largest value; of more than one
plane the first is taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["half_blocks", "picture_of"]

type Array = np.ndarray[Any, np.dtype[Any]]

_CHANNELS = (1, 2, 3, 4)


def picture_of(array: Array) -> Array:
    """A uint8 array of shape (h, w), (h, w, 3) or (h, w, 4).

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


def half_blocks(picture: Array) -> str:
    """A picture as lines of half blocks, two pixels above each other a character, in 24-bit colour.

    The caller chooses the size: as many columns as pixels, half as many lines.
    """
    rgb = picture[:, :, :3] if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
    if len(rgb) % 2:
        rgb = np.concatenate([rgb, np.zeros_like(rgb[:1])])
    lines = []
    for upper, lower in zip(rgb[::2].tolist(), rgb[1::2].tolist(), strict=True):
        cells = []
        before = None
        for pair in zip(upper, lower, strict=True):
            if pair != before:
                (r, g, b), (s, h, c) = before = pair
                cells.append(f"\x1b[38;2;{r};{g};{b};48;2;{s};{h};{c}m")
            cells.append("▀")
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


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
