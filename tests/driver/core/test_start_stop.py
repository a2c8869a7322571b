"""Start-up, draining and the stop, and `Driver` as users see it (§11, §12, §21)."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from tensor_pool.driver.core.events import DriverEvent
from tensor_pool.driver.core.ports import DriverLockedError, ProvisionError
from tensor_pool.driver.core.timers import OneShotTimer, PeriodicTimer
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.errors import ForkedProcessError
from tensor_pool.protocol.testing.memory_network import MemoryNetwork
from tensor_pool.protocol.wire import (
    Role,
    ShmAttachResponse,
    ShmDriverShutdown,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
)
from tests.driver.core.harness import MS, OTHER_STREAM, SECOND, STREAM, Rig, make_config
from tests.driver.core.simulated_store import SimulatedDisk
from tests.fresh_process import in_fresh_process

NORMAL, DRAINING, STOPPED = "Serving.Running.Normal", "Serving.Draining", "Stopped"
TOKEN = {"shutdown_token": "open sesame"}


class Journal:
    """Wraps a transport's factory methods to record them between the store's calls."""

    def __init__(self, rig: Rig) -> None:
        self.entries: list[str] = []
        rig.store.on_call = lambda operation, stream, epoch: self.entries.append(operation)
        for name in ("add_subscription", "add_publication"):
            self._wrap(rig, name)

    def _wrap(self, rig: Rig, name: str) -> None:
        original = getattr(rig.transport, name)

        def record(*args: Any) -> Any:
            self.entries.append(name)
            return original(*args)

        setattr(rig.transport, name, record)


def test_D_100_start_up_takes_its_steps_in_order() -> None:
    """D-100, D-101"""
    rig = Rig(make_config(policies={"provision_on_startup": True}), start=False)
    journal = Journal(rig)
    rig.driver.start()
    rig.listen()
    assert journal.entries == [
        "open",
        "add_subscription",
        "add_publication",
        "add_publication",  # the beacon (W-009)
        "add_subscription",  # of metadata
        "provision",
        "provision",
    ]
    assert rig.driver.state == NORMAL
    assert [a.stream_id for a in rig.heard(ShmPoolAnnounce)] == [STREAM, OTHER_STREAM]
    assert rig.snapshot().status.streams == 2


def test_D_101_nothing_is_answered_before_the_start_has_succeeded() -> None:
    rig = Rig(start=False)
    rig.say(rig.request(client_id=1))

    def ask(*args: Any) -> Any:
        subscription = type(rig.transport).add_subscription(rig.transport, *args)
        if args[1] == rig.config.driver.control_stream_id:
            rig.say(rig.request(client_id=2))
        return subscription

    rig.transport.add_subscription = ask  # type: ignore[method-assign]
    rig.driver.start()
    rig.listen()
    assert rig.heard(ShmAttachResponse) == []
    rig.settle()
    (answer,) = rig.heard(ShmAttachResponse)
    assert answer.correlation_id == 2


def test_D_003_a_locked_tree_fails_the_start_with_nothing_held() -> None:
    """D-003, D-100, D-186"""
    disk = SimulatedDisk()
    clock = SimulatedClock()
    first = Rig(disk=disk, clock=clock)
    other = Rig(disk=disk, clock=clock, start=False)
    with pytest.raises(DriverLockedError, match="another driver is running for"):
        other.driver.start()
    assert other.driver.is_stopped
    assert other.driver._endpoints._subscription is None
    assert disk.locked  # by the first
    first.driver.close(drain=False)
    Rig(disk=disk, clock=clock)


@pytest.mark.parametrize("failing", ["add_subscription", "add_publication"])
def test_D_100_a_transport_that_fails_leaves_no_lock(failing: str) -> None:
    rig = Rig(start=False)

    def fail(*args: Any) -> Any:
        raise OSError("no media driver")

    setattr(rig.transport, failing, fail)
    with pytest.raises(OSError, match="no media driver"):
        rig.driver.start()
    assert not rig.disk.locked
    assert rig.driver._endpoints._subscription is None
    assert rig.messages == []


def test_D_100_start_up_provisioning_that_fails_leaves_no_file() -> None:
    """D-100, D-119"""
    rig = Rig(make_config(policies={"provision_on_startup": True}), start=False)

    def fail_second(operation: str, stream_id: int, epoch: int) -> None:
        rig.store.faults.permission = (operation, stream_id) == ("provision", OTHER_STREAM)

    rig.store.on_call = fail_second
    with pytest.raises(ProvisionError, match="mkdir failed"):
        rig.driver.start()
    assert not rig.disk.locked
    assert rig.disk.epochs == {STREAM: {}}
    assert rig.driver._endpoints._subscription is None
    assert rig.driver._endpoints._publications == []
    rig.listen()
    assert rig.heard(ShmDriverShutdown) == []
    assert rig.driver.is_stopped
    rig.driver.close()


def test_D_140_right_token_stops_the_driver_with_the_text_it_gave() -> None:
    """D-140, D-141"""
    rig = Rig(make_config(policies=TOKEN))
    rig.granted(1)
    rig.ask_to_stop("open sesame", error_message="maintenance")
    rig.cycle()
    assert rig.driver.state == DRAINING
    rig.run(3 * SECOND)
    goodbye = rig.messages[-1]
    assert isinstance(goodbye, ShmDriverShutdown)
    assert (goodbye.reason, goodbye.error_message) == (ShutdownReason.ADMIN, "maintenance")


@pytest.mark.parametrize(
    ("configured", "given"),
    [("", ""), ("", "x"), ("secret", ""), ("secret", "secre"), ("secret", "secrets"), ("a", "b")],
)
def test_D_140_any_other_token_does_nothing(configured: str, given: str) -> None:
    rig = Rig(make_config(policies={"shutdown_token": configured}))
    rig.ask_to_stop(given)
    rig.cycle()
    assert rig.driver.state == NORMAL
    assert rig.metrics["shutdown_rejected"] == 1


def test_D_140_tokens_are_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(make_config(policies=TOKEN))
    rig.ask_to_stop("wrong guess")
    rig.cycle()
    assert "sesame" not in repr(rig.snapshot())
    assert "sesame" not in caplog.text
    assert "wrong guess" not in caplog.text


def test_D_141_signals_give_normal_and_requests_their_own_reason() -> None:
    for arguments, expected in (
        ((), (ShutdownReason.NORMAL, "")),
        ((ShutdownReason.ERROR, "fire"), (ShutdownReason.ERROR, "fire")),
    ):
        rig = Rig()
        rig.driver.request_shutdown(*arguments)
        rig.settle()
        (goodbye,) = rig.heard(ShmDriverShutdown)
        assert (goodbye.reason, goodbye.error_message) == expected


def test_a_stop_requested_during_the_start_follows_it() -> None:
    """D-141, D-190"""
    rig = Rig(start=False)
    rig.store.on_call = lambda *call: rig.driver.request_shutdown(ShutdownReason.ADMIN, "early")
    rig.driver.start()
    rig.store.on_call = None
    assert rig.driver.is_stopped
    assert rig.driver.shutdown == (ShutdownReason.ADMIN, "early")
    assert rig.metrics["driver_unhandled"] == 0


def test_the_first_reason_stands() -> None:
    """D-020, D-141"""
    rig = Rig()
    rig.granted(1)
    rig.driver.request_shutdown(ShutdownReason.ADMIN, "first")
    rig.driver.request_shutdown(ShutdownReason.ERROR, "second")
    rig.settle()
    assert rig.driver.shutdown == (ShutdownReason.ADMIN, "first")


@pytest.mark.parametrize("timeout_ms", [100, 2000])
def test_D_142_draining_ends_with_its_timeout(timeout_ms: int) -> None:
    rig = Rig(make_config(policies={"shutdown_timeout_ms": timeout_ms}))
    rig.granted(1)
    rig.driver.request_shutdown()
    rig.cycle()
    rig.clock.advance(timeout_ms * MS - 1)
    rig.cycle()
    assert rig.driver.state == DRAINING
    rig.clock.advance(1)
    rig.cycle()
    assert rig.driver.state == STOPPED


def test_D_142_a_timeout_of_0_stops_on_the_next_cycle() -> None:
    """D-142, D-015"""
    rig = Rig(make_config(policies={"shutdown_timeout_ms": 0}))
    rig.granted(1)
    rig.driver.request_shutdown()
    rig.cycle()
    assert rig.driver.state == DRAINING
    rig.cycle()
    assert rig.driver.state == STOPPED


def test_D_022_draining_ends_with_the_last_lease() -> None:
    rig = Rig()
    leases = {client: rig.granted(client) for client in (1, 2)}
    rig.driver.request_shutdown()
    rig.cycle()
    rig.detach(leases[1], 1, Role.CONSUMER)
    assert rig.driver.state == DRAINING
    rig.detach(leases[2], 2, Role.CONSUMER)
    assert rig.driver.state == STOPPED


def test_D_022_without_leases_the_stop_is_in_the_same_cycle() -> None:
    rig = Rig()
    rig.driver.request_shutdown()
    rig.cycle()
    assert rig.driver.state == STOPPED


def test_D_023_everything_but_attach_works_while_draining() -> None:
    """D-023, D-143, D-145"""
    rig = Rig(make_config(policies={"shutdown_timeout_ms": 60_000}))
    leases = {client: rig.granted(client) for client in (1, 2, 3)}
    rig.driver.request_shutdown()
    rig.cycle()
    assert rig.attach(4).error_message == "driver draining"
    heard = len(rig.messages)
    for _ in range(6):
        for client in (1, 2):
            rig.keepalive(leases[client], client, Role.CONSUMER)
        rig.run(SECOND)
    assert [n.lease_id for n in rig.heard(ShmLeaseRevoked, heard)] == [leases[3].lease_id]
    assert len(rig.heard(ShmPoolAnnounce, heard)) == 6
    assert rig.detach(leases[1], 1, Role.CONSUMER).error_message == ""


def test_D_042_leases_left_at_the_stop_end_with_its_message_alone() -> None:
    """D-042, D-021"""
    rig = Rig()
    for client in (1, 2, 3):
        rig.granted(client)
    rig.driver.close(drain=False)
    rig.listen()
    assert rig.heard(ShmLeaseRevoked) == []
    assert len(rig.heard(ShmDriverShutdown)) == 1
    assert rig.metrics["leases_active"] == 0


def test_D_102_leases_of_an_earlier_driver_are_void() -> None:
    """D-102, D-084, D-103, D-186"""
    clock = SimulatedClock()
    network = MemoryNetwork(clock, seed=3)
    disk = SimulatedDisk()
    first = Rig(disk=disk, clock=clock, network=network)
    lease = first.granted(1, Role.PRODUCER)
    network.kill("driver")
    disk.locked = False  # the operating system's part
    first.client.close()
    clock.advance(2 * SECOND)
    second = Rig(disk=disk, clock=clock, network=network)
    for _ in range(20):
        second.keepalive(lease, 1, Role.PRODUCER)
    second.settle()
    (notice,) = second.heard(ShmLeaseRevoked)
    assert (notice.lease_id, notice.error_message) == (lease.lease_id, "unknown lease")
    again = second.granted(1, Role.PRODUCER)
    assert again.epoch > lease.epoch
    assert again.lease_id > lease.lease_id


def test_D_190_context_manager_starts_and_stops() -> None:
    rig = Rig(start=False)
    with rig.driver as driver:
        assert driver is rig.driver
        assert driver.is_serving
    assert driver.is_stopped
    assert not rig.disk.locked


def test_D_190_close_drains_until_clients_have_gone() -> None:
    rig = Rig()
    lease = rig.granted(1)
    began = rig.clock.monotonic_ns()

    def leave() -> None:
        rig.clock.advance(MS)
        if rig.clock.monotonic_ns() - began == 50 * MS:
            rig.driver.revoke_lease(lease.lease_id)

    rig.driver._pause = leave
    rig.driver.close(drain=True)
    assert rig.driver.is_stopped
    assert 50 * MS <= rig.clock.monotonic_ns() - began < 100 * MS


def test_D_190_close_without_drain_or_while_draining_stops_at_once() -> None:
    """D-190, D-063"""
    for drain_first in (False, True):
        rig = Rig()
        rig.granted(1)
        if drain_first:
            rig.driver.request_shutdown()
            rig.cycle()
            assert rig.driver.state == DRAINING
        began = rig.clock.monotonic_ns()
        rig.driver.close(drain=drain_first)
        assert rig.driver.is_stopped
        assert rig.clock.monotonic_ns() - began <= 2 * MS


def test_D_190_shutdown_may_be_requested_from_any_thread() -> None:
    rig = Rig()
    thread = threading.Thread(target=rig.driver.request_shutdown)
    thread.start()
    thread.join()
    assert rig.driver.state == NORMAL
    rig.cycle()
    assert rig.driver.is_stopped


def test_D_190_a_forked_child_cannot_use_the_driver() -> None:
    in_fresh_process(_use_the_driver_in_a_forked_child)


def _use_the_driver_in_a_forked_child() -> None:
    rig = Rig()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        refused = 0
        for call in (
            rig.driver.do_work,
            rig.driver.close,
            rig.driver.start,
            rig.driver.snapshot,
            lambda: rig.driver.revoke_lease(1),
            lambda: rig.driver.reprovision(1),
        ):
            try:
                call()
            except ForkedProcessError:
                refused += 1
        os.write(write_end, bytes([refused]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read_end, 1) == bytes([6])
    os.close(read_end)
    os.close(write_end)
    rig.cycle()
    assert rig.driver.state == NORMAL


def test_D_190_stopping_twice_is_harmless() -> None:
    rig = Rig()
    rig.driver.close()
    rig.driver.close(drain=False)
    assert rig.driver.do_work() == 0
    rig.listen()
    assert len(rig.heard(ShmDriverShutdown)) == 1


def test_attach_between_stop_and_close_is_refused() -> None:
    """D-020, D-070"""
    rig = Rig()
    rig.driver.request_shutdown()
    rig.cycle()
    assert rig.driver.is_stopped
    rig.say(rig.request(client_id=1))
    rig.cycle()
    assert rig.heard(ShmAttachResponse)[-1].error_message == "driver draining"


def test_a_broken_machine_is_logged_and_still_closes() -> None:
    """D-064"""
    rig = Rig()

    rig.driver._services.config = None  # type: ignore[assignment]
    rig.driver.request_shutdown()
    with pytest.raises(RuntimeError, match="broken"):
        rig.driver.do_work()
    rig.driver.close()
    assert not rig.disk.locked


def test_a_driver_that_breaks_while_it_closes_lets_go_of_everything() -> None:
    """D-064, D-190"""
    rig = Rig()
    rig.driver._services.config = None  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="broken"):
        rig.driver.close()
    assert not rig.disk.locked
    assert rig.driver._endpoints._subscription is None


def test_D_014_timers_follow_the_poll_and_posted_events_come_last() -> None:
    """D-014, D-015"""

    class Watcher:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def trace_dispatch_start(self, machine: Any, event: object, arg: object) -> None:
            if machine.label == "driver":
                self.seen.append(str(event))

    watcher = Watcher()
    rig = Rig(observer=watcher)
    rig.granted(1)
    rig.driver._router.post(DriverEvent.SHUTDOWN_TIMEOUT)
    rig.say(rig.request(client_id=2))
    rig.clock.advance(SECOND)
    watcher.seen.clear()
    work = rig.driver.do_work()
    assert watcher.seen == [
        "Tick",
        "AttachRequest",
        "LeaseCheckTimerFired",
        "AnnounceTimerFired",
        "ShutdownTimeout",
    ]
    # Besides the attach there were the echoes of the driver's messages at the first grant.
    assert work >= 4


def test_D_014_a_cycle_takes_what_has_come_whatever_the_size_of_a_batch() -> None:
    """D-014: a thousand clients are not served ten messages at a time."""
    rig = Rig(make_config(driver={"fragment_limit": 3}))
    for client in range(1, 11):
        rig.say(rig.request(client_id=client))
    rig.driver.do_work()
    assert rig.metrics["attach_requests"] == 10


class SlowClock(SimulatedClock):
    """A clock that goes on by a quarter of a millisecond with each reading."""

    def monotonic_ns(self) -> int:
        self.advance(250_000)
        return super().monotonic_ns()


def test_D_014_a_cycle_takes_no_further_batch_once_its_time_is_over() -> None:
    """D-014, D-065: a flood does not keep the timers waiting."""
    clock = SlowClock()
    rig = Rig(
        make_config(driver={"fragment_limit": 3}),
        clock=clock,
        network=MemoryNetwork(clock, seed=1),
    )
    for client in range(1, 101):
        rig.say(rig.request(client_id=client))
    rig.driver.do_work()
    first = rig.metrics["fragments"]
    assert 3 <= first < 30
    assert first % 3 == 0
    rig.driver.do_work()
    assert rig.metrics["fragments"] > first


def test_looking_for_input_takes_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """D-014, D-193: each message is handled in the cycles that follow, in order, and counts."""
    monkeypatch.setattr("tensor_pool.driver.driver.LONGEST_POLL_NS", 0)  # one batch a cycle
    rig = Rig(make_config(driver={"fragment_limit": 3}))
    rig.settle()
    assert not rig.driver.has_input()
    for client_id in range(1, 6):
        rig.say(rig.request(client_id=client_id))
    fragments, said = rig.metrics["fragments"], len(rig.messages)
    answered = []
    for _ in range(2):
        assert rig.driver.has_input()
        assert rig.driver.has_input()
        rig.cycle()
        answered.append([a.correlation_id for a in rig.heard(ShmAttachResponse, said)])
    assert answered == [[1, 2, 3], [1, 2, 3, 4, 5]]
    rig.settle()
    assert rig.metrics["fragments"] - fragments == 5 + len(rig.messages) - said
    assert not rig.driver.has_input()


def test_a_call_from_another_thread_is_input() -> None:
    """D-141, D-193"""
    rig = Rig()
    rig.settle()
    assert not rig.driver.has_input()
    rig.driver.request_shutdown()
    assert rig.driver.has_input()


def test_a_driver_that_was_looked_at_can_close_and_has_no_input_then() -> None:
    rig = Rig()
    rig.settle()
    rig.say(rig.request())
    assert rig.driver.has_input()
    rig.driver.close(drain=False)
    assert not rig.driver.has_input()


def test_D_013_posted_events_wait_for_the_current_one() -> None:
    rig = Rig()
    lifecycle = rig.driver._lifecycle
    errors: list[type[BaseException]] = []

    def reenter(operation: str, stream_id: int, epoch: int) -> None:
        try:
            lifecycle.dispatch(DriverEvent.TICK, 0)
        except Exception as error:  # noqa: BLE001
            errors.append(type(error))

    rig.store.on_call = reenter
    rig.granted(1)
    assert errors
    assert {error.__name__ for error in errors} == {"DispatchError"}


def test_D_015_the_drain_timer_fires_once() -> None:
    timer = OneShotTimer()
    assert not timer.fires(100)
    timer.arm(100)
    assert timer.due_ns == 100
    assert [timer.fires(now) for now in (99, 100, 101)] == [False, True, False]


def test_D_015_a_period_of_0_disables_a_timer() -> None:
    timer = PeriodicTimer(0)
    timer.arm(5)
    assert timer.due_ns is None
    assert not timer.fires(10**12)


def test_D_193_next_due_is_the_earliest_timer() -> None:
    rig = Rig(make_config(policies={"announce_period_ms": 700}))
    started = rig.clock.monotonic_ns()
    assert rig.driver.next_due_ns == started + 700 * MS
    rig.run(750 * MS)
    assert rig.driver.next_due_ns == started + SECOND


def test_D_191_snapshot_shows_the_tables() -> None:
    from tensor_pool.driver.core.configuration import IdRange

    rig = Rig(make_config(driver={"stream_id_range": IdRange(20000, 20009)}))
    producer = rig.granted(5, Role.PRODUCER)
    consumer = rig.granted(4)
    snapshot = rig.snapshot()
    status = snapshot.status
    assert status.instance_id == "driver-01"
    assert status.state == NORMAL
    assert (status.leases, status.streams) == (2, 2)
    assert status.next_lease_id == consumer.lease_id + 1
    assert status.next_node_id == 3
    assert status.next_dynamic_stream_id == 20000
    assert status.stream_id_range == "20000-20009"
    assert [lease.lease_id for lease in snapshot.leases] == [producer.lease_id, consumer.lease_id]
    first = snapshot.leases[0]
    assert (first.client_id, first.role, first.state) == (5, "PRODUCER", "Live.Active")
    stream, other = snapshot.streams
    assert stream.producer_lease_id == producer.lease_id
    assert stream.consumer_lease_ids == (consumer.lease_id,)
    assert stream.epoch == consumer.epoch
    assert stream.uris[0] == consumer.header_region_uri
    assert other.state == "Live.Init"
    assert other.uris == ()
