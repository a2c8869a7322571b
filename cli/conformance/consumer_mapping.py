"""Checks of announces, epochs and mapping states of a consumer (sections 12 and 13)."""

from __future__ import annotations

import struct
import time
from typing import Any

import msgspec

from tensor_pool.protocol.wire import (
    ConsumerConfig,
    LeaseRevokeReason,
    Mode,
    Role,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
)

from .check import Check, check, want
from .consumer_world import ConsumerWorld
from .grants import make_unusual

__all__ = ["MAPPING_CHECKS"]

MAPPING_CHECKS: list[Check[ConsumerWorld]] = []
_WITHOUT_ANNOUNCES = 4  # periods; clients give a driver up that is silent for five


def _announce(world: ConsumerWorld, **changes: Any) -> ShmPoolAnnounce:
    announce = msgspec.structs.replace(
        world.driver.announcement(), announce_timestamp_ns=time.monotonic_ns()
    )
    return msgspec.structs.replace(announce, **changes)


def _bad_announces(world: ConsumerWorld) -> list[tuple[str, dict[str, Any]]]:
    """Announces that must be ignored; each names a higher epoch."""
    now = time.monotonic_ns()
    pool = world.driver.pools()[0]
    replace = msgspec.structs.replace
    return [
        ("of another stream (step 2)", {"stream_id": world.stream_id + 1}),
        ("of layout version 2 (step 4, W-149)", {"layout_version": 2}),
        ("of an unknown clock domain (step 5)", {"announce_clock_domain": 9}),
        ("with timestamp 0 (step 5)", {"announce_timestamp_ns": 0}),
        ("with no timestamp (step 5)", {"announce_timestamp_ns": 2**64 - 1}),
        (
            "older than the freshness window (step 6)",
            {"announce_timestamp_ns": now - round(3.5e9 * world.period_s)},
        ),
        ("of a lower epoch (step 8)", {"epoch": world.driver.epoch - 1}),
        ("of epoch 0 (step 8)", {"epoch": 0}),
        ("of epoch 2^64 - 1 (step 8)", {"epoch": 2**64 - 1}),
        ("with header slots of 128 bytes (W-130)", {"header_slot_bytes": 128}),
        ("with three slots (W-130)", {"header_nslots": 3}),
        ("without pools (W-130)", {"payload_pools": ()}),
        ("with a pool id twice (W-130)", {"payload_pools": (pool, pool)}),
        (
            "with another slot count in a pool (W-130)",
            {"payload_pools": (replace(pool, pool_nslots=4),)},
        ),
        (
            "with a stride of 96 (W-130, W-012)",
            {"payload_pools": (replace(pool, stride_bytes=96),)},
        ),
        ("with a relative path (W-020)", {"header_region_uri": "shm:file?path=dev/shm/x"}),
    ]


@check(
    MAPPING_CHECKS,
    "W-125 W-130 W-149 W-012 W-020 W-128",
    "announces that are stale, for others or malformed leave the mapping as it is",
)
def bad_announces(world: ConsumerWorld) -> None:
    world.fresh()
    cases = _bad_announces(world)
    if _moved_by(world, cases):
        one_by_one = [what for what, changes in cases if _moved_by(world, [(what, changes)])]
        want(False, f"it followed an announce {', '.join(one_by_one) or 'among others'}")


def _moved_by(world: ConsumerWorld, cases: list[tuple[str, dict[str, Any]]]) -> bool:
    """Send announces; True if the consumer then leaves the epoch or attaches anew."""
    want(world.is_mapped(3 * world.patience_s), "it does not report the epoch")
    asked, mark = len(world.driver.requests), world.mark
    for _, changes in cases:
        world.send(_announce(world, **{"epoch": world.driver.epoch + 1, **changes}))
    last = world.publish()
    reads = world.reads_up_to(last) and world.reads_up_to(last)
    left = [one for one in world.reports(mark) if one.epoch != world.driver.epoch]
    return bool(not reads or left or len(world.driver.requests) > asked)


@check(
    MAPPING_CHECKS,
    "W-126 W-131 W-140 W-141 W-129 W-147",
    "a higher epoch is mapped when it is announced, also if announces were lost before",
)
def higher_epoch(world: ConsumerWorld) -> None:
    world.fresh()
    world.driver.announces = False
    world.driver.new_epoch()
    world.run_for(1.2 * world.period_s)
    world.driver.announces = True
    world.driver.announce()
    want(world.is_mapped(), "it does not report the higher epoch")
    world.next_seq = 0
    last = world.publish(3)
    want(world.reads_up_to(last), f"it does not report frame {last} of the higher epoch")


@check(MAPPING_CHECKS, "W-125 W-121", "an announce from the future is accepted")
def future_announce(world: ConsumerWorld) -> None:
    world.fresh()
    world.driver.announces = False
    try:
        world.driver.new_epoch()
        world.send(_announce(world, announce_timestamp_ns=time.monotonic_ns() + 10**10))
        want(world.is_mapped(), "it does not report the epoch")
    finally:
        world.driver.announces = True


@check(
    MAPPING_CHECKS,
    "W-017 W-010 W-054",
    "odd but right regions of an announce are mapped: other names, longer, null slotBytes",
)
def unusual_regions(world: ConsumerWorld) -> None:
    def prepare(directory: Any) -> None:
        make_unusual(directory)
        for path in directory.iterdir():
            with path.open("r+b") as file:
                file.seek(56)
                file.write(struct.pack("<Q", time.monotonic_ns()))

    world.lease()
    with world.granting(prepare=prepare, names="region-{}"):
        world.fresh()
    world.fresh()


