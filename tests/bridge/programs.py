"""Programs that run on hosts of the lab: `python -m tests.bridge.programs WHAT ...`.

publish STREAM COUNT HZ SHAPE DTYPE SEED GO   prints `SEQ SHA256` for each frame
burst STREAM COUNT HZ GO                      the same without hashes, for high rates
consume STREAM                                prints `SEQ SHA256 EPOCH` for each frame

Producers wait for the file GO before they publish, and for the file GO.end before they leave.
Consumers end at SIGTERM; they print the ages of frames in ms, and their gaps.
"""

from __future__ import annotations

import hashlib
import signal
import sys
import time
from pathlib import Path

import numpy as np

from tensor_pool.client import FrameOverwrittenError, Producer, connect

_LONGEST_WAIT_S = 120.0


def publish(stream: str, count: str, hz: str, shape: str, dtype: str, seed: str, go: str) -> None:
    """Publish random frames under a new lease."""
    dice = np.random.default_rng(int(seed))
    dims = tuple(map(int, shape.split("x")))
    with connect() as pool, pool.producer(int(stream)) as producer:
        producer.set_metadata("camera", "front", {"gain": 3})
        _await(Path(go))
        for number in range(int(count)):
            started = time.monotonic()
            frame = dice.integers(0, 255, dims).astype(dtype)
            result = producer.publish(frame, trace_id=number + 1)
            digest = hashlib.sha256(repr(dims).encode() + frame.tobytes()).hexdigest()
            print(result.seq, digest, flush=True)
            time.sleep(max(0.0, 1 / float(hz) - (time.monotonic() - started)))
            if Path(go + ".end").exists():
                break
        _finish(producer, go)


def burst(stream: str, count: str, hz: str, go: str) -> None:
    """Publish small frames at a high rate."""
    frame = np.zeros(8, np.uint8)
    with connect() as pool, pool.producer(int(stream)) as producer:
        _await(Path(go))
        started = time.monotonic()
        for number in range(int(count)):
            producer.publish(frame, trace_id=number + 1)
            ahead_s = number / float(hz) - (time.monotonic() - started)
            if ahead_s > 0.001:
                time.sleep(ahead_s)
        _finish(producer, go)


def consume(stream: str) -> None:
    """Print every frame until SIGTERM."""
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    named = False
    ages_ms: list[float] = []
    with connect() as pool, pool.consumer(int(stream), attach_timeout=60) as consumer:
        print("ready", flush=True)
        while not ended:
            frame = consumer.receive(0.1)
            metadata = consumer.metadata
            if metadata is not None and metadata.attributes and not named:
                named = True
                print("metadata", metadata.name, sorted(metadata.attributes), flush=True)
            if frame is None:
                continue
            assert frame.timestamp_ns is not None
            ages_ms.append((time.monotonic_ns() - frame.timestamp_ns) / 1e6)
            try:
                array = frame.copy()
            except FrameOverwrittenError:
                continue
            digest = hashlib.sha256(repr(frame.shape).encode() + array.tobytes()).hexdigest()
            print(frame.seq, digest, frame.epoch, flush=True)
        print(f"ages {min(ages_ms):.1f} {max(ages_ms):.1f}", flush=True)
        print("gaps", consumer.metrics()["drops_gap"], flush=True)


def _finish(producer: Producer, go: str) -> None:
    print("counters", producer.metrics()["descriptor_backpressured"], flush=True)
    _await(Path(go + ".end"))


def _await(path: Path) -> None:
    deadline = time.monotonic() + _LONGEST_WAIT_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


if __name__ == "__main__":
    {"publish": publish, "burst": burst, "consume": consume}[sys.argv[1]](*sys.argv[2:])
