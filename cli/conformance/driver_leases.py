"""Leases, epochs and notices (D-080 to D-099, W-140)."""

from __future__ import annotations

import time

from tensor_pool.protocol.wire import (
    LeaseRevokeReason,
    ResponseCode,
    Role,
    ShmDetachResponse,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
)

from .check import Check, check, want
from .driver_world import DriverWorld, Lease

__all__ = ["LEASE_CHECKS"]

LEASE_CHECKS: list[Check[DriverWorld]] = []


def _end(
    world: DriverWorld, mark: int, lease: Lease, seconds: float
) -> tuple[int, ShmLeaseRevoked]:
    """Wait for the notice of a lease; return its place and itself."""
    world.expect(
        mark,
        ShmLeaseRevoked,
        lambda one: one.lease_id == lease.lease_id,
        f"the notice for lease {lease.lease_id}",
        seconds,
    )
    place, _, notice = world.notices(mark, lease.lease_id)[0]
    return place, notice


@check(LEASE_CHECKS, "D-080", "lease ids rise and are never 0")
def lease_ids(world: DriverWorld) -> None:
    ids = []
    for _ in range(3):
        with world.attached() as lease:
            ids.append(lease.lease_id)
    want(all(ids), "a lease id is 0")
    want(ids == sorted(set(ids)), f"lease ids do not rise: {ids}")


@check(LEASE_CHECKS, "D-082 D-083", "keepalives keep a lease beyond its first expiry")
def keepalive_extends(world: DriverWorld) -> None:
    mark = len(world.bus.heard)
    with world.attached() as lease:
        duration_s = lease.duration_ns / 1e9
        end = time.monotonic() + 1.6 * duration_s
        while time.monotonic() < end:
            world.keepalive(lease)
            world.bus.run_for(duration_s / 6)
        ended = world.notices(mark, lease.lease_id)
        want(not ended, f"the lease ended after {duration_s:.2f} s in spite of its keepalives")


@check(LEASE_CHECKS, "D-083", "keepalives that do not fit the lease do not extend it")
def wrong_keepalives(world: DriverWorld) -> None:
    lease = world.attach()
    duration_s = lease.duration_ns / 1e9
    mark = len(world.bus.heard)
    end = time.monotonic() + 2 * duration_s + 0.5
    while not world.notices(mark, lease.lease_id):
        want(time.monotonic() < end, f"the lease of {duration_s:.2f} s did not end")
        world.keepalive(lease, role=Role.PRODUCER)
        world.keepalive(lease, client_id=lease.client_id + 1_000_000)
        world.keepalive(lease, stream_id=world.stream_id + 1)
        world.bus.run_for(duration_s / 6)


@check(
    LEASE_CHECKS, "D-087 D-088 D-041", "a silent client's lease expires in time, with one notice"
)
def expiry(world: DriverWorld) -> None:
    lease = world.attach()
    duration_s = lease.duration_ns / 1e9
    mark = len(world.bus.heard)
    _, notice = _end(world, mark, lease, 2 * duration_s + 0.5)
    heard = world.notices(mark, lease.lease_id)[0][1]
    lasted_s = (heard.at_ns - lease.requested_ns) / 1e9
    want(lasted_s >= duration_s, f"it ended after {lasted_s:.2f} s of {duration_s:.2f} s")
    want(notice.reason is LeaseRevokeReason.EXPIRED, f"the reason is {notice.reason.name}")
    for name, value in (
        ("streamId", (notice.stream_id, world.stream_id)),
        ("clientId", (notice.client_id, lease.client_id)),
        ("role", (notice.role, lease.role)),
    ):
        want(value[0] == value[1], f"{name} of the notice is {value[0]}, expected {value[1]}")
    world.bus.run_for(0.5 * duration_s)
    count = len(world.notices(mark, lease.lease_id))
    want(count == 1, f"{count} notices for one lease")


@check(
    LEASE_CHECKS,
    "D-096 W-140 D-090 D-093 I-9",
    "a producer's expiry gives a notice, then a higher epoch",
)
def producer_expiry(world: DriverWorld) -> None:
    lease = world.attach(Role.PRODUCER)
    duration_s = lease.duration_ns / 1e9
    with world.attached() as watcher:
        mark = len(world.bus.heard)
        end = time.monotonic() + 2 * duration_s + 0.5
        while time.monotonic() < end and not world.notices(mark, lease.lease_id):
            world.keepalive(watcher)
            world.bus.run_for(duration_s / 6)
        place, notice = _end(world, mark, lease, 0.5)
        higher = world.expect(
            mark,
            ShmPoolAnnounce,
            lambda one: one.stream_id == world.stream_id and one.epoch > (lease.answer.epoch or 0),
            "the announce of a higher epoch",
        )
        announce = higher.message
        assert isinstance(announce, ShmPoolAnnounce)
        want(
            world.bus.heard.index(higher) > place,
            "the higher epoch was announced before the notice",
        )
        want(announce.producer_id == 0, f"producerId is {announce.producer_id} without a producer")
        want(
            notice.timestamp_ns <= announce.announce_timestamp_ns,
            "the notice is stamped later than the announce that follows it (D-093)",
        )


