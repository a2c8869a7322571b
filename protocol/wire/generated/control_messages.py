"""Messages of the control schema.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from msgspec import Struct

from .enums import (
    ClockDomain,
    Dtype,
    FrameProgressState,
    MajorOrder,
    Mode,
    ProgressUnit,
    RegionType,
    ResponseCode,
)

__all__ = [
    "Attribute",
    "ConsumerConfig",
    "ConsumerHello",
    "ControlResponse",
    "DataSourceAnnounce",
    "DataSourceMeta",
    "FrameDescriptor",
    "FrameProgress",
    "MetaBlobAnnounce",
    "MetaBlobChunk",
    "MetaBlobComplete",
    "PayloadPool",
    "QosConsumer",
    "QosProducer",
    "ShmPoolAnnounce",
    "ShmRegionSuperblock",
    "SlotHeader",
    "TensorHeader",
]


class PayloadPool(Struct, frozen=True, gc=False):
    """One entry for each payload pool."""

    pool_id: int
    """Unique in the message."""
    pool_nslots: int
    """Slots; equals headerNslots."""
    stride_bytes: int
    """Bytes of a slot; a multiple of 64."""
    region_uri: str = ""
    """Region URI of the pool file."""


class Attribute(Struct, frozen=True, gc=False):
    """One entry for each attribute."""

    key: str = ""
    """Name of the item."""
    format: str = ""
    """Media type, or sbe:schema.template."""
    value: bytes = b""
    """Raw bytes."""


class ShmPoolAnnounce(Struct, frozen=True, gc=False):
    """Places and layout of the regions of a stream's current epoch."""

    stream_id: int
    """Tensor stream id."""
    producer_id: int
    """Producer; from a driver the client id of the attached producer, 0 = none."""
    epoch: int
    """Current epoch, 1..2^64-2."""
    announce_timestamp_ns: int
    """Time of sending, never 0."""
    announce_clock_domain: ClockDomain
    """Clock of the timestamp."""
    layout_version: int
    """1 for this format."""
    header_nslots: int
    """Slots of the header ring, a power of two."""
    header_slot_bytes: int
    """Always 256."""
    payload_pools: tuple[PayloadPool, ...] = ()
    """One entry for each payload pool."""
    header_region_uri: str = ""
    """Region URI of the header ring file."""


class ConsumerHello(Struct, frozen=True, gc=False):
    """Abilities and requests of a consumer."""

    stream_id: int
    """Tensor stream id."""
    consumer_id: int
    """Consumer; equals the client id where there is a driver."""
    supports_shm: bool | int
    """Can map shared memory."""
    supports_progress: bool | int
    """Asks for FrameProgress."""
    mode: Mode | int
    """Delivery mode asked for."""
    max_rate_hz: int
    """Most frames per second; 0 = unlimited."""
    expected_layout_version: int
    """0 = no expectation; advisory."""
    progress_interval_us: int | None = None
    """Least time between progress messages."""
    progress_bytes_delta: int | None = None
    """Least advance in bytes."""
    progress_major_delta_units: int | None = None
    """Least advance along the major axis; 0 = unknown."""
    descriptor_stream_id: int = 0
    """Private descriptor stream asked for."""
    control_stream_id: int = 0
    """Private progress stream asked for."""
    descriptor_channel: str = ""
    """Channel for private descriptors; empty = no request."""
    control_channel: str = ""
    """Channel for private progress; empty = no request."""


class ConsumerConfig(Struct, frozen=True, gc=False):
    """Settings of the configuration authority for one consumer."""

    stream_id: int
    """Tensor stream id."""
    consumer_id: int
    """Consumer it is meant for."""
    use_shm: bool
    """FALSE sends the consumer to the fallback."""
    mode: Mode
    """Delivery mode to use."""
    descriptor_stream_id: int = 0
    """Private descriptor stream assigned."""
    control_stream_id: int = 0
    """Private progress stream assigned."""
    payload_fallback_uri: str = ""
    """Source of payloads without shared memory; empty = none."""
    descriptor_channel: str = ""
    """Private descriptor channel; empty = not assigned."""
    control_channel: str = ""
    """Private progress channel; empty = not assigned."""


class FrameDescriptor(Struct, frozen=True, gc=False):
    """A frame is committed; its slot is seq modulo the header ring's slots."""

    stream_id: int
    """Tensor stream id."""
    epoch: int
    """Epoch of the regions that hold the frame."""
    seq: int
    """Sequence of the frame."""
    timestamp_ns: int | None = None
    """Time of publication, if the producer sends it."""
    meta_version: int | None = None
    """Metadata version of the frame."""
    trace_id: int | None = None
    """Trace of the frame."""


class QosConsumer(Struct, frozen=True, gc=False):
    """Frames that a consumer received and lost, in totals since it started."""

    stream_id: int
    """Tensor stream id."""
    consumer_id: int
    """Consumer."""
    epoch: int
    """Mapped epoch; 0 = unmapped."""
    last_seq_seen: int
    """Latest sequence tracked; 0 = none yet."""
    drops_gap: int
    """Frames never announced to this consumer."""
    drops_late: int
    """Frames overwritten before they were read."""
    mode: Mode
    """Delivery mode in force."""


