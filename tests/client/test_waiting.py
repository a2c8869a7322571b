"""Waiting without spinning: bells, and asyncio (§9)."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_pool.client.doorbell import Bell, BellRope, bell_name, sweep_abandoned_bells
from tests.client.live_world import LiveWorld, until
from tests.client.world import STREAM

DATA = np.arange(4, dtype=np.uint8)


def test_a_sleeping_consumer_is_woken_by_its_bell(live: LiveWorld) -> None:
    consumer = live.client().consumer(STREAM)
    producer = live.client().producer(STREAM)
    until(lambda: len(producer._bells) == 1)
    until(lambda: consumer.poll_ready())
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.extend(consumer.receive(5) for _ in range(3)))
    thread.start()
    for i in range(3):
        time.sleep(0.15)  # it has gone to sleep for its longest time
        producer.publish(np.full(3, i, np.uint8))
        until(lambda i=i: len(got) > i)
    thread.join()
    assert [f.array[0] for f in got] == [0, 1, 2]
    assert consumer.metrics()["wakeups"] >= 2


class RingingBell:
    """A bell with a ring in it; sleeping at it ends with another."""

    def __init__(self, *, has_ring: bool, may_sleep: bool) -> None:
        self._has_ring = has_ring
        self._may_sleep = may_sleep

    def empty(self) -> bool:
        return self._has_ring

    def wait(self, _: float) -> bool:
        assert self._may_sleep
        return True


@pytest.mark.parametrize("has_ring", [True, False])
def test_who_takes_a_ring_looks_on_until_the_frame_behind_it_shows(
    live: LiveWorld, monkeypatch: pytest.MonkeyPatch, has_ring: bool
) -> None:
    """The bell was seen to hold a ring before the frame could be seen: there is no other ring."""
    consumer = live.client().consumer(STREAM)
    monkeypatch.setattr("tensor_pool.client.consumer.consumer._SETTLING_NS", 10**10)
    monkeypatch.setattr(
        consumer._attachment, "bell", RingingBell(has_ring=has_ring, may_sleep=not has_ring)
    )
    frame: Any = object()
    looks = iter([None, None, None, None, frame])
    monkeypatch.setattr(consumer, "_next", lambda: next(looks))
    assert consumer._sleep_once(1.0) is frame


def test_a_bell_that_cannot_be_rung_is_reported_on_both_sides(
    live: LiveWorld, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As across containers and groups: frames come all the same, a little later."""

    def refuse(name: str) -> BellRope:
        raise OSError(f"semaphore {name}: Permission denied")

    monkeypatch.setattr("tensor_pool.client.producer.attachment.BellRope", refuse)
    monkeypatch.setattr("tensor_pool.client.consumer.unrung._FOR_S", 0.01)
    caplog.set_level(logging.INFO, "tensor_pool.client")
    consumer = live.client(hello_interval=0.1).consumer(STREAM)
    producer = live.client().producer(STREAM)
    until(lambda: consumer.poll_ready())
    until(lambda: producer.metrics()["hellos_received"] >= 3)
    for _ in range(30):
        thread = threading.Timer(0.02, lambda: producer.publish(DATA))
        thread.start()
        assert consumer.receive(timeout=20) is not None
        thread.join()
        if consumer.metrics()["wakeups_unrung"] > 12:
            break
    assert consumer.metrics()["wakeups"] == 0
    assert producer.metrics()["bells_missing"] == 1
    texts = [record.getMessage() for record in caplog.records]
    assert [text for text in texts if "cannot ring this consumer's bell" in text] == [
        f"stream {STREAM}: the producer cannot ring this consumer's bell (it runs in another"
        " container or group, or is of another make); while frames are awaited, the consumer looks"
        " for them every 0.5 to 50 ms"
    ]
    (missing,) = [text for text in texts if "cannot be woken by a bell" in text]
    assert missing.endswith("Permission denied")


