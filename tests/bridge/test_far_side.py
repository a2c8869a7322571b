"""The far stream's lease, several senders at one link, floods (sections 7 to 10), in simulation."""

from __future__ import annotations

import logging
import random
import tracemalloc

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
from tensor_pool.protocol.wire import encode
from tests.bridge.receiving_bench import PAYLOAD, Bench, chunks, deliver, info
from tests.bridge.sim_net import SimNetwork
from tests.bridge.sim_pool import SimPool, SimSink, SimSource
from tests.bridge.sim_world import World

MS = 1_000_000


def test_B_081_a_refused_lease_is_asked_for_until_it_comes() -> None:
    """B-081, B-140 (another producer, full shared memory): retried with a growing pause."""
    bench = Bench()
    bench.pool.refusal = 1.0
    bench.feed(info())
    assert bench.receiver.machine.current.name == "Refused"
    asked = 0
    for _ in range(200):
        bench.let_pass(100)
        asked += bool(bench.pool._waiting)
        bench.pool.step()
        bench.feed(info())  # the owner lives
    assert 5 <= asked <= 12  # 200 ms, doubled up to 5 s, in 20 s
    bench.pool.refusal = 0.0
    for _ in range(60):
        bench.let_pass(100)
        bench.feed(info())
    assert bench.receiver.machine.current.name == "Idle"
    deliver(bench, 5)
    assert len(bench.delivered) == 1


def test_B_081_a_dynamic_stream_has_the_id_that_the_driver_chose() -> None:
    """B-081: id 0 asks for one, and the status has it."""
    bench = Bench(stream=0)
    assert bench.receiver.stream_id == 0
    bench.ready()
    (sink,) = bench.pool.sinks
    sink.stream_id = 20_001
    assert bench.receiver.stream_id == 20_001


def test_B_096_after_a_lost_lease_frames_go_on_with_the_next_first_chunk() -> None:
    """B-096, B-073: the open loan is void, the far epoch is a new one."""
    world = World(1)
    world.run(300, frames_per_step=0.2)
    before, far = len(world.delivered), world.receiver.far_epoch
    while world.receiver.machine.current.name != "Filling":
        world.published += 1
        world.source.publish(world.published, 1000)
        world.step()
    world.pool_b.loss = 1.0
    world.step()
    world.pool_b.loss = 0.0
    world.run(300, frames_per_step=0.2)
    world.settle()
    world.check_accounts(exact=True)
    assert world.receiver.far_epoch > far
    assert world.receiver.counters["local_lease_losses"] == 1
    assert world.receiver.counters["frames_incomplete"] == 1
    assert len(world.delivered) > before + 30


def test_B_123_a_flood_of_one_sender_costs_seven_others_nothing() -> None:
    """B-123, B-080: eight senders into one address; the seven at 30 Hz lose no frame."""
    clock = SimulatedClock(monotonic_ns=1_000_000_000_000)
    dice = random.Random(5)
    network = SimNetwork(clock, dice, window_bytes=4096)
    receiving = SimPool(dice)
    arrived: dict[int, list[int]] = {}

    def commit(sink: SimSink, seq: int, payload: bytes, header: FrameHeader) -> None:
        arrived.setdefault(sink.stream_id, []).append(header.trace_id)

    receiving.on_commit = commit
    place = "aeron:udp?endpoint=10.0.0.9:40456"
    entries = tuple(
        ReceiveStream(wire_id=10_000, stream=50_000 + n, origin=f"host-{n}") for n in range(8)
    )
    link = ReceiveLink(name="all", channel=place, streams=entries)
    settings = BridgeSettings(instance_id="z", info_interval_ms=100, receive=(link,))
    bridges = [Bridge(settings, receiving, network.host, clock)]
    sources = []
    for number in range(8):
        pool = SimPool(dice)
        source = pool.sources[10_000] = SimSource(dice)
        sources.append(source)
        send = SendLink(
            name="z",
            channel=place,
            chunk_bytes=256,
            streams=(SendStream(stream=10_000, wire_id=10_000),),
        )
        settings = BridgeSettings(instance_id=f"host-{number}", info_interval_ms=100, send=(send,))
        bridges.append(Bridge(settings, pool, network.host, clock))
    for bridge in bridges:
        bridge.start()
    for source in sources:
        source.start(7)
    published: dict[int, list[int]] = {50_000 + n: [] for n in range(8)}
    frame = 0
    for ms in range(900):
        clock.advance(MS)
        receiving.step()
        for number, source in enumerate(sources):
            quiet = number > 0
            if ms > 300 and (not quiet or ms % 33 == number):
                for _ in range(1 if quiet else 4):
                    frame += 1
                    source.publish(frame, 500)
                    published[50_000 + number].append(frame)
        for bridge in bridges:
            bridge.do_work()
    for _ in range(200):
        clock.advance(MS)
        for bridge in bridges:
            bridge.do_work()
    for number in range(1, 8):
        assert arrived[50_000 + number] == published[50_000 + number], number
    assert 0 < len(arrived[50_000]) < len(published[50_000])


def test_B_075_frames_opened_on_a_thousand_wire_ids_hold_no_memory() -> None:
    """B-075, BI-8: first chunks of many streams, of many frames, by several sessions."""
    bench = Bench().ready()
    first = chunks(5, PAYLOAD)[0]
    messages = [
        encode(message, checked=False)
        for message in (
            *(_with(first, stream_id=1000 + n) for n in range(1000)),
            *(_with(first, seq=6 + n, header=False) for n in range(1000)),
        )
    ]

    def storm() -> None:
        for number, message in enumerate(messages):
            bench.feed(message, session=1 + number % 3)

    storm()
    tracemalloc.start()
    try:
        storm()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            storm()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000
    assert bench.counted()["unmapped_chunks"] == 5000
    assert sum(loan.is_open for sink in bench.pool.sinks for loan in sink.loans) <= 1


def _with(chunk, **changes):  # type: ignore[no-untyped-def]
    import msgspec

    if changes.pop("header", True):
        return msgspec.structs.replace(chunk, **changes)
    return msgspec.structs.replace(chunk, header_bytes=b"", **changes)


def test_B_163_a_flood_writes_one_line_a_cause_and_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """B-163, B-121, B-082: owners that change, loops and refusals at 1 kHz; with a remedy."""
    caplog.set_level(logging.INFO, "tensor_pool.bridge")
    bench = Bench()
    for turn in range(2000):
        bench.feed(info(path="b>a") if turn % 2 else info(), session=1)
        bench.let_pass(1)
    causes = [record.msg.split(":")[0] + record.msg[9:40] for record in caplog.records]
    assert all(causes.count(cause) <= 3 for cause in causes)
    loops = [r.getMessage() for r in caplog.records if "refused, as it has come by" in r.msg]
    assert 2 <= len(loops) <= 3
    assert "raise max_hops" in loops[0]
    assert "more of these" in loops[1]


def test_B_134_no_payload_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """B-134: whatever goes wrong, at the most talkative level."""
    caplog.set_level(logging.DEBUG)
    bench = Bench().ready()
    secret = b"PAYLOAD-OF-A-CAMERA!" * 40
    for seq in range(5, 50):
        for number, message in enumerate(chunks(seq, secret)):
            if (seq + number) % 4:
                bench.feed(message, session=1 + seq % 3)
    bench.receiver.sink.begin_close()  # type: ignore[union-attr]
    deliver(bench, 99, secret)
    assert caplog.records
    assert not [r for r in caplog.records if "PAYLOAD-OF" in r.getMessage()]
