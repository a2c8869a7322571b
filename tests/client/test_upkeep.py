"""Hellos, QoS, shared streams, observability (C-082, C-097, C-121, C-122, §18)."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from tensor_pool.client.config import ClientConfig
from tensor_pool.protocol import errors
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    Mode,
    QosConsumer,
    QosProducer,
    ShmPoolAnnounce,
)
from tests.client.test_private_streams import hello
from tests.client.world import STREAM, S, World

DATA = np.arange(4, dtype=np.uint8)


def test_C_082_producers_report_every_interval_while_active(world: World) -> None:
    """C-082, W-200, M-150: current sequence and epoch."""
    heard = world.listen(1200)
    producer = world.client().producer(STREAM)
    for _ in range(10):
        producer.publish(DATA)
    world.run(5.02)
    reports = [m for m in heard if isinstance(m, QosProducer)]
    assert len(reports) in (5, 6)
    last = reports[-1]
    assert (last.current_seq, last.watermark, last.epoch) == (
        10,
        None,
        world.driver.streams[STREAM].epoch,
    )
    world.driver.silent = True
    world.driver.notice(world.driver.lease_of(producer.client_id))
    world.run(0.02)
    count = len(heard)
    world.run(0.3)
    assert len(heard) == count  # paused: nothing to report
    assert producer.state == "Paused"


def test_C_097_hellos_go_out_every_interval_from_the_attach_on(world: World) -> None:
    """C-097: with everything that was asked for."""
    consumer = world.client(expected_layout_version=0).consumer(
        STREAM, mode=Mode.RATE_LIMITED, max_rate_hz=25
    )
    world.run(3.05)
    hellos = world.driver.hellos
    assert len(hellos) == 4
    first = hellos[0]
    assert (first.stream_id, first.consumer_id) == (STREAM, consumer.client_id)
    assert (first.mode, first.max_rate_hz) == (Mode.RATE_LIMITED, 25)
    assert (first.supports_shm, first.supports_progress) == (True, False)
    assert first.expected_layout_version == 0
    assert consumer.metrics()["hellos_sent"] == 4


def test_C_097_no_hello_without_a_lease(world: World) -> None:
    world.driver.silent = True
    world.client().begin_attach_consumer(STREAM)
    world.run(3)
    assert world.driver.hellos == []


def test_C_097_reports_go_out_also_while_unmapped(world: World) -> None:
    """C-097, W-200, M-140: epoch 0 then, totals that are never reset."""
    producer, consumer = world.pair()
    producer.publish(DATA)
    for _ in range(3):
        producer._descriptors.publication.offer(b"")  # nothing
    consumer.poll()
    kept = producer._descriptors.publication
    producer._connect(None)
    producer.publish(DATA)
    producer._connect(kept)
    producer.publish(DATA)
    consumer.poll()
    world.run(1.2)
    report = world.driver.reports[-1]
    assert (report.epoch, report.last_seq_seen, report.drops_gap, report.drops_late) == (
        world.driver.streams[STREAM].epoch,
        2,
        1,
        0,
    )
    world.driver.silent = True
    world.driver.notice(world.driver.lease_of(consumer.client_id))
    world.run(1.2)
    report = world.driver.reports[-1]
    assert (report.epoch, report.last_seq_seen, report.drops_gap) == (0, 0, 1)


def test_C_097_a_second_owner_of_a_chosen_id_makes_it_change(world: World) -> None:
    """C-097, W-168: two consumers with equal ids end up different."""
    consumer = world.client().consumer(STREAM)
    world.run(6)
    before = consumer.client_id
    assert consumer.metrics()["id_conflicts"] == 0
    world.say(
        1200,
        QosConsumer(
            stream_id=STREAM,
            consumer_id=before,
            epoch=1,
            last_seq_seen=5,
            drops_gap=0,
            drops_late=0,
            mode=Mode.STREAM,
        ),
    )
    world.run(0.5)
    assert consumer.client_id != before
    assert consumer.state == "Mapped"
    assert consumer.metrics()["id_conflicts"] == 1


def test_W_168_also_when_the_other_reports_the_very_same(world: World) -> None:
    """Two idle consumers send equal bytes; one echo too many gives it away."""
    consumer = world.client().consumer(STREAM)
    world.run(6)
    before = consumer.client_id
    world.say(1200, world.driver.reports[-1])
    world.run(0.5)
    assert consumer.client_id != before


def test_C_097_a_given_id_is_kept_and_the_conflict_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = world.client().consumer(STREAM, client_id=88)
    world.run(6)
    with caplog.at_level(logging.WARNING, "tensor_pool.client"):
        world.say(1200, world.driver.reports[-1])
        world.run(0.1)
    assert consumer.client_id == 88
    assert consumer.metrics()["id_conflicts"] == 1
    assert "88" in caplog.text
    assert consumer.metrics()["attaches"] == 1


def test_W_202_drops_reported_by_consumers_do_not_slow_a_producer(world: World) -> None:
    producer = world.client().producer(STREAM)
    world.say(1000, hello(555))
    world.say(
        1200,
        QosConsumer(
            stream_id=STREAM,
            consumer_id=555,
            epoch=1,
            last_seq_seen=5,
            drops_gap=10**9,
            drops_late=10**9,
            mode=Mode.STREAM,
        ),
    )
    world.run(0.05)
    at = world.clock.monotonic_ns()
    assert all(producer.publish(DATA).seq == i for i in range(100))
    assert world.clock.monotonic_ns() == at


def test_W_203_a_supervisors_config_is_obeyed_by_the_addressed_consumer_only(
    world: World,
) -> None:
    client = world.client()
    first = client.consumer(STREAM)
    second = client.consumer(STREAM)
    world.say(
        1000,
        ConsumerConfig(
            stream_id=STREAM, consumer_id=second.client_id, use_shm=True, mode=Mode.RATE_LIMITED
        ),
    )
    world.run(0.05)
    assert (first.mode, second.mode) == (Mode.STREAM, Mode.RATE_LIMITED)


def test_W_120_a_producer_of_a_driver_announces_nothing(world: World) -> None:
    """W-120, W-134, and C-001: the client's part."""
    said = world.listen(1000)
    producer, _ = world.pair()
    world.run(3)
    announces = [m for m in said if isinstance(m, ShmPoolAnnounce)]
    own = [m for m in world.network._publications[("aeron:ipc", 1000)] if m.transport.name]
    assert {m.transport.name for m in own} == {"driver", "client-0"}
    assert len(announces) <= 6  # one per epoch and second, all from the driver
    assert producer.poll_ready()


