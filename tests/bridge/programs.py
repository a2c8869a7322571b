"""Programs that run on hosts of the lab: `python -m tests.bridge.programs WHAT ...`.

publish STREAM COUNT HZ SHAPE DTYPE [SEED]   prints `SEQ SHA256` for each frame
consume STREAM IDLE_S                        prints `SEQ SHA256 EPOCH` until nothing comes
"""

from __future__ import annotations

import hashlib
import sys
import time

import numpy as np

from tensor_pool.client import FrameOverwrittenError, connect


def publish(stream: str, count: str, hz: str, shape: str, dtype: str, seed: str = "1") -> None:
    """Publish random frames under a new lease."""
    dice = np.random.default_rng(int(seed))
    dims = tuple(map(int, shape.split("x")))
    with connect() as pool, pool.producer(int(stream)) as producer:
        producer.set_metadata("camera", "front", {"gain": 3})
        print("ready", flush=True)
        time.sleep(3)  # until the far stream has its lease: what is published before is skipped
        for number in range(int(count)):
            started = time.monotonic()
            frame = dice.integers(0, 255, dims).astype(dtype)
            result = producer.publish(frame, trace_id=number + 1)
            digest = hashlib.sha256(repr(dims).encode() + frame.tobytes()).hexdigest()
            print(result.seq, digest, flush=True)
            time.sleep(max(0.0, 1 / float(hz) - (time.monotonic() - started)))
        time.sleep(2)
        print("counters", producer.metrics()["descriptor_backpressured"], flush=True)


def consume(stream: str, idle_s: str) -> None:
    """Print every frame until none has come for `idle_s` seconds after the first."""
    with connect() as pool, pool.consumer(int(stream), attach_timeout=60) as consumer:
        print("ready", flush=True)
        timeout = 60.0
        while (frame := consumer.receive(timeout)) is not None:
            timeout = float(idle_s)
            try:
                array = frame.copy()
            except FrameOverwrittenError:
                continue
            digest = hashlib.sha256(repr(frame.shape).encode() + array.tobytes()).hexdigest()
            print(frame.seq, digest, frame.epoch, flush=True)
        metadata = consumer.metadata
        print("gaps", consumer.metrics()["drops_gap"], flush=True)
        print("metadata", metadata.name if metadata else None, flush=True)
        print("attributes", sorted(metadata.attributes or {}) if metadata else [], flush=True)


if __name__ == "__main__":
    {"publish": publish, "consume": consume}[sys.argv[1]](*sys.argv[2:])
