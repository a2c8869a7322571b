"""`bench`: how fast frames travel on this machine, with a driver of its own.

Three processes, as in use: a driver, this one as the producer, and a consumer. Nothing of a running
pool is touched. It measures:

- `publish`: time of one `publish()` of an array without a consumer; from about 100 KiB on, the
  copy into shared memory is most of it;
- `receive`: a consumer that copies every frame out, and a producer that keeps it busy without
  running further ahead than half the ring;
- `latency`: from `publish()` until `receive()` has the frame in a consumer that slept, at 200 Hz.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tensor_pool.client.client import Client
from tensor_pool.client.config import ClientConfig
from tensor_pool.client.connecting import connect
from tensor_pool.client.producer.producer import Producer
from tensor_pool.protocol.transport.media_driver import unique_aeron_dir

from ..pool_view.tables import bytes_text
from ..support.exit_status import OK, CommandError
from ..support.signals import Stop
from .bench_processes import run_consumer, run_driver

__all__ = ["run_bench"]

SIZES = (64 << 10, 1 << 20, 8 << 20)
STREAM_ID = 10000
SLOTS = 16
LATENCY_BYTES = 64 << 10
LATENCY_RATE_HZ = 200.0
_PATIENCE_S = 30.0
_SHARED_MEMORY = "/dev/shm"

_processes = multiprocessing.get_context("spawn")


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the result; times in us."""

    measure: str
    frame_bytes: int
    frames: int
    frames_per_s: float
    bytes_per_s: float
    p50_us: float | None = None
    p99_us: float | None = None
    lost: int | None = None

    def __str__(self) -> str:
        times = f"   p50 {self.p50_us:8.1f} us   p99 {self.p99_us:8.1f} us" if self.p50_us else ""
        lost = f"   {self.lost} lost" if self.lost else ""
        return (
            f"{self.measure:8} {bytes_text(self.frame_bytes):>7}  {self.frames_per_s:9.0f}"
            f" frames/s  {bytes_text(self.bytes_per_s):>9}/s{times}{lost}"
        )


def run_bench(seconds: float, *, as_json: bool) -> int:
    """Measure each figure for so many seconds, and print them."""
    figures = []
    with Stop() as stop, _own_pool(stop) as config, connect(config) as client:
        for figure in _figures(client, seconds, stop):
            figures.append(figure)
            if not as_json:
                print(figure, flush=True)
    if as_json:
        document = {
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "figures": figures,
        }
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document).decode()) + "\n")
    return OK


def _figures(client: Client, seconds: float, stop: Stop) -> Iterator[Figure]:
    with client.producer(STREAM_ID, idle=stop.idle) as producer:
        for size in SIZES:
            yield _publish(producer, size, seconds, stop)
        with _consumer(client.config, stop) as consumer:
            for size in SIZES:
                yield _receive(producer, consumer, size, seconds, stop)
            yield _latency(producer, consumer, seconds, stop)


def _publish(producer: Producer, size: int, seconds: float, stop: Stop) -> Figure:
    array = _noise(size)
    for _ in range(2 * SLOTS):  # every slot was touched once
        producer.publish(array)
    times: list[int] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stop.check()
        before = time.perf_counter_ns()
        producer.publish(array)
        times.append(time.perf_counter_ns() - before)
    rate = len(times) * 1e9 / sum(times)
    p50_us, p99_us = _quantiles(times)
    return Figure(
        measure="publish",
        frame_bytes=size,
        frames=len(times),
        frames_per_s=rate,
        bytes_per_s=rate * size,
        p50_us=p50_us,
        p99_us=p99_us,
    )


def _receive(
    producer: Producer, consumer: _Consumer, size: int, seconds: float, stop: Stop
) -> Figure:
    array = _noise(size)
    consumer.begin(stop, copies=True)
    sent = consumer.seen
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        stop.check()
        if sent - consumer.seen < SLOTS // 2:
            sent = (producer.publish(array).seq or 0) + 1
        else:
            time.sleep(20e-6)
    _, taken, lost = consumer.result(stop)
    rate = taken / (time.monotonic() - began)
    return Figure(
        measure="receive",
        frame_bytes=size,
        frames=taken,
        frames_per_s=rate,
        bytes_per_s=rate * size,
        lost=lost,
    )


