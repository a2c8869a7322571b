"""The effect of each message that arrives on the control stream (§4)."""

from __future__ import annotations

import logging
import random
import struct
from typing import Any

import pytest

from tensor_pool.driver.core.configuration import IdRange
from tensor_pool.driver.core.events import DriverEvent
from tensor_pool.protocol.wire import (
    ClockDomain,
    ConsumerConfig,
    ConsumerHello,
    FrameDescriptor,
    LeaseRevokeReason,
    Message,
    Mode,
    PayloadPool,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmDriverShutdownRequest,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
    decode,
    encode,
)
from tests.driver.core.harness import MS, OTHER_STREAM, SECOND, STREAM, Rig, make_config

COUNTERS = (
    "malformed",
    "foreign_schema",
    "unsupported_version",
    "unknown_template",
    "ignored",
    "handler_errors",
    "foreign_announces",
    "shutdown_rejected",
)
ATTACH = ShmAttachRequest(1, STREAM, 1, Role.CONSUMER, 0, 2)
HELLO = ConsumerHello(
    STREAM,
    1,
    True,
    False,
    Mode.STREAM,
    0,
    0,
    descriptor_stream_id=1,
    descriptor_channel="aeron:ipc",
)


def header(block_length: int, template: int, schema: int, version: int = 1) -> bytes:
    return struct.pack("<HHHH", block_length, template, schema, version)


def with_header(message: Message | bytes, **changes: int) -> bytes:
    """An encoded message with fields of its header replaced."""
    data = message if isinstance(message, bytes) else encode(message, checked=False)
    values = list(struct.unpack_from("<HHHH", data))
    for name, value in changes.items():
        values[("block_length", "template", "schema", "version").index(name)] = value
    return struct.pack("<HHHH", *values) + data[8:]


def poke(message: Message, offset: int, value: int) -> bytes:
    """An encoded message with one byte of its block replaced."""
    data = bytearray(encode(message, checked=False))
    data[8 + offset] = value
    return bytes(data)


DETACH = ShmDetachRequest(1, 5, STREAM, 1, Role.CONSUMER)
KEEPALIVE = ShmLeaseKeepalive(5, STREAM, 1, Role.CONSUMER, 0)
STOP = ShmDriverShutdownRequest(1, ShutdownReason.NORMAL, "secret")
WRONG_STOP = ShmDriverShutdownRequest(1, ShutdownReason.NORMAL, "guess")
LONG_CHANNEL = ConsumerHello(
    STREAM,
    1,
    True,
    False,
    Mode.STREAM,
    0,
    0,
    descriptor_stream_id=1,
    descriptor_channel="aeron:ipc?" + "x" * 4090,
)
BLANK_CHANNEL = encode(HELLO).replace(b"aeron:ipc", b"aeron ipc")

DROPPED: list[tuple[str, bytes, str | None]] = [
    ("1, seven bytes", b"\x00" * 7, "malformed"),
    ("1, seven bytes of our response", header(0, 2, 901)[:7], "malformed"),
    ("1, nothing", b"", "malformed"),
    ("2", header(0, 1, 899), "foreign_schema"),
    ("3a, our response", encode(ShmDetachResponse(1, ResponseCode.OK)), "ignored"),
    ("3a, a descriptor", encode(FrameDescriptor(1, 1, 1, None, None, None)), "ignored"),
    ("3a, our template in a version of the future", header(0, 2, 901, 9), "ignored"),
    ("3b, driver schema", header(0, 99, 901), "unknown_template"),
    ("3b, pool schema", header(0, 99, 900), "unknown_template"),
    ("4, keepalive", with_header(KEEPALIVE, version=2), "unsupported_version"),
    ("4, hello", with_header(HELLO, version=2), "unsupported_version"),
    ("4, attach without its id", header(7, 1, 901, 2) + b"\0" * 7, "unsupported_version"),
    ("4, attach cut off", header(8, 1, 901, 2) + b"\0" * 7, "unsupported_version"),
    ("5", encode(KEEPALIVE)[:-1], "malformed"),
    ("6", with_header(KEEPALIVE, block_length=24), "malformed"),
    ("7, length past the end", encode(HELLO)[:-1], "malformed"),
    ("7, channel too long", encode(LONG_CHANNEL), "malformed"),
    ("7, forbidden byte", BLANK_CHANNEL, "malformed"),
    (
        "7, token too long",
        encode(ShmDriverShutdownRequest(1, ShutdownReason.NORMAL, "s" * 1025)),
        "malformed",
    ),
    (
        "7, text too long",
        encode(STOP)[:-4] + struct.pack("<I", 1025) + b"t" * 1025,
        "malformed",
    ),
    ("8, role of a detach", poke(DETACH, 24, 3), "malformed"),
    ("8, role of a keepalive", poke(KEEPALIVE, 16, 0), "malformed"),
    ("8, reason of a shutdown", poke(STOP, 8, 3), "malformed"),
]


