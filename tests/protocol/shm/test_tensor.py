from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_pool.protocol.shm.slot_header import SlotFault, decode_header_image, header_image
from tensor_pool.protocol.shm.tensor import (
    ELEMENT_BYTES,
    NUMPY_DTYPES,
    TensorLayout,
    dtype_of,
    extent_of,
    infer_strides,
    tensor_layout,
    tensor_view,
    wire_array,
)
from tensor_pool.protocol.wire.generated.enums import Dtype, MajorOrder, ProgressUnit

ROW, COLUMN = MajorOrder.ROW, MajorOrder.COLUMN
INT32_MAX = 2**31 - 1


@pytest.mark.parametrize(
    ("order", "dims", "strides", "expected"),
    [
        (ROW, (2, 3), (0, 0), (12, 4)),
        (COLUMN, (2, 3), (0, 0), (4, 8)),
        (ROW, (2, 3), (16, 4), (16, 4)),
        (ROW, (2, 3), (16, 0), (16, 4)),
        (ROW, (2, 3), (0, 8), (24, 8)),
        (ROW, (2, 3), (8, 4), None),
        (ROW, (2, 3), (4, 2), None),
        (COLUMN, (2, 3), (12, 4), None),
        (COLUMN, (2, 3), (0, 12), (4, 12)),
        (ROW, (2, 0, 3), (0, 0, 0), (12, 12, 4)),
        (COLUMN, (0, 2), (0, 0), (4, 4)),
        (ROW, (0,), (0,), (4,)),
        (ROW, (-1, 3), (0, 0), None),
        (ROW, (2, 3), (0, -4), None),
    ],
)
def test_W_073_inference(
    order: MajorOrder,
    dims: tuple[int, ...],
    strides: tuple[int, ...],
    expected: tuple[int, ...] | None,
) -> None:
    """W-072, W-073."""
    assert infer_strides(order, dims, strides, 4) == expected


@pytest.mark.parametrize("order", [ROW, COLUMN])
def test_W_073_the_largest_dimensions_do_not_overflow(order: MajorOrder) -> None:
    strides = infer_strides(order, (INT32_MAX,) * 8, (0,) * 8, 8)
    assert strides is not None
    assert max(strides) == 8 * INT32_MAX**7
    assert extent_of((INT32_MAX,) * 8, strides, 8) == 8 * INT32_MAX**8


shapes = st.lists(st.integers(0, 5), min_size=1, max_size=8).map(tuple)


@settings(max_examples=150)
@given(shapes, st.sampled_from([ROW, COLUMN]), st.sampled_from(sorted(ELEMENT_BYTES)))
def test_W_073_inferred_strides_are_those_of_numpy(
    shape: tuple[int, ...], order: MajorOrder, dtype: Dtype
) -> None:
    element_bytes = ELEMENT_BYTES[dtype]
    strides = infer_strides(order, shape, (0,) * len(shape), element_bytes)
    # NumPy, too, counts a dimension of 0 as 1 here.
    numpy_order = "C" if order is ROW else "F"
    filled = tuple(max(size, 1) for size in shape)
    assert strides == np.empty(filled, f"V{element_bytes}", order=numpy_order).strides


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=6),
    st.sampled_from([ROW, COLUMN]),
    st.data(),
)
def test_W_078_a_padded_frame_equals_its_source(
    dims_and_pads: list[tuple[int, int]], order: MajorOrder, data: st.DataObject
) -> None:
    """W-073, W-077, W-078: random padding, some strides left out, against NumPy in both orders."""
    shape = tuple(size for size, _ in dims_and_pads)
    padded = tuple(size + pad for size, pad in dims_and_pads)
    numpy_order = "C" if order is ROW else "F"
    backing = np.arange(np.prod(padded), dtype="<u2").reshape(padded, order=numpy_order)
    source = backing[tuple(slice(size) for size in shape)]
    given_strides = list(source.strides)
    minimal = infer_strides(order, shape, (0,) * len(shape), 2)
    assert minimal is not None
    for axis in range(len(shape)):
        inferred = infer_strides(
            order, shape, [0 if i == axis else s for i, s in enumerate(given_strides)], 2
        )
        if inferred == source.strides and data.draw(st.booleans()):
            given_strides[axis] = 0
    layout = tensor_layout(Dtype.UINT16, shape, strides=tuple(given_strides), order=order)
    assert layout.strides == source.strides
    payload = memoryview(backing.tobytes(order="A"))
    assert layout.extent <= len(payload)
    np.testing.assert_array_equal(tensor_view(payload, layout, len(payload)), source)
    np.testing.assert_array_equal(
        tensor_view(payload[: layout.extent], layout, layout.extent), source
    )
    assert decode_header_image(header_image(layout)) == layout


def test_W_077_extents() -> None:
    assert extent_of((2, 3), (12, 4), 4) == 24
    assert extent_of((2, 3), (16, 4), 4) == 28
    assert extent_of((2, 0), (12, 4), 4) == 0
    layout = tensor_layout(Dtype.FLOAT32, (2, 3))
    layout.require_payload(24)
    layout.require_payload(0)
    with pytest.raises(ValueError, match="reaches 24 bytes, the payload has 23"):
        layout.require_payload(23)


