"""The description on the wire of data that an application hands over (C-074)."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tensor_pool.protocol.shm.slot_header import (
    HEADER_IMAGE_BYTES,
    decode_header_image,
    without_reserved_bytes,
)
from tensor_pool.protocol.shm.tensor import TensorLayout, dtype_of, tensor_layout
from tensor_pool.protocol.wire import Dtype, MajorOrder

__all__ = ["Description", "FrameHeader", "as_array", "described_loan", "described_payload"]

_BYTE_FORMATS = ("B", "b", "c")

type Description = tuple[
    int | None, tuple[int, ...] | int | None, npt.DTypeLike | Dtype | None, tuple[int, ...] | None
]
"""Bytes used, shape, dtype and strides, as an application gives them."""


class FrameHeader(msgspec.Struct, frozen=True):
    """The description of a frame in its slot, to be written again as it is.

    Made by `FrameHeader.checked`, which refuses what a consumer would drop.
    """

    image: bytes
    """Bytes 60..255 of a slot: the embedded tensor header with its length."""
    layout: TensorLayout
    nbytes: int
    timestamp_ns: int | None = None
    meta_version: int | None = None
    trace_id: int = 0

    @classmethod
    def checked(
        cls,
        tensor_header: bytes,
        nbytes: int,
        *,
        timestamp_ns: int | None = None,
        meta_version: int | None = None,
        trace_id: int = 0,
    ) -> FrameHeader:
        """From the 192-byte tensor header of a slot; reserved bytes are written as zero.

        Raises ValueError for a header that breaks rows 12 or 16 to 18 of W-106, and for fewer
        bytes than its shape reaches (row 21). `timestamp_ns` None is "not provided".
        """
        image = len(tensor_header).to_bytes(4, "little") + tensor_header
        layout = decode_header_image(image) if len(image) == HEADER_IMAGE_BYTES else None
        if not isinstance(layout, TensorLayout):
            fault = layout.name if layout is not None else f"{len(tensor_header)} bytes long"
            raise ValueError(f"tensor header: {fault}")
        layout.require_payload(nbytes)
        image = without_reserved_bytes(image)
        return cls(image, layout, nbytes, timestamp_ns, meta_version, trace_id)


def as_array(data: Any) -> npt.NDArray[Any] | None:
    """Return the array of an object that is one or offers one; None for plain bytes.

    Scalars become arrays without dimensions. A list is not taken for an array: its dtype would
    be a guess.
    """
    if isinstance(data, np.ndarray):
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return None
    if isinstance(data, bool | int | float | np.generic):
        return np.asarray(data)
    try:
        if hasattr(data, "__dlpack__"):
            return np.from_dlpack(data)
        if hasattr(data, "__array__") or hasattr(data, "__array_interface__"):
            return np.asarray(data)
    except (BufferError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"this {type(data).__name__} has no NumPy array: {error}; convert it first: a tensor of"
            " PyTorch by detach(), cpu() or, from bfloat16, float(); an array of JAX by"
            " jax.device_get() or, from bfloat16, astype('float32')"
        ) from error
    return None


def described_payload(
    data: Any,
    shape: tuple[int, ...] | int | None,
    dtype: npt.DTypeLike | Dtype | None,
    strides: tuple[int, ...] | None,
) -> tuple[TensorLayout, memoryview]:
    """Layout and payload of a bytes-like object described by the other arguments."""
    try:
        view = memoryview(data)
    except TypeError:
        raise ValueError(
            f"cannot publish a {type(data).__name__}: give a NumPy array or a bytes-like object"
        ) from None
    if dtype is None and view.format not in _BYTE_FORMATS:
        raise ValueError(
            f"a {type(data).__name__} of format {view.format!r} and shape {view.shape} is not"
            " bytes: publish numpy.asarray(it), or give its dtype and shape"
        )
    if not view.contiguous:
        view = memoryview(view.tobytes())
    payload = view.cast("B") if view.nbytes else memoryview(b"")
    wire_dtype = _wire_dtype(dtype)
    return _layout(wire_dtype, shape, strides, payload.nbytes), payload


def described_loan(
    layout: TensorLayout | None,
    lent_bytes: int,
    slot_bytes: int,
    nbytes_used: int | None,
    shape: tuple[int, ...] | int | None,
    dtype: npt.DTypeLike | Dtype | None,
    strides: tuple[int, ...] | None,
) -> tuple[TensorLayout, int]:
    """Layout and length of what a loan holds at its commit."""
    nbytes = lent_bytes if nbytes_used is None else nbytes_used
    if not 0 <= nbytes <= slot_bytes:
        raise ValueError(f"nbytes_used {nbytes} is not within the loan of {slot_bytes} bytes")
    if layout is not None and shape is None and dtype is None and strides is None:
        layout.require_payload(nbytes)
        return layout, nbytes
    return _layout(_wire_dtype(dtype), shape, strides, nbytes), nbytes


def _wire_dtype(dtype: npt.DTypeLike | Dtype | None) -> Dtype:
    if dtype is None:
        return Dtype.UINT8
    if isinstance(dtype, Dtype):
        return dtype
    given = np.dtype(dtype)
    if not given.isnative:
        raise ValueError(
            f"dtype {given} is big-endian; bytes are sent as they are, so publish an array instead"
        )
    return dtype_of(given)


def _layout(
    dtype: Dtype,
    shape: tuple[int, ...] | int | None,
    strides: tuple[int, ...] | None,
    nbytes: int,
) -> TensorLayout:
    if shape is None:
        itemsize = tensor_layout(dtype, (1,)).numpy_dtype.itemsize
        if nbytes % itemsize:
            raise ValueError(f"{nbytes} bytes are not a whole number of {dtype.name} elements")
        shape = (nbytes // itemsize,)
    elif isinstance(shape, int):
        shape = (shape,)
    layout = tensor_layout(dtype, tuple(shape), strides=strides, order=_order(strides))
    if nbytes == 0 and layout.extent > 0:
        raise ValueError(f"shape {shape} reaches {layout.extent} bytes, the payload is empty")
    layout.require_payload(nbytes)
    return layout


def _order(strides: tuple[int, ...] | None) -> MajorOrder:
    """The order that given strides must mean: the first dimension is the fastest in COLUMN."""
    if strides is not None and len(strides) > 1 and 0 not in strides and strides[0] < strides[-1]:
        return MajorOrder.COLUMN
    return MajorOrder.ROW
