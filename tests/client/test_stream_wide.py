"""One descriptor stream for all consumers of a tensor stream (C-098, W-164, D-168)."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from tensor_pool.client import Consumer
from tensor_pool.client.producer.results import PublishStatus
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    ConsumerConfig,
    ConsumerHello,
    FrameDescriptor,
    Mode,
    ShmAttachResponse,
)
from tensor_pool.protocol.wire.stream_pairs import STREAM_WIDE_ID, STREAM_WIDE_TOKEN
from tests.client.fake_driver import CHANNEL
from tests.client.world import STREAM, World

SHARED = 1100
WIDE = 2_000_000_000
DATA = np.zeros(4, np.uint8)


def assign_wide(hello: ConsumerHello) -> ConsumerConfig:
    return ConsumerConfig(
        hello.stream_id,
        hello.consumer_id,
        use_shm=True,
        mode=Mode.STREAM,
        descriptor_stream_id=WIDE,
        descriptor_channel=CHANNEL,
    )


def for_producer() -> ConsumerConfig:
    return ConsumerConfig(
        STREAM,
        STREAM_WIDE_ID,
        use_shm=True,
        mode=Mode.STREAM,
        descriptor_stream_id=WIDE,
        descriptor_channel=CHANNEL,
    )


@pytest.fixture
def wide(world: World) -> World:
    """A world whose driver assigns stream-wide descriptor streams."""
    world.driver.assigns = assign_wide

    def before_the_grant(response: ShmAttachResponse) -> ShmAttachResponse:
        lease = world.driver.leases[response.lease_id]
        if lease.role.name == "PRODUCER":
            world.driver.send(for_producer())
        return response

    world.driver.change_response = before_the_grant
    return world


def frames(consumer: Consumer) -> list[int]:
    return [frame.seq for frame in iter(consumer.poll, None)]


def subscribed(world: World, stream_id: int) -> int:
    """Subscriptions of the clients to a transport stream."""
    return sum(
        endpoint.stream_id == stream_id
        for client in world.clients
        for endpoint in client._conductor.transport._endpoints  # type: ignore[attr-defined]
        if hasattr(endpoint, "poll") and not endpoint.released
    )


def test_C_098_consumers_read_the_stream_wide_one_and_none_the_shared_one(wide: World) -> None:
    producer, one = wide.pair()
    two = wide.client().consumer(STREAM)
    assert wide.driver.hellos[0].descriptor_stream_id == STREAM_WIDE_TOKEN
    assert (subscribed(wide, SHARED), subscribed(wide, WIDE)) == (0, 2)
    for _ in range(3):
        assert producer.publish(DATA)
    assert frames(one) == frames(two) == [0, 1, 2]
    assert producer.metrics()["private_streams_opened"] == 1
    assert producer.metrics()["descriptor_not_connected"] == 0
    assert not one.uses_private_stream


def test_C_071_a_frame_that_the_wide_stream_refuses_is_not_published(wide: World) -> None:
    """C-071, C-085: the shared stream, which has no subscriber, does not make it so."""
    client = wide.client("camera")
    producer = client.producer(STREAM)
    consumer = wide.client().consumer(STREAM)
    wide.run(0.05)
    assert producer.publish(DATA)
    full = Faults(offer_result=OfferResult.BACK_PRESSURED)
    wide.network.set_faults(full, transport="camera", stream_id=WIDE)
    assert producer.publish(DATA).status is PublishStatus.BACK_PRESSURED
    statuses = producer.publish_many(np.zeros((3, 4), np.uint8)).statuses
    assert statuses == [PublishStatus.BACK_PRESSURED] * 3
    wide.network.set_faults(Faults(), transport="camera", stream_id=WIDE)
    assert producer.publish(DATA)
    metrics = producer.metrics()
    assert metrics["descriptor_backpressured"] == 4
    assert metrics["descriptor_not_connected"] == 0
    assert metrics["frames_published"] == 2
    assert frames(consumer) == [0, 5]


def test_C_083_the_first_frame_of_a_new_producer_reaches_every_consumer(wide: World) -> None:
    """The driver names the stream to the producer before it grants the lease."""
    client = wide.client()
    first = client.producer(STREAM)
    consumer = client.consumer(STREAM)
    first.close()
    second = wide.client().producer(STREAM)
    while consumer.state != "Mapped" or consumer._receiver.state.epoch != second._state.epoch:  # type: ignore[union-attr]
        client.do_work()
        wide.idle()
    assert second.publish(DATA)
    assert frames(consumer) == [0]


def test_W_165_the_shared_stream_carries_the_descriptors_too(wide: World) -> None:
    heard = wide.listen(SHARED)
    producer, consumer = wide.pair()
    assert producer.publish(DATA)
    wide.run(0.02)
    assert [m.seq for m in heard if isinstance(m, FrameDescriptor)] == frames(consumer) == [0]


def test_W_164_a_producer_that_serves_the_shared_stream_only_is_received_there(wide: World) -> None:
    """As one of another implementation; the consumer comes back when the assigned one is served."""
    producer, consumer = wide.pair()
    book = producer._attachment.consumers
    book.clear()  # it forgets what it was assigned

    def until_received(what: Any) -> list[int]:
        got: list[int] = []
        for _ in range(100):
            what()
            wide.run(0.02)
            got += frames(consumer)
            if got:
                return got
        raise AssertionError("no frame")

    assert until_received(lambda: producer.publish(DATA))
    assert subscribed(wide, SHARED) == 1
    sent = producer._state.next_seq  # type: ignore[union-attr]
    wide.driver.send(for_producer())
    wide.run(0.1)
    for _ in range(3):
        producer.publish(DATA)
    assert frames(consumer) == [sent, sent + 1, sent + 2]
    wide.run(0.1)
    assert subscribed(wide, SHARED) == 0


def test_C_098_without_an_answer_the_shared_stream_is_read(world: World) -> None:
    world.driver.assigns = None
    producer, consumer = world.pair()
    assert subscribed(world, SHARED) == 1
    assert producer.publish(DATA)
    assert frames(consumer) == [0]


def test_C_083_a_private_reader_has_its_own_publication_beside_the_wide_one(wide: World) -> None:
    producer, one = wide.pair()
    two = wide.client().begin_attach_consumer(STREAM, descriptor_channel="aeron:ipc", max_rate_hz=1)
    wide.run(0.05)
    wide.driver.send(
        ConsumerConfig(
            STREAM,
            two.client_id,
            use_shm=True,
            mode=Mode.STREAM,
            descriptor_stream_id=31_001,
            descriptor_channel="aeron:ipc",
        )
    )
    wide.run(0.05)
    assert two.uses_private_stream
    for _ in range(5):
        producer.publish(DATA)
    assert (frames(one), frames(two)) == ([0, 1, 2, 3, 4], [0])


def test_W_106_a_later_consumer_counts_nothing_from_before_it_joined(wide: World) -> None:
    """The transport gives it what a slower subscriber has not read yet."""
    producer, _ = wide.pair()
    for _ in range(20):  # the ring has 8 slots
        producer.publish(DATA)
    late = wide.client().consumer(STREAM)
    epoch = wide.driver.streams[STREAM].epoch
    for seq in range(20):
        wide.say(WIDE, FrameDescriptor(stream_id=STREAM, epoch=epoch, seq=seq))
    producer.publish(DATA)
    assert frames(late) + frames(late) + frames(late) == [20]
    lost = {k: v for k, v in late.metrics().items() if k.startswith(("drops", "late", "missed"))}
    assert not any(lost.values()), lost


def test_W_106_what_is_published_between_joining_and_the_first_frame_counts(wide: World) -> None:
    producer, consumer = wide.pair()
    state = consumer._receiver.state
    assert state is not None
    assert state.joined_at == -1
    book = producer._attachment.consumers
    private = book.descriptors.pop((CHANNEL, WIDE))
    book._on_change()
    for _ in range(3):
        producer.publish(DATA)  # reaches no consumer
    book.descriptors[CHANNEL, WIDE] = private
    book._on_change()
    producer.publish(DATA)
    assert frames(consumer) == [3]
    assert consumer.metrics()["drops_gap"] == 3


def until_mapped(world: World, consumer: Consumer) -> None:
    """Until its next lease is granted and mapped."""
    for _ in range(100):
        world.run(0.05)
        if consumer.state == "Mapped":
            return
    raise AssertionError(consumer.state)


def restart_driver(world: World, answer: Any) -> None:
    """As another driver at the same place: leases are void, epochs end, streams get other ids."""
    world.driver.assigns = answer
    for lease in list(world.driver.leases.values()):
        world.driver.revoke(lease)


def to_another_id(hello: ConsumerHello) -> ConsumerConfig:
    return msgspec.structs.replace(assign_wide(hello), descriptor_stream_id=WIDE + 1)


def test_C_098_an_assignment_ends_with_its_lease_until_the_driver_repeats_it(wide: World) -> None:
    """The next driver may have given the number to another tensor stream."""
    producer, consumer = wide.pair()
    restart_driver(wide, None)
    until_mapped(wide, consumer)
    assert not consumer.poll_ready()
    wide.driver.received.clear()
    wide.run(0.3)
    reports = [r for r in wide.driver.reports if r.consumer_id == consumer.client_id]
    assert {report.epoch for report in reports} <= {0}
    wide.driver.assigns = to_another_id
    wide.run(1.5)
    assert consumer.poll_ready()
    assert not frames(consumer)
    assert (subscribed(wide, WIDE), subscribed(wide, WIDE + 1)) == (0, 1)
    wide.driver.send(msgspec.structs.replace(for_producer(), descriptor_stream_id=WIDE + 1))
    wide.run(0.05)
    sent = producer._state.next_seq  # type: ignore[union-attr]
    assert producer.publish(DATA)
    assert frames(consumer) == [sent]


def test_C_098_the_former_assignment_is_left_for_the_shared_stream_without_an_answer(
    wide: World,
) -> None:
    """Although the former stream has a publisher: that of another tensor stream."""
    producer, consumer = wide.pair()
    restart_driver(wide, None)
    wide.driver.change_response = lambda response: response
    wide.say(WIDE, FrameDescriptor(stream_id=STREAM + 1, epoch=1, seq=0))
    until_mapped(wide, consumer)
    assert subscribed(wide, SHARED) == 0
    wide.run(1.5)
    assert consumer.poll_ready()
    assert not frames(consumer)
    assert (subscribed(wide, SHARED), subscribed(wide, WIDE)) == (1, 0)
    sent = producer._state.next_seq  # type: ignore[union-attr]
    assert producer.publish(DATA)
    assert frames(consumer)[-1:] == [sent]


def test_C_098_a_lease_granted_again_by_the_same_driver_misses_no_frame(wide: World) -> None:
    producer, consumer = wide.pair()
    wide.driver.assigns = None
    wide.driver.revoke(wide.driver.lease_of(consumer.client_id))
    until_mapped(wide, consumer)
    for _ in range(3):
        producer.publish(DATA)
    wide.driver.assigns = assign_wide
    wide.driver.send(assign_wide(wide.driver.hellos[-1]))
    wide.run(0.05)
    assert consumer.poll_ready()
    assert frames(consumer) == [0, 1, 2]
    assert subscribed(wide, WIDE) == 1
