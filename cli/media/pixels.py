"""Pictures as text for a terminal."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["half_blocks"]

type Array = np.ndarray[Any, np.dtype[Any]]


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
