"""A pipeline of three stages on tensors: normalise → convolve → classify.

    python examples/three_stages.py [--images 100]

Each stage is a process that consumes one stream and produces the next. With torch installed the
arithmetic is torch's, otherwise NumPy's; what travels is the same. Nothing may be lost here: each
image is sent when the one before it has been classified.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from tensor_pool.client import ClientConfig, PublishMode, connect
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

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

IMAGES, NORMALISED, EDGES, CLASSES = 10_000, 10_001, 10_002, 10_003
KINDS = ("horizontal", "vertical")
WHEN_READY = PublishMode.EXISTING_OR_CREATE


def normalise(image: Any) -> Any:
    """uint8 to float32 around 0."""
    pixels = image.astype(np.float32)
    return (pixels - pixels.mean()) / (pixels.std() + 1e-6)


def convolve(image: Any) -> Any:
    """Strength of horizontal and of vertical edges: (2, height, width)."""
    kernels = np.array([[[-1, -1], [1, 1]], [[-1, 1], [-1, 1]]], np.float32)
    if torch is not None:
        pixels, weights = torch.from_numpy(image)[None, None], torch.from_numpy(kernels)[:, None]
        return torch.nn.functional.conv2d(pixels, weights)[0]
    windows = np.lib.stride_tricks.sliding_window_view(image, (2, 2))
    return np.einsum("hwij,kij->khw", windows, kernels).astype(np.float32)


def classify(edges: Any) -> Any:
    """Return the index of the kind, as an array of one."""
    return np.abs(edges).sum(axis=(1, 2)).argmax(keepdims=True).astype(np.uint8)


def stage(
    config: ClientConfig, source: int, target: int, function: Callable[[Any], Any], stop: Any
) -> None:
    """Consume, compute, publish; trace ids tell which image a result belongs to."""
    with (
        connect(config) as pool,
        pool.producer(target) as results,
        pool.consumer(source, publish_mode=WHEN_READY) as inputs,
    ):
        while not stop.is_set():
            frame = inputs.receive(timeout=0.1)
            if frame is not None:
                results.publish(function(frame.copy()), trace_id=frame.trace_id)


def run(config: ClientConfig, images: int) -> int:
    """Send images and collect the classes; how many were right."""
    random = np.random.default_rng(3)
    right = 0
    with (
        connect(config) as pool,
        pool.producer(IMAGES) as source,
        pool.consumer(CLASSES, publish_mode=WHEN_READY) as classes,
    ):
        for number in range(1, images + 1):
            kind = int(random.integers(len(KINDS)))
            image = random.integers(0, 60, (64, 64), np.uint8)
            stripes = image[::8] if kind == 0 else image[:, ::8]
            stripes += 190
            answer = None
            while answer is None or answer.trace_id != number:
                if answer is None:  # the first image goes out until all stages have mapped
                    source.publish(image, trace_id=number)
                answer = classes.receive(timeout=0.5)
            right += int(answer.copy()[0]) == kind
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with tempfile.TemporaryDirectory(prefix="tensor-pool-example-", dir="/dev/shm") as directory:
        names = {"images": IMAGES, "normalised": NORMALISED, "edges": EDGES, "classes": CLASSES}
        config = DriverConfig(
            driver=DriverTable(aeron_dir=f"{directory}/aeron"),
            shm=ShmTable(base_dir=f"{directory}/pools"),
            policies=PoliciesTable(cleanup_shm_on_exit=True),
            profiles={"tensors": Profile(header_nslots=8, payload_pools=(Pool(1, 1 << 16),))},
            streams={n: StreamConfig(stream_id=s, profile="tensors") for n, s in names.items()},
        )
        with EmbeddedDriver(config) as driver:
            clients = driver.client_config()
            stages = [
                (IMAGES, NORMALISED, normalise),
                (NORMALISED, EDGES, convolve),
                (EDGES, CLASSES, classify),
            ]
            processes = [context.Process(target=stage, args=(clients, *s, stop)) for s in stages]
            for process in processes:
                process.start()
            try:
                right = run(clients, options.images)
            finally:
                stop.set()
                for process in processes:
                    process.join()
    print(f"{right} of {options.images} images classified correctly, by {_engine()}")


def _engine() -> str:
    return "NumPy" if torch is None else f"torch {torch.__version__}"


if __name__ == "__main__":
    main()