def test_W_077_a_longer_payload_shows_only_what_the_shape_covers() -> None:
    layout = tensor_layout(Dtype.FLOAT32, (2, 3))
    view = tensor_view(memoryview(bytes(range(100))), layout, 100)
    assert view.tobytes() == bytes(range(24))


EVERY_DTYPE = [dtype for dtype in NUMPY_DTYPES if dtype not in (Dtype.BYTES, Dtype.BIT)]


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("memory_order", ["C", "F"])
def test_W_079_round_trip_of_each_type(dtype: Dtype, byte_order: str, memory_order: str) -> None:
    """W-078, W-079: other byte orders are converted, Fortran arrays go out as they are."""
    numpy_dtype = NUMPY_DTYPES[dtype].newbyteorder(byte_order)
    values = np.arange(24).reshape(2, 3, 4) % 2 if dtype is Dtype.BOOLEAN else np.arange(24)
    array = np.asarray(values.reshape(2, 3, 4), dtype=numpy_dtype, order=memory_order)
    layout, payload = wire_array(array)
    assert layout.dtype is dtype
    assert layout.order is (ROW if memory_order == "C" else COLUMN)
    assert len(payload) == layout.extent == array.nbytes
    view = tensor_view(payload, layout, len(payload))
    assert view.dtype == NUMPY_DTYPES[dtype]
    np.testing.assert_array_equal(view, array)


def test_W_079_np_bool_maps_to_BOOLEAN() -> None:
    assert dtype_of(np.bool_) is Dtype.BOOLEAN == 11


@pytest.mark.parametrize(
    "dtype",
    [
        "f2", "longdouble", "complex64", "complex128", "M8[ns]", "m8[s]", "S4", "U4", "O", "V3",
        [("a", "u1"), ("b", "u2")],
    ],
    ids=str,
)  # fmt: skip
def test_W_079_other_types_are_refused(dtype: npt.DTypeLike) -> None:
    with pytest.raises(ValueError, match="no equivalent in the wire format"):
        dtype_of(dtype)
    with pytest.raises(ValueError, match="no equivalent"):
        wire_array(np.zeros(3, dtype))


def test_wire_array_copies_only_what_it_must() -> None:
    array = np.arange(12, dtype="<i4").reshape(3, 4)
    for source in (array, array.T, np.broadcast_to(array, (1, 3, 4))[0]):
        _, payload = wire_array(source)
        assert np.shares_memory(np.frombuffer(payload, np.uint8), array)
    for source in (array[:, ::2], array[::-1], array.astype(">i4")):
        layout, payload = wire_array(source)
        assert layout.order is ROW
        assert not np.shares_memory(np.frombuffer(payload, np.uint8), array)
        np.testing.assert_array_equal(tensor_view(payload, layout, len(payload)), source)


def test_W_070_a_scalar_is_sent_as_one_element() -> None:
    layout, payload = wire_array(np.asarray(7.5))
    assert layout.shape == (1,)
    assert tensor_view(payload, layout, 8)[0] == 7.5


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4)])
def test_W_072_empty_arrays_keep_their_shape(shape: tuple[int, ...]) -> None:
    """W-064, W-072: also when some payload bytes come along."""
    layout, payload = wire_array(np.zeros(shape, "<f4"))
    assert len(payload) == layout.extent == 0
    for length in (0, 4):
        view = tensor_view(memoryview(bytes(64)), layout, length)
        assert view.shape == shape
        assert view.dtype == np.dtype("<f4")
        assert not view.flags.writeable


def test_W_064_an_empty_frame_never_touches_the_payload() -> None:
    no_memory = memoryview(b"")
    layout = tensor_layout(Dtype.FLOAT32, (16,))
    assert tensor_view(no_memory, layout, 0).shape == (0,)


def test_W_220_an_empty_shape_too_large_for_numpy_is_just_empty() -> None:
    layout = tensor_layout(Dtype.FLOAT64, (0, *(INT32_MAX,) * 7))
    assert tensor_view(memoryview(bytes(64)), layout, 8).shape == (0,)


def test_W_078_boolean_bytes_other_than_0_and_1_are_true() -> None:
    layout = tensor_layout(Dtype.BOOLEAN, (2, 2))
    view = tensor_view(memoryview(bytes([0, 1, 2, 255])), layout, 4)
    assert view.dtype == np.bool_
    assert view.tobytes() == bytes([0, 1, 1, 1])
    assert not view.flags.writeable


def test_W_078_bytes_keep_their_shape_as_uint8() -> None:
    layout = tensor_layout(Dtype.BYTES, (2, 3))
    view = tensor_view(memoryview(bytes(range(6))), layout, 6)
    assert (view.dtype, view.shape) == (np.uint8, (2, 3))
    assert view[1, 2] == 5


