"""Programs that run on hosts of the lab: `python -m tests.bridge.programs WHAT ...`.

publish STREAM COUNT HZ SHAPE DTYPE SEED GO   prints `SEQ SHA256` for each frame
publish_all GO STREAM:COUNT:HZ:SHAPE:DTYPE..  prints `STREAM SEQ SHA256` for each frame
burst STREAM COUNT HZ GO                      as publish, without hashes, for high rates
consume STREAM                                prints `SEQ SHA256 EPOCH` for each frame
count STREAM                                  receives frames, and prints none of them
consume_all STREAM...                         prints `STREAM SEQ SHA256` for each frame
observe                                       prints the longest queues of the host's bridges,
                                              and the growth of their memory in KiB
media_driver DIRECTORY                        an Aeron media driver
stepped STEP ARGUMENT...                      `tensor-pool ARGUMENT...` with a real time that is
                                              off by the seconds in the file STEP

Producers wait for the file GO before they publish, and for the file GO.end before they leave.
Consumers end at SIGTERM; they print the ages of frames in ms, and their gaps.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import sys
import time
from pathlib import Path

import numpy as np

from tensor_pool.bridge.status_socket import bridges_here
from tensor_pool.cli import main as command_line
from tensor_pool.client import FrameOverwrittenError, Producer, connect
from tensor_pool.protocol.clock import SystemClock
from tensor_pool.protocol.transport.media_driver import EmbeddedMediaDriver

_LONGEST_WAIT_S = 120.0
_PAUSE_S = 0.3
_WARM_FRAMES = 20
"""Frames after which a bridge has everything that it needs; its memory is measured from there."""


def publish(stream: str, count: str, hz: str, shape: str, dtype: str, seed: str, go: str) -> None:
    """Publish random frames under a new lease."""
    dice = np.random.default_rng(int(seed))
    dims = tuple(map(int, shape.split("x")))
    with connect() as pool, pool.producer(int(stream)) as producer:
        producer.set_metadata("camera/left", "front", {"gain": 3})
        _await(Path(go))
        for number in range(int(count)):
            started = time.monotonic()
            frame = dice.integers(0, 255, dims).astype(dtype)
            result = producer.publish(frame, trace_id=number + 1)
            print(result.seq, digest(dims, frame), flush=True)
            time.sleep(max(0.0, 1 / float(hz) - (time.monotonic() - started)))
            if Path(go + ".end").exists():
                break
        _finish(producer, go)


def publish_all(go: str, *specs: str) -> None:
    """Publish random frames on several streams, each at a rate of its own.

    Before that, until GO is there, a few frames for consumers that join; then a line `go`.
    """
    with contextlib.ExitStack() as opened:
        pool = opened.enter_context(connect())
        dice = np.random.default_rng(3)
        due: list[tuple[float, int, int]] = []
        kinds = [spec.split(":") for spec in specs]
        producers = [opened.enter_context(pool.producer(int(kind[0]))) for kind in kinds]

        def publish_one(index: int) -> None:
            stream, _, _, shape, dtype = kinds[index]
            dims = tuple(map(int, shape.split("x")))
            frame = dice.integers(0, 255, dims, np.uint8).astype(dtype)
            result = producers[index].publish(frame, trace_id=1)
            print(stream, result.seq, digest(dims, frame), flush=True)

        while not Path(go).exists():
            for index in range(len(kinds)):
                publish_one(index)
            time.sleep(_PAUSE_S)
        print("go", flush=True)
        started = time.monotonic()
        for index, (_, count, hz, _, _) in enumerate(kinds):
            due += [(started + n / float(hz), n, index) for n in range(int(count))]
        for at, _, index in sorted(due):
            time.sleep(max(0.0, at - time.monotonic()))
            publish_one(index)
        backpressured = [p.metrics()["descriptor_backpressured"] for p in producers]
        print("counters", sum(backpressured), flush=True)
        _await(Path(go + ".end"))


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
    ended = _until_terminated()
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
            print(frame.seq, digest(frame.shape, array), frame.epoch, flush=True)
        print(f"ages {min(ages_ms):.1f} {max(ages_ms):.1f}", flush=True)
        print("gaps", consumer.metrics()["drops_gap"], flush=True)


def count(stream: str) -> None:
    """Receive every frame until SIGTERM, at high rates."""
    ended = _until_terminated()
    with connect() as pool, pool.consumer(int(stream), attach_timeout=60) as consumer:
        print("ready", flush=True)
        while not ended:
            consumer.receive(0.1)
        print("gaps", consumer.metrics()["drops_gap"], flush=True)


def consume_all(*streams: str) -> None:
    """Print the frames of several streams until SIGTERM, without metadata and ages."""
    ended = _until_terminated()
    with contextlib.ExitStack() as opened:
        pool = opened.enter_context(connect())
        consumers = [
            opened.enter_context(pool.consumer(int(stream), attach_timeout=60))
            for stream in streams
        ]
        print("ready", flush=True)
        while not ended:
            for stream, consumer in zip(streams, consumers, strict=True):
                for _ in range(64):
                    frame = consumer.receive(0.001)
                    if frame is None:
                        break
                    with contextlib.suppress(FrameOverwrittenError):
                        print(stream, frame.seq, digest(frame.shape, frame.copy()), flush=True)
        print("gaps", *(consumer.metrics()["drops_gap"] for consumer in consumers), flush=True)


def observe() -> None:
    """Watch every bridge of this host until SIGTERM."""
    ended = _until_terminated()
    queues: dict[str, int] = {}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    while not ended:
        for bridge in bridges_here():
            for out in bridge.outgoing:
                queues[out.label] = max(queues.get(out.label, 0), out.queue_frames)
            delivered = sum(entry.counters["frames_delivered"] for entry in bridge.incoming)
            sent = sum(out.counters["frames_sent"] for out in bridge.outgoing)
            if delivered + sent > _WARM_FRAMES:
                last[bridge.pid] = _private_kib(bridge.pid)
                first.setdefault(bridge.pid, last[bridge.pid])
        if last and "warm" not in queues:
            queues["warm"] = 0
            print("warm", flush=True)
        time.sleep(0.05)
    growth = {pid: last[pid] - first[pid] for pid in last}
    print("observed", json.dumps({"queues": queues, "growth_kib": growth}), flush=True)


def media_driver(directory: str) -> None:
    """Run until SIGTERM."""
    ended = _until_terminated()
    with EmbeddedMediaDriver(directory):
        print("media driver ready", flush=True)
        while not ended:
            time.sleep(0.05)


def stepped(step: str, *arguments: str) -> None:
    """Run `tensor-pool`."""
    file = Path(step)

    def realtime_ns() -> int:
        return time.time_ns() + int(file.read_text() or 0) * 1_000_000_000

    SystemClock.realtime_ns = staticmethod(realtime_ns)
    sys.argv = ["tensor-pool", *arguments]
    command_line()


def digest(shape: tuple[int, ...], array: np.ndarray) -> str:
    return hashlib.sha256(repr(tuple(shape)).encode() + array.tobytes()).hexdigest()


def _private_kib(pid: int) -> int:
    """Memory of a process without what it maps: log buffers and regions are files."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0


def _until_terminated() -> list[int]:
    """A list that has an item once SIGTERM has come."""
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    return ended


def _finish(producer: Producer, go: str) -> None:
    print("counters", producer.metrics()["descriptor_backpressured"], flush=True)
    _await(Path(go + ".end"))


def _await(path: Path) -> None:
    deadline = time.monotonic() + _LONGEST_WAIT_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


_PROGRAMS = (
    publish,
    publish_all,
    burst,
    consume,
    count,
    consume_all,
    observe,
    media_driver,
    stepped,
)

if __name__ == "__main__":
    {program.__name__: program for program in _PROGRAMS}[sys.argv[1]](*sys.argv[2:])
