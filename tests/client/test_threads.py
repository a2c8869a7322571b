"""Threads, forks, callbacks, exit (§10), and waiting without spinning."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensor_pool.client.client import Client
from tensor_pool.client.clock import SystemClock
from tensor_pool.client.config import ClientConfig
from tensor_pool.client.doorbell import Bell, BellRope, bell_name, sweep_abandoned_bells
from tensor_pool.client.errors import ClosedError, ConcurrentUseError, ForkedProcessError
from tensor_pool.client.threaded import ConductorThread
from tensor_pool.client.transport.memory import MemoryNetwork
from tensor_pool.client.wire import ShmDetachRequest

from tests.client.fake_driver import FakeDriver
from tests.client.world import STREAM, World

DATA = np.arange(4, dtype=np.uint8)


@pytest.mark.parametrize(("settings", "idle_s"), [({}, 0.1), ({"keepalive_interval": 0.2}, 0.02)])
def test_C_110_the_conductor_sleeps_long_but_never_past_a_period(
    world: World, settings: dict[str, float], idle_s: float
) -> None:
    thread = ConductorThread(world.client(**settings)._conductor)
    assert thread._sleep_s(quiet=0) == 0.001
    assert thread._sleep_s(quiet=1) == pytest.approx(idle_s)


class LockedSubscription:
    """Real threads on a network made for one: every call takes one lock."""

    def __init__(self, lock: Any, inner: Any) -> None:
        self._lock, self._inner = lock, inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: Any) -> Any:
            with self._lock:
                return value(*arguments)

        return call


class LockedTransport:
    def __init__(self, lock: Any, inner: Any) -> None:
        self._lock, self._inner = lock, inner

    def add_publication(self, *address: Any) -> Any:
        with self._lock:
            return LockedSubscription(self._lock, self._inner.add_publication(*address))

    add_subscription = lambda self, *address: LockedSubscription(  # noqa: E731
        self._lock, self._inner.add_subscription(*address)
    )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class LiveWorld:
    """Real time, real threads, the in-memory network and the fake driver on a thread."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.lock = threading.RLock()
        self.clock = SystemClock()
        self.network = MemoryNetwork(self.clock)
        transport = LockedTransport(self.lock, self.network.transport("driver"))
        self.driver = FakeDriver(transport, self.clock, base)
        self.driver.add_stream(STREAM, nslots=64)
        self.clients: list[Client] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.001):
            with self.lock:
                self.driver.do_work()

    def client(self, *, threaded: bool = True, **settings: Any) -> Client:
        name = f"client-{len(self.clients)}"
        client = Client(
            ClientConfig(allowed_base_dirs=(str(self.base),), **settings),
            transport=LockedTransport(self.lock, self.network.transport(name)),
        )
        self.clients.append(client)
        return client.start() if threaded else client

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self._stop.set()
        self._thread.join()


@pytest.fixture
def live(base: Path) -> Iterator[LiveWorld]:
    live = LiveWorld(base)
    yield live
    live.close()


def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait for something that has to happen, however slow the machine is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def test_C_110_threaded_mode_keeps_the_lease_while_the_application_computes(
    live: LiveWorld,
) -> None:
    """C-110: nothing is called for longer than a lease lasts."""
    live.driver.lease_ns = 300_000_000
    producer = live.client().attach_producer(STREAM)
    time.sleep(0.8)
    assert producer.poll_ready()
    assert producer.metrics()["attaches"] == 1
    assert producer.publish(DATA)


def test_C_110_invoker_mode_loses_the_lease_and_recovers_it(world: World) -> None:
    """C-110: with nobody calling do_work() for ten seconds."""
    producer, consumer = world.pair()
    world.clock.advance(10_000_000_000)
    world.driver.do_work()
    world.run(1)
    for handle in (producer, consumer):
        assert handle.poll_ready()
        assert handle.metrics()["lease_losses_deadline_passed"] == 1


def test_C_111_remaps_under_a_publishing_thread_raise_nothing(live: LiveWorld) -> None:
    """C-111, CI-9: publishing while leases come and go on the conductor thread."""
    client = live.client(backoff_base=0.001, backoff_max=0.002)
    producer = client.attach_producer(STREAM)
    consumer = live.client().attach_consumer(STREAM)
    failures: list[BaseException] = []
    stop = threading.Event()

    def publish() -> None:
        try:
            while not stop.is_set():
                producer.publish(DATA)
                with producer.loan((4,), np.uint8) as loan:
                    loan.array[:] = 1
        except BaseException as error:  # noqa: BLE001 - the test asks what it was
            failures.append(error)

    def receive() -> None:
        try:
            while not stop.is_set():
                frame = consumer.receive(timeout=0.01)
                if frame is not None and frame.valid:
                    frame.array.sum()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=target) for target in (publish, receive)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while producer.metrics()["attaches"] < 5 and time.monotonic() < deadline:
        for handle in (producer, consumer):
            with live.lock:
                lease = next(
                    (
                        lease
                        for lease in live.driver.leases.values()
                        if lease.client_id == handle.client_id
                    ),
                    None,
                )
                if lease is not None:
                    live.driver.revoke(lease)
        time.sleep(0.02)
    until(lambda: producer.poll_ready())
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert producer.metrics()["attaches"] >= 5


