"""A producer and a consumer of ours as programs, right or with planted faults.

    python -m tests.conformance.peers producer AERON_DIR CONTROL_STREAM BASE_DIR PERIOD [--faults]

The faults of both are in `faults.py`.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading

import numpy as np

from tensor_pool.client import ClientConfig, Consumer, PublishMode, connect
from tensor_pool.client.consumer.options import ConsumerOptions
from tests.conformance import faults

STREAM = 10_000
CHANNEL = "aeron:ipc?term-length=256k"
RATE_HZ = 200


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["producer", "consumer"])
    parser.add_argument("aeron_dir")
    parser.add_argument("control", type=int)
    parser.add_argument("base_dir")
    parser.add_argument("period", type=float)
    parser.add_argument("--faults", action="store_true")
    options = parser.parse_args()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    period = options.period
    config = ClientConfig(
        aeron_dir=options.aeron_dir,
        control_channel=CHANNEL,
        control_stream_id=options.control,
        allowed_base_dirs=(options.base_dir,),
        announce_period=period,
        announce_wait=3 * period,
        announce_freshness=3 * period,
        driver_liveness_timeout=10 * period,
        hello_interval=period,
        qos_interval=period / 4,
        keepalive_interval=period / 2,
        reattach_after_shutdown=0.05,
        response_timeout=0.5,
        backoff_base=0.02,
        backoff_max=0.05,
    )
    threading.Thread(target=_follow_the_parent, args=(stopped, os.getppid()), daemon=True).start()
    if options.faults:
        faults.plant(options.role)
    with connect(config) as pool:
        if options.role == "producer":
            pool.start()
            camera = pool.begin_attach_producer(STREAM)
            camera.set_metadata("peer", attributes={"model": "one"})
            while not stopped.wait(1 / RATE_HZ):
                camera.publish(np.full((2, 6), 7, np.float32))
        else:
            pool.start()
            viewer = pool.begin_attach_consumer(
                STREAM,
                publish_mode=PublishMode.EXISTING_OR_CREATE,
                options=ConsumerOptions(descriptor_channel="aeron:ipc?term-length=64k"),
            )
            while not stopped.is_set():
                read(viewer)
                stopped.wait(0.01)


def _follow_the_parent(stopped: threading.Event, parent: int) -> None:
    """End with the kit, also when it is killed."""
    while not stopped.wait(1.0):
        if os.getppid() != parent:
            stopped.set()


def read(viewer: Consumer) -> None:
    """Take what waits."""
    viewer.poll(lambda frame: None, 1000)


if __name__ == "__main__":
    main()
