"""Camera simulator → processing → viewer: three processes, two streams, one driver.

    python examples/camera_to_viewer.py [--frames 200] [--rate 100]

The camera draws a bright disc that moves over noise. The processing finds it and publishes the
picture with a cross on it, under the same trace id. The viewer computes where the disc was and
prints the distance of the cross from it. A frame that a consumer found in the ring, because its
descriptor was sent before the consumer listened, has no trace id; both consumers leave it out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from typing import Any

import numpy as np

from tensor_pool.client import (
    ClientConfig,
    FrameOverwrittenError,
    PublishMode,
    StaleFrameError,
    connect,
)
from tensor_pool.driver import (
    DriverConfig,
    DriverTable,
    EmbeddedDriver,
    PoliciesTable,
    Pool,
    Profile,
    ShmTable,
    StreamConfig,
)

RAW, MARKED = 10_000, 10_001
HEIGHT, WIDTH, RADIUS = 240, 320, 12
WHEN_READY = PublishMode.EXISTING_OR_CREATE


def disc_at(number: int) -> tuple[int, int]:
    """Row and column of the disc's centre in picture `number`."""
    angle = number / 25
    return (
        round(HEIGHT / 2 + 80 * np.sin(angle)),
        round(WIDTH / 2 + 120 * np.cos(angle)),
    )


def camera(config: ClientConfig, rate_hz: float, stop: Any) -> None:
    """Fill slots in place until `stop` is set."""
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    with connect(config) as pool, pool.producer(RAW) as raw:
        number = 0
        while not stop.wait(1 / rate_hz):
            number += 1
            row, column = disc_at(number)
            with raw.loan((HEIGHT, WIDTH), np.uint8, trace_id=number) as frame:
                frame.array[:] = random.integers(0, 80, (HEIGHT, WIDTH), np.uint8)
                frame.array[(rows - row) ** 2 + (columns - column) ** 2 < RADIUS**2] = 255


def processing(config: ClientConfig, stop: Any) -> None:
    """Mark the centre of what is bright; a picture that is overwritten meanwhile is left out."""
    with (
        connect(config) as pool,
        pool.producer(MARKED) as marked,
        pool.consumer(RAW, publish_mode=WHEN_READY) as raw,
    ):
        while not stop.is_set():
            frame = raw.receive(timeout=0.2)
            if frame is None or not frame.trace_id:
                continue
            try:
                picture = frame.copy()
            except (FrameOverwrittenError, StaleFrameError):
                continue
            rows, columns = np.nonzero(picture > 200)
            row, column = round(rows.mean()), round(columns.mean())
            picture[row, :] = picture[:, column] = 128
            marked.publish(picture, timestamp_ns=frame.timestamp_ns, trace_id=frame.trace_id)


def viewer(config: ClientConfig, frames: int) -> tuple[int, float, float]:
    """Frames seen, greatest error in pixels, median age in ms when they were seen."""
    errors, ages = [], []
    with connect(config) as pool, pool.consumer(MARKED, publish_mode=WHEN_READY) as marked:
        while len(errors) < frames:
            frame = marked.receive(timeout=20)
            if frame is None:
                raise SystemExit("no frames came for 20 s")
            if not frame.trace_id:
                continue
            age_ms = (time.monotonic_ns() - frame.timestamp_ns) / 1e6
            row = int((frame.array == 128).sum(axis=1).argmax())
            column = int((frame.array == 128).sum(axis=0).argmax())
            true_row, true_column = disc_at(frame.trace_id)
            if frame.valid:
                errors.append(np.hypot(row - true_row, column - true_column))
                ages.append(age_ms)
    return len(errors), float(max(errors)), float(np.median(ages))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rate", type=float, default=100.0, help="pictures a second")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with tempfile.TemporaryDirectory(prefix="tensor-pool-example-", dir="/dev/shm") as directory:
        config = DriverConfig(
            driver=DriverTable(aeron_dir=f"{directory}/aeron"),
            shm=ShmTable(base_dir=f"{directory}/pools"),
            policies=PoliciesTable(cleanup_shm_on_exit=True),
            profiles={"camera": Profile(header_nslots=16, payload_pools=(Pool(1, 1 << 17),))},
            streams={
                "raw": StreamConfig(stream_id=RAW, profile="camera"),
                "marked": StreamConfig(stream_id=MARKED, profile="camera"),
            },
        )
        with EmbeddedDriver(config) as driver:
            clients = driver.client_config()
            processes = [
                context.Process(target=camera, args=(clients, options.rate, stop)),
                context.Process(target=processing, args=(clients, stop)),
            ]
            for process in processes:
                process.start()
            try:
                seen, error, age_ms = viewer(clients, options.frames)
            finally:
                stop.set()
                for process in processes:
                    process.join()
    print(f"{seen} frames seen, cross at most {error:.1f} pixels off, median age {age_ms:.1f} ms")


if __name__ == "__main__":
    main()
