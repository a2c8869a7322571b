"""Calls from threads, handlers, callbacks and tasks, as docs/explanation/threads.md has them."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client import Client, Consumer, Producer
from tensor_pool.client.aio import AsyncClient, AsyncConsumer
from tests.client.live_world import LiveWorld, until
from tests.client.world import STREAM, World
from tests.fresh_process import in_fresh_process

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "threads.md"
DATA = np.arange(4, dtype=np.uint8)
WAIT_S = 0.2


def cells() -> list[tuple[str, str, str]]:
    """Call, place and what the page promises."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("|")
    ]
    places = rows[0][1:]
    return [(row[0], place, cell) for row in rows[2:] for place, cell in zip(places, row[1:])]  # noqa: B905


class Handles:
    """A producer and a consumer, and the calls that are made on them."""

    def __init__(self, client: Client, producer: Producer, consumer: Consumer) -> None:
        self.client, self.producer, self.consumer = client, producer, consumer
        self.calls: dict[str, Callable[[], object]] = {
            "`publish`, `loan`": self.publish_and_loan,
            "`poll`, `latest`": lambda: (consumer.poll(), consumer.latest()),
            "`receive`, iteration": lambda: consumer.receive(WAIT_S),
            "`producer`, `consumer`": lambda: client.consumer(STREAM, attach_timeout=20).close(),
            "`set_metadata`": lambda: producer.set_metadata("camera"),
            "`metrics`, `poll_ready`": lambda: (consumer.metrics(), consumer.poll_ready()),
            "`close`": lambda: consumer.close(),
        }

    def publish_and_loan(self) -> None:
        assert self.producer.publish(DATA)
        self.producer.loan(4).abort()

    async def awaited(self, call: str) -> None:
        pool = AsyncClient(None, {})
        pool._client = self.client
        consumer = AsyncConsumer(self.consumer)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "`receive`, iteration": lambda: consumer.receive(WAIT_S),
            "`producer`, `consumer`": lambda: pool.consumer(STREAM),
            "`close`": consumer.close,
        }
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        await calls[call]()
        ticking.cancel()
        assert ticks > 1


def outcome(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - its name is the outcome
        return type(error).__name__
    return "yes"


def in_thread(call: Callable[[], object]) -> str:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(outcome(call)))
    thread.start()
    thread.join(60)
    return found[0]


@pytest.fixture
def handles(live: LiveWorld) -> Handles:
    client = live.client()
    return Handles(client, client.producer(STREAM), client.consumer(STREAM))


def during_a_call(handles: Handles, name: str, then: Callable[[], str]) -> str:
    """Run `then` while another thread is inside a call of the same handle."""
    if name == "`publish`, `loan`":
        taken, over = threading.Event(), threading.Event()

        def hold() -> None:
            with handles.producer.loan(4):
                handles.producer._lock.take()
                taken.set()
                over.wait(60)
                handles.producer._lock.leave()

        holder = threading.Thread(target=hold)
        holder.start()
        taken.wait(60)
        try:
            return then()
        finally:
            over.set()
            holder.join()
    waiter = threading.Thread(target=lambda: outcome(lambda: handles.consumer.receive(1.0)))
    waiter.start()
    until(lambda: handles.consumer._in_use)
    try:
        return then()
    finally:
        waiter.join()


def in_signal_handler(handles: Handles, name: str) -> str:
    """The signal comes while this thread is inside a call of the same handle."""
    found: list[str] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: found.append(outcome(handles.calls[name])))
    try:
        if name == "`publish`, `loan`":
            handles.producer._lock.take()
            signal.raise_signal(signal.SIGUSR1)
            handles.producer._lock.leave()
        else:
            sender = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
            sender.start()
            outcome(lambda: handles.consumer.receive(1.0))
            sender.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    return found[0]


def in_callback(handles: Handles, name: str) -> str:
    found: list[str] = []
    handles.client.begin_attach_producer(
        STREAM + 1, on_active=lambda: found.append(outcome(handles.calls[name]))
    )
    until(lambda: found, 30)
    return found[0]


def in_forked_child(handles: Handles, name: str) -> str:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, outcome(handles.calls[name]).encode())
        os._exit(0)
    os.close(write_end)
    found = os.read(read_end, 100).decode()
    os.waitpid(child, 0)
    os.close(read_end)
    return found


def all_in_forked_children(base: Path) -> dict[str, str]:
    """Return the outcome of each call in a forked child that the parent survives."""
    found = {}
    for number, (call, place, _) in enumerate(cells()):
        if "fork" in place:
            below = base / str(number)
            below.mkdir()
            world = World(below)
            producer, consumer = world.pair()
            found[call] = in_forked_child(Handles(world.clients[0], producer, consumer), call)
            assert producer.publish(DATA)
            assert consumer.poll() is not None
            world.close()
    return found


@pytest.fixture(scope="module")
def found_in_forked_children() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="tp-fork-") as base:
        yield in_fresh_process(all_in_forked_children, Path(base))


@pytest.mark.parametrize(("call", "place", "promised"), [c for c in cells() if "fork" not in c[1]])
def test_C_112_calls_from_other_places_do_what_the_page_promises(
    handles: Handles, call: str, place: str, promised: str
) -> None:
    """C-113, C-117: see docs/explanation/threads.md."""
    if promised == "aio":
        asyncio.run(handles.awaited(call))
        return
    began = time.monotonic()
    if place == "another thread":
        found = in_thread(handles.calls[call])
    elif place == "another thread during a call":
        found = during_a_call(handles, call, lambda: in_thread(handles.calls[call]))
    elif place == "signal handler during a call":
        found = in_signal_handler(handles, call)
    elif place == "callback":
        found = in_callback(handles, call)
    else:

        async def task() -> str:
            return outcome(handles.calls[call])

        found = asyncio.run(task())
    if promised == "delays the client":
        assert time.monotonic() - began >= WAIT_S
        promised = "yes"
    assert found == ("yes" if promised == "not promised" else promised)


@pytest.mark.parametrize(("call", "place", "promised"), [c for c in cells() if "fork" in c[1]])
def test_C_114_calls_from_a_forked_child_do_what_the_page_promises(
    found_in_forked_children: dict[str, str], call: str, place: str, promised: str
) -> None:
    assert found_in_forked_children[call] == promised
