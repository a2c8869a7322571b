"""Points in time, in ns since 1970."""

from __future__ import annotations

import time

from sensor_msgs.msg import Stamp

from .duration import Duration


def stamp_of(nanoseconds: int) -> Stamp:
    """Return the message that has a time."""
    stamp = Stamp()
    stamp.sec, stamp.nanosec = divmod(nanoseconds, 10**9)
    return stamp


class Time:
    def __init__(self, nanoseconds: int) -> None:
        self.nanoseconds = nanoseconds

    @classmethod
    def from_msg(cls, stamp: Stamp) -> Time:
        return cls(stamp.sec * 10**9 + stamp.nanosec)

    def to_msg(self) -> Stamp:
        return stamp_of(self.nanoseconds)

    def __sub__(self, other: Time | Duration) -> Time | Duration:
        nanoseconds = self.nanoseconds - other.nanoseconds
        return Duration(nanoseconds=nanoseconds) if isinstance(other, Time) else Time(nanoseconds)


class Clock:
    def now(self) -> Time:
        return Time(time.time_ns())