def test_W_078_bits_are_returned_raw() -> None:
    layout = tensor_layout(Dtype.BIT, (3, 5))
    payload = bytes([0b10110100, 0b01])
    view = tensor_view(memoryview(payload + b"rest of the slot"), layout, 2)
    assert (view.dtype, view.shape) == (np.uint8, (2,))
    assert view.tobytes() == payload
    assert tensor_view(memoryview(b"slot"), layout, 0).shape == (0,)


def test_W_033_views_are_read_only_exactly_if_the_memory_is() -> None:
    """W-033, C-092: zero copy, the array lies in the memory given."""
    memory = bytearray(range(24))
    layout = tensor_layout(Dtype.FLOAT32, (2, 3))
    consumer = tensor_view(memoryview(memory).toreadonly(), layout, 24)
    producer = tensor_view(memoryview(memory), layout, 24)
    for view in (consumer, producer):
        assert np.shares_memory(view, np.frombuffer(memory, np.uint8))
    assert not consumer.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        consumer[0, 0] = 1
    producer[0, 0] = 1
    assert consumer[0, 0] == 1


def test_W_076_progress_stride_of_a_producers_layout() -> None:
    rows = tensor_layout(Dtype.FLOAT32, (2, 3), progress_unit=ProgressUnit.ROWS)
    columns = tensor_layout(Dtype.FLOAT32, (2, 3), progress_unit=ProgressUnit.COLUMNS)
    assert (rows.progress_stride_bytes, columns.progress_stride_bytes) == (12, 4)
    with pytest.raises(ValueError, match="COLUMNS"):
        tensor_layout(Dtype.FLOAT32, (6,), progress_unit=ProgressUnit.COLUMNS)


@pytest.mark.parametrize(
    ("shape", "options", "text"),
    [
        ((), {}, "0 dimensions"),
        ((1,) * 9, {}, "9 dimensions"),
        ((-1, 2), {}, "dimension -1"),
        ((2**31, 2), {}, "dimension 2147483648"),
        ((2, 3), {"strides": (-12, 4)}, "stride -12"),
        ((2, 3), {"strides": (2**31, 4)}, "stride 2147483648"),
        ((2, 3), {"strides": (8, 4)}, "overlap"),
        ((2, 3), {"strides": (4, 8)}, "contradict ROW"),
        ((2, 3), {"strides": (12, 4), "order": COLUMN}, "contradict COLUMN"),
        ((2, 3), {"strides": (4,)}, "1 strides for 2 dimensions"),
        ((2, 3), {"order": MajorOrder.UNKNOWN}, "neither ROW nor COLUMN"),
    ],
)
def test_C_074_bad_arguments_are_value_errors(
    shape: tuple[int, ...], options: dict[str, object], text: str
) -> None:
    """C-074, W-070, W-072, W-073."""
    with pytest.raises(ValueError, match=text):
        tensor_layout(Dtype.FLOAT32, shape, **options)  # type: ignore[arg-type]


def test_W_075_an_unknown_type_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        tensor_layout(Dtype.UNKNOWN, (1,))


def test_contiguous_means_no_stride_is_larger_than_needed() -> None:
    assert tensor_layout(Dtype.FLOAT32, (2, 3)).contiguous
    assert tensor_layout(Dtype.FLOAT32, (2, 3), strides=(12, 4)).contiguous
    assert not tensor_layout(Dtype.FLOAT32, (2, 3), strides=(16, 4)).contiguous
    assert tensor_layout(Dtype.FLOAT32, (2, 3), order=COLUMN).contiguous


def test_strides_too_large_for_the_slot_are_left_for_the_reader_to_infer() -> None:
    layout = tensor_layout(Dtype.FLOAT64, (1, INT32_MAX))
    assert layout.strides == (8 * INT32_MAX, 8)
    assert decode_header_image(header_image(layout)) == layout


any_int32 = st.one_of(st.integers(-1, 9), st.integers(-(2**31), INT32_MAX))


@settings(max_examples=200)
@given(
    st.sampled_from([ROW, COLUMN]),
    st.lists(any_int32, min_size=8, max_size=8),
    st.lists(any_int32, min_size=8, max_size=8),
    st.integers(1, 8),
)
def test_W_220_views_of_whatever_passes_validation_stay_in_bounds(
    order: MajorOrder, dims: list[int], strides: list[int], ndims: int
) -> None:
    """W-083, W-220: decode hostile numbers; a view that the extent allows can be read entirely."""
    image = bytearray(header_image(tensor_layout(Dtype.UINT16, (1,) * ndims, order=order)))
    for number, (size, stride) in enumerate(zip(dims, strides, strict=True)):
        image[23 + 4 * number : 27 + 4 * number] = size.to_bytes(4, "little", signed=True)
        image[55 + 4 * number : 59 + 4 * number] = stride.to_bytes(4, "little", signed=True)
    layout = decode_header_image(bytes(image))
    if layout is SlotFault.SHAPE:
        assert infer_strides(order, dims[:ndims], strides[:ndims], 2) is None
        return
    assert isinstance(layout, TensorLayout)
    assert layout.shape == tuple(dims[:ndims])
    if layout.extent <= 4096:
        view = tensor_view(memoryview(bytes(4096)), layout, 4096)
        assert not np.any(view)
