"""The regions that a driver makes, keeps and announces (sections 4, 5 and 12 of `wire.md`)."""

from __future__ import annotations

import os
import stat
import time

from tensor_pool.protocol.wire import ClockDomain, RegionType, Role, ShmPoolAnnounce

from .check import Check, NotSeen, check, want
from .driver_world import DriverWorld, Lease
from .regions import MAGIC, SLOT_BYTES, SUPERBLOCK_BYTES, Region, Regions, tensor_header

__all__ = ["REGION_CHECKS"]

REGION_CHECKS: list[Check[DriverWorld]] = []


@check(
    REGION_CHECKS, "W-011 W-012 W-013 W-130", "slot counts, strides and pool ids are allowed ones"
)
def geometry(world: DriverWorld) -> None:
    with world.attached() as lease:
        answer = lease.answer
        nslots = answer.header_nslots or 0
        want(nslots and nslots.bit_count() == 1, f"headerNslots {nslots} is not a power of two")
        ids = [pool.pool_id for pool in answer.payload_pools]
        want(len(ids) == len(set(ids)), f"pool ids repeat: {ids}")
        for pool in answer.payload_pools:
            want(pool.pool_nslots == nslots, f"pool {pool.pool_id} has {pool.pool_nslots} slots")
            want(
                pool.stride_bytes >= 64 and pool.stride_bytes % 64 == 0,
                f"strideBytes {pool.stride_bytes} of pool {pool.pool_id} is not a multiple of 64",
            )
            want(1 <= pool.pool_id <= 65534, f"pool id {pool.pool_id}")


@check(
    REGION_CHECKS, "W-020 W-015 D-110", "URIs are region URIs, and paths have the canonical layout"
)
def layout(world: DriverWorld) -> None:
    with world.attached() as lease, Regions(lease.answer) as regions:
        answer = lease.answer
        wanted = f"{answer.stream_id}/{answer.epoch}"
        names = ["header.ring", *(f"{pool.pool_id}.pool" for pool in answer.payload_pools)]
        for region, name in zip(regions.all, names, strict=True):
            want(
                str(region.path).endswith(f"/{wanted}/{name}"),
                f"{region.path} does not end in {wanted}/{name}",
            )
            user = region.path.parents[3].name
            want(user.startswith("tensorpool-"), f"{region.path}: {user} is not a user directory")


@check(REGION_CHECKS, "W-010 W-050 D-112", "region files are long enough for their slots")
def lengths(world: DriverWorld) -> None:
    with world.attached() as lease, Regions(lease.answer) as regions:
        sizes = [SLOT_BYTES, *(pool.stride_bytes for pool in regions.pools)]
        for region, size in zip(regions.all, sizes, strict=True):
            least = SUPERBLOCK_BYTES + size * regions.nslots
            want(
                region.status.st_size >= least,
                f"{region.path} has {region.status.st_size} bytes, expected at least {least}",
            )


@check(REGION_CHECKS, "W-040 D-115", "region files are regular, and not writable for every user")
def modes(world: DriverWorld) -> None:
    with world.attached() as lease, Regions(lease.answer) as regions:
        for region in regions.all:
            mode = region.status.st_mode
            want(stat.S_ISREG(mode), f"{region.path} is not a regular file")
            want(not mode & stat.S_IWOTH, f"{region.path} has mode {stat.filemode(mode)}")


@check(REGION_CHECKS, "W-051 W-054 D-116 W-122", "superblocks agree with the answer")
def superblocks(world: DriverWorld) -> None:
    with world.attached() as lease, Regions(lease.answer) as regions:
        for index, region in enumerate(regions.all):
            block = region.superblock
            pool = regions.pools[index - 1] if index else None
            stride = pool.stride_bytes if pool else 0
            seen = {
                "magic": (block.magic, MAGIC),
                "layoutVersion": (block.layout_version, 1),
                "epoch": (block.epoch, regions.epoch),
                "streamId": (block.stream_id, world.stream_id),
                "regionType": (
                    block.region_type,
                    RegionType.PAYLOAD_POOL if pool else RegionType.HEADER_RING,
                ),
                "poolId": (block.pool_id, pool.pool_id if pool else 0),
                "nslots": (block.nslots, regions.nslots),
            }
            if pool:
                seen["strideBytes"] = (block.stride_bytes, stride)
            for name, (value, wanted) in seen.items():
                want(value == wanted, f"{region.path}: {name} is {value}, expected {wanted}")
            sizes = {SLOT_BYTES} if pool is None else {stride, 2**32 - 1}
            want(block.slot_bytes in sizes, f"{region.path}: slotBytes is {block.slot_bytes}")
            want(block.start_timestamp_ns, f"{region.path}: startTimestampNs is 0")


@check(REGION_CHECKS, "D-117 W-080", "regions of a new epoch are zero behind the superblock")
def zeros(world: DriverWorld) -> None:
    with world.attached(Role.PRODUCER) as lease, Regions(lease.answer) as regions:
        for region in regions.all:
            rest = region.memory[SUPERBLOCK_BYTES : SUPERBLOCK_BYTES + (1 << 22)]
            want(not rest.strip(b"\0"), f"{region.path} is not zero behind its superblock")


