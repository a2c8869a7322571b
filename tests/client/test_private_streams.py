"""Per-consumer streams, on both sides (C-083, C-098, C-099, §14 and §15 of the wire reference)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from tensor_pool.client.consumer.frame import Frame
from tensor_pool.client.consumer.options import ConsumerOptions
from tensor_pool.client.consumer.private_streams import NO_STREAM
from tensor_pool.client.producer.known_consumers import AssignedDescriptors
from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    FrameDescriptor,
    Mode,
    QosConsumer,
)
from tensor_pool.protocol.wire.stream_pairs import STREAM_WIDE_TOKEN
from tests.client.fake_driver import CHANNEL
from tests.client.world import STREAM, S, World

IPC = "aeron:ipc"
DATA = np.arange(4, dtype=np.uint8)


def config(consumer_id: int, **fields: Any) -> ConsumerConfig:
    fields.setdefault("use_shm", True)
    fields.setdefault("mode", Mode.STREAM)
    return ConsumerConfig(stream_id=STREAM, consumer_id=consumer_id, **fields)


def hello(consumer_id: int, **fields: Any) -> ConsumerHello:
    plain: dict[str, Any] = {
        "supports_shm": True,
        "supports_progress": False,
        "mode": Mode.STREAM,
        "max_rate_hz": 0,
        "expected_layout_version": 1,
    }
    return ConsumerHello(stream_id=STREAM, consumer_id=consumer_id, **plain | fields)


def assign(world: World, consumer_id: int, number: int = 31001, **fields: Any) -> None:
    world.driver.send(
        config(consumer_id, descriptor_channel=IPC, descriptor_stream_id=number, **fields)
    )
    world.run(0.02)


def descriptors(world: World, number: int) -> list[int]:
    return [m.seq for m in world.hear(number) if isinstance(m, FrameDescriptor)]


def frames(consumer: Any) -> list[int]:
    return [f.seq for f in iter(consumer.poll, None)]


# The consumer's side


@pytest.mark.parametrize("descriptor", ["", IPC])
@pytest.mark.parametrize("control", ["", IPC])
def test_W_160_each_half_is_asked_for_by_itself(
    world: World, descriptor: str, control: str
) -> None:
    """W-160, C-098: the four combinations; the token comes from the client id unless given."""
    consumer = world.client().consumer(
        STREAM, descriptor_channel=descriptor, control_channel=control
    )
    world.run(0.05)
    sent = world.driver.hellos[0]
    own = consumer.client_id % 1000
    wanted = (descriptor, 31_000 + own) if descriptor else (CHANNEL, STREAM_WIDE_TOKEN)
    assert (sent.descriptor_channel, sent.descriptor_stream_id) == wanted
    assert (sent.control_channel, sent.control_stream_id) == (
        control,
        32_000 + own if control else 0,
    )


def test_C_098_an_assigned_descriptor_stream_replaces_the_shared_one(world: World) -> None:
    """C-098, W-163, W-164: the assigned number is used, each frame is delivered once."""
    producer, consumer = world.pair(descriptor_channel=IPC, descriptor_token=2300)
    assert producer.publish(DATA)
    assign(world, consumer.client_id)
    assert consumer.uses_private_stream
    for _ in range(3):
        producer.publish(DATA)
    assert frames(consumer) == [0, 1, 2, 3]
    producer.publish(DATA)
    assert frames(consumer) == [4]
    assert consumer.metrics()["drops_regression"] == 0
    stream = world.driver.streams[STREAM]
    stream.new_epoch(world.clock.monotonic_ns())
    world.driver.announce(stream)  # announces still arrive
    world.run(0.02)
    assert consumer._attachment.machine.mapping.epoch == stream.epoch


def test_W_164_frames_seen_on_the_old_stream_are_not_delivered_again(world: World) -> None:
    producer, consumer = world.pair(descriptor_channel=IPC)
    private = world._outside().add_publication(IPC, 31001)
    assert private is not None
    for _ in range(3):
        producer.publish(DATA)
    assert frames(consumer) == [0, 1, 2]
    consumer._attachment.on_consumer_config(
        config(consumer.client_id, descriptor_channel=IPC, descriptor_stream_id=31001)
    )
    epoch = world.driver.streams[STREAM].epoch
    producer._connect(None)
    producer.publish(DATA)
    for seq in (1, 2, 3):
        world.say(31001, FrameDescriptor(stream_id=STREAM, epoch=epoch, seq=seq))
    assert frames(consumer) == [3]
    assert consumer.metrics()["drops_duplicate"] == 2
    assert consumer.metrics()["drops_regression"] == 0


def test_M_112_later_hellos_repeat_the_assignment(world: World) -> None:
    """C-098, M-112."""
    consumer = world.client().consumer(STREAM, descriptor_channel=IPC)
    world.run(0.05)
    assign(world, consumer.client_id)
    world.run(1.1)
    sent = world.driver.hellos[-1]
    assert (sent.descriptor_channel, sent.descriptor_stream_id) == (IPC, 31001)


def test_C_098_a_decline_leaves_the_consumer_on_the_shared_stream(world: World) -> None:
    """C-098, W-161."""
    producer, consumer = world.pair(descriptor_channel=IPC)
    world.driver.send(config(consumer.client_id))
    world.run(0.05)
    assert not consumer.uses_private_stream
    producer.publish(DATA)
    assert frames(consumer) == [0]


def test_W_161_a_decline_is_visible(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A counter, the last error, and one line of the log however often hellos are answered."""
    _, consumer = world.pair(descriptor_channel=IPC)
    for _ in range(3):
        world.driver.send(config(consumer.client_id))
        world.run(0.05)
    assert consumer.metrics()["private_streams_declined"] == 1
    text = str(consumer.last_error)
    assert "driver.descriptor_stream_id_range is empty or used up" in text
    assert IPC in text
    assert [record.message for record in caplog.records if "declined" in record.message] == [text]
    assign(world, consumer.client_id)
    assert consumer.uses_private_stream
    assert consumer.metrics()["private_streams_declined"] == 1