@check(LEASE_CHECKS, "D-084", "a keepalive of an unknown lease is answered with one notice")
def foreign_keepalive(world: DriverWorld) -> None:
    lease_id, client = 77, world.client_id()
    mark = len(world.bus.heard)
    for _ in range(3):
        world.send(
            ShmLeaseKeepalive(
                lease_id + client, world.stream_id, client, Role.CONSUMER, time.monotonic_ns()
            )
        )
    world.expect(
        mark,
        ShmLeaseRevoked,
        lambda one: one.lease_id == lease_id + client,
        "the notice for a lease of another instance",
    )
    world.answers_still()
    found = world.notices(mark, lease_id + client)
    want(len(found) == 1, f"{len(found)} notices for three keepalives with one id")
    notice = found[0][2]
    want(notice.reason is LeaseRevokeReason.REVOKED, f"the reason is {notice.reason.name}")
    want(notice.client_id == client, f"clientId of the notice is {notice.client_id}")


@check(LEASE_CHECKS, "D-085 D-090", "a consumer's detach gives a notice, then the answer")
def consumer_detach(world: DriverWorld) -> None:
    lease = world.attach()
    mark, heard = world.detach(lease)
    answer = heard.message
    assert isinstance(answer, ShmDetachResponse)
    want(answer.code is ResponseCode.OK, f"answered {answer.code.name} {answer.error_message!r}")
    place, notice = _end(world, mark, lease, 0.5)
    want(notice.reason is LeaseRevokeReason.DETACHED, f"the reason is {notice.reason.name}")
    want(place < world.bus.heard.index(heard), "the answer came before the notice")


@check(LEASE_CHECKS, "D-085 D-090 D-096", "a producer's detach gives notice, higher epoch, answer")
def producer_detach(world: DriverWorld) -> None:
    lease = world.attach(Role.PRODUCER)
    mark, heard = world.detach(lease)
    answer = heard.message
    assert isinstance(answer, ShmDetachResponse)
    want(answer.code is ResponseCode.OK, f"answered {answer.code.name} {answer.error_message!r}")
    place, notice = _end(world, mark, lease, 0.5)
    want(notice.reason is LeaseRevokeReason.DETACHED, f"the reason is {notice.reason.name}")
    world.expect(
        mark,
        ShmPoolAnnounce,
        lambda one: one.stream_id == world.stream_id and one.epoch > (lease.answer.epoch or 0),
        "the announce of a higher epoch",
    )
    announced = next(
        at for at, _, one in world.announces(mark) if one.epoch > (lease.answer.epoch or 0)
    )
    want(place < announced, "the higher epoch was announced before the notice")


@check(LEASE_CHECKS, "D-085", "a detach that does not fit the lease is refused and ends nothing")
def wrong_detach(world: DriverWorld) -> None:
    mark = len(world.bus.heard)
    with world.attached() as lease:
        for changes in (
            {"role": Role.PRODUCER},
            {"client_id": lease.client_id + 1_000_000},
            {"stream_id": world.stream_id + 1},
        ):
            answer = world.detach(lease, **changes)[1].message
            assert isinstance(answer, ShmDetachResponse)
            want(answer.code is ResponseCode.REJECTED, f"answered {answer.code.name} to {changes}")
        want(not world.notices(mark, lease.lease_id), "the lease ended all the same")


@check(LEASE_CHECKS, "D-085 D-041", "a second detach gives no second notice and no epoch")
def second_detach(world: DriverWorld) -> None:
    lease = world.attach(Role.PRODUCER)
    world.detach(lease)
    before = world.epoch_now()
    mark = len(world.bus.heard)
    world.detach(lease)
    want(not world.notices(mark, lease.lease_id), "a second notice for one lease")
    after = world.epoch_now()
    want(before == after, f"epoch {before} became {after}")


@check(
    LEASE_CHECKS, "D-095 D-096 W-140", "every producer gets a higher epoch; a consumer changes none"
)
def epochs_rise(world: DriverWorld) -> None:
    epochs = [world.epoch_now()]
    for _ in range(2):
        with world.attached(Role.PRODUCER) as lease:
            epochs.append(lease.answer.epoch or 0)
            held = world.epoch_now()
            want(held == epochs[-1], f"a consumer's attach moved epoch {epochs[-1]} to {held}")
        epochs.append(world.epoch_now())
    want(epochs == sorted(set(epochs)), f"epochs do not rise: {epochs}")
    want(epochs[0] > 0 and epochs[-1] < 2**64 - 1, f"epochs out of range: {epochs}")
