"""Faults from the field: cancelled waits, slow loops, bad arguments, closing at bad moments."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import numpy as np
import pytest

from tensor_pool.client import (
    AttachTimeoutError,
    PublishStatus,
    TransportError,
    aio,
    connect,
)
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tensor_pool.protocol.wire import ResponseCode
from tests.client.deployment import STREAM, Deployment
from tests.client.live_world import LiveWorld
from tests.client.world import S, World

DATA = np.zeros(4, np.uint8)
U64 = 1 << 64


# Arguments are checked before anything changes (C-070)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"timestamp_ns": 1.5e18}, TypeError),
        ({"timestamp_ns": "now"}, TypeError),
        ({"timestamp_ns": U64 - 1}, ValueError),
        ({"timestamp_ns": U64}, ValueError),
        ({"timestamp_ns": -1}, ValueError),
        ({"trace_id": -1}, ValueError),
        ({"trace_id": U64}, ValueError),
        ({"trace_id": 0.5}, TypeError),
    ],
)
def test_C_070_a_bad_number_is_refused_and_the_next_frame_is_published(
    world: World, arguments: dict[str, Any], error: type[Exception]
) -> None:
    producer, consumer = world.pair()
    assert producer.publish(DATA, trace_id=7)
    name = next(iter(arguments))
    for publish in (
        lambda: producer.publish(DATA, **arguments),
        lambda: producer.loan(4, np.uint8, **arguments),
        lambda: producer.loan(4, np.uint8).commit(**arguments),
    ):
        with pytest.raises(error, match=name):
            publish()
    for loan in list(producer._loans.by_seq.values()):
        loan.abort()
    assert producer.publish(DATA, timestamp_ns=np.int64(world.clock.monotonic_ns()))
    assert producer.publish(DATA)
    received = [frame.trace_id for frame in iter(consumer.poll, None)]
    assert received == [7, 0, 0]


def test_C_070_a_time_far_ahead_does_not_stop_frames_without_a_time(world: World) -> None:
    producer, consumer = world.pair()
    assert producer.publish(DATA, timestamp_ns=1 << 63)
    assert producer.publish(DATA)
    times = [frame.timestamp_ns for frame in iter(consumer.poll, None)]
    assert times == [1 << 63, 1 << 63]  # they must not go back within an epoch


def test_C_071_too_large_a_frame_is_logged_once_a_second_with_the_size_to_configure(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    producer, _ = world.pair()
    for _ in range(5):
        assert producer.publish(np.zeros(70_000, np.uint8)).status is PublishStatus.TOO_LARGE
    texts = [r.message for r in caplog.records if "larger than the largest slot" in r.message]
    assert len(texts) == 1
    assert "stride_bytes of 70000 or more" in texts[0]
    world.clock.advance(S + 1)
    producer.publish(np.zeros(70_000, np.uint8))
    texts = [r.message for r in caplog.records if "larger than the largest slot" in r.message]
    assert texts[1].endswith("(6 so far)")


# A loop slower than its camera (C-101)


@pytest.mark.parametrize("pattern", ["receive", "poll", "iterate", "handler", "copy"])
def test_C_101_a_loop_slower_than_its_camera_uses_nearly_every_frame_it_takes(
    world: World, pattern: str
) -> None:
    """Five frames are published while one is used, in a ring of 16 slots."""
    world.driver.add_stream(STREAM, nslots=16)
    producer, consumer = world.pair()
    used = taken = 0
    newest_lag = []

    def use(frame: Any) -> None:
        nonlocal used, taken
        taken += 1
        for _ in range(5):
            assert producer.publish(DATA)
        used += frame.valid
        newest_lag.append(producer._state.next_seq - frame.seq)  # type: ignore[union-attr]

    for _ in range(5):
        producer.publish(DATA)
    iterator = iter(consumer)
    while taken < 100:
        if pattern == "receive":
            use(consumer.receive(timeout=0))
        elif pattern == "iterate":
            use(next(iterator))
        elif pattern == "handler":
            assert consumer.poll(use, 1) == 1
        else:
            frame = consumer.poll(copy=pattern == "copy")
            assert frame is not None
            use(frame)
    assert used >= 95
    assert max(newest_lag[-50:]) < 16
    metrics = consumer.metrics()
    seen = metrics["frames_ok"] + metrics["drops_late"] + metrics["drops_gap"]
    waiting = len(consumer._receiver._pending)
    assert metrics["late_skipped"] > 0
    # A frame that became invalid while it was used counts on both sides.
    assert (
        seen - metrics["late_changed"] + waiting
        <= producer._descriptors.published
        <= seen + 64 + waiting
    )


def test_C_101_a_consumer_that_catches_up_again_skips_nothing(world: World) -> None:
    world.driver.add_stream(STREAM, nslots=16)
    producer, consumer = world.pair()
    for _ in range(40):
        producer.publish(DATA)
    while consumer.poll() is not None:
        pass
    before = consumer.metrics()["late_skipped"]
    assert before > 0
    for _ in range(15):  # nearly a whole ring, none of it overwritten
        producer.publish(DATA)
    assert len(list(iter(consumer.poll, None))) == 15
    assert consumer.metrics()["late_skipped"] == before


# asyncio (C-102)


@pytest.mark.process
def test_C_102_a_wait_that_ends_early_takes_no_frame(deployment: Deployment) -> None:
    """By its own timeout, by `asyncio.timeout` and by cancellation; sent = received."""
    deployment.daemon()
    published = 60

    async def run() -> tuple[list[int], dict[str, int]]:
        got: list[int] = []
        async with aio.connect(**deployment.endpoints) as pool:
            camera = await pool.producer(STREAM)
            viewer = await pool.consumer(STREAM)

            async def publish() -> None:
                for _ in range(published):
                    camera.publish(DATA)
                    await asyncio.sleep(0.015)

            publishing = asyncio.create_task(publish())
            number = 0
            while not (publishing.done() and len(got) >= published) and number < 2000:
                number += 1
                if number % 3 == 0:
                    frame = await viewer.receive(timeout=0.004)
                    got += [frame.seq] if frame is not None else []
                elif number % 3 == 1:
                    try:
                        async with asyncio.timeout(0.004):
                            async for one in viewer:
                                got.append(one.seq)
                                break
                    except TimeoutError:
                        pass
                else:
                    waiting = asyncio.create_task(viewer.receive())
                    await asyncio.sleep(0.004)
                    waiting.cancel()
                    [result] = await asyncio.gather(waiting, return_exceptions=True)
                    if not isinstance(result, BaseException):
                        got += [result.seq] if result is not None else []
            return got, viewer.handle.metrics()

    got, metrics = asyncio.run(run())
    assert got == list(range(published))
    assert metrics["frames_ok"] == published


# Closing


@pytest.mark.parametrize("handles", [1, 5])
def test_C_117_closing_many_handles_of_a_dead_driver_takes_as_long_as_one(
    world: World, handles: int
) -> None:
    client = world.client()
    for stream_id in range(handles):
        client.producer(30_000 + stream_id)
    world.driver.silent = True
    began = world.clock.monotonic_ns()
    client.close()
    assert 3 * S <= world.clock.monotonic_ns() - began < 4 * S  # three detaches were tried


def test_C_117_an_interrupted_close_can_be_repeated(world: World) -> None:
    client = world.client()
    producer = client.producer(STREAM)
    world.driver.silent = True
    interrupt = True

    def idle() -> None:
        nonlocal interrupt
        world.idle()
        if interrupt:
            interrupt = False
            raise KeyboardInterrupt

    client._idle = idle
    with pytest.raises(KeyboardInterrupt):
        client.close()
    world.driver.silent = False
    client.close()
    assert producer._attachment.finished.is_set()
    assert not client._handles


@pytest.mark.process
@pytest.mark.timeout(60)
def test_C_117_a_signal_handler_may_close_the_client_while_a_frame_is_published(
    deployment: Deployment,
) -> None:
    deployment.daemon()
    program = f"""
        import signal, sys, numpy as np
        from tensor_pool.client import ClosedError, connect
        pool = connect(**{deployment.endpoints!r})
        camera = pool.producer({STREAM})
        inside = 0
        def on_term(*_):
            global inside
            inside = not camera._lock._items
            pool.close()
        signal.signal(signal.SIGTERM, on_term)
        picture = np.zeros((1000, 1000), np.uint8)
        print("ready", flush=True)
        try:
            while True:
                camera.publish(picture)
        except ClosedError:
            print("closed", flush=True)
    """
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.2)  # somewhere in the loop
        child.send_signal(signal.SIGTERM)
        assert child.communicate(timeout=30)[0] == "closed\n"
        assert child.returncode == 0


@pytest.mark.process
def test_C_117_an_arrays_own_code_holds_up_no_keepalive(deployment: Deployment) -> None:
    """`__array__` runs before the handle is taken, so the conductor can come in."""
    deployment.daemon()
    with deployment.connect() as pool, pool.producer(STREAM) as camera:

        class Slow:
            def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
                with camera._lock:  # as the conductor does
                    return DATA

        assert camera.publish(Slow()).seq == 0  # type: ignore[arg-type]


# Waiting for others


def test_C_084_a_producer_waits_for_its_consumers(world: World) -> None:
    client = world.client()
    producer = client.producer(STREAM)
    assert not producer.wait_for_consumers(1, timeout=0.1)
    other = world.client()
    other.begin_attach_consumer(STREAM)

    def idle() -> None:
        world.idle()
        other.do_work()

    client._idle = idle
    assert producer.wait_for_consumers(1, timeout=5)
    assert producer.consumers == 1
    consumer = next(iter(other._handles.values()))
    assert producer.publish(DATA).status is PublishStatus.PUBLISHED
    assert consumer.poll().seq == 0  # type: ignore[attr-defined]
    other.close()
    world.run(0.05)
    assert producer.consumers == 0


def test_C_004_a_consumer_waits_for_its_stream_and_logs_the_reason(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """After 5 s and then once a minute; a driver that refuses, and one that does not answer."""
    world.driver.refusal = (ResponseCode.REJECTED, "stream not provisioned")
    client, began = world.client(), world.clock.monotonic_ns()

    def idle() -> None:
        world.idle()
        client.do_work()
        seconds = (world.clock.monotonic_ns() - began) / 1e9
        if seconds > 70:
            world.driver.refusal = None
        elif seconds > 66:
            world.driver.silent = False
        elif seconds > 10:
            world.driver.silent = True

    client._idle = idle
    consumer = client.consumer(STREAM)
    assert consumer.poll_ready()
    waits = [r.getMessage() for r in caplog.records if "waiting for stream" in r.getMessage()]
    assert len(waits) == 2
    assert waits[0].startswith(f"waiting for stream {STREAM} for 5 s: ")
    assert "stream not provisioned" in waits[0]
    assert waits[1].startswith(f"waiting for stream {STREAM} for 65 s: no driver answered on ")


def test_C_004_a_timeout_of_the_configuration_holds_for_consumers_too(world: World) -> None:
    world.driver.silent = True
    with pytest.raises(AttachTimeoutError, match="attach timed out: no driver answered"):
        world.client(attach_timeout=2.0).consumer(STREAM)
    with pytest.raises(AttachTimeoutError, match="within 5 s"):
        world.client().producer(STREAM)


def test_C_102_an_attach_that_is_cancelled_ends(live: LiveWorld) -> None:
    """A consumer waits for its stream as long as it takes; its thread must not."""
    live.driver.silent = True

    async def attach() -> None:
        pool = aio.AsyncClient(None, {})
        pool._client = live.client()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await pool.consumer(STREAM)
        while pool._client._handles:
            await asyncio.sleep(0.01)

    asyncio.run(attach())


@pytest.mark.process
def test_C_004_connect_waits_for_a_driver_that_answers(deployment: Deployment) -> None:
    """The files of a media driver are there, and those of a driver, but none answers yet."""
    with MediaDriverProcess(deployment.aeron_dir):
        with pytest.raises(TransportError, match=r"no driver answered within 0\.5 s"):
            connect(**deployment.endpoints, wait=0.5)
        late = threading.Timer(0.5, deployment.daemon)
        late.start()
        with connect(**deployment.endpoints, wait=30) as pool:
            late.join()
            assert [info.stream_id for info in pool.streams()] == [STREAM]


@pytest.mark.process
def test_C_004_connect_waits_for_the_driver(deployment: Deployment) -> None:
    late = threading.Timer(0.5, deployment.daemon)
    late.start()
    with connect(**deployment.endpoints, wait=30) as pool, pool.producer(STREAM) as camera:
        assert camera.poll_ready()
    late.join()
