"""Clients for the pictures of the web page.

`web_page_clients.py AERON_DIR,BASE_DIR,NAME ROLE STREAM...`

Roles are the pictures that a camera takes, or `reader` and `slow` for consumers.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tensor_pool.cli.demo.sources import load_pictures
from tensor_pool.client import ClientConfig, connect

WIDTH, HEIGHT = 640, 480


def photographs() -> Callable[[int], Any]:
    array = next(p.array for p in load_pictures(None).pictures if "nuclear" in p.name)
    wide = np.concatenate([array, array[:, ::-1]], axis=1)

    def picture(number: int) -> Any:
        left = number * 3 % (wide.shape[1] - WIDTH)
        return np.ascontiguousarray(wide[:HEIGHT, left : left + WIDTH])

    return picture


def depth() -> Callable[[int], Any]:
    y, x = np.mgrid[0:240, 0:320].astype(np.float32)

    def picture(number: int) -> Any:
        at = number / 25
        ball = np.hypot(x - 160 - 90 * np.cos(at), y - 130 - 40 * np.sin(2 * at))
        return np.minimum(6 - y / 60, 1.2 + ball / 30).astype(np.float32)

    return picture


def thermal() -> Callable[[int], Any]:
    y, x = np.mgrid[0:384, 0:512].astype(np.float32)

    def picture(number: int) -> Any:
        warm = 2930 + 20 * np.sin(x / 60 + number / 30) + 14 * np.cos(y / 45)
        spot = np.exp(-((x - 300 - number % 90) ** 2 + (y - 190) ** 2) / 900)
        return (warm + 180 * spot).astype(np.uint16)

    return picture


def small() -> Callable[[int], Any]:
    return lambda number: np.full((24, 32), number % 200, np.uint8)


PICTURES = {"photographs": photographs, "depth": depth, "thermal": thermal, "small": small}
RATES_HZ = {"photographs": 30, "depth": 15, "thermal": 9, "small": 10}


def main() -> None:
    settings, role, *streams = sys.argv[1:]
    aeron_dir, base_dir, name = settings.split(",")
    config = ClientConfig(
        aeron_dir=aeron_dir,
        allowed_base_dirs=(base_dir,),
        client_name=name,
    )
    with connect(config) as pool:
        if role in ("reader", "slow"):
            consumers = [pool.consumer(int(stream)) for stream in streams]
            while True:
                for consumer in consumers:
                    while consumer.receive(0) is not None and role != "slow":
                        pass
                time.sleep(0.9 if role == "slow" else 0.005)
        picture = PICTURES[role]()
        producers = [pool.producer(int(stream)) for stream in streams]
        for number in itertools.count():
            for producer in producers:
                producer.publish(picture(number))
            time.sleep(1 / RATES_HZ[role])


if __name__ == "__main__":
    main()
