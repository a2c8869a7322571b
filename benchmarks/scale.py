"""Growth with the number of streams and of consumers: counters, memory, CPU, time to attach.

    python benchmarks/scale.py --streams 10 100 1000 --consumers 1 10 100 500

A driver and a media driver inside this process. First one producer and one consumer a stream, in
two clients; then one stream with many consumers, each in a client of its own, as of many programs.
Every consumer must receive a frame; the program ends with status 1 if one does not.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from tensor_pool.client import Client, Consumer, Producer, connect
from tensor_pool.client.config import ClientConfig
from tensor_pool.driver import (
    DriverConfig,
    DriverTable,
    EmbeddedDriver,
    IdRange,
    PoliciesTable,
    Pool,
    Profile,
    ShmTable,
)

FIRST_STREAM = 20_000
_PATIENCE_S = 120.0
_SETTLING_S = 2.0
_COUNTER_BYTES = 512  # of one counter's metadata in cnc.dat
_ALLOCATED = 1  # its state word


@contextmanager
def pool() -> Iterator[tuple[ClientConfig, Path]]:
    """The configuration of clients, and the Aeron directory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="tp-scale-") as directory:
        config = DriverConfig(
            driver=DriverTable(
                aeron_dir=f"{directory}/aeron", stream_id_range=IdRange(FIRST_STREAM, 29_999)
            ),
            shm=ShmTable(base_dir=f"{directory}/regions"),
            policies=PoliciesTable(allow_dynamic_streams=True),
            profiles={"small": Profile(header_nslots=16, payload_pools=(Pool(1, 64),))},
        )
        with EmbeddedDriver(config) as driver:
            yield driver.client_config(), Path(f"{directory}/aeron")


def subscriber_positions(aeron_dir: Path) -> int:
    """Position counters of subscribers that the media driver holds, counted in its file."""
    data = np.fromfile(aeron_dir / "cnc.dat", "<i4")
    lengths = data[1:4]  # to-driver, to-clients, counter metadata
    start = (128 + int(lengths[0]) + int(lengths[1])) // 4
    metadata = data[start : start + int(lengths[2]) // 4].reshape(-1, _COUNTER_BYTES // 4)
    return int(((metadata[:, 0] == _ALLOCATED) & (metadata[:, 1] == 4)).sum())


def shared_memory_mib(aeron_dir: Path) -> float:
    """Memory that the log buffers have been given."""
    files = (file.stat() for file in aeron_dir.rglob("*.logbuffer"))
    return sum(status.st_blocks * 512 for status in files) / (1 << 20)


def measure(streams: int, consumers_each: int) -> bool:
    """Attach, let the pool rest, publish once on each stream; print a row."""
    producers: list[Producer] = []
    consumers: list[Consumer] = []
    with ExitStack() as opened:
        config, aeron_dir = opened.enter_context(pool())
        one, shared = (opened.enter_context(connect(config)) for _ in range(2))

        def client_of_consumer() -> Client:
            return shared if streams > 1 else opened.enter_context(connect(config))

        began = time.monotonic()
        for stream_id in range(FIRST_STREAM, FIRST_STREAM + streams):
            producers.append(one.producer(stream_id, attach_timeout=_PATIENCE_S))
            consumers += [
                client_of_consumer().consumer(stream_id, attach_timeout=_PATIENCE_S)
                for _ in range(consumers_each)
            ]
        attach_ms = (time.monotonic() - began) * 1000 / (len(producers) + len(consumers))
        time.sleep(_SETTLING_S)
        cpu, at = time.process_time(), time.monotonic()
        time.sleep(_SETTLING_S)
        cpu_share = (time.process_time() - cpu) / (time.monotonic() - at)
        for producer in producers:
            producer.publish(b"x")
        received = sum(consumer.receive(timeout=5) is not None for consumer in consumers)
        lost = sum(handle.metrics()["attaches"] - 1 for handle in (*producers, *consumers))
        positions = subscriber_positions(aeron_dir)
        shm_mib = shared_memory_mib(aeron_dir)
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{streams:8} {len(consumers):10} {positions:10} {shm_mib:8.0f}"
        f" {memory_mib:9.0f} {cpu_share:9.0%} {attach_ms:10.1f} {received:9} {lost:7}",
        flush=True,
    )
    return received == len(consumers) and lost == 0


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="How a pool grows")
    parser.add_argument("--streams", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--consumers", type=int, nargs="*", default=[1, 10, 100, 500])
    arguments = parser.parse_args()
    print(
        " streams  consumers  positions  shm MiB  peak MiB  CPU idle  ms/attach  received  losses"
    )
    rows = [(n, 1) for n in arguments.streams] + [(1, n) for n in arguments.consumers]
    results = [measure(streams, consumers) for streams, consumers in rows]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
