"""The minimal programs of examples/interop exchange frames with our clients under our driver."""

from __future__ import annotations

import ast
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client import FrameOverwrittenError, PublishMode, connect
from tensor_pool.client.attachment.counter_names import LOSS_COUNTERS
from tensor_pool.driver import EmbeddedDriver
from tests.interop.pool import (
    REPOSITORY,
    STREAM,
    Program,
    driver_with_small_frames,
    frame,
)

pytestmark = pytest.mark.process

EXAMPLES = REPOSITORY / "examples" / "interop"
FRAMES = 100_000
RATE = 25_000


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="interop-", dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture
def driver(directory: Path) -> Iterator[EmbeddedDriver]:
    with driver_with_small_frames(directory) as driver:
        yield driver


@pytest.fixture
def start(driver: EmbeddedDriver, directory: Path) -> Iterator[Callable[..., Program]]:
    """Start one of the examples beside the driver."""
    started: list[Program] = []

    def start(name: str, *options: object) -> Program:
        places = (driver.aeron_dir, "--base-dir", directory / "pools")
        started.append(Program(EXAMPLES / name, *places, *options))
        return started[-1]

    yield start
    for program in started:
        program.close()


def test_minimal_producer_to_our_consumer(
    driver: EmbeddedDriver, start: Callable[..., Program]
) -> None:
    """Our consumer gets every frame of a foreign producer, 1e5 of them by content, or counts it."""
    with (
        connect(driver.client_config()) as pool,
        pool.consumer(STREAM, publish_mode=PublishMode.EXISTING_OR_CREATE) as consumer,
    ):
        # More than are compared: a busy machine may lose some, and nothing waits for a reader.
        start("producer.py", "--frames", 20 * FRAMES, "--rate", RATE)
        right = 0
        while right < FRAMES:
            one = consumer.receive(timeout=20)
            assert one is not None
            try:
                assert np.array_equal(one.copy(), frame(one.seq))
            except FrameOverwrittenError:
                continue
            right += 1
        counted = sum(consumer.metrics()[name] for name in LOSS_COUNTERS)
        assert right + counted == one.seq + 1, consumer.metrics()


def test_our_producer_to_minimal_consumer(
    driver: EmbeddedDriver, start: Callable[..., Program]
) -> None:
    """A foreign consumer gets every frame of our producer, 1e5 of them, or counts it."""
    with connect(driver.client_config()) as pool, pool.producer(STREAM) as producer:
        program = start("consumer.py", "--frames", FRAMES, "--seconds", 60)
        program.line("answered with code 0")
        begin = time.monotonic()
        for sequence in range(FRAMES):
            assert producer.publish(frame(sequence)).seq == sequence
            ahead = sequence / RATE - (time.monotonic() - begin)
            if ahead > 0.001:
                time.sleep(ahead)
        right, wrong, lost = (int(word) for word in program.wait().split() if word.isdigit())
        assert wrong == 0
        assert right + lost == FRAMES
        assert right > lost


def test_minimal_producer_to_minimal_consumer(start: Callable[..., Program]) -> None:
    """Two foreign programs need nothing of ours but the driver."""
    consumer = start("consumer.py", "--frames", 1500, "--seconds", 20)
    consumer.line("answered with code 0")
    producer = start("producer.py", "--frames", 2000, "--rate", 1000)
    assert producer.wait() == "2000 frames published"
    right, wrong, lost = (int(word) for word in consumer.wait().split() if word.isdigit())
    assert wrong == 0
    assert right + lost >= 1500
    assert right > lost


@pytest.mark.parametrize("name", ["producer.py", "consumer.py"])
def test_the_programs_are_short_and_use_nothing_of_ours(name: str) -> None:
    source = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(source.splitlines()) < 150
    imported = {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imported - sys.stdlib_module_names == {"pyaeron"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(ast.parse(source)))