def test_C_098_losing_the_lease_reverts_to_the_shared_stream(world: World) -> None:
    producer, consumer = world.pair(descriptor_channel=IPC)
    assign(world, consumer.client_id)
    assert consumer.uses_private_stream
    world.driver.revoke(world.driver.lease_of(consumer.client_id))
    world.run(0.5)
    assert not consumer.uses_private_stream
    producer.publish(DATA)
    assert frames(consumer) == [0]
    assert world.driver.hellos[-1].descriptor_stream_id == 31_000 + consumer.client_id % 1000


@pytest.mark.parametrize(
    "half",
    [
        {"descriptor_channel": IPC},
        {"descriptor_stream_id": 31001},
        {"control_channel": IPC},
        {"control_stream_id": 32001},
        {"descriptor_channel": IPC, "descriptor_stream_id": 0xFFFFFFFF},
    ],
    ids=str,
)
def test_M_120_a_half_set_pair_rejects_the_whole_message(
    world: World, half: dict[str, Any]
) -> None:
    """C-098, M-120: also the part of it that would be good."""
    _, consumer = world.pair(descriptor_channel=IPC)
    world.driver.send(config(consumer.client_id, use_shm=False, mode=Mode.RATE_LIMITED, **half))
    world.run(0.05)
    assert not consumer.uses_private_stream
    assert consumer.state == "Mapped"
    assert consumer.mode is Mode.STREAM
    assert consumer.metrics()["bad_message"] == 1


def test_M_120_configs_for_others_are_ignored(world: World) -> None:
    """M-120, W-203: obeyed by the addressed consumer only."""
    _, consumer = world.pair(descriptor_channel=IPC)
    assign(world, consumer.client_id + 1)
    assert not consumer.uses_private_stream


def test_W_167_repeated_configs_and_hellos_reopen_nothing(world: World) -> None:
    producer, consumer = world.pair(descriptor_channel=IPC)
    for _ in range(100):
        assign(world, consumer.client_id)
    first = consumer._receiver.subscription
    assert producer.metrics()["private_streams_opened"] == 1
    for _ in range(100):
        world.say(1000, hello(555, descriptor_channel=IPC, descriptor_stream_id=9))
        world.run(0.001, step_ms=1)
    assign(world, consumer.client_id)
    assert consumer._receiver.subscription is first
    assert producer.metrics()["private_streams_opened"] == 1


