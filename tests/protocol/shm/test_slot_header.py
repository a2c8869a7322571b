from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_pool.protocol.shm.slot_header import (
    HEADER_IMAGE_BYTES,
    SLOT_IMAGE,
    SlotFault,
    SlotValidator,
    decode_header_image,
    header_image,
    meta_version_or_none,
    payload_offset,
    slot_body_offset,
    timestamp_or_none,
)
from tensor_pool.protocol.shm.tensor import TensorLayout, tensor_layout
from tensor_pool.protocol.wire.generated.enums import Dtype, MajorOrder, ProgressUnit

V7 = bytes.fromhex(
    "0b00000000000000 18000000 05000000 0100 00000000 15cd5b0700000000 03000000"
    + "00" * 26
    + "c0000000 b800 3400 8403 0100 0900 0100 02 00 00 00000000"
    + "0200000003000000"
    + "00" * 24
    + "0c00000004000000"
    + "00" * 24
    + "00" * 109
)
LAYOUT = tensor_layout(Dtype.FLOAT32, (2, 3))

# Offsets in a slot as the specification tables them, to alter one field at a time.
VALUES_LEN, PAYLOAD_SLOT, POOL_ID, PAYLOAD_OFFSET, PAD = 8, 12, 16, 18, 34
HEADER_LENGTH, BLOCK_LENGTH, TEMPLATE, SCHEMA, VERSION = 60, 64, 66, 68, 70
DTYPE, ORDER, NDIMS, PAD_ALIGN, UNIT = 72, 74, 76, 77, 78
PROGRESS_STRIDE, DIMS, STRIDES = 79, 83, 115


def put(slot: bytes, offset: int, value: int, size: int) -> bytes:
    changed = bytearray(slot)
    changed[offset : offset + size] = value.to_bytes(size, "little", signed=value < 0)
    return bytes(changed)


def check(
    slot: bytes, *, header_index: int = 5, nslots: int = 8, pools: dict[int, int] | None = None
) -> TensorLayout | SlotFault:
    """Validate a 256-byte slot the way a consumer does."""
    validator = SlotValidator(nslots, pools or {1: 4096})
    length, payload_slot, pool, offset, _, _, image = SLOT_IMAGE.unpack_from(slot, 8)
    first = validator.check(header_index, length, payload_slot, pool, offset, image)
    again = validator.check(header_index, length, payload_slot, pool, offset, image)
    assert again == first, "the remembered header gives the same answer"
    return first


def written(slot: bytearray, layout: TensorLayout = LAYOUT) -> bytes:
    SLOT_IMAGE.pack_into(slot, 8, 24, 5, 1, 0, 123456789, 3, header_image(layout))
    return bytes(slot)


def test_W_060_golden_vector_V7() -> None:
    """W-060, W-061: every byte behind the commit word is written, whatever was there before."""
    assert len(V7) == 256
    slot = bytearray(b"\xff" * 256)
    assert written(slot)[8:] == V7[8:]
    assert slot[:8] == b"\xff" * 8, "the commit word is not touched"
    assert check(V7) == LAYOUT


def test_W_061_nothing_of_an_earlier_frame_is_left() -> None:
    slot = bytearray(256)
    written(slot, tensor_layout(Dtype.UINT8, (1, 2, 1, 1, 1, 1, 3, 4)))
    assert written(slot)[8:] == V7[8:]


def test_slots_and_payloads_lie_where_the_format_has_them() -> None:
    """W-010, W-050, W-090."""
    assert SLOT_IMAGE.size == 248
    assert HEADER_IMAGE_BYTES == 196
    assert [slot_body_offset(slot) for slot in (0, 1, 7)] == [72, 328, 64 + 256 * 7 + 8]
    assert [payload_offset(slot, 4096) for slot in (0, 1, 7)] == [64, 4160, 64 + 4096 * 7]


@settings(max_examples=50)
@given(
    st.binary(min_size=26, max_size=26),
    st.binary(min_size=109, max_size=109),
    st.binary(min_size=1, max_size=1),
)
def test_W_062_padding_is_ignored(pad: bytes, tail: bytes, align: bytes) -> None:
    slot = V7[:PAD] + pad + V7[60:PAD_ALIGN] + align + V7[UNIT:147] + tail
    assert check(slot) == LAYOUT


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (4, SlotFault.PAYLOAD_SLOT),
        (8, SlotFault.PAYLOAD_SLOT_RANGE),
        (2**32 - 1, SlotFault.PAYLOAD_SLOT_RANGE),
    ],
)
def test_W_063_payload_slot_must_be_the_header_index(value: int, fault: SlotFault) -> None:
    """W-063, W-106 rows 13 and 14."""
    assert check(put(V7, PAYLOAD_SLOT, value, 4)) is fault


def test_W_063_payload_offset_must_be_0() -> None:
    """W-063, W-106 row 15."""
    assert check(put(V7, PAYLOAD_OFFSET, 1, 4)) is SlotFault.PAYLOAD_OFFSET


