"""The first 64 bytes of a region file: what it is, for which epoch, and whether its owner lives.

Written once at creation, magic last (W-014, W-052); afterwards only the activity stamp changes,
with one aligned store (W-053). Readers compare a private copy with what was announced (W-054).
"""

from __future__ import annotations

from ..errors import ShmValidationError
from ..wire.frame_descriptor import (
    NULL_U32,
    SLOT_BYTES,
    SUPERBLOCK,
    SUPERBLOCK_ACTIVITY_OFFSET,
    SUPERBLOCK_BYTES,
    SUPERBLOCK_MAGIC,
)
from ..wire.generated.control_messages import ShmRegionSuperblock
from ..wire.generated.enums import RegionType
from .geometry import RegionGeometry, is_power_of_two

__all__ = [
    "activity_is_fresh",
    "activity_of",
    "check_activity",
    "check_superblock",
    "decode_superblock",
    "encode_superblock",
    "set_activity",
    "write_superblock",
]

_ACTIVITY_WORD = SUPERBLOCK_ACTIVITY_OFFSET // 8
_STEP = 12


def decode_superblock(data: bytes | memoryview) -> ShmRegionSuperblock:
    """Read the superblock at the start of `data`; pass a copy where the memory is shared.

    Nothing is checked: `region_type` may be any number. Raises ValueError for fewer than 64 bytes.
    """
    if len(data) < SUPERBLOCK_BYTES:
        raise ValueError(f"a superblock has {SUPERBLOCK_BYTES} bytes, not {len(data)}")
    return ShmRegionSuperblock(*SUPERBLOCK.unpack_from(data))


def encode_superblock(region: RegionGeometry, *, pid: int, now_ns: int) -> bytes:
    """The superblock of a new region, created and last refreshed at `now_ns`."""
    return SUPERBLOCK.pack(
        SUPERBLOCK_MAGIC,
        region.layout_version,
        region.epoch,
        region.stream_id,
        region.region_type,
        region.pool_id,
        region.nslots,
        region.slot_bytes,
        region.stride_bytes,
        pid,
        now_ns,
        now_ns,
    )


def write_superblock(
    buffer: memoryview, words: memoryview, region: RegionGeometry, *, pid: int, now_ns: int
) -> None:
    """Write a superblock into a new mapping; a reader of the magic reads all of it (W-014)."""
    record = encode_superblock(region, pid=pid, now_ns=now_ns)
    words[0] = 0
    buffer[8:SUPERBLOCK_BYTES] = record[8:]
    words[0] = SUPERBLOCK_MAGIC


def activity_of(words: memoryview) -> int:
    """The activity stamp of a mapped region in ns, in one aligned load."""
    stamp: int = words[_ACTIVITY_WORD]
    return stamp


def set_activity(words: memoryview, now_ns: int) -> None:
    """Refresh the activity stamp of a mapped region, in one aligned store (W-053)."""
    words[_ACTIVITY_WORD] = now_ns


def activity_is_fresh(activity_ns: int, *, now_ns: int, window_ns: int) -> bool:
    """Return whether a stamp is set and not older than the freshness window (W-055).

    Stamps in the future are fresh: clocks are read at different moments.
    """
    return activity_ns != 0 and now_ns - activity_ns <= window_ns


def check_activity(
    superblock: ShmRegionSuperblock,
    region: RegionGeometry,
    path: str,
    *,
    now_ns: int,
    window_ns: int,
) -> None:
    """Raise ShmValidationError for a region that is no longer refreshed (W-055)."""
    activity = superblock.activity_timestamp_ns
    if not activity_is_fresh(activity, now_ns=now_ns, window_ns=window_ns):
        seen = f"last refreshed {now_ns - activity} ns ago" if activity else "never refreshed"
        raise ShmValidationError(region.name, path, _STEP, seen, f"at most {window_ns} ns ago")


def check_superblock(superblock: ShmRegionSuperblock, region: RegionGeometry, path: str) -> None:
    """Compare a superblock with what was announced or granted (W-054).

    `pid` and the timestamps are not compared, nor is the stride of a header ring. Raises
    ShmValidationError naming the first field that differs.
    """
    is_pool = region.region_type is RegionType.PAYLOAD_POOL
    for field, seen, wanted in (
        ("magic", superblock.magic, SUPERBLOCK_MAGIC),
        ("layout_version", superblock.layout_version, region.layout_version),
        ("epoch", superblock.epoch, region.epoch),
        ("stream_id", superblock.stream_id, region.stream_id),
        ("region_type", superblock.region_type, int(region.region_type)),
        ("pool_id", superblock.pool_id, region.pool_id),
        ("nslots", superblock.nslots, region.nslots),
        ("stride_bytes", superblock.stride_bytes if is_pool else 0, region.stride_bytes),
    ):
        if seen != wanted:
            shown = (f"{seen:#x}", f"{wanted:#x}") if field == "magic" else (str(seen), str(wanted))
            _refuse(region, path, f"superblock {field} {shown[0]}", shown[1])
    if not is_power_of_two(superblock.nslots):
        _refuse(region, path, f"superblock nslots {superblock.nslots}", "a power of two")
    # Some writers leave the slot size of a pool null.
    accepted = (region.stride_bytes, NULL_U32) if is_pool else (SLOT_BYTES,)
    if superblock.slot_bytes not in accepted:
        _refuse(region, path, f"superblock slot_bytes {superblock.slot_bytes}", str(accepted[0]))


def _refuse(region: RegionGeometry, path: str, seen: str, wanted: str) -> None:
    raise ShmValidationError(region.name, path, _STEP, seen, wanted)
