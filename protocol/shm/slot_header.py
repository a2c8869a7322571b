"""The 248 bytes behind a slot's commit word: writing them, and checking a private copy (W-060 to
W-066, rows 12 to 21 of W-106).

Two halves with different lives. The fields (length, pool, timestamps) change with every frame. The
header bytes depend on type and shape alone, so a producer builds them once per layout and a
consumer that has checked them once recognises them by comparison:

    SLOT_IMAGE.pack_into(ring, offset, values_len, slot, pool_id, 0, timestamp, meta_version,
    header) SLOT_IMAGE.unpack_from(ring, offset)    # the same seven values, copied out of shared
    memory

with `offset = slot_body_offset(slot)`. Never use these on the commit word (see `commit`).
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from struct import Struct
from typing import Final

from ..wire.frame_descriptor import (
    MAX_DIMS,
    NULL_U32,
    NULL_U64,
    SLOT_BODY_OFFSET,
    SLOT_BYTES,
    SLOT_HEADER_BYTES_LENGTH,
    SLOT_HEADER_BYTES_OFFSET,
    SLOT_TIMESTAMP_NS_OFFSET,
    SUPERBLOCK_BYTES,
    TENSOR_HEADER_WORD,
)
from ..wire.generated import layouts
from ..wire.generated.enums import Dtype, MajorOrder, ProgressUnit
from .tensor import (
    ELEMENT_BYTES,
    INT32_MAX,
    TensorLayout,
    extent_of,
    infer_strides,
    progress_stride_of,
)

__all__ = [
    "HEADER_IMAGE_BYTES",
    "SLOT_IMAGE",
    "SLOT_TIMES",
    "SLOT_TIMES_OFFSET",
    "SlotFault",
    "SlotValidator",
    "decode_header_image",
    "header_image",
    "meta_version_or_none",
    "payload_offset",
    "slot_body_offset",
    "timestamp_or_none",
    "without_reserved_bytes",
]

HEADER_IMAGE_BYTES: Final = SLOT_BYTES - SLOT_HEADER_BYTES_OFFSET
"""Length of the second half: `headerBytes` with its length, up to the end of the slot."""

_FIELDS = layouts.SLOT_HEADER_FORMAT.removeprefix("Q")
_HEADER = Struct("<IQ" + layouts.TENSOR_HEADER_FORMAT)

SLOT_IMAGE: Final = Struct(f"<{_FIELDS}{HEADER_IMAGE_BYTES}s")
"""values_len_bytes, payload_slot, pool_id, payload_offset, timestamp_ns, meta_version, header
image."""

SLOT_TIMES: Final = Struct("<QI")
"""timestamp_ns, meta_version: what changes from frame to frame, `SLOT_TIMES_OFFSET` into the
image."""

SLOT_TIMES_OFFSET: Final = SLOT_TIMESTAMP_NS_OFFSET - SLOT_BODY_OFFSET


def slot_body_offset(slot: int) -> int:
    """Return the offset of the bytes behind the commit word of `slot` in a header ring."""
    return SUPERBLOCK_BYTES + SLOT_BYTES * slot + SLOT_BODY_OFFSET


def payload_offset(slot: int, stride_bytes: int) -> int:
    """Return the offset of the payload of `slot` in a pool (W-090)."""
    return SUPERBLOCK_BYTES + stride_bytes * slot


def timestamp_or_none(timestamp_ns: int) -> int | None:
    """A slot's capture time; None where it was not provided (W-065)."""
    return None if timestamp_ns == NULL_U64 else timestamp_ns


def meta_version_or_none(meta_version: int) -> int | None:
    """A slot's metadata version; None where there is none (W-065)."""
    return None if meta_version in (0, NULL_U32) else meta_version


@functools.lru_cache(maxsize=256)
def header_image(layout: TensorLayout) -> bytes:
    """Bytes 60..255 of a slot for a layout, padding zero (W-060, W-061, W-071).

    Strides are written out, or as 0 (smallest possible) where they do not fit in an int32.
    """
    spare = (0,) * (MAX_DIMS - layout.ndims)
    strides = tuple(stride if stride <= INT32_MAX else 0 for stride in layout.strides)
    return _HEADER.pack(
        SLOT_HEADER_BYTES_LENGTH,
        TENSOR_HEADER_WORD,
        layout.dtype,
        layout.order,
        layout.ndims,
        layout.progress_unit,
        layout.progress_stride_bytes,
        *layout.shape,
        *spare,
        *strides,
        *spare,
    )


def without_reserved_bytes(image: bytes) -> bytes:
    """A header image with its reserved bytes zero, every field as it is (W-061)."""
    return _HEADER.pack(*_HEADER.unpack(image))


