"""Checks of a consumer's hellos, ids and private descriptor streams (section 14)."""

from __future__ import annotations

from tensor_pool.protocol.wire import ConsumerHello, Mode, QosConsumer

from .check import Check, check, want
from .consumer_world import ConsumerWorld

__all__ = ["STREAM_CHECKS"]

STREAM_CHECKS: list[Check[ConsumerWorld]] = []


@check(STREAM_CHECKS, "W-160 W-167 D-167", "hellos come every interval, and no request is half set")
def hellos(world: ConsumerWorld) -> None:
    lease = world.lease()
    world.run_for(2.5 * world.period_s)
    found = world.since(0, ConsumerHello, lambda one: one.consumer_id == lease.client_id)
    world.need(found, "it sends no ConsumerHello, so it asks for nothing")
    want(len(found) >= 2, f"{len(found)} hellos in 2.5 intervals of {world.period_s:g} s")
    for _, _, one in found:
        want(one.stream_id == world.stream_id, f"streamId is {one.stream_id}")
        for channel, number in (
            (one.descriptor_channel, one.descriptor_stream_id),
            (one.control_channel, one.control_stream_id),
        ):
            whole = bool(channel) == (number not in (None, 0))
            want(whole, f"a request has channel {channel!r} and number {number}")
        want(one.mode in tuple(Mode), f"mode is {one.mode}")


def _assigned(world: ConsumerWorld) -> tuple[str, int]:
    """Assign a descriptor stream and return its address; NotSeen if it asks for none."""
    lease = world.lease()
    world.until(lambda: world.hello() is not None, 2 * world.period_s)
    hello = world.hello()
    world.need(
        hello is not None and hello.descriptor_channel,
        "it asks for no descriptor stream of its own",
    )
    assert hello is not None
    world.driver.assigns = True
    given = world.until(lambda: lease.descriptors, 3 * world.period_s)
    world.need(given, "its request cannot be granted here")
    return hello.descriptor_channel, lease.descriptors


def _withdraw(world: ConsumerWorld) -> None:
    world.driver.assigns = False
    lease = world.lease_now()
    if lease is not None:
        lease.descriptors = 0
    world.revoke()
    world.lease()
    world.fresh()


@check(
    STREAM_CHECKS,
    "W-164 W-163 W-161",
    "it reads the assigned stream when that has a publisher, and each frame once",
)
def assigned_stream(world: ConsumerWorld) -> None:
    before = world.fresh()
    own = _assigned(world)
    try:
        world.bus.publication(*own)
        world.run_for(0.3)
        world.publish(20)
        for seq in range(world.next_seq - 20, world.next_seq):
            world.announce_frame(seq, on=own)
        last = world.publish(3, on=own)
        want(world.reads_up_to(last), "it does not read the stream that it was assigned")
        after = world.reports()[-1]
        late = after.drops_late - before.drops_late
        want(late == 0, f"{late} frames counted as late when the stream was changed")
    finally:
        world.bus.close_publication(*own)
        _withdraw(world)


@check(
    STREAM_CHECKS,
    "W-164",
    "an assigned stream without a publisher, or one that loses it, leaves it on the shared one",
)
def unserved_stream(world: ConsumerWorld) -> None:
    world.fresh()
    own = _assigned(world)
    try:
        _frames_arrive(world, "while the assigned stream has no publisher")
        world.bus.publication(*own)
        world.run_for(0.3)
        world.publish(3, on=own)
        world.bus.close_publication(*own)
        _frames_arrive(world, "after the assigned stream has lost its publisher")
    finally:
        world.bus.close_publication(*own)
        _withdraw(world)


def _frames_arrive(world: ConsumerWorld, when: str) -> None:
    for _ in range(round(world.patience_s * 10)):
        last = world.publish()
        if world.reads_up_to(last, 0.1 + world.period_s):
            return
    want(False, f"frames of the shared stream are not read {when}")


@check(STREAM_CHECKS, "W-168", "another consumer with its id makes it take a new one")
def id_conflict(world: ConsumerWorld) -> None:
    world.fresh()
    lease = world.lease()
    asked = len(world.driver.requests)
    report = QosConsumer(world.stream_id, lease.client_id, 1, 7, 0, 0, Mode.STREAM)
    world.bus.send(*world.streams.qos, report)
    changed = world.until(
        lambda: any(one.client_id != lease.client_id for _, one in world.driver.requests[asked:]),
        2 * world.patience_s,
    )
    want(changed, "it keeps its id (right only if that was configured)")
    world.lease()


@check(STREAM_CHECKS, "D-085 D-041", "when it ends in order it detaches its lease")
def detach(world: ConsumerWorld) -> None:
    world.ended_by_detach()
