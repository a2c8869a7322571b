"""A camera or a consumer of the field test: `member.py JSON`.

A camera publishes once its consumers are there, and counts committed frames in a file that survives
its death. Prints one JSON object a line several times a second. Ends on SIGTERM, or when stdin is
closed.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from tensor_pool.client import Consumer, Producer, PublishStatus
from tensor_pool.client.attachment.counter_names import LOSS_COUNTERS
from tests.chaos.member import Checker, Reports, Stop, join
from tests.chaos.proving_frames import UNKNOWN_SEQ, Proof, fill, prove

_WORDS = 400


class Ledger:
    """Committed frames of each epoch, in a file that all processes see.

    A new epoch shows by its sequence, which begins again. Words: the number of entries; then for
    each the camera process, the number of the first frame, and how many were committed.
    """

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._words = memoryview(self._memory).cast("Q")
        self._at = 0
        self._last_seq = -1

    def note(self, camera: int, number: int, seq: int) -> None:
        """A frame was committed."""
        if seq <= self._last_seq or not self._at:
            self._at = 1 + 3 * self._words[0]
            self._words[self._at] = camera
            self._words[self._at + 1] = number
            self._words[0] += 1
        self._last_seq = seq
        self._words[self._at + 2] += 1


def produce(producer: Producer, settings: dict[str, Any], stop: Stop) -> None:
    """Publish at a rate; note for how long frames are refused."""
    ledger = Ledger(settings["ledger"])
    reports = Reports()
    array = np.empty(_WORDS, np.uint64)
    me, number, done, refused_s, refused_since = time.monotonic_ns(), 0, 0, 0.0, None
    held_up = 0
    go = Path(settings["go"])
    while not stop.event.wait(1 / settings["rate_hz"]):
        if not go.exists():
            reports.say(done=0, state=producer.state, consumers=producer.consumers)
            continue
        fill(array, Proof(settings["stream_id"], me, number, UNKNOWN_SEQ))
        result = producer.publish(array)
        if result.seq is not None:
            ledger.note(me, number, result.seq)
            done += 1
        number += 1
        now = time.monotonic()
        if result.status is PublishStatus.BACK_PRESSURED:
            before, held_up = held_up, producer.metrics()["descriptor_backpressured"]
            if held_up > before:  # by a subscriber, not because the media driver is gone
                refused_since = refused_since or now
        elif refused_since is not None:
            refused_s, refused_since = refused_s + now - refused_since, None
        if reports.due():
            reports.say(done=done, state=producer.state, refused_s=refused_s)
    reports.say(done=done, refused_s=refused_s, metrics=producer.metrics())


def consume(consumer: Consumer, settings: dict[str, Any], stop: Stop) -> None:
    """Check every frame, and add up those received and lost.

    A frame that was overwritten before it was used is among the lost ones.
    """
    checker = Checker(settings["stream_id"])
    reports = Reports()
    received = 0
    epochs: dict[int, tuple[int, int]] = {}  # camera and number of the first frame of each

    def report(**fields: Any) -> None:
        metrics = consumer.metrics()
        reports.say(
            done=received,
            accounted=received + sum(metrics[name] for name in LOSS_COUNTERS),
            corrupt=checker.corrupt,
            examples=checker.examples,
            epochs=list(epochs.values()),
            is_ready=consumer.poll_ready(),
            state=consumer.state,
            **fields,
        )

    while not stop:
        frame = consumer.receive(timeout=0.1)
        if frame is not None and checker.check_once(frame):
            received += 1
            if frame.epoch not in epochs and (proof := prove(np.array(frame.array))) is not None:
                epochs[frame.epoch] = proof.producer, proof.number
        if reports.due():
            report()
    report(metrics=consumer.metrics())


def main() -> None:
    settings = json.loads(sys.argv[1])
    faulthandler.register(signal.SIGUSR1)
    stop = Stop()
    joined = join(settings["endpoints"], settings["role"], settings["stream_id"], stop)
    if joined is None:
        return
    client, handle = joined
    with client:
        if isinstance(handle, Producer):
            produce(handle, settings, stop)
        else:
            consume(handle, settings, stop)


if __name__ == "__main__":
    main()