def test_W_001_all_shared_streams_may_share_one_number(base: Any) -> None:
    """W-001, W-002: two streams on one transport stream, dispatch by template and stream id."""
    world = World(base)
    numbers: dict[str, Any] = dict.fromkeys(
        (
            "announce_stream_id",
            "descriptor_stream_id",
            "qos_stream_id",
            "metadata_stream_id",
        ),
        1000,
    )
    client = world.client(**numbers)
    pairs = [
        (client.producer(stream_id), client.consumer(stream_id))
        for stream_id in (STREAM, STREAM + 1)
    ]
    world.run(0.1)
    for i, (producer, _) in enumerate(pairs):
        producer.set_metadata(f"camera {i}")
        producer.publish(np.full(4, i, np.uint8))
    world.run(2)
    for i, (_, consumer) in enumerate(pairs):
        frame = consumer.poll()
        assert frame is not None
        assert frame.array.tolist() == [i] * 4
        assert consumer.poll() is None
        assert consumer.metadata.name == f"camera {i}"
        assert consumer.metrics()["announces_accepted"] >= 2
        assert consumer.metrics()["bad_message"] == 0
    assert [r for r in world.driver.hellos if r.consumer_id == pairs[0][1].client_id]
    world.close()


def test_C_001_clients_make_no_files_and_list_no_directories(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-001, W-134: everything done to paths below the base directory is opening to map."""
    import os

    touched: list[str] = []
    base = str(world.base)
    client = world.client()
    stream = world.driver.add_stream(STREAM)
    world.driver.do_work()

    def forbid(name: str) -> None:
        real = getattr(os, name)

        def checked(path: Any, *arguments: Any, **options: Any) -> Any:
            if str(path).startswith(base):
                touched.append(name)
            return real(path, *arguments, **options)

        monkeypatch.setattr(os, name, checked)

    real_open = os.open

    def watched_open(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & (os.O_CREAT | os.O_TRUNC | os.O_EXCL):
            touched.append(f"create {path}")
        opened.append(str(path))
        return real_open(path, flags, *arguments, **options)

    opened: list[str] = []
    monkeypatch.setattr(os, "open", watched_open)
    monkeypatch.setattr(os, "supports_dir_fd", {*os.supports_dir_fd, watched_open})
    for name in ("mkdir", "unlink", "rename", "truncate", "listdir", "scandir", "remove", "rmdir"):
        forbid(name)
    consumer = client.consumer(STREAM)
    world.driver.announce(stream)
    world.run(0.5)
    assert consumer.poll_ready()
    assert touched == []
    assert any("header.ring" in path for path in opened)


def test_C_122_the_counters_have_the_documented_names(world: World) -> None:
    """C-122, C-071, W-201, M-140."""
    producer, consumer = world.pair()
    shared = {
        "attaches",
        "attach_refused",
        "attach_timeouts",
        "protocol_errors",
        "keepalives_sent",
        "announces_accepted",
        "announces_ignored",
        "bad_message",
        "callback_errors",
        "connection_unhandled",
        "hellos_sent",
    }
    published = {
        "frames_published",
        "drops_no_subscriber",
        "descriptor_backpressured",
        "drops_too_large",
        "drops_not_active",
        "descriptor_not_connected",
        "descriptor_admin_action",
        "descriptor_closed",
        "descriptor_max_position_exceeded",
        "descriptor_errors",
        "producer_unhandled",
    }
    received = {
        "frames_ok",
        "drops_gap",
        "drops_late",
        "late_in_progress",
        "late_changed",
        "late_seq_mismatch",
        "late_rewind",
        "header_invalid",
        "payload_invalid",
        "drops_unmapped",
        "drops_epoch",
        "drops_duplicate",
        "drops_regression",
        "drops_resync",
        "drops_rate",
        "drops_progress",
        "id_conflicts",
        "missed_unmapped",
        "remaps",
        "consumer_unhandled",
    }
    assert shared | published <= set(producer.metrics())
    assert shared | received <= set(consumer.metrics())
    assert sum(name.startswith("lease_losses_") for name in producer.metrics()) == 10


def test_C_121_background_trouble_is_reported_by_callbacks_state_and_errors(world: World) -> None:
    """C-121, C-022, C-024."""
    told: list[Any] = []

    def note(name: str) -> Any:
        return lambda *arguments: told.append((name, *arguments))

    client = world.client()
    producer = client.producer(
        STREAM,
        on_active=note("active"),
        on_paused=note("paused"),
        on_shutdown=note("shutdown"),
        on_refused=note("refused"),
    )
    consumer = client.consumer(STREAM, on_active=note("mapped"), on_unmapped=note("unmapped"))
    assert told == [("active",), ("mapped",)]
    told.clear()
    for handle in (producer, consumer):
        world.driver.notice(world.driver.lease_of(handle.client_id), text="x")
    client.do_work()
    assert ("paused", "REVOKED: x") in told
    assert ("unmapped", "REVOKED: x") in told
    assert isinstance(producer.last_error, errors.LeaseLostError)
    world.run(1)
    assert told.count(("active",)) == 1
    assert (producer.state, consumer.connection_state) == ("Active", "Attached")


def test_C_121_the_loss_of_the_transport_closes_everything_in_the_core(world: World) -> None:
    """C-121: without a way to reconnect, do_work() raises and all attachments are closed."""
    client = world.client("doomed")
    producer = client.producer(STREAM)
    consumer = client.consumer(STREAM)
    world.network.fail("doomed", "media driver lost")
    with pytest.raises(errors.TransportError, match="media driver lost"):
        client.do_work()
    for handle in (producer, consumer):
        assert handle.closed
        with pytest.raises(errors.ClosedError, match="media driver lost"):
            handle.metrics()
    with pytest.raises(errors.ClosedError):
        client.do_work()
    client.close()


def test_with_a_way_to_reconnect_the_loss_of_the_transport_is_survived(world: World) -> None:
    """C-121 as `connect()` refines it: the same handles go on with a new transport."""
    generation = iter(range(100))
    up = [True]

    def reconnect() -> Any:
        if not up[0]:
            raise errors.TransportError("no media driver")
        return world.network.transport(f"again-{next(generation)}")

    client = world.client("first", reconnect=reconnect)
    producer = client.producer(STREAM)
    consumer = client.consumer(STREAM)
    producer.set_metadata("camera")
    world.run(0.1)
    for round_ in range(3):
        up[0] = False
        world.network.fail("first" if round_ == 0 else f"again-{round_ - 1}")
        world.driver.leases.clear()
        world.run(1)
        assert (producer.state, consumer.state) == ("Paused", "Unmapped")
        assert not producer.publish(DATA)
        assert consumer.poll() is None
        up[0] = True
        world.run(6)
        assert (producer.state, consumer.state) == ("Active", "Mapped")
        producer.publish(DATA)
        frame = consumer.poll()
        assert frame is not None
        assert frame.array.tolist() == DATA.tolist()
    assert client.metrics()["reconnects"] == 3
    assert producer.metrics()["transport_losses"] == 3
    assert consumer.metadata is not None


def test_the_announce_stream_may_be_a_stream_of_its_own(base: Any) -> None:
    """C-004: announces on 1001 while everything else stays on control."""
    world = World(base)
    consumer = world.client(announce_stream_id=1001).consumer(STREAM)
    stream = world.driver.streams[STREAM]
    stream.new_epoch(world.clock.monotonic_ns())
    world.say(1001, world.driver.announcement(stream))
    world.run(0.02)
    assert consumer._attachment.machine.mapping.epoch == stream.epoch
    world.close()


def test_W_003_order_between_streams_does_not_matter(world: World) -> None:
    """W-003: descriptors of a new epoch before its announce, or after, end the same."""
    producer, consumer = world.pair()
    stream = world.driver.streams[STREAM]
    world.driver.announces = False
    world.driver.revoke(world.driver.lease_of(producer.client_id))
    world.run(0.5)
    assert producer.state == "Active"
    producer.publish(DATA)
    assert consumer.poll() is None  # the announce is not there yet
    world.driver.announce(stream)
    world.run(0.05)
    assert consumer.state == "Mapped"
    producer.publish(DATA)
    frame = consumer.poll()
    assert frame is not None
    assert frame.epoch == stream.epoch


def test_timeouts_of_attach_requests_are_counted(world: World) -> None:
    world.driver.silent = True
    consumer = world.client().begin_attach_consumer(STREAM)
    at = world.clock.monotonic_ns()
    world.run(4)
    assert world.clock.monotonic_ns() - at >= 4 * S
    assert consumer.metrics()["attach_timeouts"] >= 2
    assert ClientConfig().response_timeout == 1
