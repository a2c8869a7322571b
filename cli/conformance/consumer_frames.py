"""Checks of the way a consumer takes frames (sections 6, 7, 10 and 11 of `wire.md`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensor_pool.protocol.wire import QosConsumer

from .check import Check, check, want
from .consumer_world import ConsumerWorld

__all__ = ["FRAME_CHECKS"]

FRAME_CHECKS: list[Check[ConsumerWorld]] = []
_NULL64 = 2**64 - 1

type Case = tuple[str, dict[str, Any]]


def _header(index: int, value: int) -> dict[str, Any]:
    header = [192, 184, 52, 900, 1]
    header[index] = value
    return {"header": tuple(header)}


def _tensor(**changes: int) -> dict[str, Any]:
    fields = {"dtype": 9, "order": 1, "ndims": 2, "align": 0, "unit": 0, "stride": 0, **changes}
    return {"tensor": tuple(fields.values())}


# Slots that must be dropped, with the row of W-106 (and the rule behind it).
BAD_SLOTS: tuple[Case, ...] = (
    ("commit word in progress (row 8, W-080, W-087)", {"word": "in progress"}),
    ("commit word of another frame (row 9)", {"word": "another"}),
    ("header length 191 (row 12, W-074)", _header(0, 191)),
    ("embedded block length 183 (row 12)", _header(1, 183)),
    ("embedded template 51 (row 12)", _header(2, 51)),
    ("embedded schema 901 (row 12)", _header(3, 901)),
    ("embedded version 2 (row 12)", _header(4, 2)),
    ("payload_slot beyond the ring (row 13, W-083)", {"payload_slot": 2**31}),
    ("payload_slot of another frame (row 14, W-063)", {"payload_slot": "another"}),
    ("payload_offset 64 (row 15, W-063)", {"payload_offset": 64}),
    ("dtype 0 (row 16, W-075)", _tensor(dtype=0)),
    ("dtype 12 (row 16)", _tensor(dtype=12)),
    ("dtype 15 (row 16)", _tensor(dtype=15)),
    ("dtype -32768 (row 16)", _tensor(dtype=-32768)),
    ("major_order 0 (row 16)", _tensor(order=0)),
    ("major_order 3 (row 16)", _tensor(order=3)),
    ("progress_unit 3 (row 16)", _tensor(unit=3, stride=24)),
    ("ndims 0 (row 17, W-070)", _tensor(ndims=0)),
    ("ndims 9 (row 17)", _tensor(ndims=9)),
    ("a negative size (row 17, W-072)", {"dims": (-1, 6)}),
    ("a negative stride (row 17, W-072)", {"strides": (24, -4)}),
    ("rows that overlap (row 17, W-073)", {"strides": (8, 4)}),
    ("a stride below the element (row 17, W-073)", {"strides": (24, 2)}),
    ("rows in column order that overlap (row 17)", _tensor(order=2) | {"strides": (12, 4)}),
    ("progress stride 8 (row 18, W-076)", _tensor(unit=1, stride=8)),
    ("progress stride 0 (row 18, W-076)", _tensor(unit=1)),
    (
        "columns of a vector (row 18, W-076)",
        _tensor(ndims=1, unit=2, stride=4) | {"dims": (12,), "strides": (4,)},
    ),
    ("an unknown pool (row 19, W-083)", {"pool_id": 99}),
    ("more bytes than the slot has (row 20, W-064)", {"nbytes": 641}),
    ("2^32 - 1 bytes (row 20, W-220)", {"nbytes": 2**32 - 1}),
    ("a shape larger than the payload (row 21, W-077)", {"nbytes": 47}),
    (
        "eight sizes of 2^31 - 1 (row 21, W-073)",
        _tensor(ndims=8) | {"dims": (2**31 - 1,) * 8, "strides": (0,) * 8},
    ),
)

# Slots that are unusual and right.
GOOD_SLOTS: tuple[Case, ...] = (
    ("padding that is not zero (W-062)", {"pad": b"\xa5" * 26, "pad_end": b"\x5a" * 109}),
    (
        "entries behind the last dimension (W-071)",
        {"dims": (2, 6, -1, 7, 7, 7, 7, 7), "strides": (24, 4, -9, 1, 1, 1, 1, 1)},
    ),
    ("an empty frame, dims [0] (W-064)", {"nbytes": 0, "dims": (0, 6)}),
    ("an empty frame, dims [16] (W-064)", _tensor(ndims=1) | {"nbytes": 0, "dims": (16,)}),
    ("strides to be inferred (W-073)", {"strides": (0, 0)}),
    ("one stride to be inferred (W-073)", {"strides": (0, 4)}),
    ("padded rows (W-073)", {"nbytes": 64, "strides": (32, 4)}),
    ("column order (W-073)", _tensor(order=2) | {"strides": (4, 8)}),
    ("more payload than the shape takes (W-077)", {"nbytes": 100}),
    ("progress by rows (W-076)", _tensor(unit=1, stride=24)),
    ("progress by columns (W-076)", _tensor(unit=2, stride=4)),
    ("no timestamp (W-065)", {"timestamp_ns": _NULL64}),
    ("a metadata version that was never sent (W-194)", {"meta_version": 9}),
    ("a whole slot (W-064)", {"nbytes": 640}),
    *(
        (
            f"dtype {dtype} (section 7.2)",
            _tensor(dtype=dtype, ndims=1) | {"dims": (4,), "strides": (0,)},
        )
        for dtype in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 14)
    ),
)


def _put(world: ConsumerWorld, case: Case) -> None:
    seq = world.next_seq
    changes = dict(case[1])
    if changes.get("word") == "in progress":
        changes["word"] = 2 * seq
    elif changes.get("word") == "another":
        # Of the slot behind: that of a later round is a frame to a program that reads the ring.
        changes["word"] = 2 * (seq + 1) + 1
    if changes.get("payload_slot") == "another":
        changes["payload_slot"] = (seq + 1) & (world.driver.options.nslots - 1)
    world.publish(**changes)


def _strange(world: ConsumerWorld, cases: tuple[Case, ...], *, dropped: bool) -> list[str]:
    """Return the first case that was handled otherwise, twice; a busy program may skip frames."""
    return _first_strange(world, cases, dropped) and _first_strange(world, cases, dropped)


def _first_strange(world: ConsumerWorld, cases: tuple[Case, ...], dropped: bool) -> list[str]:
    """Return the first case that was handled otherwise; halves are tried again to find it."""
    before = world.fresh()
    for case in cases:
        _put(world, case)
    last = world.publish()
    if not world.reads_up_to(last):
        return [_name(cases, "it reads no further frames")]
    after = _latest(world, last)
    late, gap = after.drops_late - before.drops_late, after.drops_gap - before.drops_gap
    if (late, gap) == (len(cases) if dropped else 0, 0):
        return []
    if len(cases) == 1:
        return [_name(cases, f"dropsLate rose by {late}, dropsGap by {gap}")]
    half = len(cases) // 2
    return _first_strange(world, cases[:half], dropped) or _first_strange(
        world, cases[half:], dropped
    )


def _name(cases: tuple[Case, ...], what: str) -> str:
    names = cases[0][0] if len(cases) == 1 else f"{len(cases)} slots"
    return f"{names}: {what}"


def _latest(world: ConsumerWorld, seq: int) -> QosConsumer:
    """The report after the one that named a sequence, when all counters have followed."""
    world.reported(lambda one: one.last_seq_seen == seq)
    return world.reports()[-1]


@check(
    FRAME_CHECKS,
    "W-200 W-109 W-107",
    "QosConsumer names the epoch and the latest sequence, 0 included",
)
def reports(world: ConsumerWorld) -> None:
    world.fresh()
    lease = world.lease()
    mark = world.mark
    world.run_for(2.5 * world.period_s)
    found = world.reports(mark)
    want(len(found) >= 2, f"{len(found)} QosConsumer in 2.5 intervals of {world.period_s:g} s")
    for one in found:
        want(one.consumer_id == lease.client_id, f"consumerId is {one.consumer_id}")
        want(one.epoch == world.driver.epoch, f"epoch is {one.epoch}")
        want(one.last_seq_seen == 1, f"lastSeqSeen is {one.last_seq_seen}, expected 1")


@check(FRAME_CHECKS, "W-103 W-104 W-105", "frames that are not announced are counted in dropsGap")
def gaps(world: ConsumerWorld) -> None:
    before = world.fresh()
    world.next_seq += 3
    world.publish()
    last = world.publish()
    want(world.reads_up_to(last), f"it does not report frame {last} behind a gap of 3")
    after = _latest(world, last)
    gap, late = after.drops_gap - before.drops_gap, after.drops_late - before.drops_late
    want((gap, late) == (3, 0), f"a gap of 3 gave dropsGap +{gap}, dropsLate +{late}")
    again = world.fresh()
    want(again.drops_gap >= after.drops_gap, "dropsGap went back when the epoch changed")


@check(
    FRAME_CHECKS,
    "W-106 W-064 W-070 W-072 W-073 W-074 W-075 W-076 W-077 W-080 W-082 W-083 W-087 W-104 W-111",
    "every slot that is not right is dropped and counted once in dropsLate",
)
def bad_slots(world: ConsumerWorld) -> None:
    strange = _strange(world, BAD_SLOTS, dropped=True)
    want(not strange, "; ".join(strange))


@check(
    FRAME_CHECKS,
    "W-062 W-064 W-065 W-071 W-073 W-075 W-076 W-077 W-078 W-194",
    "slots that are unusual and right are accepted",
)
def good_slots(world: ConsumerWorld) -> None:
    strange = _strange(world, GOOD_SLOTS, dropped=False)
    want(not strange, "; ".join(strange))


def _ignored(world: ConsumerWorld, what: str, send: Callable[[], None]) -> None:
    before = world.fresh()
    send()
    last = world.publish()
    want(world.reads_up_to(last), f"after {what} it does not report frame {last}")
    after = _latest(world, last)
    same = (after.drops_gap, after.drops_late) == (before.drops_gap, before.drops_late)
    want(same, f"{what} counted as a gap or late frame")


@check(FRAME_CHECKS, "W-106 W-104", "a descriptor that comes twice counts in no total")
def duplicates(world: ConsumerWorld) -> None:
    def send() -> None:
        seq = world.publish()
        world.announce_frame(seq)
        world.announce_frame(seq)

    _ignored(world, "a duplicate", send)


@check(FRAME_CHECKS, "W-002 W-106", "descriptors of other tensor streams are ignored")
def other_streams(world: ConsumerWorld) -> None:
    _ignored(
        world,
        "a descriptor of another stream",
        lambda: world.announce_frame(5000, stream_id=world.stream_id + 1),
    )


@check(FRAME_CHECKS, "W-144 W-106 W-003", "descriptors of an earlier epoch are only dropped")
def earlier_epoch(world: ConsumerWorld) -> None:
    _ignored(
        world,
        "a descriptor of an earlier epoch",
        lambda: world.announce_frame(5000, epoch=world.driver.epoch - 1),
    )


@check(FRAME_CHECKS, "W-108 W-111 W-220", "many drops in a row change nothing")
def many_drops(world: ConsumerWorld) -> None:
    world.fresh()
    nslots = world.driver.options.nslots
    for _ in range(6):
        for case in BAD_SLOTS[2 : 2 + nslots // 2]:
            _put(world, case)
        world.publish()
        want(world.reads_up_to(world.next_seq - 1), "it reads no further frames")


@check(
    FRAME_CHECKS, "W-001 W-220", "unknown and mangled messages on the descriptor stream are ignored"
)
def mangled_descriptors(world: ConsumerWorld) -> None:
    def send() -> None:
        for data in (
            b"\1",
            b"\0" * 48,
            b"\xff" * 48,
            bytes(range(128)),
            b"\x28\0\4\0\x84\3\2\0" + bytes(40),
        ):
            world.bus.send(*world.streams.descriptors, data)

    _ignored(world, "a mangled message", send)


@check(
    FRAME_CHECKS,
    "W-088 W-106",
    "the largest sequences are ordinary ones; tracking restarts after a large gap",
)
def large_gap(world: ConsumerWorld) -> None:
    world.fresh()
    world.next_seq = 2**40
    for _ in range(3):
        world.publish()
    last = world.publish()
    want(world.reads_up_to(last), f"it does not report frame {last} behind a gap of 2^40")


@check(FRAME_CHECKS, "W-033 W-223", "regions are mapped for reading only")
def read_only(world: ConsumerWorld) -> None:
    world.fresh()
    found: list[tuple[str, str]] = []

    def is_mapped() -> bool:
        found[:] = world.mappings()
        return bool(found)

    world.need(world.until(is_mapped), "no process of this user and host maps the regions visibly")
    writable = [path for rights, path in found if "w" in rights]
    want(not writable, f"{writable[:1]} is mapped writable")


@check(FRAME_CHECKS, "W-142 W-143 W-132", "regions of an epoch that has ended are unmapped")
def unmapped(world: ConsumerWorld) -> None:
    world.fresh()
    seen = world.until(world.mappings)
    world.need(seen, "no process of this user and host maps the regions visibly")
    for _ in range(3):
        world.fresh()
    world.publish(3)

    def old() -> list[str]:
        return [path for _, path in world.mappings() if f"/{world.driver.epoch}/" not in path]

    world.until(lambda: not old())
    want(not old(), f"{len(old())} regions of earlier epochs stay mapped: {old()[:1]}")
