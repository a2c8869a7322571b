"""Liveness: once nothing goes wrong any more, everything is well again within a bound.

The bound is what the configured times add up to at worst, one after the other: a driver that drains
and starts anew; its silence being noticed; a wait for an announce and a backoff of the consumer's
own; a client id or producer seat that is taken until the previous lease expires; a last backoff.
"""

from __future__ import annotations

from collections import Counter

from tensor_pool.protocol.wire import Mode

from .invariants_driver import InvariantError
from .processes import Member
from .schedule import MS
from .world import World

__all__ = ["BOUND_NS", "recover", "shut_down"]

BOUND_NS = 3000 * MS
_LATEST_NS = 400 * MS  # until the last message that was delayed has arrived
_ROUND_NS = 10 * MS
_TURNS = 4  # in a round: with one fragment a turn, fewer would not keep up with the traffic
_FRAMES = 3
_EXPIRY_MS = 500


def recover(world: World) -> int:
    """End all faults, wait until all is well, and see frames flow; ns that it took.

    Raises InvariantError naming who is not well in time.
    """
    world.put_right()
    start_ns = world.clock.monotonic_ns()
    delayed = bool(world.scenario.faults & {"delay", "loss"})
    _round(world)  # at least, for what was asked for last
    while delayed and world.clock.monotonic_ns() - start_ns < _LATEST_NS:
        _round(world)
    while world.clock.monotonic_ns() - start_ns <= BOUND_NS:
        for member in world.members:
            if member.handle is None:
                world.reopen(member)
        if not _ailing(world):
            took_ns = world.clock.monotonic_ns() - start_ns
            _see_frames_flow(world)
            return took_ns
        _round(world)
    raise InvariantError(f"liveness: after {BOUND_NS // MS} ms: {'; '.join(_ailing(world))}")


def _round(world: World) -> None:
    """Give each process a turn, and let some time pass."""
    if world.driver.driver is None:
        world.revive_driver(0, 0)
    for _ in range(_TURNS):
        world.drive(0, 0)
        for index, process in enumerate(world.processes):
            if process.client is None:
                world.start(process)
            world.cycle(index, 0)
    world.clock.advance(_ROUND_NS)
    world.count["rounds"] += 1


def _ailing(world: World) -> list[str]:
    """Return the consumers without a mapping and the streams without their producer."""
    driver = world.driver.driver
    if driver is None or driver.state != "Serving.Running.Normal":
        conditions = sorted(driver._lifecycle.conditions) if driver is not None else []
        state = driver.state if driver is not None else "dead"
        return [f"the driver is {state} {conditions}"]
    ailing = []
    seats: dict[int, list[Member]] = {}
    for member in world.members:
        handle = member.handle
        if handle is None:
            ailing.append(f"{member.who} is not attached")
        elif member.producer is not None:
            seats.setdefault(member.plan.stream_id, []).append(member)
        elif not (handle._attachment.is_ready and world.may_use(member)):
            ailing.append(f"{member.who} is {handle!r}")
        else:
            stream = driver._lifecycle.streams.get(handle.stream_id)
            state = handle._attachment.receiver.state
            if stream is None or stream.epoch != state.epoch:
                ailing.append(f"{member.who} reads epoch {state.epoch}, which is not current")
            elif driver._lifecycle.leases.get(lease_id := _lease_id(member)) is None:
                if world.traffic.has_lost_notice(member.process.name, lease_id):
                    world.count["notices_lost"] += 1
                else:
                    ailing.append(f"{member.who} has a lease that the driver does not know")
    for stream_id, members in seats.items():
        ready = [m for m in members if m.handle._attachment.is_ready and world.may_use(m)]
        current = driver._lifecycle.streams.get(stream_id)
        if len(ready) != 1 or current is None or ready[0].handle._state.epoch != current.epoch:
            ailing.append(f"stream {stream_id} has {len(ready)} producers: {members[0].handle!r}")
    return ailing


def _lease_id(member: Member) -> int:
    grant = member.handle._attachment.connection.grant
    return grant.lease_id if grant is not None else 0


def _see_frames_flow(world: World) -> None:
    """Every frame published now reaches every consumer of its stream.

    The first one may still be spent on finding that frames were missed (`drops_resync`).
    """
    for member in world.producers:
        member.loan = None
        for loan in list(member.handle._loans.by_seq.values()):
            loan.abort()
    for member in world.consumers:
        while member.handle.poll(limit=1000) is not None:
            pass
    _publish_everywhere(world)
    _poll_everywhere(world)
    before = {member: _frames_ok(member) for member in world.consumers}
    published: Counter[int] = Counter()
    for _ in range(_FRAMES):
        published += _publish_everywhere(world)
    _poll_everywhere(world)
    for member in world.consumers:
        handle = member.handle
        if handle.mode is not Mode.STREAM or handle.uses_private_stream:
            continue
        got, sent = _frames_ok(member) - before[member], published[handle.stream_id]
        if got < sent:  # more: frames of before, which it has just read from the ring (C-107)
            raise InvariantError(f"liveness: {member.who} got {got} of {sent} frames")


def _publish_everywhere(world: World) -> Counter[int]:
    """Publish a frame from each producer, which all receive; return their number by stream."""
    published: Counter[int] = Counter()
    for member in world.producers:
        if member.handle._attachment.is_ready and world.publish_from(member, 2):
            published[member.plan.stream_id] += 1
    for index in range(len(world.consumers)):
        world.poll(index, 0)
    return published


def _poll_everywhere(world: World) -> None:
    """Let every consumer catch up: the shared stream also carries what other streams publish."""
    for _ in range(_TURNS):
        for index in range(len(world.consumers)):
            world.poll(index, 0)


def _frames_ok(member: Member) -> int:
    frames: int = member.handle.metrics()["frames_ok"]
    return frames


def shut_down(world: World) -> None:
    """Have all leave in order; nothing is left (CI-10, I-24)."""
    for process in world.processes:
        client = process.client
        assert client is not None
        world.disk.mapper = process.name
        for member in process.members:
            member.held.clear()
            member.loan = None
        client.close()
        transport = world.network._transports[process.name]
        if transport._endpoints or not transport.is_closed:
            raise InvariantError(f"CI-10: {process.name} left {transport._endpoints} open")
        if world.disk.mappings.get(process.name):
            raise InvariantError(f"CI-10: {process.name} left regions mapped")
        process.client = None
    driver = world.driver.driver
    assert driver is not None
    for _ in range(_EXPIRY_MS):  # of what processes that were killed have left
        world.idle()
    if len(driver._lifecycle.leases):
        raise InvariantError(f"C-060: leases are left: {list(driver.snapshot().leases)}")
    driver.request_shutdown()
    for _ in range(1000):
        if world.driver.driver is None:
            return
        world.drive(0, 0)
        world.clock.advance(MS)
    raise InvariantError("D-022: the driver does not stop")