class QosProducer(Struct, frozen=True, gc=False):
    """Position of a producer."""

    stream_id: int
    """Tensor stream id."""
    producer_id: int
    """Producer."""
    epoch: int
    """Current epoch."""
    current_seq: int
    """Next sequence that will be assigned."""
    watermark: int | None = None
    """Pool health figure of the deployment's own meaning."""


class DataSourceAnnounce(Struct, frozen=True, gc=False):
    """A source of data, by name."""

    stream_id: int
    """Tensor stream id."""
    producer_id: int
    """Producer."""
    epoch: int
    """Current epoch."""
    meta_version: int
    """Current metadata version."""
    name: str = ""
    """Name of the source."""
    summary: str = ""
    """Short free text."""


class DataSourceMeta(Struct, frozen=True, gc=False):
    """All attributes of one metadata version."""

    stream_id: int
    """Tensor stream id."""
    meta_version: int
    """Version these attributes belong to."""
    timestamp_ns: int
    """Time of the change, producer's clock."""
    attributes: tuple[Attribute, ...] = ()
    """One entry for each attribute."""


class ControlResponse(Struct, frozen=True, gc=False):
    """Answer to a correlated control request; no request of this version needs it."""

    correlation_id: int
    """Copied from the request."""
    code: ResponseCode
    """Result."""
    error_message: str = ""
    """Diagnostic; empty = none."""


class MetaBlobAnnounce(Struct, frozen=True, gc=False):
    """A metadata blob follows in chunks (experimental)."""

    stream_id: int
    """Tensor stream id."""
    meta_version: int
    """Version the blob belongs to."""
    blob_type: int
    """Kind, defined by the application."""
    total_len: int
    """Bytes of the whole blob."""
    checksum: int
    """CRC32C of the whole blob in the low 32 bits; 0 = none."""


class FrameProgress(Struct, frozen=True, gc=False):
    """Part of a frame, still being filled, that can be read."""

    stream_id: int
    """Tensor stream id."""
    epoch: int
    """Epoch of the slot."""
    seq: int
    """Sequence the descriptor will carry."""
    payload_bytes_filled: int
    """Bytes valid from the start of the payload."""
    state: FrameProgressState
    """UNKNOWN is never sent."""


class MetaBlobChunk(Struct, frozen=True, gc=False):
    """A piece of a metadata blob (experimental)."""

    stream_id: int
    """Tensor stream id."""
    meta_version: int
    """As announced."""
    chunk_offset: int
    """Offset of the first byte."""
    bytes_: bytes = b""
    """1..65536 bytes."""


class MetaBlobComplete(Struct, frozen=True, gc=False):
    """All chunks of a metadata blob were sent (experimental)."""

    stream_id: int
    """Tensor stream id."""
    meta_version: int
    """As announced."""
    checksum: int
    """As announced."""


class ShmRegionSuperblock(Struct, frozen=True, gc=False):
    """First 64 bytes of every region file."""

    magic: int
    """0x544F504C53484D31."""
    layout_version: int
    """1."""
    epoch: int
    """Epoch of the region."""
    stream_id: int
    """Tensor stream id."""
    region_type: RegionType | int
    """Header ring or payload pool."""
    pool_id: int
    """Pool; 0 for the header ring."""
    nslots: int
    """Slots, a power of two."""
    slot_bytes: int
    """256 for the header ring, else strideBytes."""
    stride_bytes: int
    """Bytes of a pool's slot; 0 for the header ring."""
    pid: int
    """Process that created the region."""
    start_timestamp_ns: int
    """Time of creation."""
    activity_timestamp_ns: int
    """Last sign of life."""


class SlotHeader(Struct, frozen=True, gc=False):
    """First part of each 256-byte slot of the header ring."""

    seq_commit: int
    """2 seq while being written, 2 seq + 1 when committed."""
    values_len_bytes: int
    """Payload bytes used."""
    payload_slot: int
    """Payload slot; equals the header slot."""
    pool_id: int
    """Pool that holds the payload."""
    payload_offset: int
    """Always 0."""
    timestamp_ns: int
    """Time of capture; all ones = not provided."""
    meta_version: int
    """Metadata version; 0 or all ones = none."""
    header_bytes: bytes = b""
    """A message header and one TensorHeader block, 192 bytes."""


class TensorHeader(Struct, frozen=True, gc=False):
    """Type and shape of a frame, embedded in its slot."""

    dtype: Dtype | int
    """Element type."""
    major_order: MajorOrder | int
    """ROW or COLUMN."""
    ndims: int
    """1..8."""
    progress_unit: ProgressUnit | int
    """Unit in which the frame fills up."""
    progress_stride_bytes: int
    """Bytes of one unit; 0 with NONE."""
    dims: tuple[int, int, int, int, int, int, int, int]
    """Sizes; zero from ndims on."""
    strides: tuple[int, int, int, int, int, int, int, int]
    """Byte strides; 0 = to be inferred."""