def test_W_064_length_is_at_most_the_stride_of_the_pool() -> None:
    """W-064, W-083, W-106 row 20."""
    assert check(put(V7, VALUES_LEN, 4096, 4)) == LAYOUT
    assert check(put(V7, VALUES_LEN, 4097, 4)) is SlotFault.LENGTH
    assert check(put(V7, VALUES_LEN, 2**32 - 1, 4)) is SlotFault.LENGTH


@pytest.mark.parametrize("dims", [(0,), (16,)])
def test_W_064_an_empty_frame_is_valid(dims: tuple[int, ...]) -> None:
    slot = bytearray(256)
    layout = tensor_layout(Dtype.FLOAT32, dims)
    SLOT_IMAGE.pack_into(slot, 8, 0, 5, 1, 0, 1, 0, header_image(layout))
    assert check(bytes(slot)) == layout


def test_W_065_both_sentinels_mean_none() -> None:
    assert timestamp_or_none(2**64 - 1) is None
    assert timestamp_or_none(0) == 0
    assert meta_version_or_none(0) is None
    assert meta_version_or_none(2**32 - 1) is None
    assert meta_version_or_none(3) == 3


def test_W_066_a_slot_may_lie_at_an_odd_address() -> None:
    for start in (1, 3, 7):
        memory = bytearray(start + 256)
        view = memoryview(memory)[start:]
        SLOT_IMAGE.pack_into(view, 8, 24, 5, 1, 0, 123456789, 3, header_image(LAYOUT))
        assert bytes(view[8:]) == V7[8:]
        assert check(bytes(memory[start:])) == LAYOUT


@pytest.mark.parametrize("ndims", [0, 9, 255])
def test_W_070_ndims_outside_1_to_8_drop(ndims: int) -> None:
    """W-070, W-106 row 17."""
    assert check(put(V7, NDIMS, ndims, 1)) is SlotFault.SHAPE


def test_W_071_entries_above_ndims_are_written_as_0_and_ignored() -> None:
    assert header_image(LAYOUT)[DIMS - 60 + 8 : DIMS - 60 + 32] == bytes(24)
    garbage = put(put(V7, DIMS + 8, -5, 4), STRIDES + 28, 77, 4)
    assert check(garbage) == LAYOUT


def test_W_072_negative_entries_drop() -> None:
    """W-072, W-106 row 17."""
    assert check(put(V7, DIMS, -1, 4)) is SlotFault.SHAPE
    assert check(put(V7, DIMS + 4, -(2**31), 4)) is SlotFault.SHAPE
    assert check(put(V7, STRIDES, -1, 4)) is SlotFault.SHAPE
    assert isinstance(check(put(V7, DIMS, 0, 4)), TensorLayout)


@pytest.mark.parametrize("offset", [HEADER_LENGTH, BLOCK_LENGTH, TEMPLATE, SCHEMA, VERSION])
@pytest.mark.parametrize("step", [-1, 1])
def test_W_074_each_value_of_the_embedded_header_off_by_one_drops(offset: int, step: int) -> None:
    """W-074, W-106 row 12."""
    size = 4 if offset == HEADER_LENGTH else 2
    value = int.from_bytes(V7[offset : offset + size], "little")
    assert check(put(V7, offset, value + step, size)) is SlotFault.HEADER_FORMAT


@pytest.mark.parametrize(
    ("offset", "size", "value"),
    [(DTYPE, 2, value) for value in (0, 12, 15, -32768, -1)]
    + [(ORDER, 2, value) for value in (0, 3, -32768)]
    + [(UNIT, 1, value) for value in (3, 255)],
)
def test_W_075_unknown_values_drop(offset: int, size: int, value: int) -> None:
    """W-075, W-106 row 16."""
    assert check(put(V7, offset, value, size)) is SlotFault.UNKNOWN_VALUE


@pytest.mark.parametrize(
    ("unit", "stride", "accepted"),
    [
        (ProgressUnit.NONE, 0, True),
        (ProgressUnit.NONE, 99, True),
        (ProgressUnit.ROWS, 12, True),
        (ProgressUnit.ROWS, 8, False),
        (ProgressUnit.ROWS, 0, False),
        (ProgressUnit.COLUMNS, 4, True),
        (ProgressUnit.COLUMNS, 12, False),
    ],
)
def test_W_076_progress_stride(unit: ProgressUnit, stride: int, accepted: bool) -> None:
    """W-076, W-106 row 18: with the strides of V7 left for the reader to infer."""
    slot = put(put(put(V7, STRIDES, 0, 8), UNIT, unit, 1), PROGRESS_STRIDE, stride, 4)
    layout = check(slot)
    if not accepted:
        assert layout is SlotFault.PROGRESS_STRIDE
        return
    assert isinstance(layout, TensorLayout)
    assert layout.strides == (12, 4)
    assert layout.progress_unit is unit
    assert layout.progress_stride_bytes == (0 if unit is ProgressUnit.NONE else stride)