def test_W_166_a_consumer_that_withdraws_moves_back_before_its_hello(world: World) -> None:
    """C-083, W-166."""
    producer, consumer = world.pair(descriptor_channel=IPC)
    assign(world, consumer.client_id)
    consumer.ask_for(ConsumerOptions())
    consumer._client.do_work()
    assert not consumer.uses_private_stream
    world.run(0.05)
    assert world.driver.hellos[-1].descriptor_stream_id == STREAM_WIDE_TOKEN
    assert producer.metrics()["private_streams_closed"] == 1
    producer.publish(DATA)
    assert frames(consumer) == [0]


def test_C_099_use_shm_false_goes_to_the_fallback_and_true_comes_back(world: World) -> None:
    """C-099, W-141."""
    told: list[str] = []
    producer, consumer = world.pair(on_fallback=told.append)
    world.driver.assigns = None  # a supervisor does
    uri = "aeron:udp?endpoint=127.0.0.1:5000"
    world.driver.send(config(consumer.client_id, use_shm=False, payload_fallback_uri=uri))
    world.run(1.5)
    assert told == [uri]
    assert (consumer.mapping_state, consumer.fallback_uri) == ("FALLBACK", uri)
    assert consumer.state == "Unmapped"
    producer.publish(DATA)
    assert consumer.poll() is None
    assert consumer.metrics()["drops_unmapped"] == 1
    world.driver.send(config(consumer.client_id))
    world.run(1.1)
    assert consumer.mapping_state == "MAPPED"


@pytest.mark.parametrize("uri", ["", "bad:scheme", "http://x"])
def test_M_121_an_unknown_fallback_scheme_counts_as_none(world: World, uri: str) -> None:
    """C-099, M-121, W-141."""
    told: list[str] = []
    _, consumer = world.pair(on_fallback=told.append)
    world.driver.send(
        config(
            consumer.client_id,
            use_shm=False,
            payload_fallback_uri=uri,
            mode=Mode.RATE_LIMITED,
        )
    )
    world.run(0.05)
    assert told == [""]
    assert consumer.mapping_state == "UNMAPPED"
    assert consumer.mode is Mode.RATE_LIMITED  # the rest of the message is applied


def test_W_132_a_failing_map_goes_to_the_fallback_where_there_is_one(world: World) -> None:
    """W-132, W-141."""
    told: list[str] = []
    _, consumer = world.pair(on_fallback=told.append)
    uri = "bridge://other"
    world.driver.send(config(consumer.client_id, payload_fallback_uri=uri))
    stream = world.driver.streams[STREAM]
    stream.new_epoch(world.clock.monotonic_ns())
    stream.poke(2, 0, b"\0")
    world.driver.announce(stream)
    world.run(0.02)
    assert told == [uri]
    assert consumer.mapping_state == "FALLBACK"
    stream.poke(2, 0, b"\x31")
    world.run(3)
    assert consumer.mapping_state == "MAPPED"


# The producer's side


def test_C_083_a_producer_publishes_where_the_driver_assigns_and_answers_no_hello(
    world: World,
) -> None:
    """C-083, W-162, W-165: every frame to the shared stream and to each private one."""
    producer = world.client().producer(STREAM)
    said = world.listen(1000)
    for number in (1100, 31001):
        world.listen(number)
    world.say(1000, hello(555, descriptor_channel=IPC, descriptor_stream_id=1))
    world.run(0.02)
    producer.publish(DATA)
    assert descriptors(world, 31001) == []
    assign(world, 555)
    producer.publish(DATA)
    producer.publish(DATA)
    with producer.loan(DATA.shape, DATA.dtype) as loan:
        loan.array[:] = DATA
    assert descriptors(world, 31001) == [1, 2, 3]
    assert descriptors(world, 1100) == [0, 1, 2, 3]
    own = [m for m in said if isinstance(m, ConsumerConfig) and m.consumer_id != 555]
    assert own == []
    assert sum(isinstance(m, ConsumerConfig) for m in said) == 1  # the driver's


def test_C_083_another_assignment_moves_the_publication(world: World) -> None:
    producer = world.client().producer(STREAM)
    for number in (31001, 31002):
        world.listen(number)
    assign(world, 555)
    producer.publish(DATA)
    assign(world, 555, 31002)
    producer.publish(DATA)
    assert descriptors(world, 31001) == [0]
    assert descriptors(world, 31002) == [1]
    metrics = producer.metrics()
    assert (metrics["private_streams_opened"], metrics["private_streams_closed"]) == (2, 1)


