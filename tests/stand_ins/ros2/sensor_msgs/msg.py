"""The fields of an image, as in ROS."""

from __future__ import annotations

import array


class Stamp:
    """builtin_interfaces/Time."""

    sec = 0
    nanosec = 0


class _Header:
    def __init__(self) -> None:
        self.stamp = Stamp()
        self.frame_id = ""


class Image:
    def __init__(self) -> None:
        self.header = _Header()
        self.height = self.width = self.step = 0
        self.encoding = ""
        self.is_bigendian = 0
        self.data = array.array("B")
