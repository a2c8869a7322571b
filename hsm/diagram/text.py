"""Widths of text in Helvetica and the fonts with its metrics (Arial, Liberation Sans)."""

from __future__ import annotations

from collections.abc import Iterable

# Adobe Font Metrics of Helvetica, in thousandths of the font size, from the space on.
_FIRST = ord(" ")
_WIDTHS = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip
_OTHER = 780
_BOLD = 1.09


def width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a line of text in the unit of `size`."""
    total = sum(
        _WIDTHS[ord(c) - _FIRST] if 0 <= ord(c) - _FIRST < len(_WIDTHS) else _OTHER for c in text
    )
    return total * size / 1000 * (_BOLD if bold else 1)


def widest(lines: Iterable[str], size: float) -> float:
    """The width of the widest line; 0 without any."""
    return max((width(line, size) for line in lines), default=0.0)