@pytest.mark.parametrize(("row", "data", "counter"), DROPPED, ids=[row for row, _, _ in DROPPED])
def test_D_060_each_row_drops_and_counts(row: str, data: bytes, counter: str) -> None:
    """D-060, D-061, D-186"""
    rig = Rig(make_config(policies={"shutdown_token": "secret"}))
    rig.granted(1)
    before, heard = rig.snapshot(), len(rig.messages)
    counted = {name: rig.metrics[name] for name in COUNTERS}
    rig.say(data)
    rig.cycle()
    for name in COUNTERS:
        assert rig.metrics[name] - counted[name] == (name == counter), name
    assert rig.snapshot() == before
    assert rig.messages[heard:] == []
    assert rig.driver.state == "Serving.Running.Normal"


def test_D_060_larger_blocks_and_trailing_bytes_are_tolerated() -> None:
    rig = Rig()
    data = encode(ATTACH)
    wider = with_header(data, block_length=27 + 5) + b"\xff" * 5
    rig.say(wider + b"trailing")
    rig.settle()
    assert rig.metrics["attach_granted"] == 1


def test_D_060_enums_of_requests_are_judged_by_the_rules_of_the_request() -> None:
    """D-060, D-070"""
    rig = Rig()
    rig.say(poke(ATTACH, 16, 77))
    rig.settle()
    (answer,) = rig.heard(ShmAttachResponse)
    assert answer.error_message == "unknown role"


@pytest.mark.parametrize("draining", [False, True])
def test_D_061_attach_of_a_newer_schema_is_answered(draining: bool) -> None:
    """D-061, D-187"""
    rig = Rig()
    rig.granted(2)
    if draining:
        rig.driver.request_shutdown()
        rig.settle()
    before, heard = rig.snapshot(), len(rig.messages)
    rig.say(with_header(encode(ShmAttachRequest(77, STREAM, 1, Role.CONSUMER, 0)), version=2))
    rig.cycle()
    assert rig.messages[heard:] == [
        ShmAttachResponse(
            77, ResponseCode.UNSUPPORTED, error_message="unsupported driver schema version"
        )
    ]
    assert rig.metrics["attach_refused_unsupported"] == 1
    assert rig.metrics["unsupported_version"] == 0
    assert rig.snapshot() == before


def test_D_061_a_block_of_eight_bytes_is_enough() -> None:
    rig = Rig()
    rig.say(header(8, 1, 901, 3) + struct.pack("<q", -5))
    rig.cycle()
    (answer,) = rig.heard(ShmAttachResponse)
    assert answer.correlation_id == -5


def test_D_062_a_normal_session_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    rig = Rig()
    rig.say(encode(ATTACH))
    rig.settle()
    lease = rig.heard(ShmAttachResponse)[0]
    rig.say(FrameDescriptor(STREAM, lease.epoch, 0, None, None, None))
    rig.keepalive(lease, 1, Role.CONSUMER)
    rig.run(2 * SECOND)
    rig.detach(lease, 1, Role.CONSUMER)
    rig.driver.close()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert rig.metrics["ignored"] > 0


