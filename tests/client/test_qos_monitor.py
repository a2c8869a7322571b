"""The QoS monitor: scripted reports, its machine, and a pool on simulated time (§3 of services)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_pool.client import QosChange, QosLimits, QosMonitor
from tensor_pool.client.qos.endpoint import EndpointEvent as E
from tensor_pool.client.qos.endpoint import QosEndpoint, Report
from tensor_pool.client.qos.snapshot import ConsumerQos, ProducerQos
from tensor_pool.protocol.wire import (
    ClockDomain,
    Mode,
    PublishMode,
    QosConsumer,
    QosProducer,
    ShmPoolAnnounce,
)
from tests.client.pool_world import LEFT, MS, RIGHT, PoolWorld

S = 1_000_000_000
CREATE = PublishMode.EXISTING_OR_CREATE


def announce(nslots: int = 16) -> ShmPoolAnnounce:
    return ShmPoolAnnounce(
        stream_id=5,
        producer_id=1,
        epoch=7,
        announce_timestamp_ns=0,
        announce_clock_domain=ClockDomain.MONOTONIC,
        layout_version=1,
        header_nslots=nslots,
        header_slot_bytes=256,
        payload_pools=(),
        header_region_uri="",
    )


class Script:
    """A monitor, the time and what it reported."""

    def __init__(self, limits: QosLimits | None = None) -> None:
        self.monitor = QosMonitor(limits=limits)
        self.now_ns = 0
        self.changes: list[QosChange] = []
        self.monitor.on_change(self.changes.append)
        self.monitor.hear(announce(), 0)

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)
        self.monitor.do_work(self.now_ns)

    def produced(self, seq: int, epoch: int = 7, client_id: int = 1) -> None:
        self.monitor.hear(QosProducer(5, client_id, epoch, seq), self.now_ns)

    def consumed(self, seq: int, gap: int = 0, late: int = 0, epoch: int = 7) -> None:
        self.monitor.hear(QosConsumer(5, 2, epoch, seq, gap, late, Mode.STREAM), self.now_ns)

    @property
    def producer(self) -> ProducerQos:
        stream = self.monitor.snapshot().stream(5)
        assert stream is not None
        assert stream.producer is not None
        return stream.producer

    @property
    def consumer(self) -> ConsumerQos:
        stream = self.monitor.snapshot().stream(5)
        assert stream is not None
        (consumer,) = stream.consumers
        return consumer

    @property
    def states(self) -> list[str]:
        self.monitor.do_work(self.now_ns)
        return [change.state for change in self.changes]


def test_S_050_a_snapshot_has_rate_lag_drops_age_and_state() -> None:
    script = Script()
    for second in range(3):
        script.produced(100 + 30 * second)
        script.wait(0.1)
        script.consumed(95 + 30 * second, gap=second, late=1)
        script.wait(0.9)
    assert script.producer == ProducerQos(
        client_id=1, epoch=7, current_seq=160, rate_hz=30.0, age_s=1.0, state="Healthy"
    )
    assert script.consumer == ConsumerQos(
        client_id=2,
        mode="STREAM",
        epoch=7,
        last_seq=155,
        lag=4,
        drops_gap=2,
        drops_late=1,
        drops_per_s=1.0,
        age_s=0.9,
        state="Dropping",
    )


def test_S_050_there_is_no_lag_between_epochs() -> None:
    script = Script()
    script.consumed(5)
    assert script.consumer.lag is None  # no producer yet
    script.produced(100, epoch=8)
    script.consumed(5)
    assert script.consumer.lag is None
    script.consumed(120, epoch=8)  # after the report of the producer
    assert script.consumer.lag == 0


def test_S_051_a_burst_of_reports_gives_no_rate() -> None:
    script = Script()
    for seq in (0, 10, 20):
        script.produced(seq)
        script.wait(0.2)
    assert script.producer.rate_hz is None
    script.produced(30)
    assert script.producer.rate_hz == pytest.approx(50)


def test_S_051_an_epoch_and_a_falling_total_begin_anew() -> None:
    script = Script()
    script.produced(0)
    script.consumed(0, gap=10)
    script.wait(1)
    script.produced(50)
    script.consumed(50, gap=12)
    assert (script.producer.rate_hz, script.consumer.drops_per_s) == (50.0, 2.0)
    script.wait(1)
    script.produced(70, epoch=8)
    script.consumed(70, gap=0)
    assert (script.producer.rate_hz, script.consumer.drops_per_s) == (None, None)
    script.wait(1)
    script.produced(90, epoch=8)
    assert script.producer.rate_hz == 20.0
    script.produced(5, epoch=8)
    assert script.producer.rate_hz is None


def test_S_052_another_producer_of_the_stream_begins_anew() -> None:
    script = Script()
    script.produced(0)
    script.wait(4)
    assert script.producer.state == "Silent"
    script.produced(0, client_id=9)
    assert (script.producer.client_id, script.producer.state) == (9, "Healthy")


def test_S_052_silence_and_expiry_follow_the_interval() -> None:
    script = Script()
    script.produced(0)
    script.wait(2.9)
    assert script.producer.state == "Healthy"
    script.wait(0.1)
    assert script.producer.state == "Silent"
    script.produced(1)
    assert script.states == ["Healthy", "Silent", "Healthy"]
    script.wait(30)
    script.wait(0.1)
    assert script.monitor.snapshot().streams == ()
    assert script.states[3:] == ["Silent", "Gone"]
    assert script.changes[-1] == QosChange(5, 1, True, "Gone")


def test_S_053_limits_are_arguments() -> None:
    script = Script(QosLimits(drop_share=0.5, lag_share=0.125))
    script.produced(101)
    script.consumed(100)
    script.consumed(110, gap=4)
    assert script.consumer.state == "Healthy"  # 4 of 10
    script.produced(113)
    script.consumed(110, gap=4)
    assert script.consumer.state == "Lagging"  # 2 frames of 16 slots


class Port:
    def __init__(self) -> None:
        self.log: list[str] = []

    def entered(self, state: str) -> None:
        self.log.append(state)

    def count(self, counter: str) -> None:
        self.log.append(counter)


WELL = Report(0, 100, 0, 16)
DROPS = Report(2, 98, 0, 16)
FEW_DROPS = Report(1, 300, 0, 16)
LAGS = Report(0, 100, 8, 16)
LAGS_LESS = Report(0, 100, 4, 16)
ALIVE = [(E.REPORT, WELL)]
STATES: dict[str, list[tuple[E, object]]] = {
    "Unknown": [],
    "Healthy": [*ALIVE],
    "Dropping": [*ALIVE, (E.REPORT, DROPS)],
    "Lagging": [*ALIVE, (E.REPORT, LAGS)],
    "Silent": [*ALIVE, (E.SILENCE_DUE, None)],
    "Gone": [*ALIVE, (E.SILENCE_DUE, None), (E.EXPIRY_DUE, None)],
}
REPORTS = {
    "well": WELL, "drops": DROPS, "few drops": FEW_DROPS, "lags": LAGS, "lags less": LAGS_LESS
}  # fmt: skip
REPORTED = {
    "Unknown": dict.fromkeys(REPORTS, "Healthy"),
    "Healthy": {"drops": "Dropping", "lags": "Lagging"},
    "Dropping": {},
    "Lagging": {"drops": "Dropping", "well": "Healthy", "few drops": "Healthy"},
    "Silent": dict.fromkeys(REPORTS, "Healthy"),
}


@pytest.mark.parametrize("state", REPORTED)
@pytest.mark.parametrize("report", REPORTS)
def test_S_052_the_table_holds_for_reports(state: str, report: str) -> None:
    """S-002, S-052"""
    port = Port()
    machine = in_state(port, state)
    machine.dispatch(E.REPORT, REPORTS[report])
    target = REPORTED[state].get(report, state)
    assert (machine.current.name, port.log) == (target, [target] if target != state else [])


@pytest.mark.parametrize(
    ("state", "event", "target"),
    [
        ("Unknown", E.SILENCE_DUE, "qos_unhandled"),
        ("Healthy", E.SILENCE_DUE, "Silent"),
        ("Dropping", E.SILENCE_DUE, "Silent"),
        ("Lagging", E.SILENCE_DUE, "Silent"),
        ("Silent", E.EXPIRY_DUE, "Gone"),
        ("Healthy", E.EXPIRY_DUE, "qos_unhandled"),
        ("Unknown", E.LEASE_ENDED, "qos_unhandled"),
        ("Healthy", E.LEASE_ENDED, "Gone"),
        ("Dropping", E.LEASE_ENDED, "Gone"),
        ("Lagging", E.LEASE_ENDED, "Gone"),
        ("Silent", E.LEASE_ENDED, "Gone"),
        ("Gone", E.REPORT, "qos_unhandled"),
    ],
)
def test_S_052_the_table_holds_for_silence(state: str, event: E, target: str) -> None:
    """S-002, S-052"""
    port = Port()
    machine = in_state(port, state)
    machine.dispatch(event, WELL)
    assert port.log == [target]
    assert machine.current.name == (state if target == "qos_unhandled" else target)


def test_S_052_dropping_ends_after_three_reports_without_a_rise() -> None:
    machine = in_state(Port(), "Dropping")
    for report, state in [
        (WELL, "Dropping"),
        (WELL, "Dropping"),
        (FEW_DROPS, "Dropping"),
        (WELL, "Dropping"),
        (WELL, "Dropping"),
        (WELL, "Healthy"),
    ]:
        machine.dispatch(E.REPORT, report)
        assert machine.current.name == state


def in_state(port: Port, state: str) -> QosEndpoint:
    machine = QosEndpoint(port, QosLimits())
    for step in STATES[state]:
        machine.dispatch(*step)
    assert machine.current.name == state
    port.log.clear()
    return machine


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PoolWorld]:
    world = PoolWorld(tmp_path)
    yield world
    world.close()


def test_S_050_a_pool_is_watched_without_a_lease(world: PoolWorld) -> None:
    """S-001, S-050, S-053: and nothing is sent."""
    camera = world.client().producer(LEFT)
    viewer = world.client().consumer(LEFT)
    pool = world.client()
    world.run(0.1)
    leases = len(world.driver.snapshot().leases)
    sent: list[object] = []
    pool._conductor.send = lambda stream, message: sent.append(message)  # type: ignore[method-assign,assignment,func-returns-value]
    states: list[str] = []
    with pool.qos() as qos:
        qos.on_change(lambda change: states.append(change.state))
        for _ in range(250):
            camera.publish(np.zeros(4, np.uint8))
            while viewer.poll() is not None:
                pass
            world.run(0.01)
        (stream,) = qos.snapshot().streams
    assert (stream.stream_id, stream.nslots) == (LEFT, 16)
    assert stream.producer is not None
    assert stream.producer.rate_hz == pytest.approx(100, rel=0.05)
    assert [(each.state, each.drops_gap) for each in stream.consumers] == [("Healthy", 0)]
    assert states == ["Healthy", "Healthy"]
    assert (sent, len(world.driver.snapshot().leases)) == ([], leases)
    world.run(0.02)
    assert pool._conductor._monitors == []


def test_S_052_a_consumer_that_loses_frames_drops(world: PoolWorld) -> None:
    camera = world.client().producer(RIGHT)
    viewer = world.client().consumer(RIGHT)
    with world.client().qos() as qos:
        for number in range(300):
            camera.publish(np.zeros(4, np.uint8))
            if number % 20 == 19:
                while (frame := viewer.poll()) is not None:
                    frame.valid
            world.run(0.01)
        (stream,) = qos.snapshot().streams
    (consumer,) = stream.consumers
    assert consumer.state == "Dropping"
    assert consumer.drops_per_s is not None
    assert consumer.drops_per_s > 10


def test_S_052_a_consumer_that_detaches_is_gone_at_once(world: PoolWorld) -> None:
    world.client().producer(LEFT)
    viewer = world.client().consumer(LEFT)
    with world.client().qos() as qos:
        world.run(1.5)
        viewer.close()
        world.run(0.1)
        (stream,) = qos.snapshot().streams
    assert stream.producer is not None
    assert stream.consumers == ()


def test_C_113_a_callback_that_raises_is_reported_by_do_work(world: PoolWorld) -> None:
    world.client().producer(LEFT)
    pool = world.client()
    with pool.qos() as qos:
        qos.on_change(lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            for _ in range(2000):
                world.clock.advance(MS)
                world._work()
    assert pool.metrics()["callback_errors"] == 1
