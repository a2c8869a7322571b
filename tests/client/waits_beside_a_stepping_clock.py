"""Every wait of the client, while the wall clock steps by an hour: run by test_wall_clock.py.

Prints a line for each wait: its name and the seconds that it took.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tensor_pool.cli.support.signals import Stop
from tensor_pool.client import AttachTimeoutError, TransportError, connect
from tensor_pool.client.aio import AsyncConsumer
from tensor_pool.client.doorbell import Bell
from tests.client.live_world import LiveWorld, until
from tests.client.world import STREAM
from tests.wall_clock import step_to

WAIT_S = 0.3


def stepping(name: str, before_s: int, after_s: int, wait: Callable[[], object]) -> None:
    """Wait while the clock steps from one shift to another."""
    file = os.environ["WALL_CLOCK_FILE"]
    step_to(file, before_s)
    timer = threading.Timer(0.1, step_to, (file, after_s))
    timer.start()
    began = time.monotonic()
    wait()
    print(name, time.monotonic() - began, flush=True)
    timer.join()


def attach_to_a_silent_driver(world: LiveWorld) -> None:
    world.driver.silent = True
    try:
        world.clients[0].consumer(STREAM, attach_timeout=WAIT_S)
    except AttachTimeoutError:
        world.driver.silent = False
    else:
        raise AssertionError("attached")


def connect_without_a_media_driver(directory: str) -> None:
    try:
        connect(aeron_dir=f"{directory}/no", allowed_base_dirs=(directory,), wait=WAIT_S)
    except TransportError:
        return
    raise AssertionError("connected")


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        world = LiveWorld(Path(directory))
        client = world.client()
        producer, consumer = client.producer(STREAM), client.consumer(STREAM)
        other = client.producer(STREAM + 1)
        frames = client.synchronize(STREAM, STREAM, by="seq")
        until(lambda: producer.consumers == 3)
        bell = Bell(f"/tensor-pool-bell-test-{os.getpid()}")
        asking = asyncio.Runner()

        async def receive() -> None:
            assert await AsyncConsumer(consumer).receive(WAIT_S) is None

        waits: dict[str, Callable[[], object]] = {
            "bell": lambda: bell.wait(WAIT_S),
            "receive": lambda: consumer.receive(WAIT_S),
            "receive_async": lambda: asking.run(receive()),
            "synchronizer": lambda: frames.receive(WAIT_S),
            "wait_for_consumers": lambda: other.wait_for_consumers(1, WAIT_S),
            "attach": lambda: attach_to_a_silent_driver(world),
            "connect": lambda: connect_without_a_media_driver(directory),
            "commands": lambda: Stop().wait(WAIT_S),
        }
        for name, wait in waits.items():
            for before_s, after_s in ((0, 3600), (3600, 0)):
                stepping(name, before_s, after_s, wait)
        assert producer.publish(np.zeros(3))
        assert consumer.receive(20) is not None
        asking.close()
        bell.close()
        world.close()


if __name__ == "__main__":
    sys.exit(main())
