"""Sending frames at a pace: what `publish` and `replay` have in common."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tensor_pool.client.client import Client
from tensor_pool.client.producer.producer import Producer
from tensor_pool.client.producer.results import PublishResult, PublishStatus
from tensor_pool.protocol.shm.geometry import stride_for

from ..pool_view.tables import bytes_text
from ..support.exit_status import FAILED, FRAMES_LOST, OK, CommandError, complain
from ..support.progress import Progress
from ..support.signals import Stop
from ._attach import attach_producer

__all__ = ["Pace", "Sender", "open_sender", "open_senders"]

_LONGEST_LAG_S = 0.25
_LOOK_S = 0.05


class Pace:
    """The times at which frames are due. A pause moves all that follow."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._due: float | None = None

    def wait(self, gap_s: float) -> bool:
        """Sleep until `gap_s` after the previous frame was due; false if the user ends it.

        A sender that cannot keep up does not try to catch up more than a quarter of a second.
        """
        now = time.monotonic()
        if self._due is None:
            self._due = now
        else:
            self._due = max(self._due + gap_s, now - _LONGEST_LAG_S)
        if self._due > now:
            self._stop.wait(self._due - now)
        return not self._stop.requested

    def shift(self, seconds: float) -> None:
        """Make the frames that follow due so much later."""
        if self._due is not None:
            self._due += seconds

    @property
    def due_ns(self) -> int:
        """The time at which the newest frame was due, on the monotonic clock."""
        return round((self._due or 0.0) * 1e9)


class Sender:
    """A producer that counts what it sends; made by `open_sender`."""

    def __init__(self, producer: Producer, stop: Stop) -> None:
        self.producer = producer
        self.wait_until_due = Pace(stop).wait
        self._stop = stop
        self._progress = Progress()
        self._sent_first = self._sent_last = 0.0
        self.frames = 0
        self.nbytes = 0
        self._results: Counter[PublishStatus] = Counter()

    def send(self, name: str, data: Any, **description: Any) -> None:
        """Publish one frame, however long the lease takes to come back when it was lost.

        CommandError for a frame that no slot of the stream holds.
        """
        result = self._publish(data, description)
        while result.status is PublishStatus.NOT_ACTIVE and not self._stop.wait(0.01):
            result = self._publish(data, description)
        nbytes = data.nbytes if hasattr(data, "nbytes") else len(data)
        if result.status is PublishStatus.TOO_LARGE:
            raise CommandError(self._too_large(name, nbytes))
        self._count(result, nbytes)

    def send_filled(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        fill: Callable[[np.ndarray[Any, np.dtype[Any]]], object],
        timestamp_ns: int,
    ) -> None:
        """Publish a frame that `fill` writes into the slot; one without a lease is left out.

        CommandError for a frame that no slot of the stream holds.
        """
        nbytes = math.prod(shape) * dtype.itemsize
        try:
            loan = self.producer.loan(shape, dtype, timestamp_ns=timestamp_ns)
        except ValueError:
            raise CommandError(self._too_large(name, nbytes)) from None
        with loan:
            fill(loan.array)
        assert loan.result is not None
        self._count(loan.result, nbytes)

    def _count(self, result: PublishResult, nbytes: int) -> None:
        self._results[result.status] += 1
        if result:
            self._sent_last = time.monotonic()
            self._sent_first = self._sent_first or self._sent_last
            self.frames += 1
            self.nbytes += nbytes
        self._progress.show(lambda: f"{self.frames} frames, {bytes_text(self.nbytes)} ")

    def linger(self, seconds: float) -> None:
        """Keep the lease a little, since its end takes the frames away from who still reads."""
        if self.frames:
            self._stop.wait(seconds)

    def summary(self, what: str) -> int:
        """Print totals; returns the exit status."""
        elapsed = self._sent_last - self._sent_first
        self._progress.end()
        unheard = self._results[PublishStatus.NO_SUBSCRIBERS]
        lost = self._results[PublishStatus.BACK_PRESSURED]
        rate = f", {(self.frames - 1) / elapsed:.1f} Hz" if elapsed else ""
        print(
            f"{what} {self.frames} frame{'s' if self.frames != 1 else ''}"
            f" ({bytes_text(self.nbytes)}) to stream {self.producer.stream_id}"
            f" in {elapsed:.1f} s{rate}"
        )
        if unheard:
            hint = (
                "" if self.frames > unheard else "; --wait 1 waits for a consumer, --loop repeats"
            )
            complain(f"{unheard} of them while no consumer received{hint}")
        if lost:
            complain(f"{lost} frames were not taken by the transport: consumers see a gap")
            return FRAMES_LOST
        return OK if self.frames else FAILED

    def _publish(self, data: Any, description: dict[str, Any]) -> PublishResult:
        return self.producer.publish(data, **description)

    def _too_large(self, name: str, nbytes: int) -> str:
        stride = stride_for(nbytes)
        return (
            f"{name}: {bytes_text(nbytes)} do not fit into a slot of stream"
            f" {self.producer.stream_id}; start the driver with larger ones, such as"
            f" --set 'profiles.default.payload_pools=[{{pool_id=1,stride_bytes={stride}}}]'"
            " (`tensor-pool config init` writes a file)"
        )


@contextlib.contextmanager
def open_sender(client: Client, stream_id: int | str, stop: Stop, *, wait: int) -> Iterator[Sender]:
    """Attach as the producer, and wait until so many consumers have mapped this epoch."""
    with open_senders(client, [stream_id], stop, wait=wait) as (sender,):
        yield sender


@contextlib.contextmanager
def open_senders(
    client: Client,
    streams: Sequence[int | str],
    stop: Stop,
    *,
    wait: int,
) -> Iterator[list[Sender]]:
    """Attach as the producer of each stream, then wait for so many consumers of each."""
    with contextlib.ExitStack() as stack:
        producers = [
            stack.enter_context(attach_producer(client, stream, stop)) for stream in streams
        ]
        if wait:
            for producer in producers:
                _wait_for_consumers(producer, wait, stop)
        yield [Sender(producer, stop) for producer in producers]


def _wait_for_consumers(producer: Producer, count: int, stop: Stop) -> None:
    while not producer.wait_for_consumers(count, timeout=_LOOK_S):
        stop.check()
