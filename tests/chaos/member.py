"""A producer or consumer process that goes on whatever happens: `member.py JSON`.

Prints one JSON object a line on stdout several times a second, and a last one with its counters.
Ends on SIGTERM, or when stdin is closed because its owner is gone.
"""

from __future__ import annotations

import faulthandler
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from tensor_pool.client import (
    Client,
    Consumer,
    Frame,
    FrameOverwrittenError,
    Producer,
    PublishMode,
    StaleFrameError,
    StaleLoanError,
    TransportError,
    connect,
)
from tensor_pool.client.config import NoBaseDirError
from tests.chaos.proving_frames import SMALLEST, UNKNOWN_SEQ, Proof, fill, prove

_WORDS = (SMALLEST, 400, 512, 3000, 16384)
_REPORT_PERIOD_S = 0.2
_HELD_FRAMES = 4


class Stop:
    """Set by SIGTERM and by the end of stdin."""

    def __init__(self) -> None:
        self.event = threading.Event()
        # Not in the handler itself: it may have interrupted the wait with the event's lock held.
        signal.signal(
            signal.SIGTERM, lambda *_: threading.Thread(target=self.event.set, daemon=True).start()
        )
        threading.Thread(target=self._watch_stdin, daemon=True).start()

    def _watch_stdin(self) -> None:
        sys.stdin.read()
        self.event.set()

    def __bool__(self) -> bool:
        return self.event.is_set()


class Reports:
    """Lines for the owner."""

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        return time.monotonic() >= self._next

    def say(self, **fields: Any) -> None:
        self._next = time.monotonic() + _REPORT_PERIOD_S
        print(json.dumps({"at": time.monotonic(), **fields}), flush=True)


def produce(producer: Producer, stream_id: int, stop: Stop, rate_hz: float, seed: int) -> None:
    """Publish frames of all sizes, copied in and filled in place."""
    rng = random.Random(seed)
    me = rng.getrandbits(63)
    reports = Reports()
    number = published = 0
    while not stop.event.wait(1 / rate_hz):
        words = rng.choice(_WORDS)
        if rng.random() < 0.5:
            array = np.empty(words, np.uint64)
            fill(array, Proof(stream_id, me, number, UNKNOWN_SEQ))
            published += bool(producer.publish(array))
        else:
            published += _publish_in_place(producer, words, stream_id, me, number)
        number += 1
        if reports.due():
            reports.say(done=published, state=producer.state)
    reports.say(done=published, metrics=producer.metrics())


def _publish_in_place(producer: Producer, words: int, stream_id: int, me: int, number: int) -> bool:
    loan = producer.loan(words, np.uint64)
    assert loan is not None
    fill(loan.array, Proof(stream_id, me, number, loan.seq if loan.is_live else UNKNOWN_SEQ))
    try:
        return bool(loan.commit())
    except StaleLoanError:
        return False


class Checker:
    """Looks into every frame that the library gives out, some of them twice.

    `corrupt` counts frames that are valid and yet not what was published: torn, of another stream,
    under another sequence, or out of order.
    """

    def __init__(self, stream_id: int) -> None:
        self._stream_id = stream_id
        self._latest: dict[int, int] = {}
        self._held: list[Frame] = []
        self.good = 0
        self.corrupt = 0
        self.overwritten = 0
        self.examples: list[str] = []

    def check(self, frame: Frame) -> None:
        """A new frame; every fourth is looked at again when it is old."""
        self._look(frame, is_new=True)
        if frame.seq % 4 == 0:
            self._held.append(frame)
            if len(self._held) > _HELD_FRAMES:
                self._look(self._held.pop(0), is_new=False)

    def check_once(self, frame: Frame) -> bool:
        """Look at a new frame at once and never again; False if it was overwritten by then."""
        overwritten = self.overwritten
        self._look(frame, is_new=True)
        return self.overwritten == overwritten

    def _look(self, frame: Frame, *, is_new: bool) -> None:
        try:
            if frame.seq % 2:
                words = frame.copy()
            else:
                words = np.array(frame.array)
                if not frame.valid:
                    self.overwritten += 1
                    return
        except (FrameOverwrittenError, StaleFrameError):
            self.overwritten += 1
            return
        complaint = self._complaint(words, frame, is_new=is_new)
        if complaint:
            self.corrupt += 1
            if len(self.examples) < 5:
                self.examples.append(f"{complaint}: {frame!r} epoch {frame.epoch} {words[:6]}")
        elif is_new:
            self.good += 1

    def _complaint(self, words: Any, frame: Frame, *, is_new: bool) -> str:
        proof = prove(words)
        if proof is None:
            return "torn"
        if proof.stream_id != self._stream_id:
            return "of another stream"
        if proof.seq not in (UNKNOWN_SEQ, frame.seq):
            return "of another sequence"
        if is_new:
            latest = self._latest.get(proof.producer, -1)
            self._latest[proof.producer] = proof.number
            if proof.number <= latest:
                return f"out of order after {latest}"
        return ""


def consume(consumer: Consumer, stream_id: int, stop: Stop) -> None:
    """Check every frame."""
    checker = Checker(stream_id)
    reports = Reports()
    epoch = 0
    for frame in _frames(consumer, stop):
        if frame is not None:
            epoch = frame.epoch
            checker.check(frame)
        if reports.due():
            reports.say(
                done=checker.good, corrupt=checker.corrupt, epoch=epoch, state=consumer.state
            )
    reports.say(
        done=checker.good,
        corrupt=checker.corrupt,
        overwritten=checker.overwritten,
        examples=checker.examples,
        metrics=consumer.metrics(),
    )


def _frames(consumer: Consumer, stop: Stop) -> Iterator[Frame | None]:
    while not stop:
        yield consumer.receive(timeout=0.1)


def join(
    settings: dict[str, Any], role: str, stream_id: int, stop: Stop
) -> tuple[Client, Producer | Consumer] | None:
    """Connect and begin to attach, however long there is no media driver or base directory."""
    mode = PublishMode.EXISTING_OR_CREATE
    while not stop:
        client: Client | None = None
        try:
            client = connect(**settings)
            if role == "producer":
                return client, client.begin_attach_producer(stream_id, publish_mode=mode)
            return client, client.begin_attach_consumer(stream_id, publish_mode=mode)
        except (TransportError, NoBaseDirError):
            if client is not None:
                client.close()
            stop.event.wait(0.1)
    return None


def main() -> None:
    settings = json.loads(sys.argv[1])
    role, stream_id = settings.pop("role"), settings.pop("stream_id")
    rate_hz, seed = settings.pop("rate_hz"), settings.pop("seed")
    faulthandler.register(signal.SIGUSR1)  # its owner asks where it hangs
    stop = Stop()
    joined = join(settings, role, stream_id, stop)
    if joined is None:
        return
    client, handle = joined
    with client:
        if isinstance(handle, Producer):
            produce(handle, stream_id, stop, rate_hz, seed)
        else:
            consume(handle, stream_id, stop)


if __name__ == "__main__":
    main()
