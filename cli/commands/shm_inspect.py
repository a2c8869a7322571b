"""`shm inspect`: what region files say about themselves, read without mapping or locking anything.

A path may name a region file, or a directory of them: an epoch, a stream, a namespace. Values are
shown as they stand in the file, and each that the format does not allow is marked as a problem.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import msgspec

from tensor_pool.protocol.errors import ShmValidationError
from tensor_pool.protocol.shm.commit_word import is_committed, seq_of
from tensor_pool.protocol.shm.epoch_directories import HEADER_FILE, process_is_alive
from tensor_pool.protocol.shm.geometry import LAYOUT_VERSION, RegionGeometry
from tensor_pool.protocol.shm.slot_header import (
    HEADER_IMAGE_BYTES,
    SLOT_IMAGE,
    SlotFault,
    decode_header_image,
    timestamp_or_none,
)
from tensor_pool.protocol.shm.superblock import check_superblock, decode_superblock
from tensor_pool.protocol.shm.uri import parse_region_uri
from tensor_pool.protocol.wire import RegionType, ShmRegionSuperblock
from tensor_pool.protocol.wire.frame_descriptor import NULL_U32, SLOT_BYTES, SUPERBLOCK_BYTES

from ..pool_view.tables import bytes_text
from ..support.exit_status import FAILED, OK, USAGE, CommandError

__all__ = ["RegionReport", "SlotReport", "inspect_regions", "report_region"]

_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_MOST_SLOTS = 1 << 20


class SlotReport(msgspec.Struct, kw_only=True):
    """One slot of a header ring. `fault` is why a consumer would refuse it."""

    slot: int
    seq: int
    committed: bool
    nbytes: int
    pool_id: int
    timestamp_ns: str | None
    age_ms: float | None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    fault: str | None = None


class RegionReport(msgspec.Struct, kw_only=True):
    """One region file. Numbers that exceed 2^53 are text."""

    path: str
    file_bytes: int
    expected_bytes: int
    mode: str
    region_type: str
    stream_id: int
    epoch: str
    pool_id: int
    layout_version: int
    nslots: int
    slot_bytes: int | None  # other writers leave it null in a pool (W-054)
    stride_bytes: int
    pid: str
    owner_is_alive: bool
    started_s_ago: float
    activity_s_ago: float
    problems: list[str]
    slots: list[SlotReport] = []


def inspect_regions(target: str, *, slots: int, as_json: bool) -> int:
    """Print a report of every region below a path or behind a URI; FAILED if one has a problem."""
    path = Path(parse_region_uri(target).path if target.startswith("shm:") else target)
    reports = [report_region(file, slots=slots) for file in _region_files(path)]
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(reports).decode()))
    else:
        print("\n\n".join(map(_as_text, reports)))
    return FAILED if any(report.problems for report in reports) else OK


def report_region(path: Path, *, slots: int) -> RegionReport:
    """Read one region file, with the newest `slots` slots of a header ring.

    CommandError if it is none.
    """
    fd = os.open(path, _OPEN)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise CommandError(f"{path}: not a regular file", USAGE)
        data = os.pread(fd, SUPERBLOCK_BYTES, 0)
        if len(data) < SUPERBLOCK_BYTES:
            raise CommandError(f"{path}: {len(data)} bytes, too short for a region", USAGE)
        superblock = decode_superblock(data)
        report = _report(path, status, superblock)
        if superblock.region_type == RegionType.HEADER_RING and slots:
            report.slots = _slots(fd, superblock, slots)
    finally:
        os.close(fd)
    return report


def _region_files(path: Path) -> list[Path]:
    if not path.exists():
        raise CommandError(f"{path}: no such file or directory", USAGE)
    if not path.is_dir():
        return [path]
    found = sorted(
        file
        for file in path.rglob("*")
        if (file.name == HEADER_FILE or file.suffix == ".pool") and not file.is_symlink()
    )
    if not found:
        raise CommandError(f"{path}: no region files in it", USAGE)
    return found


def _report(path: Path, status: os.stat_result, superblock: ShmRegionSuperblock) -> RegionReport:
    now_ns = time.monotonic_ns()
    is_ring = superblock.region_type == RegionType.HEADER_RING
    region = RegionGeometry(
        stream_id=superblock.stream_id,
        epoch=superblock.epoch,
        nslots=superblock.nslots,
        pool_id=superblock.pool_id,
        stride_bytes=0 if is_ring else superblock.stride_bytes,
        region_type=RegionType.HEADER_RING if is_ring else RegionType.PAYLOAD_POOL,
    )
    problems = []
    try:
        check_superblock(superblock, region, str(path))
    except ShmValidationError as error:
        problems.append(f"{error.seen}; expected {error.wanted}")
    if superblock.layout_version != LAYOUT_VERSION and not problems:
        problems.append(f"layout version {superblock.layout_version}; expected {LAYOUT_VERSION}")
    if status.st_size < region.length_bytes:
        problems.append(f"{status.st_size} bytes; expected at least {region.length_bytes}")
    return RegionReport(
        path=str(path),
        file_bytes=status.st_size,
        expected_bytes=region.length_bytes,
        mode=f"{stat.S_IMODE(status.st_mode):o}",
        region_type=_type_name(superblock.region_type),
        stream_id=superblock.stream_id,
        epoch=str(superblock.epoch),
        pool_id=superblock.pool_id,
        layout_version=superblock.layout_version,
        nslots=superblock.nslots,
        slot_bytes=None if superblock.slot_bytes == NULL_U32 else superblock.slot_bytes,
        stride_bytes=superblock.stride_bytes,
        pid=str(superblock.pid),
        owner_is_alive=process_is_alive(superblock.pid),
        started_s_ago=_seconds_ago(superblock.start_timestamp_ns, now_ns),
        activity_s_ago=_seconds_ago(superblock.activity_timestamp_ns, now_ns),
        problems=problems,
    )


def _slots(fd: int, superblock: ShmRegionSuperblock, count: int) -> list[SlotReport]:
    """The slots with the highest sequences, newest first; unused ones are left out.

    A producer may be writing: what is shown of a slot that changed meanwhile is marked.
    """
    reports = []
    for index in range(min(superblock.nslots, _MOST_SLOTS)):
        offset = SUPERBLOCK_BYTES + SLOT_BYTES * index
        data = os.pread(fd, SLOT_BYTES, offset)
        if len(data) < SLOT_BYTES:
            break
        word = int.from_bytes(data[:8], "little")
        if word:
            again = os.pread(fd, 8, offset)
            reports.append(_slot(index, word, data, changed=again != data[:8]))
    reports.sort(key=lambda report: report.seq, reverse=True)
    return reports[:count]


def _slot(index: int, word: int, data: bytes, *, changed: bool) -> SlotReport:
    nbytes, payload_slot, pool_id, payload_offset, timestamp, _, image = SLOT_IMAGE.unpack_from(
        data, 8
    )
    captured_ns = timestamp_or_none(timestamp)
    report = SlotReport(
        slot=index,
        seq=seq_of(word),
        committed=is_committed(word),
        nbytes=nbytes,
        pool_id=pool_id,
        timestamp_ns=None if captured_ns is None else str(captured_ns),
        age_ms=None if captured_ns is None else (time.monotonic_ns() - captured_ns) / 1e6,
    )
    assert len(image) == HEADER_IMAGE_BYTES
    layout = decode_header_image(image)
    if changed:
        report.fault = "changed while it was read"
    elif isinstance(layout, SlotFault):
        report.fault = layout.name.lower()
    elif payload_slot != index or payload_offset:
        report.fault = f"payload slot {payload_slot}, offset {payload_offset}"
    if not isinstance(layout, SlotFault):
        report.dtype, report.shape = layout.dtype.name.lower(), layout.shape
    return report


def _type_name(region_type: int) -> str:
    try:
        return RegionType(region_type).name.lower()
    except ValueError:
        return f"unknown ({int(region_type)})"


def _seconds_ago(stamp_ns: int, now_ns: int) -> float:
    return round((now_ns - stamp_ns) / 1e9, 3)


def _as_text(report: RegionReport) -> str:
    owner = "alive" if report.owner_is_alive else "gone"
    of = f"pool {report.pool_id}" if report.pool_id else "header ring"
    lines = [
        report.path,
        f"  {of} of stream {report.stream_id} epoch {report.epoch}, {report.region_type},"
        f" layout {report.layout_version}",
        f"  {report.nslots} slots of {bytes_text(report.slot_bytes or report.stride_bytes)},"
        f" {bytes_text(report.file_bytes)}, mode {report.mode}",
        f"  process {report.pid} ({owner}), made {report.started_s_ago:.1f} s ago,"
        f" last sign of life {report.activity_s_ago:.1f} s ago",
    ]
    lines += [f"  problem: {problem}" for problem in report.problems]
    lines += [f"  {_slot_text(slot)}" for slot in report.slots]
    return "\n".join(lines)


def _slot_text(slot: SlotReport) -> str:
    state = "committed" if slot.committed else "being written"
    what = f"{slot.dtype} {'x'.join(map(str, slot.shape))}" if slot.shape is not None else ""
    age = f", {slot.age_ms:.1f} ms old" if slot.age_ms is not None else ""
    fault = f"  ({slot.fault})" if slot.fault else ""
    return (
        f"slot {slot.slot:4}  seq {slot.seq}  {state}  {what}  {bytes_text(slot.nbytes)}"
        f" in pool {slot.pool_id}{age}{fault}"
    )