def test_C_083_a_decline_or_a_hello_without_request_closes_it(world: World) -> None:
    """C-083, W-161, W-166."""
    producer = world.client().producer(STREAM)
    assign(world, 555)
    world.driver.send(config(555))
    world.run(0.02)
    assert producer.metrics()["private_streams_closed"] == 1
    assign(world, 555)
    world.say(1000, hello(555))
    world.run(0.02)
    assert producer.metrics()["private_streams_closed"] == 2
    assert producer._descriptors.private == ()


def test_W_166_qos_alone_keeps_it_open_and_silence_closes_it(world: World) -> None:
    """C-083, W-166, W-211: five times the longer interval."""
    producer = world.client(hello_interval=0.5, qos_interval=0.4).producer(STREAM)
    world.say(1000, hello(555, descriptor_channel=IPC, descriptor_stream_id=1))
    assign(world, 555)
    report = QosConsumer(
        stream_id=STREAM,
        consumer_id=555,
        epoch=0,
        last_seq_seen=0,
        drops_gap=0,
        drops_late=0,
        mode=Mode.STREAM,
    )
    for _ in range(5):
        world.run(2.0)
        world.say(1200, report)
    world.run(2.0)
    assert len(producer._descriptors.private) == 1
    world.run(1.2)
    assert producer._descriptors.private == ()


def test_C_083_the_end_of_the_consumers_lease_closes_it(world: World) -> None:
    """C-083, W-166."""
    producer, consumer = world.pair(descriptor_channel=IPC)
    assign(world, consumer.client_id)
    assert len(producer._descriptors.private) == 1
    consumer.close()
    world.run(0.02)
    assert producer._descriptors.private == ()
    assert consumer.client_id not in producer._attachment.consumers.entries


def test_C_083_a_stream_that_cannot_be_opened_is_reported_and_nothing_else(world: World) -> None:
    """C-083, C-098, W-164: both sides stay on the shared stream."""
    producer, consumer = world.pair(descriptor_channel=IPC)
    world.driver.send(
        config(
            consumer.client_id,
            descriptor_channel="aeron:ipc?term-length=oops",
            descriptor_stream_id=31001,
        )
    )
    world.run(0.05)
    assert producer.metrics()["private_streams_failed"] == 1
    assert consumer.metrics()["private_streams_failed"] == 1
    producer.publish(DATA)
    assert frames(consumer) == [0]