@check(
    MAPPING_CHECKS,
    "W-106 W-142 W-141 W-144",
    "a descriptor of a higher epoch unmaps, until that epoch is announced",
)
def newer_descriptor(world: ConsumerWorld) -> None:
    world.fresh()
    world.driver.announces = False
    try:
        world.announce_frame(0, epoch=world.driver.epoch + 1)
        unmapped = world.is_unmapped(_WITHOUT_ANNOUNCES * world.period_s)
        want(unmapped, "it stays mapped after a descriptor of a higher epoch")
    finally:
        world.driver.announces = True
    world.driver.announce()
    world.fresh()


@check(MAPPING_CHECKS, "W-106 W-141 W-142", "a sequence that goes back unmaps")
def regression(world: ConsumerWorld) -> None:
    world.fresh()
    world.publish(8)
    want(world.reads_up_to(world.next_seq - 1), "it does not report the frames")
    world.driver.announces = False
    try:
        world.announce_frame(3)
        unmapped = world.is_unmapped(_WITHOUT_ANNOUNCES * world.period_s)
        want(unmapped, "it stays mapped after a sequence that went back")
    finally:
        world.driver.announces = True
    world.driver.announce()
    want(world.is_mapped(), "it does not map the epoch again when it is announced")


@check(
    MAPPING_CHECKS,
    "W-145 W-055 W-141 W-210",
    "a stale activity stamp unmaps, and announces do not map it; a fresh one is mapped again",
)
def stale_activity(world: ConsumerWorld) -> None:
    world.fresh()
    world.driver.refreshes = False
    try:
        unmapped = world.is_unmapped(6 * world.period_s + world.patience_s)
        want(unmapped, f"it stays mapped {6 * world.period_s:g} s after the last refresh")
    finally:
        world.driver.refreshes = True
    world.driver.refresh()
    world.driver.announce()
    want(world.is_mapped(3 * world.patience_s), "it does not come back to refreshed regions")


@check(
    MAPPING_CHECKS,
    "W-127 W-054 W-141",
    "a superblock that no longer fits unmaps at the next announce; a right one is mapped again",
)
def changed_superblock(world: ConsumerWorld) -> None:
    world.fresh()
    regions = world.driver.regions
    assert regions is not None
    region = regions.payloads[0]
    right = region.memory[36:40]
    region.memory[36:40] = struct.pack("<I", 4096 * 3)
    try:
        world.driver.announce()
        want(world.is_unmapped(), "it stays mapped although a superblock changed")
    finally:
        region.memory[36:40] = right
    world.driver.announce()
    want(world.is_mapped(3 * world.patience_s), "it does not come back to repaired regions")


@check(
    MAPPING_CHECKS,
    "W-146 W-056 W-127",
    "another pid in a superblock unmaps until a higher epoch is announced",
)
def changed_pid(world: ConsumerWorld) -> None:
    world.fresh()
    regions = world.driver.regions
    assert regions is not None
    regions.ring.words[5] += 1
    world.driver.announce()
    want(world.is_unmapped(), "it stays mapped although the pid changed")
    world.driver.announce()
    world.run_for(0.3 * world.period_s)
    mark = world.mark
    world.run_for(1.2 * world.period_s)
    back = world.reports_epoch(mark, world.driver.epoch)
    asked = [place for place, _ in world.driver.requests if place > mark]
    want(not back or asked, "it mapped the epoch again, whose pid had changed")
    world.fresh()


@check(
    MAPPING_CHECKS,
    "W-147 W-141",
    "the end of the producer's lease unmaps; the same epoch does not map, a higher one does",
)
def producer_notice(world: ConsumerWorld) -> None:
    world.fresh()
    world.run_for(0.05)
    notice = ShmLeaseRevoked(
        time.monotonic_ns(),
        2**50,
        world.stream_id,
        900_777,
        Role.PRODUCER,
        LeaseRevokeReason.EXPIRED,
    )
    world.send(notice)
    want(world.is_unmapped(), "it stays mapped although its producer's lease ended")
    world.driver.announce()
    world.run_for(0.1)
    mark = world.mark
    world.run_for(world.period_s)
    want(
        not world.reports_epoch(mark, world.driver.epoch),
        "the epoch of the ended lease was mapped again within the wait",
    )
    world.fresh()


@check(
    MAPPING_CHECKS,
    "W-141 W-173 D-169",
    "ConsumerConfig with useShm FALSE unmaps, and with TRUE lets it map again",
)
def use_shm(world: ConsumerWorld) -> None:
    world.fresh()
    lease = world.lease()

    def config(*, use: bool) -> None:
        world.send(ConsumerConfig(world.stream_id, lease.client_id, use, Mode.STREAM))

    other = ConsumerConfig(world.stream_id, lease.client_id + 1, False, Mode.STREAM)
    world.send(other)
    last = world.publish()
    want(world.reads_up_to(last), "a ConsumerConfig for another consumer was obeyed (W-203)")
    world.driver.answers_hellos = False
    try:
        config(use=False)
        want(world.is_unmapped(), "it stays mapped although useShm is FALSE")
        world.driver.announce()
        mark = world.mark
        world.run_for(1.5 * world.period_s)
        used = world.reports_epoch(mark, world.driver.epoch)
        want(not used, "it maps the regions although useShm is FALSE")
        config(use=True)
        world.driver.announce()
        want(world.is_mapped(), "it does not map again although useShm is TRUE")
    finally:
        world.driver.answers_hellos = True
