"""`health`: verdicts of scripted pools, its machine, and the command (§7 of services)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tensor_pool.bridge.status import BridgeStatus, take_status
from tensor_pool.cli.commands.health import HealthCheck, node_lines
from tensor_pool.cli.health.bridges import judge_bridge
from tensor_pool.cli.health.judge import Evidence, judge
from tensor_pool.cli.health.machine import HealthEvent, Judgement, PoolHealth
from tensor_pool.cli.health.verdict import Node, Verdict
from tensor_pool.client import ConsumerQos, ProducerQos, QosSnapshot, StreamInfo, StreamQos
from tensor_pool.protocol.wire import DiscoveryRequest, Message
from tests.bridge.sim_world import Faults, World
from tests.cli.pools import Command, DriverProcess
from tests.client.pool_world import LEFT, RIGHT, PoolWorld

HEALTHY, DEGRADED, FAILING = Verdict.HEALTHY, Verdict.DEGRADED, Verdict.FAILING
CAMERA = StreamInfo(stream_id=5, name="camera/left", epoch=7, producer_id=1)


def stream_qos(producer: str | None = "Healthy", consumer: str = "Healthy") -> QosSnapshot:
    return QosSnapshot(
        (
            StreamQos(
                stream_id=5,
                nslots=16,
                producer=ProducerQos(
                    client_id=1, epoch=7, current_seq=9, rate_hz=30.0, age_s=0.1, state=producer
                )
                if producer
                else None,
                consumers=(
                    ConsumerQos(
                        client_id=2,
                        mode="STREAM",
                        epoch=7,
                        last_seq=1,
                        lag=8,
                        drops_gap=3,
                        drops_late=4,
                        drops_per_s=1.0,
                        age_s=5.0,
                        state=consumer,
                    ),
                ),
            ),
        )
    )


@pytest.mark.parametrize(
    ("state", "age_s", "verdict", "text"),
    [
        ("Serving.Running.Normal", None, HEALTHY, "in state Serving.Running.Normal"),
        ("Serving.Running.Degraded", 0.1, DEGRADED, "in state Serving.Running.Degraded"),
        ("Serving.Draining", 0.1, DEGRADED, "in state Serving.Draining"),
        (None, 0.1, HEALTHY, "answers or announces"),
        (None, 3.0, FAILING, "neither an answer nor an announce for 3.0 s"),
        (None, None, FAILING, "is `tensor-pool driver` running?"),
    ],
)
def test_S_170_the_driver(
    state: str | None, age_s: float | None, verdict: Verdict, text: str
) -> None:
    pool = judge(Evidence(driver_state=state, driver_age_s=age_s))
    (driver,) = pool.children
    assert (pool.verdict, driver.verdict, driver.see) == (verdict, verdict, "tensor-pool status")
    assert text in driver.cause
    if verdict:
        assert pool.cause == f"driver: {driver.cause}"


@pytest.mark.parametrize(
    ("info", "qos", "listened_s", "verdict", "text"),
    [
        (CAMERA, stream_qos(), 1, HEALTHY, "producer 1, 30.0 Hz"),
        (CAMERA, stream_qos("Silent"), 9, DEGRADED, "producer 1 is silent for 0.1 s"),
        (CAMERA, stream_qos(None), 1, HEALTHY, "producer 1 is attached"),
        (CAMERA, stream_qos(None), 3, DEGRADED, "producer 1 is silent for 3.0 s"),
        (StreamInfo(stream_id=5), stream_qos(None), 1, DEGRADED, "no producer"),
        (StreamInfo(stream_id=5), QosSnapshot(()), 1, DEGRADED, "no producer"),
        (CAMERA, stream_qos(consumer="Dropping"), 1, DEGRADED, "3 never received, 4 overwritten"),
        (CAMERA, stream_qos(consumer="Lagging"), 1, DEGRADED, "consumer 2: is 8 frames behind"),
        (CAMERA, stream_qos(consumer="Silent"), 1, DEGRADED, "consumer 2: is silent for 5.0 s"),
    ],
)
def test_S_170_streams_and_consumers(
    info: StreamInfo, qos: QosSnapshot, listened_s: float, verdict: Verdict, text: str
) -> None:
    pool = judge(Evidence(driver_age_s=0.1, streams=[info], qos=qos, listened_s=listened_s))
    _, stream = pool.children
    assert (pool.verdict, stream.verdict) == (verdict, verdict)
    assert text in stream.cause
    assert stream.label == f"stream {info.label}"
    assert stream.see == "tensor-pool streams"


@pytest.mark.parametrize(
    ("expected", "verdict"), [("camera/left", HEALTHY), ("5", HEALTHY), ("camera/right", FAILING)]
)
def test_S_170_a_stream_that_is_expected(expected: str, verdict: Verdict) -> None:
    evidence = Evidence(driver_age_s=0.1, streams=[CAMERA], qos=stream_qos())
    pool = judge(evidence, [expected])
    assert pool.verdict is verdict
    if verdict:
        assert pool.cause == "stream camera/right: expected, and not there"
        assert (
            "stream camera/right: failing, expected, and not there (see: tensor-pool streams)"
            in (line.strip() for line in node_lines(pool))
        )


@pytest.fixture(scope="module")
def bridges() -> tuple[BridgeStatus, BridgeStatus]:
    """A sending and a receiving bridge that work."""
    world = World(1, Faults())
    assert world.a is not None
    assert world.b is not None
    world.run(500, frames_per_step=0.1)
    return take_status(world.a, pid=1, pool="/a"), take_status(world.b, pid=2, pool="/b")


@pytest.mark.parametrize(
    ("state", "down_s", "verdict", "text"),
    [
        ("Up.Flowing", 0, HEALTHY, "in state Up.Flowing"),
        ("Up.Choked", 0, DEGRADED, "choked"),
        ("Down", 10, DEGRADED, "not connected for 10 s"),
        ("Down", 11, FAILING, "not connected for 11 s"),
    ],
)
def test_S_170_bridge_links(
    bridges: tuple[BridgeStatus, BridgeStatus],
    state: str,
    down_s: float,
    verdict: Verdict,
    text: str,
) -> None:
    status = bridges[0]
    (link,) = status.links
    link = msgspec.structs.replace(link, state=state, down_s=down_s)
    node = judge_bridge(msgspec.structs.replace(status, links=(link,)))
    assert (node.verdict, node.see) == (verdict, "tensor-pool bridge status")
    assert text in node.children[0].cause
    pool = judge(Evidence(driver_age_s=0.1, bridges=[node]))
    assert pool.verdict is verdict
    if verdict:
        assert pool.cause == f"bridge a: link b: {node.children[0].cause}"


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ("Bound.Ready.Idle", HEALTHY),
        ("Holding", DEGRADED),
        ("Bound.Looped", FAILING),
        ("Bound.Refused", FAILING),
    ],
)
def test_S_170_incoming_streams_of_a_bridge(
    bridges: tuple[BridgeStatus, BridgeStatus], state: str, verdict: Verdict
) -> None:
    status = bridges[1]
    (stream,) = status.incoming
    stream = msgspec.structs.replace(stream, state=state)
    node = judge_bridge(msgspec.structs.replace(status, incoming=(stream,)))
    assert node.verdict is verdict


def test_S_170_a_bridge_counts_the_time_that_a_link_is_down(
    bridges: tuple[BridgeStatus, BridgeStatus],
) -> None:
    assert [(link.state, link.down_s) for link in bridges[0].links] == [("Up.Flowing", 0.0)]
    world = World(1, Faults())
    assert world.a is not None
    world.clock.advance(2_000_000_000)
    (link,) = take_status(world.a, pid=1, pool="/a").links
    assert (link.state, link.down_s) == ("Down", pytest.approx(2, abs=0.01))


class Port:
    def __init__(self) -> None:
        self.log: list[str] = []

    def report(self, verdict: Verdict) -> None:
        self.log.append(verdict.name)

    def count(self, counter: str) -> None:
        self.log.append(counter)


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("state", [None, *Verdict])
@pytest.mark.parametrize("waited_s", [0, 2, 3])
def test_S_171_the_table_holds(state: Verdict | None, verdict: Verdict, waited_s: int) -> None:
    """S-002, S-171"""
    port = Port()
    machine = PoolHealth(port)
    if state is not None:
        machine.dispatch(HealthEvent.VERDICT, Judgement(state, 0))
    port.log.clear()
    machine.dispatch(HealthEvent.VERDICT, Judgement(verdict, waited_s * 10**9))
    changes = state is None or verdict > state or (verdict < state and waited_s >= 3)
    assert machine.verdict is (verdict if changes else state)
    assert port.log == ([verdict.name] if changes else [])


def test_S_171_a_pool_that_is_well_now_and_then_does_not_flap() -> None:
    port = Port()
    machine = PoolHealth(port)
    for second in range(20):
        verdict = FAILING if second % 2 == 0 else HEALTHY
        machine.dispatch(HealthEvent.VERDICT, Judgement(verdict, second * 10**9))
    assert port.log == ["FAILING"]
    for second in (20, 21, 22):
        machine.dispatch(HealthEvent.VERDICT, Judgement(DEGRADED, second * 10**9))
    machine.dispatch("else", None)  # type: ignore[arg-type]
    assert port.log == ["FAILING", "DEGRADED", "health_unhandled"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PoolWorld]:
    world = PoolWorld(tmp_path)
    yield world
    world.close()


def test_S_172_a_check_asks_and_listens_and_sends_nothing_else(world: PoolWorld) -> None:
    """S-001, S-170, S-172"""
    camera = world.client().producer(LEFT)
    other = world.client().producer(RIGHT)
    pool = world.client()
    sent: list[Message] = []
    send = pool._conductor.send
    pool._conductor.send = lambda s, m: (sent.append(m), send(s, m))[1]  # type: ignore[method-assign]

    def look() -> Node:
        return check.look()

    with pool.qos() as qos:
        check = HealthCheck(pool, qos, http="", expected=["left"], timeout=1)
        for _ in range(33):
            camera.publish(np.zeros(4, np.uint8))
            other.publish(np.zeros(4, np.uint8))
            world.run(0.1)
        before = world.driver.snapshot()
        assert look().verdict is HEALTHY
        other.close()
        world.run(0.1)
        assert look().cause == f"stream right ({RIGHT}): no producer"
        world.driver.close(drain=False)
        world.run(4)
        assert look().verdict is FAILING
    assert {type(message) for message in sent} == {DiscoveryRequest}
    assert len(before.leases) == 2


@pytest.mark.process
def test_S_170_the_exit_status_is_the_verdict(pool: DriverProcess, camera: Command) -> None:
    listen = ("--observe", "1.3")
    degraded = pool.run("health", *listen, "--http", pool.http)
    assert degraded.status == 1, degraded
    assert degraded.stdout.startswith("pool: degraded, stream second (10001): no producer\n")
    assert "  driver: healthy, in state Serving.Running.Normal\n" in degraded.stdout
    failing = pool.run("health", *listen, "--json", "--expect", "cam", "--expect", "camera/9")
    assert failing.status == 2, failing
    assert failing.json["cause"] == "stream camera/9: expected, and not there"
    (cam,) = (each for each in failing.json["children"] if each["name"] == "cam (10000)")
    assert cam["verdict"] == "healthy"
    silent = pool.run("health", "--observe", "0", "--control-stream-id", "1999", "--timeout", "0.2")
    assert silent.status == 2, silent
    assert "is `tensor-pool driver` running?" in silent.stdout
    no_media_driver = pool.run("health", "--aeron-dir", "/dev/shm/tp-nothing-is-here")
    assert no_media_driver.status == 2
    assert "no media driver is running" in no_media_driver.stdout


@pytest.mark.process
def test_S_171_watch_prints_the_changes_of_the_verdict(pool: DriverProcess) -> None:
    with pool.running("health", "--watch") as watch:
        assert watch.process.stdout is not None
        assert "degraded: stream" in watch.process.stdout.readline()
        watch.interrupt(signal.SIGTERM)
        outcome = watch.outcome()
    assert outcome.status == 1, outcome
