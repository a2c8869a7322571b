"""A producer or consumer process for the end-to-end tests: `worker.py ROLE JSON`.

Prints one JSON object a line on stdout and ends on SIGTERM or when stdin is closed.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from typing import Any

import numpy as np

from tensor_pool.client import (
    ClosedError,
    Consumer,
    FrameOverwrittenError,
    Producer,
    PublishMode,
    StaleFrameError,
    connect,
)

SHAPE = (30, 40)


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def image(i: int) -> np.ndarray[Any, Any]:
    """A picture that shows its own number everywhere."""
    return np.full(SHAPE, i % 65536, np.uint16)


def produce(producer: Producer, stop: threading.Event, rate_hz: float) -> None:
    published = 0
    while not stop.wait(1 / rate_hz):
        if producer.publish(image(published)):
            published += 1
    say(published=published, metrics=producer.metrics())


def consume(consumer: Consumer, stop: threading.Event) -> None:
    threading.Thread(target=lambda: (stop.wait(), consumer.close()), daemon=True).start()
    good = torn = 0
    last_epoch = first = last = -1
    metrics = consumer.metrics()
    for frame in consumer:
        if frame.epoch != last_epoch:
            last_epoch = frame.epoch
            say(epoch=frame.epoch)
        try:
            pixels = frame.copy()
        except (FrameOverwrittenError, StaleFrameError):
            continue
        good += 1
        first, last = (frame.seq if first < 0 else first), frame.seq
        torn += int((pixels != pixels[0, 0]).any())
        try:
            metrics = consumer.metrics()
        except ClosedError:  # by the thread that waits for the end
            break
        if good % 10 == 0:
            say(good=good, torn=torn, gap=metrics["drops_gap"])
    say(good=good, torn=torn, first=first, last=last, metrics=metrics)


def main() -> None:
    role, settings = sys.argv[1], json.loads(sys.argv[2])
    rate_hz = settings.pop("rate_hz", 200.0)
    leave_open = settings.pop("leave_open", False)
    stream_id = settings.pop("stream_id", 10_000)
    stop = threading.Event()
    # Not in the handler itself: it may have interrupted a wait with the event's lock held.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop.set).start())
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    pool = connect(**settings)
    attach = pool.producer if role == "producer" else pool.consumer
    handle = attach(stream_id, attach_timeout=20.0, publish_mode=PublishMode.EXISTING_OR_CREATE)
    say(ready=True, at=time.monotonic())
    if isinstance(handle, Producer):
        produce(handle, stop, rate_hz)
    else:
        consume(handle, stop)
    if not leave_open:
        pool.close()


if __name__ == "__main__":
    main()
