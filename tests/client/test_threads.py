"""Threads, forks, callbacks, exit (§10)."""

from __future__ import annotations

import functools
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client.conductor.thread import ConductorThread
from tensor_pool.client.handle import HandleLock
from tensor_pool.client.producer.slot_writer import SlotWriter
from tensor_pool.protocol.errors import ClosedError, ConcurrentUseError, ForkedProcessError
from tensor_pool.protocol.wire import ShmDetachRequest
from tests.client.live_world import LiveWorld, until
from tests.client.world import STREAM, World
from tests.fresh_process import in_fresh_process

DATA = np.arange(4, dtype=np.uint8)


RARE = dict.fromkeys(
    ("announce_period", "keepalive_interval", "hello_interval", "qos_interval"), 9.0
)


@pytest.mark.parametrize(
    ("settings", "idle_s"), [({}, 0.1), ({"keepalive_interval": 0.2}, 0.02), (RARE, 0.25)]
)
def test_C_110_the_conductor_sleeps_long_but_never_past_a_period(
    world: World, settings: dict[str, float], idle_s: float
) -> None:
    thread = ConductorThread(world.client(**settings)._conductor)
    assert thread._sleep_s(quiet=0, cycle_s=0.0001) == 0.001
    assert thread._sleep_s(quiet=1, cycle_s=0.0001) == pytest.approx(idle_s)


def test_C_110_a_client_with_many_handles_rests_longer_than_it_works(world: World) -> None:
    """A cycle visits every handle, and of thousands there is always one with something to do."""
    thread = ConductorThread(world.client()._conductor)
    assert thread._sleep_s(quiet=0, cycle_s=0.003) == pytest.approx(0.012)
    assert thread._sleep_s(quiet=0, cycle_s=5.0) == pytest.approx(0.1)


def test_C_112_a_thread_waits_for_two_conductors_one_after_the_other() -> None:
    """C-112: the one that leaves does not open the handle that the other one has entered."""
    lock = HandleLock()
    second_asks, second_is_in, second_may_go = (threading.Event() for _ in range(3))
    entered: list[str] = []

    def second() -> None:
        second_asks.set()
        with lock:
            entered.append("conductor")
            second_is_in.set()
            assert second_may_go.wait(30)
            entered.append("conductor is done")

    def application() -> None:
        lock.enter("producer")
        entered.append("application")
        lock.leave()

    conductor = threading.Thread(target=second)
    user = threading.Thread(target=application)
    with lock:
        conductor.start()
        assert second_asks.wait(30)
        time.sleep(0.05)  # it waits by now; the outcome is the same if it does not
    assert second_is_in.wait(30)
    user.start()
    time.sleep(0.05)  # it has asked by now; the outcome is the same if it has not
    second_may_go.set()
    conductor.join(30)
    user.join(30)
    assert entered == ["conductor", "conductor is done", "application"]


def test_C_110_threaded_mode_keeps_the_lease_while_the_application_computes(
    live: LiveWorld,
) -> None:
    """C-110: nothing is called for longer than a lease lasts."""
    live.driver.lease_ns = 300_000_000
    producer = live.client().producer(STREAM)
    first_deadline_ns = producer._connection.deadline_ns
    until(lambda: live.clock.monotonic_ns() > first_deadline_ns + live.driver.lease_ns)
    assert producer.poll_ready()
    assert producer.metrics()["attaches"] == 1
    assert producer.publish(DATA)


def test_C_110_invoker_mode_loses_the_lease_and_recovers_it(world: World) -> None:
    """C-110: without a call of do_work() for ten seconds."""
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
    producer = client.producer(STREAM)
    consumer = live.client().consumer(STREAM)
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


def test_C_112_two_threads_in_one_handle_are_an_error(live: LiveWorld) -> None:
    consumer = live.client().consumer(STREAM)
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
    producer = live.client().producer(STREAM)
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
    producer = live.client().producer(STREAM)
    stop = threading.Event()
    failures: list[Exception] = []

    def publish() -> None:
        try:
            while not stop.is_set():
                producer.publish(DATA)
        except Exception as error:  # noqa: BLE001 - a thread's is reported by the test
            failures.append(error)

    def has_published_on(state: SlotWriter, seq: int) -> bool:
        return bool(failures) or state.next_seq > seq

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    for _ in range(20):
        with producer._lock:
            state = producer._state
            assert state is not None
            seq = state.next_seq
            time.sleep(0.002)
            assert state.next_seq == seq
        until(functools.partial(has_published_on, state, seq))
    stop.set()
    thread.join()
    assert failures == []


def test_C_112_do_work_is_not_reentrant_and_blocking_calls_not_made_from_callbacks(
    world: World,
) -> None:
    client = world.client()
    caught: list[type] = []

    def inside() -> None:
        for call in (client.do_work, lambda: client.consumer(STREAM)):
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
    consumer = live.client().consumer(STREAM)
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
    producer = client.producer(STREAM, on_active=broken)
    assert "mine" in caplog.text
    assert producer.metrics()["callback_errors"] == 1
    assert producer.publish(DATA)


def test_C_114_a_forked_child_cannot_use_what_the_parent_opened(base: Path) -> None:
    """C-114: nothing is sent, closing is harmless, the parent is unaffected."""
    in_fresh_process(_use_in_a_forked_child, base)


def _use_in_a_forked_child(base: Path) -> None:
    world = World(base)
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
            ("attach", lambda: client.consumer(STREAM)),
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


def test_a_client_that_was_closed_raises_that(world: World) -> None:
    client = world.client()
    producer = client.producer(STREAM)
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
    """C-121: iteration ends, and every call raises with the reason."""
    client = live.client()
    consumer = client.consumer(STREAM)
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
