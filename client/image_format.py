"""Pixel formats: attributes of a stream with the meaning of the numbers in its frames (S-130).

A frame carries shape and dtype only, so an array (h, w, 3) may be RGB or BGR, and an array (h, w)
grey, or the mosaic of a sensor. The vocabulary is that of ROS `image_encodings`, whose names
GenICam's pixel formats have too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from .metadata import AttributeValue

__all__ = ["ENCODINGS", "IMAGE_KEYS", "Encoding", "ImageFormat", "image_format_of"]


class Encoding(msgspec.Struct, frozen=True):
    """The layout of one pixel: NumPy dtype, values per pixel, and their order.

    `order` is `bgr`, the colours of a 2 x 2 mosaic (`rggb`), or the bytes of two pixels of YUV
    4:2:2 (`uyvy`, `yuyv`); empty for grey, RGB and numbers without a colour.
    """

    dtype: str
    channels: int
    order: str = ""


def _encodings() -> dict[str, Encoding]:
    found = {}
    for bits in (8, 16):
        dtype = f"uint{bits}"
        found[f"mono{bits}"] = Encoding(dtype, 1)
        for name, channels in (("rgb", 3), ("rgba", 4)):
            found[f"{name}{bits}"] = Encoding(dtype, channels)
        for name, channels in (("bgr", 3), ("bgra", 4)):
            found[f"{name}{bits}"] = Encoding(dtype, channels, "bgr")
        for mosaic in ("rggb", "bggr", "gbrg", "grbg"):
            found[f"bayer_{mosaic}{bits}"] = Encoding(dtype, 1, mosaic)
    found["yuv422"] = Encoding("uint8", 2, "uyvy")
    found["yuv422_yuy2"] = Encoding("uint8", 2, "yuyv")
    for kind, dtype in (("U", "uint"), ("S", "int"), ("F", "float")):
        for bits in {"U": (8, 16), "S": (8, 16, 32), "F": (32, 64)}[kind]:
            for channels in (1, 2, 3, 4):
                found[f"{bits}{kind}C{channels}"] = Encoding(f"{dtype}{bits}", channels)
    return found


ENCODINGS: Final[Mapping[str, Encoding]] = _encodings()
"""Every encoding by its name (S-131)."""

_ENCODING, _WIDTH, _HEIGHT = "image.encoding", "image.width", "image.height"
_PLANES, _COLOR_SPACE = "image.planes", "image.color_space"
IMAGE_KEYS: Final = (_ENCODING, _WIDTH, _HEIGHT, _PLANES, _COLOR_SPACE)
"""Keys of the attributes of an image format."""


class ImageFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The format of the images of a stream.

    `width` and `height` are in pixels, 0 where the shape of each frame has them. With `planes`
    above 1 the frames have shape (planes, h, w). `color_space` is a name such as `sRGB` or
    `BT.709`, empty if not known.
    """

    encoding: str
    width: int = 0
    height: int = 0
    planes: int = 1
    color_space: str = ""

    def check(self) -> None:
        """Raise ValueError for a value that is not of the vocabulary."""
        if self.encoding not in ENCODINGS:
            import difflib  # here: only errors need it

            near = difflib.get_close_matches(self.encoding, ENCODINGS, 3, 0.5)
            remedy = f"did you mean {' or '.join(near)}?" if near else "see ENCODINGS"
            raise ValueError(f"image encoding {self.encoding!r} is not known; {remedy}")
        for name, value in (("width", self.width), ("height", self.height)):
            if not 0 <= value < 1 << 31:
                raise ValueError(f"{name}: {value} must be 0 or a number of pixels below 2^31")
        channels = ENCODINGS[self.encoding].channels
        if self.planes not in (1, channels):
            raise ValueError(
                f"planes: {self.planes} must be 1 or, one for each value, {channels} for"
                f" {self.encoding}"
            )

    def attributes(self) -> dict[str, str]:
        """Return the metadata attributes that stand for the format."""
        values = {
            _ENCODING: self.encoding,
            _WIDTH: str(self.width) if self.width else "",
            _HEIGHT: str(self.height) if self.height else "",
            _PLANES: str(self.planes) if self.planes != 1 else "",
            _COLOR_SPACE: self.color_space,
        }
        return {key: value for key, value in values.items() if value}


def image_format_of(attributes: Mapping[str, AttributeValue] | None) -> ImageFormat | None:
    """Return the format that metadata describes; None without an encoding.

    An encoding that is not of the vocabulary is returned as it is. Numbers that cannot be read
    count as not given.
    """
    encoding = attributes.get(_ENCODING) if attributes else None
    if attributes is None or encoding is None:
        return None

    def number(key: str, default: int) -> int:
        text = attributes[key].text if key in attributes else ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default

    color_space = attributes.get(_COLOR_SPACE)
    return ImageFormat(
        encoding=encoding.text,
        width=number(_WIDTH, 0),
        height=number(_HEIGHT, 0),
        planes=number(_PLANES, 1),
        color_space=color_space.text if color_space is not None else "",
    )