def _latency(producer: Producer, consumer: _Consumer, seconds: float, stop: Stop) -> Figure:
    array = _noise(LATENCY_BYTES)
    consumer.begin(stop, copies=False)
    for _ in range(round(seconds * LATENCY_RATE_HZ)):
        stop.check()
        producer.publish(array)
        time.sleep(1 / LATENCY_RATE_HZ)
    latencies, _, lost = consumer.result(stop)
    if len(latencies) < 2:
        raise CommandError("the consumer of the latency measurement received nothing")
    p50_us, p99_us = _quantiles(latencies)
    return Figure(
        measure="latency",
        frame_bytes=LATENCY_BYTES,
        frames=len(latencies),
        frames_per_s=LATENCY_RATE_HZ,
        bytes_per_s=LATENCY_RATE_HZ * LATENCY_BYTES,
        lost=lost,
        p50_us=p50_us,
        p99_us=p99_us,
    )


@contextlib.contextmanager
def _own_pool(stop: Stop) -> Iterator[ClientConfig]:
    """A driver in a process of its own, with files of its own."""
    root = Path(_SHARED_MEMORY) / f"tensorpool-bench-{os.getpid()}-{os.urandom(3).hex()}"
    needed = 2 * SLOTS * sum(SIZES)  # an epoch, and the one before it
    if (free := shutil.disk_usage(_SHARED_MEMORY).free) < needed:
        raise CommandError(
            f"{_SHARED_MEMORY} has {bytes_text(free)} free, {bytes_text(needed)} are needed"
        )
    root.mkdir(mode=0o700)
    try:
        arguments = (str(root), unique_aeron_dir("bench"), STREAM_ID, SLOTS, SIZES)
        with _process(run_driver, *arguments) as pipe:
            answer = _answer(pipe, stop, "the driver")
            if isinstance(answer, str):
                raise CommandError(f"the driver cannot run: {answer}")
            yield answer
    finally:
        shutil.rmtree(root, ignore_errors=True)


class _Consumer:
    """The consumer process; see `run_consumer`."""

    def __init__(self, pipe: Pipe, counter: Any) -> None:
        self._pipe = pipe
        self._counter = counter

    @property
    def seen(self) -> int:
        """Return the number of frames published: the latest sequence plus 1."""
        return int(self._counter.value)

    def begin(self, stop: Stop, *, copies: bool) -> None:
        """Begin a measurement."""
        self._pipe.send(copies)
        _answer(self._pipe, stop, "the consumer")

    def result(self, stop: Stop) -> tuple[list[int], int, int]:
        """Latencies in ns, and how many frames were taken and lost."""
        self._pipe.send("result")
        latencies, taken, lost = _answer(self._pipe, stop, "the consumer")
        return latencies, taken, lost


@contextlib.contextmanager
def _consumer(config: ClientConfig, stop: Stop) -> Iterator[_Consumer]:
    counter = _processes.Value("q", 0, lock=False)
    with _process(run_consumer, config, STREAM_ID, counter) as pipe:
        _answer(pipe, stop, "the consumer")
        yield _Consumer(pipe, counter)


@contextlib.contextmanager
def _process(function: Any, *arguments: Any) -> Iterator[Pipe]:
    ours, theirs = _processes.Pipe()
    process = _processes.Process(target=function, args=(theirs, *arguments), daemon=True)
    with _ctrl_c_is_ours():
        process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()  # which ends it, unless it has ended
        process.join(_PATIENCE_S)
        if process.is_alive():
            process.kill()
            process.join()


@contextlib.contextmanager
def _ctrl_c_is_ours() -> Iterator[None]:
    """Processes started meanwhile do not hear Ctrl-C, which a terminal sends to all of them.

    A child keeps the blocked signal blocked; here it is delivered once it is unblocked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _answer(pipe: Pipe, stop: Stop, who: str) -> Any:
    deadline = time.monotonic() + _PATIENCE_S
    while not pipe.poll(0.05):
        stop.check()
        if time.monotonic() > deadline:
            raise CommandError(f"{who} did not answer within {_PATIENCE_S:g} s")
    try:
        return pipe.recv()
    except EOFError:
        raise CommandError(f"{who} has ended") from None


def _noise(size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, size, np.uint8)


def _quantiles(times_ns: list[int]) -> tuple[float, float]:
    cuts = statistics.quantiles(times_ns, n=100, method="inclusive")
    return cuts[49] / 1e3, cuts[98] / 1e3
