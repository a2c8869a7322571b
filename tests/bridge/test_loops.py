"""Paths and circles over several simulated hosts (B-120, B-121)."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tensor_pool.bridge import (
    Bridge,
    BridgeSettings,
    ReceiveLink,
    ReceiveStream,
    SendLink,
    SendStream,
)
from tensor_pool.client.producer.payload_layout import FrameHeader
from tensor_pool.protocol.clock import SimulatedClock
from tests.bridge.sim_net import SimNetwork
from tests.bridge.sim_pool import SimPool, SimSink, SimSource

MS = 1_000_000


class Ring:
    """Hosts h0, h1, ... each sends its stream 1 to the stream 1 of the next one."""

    def __init__(self, hosts: int, *, closed: bool, max_hops: int = 3) -> None:
        self.clock = SimulatedClock(monotonic_ns=1_000_000_000_000)
        dice = random.Random(3)
        self.network = SimNetwork(self.clock, dice, window_bytes=1 << 20)
        self.pools = [SimPool(dice) for _ in range(hosts)]
        self.bridges: list[Bridge] = []
        self.arrived: list[tuple[int, int]] = []
        for number, pool in enumerate(self.pools):
            pool.sources[1] = SimSource(dice)
            pool.on_commit = self._commit_at(number)
            sends = closed or number + 1 < hosts
            receives = closed or number > 0
            settings = BridgeSettings(
                instance_id=f"h{number}",
                info_interval_ms=50,
                max_hops=max_hops,
                send=(_send(self._place((number + 1) % hosts)),) if sends else (),
                receive=(_receive(self._place(number)),) if receives else (),
            )
            net = self.network.host()
            bridge = Bridge(settings, pool, lambda net=net: net, self.clock)  # type: ignore[misc]
            self.bridges.append(bridge)
        for bridge in self.bridges:
            bridge.start()

    @staticmethod
    def _place(number: int) -> str:
        return f"aeron:udp?endpoint=10.0.0.{number + 1}:40456"

    def _commit_at(self, number: int):  # type: ignore[no-untyped-def]
        def commit(sink: SimSink, seq: int, payload: bytes, header: FrameHeader) -> None:
            """A far frame is a local frame of the next bridge's source."""
            self.arrived.append((number, header.trace_id))
            source = self.pools[number].sources[1]
            if source.epoch != sink.epoch:
                source.start(sink.epoch)
            source.publish(header.trace_id, len(payload))

        return commit

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.clock.advance(MS)
            for pool in self.pools:
                pool.step()
                source = pool.sources[1]
                if source.epoch > 100 and not any(s.epoch == source.epoch for s in pool.sinks):
                    source.stop()  # the far producer has left
            for bridge in self.bridges:
                bridge.do_work()


def _send(channel: str) -> SendLink:
    return SendLink(name="next", channel=channel, streams=(SendStream(stream=1, wire_id=1),))


def _receive(channel: str) -> ReceiveLink:
    return ReceiveLink(name="mine", channel=channel, streams=(ReceiveStream(wire_id=1, stream=1),))


def test_B_120_each_host_appends_itself_to_the_path() -> None:
    ring = Ring(3, closed=False)
    ring.pools[0].sources[1].start(7)
    ring.run(200)
    for number in range(1, 6):
        ring.pools[0].sources[1].publish(number, 100)
        ring.run(50)
    assert [trace for host, trace in ring.arrived if host == 2] == [2, 3, 4, 5]
    assert ring.bridges[2].receivers[0].path == ("h0", "h1")
    (sink,) = ring.pools[2].sinks
    assert sink.metadata is not None
    assert b'"origin":"h0","stream":1' in sink.metadata[1]["tensorpool.bridge"][1]  # type: ignore[operator]


@pytest.mark.parametrize("hosts", [2, 3])
def test_B_121_no_frame_runs_in_a_circle(hosts: int) -> None:
    """B-121: also when the first producer leaves while frames are in flight."""
    ring = Ring(hosts, closed=True)
    first = ring.pools[0].sources[1]
    first.start(7)
    ring.run(300)
    for number in range(1, 20):
        first.publish(number, 100)
        ring.run(5)
    first.publish(20, 100)
    first.stop()
    ring.run(2000)
    seen = [trace for host, trace in ring.arrived if host == 0]
    assert not seen
    for host in range(1, hosts):
        traces = [trace for number, trace in ring.arrived if number == host]
        assert traces
        assert all(later > earlier for earlier, later in pairwise(traces))
    assert ring.bridges[0].receivers[0].counters["loops_refused"] >= 1


def test_B_121_a_path_longer_than_max_hops_is_refused() -> None:
    ring = Ring(4, closed=False, max_hops=2)
    ring.pools[0].sources[1].start(7)
    ring.run(400)
    for number in range(1, 6):
        ring.pools[0].sources[1].publish(number, 10)
        ring.run(50)
    assert {host for host, _ in ring.arrived} == {1, 2}


def test_BI_11_nothing_is_left_after_a_shutdown() -> None:
    """BI-11, B-050: goodbyes go out, leases and the network are given back."""
    ring = Ring(2, closed=False)
    ring.pools[0].sources[1].start(7)
    ring.run(300)
    assert ring.pools[1].sinks
    ring.bridges[0].request_shutdown()
    ring.run(300)
    assert ring.bridges[0].is_stopped
    assert not ring.pools[1].sinks  # long before hold_ms: the goodbye has come
    ring.bridges[1].request_shutdown()
    ring.run(300)
    assert ring.bridges[1].is_stopped
    assert not ring.network.publications
    assert not ring.network.subscriptions
    assert not ring.pools[1].sinks