def test_W_076_columns_need_two_dimensions() -> None:
    slot = put(put(put(V7, NDIMS, 1, 1), UNIT, ProgressUnit.COLUMNS, 1), PROGRESS_STRIDE, 12, 4)
    assert check(slot) is SlotFault.PROGRESS_STRIDE


def test_W_076_columns_in_column_order_are_still_dimension_1() -> None:
    layout = tensor_layout(
        Dtype.FLOAT32, (2, 3), order=MajorOrder.COLUMN, progress_unit=ProgressUnit.COLUMNS
    )
    assert layout.progress_stride_bytes == 8
    assert decode_header_image(header_image(layout)) == layout


@pytest.mark.parametrize(("length", "accepted"), [(23, False), (24, True), (100, True)])
def test_W_077_the_extent_must_fit(length: int, accepted: bool) -> None:
    """W-077, W-106 row 21."""
    result = check(put(V7, VALUES_LEN, length, 4))
    assert result == (LAYOUT if accepted else SlotFault.EXTENT)


def test_W_077_the_extent_of_BIT_is_not_checked() -> None:
    slot = put(put(put(V7, DTYPE, Dtype.BIT, 2), DIMS, 1000, 4), STRIDES, 0, 8)
    layout = check(slot)
    assert isinstance(layout, TensorLayout)
    assert (layout.dtype, layout.extent) == (Dtype.BIT, 0)


def test_an_unmapped_pool_drops() -> None:
    """W-106 row 19."""
    assert check(put(V7, POOL_ID, 2, 2)) is SlotFault.POOL
    assert check(put(V7, POOL_ID, 0, 2)) is SlotFault.POOL


def test_W_106_rows_12_to_21_and_their_counters() -> None:
    assert [(fault.row, fault.counter) for fault in SlotFault] == [
        (12, "header_invalid"),
        (13, "payload_invalid"),
        (14, "header_invalid"),
        (15, "header_invalid"),
        (16, "header_invalid"),
        (17, "header_invalid"),
        (18, "header_invalid"),
        (19, "payload_invalid"),
        (20, "payload_invalid"),
        (21, "payload_invalid"),
    ]


BROKEN = {
    12: lambda slot: put(slot, VERSION, 2, 2),
    13: lambda slot: put(slot, PAYLOAD_SLOT, 99, 4),
    14: lambda slot: put(slot, PAYLOAD_SLOT, 4, 4),
    15: lambda slot: put(slot, PAYLOAD_OFFSET, 64, 4),
    16: lambda slot: put(slot, DTYPE, 12, 2),
    17: lambda slot: put(slot, DIMS, -1, 4),
    18: lambda slot: put(slot, UNIT, ProgressUnit.ROWS, 1),
    19: lambda slot: put(slot, POOL_ID, 9, 2),
    20: lambda slot: put(slot, VALUES_LEN, 5000, 4),
    21: lambda slot: put(slot, VALUES_LEN, 23, 4),
}


@pytest.mark.parametrize("first", sorted(BROKEN))
@pytest.mark.parametrize("later", sorted(BROKEN))
def test_W_106_the_first_failing_row_decides(first: int, later: int) -> None:
    if later < first:
        first, later = later, first
    fault = check(BROKEN[first](BROKEN[later](V7)))
    assert isinstance(fault, SlotFault)
    assert fault.row == first


def test_W_220_headers_that_keep_changing_do_not_grow_the_memory() -> None:
    validator = SlotValidator(8, {1: 4096})
    image = V7[60:]
    for number in range(1000):
        changed = image[:-4] + number.to_bytes(4, "little")
        assert validator.check(5, 24, 5, 1, 0, changed) == LAYOUT
    assert len(validator._known) <= SlotValidator._LIMIT


@settings(max_examples=200)
@given(st.binary(min_size=256, max_size=256))
def test_W_220_any_256_bytes_are_dropped(slot: bytes) -> None:
    """W-083, W-220: random bytes never make a frame and never raise."""
    assert isinstance(check(slot), SlotFault)


def test_W_220_slots_that_differ_a_little_stay_inside_the_payload() -> None:
    """W-083, W-220: whatever passes reaches no byte beyond what the slot of the pool has."""
    rng = random.Random(7)
    passed = 0
    for _ in range(20_000):
        slot = bytearray(V7)
        for _ in range(rng.randint(1, 3)):
            slot[rng.choice([*range(8, 34), *range(60, 147)])] = rng.choice([0, 1, 4, 12, 255])
        layout = check(bytes(slot))
        if isinstance(layout, SlotFault):
            continue
        passed += 1
        length = int.from_bytes(slot[8:12], "little")
        assert length <= 4096
        if length and layout.dtype is not Dtype.BIT:
            assert layout.extent <= length
    assert passed > 500