def test_a_consumer_without_a_bell_gets_frames_all_the_same(live: LiveWorld) -> None:
    consumer = live.client().consumer(STREAM)
    consumer._attachment.bell.close()
    consumer._attachment.bell = None
    producer = live.client().producer(STREAM)
    until(lambda: consumer.poll_ready())
    thread = threading.Timer(0.1, lambda: producer.publish(DATA))
    thread.start()
    assert consumer.receive(timeout=5) is not None
    thread.join()


def test_a_consumer_that_does_not_wait_is_rung_once(live: LiveWorld) -> None:
    """The ring stays in the bell: a semaphore that is full would refuse the next one."""
    consumer = live.client().consumer(STREAM)
    producer = live.client().producer(STREAM)
    until(lambda: consumer.poll_ready() and producer.poll_ready() and len(producer._bells) == 1)
    for _ in range(20):
        until(lambda: bool(producer.publish(DATA)))
    (bell,) = producer._bells
    assert bell.value == 1


def test_bells_ring_once_and_are_emptied() -> None:
    name = bell_name("/dev/shm/x", "aeron:ipc 1000", STREAM, 77)
    bell = Bell(name)
    try:
        rope = BellRope(name)
        assert not bell.empty()
        assert not bell.wait(0.001)
        rope.semaphore.release()
        assert rope.semaphore.value == 1
        assert bell.empty()
        bell.ring()
        assert bell.wait(1)
        rope.close()
        with pytest.raises(OSError, match="semaphore"):
            BellRope(name + "x")
        with pytest.raises(OSError, match="semaphore"):
            Bell(name)
    finally:
        bell.close()
    assert not Path(f"/dev/shm/sem.{name[1:]}").exists()


@pytest.mark.process
def test_a_killed_consumers_bell_is_swept() -> None:
    name = bell_name(None, "killed", STREAM, 78)
    code = (
        "import time\n"
        "from tensor_pool.client.doorbell import Bell\n"
        f"bell = Bell({name!r}); print('up', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    path = Path(f"/dev/shm/sem.{name[1:]}")
    sweep_abandoned_bells()
    assert path.exists()  # its owner lives
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert path.exists()
    assert sweep_abandoned_bells() >= 1
    assert not path.exists()


def test_C_090_frames_come_to_an_asyncio_program(live: LiveWorld) -> None:
    consumer = live.client().consumer(STREAM)
    producer = live.client().producer(STREAM)
    until(lambda: consumer.poll_ready() and producer.publish(DATA).status.value == "published")

    async def program() -> list[int]:
        seen: list[int] = []
        beats = 0

        async def heartbeat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.001)
                beats += 1

        async def feed() -> None:
            for i in range(5):
                await asyncio.sleep(0.02)
                producer.publish(np.full(2, i, np.uint8))

        tasks = [asyncio.create_task(heartbeat()), asyncio.create_task(feed())]
        async for frame in consumer:
            if frame.nbytes == 2:
                seen.append(int(frame.array[0]))
            if len(seen) == 5:
                break
        tasks[0].cancel()
        await tasks[1]
        assert beats > 5  # waiting for frames does not hold the loop up
        return seen

    assert asyncio.run(program()) == [0, 1, 2, 3, 4]


def test_asyncio_works_in_invoker_mode_too(live: LiveWorld) -> None:
    client = live.client(threaded=False)
    consumer = client.consumer(STREAM)
    producer = live.client().producer(STREAM)

    async def program() -> int:
        asyncio.get_running_loop().call_later(0.1, lambda: producer.publish(DATA))
        async for frame in consumer:
            return frame.seq
        return -1

    assert asyncio.run(asyncio.wait_for(program(), 10)) == 0


def test_C_118_without_a_monotonic_semaphore_wait_the_bell_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with glibc before 2.30 and musl."""
    monkeypatch.setattr("tensor_pool.client.doorbell.HAS_SEM_CLOCKWAIT", False)
    bell = Bell(bell_name("/test", "looks", 1, 7))
    try:
        assert not bell.wait(0.01)
        ringing = threading.Timer(0.05, bell.ring)
        ringing.start()
        assert bell.wait(20)
        ringing.join()
        assert not bell.empty()
    finally:
        bell.close()