def test_C_112_two_threads_in_one_handle_are_told(live: LiveWorld) -> None:
    consumer = live.client().attach_consumer(STREAM)
    entered = threading.Event()
    thread = threading.Thread(
        target=lambda: (entered.set(), consumer.receive(timeout=1.0)), daemon=True
    )
    thread.start()
    entered.wait()
    until(lambda: consumer._in_use)
    for call in (consumer.poll, consumer.latest, lambda: next(iter(consumer))):
        with pytest.raises(ConcurrentUseError):
            call()
    thread.join()
    assert consumer.poll() is None
    producer = live.client().attach_producer(STREAM)
    producer._lock.take()
    try:
        for call in (lambda: producer.publish(DATA), lambda: producer.loan(4)):
            with pytest.raises(ConcurrentUseError):
                call()
    finally:
        producer._lock.leave()
    assert producer.publish(DATA)


def test_C_111_the_conductor_has_its_turn_beside_a_thread_that_publishes_all_the_time(
    live: LiveWorld,
) -> None:
    producer = live.client().attach_producer(STREAM)
    stop = threading.Event()
    failures: list[Exception] = []

    def publish() -> None:
        try:
            while not stop.is_set():
                producer.publish(DATA)
        except Exception as error:  # noqa: BLE001 - a thread's is told by the test
            failures.append(error)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    for _ in range(20):
        with producer._lock:
            state = producer._state
            assert state is not None
            seq = state.next_seq
            time.sleep(0.002)
            assert state.next_seq == seq
        until(lambda seq=seq, state=state: failures or state.next_seq > seq)  # type: ignore[misc]
    stop.set()
    thread.join()
    assert failures == []


def test_C_112_do_work_is_not_reentrant_and_blocking_calls_not_made_from_callbacks(
    world: World,
) -> None:
    client = world.client()
    caught: list[type] = []

    def inside() -> None:
        for call in (client.do_work, lambda: client.attach_consumer(STREAM)):
            try:
                call()
            except ConcurrentUseError:
                caught.append(ConcurrentUseError)

    producer = client.begin_attach_producer(STREAM, on_active=inside)
    world.run(0.1)
    assert caught == [ConcurrentUseError] * 2
    assert producer.poll_ready()


def test_a_handle_can_be_closed_from_its_own_callback(world: World) -> None:
    """C-060, C-113: closing starts there and ends in later cycles."""
    client = world.client()
    consumer = client.begin_attach_consumer(STREAM, on_active=lambda: consumer.close())
    world.run(0.2)
    assert consumer.closed
    assert world.driver.leases == {}
    assert client._conductor.attachments == []


def test_C_112_close_may_come_from_any_thread_and_ends_a_wait(live: LiveWorld) -> None:
    consumer = live.client().attach_consumer(STREAM)
    ended: list[str] = []

    def wait() -> None:
        ended.extend("frame" for _ in consumer)
        ended.append("end")

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    consumer.close()
    thread.join(5)
    assert ended == ["end"]


def test_C_113_a_raising_callback_is_raised_by_do_work_once_all_is_consistent(
    world: World,
) -> None:
    client = world.client()

    def broken() -> None:
        raise RuntimeError("mine")

    producer = client.begin_attach_producer(STREAM, on_active=broken)
    with pytest.raises(RuntimeError, match="mine"):
        world.run(0.1)
    assert producer.state == "Active"
    assert producer.metrics()["callback_errors"] == 1
    world.run(0.1)
    assert producer.publish(DATA)


