"""One stage of a traced pipeline, a process of its own: `traced_stage.py CONFIG ROLE`.

cameras: left (ids from a cycle of 150) and right (ids of its own) -> edges, blur -> pairs
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from tensor_pool.client import Client, Producer, PublishMode, connect
from tensor_pool.driver.config.for_clients import client_config_for
from tensor_pool.driver.config.load import load_config

IDS = {"left": 20101, "right": 20102, "edges": 20103, "blur": 20104, "pairs": 20105}
CYCLE, FIRST = 150, 1_000_000
RATE_HZ = 50
SHAPE = (8,)


def main() -> None:
    config = load_config(Path(sys.argv[1]), environ={}).config
    with connect(client_config_for(config, config.driver.aeron_dir)) as pool:
        stop = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
        ROLES[sys.argv[2]](pool, stop)


def output(pool: Client, name: str, **options: Any) -> Producer:
    mode = PublishMode.EXISTING_OR_CREATE
    producer = pool.producer(IDS[name], publish_mode=mode, **options)
    producer.set_metadata(name)
    return producer


def cameras(pool: Client, stop: threading.Event) -> None:
    left, right = output(pool, "left"), output(pool, "right", trace=True)
    number = 0
    while not stop.wait(1 / RATE_HZ):
        picture = np.full(SHAPE, number % 256, np.uint8)
        left.publish(picture, trace_id=FIRST + number % CYCLE, seq=number)
        right.publish(picture, seq=number)
        number += 1


def filtered(source: str, name: str) -> Any:
    def stage(pool: Client, stop: threading.Event) -> None:
        with output(pool, name) as out, pool.consumer(source, attach_timeout=30.0) as frames:
            while not stop.is_set():
                frame = frames.receive(0.1)
                if frame is not None:
                    out.publish(frame.copy(), parents=[frame], seq=frame.seq)

    return stage


def join(pool: Client, stop: threading.Event) -> None:
    inputs = [pool.consumer(name, attach_timeout=30.0) for name in ("edges", "blur")]
    with output(pool, "pairs") as out, pool.synchronize(*inputs, by="seq", max_wait=2.0) as pairs:
        while not stop.is_set():
            pair = pairs.receive(0.1)
            if pair is not None:
                out.publish(np.zeros(SHAPE, np.uint8), parents=pair)


ROLES = {
    "cameras": cameras,
    "edges": filtered("left", "edges"),
    "blur": filtered("right", "blur"),
    "join": join,
}

if __name__ == "__main__":
    main()