def _advance(world: DriverWorld, lease: Lease) -> list[Region]:
    """Return the regions whose stamp did not move within two announce periods."""
    with Regions(lease.answer) as regions:
        before = [region.activity_ns for region in regions.all]
        end = time.monotonic() + 2.2 * world.announce_period_s + 0.1
        while time.monotonic() < end:
            world.keepalive(lease)
            world.bus.run_for(min(0.2, world.announce_period_s / 2))
        return [
            region
            for region, stamp in zip(regions.all, before, strict=True)
            if region.activity_ns <= stamp
        ]


@check(REGION_CHECKS, "W-053 D-131", "activity stamps are refreshed without a producer")
def stamps_without_producer(world: DriverWorld) -> None:
    with world.attached() as lease:
        still = _advance(world, lease)
        want(not still, "not refreshed: " + ", ".join(str(region.path) for region in still))


@check(
    REGION_CHECKS, "W-053 D-131", "activity stamps are refreshed beside a producer that does not"
)
def stamps_with_producer(world: DriverWorld) -> None:
    with world.attached(Role.PRODUCER) as lease:
        still = _advance(world, lease)
        want(not still, "not refreshed: " + ", ".join(str(region.path) for region in still))


@check(REGION_CHECKS, "W-052 D-005 D-098", "the rest of the regions stays as the producer left it")
def contents_stay(world: DriverWorld) -> None:
    with (
        world.attached(Role.PRODUCER) as lease,
        Regions(lease.answer, writable=True) as regions,
    ):
        payload = bytes(range(64))
        regions.write(0, payload, tensor_header(8))
        before = [region.memory[8:56] + region.memory[64:4096] for region in regions.all]
        end = time.monotonic() + 1.5 * world.announce_period_s
        while time.monotonic() < end:
            world.keepalive(lease)
            world.bus.run_for(min(0.2, world.announce_period_s / 2))
        after = [region.memory[8:56] + region.memory[64:4096] for region in regions.all]
        want(before == after, "a region changed although its producer did nothing")


@check(REGION_CHECKS, "D-152 M-100", "an announce agrees with the answer, and names the producer")
def announce_contents(world: DriverWorld) -> None:
    with world.attached(Role.PRODUCER) as lease:
        answer = lease.answer
        place = world.bus.heard.index(lease.heard)
        heard = world.expect(
            place,
            ShmPoolAnnounce,
            lambda one: one.stream_id == world.stream_id and one.epoch == answer.epoch,
            "the announce of the granted epoch",
        )
        announce = heard.message
        assert isinstance(announce, ShmPoolAnnounce)
        want(
            announce.producer_id == lease.client_id,
            f"producerId is {announce.producer_id}, expected {lease.client_id}",
        )
        for name in (
            "layout_version",
            "header_nslots",
            "header_slot_bytes",
            "payload_pools",
            "header_region_uri",
        ):
            want(
                getattr(announce, name) == getattr(answer, name),
                f"{name} differs between announce and answer",
            )


@check(REGION_CHECKS, "W-121 D-152", "announces are stamped when they are sent")
def announce_stamps(world: DriverWorld) -> None:
    with world.attached() as lease:
        mark = len(world.bus.heard)
        world.expect(
            mark,
            ShmPoolAnnounce,
            lambda one: one.stream_id == world.stream_id,
            "an announce",
            2.5 * world.announce_period_s + 0.5,
        )
        world.keepalive(lease)
        for _, heard, announce in world.announces(mark):
            now = heard.at_ns
            if announce.announce_clock_domain is not ClockDomain.MONOTONIC:
                now += time.time_ns() - time.monotonic_ns()
            age_ms = (now - announce.announce_timestamp_ns) / 1e6
            want(announce.announce_timestamp_ns, "announceTimestampNs is 0")
            want(-50 < age_ms < 500, f"an announce was {age_ms:.1f} ms old on receipt")


@check(REGION_CHECKS, "W-120 D-150", "every announce period the stream is announced")
def announce_cadence(world: DriverWorld) -> None:
    period = world.announce_period_s
    with world.attached() as lease:
        world.bus.run_for(0.1 * period)
        mark = len(world.bus.heard)
        end = time.monotonic() + 5 * period
        while time.monotonic() < end:
            world.keepalive(lease)
            world.bus.run_for(min(0.2, period / 2))
        seen = len(world.announces(mark))
        want(4 <= seen <= 7, f"{seen} announces in 5 periods of {period:g} s")


@check(REGION_CHECKS, "D-002", "all messages of a kind come from one publication")
def one_session(world: DriverWorld) -> None:
    by_kind: dict[str, set[int]] = {}
    for one in world.bus.heard:
        if type(one.message).__name__ in {
            "ShmAttachResponse",
            "ShmDetachResponse",
            "ShmLeaseRevoked",
            "ConsumerConfig",
        }:
            if one.session_id == world.own_session:
                continue
            by_kind.setdefault("answers", set()).add(one.session_id)
        elif isinstance(one.message, ShmPoolAnnounce) and one.message.stream_id == world.stream_id:
            by_kind.setdefault("announces", set()).add(one.session_id)
    if not by_kind:
        raise NotSeen("the driver has sent nothing yet")
    for kind, sessions in by_kind.items():
        want(len(sessions) == 1, f"{kind} came from {len(sessions)} publications: two drivers?")


@check(REGION_CHECKS, "W-030 D-111", "announced files lie where no link leads out")
def no_links(world: DriverWorld) -> None:
    with world.attached() as lease, Regions(lease.answer) as regions:
        for region in regions.all:
            want(not os.path.islink(region.path), f"{region.path} is a link")
            want(
                os.path.realpath(region.path) == str(region.path),
                f"{region.path} is not a canonical path",
            )