def test_a_stream_that_is_refused_again_and_again_is_logged_once_a_loss(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """While the media driver is away every look for a stream fails, several times a second."""
    _, consumer = world.pair()
    attachment = consumer._attachment
    refused = TransportError("the media driver is gone")
    for losses in (1, 2):
        for _ in range(3):
            attachment._refuse_stream(NO_STREAM, refused)
        assert caplog.text.count("shared stream cannot be subscribed") == losses
        attachment.lose_transport()
    assert consumer.metrics()["private_streams_failed"] == 6


def test_W_170_a_rate_caps_the_private_stream_and_not_the_shared_one(world: World) -> None:
    """C-083, W-170: 10 Hz of 100 frames a second; the first is always sent."""
    producer = world.client().producer(STREAM)
    world.say(1000, hello(555, descriptor_channel=IPC, descriptor_stream_id=1, max_rate_hz=10))
    for number in (1100, 31001):
        world.listen(number)
    assign(world, 555)
    for _ in range(200):
        producer.publish(DATA)
        world.run(0.01)
    assert len(descriptors(world, 1100)) == 200
    assert len(descriptors(world, 31001)) in range(19, 22)
    assert descriptors(world, 31001)[0] == 0


def test_W_170_a_rate_does_not_cap_the_shared_stream(world: World) -> None:
    producer = world.client().producer(STREAM)
    world.listen(1100)
    world.say(1000, hello(555, max_rate_hz=1))
    world.run(0.02)
    for _ in range(5):
        producer.publish(DATA)
    assert descriptors(world, 1100) == [0, 1, 2, 3, 4]


def test_W_110_gaps_on_a_capped_private_stream_are_intended(world: World) -> None:
    """W-110: neither counted nor a reason to resync."""
    producer, consumer = world.pair(descriptor_channel=IPC, mode=Mode.RATE_LIMITED, max_rate_hz=10)
    assign(world, consumer.client_id, mode=Mode.RATE_LIMITED)
    received = []
    for _ in range(100):
        producer.publish(DATA)
        world.run(0.01)
        received += frames(consumer)
    metrics = consumer.metrics()
    assert len(received) in (10, 11)
    assert (metrics["drops_gap"], metrics["drops_resync"], metrics["drops_rate"]) == (0, 0, 0)


# Rates on the shared stream


def told(world: World, consumer: Any, seq: int, timestamp_ns: int | None) -> int:
    epoch = world.driver.streams[STREAM].epoch
    world.say(
        1100,
        FrameDescriptor(stream_id=STREAM, epoch=epoch, seq=seq, timestamp_ns=timestamp_ns),
    )
    return len(frames(consumer))


def test_W_171_the_gate_goes_by_the_frames_own_times(world: World) -> None:
    """C-096, W-171, W-172: descriptor time first, then the slot's; time that goes back passes."""
    producer, consumer = world.pair(mode=Mode.RATE_LIMITED, max_rate_hz=1000)
    producer._connect(None)
    start = world.clock.monotonic_ns()
    for i in range(7):
        producer.publish(DATA, timestamp_ns=start + i * 500_000)
    assert told(world, consumer, 0, S) == 1
    assert told(world, consumer, 1, S + 500) == 0
    assert told(world, consumer, 2, S + 1_000_000) == 1
    assert told(world, consumer, 3, 5) == 1
    assert told(world, consumer, 4, None) == 1  # the slot's time, far later
    assert told(world, consumer, 5, None) == 0
    assert told(world, consumer, 6, None) == 1
    metrics = consumer.metrics()
    assert (metrics["drops_rate"], metrics["drops_gap"]) == (2, 0)


def test_C_096_a_thousand_a_second_at_a_hundred(world: World) -> None:
    """C-096, W-172: gating causes no gaps."""
    producer, consumer = world.pair(mode=Mode.RATE_LIMITED, max_rate_hz=100)
    received = 0
    for _ in range(500):
        producer.publish(DATA)
        world.clock.advance(1_000_000)
        received += len(frames(consumer))
    assert received in range(49, 52)
    assert consumer.metrics()["drops_rate"] == 500 - received
    assert consumer.metrics()["drops_gap"] == 0


def test_W_173_the_config_overrides_the_mode(world: World) -> None:
    """C-096, W-173: from the next frame on."""
    producer, consumer = world.pair(mode=Mode.STREAM, max_rate_hz=1)
    producer.publish(DATA)
    producer.publish(DATA)
    assert len(frames(consumer)) == 2
    world.driver.send(config(consumer.client_id, mode=Mode.RATE_LIMITED))
    world.run(0.02)
    assert consumer.mode is Mode.RATE_LIMITED
    producer.publish(DATA)
    producer.publish(DATA)
    assert len(frames(consumer)) == 1
    world.driver.send(config(consumer.client_id, mode=Mode.STREAM))
    world.run(0.02)
    producer.publish(DATA)
    producer.publish(DATA)
    assert len(frames(consumer)) == 2


def test_frames_of_a_private_stream_are_ordinary_frames(world: World) -> None:
    producer, consumer = world.pair(descriptor_channel=IPC)
    assign(world, consumer.client_id)
    producer.publish(DATA)
    frame = consumer.poll()
    assert isinstance(frame, Frame)
    assert frame.array.tolist() == DATA.tolist()


def test_W_165_a_private_stream_loses_no_descriptor_when_its_term_is_full() -> None:
    """The transport refuses one offer while it goes on to the next term."""
    results = [OfferResult.ADMIN_ACTION, OfferResult.ADMIN_ACTION, OfferResult.ACCEPTED]

    class Turning:
        def offer(self, _: bytearray) -> OfferResult:
            return results.pop(0)

    stream = AssignedDescriptors(cast("Any", Turning()))
    assert stream.offer(bytearray(48), 0) is OfferResult.ACCEPTED
    assert results == []
