"""Shapes, strides and element types of frames, and their NumPy views (W-070 to W-079).

A `TensorLayout` is a checked description: once it exists, its strides are complete and its extent
is known, so a view built from it stays inside `extent` bytes. Producers get one from
`tensor_layout()`, consumers from a validated slot (see `slot`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from ..wire.frame_descriptor import MAX_DIMS
from ..wire.generated.enums import Dtype, MajorOrder, ProgressUnit

__all__ = [
    "ELEMENT_BYTES",
    "NUMPY_DTYPES",
    "TensorLayout",
    "dtype_of",
    "extent_of",
    "infer_strides",
    "progress_stride_of",
    "tensor_layout",
    "tensor_view",
    "wire_array",
]

INT32_MAX = 2**31 - 1
UINT32_MAX = 2**32 - 1

NUMPY_DTYPES: dict[Dtype, np.dtype[np.generic]] = {
    Dtype.UINT8: np.dtype("u1"),
    Dtype.INT8: np.dtype("i1"),
    Dtype.UINT16: np.dtype("<u2"),
    Dtype.INT16: np.dtype("<i2"),
    Dtype.UINT32: np.dtype("<u4"),
    Dtype.INT32: np.dtype("<i4"),
    Dtype.UINT64: np.dtype("<u8"),
    Dtype.INT64: np.dtype("<i8"),
    Dtype.FLOAT32: np.dtype("<f4"),
    Dtype.FLOAT64: np.dtype("<f8"),
    Dtype.BOOLEAN: np.dtype("?"),
    Dtype.BYTES: np.dtype("u1"),
    Dtype.BIT: np.dtype("u1"),
}
"""The NumPy type of each element type; BYTES and BIT have no scalar of their own."""

ELEMENT_BYTES: dict[Dtype, int] = {dtype: seen.itemsize for dtype, seen in NUMPY_DTYPES.items()}
"""Element size in stride arithmetic."""

_WIRE_DTYPES = {
    (seen.kind, seen.itemsize): dtype
    for dtype, seen in NUMPY_DTYPES.items()
    if dtype not in (Dtype.BYTES, Dtype.BIT)
}


class TensorLayout(msgspec.Struct, frozen=True):
    """Type and shape of a frame, strides complete.

    `strides` are in bytes, `extent` is the number of payload bytes that the shape reaches (0 for an
    empty shape and for BIT, whose packing is the application's own). `contiguous` is true if no
    stride is larger than it has to be.
    """

    dtype: Dtype
    order: MajorOrder
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    extent: int
    contiguous: bool
    progress_unit: ProgressUnit = ProgressUnit.NONE
    progress_stride_bytes: int = 0

    @property
    def ndims(self) -> int:
        """Number of dimensions, 1 to 8."""
        return len(self.shape)

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """The NumPy type of the elements."""
        return NUMPY_DTYPES[self.dtype]

    def require_payload(self, nbytes: int) -> None:
        """Raise ValueError if `nbytes` of payload are too few for the shape (W-077)."""
        if nbytes > 0 and self.extent > nbytes:
            raise ValueError(
                f"shape {self.shape} with strides {self.strides} reaches {self.extent} bytes,"
                f" the payload has {nbytes}"
            )


def dtype_of(dtype: npt.DTypeLike) -> Dtype:
    """The wire's element type of a NumPy dtype, by kind and size; byte order does not matter
    (W-079).

    Raises ValueError for a type that the format does not have.

    >>> dtype_of(">f4").name
    'FLOAT32'
    """
    given = np.dtype(dtype)
    found = _WIRE_DTYPES.get((given.kind, given.itemsize))
    if found is None:
        raise ValueError(
            f"dtype {given} has no equivalent in the wire format; convert it, or publish its bytes"
            " as BYTES and describe them in the metadata"
        )
    return found


def infer_strides(
    order: MajorOrder, dims: Sequence[int], strides: Sequence[int], element_bytes: int
) -> tuple[int, ...] | None:
    """Complete the byte strides, where 0 stands for the smallest possible (W-072, W-073).

    None if a dimension or stride is negative or a stride smaller than it must be.

    >>> infer_strides(MajorOrder.ROW, (2, 3), (0, 0), 4)
    (12, 4)
    >>> infer_strides(MajorOrder.COLUMN, (2, 3), (0, 0), 4)
    (4, 8)
    """
    count = len(dims)
    result = [0] * count
    need = element_bytes
    for i in reversed(range(count)) if order is MajorOrder.ROW else range(count):
        size, given = dims[i], strides[i]
        if size < 0 or given < 0 or 0 < given < need:
            return None
        stride = given or need
        result[i] = stride
        need = stride * (size or 1)
    return tuple(result)


def extent_of(dims: Sequence[int], strides: Sequence[int], element_bytes: int) -> int:
    """Bytes from the first to past the last element; 0 if a dimension is 0 (W-077)."""
    if 0 in dims:
        return 0
    reach = sum((size - 1) * stride for size, stride in zip(dims, strides, strict=True))
    return element_bytes + reach


def progress_stride_of(unit: ProgressUnit, strides: Sequence[int]) -> int | None:
    """The stride that a progress unit counts in: dimension 0 is rows, 1 columns (W-076).

    0 for NONE; None where the unit does not fit the number of dimensions.
    """
    if unit is ProgressUnit.NONE:
        return 0
    if unit is ProgressUnit.ROWS:
        return strides[0]
    return strides[1] if len(strides) > 1 else None


@functools.lru_cache(maxsize=256)
def tensor_layout(
    dtype: Dtype,
    shape: tuple[int, ...],
    *,
    strides: tuple[int, ...] | None = None,
    order: MajorOrder = MajorOrder.ROW,
    progress_unit: ProgressUnit = ProgressUnit.NONE,
) -> TensorLayout:
    """Return the layout to send; strides in bytes, 0 or None for the smallest (C-074).

    Raises ValueError for 0 or more than 8 dimensions, sizes or strides that are negative or not
    int32, strides that overlap or contradict the order, and a progress unit that does not fit.
    """
    given = strides if strides is not None else (0,) * len(shape)
    if dtype not in ELEMENT_BYTES:
        raise ValueError(f"dtype {dtype!r} cannot be sent")
    if order not in (MajorOrder.ROW, MajorOrder.COLUMN):
        raise ValueError(f"order {order!r} is neither ROW nor COLUMN")
    if not 1 <= len(shape) <= MAX_DIMS:
        raise ValueError(f"{len(shape)} dimensions {shape}; 1 to {MAX_DIMS} can be sent")
    if len(given) != len(shape):
        raise ValueError(f"{len(given)} strides for {len(shape)} dimensions")
    for what, numbers in (("dimension", shape), ("stride", given)):
        for number in numbers:
            if not 0 <= number <= INT32_MAX:
                raise ValueError(f"{what} {number} is not in 0..{INT32_MAX}")
    element_bytes = ELEMENT_BYTES[dtype]
    complete = infer_strides(order, shape, given, element_bytes)
    if complete is None:
        raise ValueError(
            f"strides {given} overlap or contradict {order.name} order for shape {shape} of"
            f" {element_bytes}-byte elements"
        )
    progress_stride = progress_stride_of(progress_unit, complete)
    if progress_stride is None or progress_stride > UINT32_MAX:
        raise ValueError(f"progress in {progress_unit.name} does not fit shape {shape}")
    return TensorLayout(
        dtype=dtype,
        order=order,
        shape=shape,
        strides=complete,
        extent=0 if dtype is Dtype.BIT else extent_of(shape, complete, element_bytes),
        contiguous=complete == infer_strides(order, shape, (0,) * len(shape), element_bytes),
        progress_unit=progress_unit,
        progress_stride_bytes=progress_stride,
    )


def wire_array(array: npt.NDArray[np.generic]) -> tuple[TensorLayout, memoryview]:
    """An array's layout and its payload as contiguous little-endian bytes (W-079).

    Copies only what has to be: another byte order, or an array that is contiguous in neither order.
    Arrays in Fortran order go out in COLUMN order as they are; a scalar gets shape (1,). Raises
    ValueError for a dtype or shape that cannot be sent.
    """
    dtype = dtype_of(array.dtype)
    if array.ndim == 0:
        array = array.reshape(1)
    array = array.astype(NUMPY_DTYPES[dtype], order="K", copy=False)
    order = MajorOrder.ROW
    if not array.flags.c_contiguous:
        if array.flags.f_contiguous:
            order = MajorOrder.COLUMN
        else:
            array = np.ascontiguousarray(array)
    layout = tensor_layout(dtype, array.shape, order=order)
    in_memory_order = array if order is MajorOrder.ROW else array.T
    return layout, _as_bytes(in_memory_order)


def _as_bytes(array: npt.NDArray[np.generic]) -> memoryview:
    # memoryview.cast refuses shapes with a 0 in them.
    return memoryview(array).cast("B") if array.size else memoryview(b"")


def tensor_view(
    payload: memoryview, layout: TensorLayout, values_len_bytes: int
) -> npt.NDArray[np.generic]:
    """A NumPy array over the payload of a validated frame (W-078).

    `payload` is the slot's memory in the pool, at least `values_len_bytes` long; the array is
    read-only exactly if that is. Nothing is copied, except for BOOLEAN: bytes other than 0 and 1
    must not be seen as `bool`, and whether there are any could change under a view, so a read-only
    array of `byte != 0` is made. BIT gives its raw bytes as a flat uint8 array. An empty frame
    gives an empty array and its payload is not touched.
    """
    if layout.dtype is Dtype.BIT:
        return np.frombuffer(payload[:values_len_bytes], np.uint8)
    if values_len_bytes == 0 or 0 in layout.shape:
        return _empty(layout, writable=not payload.readonly)
    if layout.dtype is Dtype.BOOLEAN:
        raw: npt.NDArray[np.uint8] = np.ndarray(
            layout.shape, np.uint8, buffer=payload, strides=layout.strides
        )
        truth: npt.NDArray[np.bool_] = raw != 0
        truth.flags.writeable = False
        return truth
    return np.ndarray(layout.shape, layout.numpy_dtype, buffer=payload, strides=layout.strides)


def _empty(layout: TensorLayout, *, writable: bool) -> npt.NDArray[np.generic]:
    shape = layout.shape if 0 in layout.shape else (0,)
    try:
        array: npt.NDArray[np.generic] = np.empty(shape, layout.numpy_dtype)
    except ValueError:
        # Without its zeros the shape is too large for NumPy; that it is empty is all there is to
        # say.
        array = np.empty((0,), layout.numpy_dtype)
    array.flags.writeable = writable
    return array