class SlotFault(enum.Enum):
    """The reason to drop a slot: the row of W-106 and the counter that it raises."""

    HEADER_FORMAT = (12, "header_invalid")
    PAYLOAD_SLOT_RANGE = (13, "payload_invalid")
    PAYLOAD_SLOT = (14, "header_invalid")
    PAYLOAD_OFFSET = (15, "header_invalid")
    UNKNOWN_VALUE = (16, "header_invalid")
    SHAPE = (17, "header_invalid")
    PROGRESS_STRIDE = (18, "header_invalid")
    POOL = (19, "payload_invalid")
    LENGTH = (20, "payload_invalid")
    EXTENT = (21, "payload_invalid")

    def __init__(self, row: int, counter: str) -> None:
        self.row = row
        self.counter = counter


_DTYPES = {int(dtype): dtype for dtype in ELEMENT_BYTES}
_ORDERS = {int(order): order for order in (MajorOrder.ROW, MajorOrder.COLUMN)}
_UNITS = {int(unit): unit for unit in ProgressUnit}


def decode_header_image(image: bytes) -> TensorLayout | SlotFault:
    """Check 196 bytes copied from offset 60 of a slot: rows 12, 16, 17 and 18 of W-106.

    Any bytes give a layout or a fault, and arithmetic is unbounded (W-073).
    """
    length, word, dtype_code, order_code, ndims, unit_code, progress_stride, *entries = (
        _HEADER.unpack(image)
    )
    if length != SLOT_HEADER_BYTES_LENGTH or word != TENSOR_HEADER_WORD:
        return SlotFault.HEADER_FORMAT
    dtype = _DTYPES.get(dtype_code)
    order = _ORDERS.get(order_code)
    unit = _UNITS.get(unit_code)
    if dtype is None or order is None or unit is None:
        return SlotFault.UNKNOWN_VALUE
    if not 1 <= ndims <= MAX_DIMS:
        return SlotFault.SHAPE
    dims = tuple(entries[:ndims])
    given = tuple(entries[MAX_DIMS : MAX_DIMS + ndims])
    element_bytes = ELEMENT_BYTES[dtype]
    strides = infer_strides(order, dims, given, element_bytes)
    if strides is None:
        return SlotFault.SHAPE
    wanted = progress_stride_of(unit, strides)
    if unit is not ProgressUnit.NONE and (wanted is None or progress_stride != wanted):
        return SlotFault.PROGRESS_STRIDE
    return TensorLayout(
        dtype=dtype,
        order=order,
        shape=dims,
        strides=strides,
        extent=0 if dtype is Dtype.BIT else extent_of(dims, strides, element_bytes),
        contiguous=strides == infer_strides(order, dims, (0,) * ndims, element_bytes),
        progress_unit=unit,
        progress_stride_bytes=0 if unit is ProgressUnit.NONE else progress_stride,
    )


class SlotValidator:
    """Rows 12 to 21 of W-106 for one mapping.

    `pool_strides` maps the id of each mapped pool to its stride. Checked headers are remembered by
    their bytes, a bounded number of them, since a producer rarely changes its format.
    """

    __slots__ = ("_known", "_nslots", "_pool_strides")

    _LIMIT = 64

    def __init__(self, nslots: int, pool_strides: Mapping[int, int]) -> None:
        self._nslots = nslots
        self._pool_strides = dict(pool_strides)
        self._known: dict[bytes, TensorLayout | SlotFault] = {}

    def check(
        self,
        header_index: int,
        values_len_bytes: int,
        payload_slot: int,
        pool_id: int,
        payload_offset: int,
        image: bytes,
    ) -> TensorLayout | SlotFault:
        """Validate a slot from its private copy (W-082 step 4, W-083).

        Returns the layout of a frame whose payload may be read, or the first fault in the order of
        the rows. Never raises, whatever the values.
        """
        layout = self._known.get(image)
        if layout is None:
            layout = self._remember(image)
        if layout is SlotFault.HEADER_FORMAT:
            return layout
        if payload_slot >= self._nslots:
            return SlotFault.PAYLOAD_SLOT_RANGE
        if payload_slot != header_index:
            return SlotFault.PAYLOAD_SLOT
        if payload_offset != 0:
            return SlotFault.PAYLOAD_OFFSET
        if isinstance(layout, SlotFault):
            return layout
        stride_bytes = self._pool_strides.get(pool_id)
        if stride_bytes is None:
            return SlotFault.POOL
        if values_len_bytes > stride_bytes:
            return SlotFault.LENGTH
        if layout.extent > values_len_bytes > 0:
            return SlotFault.EXTENT
        return layout

    def _remember(self, image: bytes) -> TensorLayout | SlotFault:
        if len(self._known) >= self._LIMIT:
            self._known.clear()
        return self._known.setdefault(image, decode_header_image(image))