def test_C_113_a_conductor_thread_logs_and_goes_on(
    live: LiveWorld, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("mine")

    client = live.client()
    producer = client.attach_producer(STREAM, on_active=broken)
    assert "mine" in caplog.text
    assert producer.metrics()["callback_errors"] == 1
    assert producer.publish(DATA)


def test_C_114_a_forked_child_cannot_use_what_the_parent_opened(world: World) -> None:
    """C-114: nothing is sent, closing is harmless, the parent is unaffected."""
    producer, consumer = world.pair()
    producer.publish(DATA)
    frame = consumer.poll()
    assert frame is not None
    client = producer._client
    sent_before = len(world.driver.received)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        lines = []
        for name, call in (
            ("publish", lambda: producer.publish(DATA)),
            ("loan", lambda: producer.loan(4)),
            ("metrics", lambda: consumer.metrics()),
            ("poll", lambda: consumer.poll()),
            ("iterate", lambda: next(iter(consumer))),
            ("enter", lambda: consumer.__enter__()),
            ("do_work", lambda: client.do_work()),
            ("attach", lambda: client.attach_consumer(STREAM)),
        ):
            try:
                call()
                lines.append(f"{name}: allowed")
            except ForkedProcessError:
                pass
            except BaseException as error:  # noqa: BLE001
                lines.append(f"{name}: {error!r}")
        for obj in (producer, consumer, client):
            obj.close()
        del producer, consumer, client, frame
        os.write(write_end, "\n".join(lines).encode() or b"good")
        os._exit(0)
    os.close(write_end)
    told = os.read(read_end, 4096).decode()
    os.waitpid(child, 0)
    os.close(read_end)
    assert told == "good"
    world.driver.do_work()
    assert len(world.driver.received) == sent_before
    assert frame.valid
    assert producer.publish(DATA)
    assert consumer.poll() is not None


def test_C_116_leaving_the_interpreter_returns_every_lease_once(world: World) -> None:
    """C-116, on the hook itself: one detach attempt for each, no waiting."""
    producer, consumer = world.pair()
    at = world.clock.monotonic_ns()
    producer._client._leave_in_a_hurry()
    assert world.clock.monotonic_ns() == at
    world.driver.do_work()
    detaches = [m for m in world.driver.received if isinstance(m, ShmDetachRequest)]
    assert {d.client_id for d in detaches} == {producer.client_id, consumer.client_id}
    assert len(detaches) == 2
    assert world.driver.leases == {}


# Waiting


def test_a_sleeping_consumer_is_woken_by_its_bell(live: LiveWorld) -> None:
    consumer = live.client().attach_consumer(STREAM)
    producer = live.client().attach_producer(STREAM)
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
    consumer = live.client().attach_consumer(STREAM)
    monkeypatch.setattr("tensor_pool.client.consumer._SETTLING_NS", 10**10)
    monkeypatch.setattr(
        consumer._attachment, "bell", RingingBell(has_ring=has_ring, may_sleep=not has_ring)
    )
    frame: Any = object()
    looks = iter([None, None, None, None, frame])
    monkeypatch.setattr(consumer, "_next", lambda: next(looks))
    assert consumer._sleep_once(1.0) is frame


def test_a_producer_that_rings_no_bells_is_heard_all_the_same(live: LiveWorld) -> None:
    consumer = live.client().attach_consumer(STREAM)
    producer = live.client().attach_producer(STREAM)
    until(lambda: len(producer._bells) == 1)
    until(lambda: consumer.poll_ready())
    producer._attachment._ropes.clear()
    producer._bells = ()
    thread = threading.Timer(0.2, lambda: producer.publish(DATA))
    thread.start()
    frame = consumer.receive(timeout=5)
    assert frame is not None
    thread.join()


def test_a_consumer_without_a_bell_hears_all_the_same(live: LiveWorld) -> None:
    consumer = live.client().attach_consumer(STREAM)
    consumer._attachment.bell.close()
    consumer._attachment.bell = None
    producer = live.client().attach_producer(STREAM)
    until(lambda: consumer.poll_ready())
    thread = threading.Timer(0.1, lambda: producer.publish(DATA))
    thread.start()
    assert consumer.receive(timeout=5) is not None
    thread.join()


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
    consumer = live.client().attach_consumer(STREAM)
    producer = live.client().attach_producer(STREAM)
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
    consumer = client.attach_consumer(STREAM)
    producer = live.client().attach_producer(STREAM)

    async def program() -> int:
        asyncio.get_running_loop().call_later(0.1, lambda: producer.publish(DATA))
        async for frame in consumer:
            return frame.seq
        return -1

    assert asyncio.run(asyncio.wait_for(program(), 10)) == 0


def test_a_client_that_was_closed_says_so(world: World) -> None:
    client = world.client()
    producer = client.attach_producer(STREAM)
    client.close()
    client.close()
    assert producer.closed
    with pytest.raises(ClosedError):
        client.do_work()
    with pytest.raises(ClosedError), client:
        pass


def test_C_121_a_conductor_thread_that_loses_the_transport_closes_everything(
    live: LiveWorld,
) -> None:
    """C-121: iteration ends, and every call says why."""
    client = live.client()
    consumer = client.attach_consumer(STREAM)
    ended: list[str] = []
    thread = threading.Thread(target=lambda: ended.extend("frame" for _ in consumer))
    thread.start()
    with live.lock:
        live.network.fail("client-0", "media driver lost")
    thread.join(10)
    assert not thread.is_alive()
    assert ended == []
    with pytest.raises(ClosedError, match="media driver lost"):
        consumer.poll()
