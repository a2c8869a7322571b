"""Records read and written in place: frame descriptor, header slot, superblock.

A frame costs one descriptor message and one header slot on each side, so these skip the message
classes: a precompiled `struct.Struct` over the whole record, from the same schema as everything
else, and offsets for code that keeps a view. Their values, in order:

`FRAME_DESCRIPTOR` (the whole 48-byte message)
    header word, stream_id, epoch, seq, timestamp_ns, meta_version, trace_id
`FRAME_DESCRIPTOR_SPLIT` (the whole message, with what an epoch's messages share as one value)
    the first `FRAME_DESCRIPTOR_TAIL_OFFSET` bytes, seq, timestamp_ns, meta_version, trace_id
`FRAME_DESCRIPTOR_TAIL` (28 bytes at `FRAME_DESCRIPTOR_TAIL_OFFSET` of the message)
    seq, timestamp_ns, meta_version, trace_id
`SLOT_BODY` (248 bytes at `SLOT_BODY_OFFSET` of a 256-byte header slot)
    values_len_bytes, payload_slot, pool_id, payload_offset, timestamp_ns, meta_version,
    length of headerBytes (`SLOT_HEADER_BYTES_LENGTH`), header word (`TENSOR_HEADER_WORD`),
    dtype, major_order, ndims, progress_unit, progress_stride_bytes, 8 dims, 8 strides
`SUPERBLOCK` (64 bytes)
    magic, layout_version, epoch, stream_id, region_type, pool_id, nslots, slot_bytes,
    stride_bytes, pid, start_timestamp_ns, activity_timestamp_ns

A "header word" is the 8-byte message header read as one u64, so that one comparison checks block
length, template, schema and version. Reserved bytes are written as zero and skipped when read.

Two words change while other processes read them: the commit word of a slot (`SLOT_COMMIT_OFFSET`),
which `SLOT_BODY` leaves out on purpose, and the activity timestamp of a mapped superblock
(`SUPERBLOCK_ACTIVITY_OFFSET`). They must never be stored or loaded through `struct`, which clears
the target before it writes: use `memoryview.cast("Q")`. `SUPERBLOCK` is for filling a file that no
process has mapped yet and for reading a copy.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from .generated import layouts
from .header import HEADER_BYTES, header_word

__all__ = [
    "FRAME_DESCRIPTOR",
    "FRAME_DESCRIPTOR_BYTES",
    "FRAME_DESCRIPTOR_HEADER_WORD",
    "FRAME_DESCRIPTOR_SPLIT",
    "FRAME_DESCRIPTOR_TAIL",
    "FRAME_DESCRIPTOR_TAIL_OFFSET",
    "MAX_DIMS",
    "NO_TRACE",
    "NULL_U32",
    "NULL_U64",
    "SLOT_BODY",
    "SLOT_BODY_OFFSET",
    "SLOT_BYTES",
    "SLOT_COMMIT_OFFSET",
    "SLOT_HEADER_BYTES_LENGTH",
    "SLOT_HEADER_BYTES_OFFSET",
    "SLOT_META_VERSION_OFFSET",
    "SLOT_TENSOR_HEADER_OFFSET",
    "SLOT_TIMESTAMP_NS_OFFSET",
    "SUPERBLOCK",
    "SUPERBLOCK_ACTIVITY_OFFSET",
    "SUPERBLOCK_BYTES",
    "SUPERBLOCK_MAGIC",
    "TENSOR_HEADER_WORD",
    "frame_descriptor_buffer",
]

NULL_U32: Final = 0xFFFFFFFF
"""Not provided, in an optional u32 and in `SlotHeader.metaVersion`."""

NULL_U64: Final = 0xFFFFFFFFFFFFFFFF
"""Not provided, in an optional u64 and in `SlotHeader.timestampNs`."""

NO_TRACE: Final = 0
"""Not provided, in `FrameDescriptor.traceId`."""

# Frame descriptor, with its message header.

FRAME_DESCRIPTOR: Final = Struct("<Q" + layouts.FRAME_DESCRIPTOR_FORMAT)
FRAME_DESCRIPTOR_BYTES: Final = HEADER_BYTES + layouts.FRAME_DESCRIPTOR_BLOCK_BYTES
FRAME_DESCRIPTOR_HEADER_WORD: Final = header_word(
    layouts.FRAME_DESCRIPTOR_BLOCK_BYTES,
    layouts.FRAME_DESCRIPTOR_TEMPLATE_ID,
    layouts.CONTROL_SCHEMA_ID,
    layouts.CONTROL_SCHEMA_VERSION,
)
FRAME_DESCRIPTOR_TAIL_OFFSET: Final = HEADER_BYTES + layouts.FRAME_DESCRIPTOR_SEQ_OFFSET
FRAME_DESCRIPTOR_TAIL: Final = Struct("<" + layouts.FRAME_DESCRIPTOR_FORMAT[2:])
FRAME_DESCRIPTOR_SPLIT: Final = Struct(
    f"<{FRAME_DESCRIPTOR_TAIL_OFFSET}s" + layouts.FRAME_DESCRIPTOR_FORMAT[2:]
)


def frame_descriptor_buffer(stream_id: int, epoch: int) -> bytearray:
    """A 48-byte message that a producer keeps for an epoch.

    Only the tail changes from frame to frame:

    >>> buffer = frame_descriptor_buffer(stream_id=10000, epoch=7)
    >>> FRAME_DESCRIPTOR_TAIL.pack_into(
    ...     buffer, FRAME_DESCRIPTOR_TAIL_OFFSET, 5, NULL_U64, 3, NO_TRACE
    ... )
    """
    return bytearray(
        FRAME_DESCRIPTOR.pack(
            FRAME_DESCRIPTOR_HEADER_WORD, stream_id, epoch, 0, NULL_U64, NULL_U32, NO_TRACE
        )
    )


# Header slot: SlotHeader, the length of its var data, a message header, TensorHeader.

SLOT_BYTES: Final = 256
MAX_DIMS: Final = layouts.TENSOR_HEADER_MAX_DIMS
SLOT_COMMIT_OFFSET: Final = layouts.SLOT_HEADER_SEQ_COMMIT_OFFSET
SLOT_BODY_OFFSET: Final = layouts.SLOT_HEADER_VALUES_LEN_BYTES_OFFSET
SLOT_TIMESTAMP_NS_OFFSET: Final = layouts.SLOT_HEADER_TIMESTAMP_NS_OFFSET
SLOT_META_VERSION_OFFSET: Final = layouts.SLOT_HEADER_META_VERSION_OFFSET
SLOT_HEADER_BYTES_OFFSET: Final = layouts.SLOT_HEADER_BLOCK_BYTES
"""Offset of the u32 length of `headerBytes`; from here to the end of the slot the bytes depend
only on type and shape, so a reader may compare them with the ones it validated last time."""

SLOT_TENSOR_HEADER_OFFSET: Final = SLOT_HEADER_BYTES_OFFSET + 4 + HEADER_BYTES
SLOT_HEADER_BYTES_LENGTH: Final = HEADER_BYTES + layouts.TENSOR_HEADER_BLOCK_BYTES
TENSOR_HEADER_WORD: Final = header_word(
    layouts.TENSOR_HEADER_BLOCK_BYTES,
    layouts.TENSOR_HEADER_TEMPLATE_ID,
    layouts.CONTROL_SCHEMA_ID,
    layouts.CONTROL_SCHEMA_VERSION,
)
SLOT_BODY: Final = Struct(
    "<" + layouts.SLOT_HEADER_FORMAT.removeprefix("Q") + "IQ" + layouts.TENSOR_HEADER_FORMAT
)

# Superblock.

SUPERBLOCK: Final = Struct("<" + layouts.SHM_REGION_SUPERBLOCK_FORMAT)
SUPERBLOCK_BYTES: Final = layouts.SHM_REGION_SUPERBLOCK_BLOCK_BYTES
SUPERBLOCK_MAGIC: Final = 0x544F504C53484D31
SUPERBLOCK_ACTIVITY_OFFSET: Final = layouts.SHM_REGION_SUPERBLOCK_ACTIVITY_TIMESTAMP_NS_OFFSET
