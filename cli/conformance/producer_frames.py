"""Checks of the frames of a producer (sections 6 to 10 of `wire.md`)."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from .check import Check, check, want
from .producer_world import ProducerWorld, Seen
from .regions import SLOT_BYTES, SUPERBLOCK_BYTES

__all__ = ["FRAME_CHECKS"]

FRAME_CHECKS: list[Check[ProducerWorld]] = []
_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 9: 4, 10: 8, 11: 1, 13: 1, 14: 1}
_BIT, _NULL = 14, 2**64 - 1
_COUNT = 20


@check(
    FRAME_CHECKS,
    "W-088 W-134 W-096 W-097",
    "an epoch begins with sequence 0, and each frame has one descriptor, in order",
)
def sequences(world: ProducerWorld) -> None:
    world.fresh()
    world.frames(_COUNT)
    seqs = [one.seq for one in world.seen]
    want(seqs[0] == 0, f"the first descriptor of the epoch has sequence {seqs[0]}")
    odd = [(a, b) for a, b in itertools.pairwise(seqs) if b != a + 1]
    want(not odd, f"sequence {odd[0][0]} is followed by {odd[0][1]}" if odd else "")


@check(
    FRAME_CHECKS,
    "W-080 W-081 W-096 W-090",
    "the slot is committed when its descriptor arrives",
)
def committed(world: ProducerWorld) -> None:
    for one in world.frames(_COUNT):
        wanted = 2 * one.seq + 1
        want(
            one.slot.word == wanted or one.was_overtaken,
            f"the commit word of frame {one.seq} is {one.slot.word}, expected {wanted}",
        )


@check(FRAME_CHECKS, "W-060 W-063 W-074", "slots have the fixed layout, index and offset")
def fixed_fields(world: ProducerWorld) -> None:
    nslots = world.driver.options.nslots
    for one in world.whole(_COUNT):
        slot = one.slot
        want(
            slot.header == (192, 184, 52, 900, 1),
            f"header length and embedded header are {slot.header}",
        )
        index = one.seq & (nslots - 1)
        want(slot.payload_slot == index, f"payload_slot is {slot.payload_slot}, expected {index}")
        want(slot.payload_offset == 0, f"payload_offset is {slot.payload_offset}")


@check(FRAME_CHECKS, "W-070 W-072 W-075 W-076", "element type, order, dimensions and unit exist")
def known_values(world: ProducerWorld) -> None:
    for one in world.whole(_COUNT):
        slot = one.slot
        want(slot.dtype in _SIZES, f"dtype is {slot.dtype}")
        want(slot.order in (1, 2), f"major_order is {slot.order}")
        want(slot.unit in (0, 1, 2), f"progress_unit is {slot.unit}")
        want(1 <= slot.ndims <= 8, f"ndims is {slot.ndims}")
        negative = [x for x in (*slot.dims[: slot.ndims], *slot.strides[: slot.ndims]) if x < 0]
        want(not negative, f"dims {slot.dims} or strides {slot.strides} are negative")
        if slot.unit:
            axis = slot.unit - 1
            want(slot.ndims > axis, f"progress_unit {slot.unit} with ndims {slot.ndims}")
            stride = _inferred(one)[axis]
            want(
                slot.progress_stride == stride,
                f"progress_stride_bytes is {slot.progress_stride}, expected {stride}",
            )
        else:
            want(slot.progress_stride == 0, "progress_stride_bytes is set without a unit")


def _inferred(one: Seen) -> list[int]:
    """Strides after the inference of W-073; raises Broken where they cannot be."""
    slot = one.slot
    n = slot.ndims
    order = range(n - 1, -1, -1) if slot.order == 1 else range(n)
    strides, need = list(slot.strides[:n]), _SIZES[slot.dtype]
    for i in order:
        strides[i] = strides[i] or need
        want(strides[i] >= need, f"stride {i} is {strides[i]}, expected at least {need}")
        need = strides[i] * max(slot.dims[i], 1)
    return strides


@check(FRAME_CHECKS, "W-073 W-077 W-064", "shape and strides lie within the payload, and it fits")
def extents(world: ProducerWorld) -> None:
    pools = {pool.pool_id: pool.stride_bytes for pool in world.driver.pools()}
    for one in world.whole(_COUNT):
        slot = one.slot
        want(slot.pool_id in pools, f"pool_id {slot.pool_id} is not one of {sorted(pools)}")
        stride = pools[slot.pool_id]
        want(slot.nbytes <= stride, f"{slot.nbytes} bytes in a slot of {stride}")
        strides = _inferred(one)
        dims = slot.dims[: slot.ndims]
        if slot.nbytes and slot.dtype != _BIT and all(dims):
            extent = _SIZES[slot.dtype] + sum(
                (d - 1) * s for d, s in zip(dims, strides, strict=True)
            )
            want(
                extent <= slot.nbytes,
                f"dims {dims}, strides {strides} take {extent} of {slot.nbytes} bytes",
            )


@check(FRAME_CHECKS, "W-062 W-071", "padding and unused dimensions are zero")
def padding(world: ProducerWorld) -> None:
    for one in world.whole(_COUNT):
        slot = one.slot
        zero = not any(slot.pad) and not any(slot.pad_end) and not slot.pad_align
        want(zero, "padding is not zero")
        unused = (*slot.dims[slot.ndims :], *slot.strides[slot.ndims :])
        want(not any(unused), f"entries behind dimension {slot.ndims} are {unused}")


@check(FRAME_CHECKS, "W-061", "a frame leaves nothing of what was in its slot before the epoch")
def whole_slot(world: ProducerWorld) -> None:
    world.lease()
    with world.granting(prepare=_fill_slots):
        world.fresh()
        found = [one for one in world.frames(_COUNT) if one.is_whole]
    world.need(found, "the producer goes round the ring too fast")
    for one in found:
        slot = one.slot
        left = any(slot.pad) or any(slot.pad_end) or any(slot.dims[slot.ndims :])
        want(not left, f"the slot of frame {one.seq} has bytes that it did not write")


def _fill_slots(directory: Path) -> None:
    """Fill every slot of the ring behind its commit word with ones."""
    with (directory / "header.ring").open("r+b") as file:
        length = file.seek(0, 2)
        for at in range(SUPERBLOCK_BYTES, length, SLOT_BYTES):
            file.seek(at + 8)
            file.write(b"\xff" * (SLOT_BYTES - 8))


@check(FRAME_CHECKS, "W-091 W-012", "the payload goes into the smallest pool that fits")
def pool_choice(world: ProducerWorld) -> None:
    pools = world.driver.pools()
    for one in world.whole(_COUNT):
        fits = [pool for pool in pools if pool.stride_bytes >= one.slot.nbytes]
        best = min(fits, key=lambda pool: pool.stride_bytes)  # the first of equal ones
        want(
            one.slot.pool_id == best.pool_id,
            f"{one.slot.nbytes} bytes are in pool {one.slot.pool_id}, expected {best.pool_id}",
        )


@check(FRAME_CHECKS, "W-093 W-010", "slots of other pools are not touched")
def other_pools(world: ProducerWorld) -> None:
    world.fresh()
    frames = [one for one in world.frames(_COUNT) if one.is_whole]
    regions = world.driver.regions
    assert regions is not None
    used = {one.slot.pool_id for one in world.seen}
    for pool, region in zip(regions.pools, regions.payloads, strict=True):
        if pool.pool_id in used:
            continue
        for one in frames:
            at = SUPERBLOCK_BYTES + pool.stride_bytes * one.slot.payload_slot
            want(
                not any(region.memory[at : at + 64]),
                f"pool {pool.pool_id} was written, though every frame names another",
            )


@check(
    FRAME_CHECKS,
    "W-065 W-097 W-099",
    "timestamps are of a clock of W-099 and do not decrease; metadata versions agree",
)
def timestamps(world: ProducerWorld) -> None:
    last = {"slot": 0, "descriptor": 0}
    for one in world.whole(_COUNT):
        stamps = {
            "slot": None if one.slot.timestamp_ns == _NULL else one.slot.timestamp_ns,
            "descriptor": one.descriptor.timestamp_ns,
        }
        for name, stamp in stamps.items():
            if stamp is None:
                continue
            want(stamp >= last[name], f"the {name} timestamp went from {last[name]} to {stamp}")
            last[name] = stamp
        at = one.heard.at_ns
        published = stamps["descriptor"]
        if published is not None:
            near = (abs(published - at), abs(published - time.time_ns()))
            want(min(near) < 10**10, f"descriptor timestamp {published} is of no known clock")
        versions = (one.descriptor.meta_version, one.slot.meta_version)
        want(
            versions[0] in (None, versions[1]),
            f"metadata version {versions[0]} in the descriptor, {versions[1]} in the slot",
        )


@check(
    FRAME_CHECKS, "W-004", "without a subscriber of its descriptors the producer goes on publishing"
)
def no_subscriber(world: ProducerWorld) -> None:
    world.whole(1)
    world.bus.ignore(*world.streams.descriptors)
    try:
        before = max(world.words())
        goes_on = world.until(lambda: max(world.words()) >= before + 10, 3 * world.patience_s)
        want(goes_on, "no frame was committed while no subscriber was there")
    finally:
        world.bus.listen(*world.streams.descriptors)


@check(
    FRAME_CHECKS,
    "W-053",
    "the producer refreshes the activity stamp of every region, each announce period",
)
def stamps(world: ProducerWorld) -> None:
    world.lease()
    world.driver.refreshes = False
    try:
        world.run_for(0.1 * world.period_s)
        regions = world.driver.regions
        assert regions is not None
        for _ in range(2):
            before = [region.activity_ns for region in regions.all]
            world.run_for(1.6 * world.period_s)
            still = [
                str(region.path)
                for region, stamp in zip(regions.all, before, strict=True)
                if region.activity_ns <= stamp
            ]
            want(not still, f"not refreshed: {', '.join(still)}")
        age_s = (time.monotonic_ns() - regions.ring.activity_ns) / 1e9
        want(-1 < age_s < 2 * world.period_s + 1, f"the stamp is {age_s:.1f} s old")
    finally:
        world.driver.refreshes = True


@check(FRAME_CHECKS, "W-052 D-001", "the rest of the superblock stays as the driver made it")
def superblocks(world: ProducerWorld) -> None:
    world.fresh()
    regions = world.driver.regions
    assert regions is not None
    before = [region.memory[:56] for region in regions.all]
    world.frames(_COUNT)
    want(before == [region.memory[:56] for region in regions.all], "a superblock was changed")
