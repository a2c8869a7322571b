"""Checks of a producer's other messages: private streams, progress, metadata, QoS."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from tensor_pool.protocol.wire import (
    DataSourceAnnounce,
    DataSourceMeta,
    FrameDescriptor,
    FrameProgress,
    LeaseRevokeReason,
    Message,
    QosProducer,
)

from .check import Check, check, want
from .grants import make_unusual
from .producer_world import FakeConsumer, ProducerWorld

__all__ = ["GRANTED_CHECKS", "STREAM_CHECKS"]

GRANTED_CHECKS: list[Check[ProducerWorld]] = []
STREAM_CHECKS: list[Check[ProducerWorld]] = []
_CHANNEL = "aeron:ipc?term-length=64k"


@check(
    GRANTED_CHECKS,
    "W-054 W-010 W-017 W-133 W-055 W-012",
    "odd but right regions are used: other names, longer, null slotBytes, stale, strides of 640",
)
def unusual_regions(world: ProducerWorld) -> None:
    world.lease()
    with world.granting(prepare=make_unusual, names="region-{}"):
        world.fresh()
        world.frames(3)
    world.fresh()


def _on(world: ProducerWorld, number: int, mark: int) -> list[FrameDescriptor]:
    """Descriptors on a private stream since a mark."""
    return [
        message
        for _, heard, message in world.since(mark, FrameDescriptor)
        if heard.stream_id == number
    ]


def _given(world: ProducerWorld, consumer: FakeConsumer, *, control: bool = False) -> int:
    """Wait until the stand-in has assigned a stream, and listen to it."""
    lease = consumer.lease
    world.until(lambda: lease.controls if control else lease.descriptors)
    number = lease.controls if control else lease.descriptors
    world.need(number, "the stand-in gave no stream")
    world.bus.listen(_CHANNEL, number)
    return number


_ASKS = {"descriptor_channel": _CHANNEL, "descriptor_stream_id": 31_001}


@check(
    STREAM_CHECKS,
    "W-165 W-162 W-163",
    "a stream that is assigned to a consumer carries every descriptor, and so does the shared one",
)
def private_descriptors(world: ProducerWorld) -> None:
    world.frames(1)
    with world.consumer(**_ASKS) as consumer:
        number = _given(world, consumer)
        mark = world.mark
        came = world.until(lambda: len(_on(world, number, mark)) >= 20, 3 * world.patience_s)
        want(came, f"{len(_on(world, number, mark))} descriptors on the assigned stream {number}")
        private = [one.seq for one in _on(world, number, mark)]
        want(
            private == list(range(private[0], private[0] + len(private))),
            f"sequences on the assigned stream: {private[:30]}",
        )
        shared = {one.seq for one in world.seen}
        missing = [seq for seq in private[:-3] if seq not in shared]
        want(not missing, f"frames {missing[:5]} are not on the shared stream")


@check(STREAM_CHECKS, "W-167", "repeated hellos and ConsumerConfigs reopen no publication")
def no_reopening(world: ProducerWorld) -> None:
    world.frames(1)
    start = world.mark
    with world.consumer(**_ASKS) as consumer:
        number = _given(world, consumer)
        world.need(
            world.until(lambda: _on(world, number, start), world.patience_s),
            "it publishes nothing on assigned streams",
        )
        for _ in range(20):
            world.send(consumer.hello)
            world.run_for(0.01)
        mark = world.mark
        world.until(lambda: len(_on(world, number, mark)) >= 5)
        sessions = {
            heard.session_id
            for _, heard, _ in world.since(start, FrameDescriptor)
            if heard.stream_id == number
        }
        want(len(sessions) == 1, f"{len(sessions)} publications for one assigned stream")


@check(STREAM_CHECKS, "W-166", "an assigned stream ends when the consumer withdraws its request")
def withdrawal(world: ProducerWorld) -> None:
    _ends(world, lambda one: world.send(_plain(one)), 1.0)


@check(STREAM_CHECKS, "W-166", "an assigned stream ends with the lease of its consumer")
def consumer_lease_end(world: ProducerWorld) -> None:
    _ends(
        world,
        lambda one: world.driver.end(one.lease, LeaseRevokeReason.EXPIRED, "conformance"),
        1.0,
    )


@check(
    STREAM_CHECKS,
    "W-166 W-211 W-200",
    "an assigned stream ends when its consumer is silent for five intervals",
)
def stale_consumer(world: ProducerWorld) -> None:
    _ends(world, lambda _: None, 8 * world.period_s)


def _plain(consumer: FakeConsumer) -> Message:
    return msgspec.structs.replace(consumer.hello, descriptor_channel="", descriptor_stream_id=0)


def _ends(world: ProducerWorld, end: Callable[[FakeConsumer], None], within_s: float) -> None:
    world.frames(1)
    start = world.mark
    with world.consumer(**_ASKS) as consumer:
        number = _given(world, consumer)
        world.need(
            world.until(lambda: _on(world, number, start), world.patience_s),
            "it publishes nothing on assigned streams",
        )
        end(consumer)
        world.run_for(within_s)
        mark, shared = world.mark, len(world.seen)
        world.until(lambda: len(world.seen) >= shared + 5)
        left = len(_on(world, number, mark))
        want(not left, f"{left} descriptors on the stream {within_s:g} s after its end")


@check(STREAM_CHECKS, "W-170", "a rate cap holds on the assigned stream, not on the shared one")
def rate_cap(world: ProducerWorld) -> None:
    place, begin = len(world.seen), time.monotonic()
    world.frames(30)
    rate = (len(world.seen) - place) / (time.monotonic() - begin)
    cap = int(rate / 3)
    world.need(cap >= 5, f"{rate:.0f} frames a second are too few to look at a cap")
    start = world.mark
    with world.consumer(**_ASKS, max_rate_hz=cap) as consumer:
        number = _given(world, consumer)
        world.need(
            world.until(lambda: _on(world, number, start), world.patience_s),
            "it publishes nothing on assigned streams",
        )
        world.send(consumer.hello)
        world.run_for(0.3)
        mark, place, begin = world.mark, len(world.seen), time.monotonic()
        world.run_for(1.5)
        seconds = time.monotonic() - begin
        private, shared = len(_on(world, number, mark)), len(world.seen) - place
        want(
            private <= cap * seconds + 2,
            f"{private} descriptors in {seconds:.2f} s with a cap of {cap} a second",
        )
        want(shared > 1.5 * private, f"{shared} on the shared stream, {private} on the capped one")


@check(
    STREAM_CHECKS, "W-165 W-183 W-098", "a private control stream carries nothing but FrameProgress"
)
def private_control(world: ProducerWorld) -> None:
    world.frames(1)
    asks = {"control_channel": _CHANNEL, "control_stream_id": 32_001}
    with world.consumer(**asks, supports_progress=True) as consumer:
        number = _given(world, consumer, control=True)
        mark = world.mark
        world.run_for(world.period_s)
        others = {
            type(one.message).__name__
            for one in world.bus.heard[mark:]
            if one.stream_id == number and not isinstance(one.message, FrameProgress)
        }
        want(not others, f"it sent {', '.join(others)}")
        world.bus.ignore(_CHANNEL, number)
        consumer.lease.controls = 0


@check(STREAM_CHECKS, "W-180", "no FrameProgress is sent unless a consumer asks for it")
def unwanted_progress(world: ProducerWorld) -> None:
    world.run_for(6 * world.period_s)  # consumers that asked for it are stale
    mark = world.mark
    world.frames(20)
    want(not world.since(mark, FrameProgress), "FrameProgress came without an interested consumer")


@check(
    STREAM_CHECKS,
    "W-190 W-191 W-192 W-193",
    "announce and attributes of the source have one version, come in order and again",
)
def metadata(world: ProducerWorld) -> None:
    world.lease()
    mark = world.mark
    world.until(lambda: world.since(mark, DataSourceMeta), 2 * world.period_s)
    announces = world.since(0, DataSourceAnnounce, lambda one: one.stream_id == world.stream_id)
    metas = world.since(0, DataSourceMeta, lambda one: one.stream_id == world.stream_id)
    world.need(announces or metas, "it sends no metadata")
    want(announces and metas, "announce and attributes do not both come")
    want(announces[0][0] < metas[0][0], "attributes came before the announce")
    versions: dict[int, int] = {}
    for _, _, one in announces:
        last = versions.get(one.epoch, 0)
        want(one.meta_version >= last, f"metaVersion went from {last} to {one.meta_version}")
        versions[one.epoch] = one.meta_version
    for _, _, meta in metas:
        keys = [attribute.key for attribute in meta.attributes]
        want(len(keys) == len(set(keys)), f"keys repeat: {keys}")
    world.run_for(1.3 * world.period_s)
    again = world.since(mark, DataSourceMeta)
    want(again, "metadata is not repeated every announce period")


@check(STREAM_CHECKS, "W-200 W-202", "QosProducer comes every interval, with epoch and sequence")
def qos(world: ProducerWorld) -> None:
    lease = world.lease()
    world.frames(1)
    world.run_for(0.1)
    mark = world.mark
    world.run_for(2.5 * world.period_s)
    found = world.since(mark, QosProducer, lambda one: one.stream_id == world.stream_id)
    want(len(found) >= 2, f"{len(found)} QosProducer in 2.5 intervals of {world.period_s:g} s")
    for place, _, one in found:
        want(one.producer_id == lease.client_id, f"producerId is {one.producer_id}")
        want(one.epoch == world.driver.epoch, f"epoch is {one.epoch}")
        seqs = [message.seq for _, _, message in world.since(mark, FrameDescriptor)]
        near = min((abs(one.current_seq - seq) for seq in seqs), default=0)
        want(near < 10_000, f"currentSeq is {one.current_seq} at place {place}")


@check(STREAM_CHECKS, "D-085 W-212", "when it ends in order it detaches its lease")
def detach(world: ProducerWorld) -> None:
    world.ended_by_detach()
