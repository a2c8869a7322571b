"""A stand-in for the calls of rclpy that the guide makes: a topic with pictures at 100 Hz."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep, time_ns
from typing import Any

from sensor_msgs.msg import Image

from .time import Clock, stamp_of

HEIGHT, WIDTH, STEP = 240, 320, 1024  # of the rows 64 bytes are padding


class _Publisher:
    """Checks each message as rclpy's serialization does."""

    def publish(self, message: Image) -> None:
        assert len(message.data) == message.step * message.height
        assert message.data.typecode == "B"
        age_ns = time_ns() - message.header.stamp.sec * 10**9 - message.header.stamp.nanosec
        assert 0 <= age_ns < 60 * 10**9
        channels = {"rgb8": 3}[message.encoding]
        assert message.step == message.width * channels
        assert set(message.data) <= {message.data[0]}  # no byte of the padding


class _Node:
    def __init__(self) -> None:
        self.callbacks: list[Callable[[Image], object]] = []

    def get_clock(self) -> Clock:
        return Clock()

    def create_subscription(
        self, kind: type[Image], topic: str, callback: Callable[[Image], object], qos: object
    ) -> None:
        assert kind is Image
        assert topic
        assert qos
        self.callbacks.append(callback)

    def create_publisher(self, kind: type[Image], topic: str, qos: object) -> Any:
        assert kind is Image
        assert topic
        assert qos
        return _Publisher()


def init() -> None:
    """Nothing to begin."""


def create_node(name: str) -> _Node:
    assert name.isidentifier()
    return _Node()


def spin(node: _Node) -> None:
    """Deliver pictures whose padding has another value than their pixels."""
    for number in range(6000):
        message = Image()
        message.header.stamp = stamp_of(time_ns() - 5_000_000)
        message.height, message.width, message.step = HEIGHT, WIDTH, STEP
        message.encoding = "rgb8"
        value = number % 200
        row = bytes([value]) * (3 * WIDTH) + bytes([value + 1]) * (STEP - 3 * WIDTH)
        message.data.frombytes(row * HEIGHT)
        for callback in node.callbacks:
            callback(message)
        sleep(0.01)
