"""The producer of the demo: publishes the source over and over at a steady rate."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tensor_pool.client.client import Client

from .protocol import Manifest, ProducerReport, WorkerSettings

__all__ = ["load_arrays", "produce"]

_LONGEST_LAG_S = 0.25


def load_arrays(folder: str, manifest: Manifest) -> list[npt.NDArray[Any]]:
    """The source frames, in memory."""
    return [np.load(os.path.join(folder, frame.file)) for frame in manifest.frames]


def produce(
    client: Client,
    settings: WorkerSettings,
    arrays: list[npt.NDArray[Any]],
    stop: threading.Event,
    report: Callable[[ProducerReport], None],
) -> None:
    """Publish until `stop`. Each frame carries its place in the source, from 1, as its trace id."""
    frames = 0
    nbytes = 0
    refused: Counter[str] = Counter()

    def tell(state: str, *, final: bool = False) -> None:
        report(
            ProducerReport(
                monotonic_ns=time.monotonic_ns(),
                state=state,
                frames=frames,
                nbytes=nbytes,
                refused=dict(refused),
                final=final,
            )
        )

    tell("attaching")
    with client.producer(settings.stream_id) as producer:
        period = 1.0 / settings.rate_hz
        due = report_due = time.monotonic()
        place = 0
        while not stop.is_set():
            array = arrays[place]
            result = producer.publish(array, trace_id=place + 1)
            if result:
                frames += 1
                nbytes += array.nbytes
            else:
                refused[result.status.value] += 1
            place = (place + 1) % len(arrays)
            now = time.monotonic()
            if now >= report_due:
                report_due = now + settings.report_interval_s
                tell(producer.state)
            due = max(due + period, now - _LONGEST_LAG_S)
            if due > now:
                stop.wait(due - now)
    tell("Closed", final=True)