class Watcher:
    """Observer of all machines: who got which event."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def trace_dispatch_start(self, machine: Any, event: object, arg: object) -> None:
        if event != DriverEvent.TICK:
            self.seen.append((machine.label.split(" ")[0], str(event)))

    def take(self) -> list[tuple[str, str]]:
        seen, self.seen = self.seen, []
        return seen


def test_D_063_each_source_reaches_its_machines() -> None:
    """D-063, D-013"""
    watcher = Watcher()
    rig = Rig(make_config(policies={"shutdown_token": "secret"}), observer=watcher)
    assert watcher.take() == [("driver", "StartOk")]
    producer = rig.granted(1, Role.PRODUCER)
    assert watcher.take() == [
        ("driver", "AttachRequest"),
        ("stream", "StreamProvisioned"),
        ("lease", "AttachOk"),
        ("stream", "ProducerAttached"),
    ]
    consumer = rig.granted(2)
    assert watcher.take()[1:] == [("lease", "AttachOk"), ("stream", "ConsumerAttached")]
    rig.attach(0)
    assert watcher.take() == [
        ("driver", "AttachRequest"),
        ("attach", "AttachReject"),
        ("attach", "Close"),
    ]
    rig.keepalive(consumer, 2, Role.CONSUMER)
    rig.cycle()
    assert watcher.take() == [("driver", "Keepalive"), ("lease", "Keepalive")]
    rig.say(HELLO)
    rig.cycle()
    assert watcher.take() == [("driver", "ConsumerHello")]
    rig.detach(producer, 1, Role.PRODUCER)
    assert watcher.take() == [
        ("driver", "DetachRequest"),
        ("lease", "Detach"),
        ("stream", "ProducerDetached"),
        ("lease", "Close"),
    ]
    rig.granted(3, Role.PRODUCER)
    assert ("stream", "EpochBumped") in watcher.take()
    rig.driver.reprovision(STREAM)
    assert watcher.take()[:3] == [
        ("driver", "Reprovision"),
        ("lease", "Revoke"),
        ("stream", "ProducerDetached"),
    ]
    rig.driver.revoke_lease(consumer.lease_id)
    assert watcher.take()[:3] == [
        ("driver", "RevokeLease"),
        ("lease", "Revoke"),
        ("stream", "ConsumerDetached"),
    ]
    rig.granted(4)
    watcher.take()
    rig.clock.advance(4 * SECOND)
    rig.cycle()
    assert watcher.take() == [
        ("driver", "LeaseCheckTimerFired"),
        ("lease", "LeaseTimeout"),
        ("stream", "ConsumerDetached"),
        ("lease", "Close"),
        ("driver", "AnnounceTimerFired"),
    ]
    rig.granted(5)
    watcher.take()
    rig.ask_to_stop("secret")
    rig.cycle()
    assert watcher.take() == [
        ("driver", "ShutdownRequested"),
        ("stream", "DriverDraining"),
        ("stream", "DriverDraining"),
    ]
    rig.clock.advance(2 * SECOND)
    rig.cycle()
    assert watcher.take()[-4:] == [
        ("driver", "ShutdownTimeout"),
        ("stream", "DriverShutdown"),
        ("stream", "DriverShutdown"),
        ("lease", "Close"),
    ]


def test_D_063_last_lease_of_a_draining_driver_completes_the_drain() -> None:
    """D-063, D-022"""
    watcher = Watcher()
    rig = Rig(observer=watcher)
    lease = rig.granted(1)
    rig.driver.request_shutdown()
    rig.settle()
    watcher.take()
    rig.say(ShmDetachRequest(1, lease.lease_id, STREAM, 1, Role.CONSUMER))
    rig.cycle()
    assert ("driver", "DrainComplete") in watcher.take()
    assert rig.driver.is_stopped


def test_D_063_lost_transport_that_cannot_be_opened_anew_stops_the_driver() -> None:
    """D-063, D-141, D-186"""
    watcher = Watcher()
    rig = Rig(observer=watcher)
    rig.granted(1)
    rig.network.fail("driver", "media driver lost")
    watcher.take()
    rig.driver.do_work()
    assert watcher.take()[0] == ("driver", "TransportLost")
    assert rig.driver.is_stopped
    assert rig.driver.shutdown == (ShutdownReason.ERROR, "media driver lost")
    assert not rig.store.is_open


@pytest.mark.parametrize("operation", ["provision", "retire", "highest_epoch"])
def test_D_064_port_that_raises_on_attach_costs_only_that_request(operation: str) -> None:
    """D-064, D-186, D-187"""
    rig = Rig()
    rig.granted(1)
    rig.store.faults.crash = {operation}
    if operation == "highest_epoch":

        def crash(stream_id: int) -> int:
            raise ZeroDivisionError

        rig.store.highest_epoch = crash  # type: ignore[method-assign]
    before = rig.snapshot()
    answer = rig.attach(2, Role.PRODUCER, desired_node_id=9)
    assert rig.metrics["handler_errors"] == 1
    if operation == "retire":  # the new epoch is there, the old one is for a later collection
        assert answer.code is ResponseCode.OK
    else:
        assert (answer.code, answer.error_message) == (
            ResponseCode.INTERNAL_ERROR,
            "internal error",
        )
        assert rig.snapshot() == before
    rig.store.faults.crash.clear()
    if operation == "highest_epoch":
        del rig.store.highest_epoch
    assert rig.granted(3, stream_id=OTHER_STREAM, desired_node_id=10).node_id == 10
    rig.run(SECOND)


def test_D_064_what_a_broken_attach_created_is_undone() -> None:
    rig = Rig(
        make_config(
            driver={"stream_id_range": IdRange(20000, 20000)},
            policies={"allow_dynamic_streams": True},
        )
    )
    publisher = rig.driver._services.publisher
    publish = publisher.publish
    broken = True

    def fail_once(target: Any, message: Any) -> Any:
        nonlocal broken
        if broken and isinstance(message, ShmAttachResponse):
            broken = False
            raise ZeroDivisionError
        return publish(target, message)

    publisher.publish = fail_once  # type: ignore[method-assign]
    before = rig.snapshot()
    answer = rig.attach(1, Role.PRODUCER, stream_id=0, desired_node_id=6)
    assert (answer.code, answer.error_message) == (ResponseCode.INTERNAL_ERROR, "internal error")
    after = rig.snapshot()
    assert (after.leases, after.streams) == (before.leases, before.streams)
    assert rig.driver._services.node_ids.active == frozenset()
    assert rig.granted(1, Role.PRODUCER, stream_id=0, desired_node_id=6).stream_id == 20000


def test_D_064_a_grant_that_breaks_after_its_answer_is_revoked() -> None:
    rig = Rig()
    rig.granted(9)
    stream = rig.stream()
    dispatch = stream.dispatch

    def fail_once(event: Any, arg: Any = None) -> Any:
        if event == "ConsumerAttached":
            stream.dispatch = dispatch  # type: ignore[method-assign]
            raise ZeroDivisionError
        return dispatch(event, arg)

    stream.dispatch = fail_once  # type: ignore[method-assign]
    answer = rig.attach(1)
    assert answer.code is ResponseCode.OK
    (notice,) = rig.heard(ShmLeaseRevoked)
    assert (notice.lease_id, notice.error_message) == (answer.lease_id, "internal error")
    assert len(rig.snapshot().leases) == 1
    assert rig.metrics["handler_errors"] == 1


def test_D_064_a_producer_that_never_got_its_seat_ends_without_an_epoch() -> None:
    rig = Rig()
    rig.granted(9)
    stream = rig.stream()
    dispatch = stream.dispatch

    def fail_once(event: Any, arg: Any = None) -> Any:
        if event == "ProducerAttached":
            stream.dispatch = dispatch  # type: ignore[method-assign]
            raise ZeroDivisionError
        return dispatch(event, arg)

    stream.dispatch = fail_once  # type: ignore[method-assign]
    for client in (1, 2):  # the second takes the seat before the first is revoked
        rig.say(rig.request(client_id=client, role=Role.PRODUCER))
    rig.settle()
    _, first, second = rig.heard(ShmAttachResponse)
    assert second.code is ResponseCode.OK
    assert [n.lease_id for n in rig.heard(ShmLeaseRevoked)] == [first.lease_id]
    assert stream.producer is not None
    assert stream.producer.client_id == 2
    assert stream.epoch == second.epoch
    assert rig.metrics["stream_unhandled"] == 0


@pytest.mark.parametrize("kind", [ShmLeaseRevoked, ShmPoolAnnounce, ShmDetachResponse])
def test_D_064_a_lease_ends_although_its_messages_cannot_be_sent(kind: type) -> None:
    rig = Rig()
    lease = rig.granted(1, Role.PRODUCER)
    rig.granted(2)
    publication, _beacon = rig.driver._endpoints._publications
    offer = publication.offer

    def fail(message: bytes | bytearray) -> Any:
        if isinstance(decode(bytes(message)), kind):
            raise ZeroDivisionError
        return offer(message)

    publication.offer = fail  # type: ignore[method-assign]
    rig.say(ShmDetachRequest(1, lease.lease_id, STREAM, 1, Role.PRODUCER))
    rig.settle()
    assert rig.metrics["handler_errors"] == 1
    assert [left.client_id for left in rig.snapshot().leases] == [2]
    del publication.offer
    assert rig.granted(3, Role.PRODUCER).epoch > lease.epoch


def test_D_064_an_answer_that_cannot_be_sent_is_replaced_by_a_refusal() -> None:
    rig = Rig()
    before = rig.snapshot()
    publication, _beacon = rig.driver._endpoints._publications
    offer = publication.offer

    def fail_once(message: bytes | bytearray) -> Any:
        publication.offer = offer  # type: ignore[method-assign]
        raise ZeroDivisionError

    publication.offer = fail_once  # type: ignore[method-assign]
    assert rig.attach(1).error_message == "internal error"
    assert rig.snapshot().leases == before.leases


def other_announce(stream_id: int, epoch: int) -> ShmPoolAnnounce:
    pool = PayloadPool(1, 8, 64, "shm:file?path=/x/1.pool")
    uri = "shm:file?path=/x/header.ring"
    return ShmPoolAnnounce(stream_id, 1, epoch, 5, ClockDomain.MONOTONIC, 1, 8, 256, (pool,), uri)


def test_D_006_announce_of_another_driver_is_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """D-006, D-186"""
    rig = Rig()
    lease = rig.granted(1, Role.PRODUCER)
    rig.detach(lease, 1, Role.PRODUCER)
    rig.run(SECOND)
    assert rig.metrics["foreign_announces"] == 0
    before = rig.snapshot()
    caplog.clear()
    for epoch in (lease.epoch - 1, lease.epoch + 10**15):
        rig.say(other_announce(STREAM, epoch))
        rig.cycle()
    rig.say(other_announce(4, 1))
    rig.cycle()
    assert rig.metrics["foreign_announces"] == 2
    assert rig.snapshot() == before
    assert [r.levelname for r in caplog.records] == ["ERROR"]


def test_D_006_our_own_announces_are_never_taken_for_anothers() -> None:
    rig = Rig()
    for client in range(1, 100):
        rig.say(rig.request(client_id=client, role=Role.PRODUCER))
        rig.cycle()
        lease = rig.heard(ShmAttachResponse)[-1]
        rig.say(ShmDetachRequest(1, lease.lease_id, STREAM, client, Role.PRODUCER))
        rig.cycle()
    first = rig.heard(ShmPoolAnnounce)[0]
    rig.settle()
    rig.say(first)  # an echo that comes very late
    rig.cycle()
    assert rig.metrics["foreign_announces"] == 0


def test_D_006_late_echoes_of_a_removed_stream_are_our_own() -> None:
    """D-006, D-165"""
    rig = Rig(
        make_config(
            driver={"stream_id_range": IdRange(20000, 20000)},
            policies={"allow_dynamic_streams": True},
        )
    )
    lease = rig.granted(1, Role.PRODUCER, stream_id=0)
    rig.detach(lease, 1, Role.PRODUCER)
    echoes = rig.heard(ShmPoolAnnounce)
    rig.granted(2, stream_id=0)
    for echo in echoes:
        rig.say(echo)
    rig.settle()
    assert rig.metrics["foreign_announces"] == 0


def test_D_060_noise_changes_nothing() -> None:
    """D-060, D-186: random and mutated messages in numbers; `benchmarks/fuzz` has more of them."""
    rig = Rig(make_config(policies={"shutdown_token": "secret"}))
    lease = rig.granted(1)
    rng = random.Random(3)
    own = ShmLeaseRevoked(1, 2, 3, 4, Role.CONSUMER, LeaseRevokeReason.EXPIRED)
    config = ConsumerConfig(STREAM, 1, True, Mode.STREAM)
    seeds = [encode(message) for message in (HELLO, KEEPALIVE, DETACH, WRONG_STOP, own, config)]
    view = rig.driver._adapter.on_fragment
    before = rig.snapshot()
    for _ in range(20_000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 6)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        del data[rng.randrange(1, len(data) + 20) :]
        view(memoryview(bytes(data)))
        view(memoryview(rng.randbytes(rng.randrange(80))))
    assert rig.metrics["handler_errors"] == 0
    after = rig.snapshot()
    assert after.streams == before.streams
    assert [lease.lease_id for lease in after.leases] == [lease.lease_id]
    assert rig.driver.state == "Serving.Running.Normal"


def test_D_194_warnings_come_once_a_second_and_cause(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    caplog.clear()
    for _ in range(200):
        for _ in range(5):
            rig.say(b"junk")
            rig.say(with_header(KEEPALIVE, version=2))
        rig.clock.advance(10 * MS)
        rig.cycle()
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert 2 <= len(warnings) <= 6
    assert {r.cause for r in warnings} == {"malformed", "unsupported_version"}


def test_D_194_refusal_is_logged_with_what_would_have_succeeded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig()
    rig.attach(7, expected_layout_version=4)
    (record,) = [r for r in caplog.records if "refused" in r.getMessage()]
    text = record.getMessage()
    for part in ("layout_version mismatch", "7", str(STREAM), "expected 4", "is 1", "0 accepts"):
        assert part in text


def test_D_194_a_client_that_retries_without_a_pause_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig()
    for _ in range(100):
        rig.attach(0)
    assert len([r for r in caplog.records if "refused" in r.getMessage()]) == 20
    rig.clock.advance(SECOND)
    rig.attach(0)
    assert caplog.records[-1].left_out == 80
    assert rig.metrics["attach_refused_invalid_params"] == 101


def test_D_194_grants_ends_and_refusals_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig()
    lease = rig.granted(1)
    rig.detach(lease, 1, Role.CONSUMER)
    text = "\n".join(r.getMessage() for r in caplog.records)
    assert f"lease {lease.lease_id} granted" in text
    assert f"lease {lease.lease_id} of client 1" in text
    assert f"stream {STREAM} has epoch {lease.epoch}" in text


def test_D_016_a_hello_of_several_fragments_is_handled_once() -> None:
    rig = Rig()
    rig.granted(1)
    long = "aeron:ipc?" + "a" * 3000
    answer = rig.hello(1, descriptor_channel=long, descriptor_stream_id=4)
    assert answer is not None
    assert rig.metrics["hello_received"] == 1


def test_D_002_driver_uses_sessions_of_its_own() -> None:
    rig = Rig()
    sessions = {p.session_id for p in rig.driver._endpoints._publications}
    assert rig.mouth.session_id not in sessions


def test_unknown_shutdown_has_no_effect() -> None:
    """D-062"""
    rig = Rig()
    rig.say(ShmDriverShutdown(1, ShutdownReason.ERROR))
    rig.cycle()
    assert rig.driver.state == "Serving.Running.Normal"
