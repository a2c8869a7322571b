"""A camera or a consumer of the field test: `member.py JSON`.

A camera publishes once its consumers are there, and keeps two numbers in a file that survive its
death: of frames that it was about to commit, and of those that it has committed. Prints one JSON
object a line several times a second. Ends on SIGTERM, or when stdin is closed.
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
from tests.chaos.proving_frames import UNKNOWN_SEQ, Proof, fill

_WORDS = 400
_REFUSED = (PublishStatus.BACK_PRESSURED,)


class Account:
    """Frames about to be committed, and committed, in a file that all processes see."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 16)
        self._words = memoryview(self._memory).cast("Q")

    def begin(self) -> None:
        """A frame is about to be published."""
        self._words[0] = self._words[1] + 1

    def end(self, *, is_committed: bool) -> None:
        """It was, or was not."""
        self._words[1] += is_committed
        self._words[0] = self._words[1]


def produce(producer: Producer, settings: dict[str, Any], stop: Stop) -> None:
    """Publish at a rate; note for how long frames are refused."""
    account = Account(settings["account"])
    reports = Reports()
    array = np.empty(_WORDS, np.uint64)
    me, number, done, refused_s, refused_since = time.monotonic_ns(), 0, 0, 0.0, None
    go = Path(settings["go"])
    while not stop.event.wait(1 / settings["rate_hz"]):
        if not go.exists():
            reports.say(done=0, state=producer.state, consumers=producer.consumers)
            continue
        fill(array, Proof(settings["stream_id"], me, number, UNKNOWN_SEQ))
        number += 1
        account.begin()
        result = producer.publish(array)
        account.end(is_committed=result.seq is not None)
        done += result.seq is not None
        now = time.monotonic()
        if result.status in _REFUSED:
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

    def report(**fields: Any) -> None:
        metrics = consumer.metrics()
        reports.say(
            done=received,
            accounted=received + sum(metrics[name] for name in LOSS_COUNTERS),
            corrupt=checker.corrupt,
            examples=checker.examples,
            is_ready=consumer.poll_ready(),
            state=consumer.state,
            **fields,
        )

    while not stop:
        frame = consumer.receive(timeout=0.1)
        if frame is not None:
            received += checker.check_once(frame)
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
