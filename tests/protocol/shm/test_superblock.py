from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_pool.protocol.errors import ShmValidationError
from tensor_pool.protocol.shm.geometry import RegionGeometry
from tensor_pool.protocol.shm.superblock import (
    activity_is_fresh,
    activity_of,
    check_activity,
    check_superblock,
    decode_superblock,
    encode_superblock,
    set_activity,
    write_superblock,
)
from tensor_pool.protocol.wire.frame_descriptor import (
    NULL_U32,
    SUPERBLOCK,
    SUPERBLOCK_BYTES,
    SUPERBLOCK_MAGIC,
)
from tensor_pool.protocol.wire.generated.enums import RegionType

RING = RegionGeometry(stream_id=10000, epoch=7, nslots=8)
POOL = RegionGeometry(10000, 7, 8, 1, 4096, RegionType.PAYLOAD_POOL)

V6 = bytes.fromhex(
    "314d48534c504f5401000000070000000000000010270000020001000800000000100000001000"
    "00d204000000000000e803000000000000d007000000000000"
)


def test_W_051_golden_vector_V6() -> None:
    """W-050, W-051: 64 bytes, the magic little-endian."""
    assert len(V6) == SUPERBLOCK_BYTES == 64
    record = bytearray(encode_superblock(POOL, pid=1234, now_ns=1000))
    words = memoryview(record).cast("Q")
    set_activity(words, 2000)
    assert activity_of(words) == 2000
    assert bytes(record) == V6
    assert record[:8] == bytes.fromhex("314d48534c504f54")
    superblock = decode_superblock(V6)
    assert superblock.magic == 0x544F504C53484D31
    assert (superblock.pid, superblock.start_timestamp_ns) == (1234, 1000)
    check_superblock(superblock, POOL, "/x")


def test_a_header_ring_superblock_has_slot_size_256_and_no_stride() -> None:
    superblock = decode_superblock(encode_superblock(RING, pid=1, now_ns=2))
    assert (superblock.region_type, superblock.pool_id) == (1, 0)
    assert (superblock.slot_bytes, superblock.stride_bytes) == (256, 0)


FIELDS = (
    "magic",
    "layout_version",
    "epoch",
    "stream_id",
    "region_type",
    "pool_id",
    "nslots",
    "slot_bytes",
    "stride_bytes",
    "pid",
    "start_timestamp_ns",
    "activity_timestamp_ns",
)


def altered(region: RegionGeometry, **changes: int) -> bytes:
    values = list(SUPERBLOCK.unpack(encode_superblock(region, pid=1, now_ns=2)))
    for name, value in changes.items():
        values[FIELDS.index(name)] = value
    return SUPERBLOCK.pack(*values)


def refusal(region: RegionGeometry, **changes: int) -> ShmValidationError:
    with pytest.raises(ShmValidationError) as caught:
        check_superblock(decode_superblock(altered(region, **changes)), region, "/x")
    assert caught.value.step == 12
    return caught.value


@pytest.mark.parametrize("region", [RING, POOL], ids=["ring", "pool"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("magic", 0x314D48534C504F54),
        ("magic", 0),
        ("layout_version", 2),
        ("epoch", 6),
        ("epoch", 8),
        ("stream_id", 10001),
        ("region_type", 0),
        ("region_type", -32768),
        ("pool_id", 2),
        ("nslots", 16),
        ("slot_bytes", 128),
        ("slot_bytes", 0),
    ],
)
def test_W_054_each_compared_field_alone_causes_rejection(
    region: RegionGeometry, field: str, value: int
) -> None:
    """W-051, W-054."""
    assert field in refusal(region, **{field: value}).seen


def test_W_054_region_types_may_not_be_swapped() -> None:
    assert "region_type" in refusal(RING, region_type=2).seen
    assert "region_type" in refusal(POOL, region_type=1).seen


def test_W_054_strides() -> None:
    """A pool's stride must match; that of a header ring is not looked at."""
    assert "stride_bytes" in refusal(POOL, stride_bytes=8192).seen
    check_superblock(decode_superblock(altered(RING, stride_bytes=4096)), RING, "/x")


def test_W_054_a_pools_slot_bytes_may_be_null() -> None:
    check_superblock(decode_superblock(altered(POOL, slot_bytes=NULL_U32)), POOL, "/x")
    refusal(RING, slot_bytes=NULL_U32)


def test_W_054_nslots_must_be_a_power_of_two_even_if_announced_so() -> None:
    """W-011, W-054."""
    twelve = RegionGeometry(stream_id=10000, epoch=7, nslots=12)
    assert refusal(twelve).wanted == "a power of two"


def test_W_054_pid_and_timestamps_are_not_compared() -> None:
    block = altered(RING, pid=99, start_timestamp_ns=0, activity_timestamp_ns=0)
    check_superblock(decode_superblock(block), RING, "/x")


def test_a_refusal_names_region_path_and_values() -> None:
    error = refusal(POOL, epoch=8)
    assert str(error) == "pool 1 at /x refused (step 12): superblock epoch 8; expected 7"


@pytest.mark.parametrize(
    ("activity", "now", "fresh"),
    [
        (100, 100, True),
        (100, 130, True),
        (100, 131, False),
        (0, 10, False),
        (200, 100, True),
    ],
    ids=["now", "window", "one more", "zero", "future"],
)
def test_W_055_activity_within_the_freshness_window(activity: int, now: int, fresh: bool) -> None:
    assert activity_is_fresh(activity, now_ns=now, window_ns=30) is fresh
    block = decode_superblock(altered(RING, activity_timestamp_ns=activity))
    if fresh:
        check_activity(block, RING, "/x", now_ns=now, window_ns=30)
    else:
        with pytest.raises(ShmValidationError, match="refreshed"):
            check_activity(block, RING, "/x", now_ns=now, window_ns=30)


def test_W_014_the_magic_is_stored_last() -> None:
    stores: list[object] = []

    class Recorder:
        def __init__(self, view: memoryview) -> None:
            self.view = view

        def __setitem__(self, key: object, value: object) -> None:
            stores.append(key if isinstance(key, slice) else (key, value))
            self.view[key] = value  # type: ignore[index, assignment]

    record = bytearray(altered(RING, epoch=3))
    view = memoryview(record)
    write_superblock(
        Recorder(view),  # type: ignore[arg-type]
        Recorder(view.cast("Q")),  # type: ignore[arg-type]
        RING,
        pid=1,
        now_ns=2,
    )
    assert stores == [(0, 0), slice(8, 64, None), (0, SUPERBLOCK_MAGIC)]
    assert bytes(record) == encode_superblock(RING, pid=1, now_ns=2)


@given(st.binary(max_size=130))
def test_W_220_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    if len(data) < 64:
        with pytest.raises(ValueError, match="64 bytes"):
            decode_superblock(data)
        return
    superblock = decode_superblock(data)
    with pytest.raises(ShmValidationError):
        check_superblock(superblock, RING, "/x")
