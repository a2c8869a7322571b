"""Codecs of the control schema.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from struct import Struct

from ..codec_errors import (
    bad_enum,
    sentinel,
    truncated_entry,
    truncated_record,
    unlisted,
)
from ..header import WireBuffer
from ..vardata import (
    read_data,
    read_dimension,
    read_text,
    read_uri,
    write_data,
    write_dimension,
    write_error_message,
    write_text,
    write_uri,
)
from .control_messages import (
    Attribute,
    ConsumerConfig,
    ConsumerHello,
    ControlResponse,
    DataSourceAnnounce,
    DataSourceMeta,
    FrameDescriptor,
    FrameProgress,
    MetaBlobAnnounce,
    MetaBlobChunk,
    MetaBlobComplete,
    PayloadPool,
    QosConsumer,
    QosProducer,
    ShmPoolAnnounce,
    ShmRegionSuperblock,
    SlotHeader,
    TensorHeader,
)
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

_BOOL = {0: False, 1: True}
_CLOCK_DOMAIN = {member.value: member for member in ClockDomain}
_DTYPE = {member.value: member for member in Dtype}
_FRAME_PROGRESS_STATE = {member.value: member for member in FrameProgressState}
_MAJOR_ORDER = {member.value: member for member in MajorOrder}
_MODE = {member.value: member for member in Mode}
_PROGRESS_UNIT = {member.value: member for member in ProgressUnit}
_REGION_TYPE = {member.value: member for member in RegionType}
_RESPONSE_CODE = {member.value: member for member in ResponseCode}
_PAYLOAD_POOL_LAYOUT = Struct("<HII")
_SHM_POOL_ANNOUNCE_LAYOUT = Struct("<QIIQQBIIH")
_SHM_POOL_ANNOUNCE_LAYOUT_BLOCK = Struct("<IIQQBIIH")
_CONSUMER_HELLO_LAYOUT = Struct("<QIIBBBIIIIIII")
_CONSUMER_HELLO_LAYOUT_BLOCK = Struct("<IIBBBIIIIIII")
_CONSUMER_CONFIG_LAYOUT = Struct("<QIIBBII")
_CONSUMER_CONFIG_LAYOUT_BLOCK = Struct("<IIBBII")
_FRAME_DESCRIPTOR_LAYOUT = Struct("<QIQQQIQ")
_FRAME_DESCRIPTOR_LAYOUT_BLOCK = Struct("<IQQQIQ")
_QOS_CONSUMER_LAYOUT = Struct("<QIIQQQQB")
_QOS_CONSUMER_LAYOUT_BLOCK = Struct("<IIQQQQB")
_QOS_PRODUCER_LAYOUT = Struct("<QIIQQI")
_QOS_PRODUCER_LAYOUT_BLOCK = Struct("<IIQQI")
_DATA_SOURCE_ANNOUNCE_LAYOUT = Struct("<QIIQI")
_DATA_SOURCE_ANNOUNCE_LAYOUT_BLOCK = Struct("<IIQI")
_DATA_SOURCE_META_LAYOUT = Struct("<QIIQ")
_DATA_SOURCE_META_LAYOUT_BLOCK = Struct("<IIQ")
_CONTROL_RESPONSE_LAYOUT = Struct("<Qqi")
_CONTROL_RESPONSE_LAYOUT_BLOCK = Struct("<qi")
_META_BLOB_ANNOUNCE_LAYOUT = Struct("<QIIIQQ")
_META_BLOB_ANNOUNCE_LAYOUT_BLOCK = Struct("<IIIQQ")
_FRAME_PROGRESS_LAYOUT = Struct("<QIQQQB")
_FRAME_PROGRESS_LAYOUT_BLOCK = Struct("<IQQQB")
_META_BLOB_CHUNK_LAYOUT = Struct("<QIIQ")
_META_BLOB_CHUNK_LAYOUT_BLOCK = Struct("<IIQ")
_META_BLOB_COMPLETE_LAYOUT = Struct("<QIIQ")
_META_BLOB_COMPLETE_LAYOUT_BLOCK = Struct("<IIQ")
_SHM_REGION_SUPERBLOCK_LAYOUT = Struct("<QIQIhHIIIQQQ")
_SLOT_HEADER_LAYOUT = Struct("<QIIHIQI26x")
_TENSOR_HEADER_LAYOUT = Struct("<hhB1xBI8i8i109x")


def _read_payload_pool(
    buffer: WireBuffer, at: int, size: int, entry_bytes: int
) -> tuple[PayloadPool, int]:
    entry_end = at + entry_bytes
    if entry_end > size:
        raise truncated_entry(at, size)
    pool_id, pool_nslots, stride_bytes = _PAYLOAD_POOL_LAYOUT.unpack_from(buffer, at)
    at = entry_end
    region_uri, at = read_uri(buffer, at, size)
    return PayloadPool(
        pool_id,
        pool_nslots,
        stride_bytes,
        region_uri,
    ), at


def _write_payload_pool(parts: list[bytes], entry: PayloadPool) -> None:
    parts.append(_PAYLOAD_POOL_LAYOUT.pack(entry.pool_id, entry.pool_nslots, entry.stride_bytes))
    parts.append(write_uri(entry.region_uri, "PayloadPool.region_uri"))


def _read_attribute(
    buffer: WireBuffer, at: int, size: int, entry_bytes: int
) -> tuple[Attribute, int]:
    entry_end = at + entry_bytes
    if entry_end > size:
        raise truncated_entry(at, size)
    at = entry_end
    key, at = read_text(buffer, at, size)
    format_, at = read_text(buffer, at, size)
    value, at = read_data(buffer, at, size)
    return Attribute(
        key,
        format_,
        value,
    ), at


def _write_attribute(parts: list[bytes], entry: Attribute) -> None:
    parts.append(write_text(entry.key, "Attribute.key"))
    parts.append(write_text(entry.format, "Attribute.format"))
    parts.append(write_data(entry.value, "Attribute.value"))


def decode_shm_pool_announce(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ShmPoolAnnounce:
    (
        stream_id,
        producer_id,
        epoch,
        announce_timestamp_ns,
        announce_clock_domain,
        layout_version,
        header_nslots,
        header_slot_bytes,
    ) = _SHM_POOL_ANNOUNCE_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    entry_bytes, count, at = read_dimension(buffer, at, size, 10)
    payload_pools: list[PayloadPool] = []
    for _ in range(count):
        payload_pool, at = _read_payload_pool(buffer, at, size, entry_bytes)
        payload_pools.append(payload_pool)
    header_region_uri, at = read_uri(buffer, at, size)
    announce_clock_domain_ = _CLOCK_DOMAIN.get(announce_clock_domain)
    if announce_clock_domain_ is None:
        raise bad_enum("ShmPoolAnnounce.announce_clock_domain", announce_clock_domain)
    return ShmPoolAnnounce(
        stream_id,
        producer_id,
        epoch,
        announce_timestamp_ns,
        announce_clock_domain_,
        layout_version,
        header_nslots,
        header_slot_bytes,
        tuple(payload_pools),
        header_region_uri,
    )


def encode_shm_pool_announce(message: ShmPoolAnnounce) -> bytes:
    parts = [
        _SHM_POOL_ANNOUNCE_LAYOUT.pack(
            0x0001038400010023,
            message.stream_id,
            message.producer_id,
            message.epoch,
            message.announce_timestamp_ns,
            message.announce_clock_domain,
            message.layout_version,
            message.header_nslots,
            message.header_slot_bytes,
        )
    ]
    parts.append(write_dimension(10, len(message.payload_pools), "ShmPoolAnnounce.payload_pools"))
    for payload_pool in message.payload_pools:
        _write_payload_pool(parts, payload_pool)
    parts.append(write_uri(message.header_region_uri, "ShmPoolAnnounce.header_region_uri"))
    return b"".join(parts)


def check_shm_pool_announce(message: ShmPoolAnnounce) -> None:
    if message.announce_clock_domain not in _CLOCK_DOMAIN:
        raise unlisted("ShmPoolAnnounce.announce_clock_domain", message.announce_clock_domain)


def decode_consumer_hello(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ConsumerHello:
    (
        stream_id,
        consumer_id,
        supports_shm,
        supports_progress,
        mode,
        max_rate_hz,
        expected_layout_version,
        progress_interval_us,
        progress_bytes_delta,
        progress_major_delta_units,
        descriptor_stream_id,
        control_stream_id,
    ) = _CONSUMER_HELLO_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    descriptor_channel, at = read_uri(buffer, at, size)
    control_channel, at = read_uri(buffer, at, size)
    supports_shm_ = _BOOL.get(supports_shm)
    if supports_shm_ is None:
        if not raw_enums:
            raise bad_enum("ConsumerHello.supports_shm", supports_shm)
        supports_shm_ = supports_shm
    supports_progress_ = _BOOL.get(supports_progress)
    if supports_progress_ is None:
        if not raw_enums:
            raise bad_enum("ConsumerHello.supports_progress", supports_progress)
        supports_progress_ = supports_progress
    mode_ = _MODE.get(mode)
    if mode_ is None:
        if not raw_enums:
            raise bad_enum("ConsumerHello.mode", mode)
        mode_ = mode
    return ConsumerHello(
        stream_id,
        consumer_id,
        supports_shm_,
        supports_progress_,
        mode_,
        max_rate_hz,
        expected_layout_version,
        None if progress_interval_us == 4294967295 else progress_interval_us,
        None if progress_bytes_delta == 4294967295 else progress_bytes_delta,
        None if progress_major_delta_units == 4294967295 else progress_major_delta_units,
        0 if descriptor_stream_id == 0xFFFFFFFF else descriptor_stream_id,
        0 if control_stream_id == 0xFFFFFFFF else control_stream_id,
        descriptor_channel,
        control_channel,
    )


def encode_consumer_hello(message: ConsumerHello) -> bytes:
    parts = [
        _CONSUMER_HELLO_LAYOUT.pack(
            0x0001038400020027,
            message.stream_id,
            message.consumer_id,
            message.supports_shm,
            message.supports_progress,
            message.mode,
            message.max_rate_hz,
            message.expected_layout_version,
            4294967295 if message.progress_interval_us is None else message.progress_interval_us,
            4294967295 if message.progress_bytes_delta is None else message.progress_bytes_delta,
            4294967295
            if message.progress_major_delta_units is None
            else message.progress_major_delta_units,
            message.descriptor_stream_id,
            message.control_stream_id,
        )
    ]
    parts.append(write_uri(message.descriptor_channel, "ConsumerHello.descriptor_channel"))
    parts.append(write_uri(message.control_channel, "ConsumerHello.control_channel"))
    return b"".join(parts)


def check_consumer_hello(message: ConsumerHello) -> None:
    if message.supports_shm not in _BOOL:
        raise unlisted("ConsumerHello.supports_shm", message.supports_shm)
    if message.supports_progress not in _BOOL:
        raise unlisted("ConsumerHello.supports_progress", message.supports_progress)
    if message.mode not in _MODE:
        raise unlisted("ConsumerHello.mode", message.mode)
    if message.progress_interval_us == 4294967295:
        raise sentinel("ConsumerHello.progress_interval_us", message.progress_interval_us)
    if message.progress_bytes_delta == 4294967295:
        raise sentinel("ConsumerHello.progress_bytes_delta", message.progress_bytes_delta)
    if message.progress_major_delta_units == 4294967295:
        raise sentinel(
            "ConsumerHello.progress_major_delta_units", message.progress_major_delta_units
        )
    if message.descriptor_stream_id == 4294967295:
        raise sentinel("ConsumerHello.descriptor_stream_id", message.descriptor_stream_id)
    if message.control_stream_id == 4294967295:
        raise sentinel("ConsumerHello.control_stream_id", message.control_stream_id)


def decode_consumer_config(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ConsumerConfig:
    stream_id, consumer_id, use_shm, mode, descriptor_stream_id, control_stream_id = (
        _CONSUMER_CONFIG_LAYOUT_BLOCK.unpack_from(buffer, 8)
    )
    at = 8 + block_length
    payload_fallback_uri, at = read_uri(buffer, at, size)
    descriptor_channel, at = read_uri(buffer, at, size)
    control_channel, at = read_uri(buffer, at, size)
    use_shm_ = _BOOL.get(use_shm)
    if use_shm_ is None:
        raise bad_enum("ConsumerConfig.use_shm", use_shm)
    mode_ = _MODE.get(mode)
    if mode_ is None:
        raise bad_enum("ConsumerConfig.mode", mode)
    return ConsumerConfig(
        stream_id,
        consumer_id,
        use_shm_,
        mode_,
        0 if descriptor_stream_id == 0xFFFFFFFF else descriptor_stream_id,
        0 if control_stream_id == 0xFFFFFFFF else control_stream_id,
        payload_fallback_uri,
        descriptor_channel,
        control_channel,
    )


def encode_consumer_config(message: ConsumerConfig) -> bytes:
    parts = [
        _CONSUMER_CONFIG_LAYOUT.pack(
            0x0001038400030012,
            message.stream_id,
            message.consumer_id,
            message.use_shm,
            message.mode,
            message.descriptor_stream_id,
            message.control_stream_id,
        )
    ]
    parts.append(write_uri(message.payload_fallback_uri, "ConsumerConfig.payload_fallback_uri"))
    parts.append(write_uri(message.descriptor_channel, "ConsumerConfig.descriptor_channel"))
    parts.append(write_uri(message.control_channel, "ConsumerConfig.control_channel"))
    return b"".join(parts)


def check_consumer_config(message: ConsumerConfig) -> None:
    if message.use_shm not in _BOOL:
        raise unlisted("ConsumerConfig.use_shm", message.use_shm)
    if message.mode not in _MODE:
        raise unlisted("ConsumerConfig.mode", message.mode)
    if message.descriptor_stream_id == 4294967295:
        raise sentinel("ConsumerConfig.descriptor_stream_id", message.descriptor_stream_id)
    if message.control_stream_id == 4294967295:
        raise sentinel("ConsumerConfig.control_stream_id", message.control_stream_id)


def decode_frame_descriptor(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> FrameDescriptor:
    stream_id, epoch, seq, timestamp_ns, meta_version, trace_id = (
        _FRAME_DESCRIPTOR_LAYOUT_BLOCK.unpack_from(buffer, 8)
    )
    return FrameDescriptor(
        stream_id,
        epoch,
        seq,
        None if timestamp_ns == 18446744073709551615 else timestamp_ns,
        None if meta_version == 4294967295 else meta_version,
        None if trace_id == 0 else trace_id,
    )


def encode_frame_descriptor(message: FrameDescriptor) -> bytes:
    return _FRAME_DESCRIPTOR_LAYOUT.pack(
        0x0001038400040028,
        message.stream_id,
        message.epoch,
        message.seq,
        18446744073709551615 if message.timestamp_ns is None else message.timestamp_ns,
        4294967295 if message.meta_version is None else message.meta_version,
        0 if message.trace_id is None else message.trace_id,
    )


def check_frame_descriptor(message: FrameDescriptor) -> None:
    if message.timestamp_ns == 18446744073709551615:
        raise sentinel("FrameDescriptor.timestamp_ns", message.timestamp_ns)
    if message.meta_version == 4294967295:
        raise sentinel("FrameDescriptor.meta_version", message.meta_version)


def decode_qos_consumer(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> QosConsumer:
    stream_id, consumer_id, epoch, last_seq_seen, drops_gap, drops_late, mode = (
        _QOS_CONSUMER_LAYOUT_BLOCK.unpack_from(buffer, 8)
    )
    mode_ = _MODE.get(mode)
    if mode_ is None:
        raise bad_enum("QosConsumer.mode", mode)
    return QosConsumer(
        stream_id,
        consumer_id,
        epoch,
        last_seq_seen,
        drops_gap,
        drops_late,
        mode_,
    )


def encode_qos_consumer(message: QosConsumer) -> bytes:
    return _QOS_CONSUMER_LAYOUT.pack(
        0x0001038400050029,
        message.stream_id,
        message.consumer_id,
        message.epoch,
        message.last_seq_seen,
        message.drops_gap,
        message.drops_late,
        message.mode,
    )


def check_qos_consumer(message: QosConsumer) -> None:
    if message.mode not in _MODE:
        raise unlisted("QosConsumer.mode", message.mode)


def decode_qos_producer(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> QosProducer:
    stream_id, producer_id, epoch, current_seq, watermark = _QOS_PRODUCER_LAYOUT_BLOCK.unpack_from(
        buffer, 8
    )
    return QosProducer(
        stream_id,
        producer_id,
        epoch,
        current_seq,
        None if watermark == 4294967295 else watermark,
    )


def encode_qos_producer(message: QosProducer) -> bytes:
    return _QOS_PRODUCER_LAYOUT.pack(
        0x000103840006001C,
        message.stream_id,
        message.producer_id,
        message.epoch,
        message.current_seq,
        4294967295 if message.watermark is None else message.watermark,
    )


def check_qos_producer(message: QosProducer) -> None:
    if message.watermark == 4294967295:
        raise sentinel("QosProducer.watermark", message.watermark)


def decode_data_source_announce(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> DataSourceAnnounce:
    stream_id, producer_id, epoch, meta_version = _DATA_SOURCE_ANNOUNCE_LAYOUT_BLOCK.unpack_from(
        buffer, 8
    )
    at = 8 + block_length
    name, at = read_text(buffer, at, size)
    summary, at = read_text(buffer, at, size)
    return DataSourceAnnounce(
        stream_id,
        producer_id,
        epoch,
        meta_version,
        name,
        summary,
    )


def encode_data_source_announce(message: DataSourceAnnounce) -> bytes:
    parts = [
        _DATA_SOURCE_ANNOUNCE_LAYOUT.pack(
            0x0001038400070014,
            message.stream_id,
            message.producer_id,
            message.epoch,
            message.meta_version,
        )
    ]
    parts.append(write_text(message.name, "DataSourceAnnounce.name"))
    parts.append(write_text(message.summary, "DataSourceAnnounce.summary"))
    return b"".join(parts)


def decode_data_source_meta(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> DataSourceMeta:
    stream_id, meta_version, timestamp_ns = _DATA_SOURCE_META_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    entry_bytes, count, at = read_dimension(buffer, at, size, 0)
    attributes: list[Attribute] = []
    for _ in range(count):
        attribute, at = _read_attribute(buffer, at, size, entry_bytes)
        attributes.append(attribute)
    return DataSourceMeta(
        stream_id,
        meta_version,
        timestamp_ns,
        tuple(attributes),
    )


def encode_data_source_meta(message: DataSourceMeta) -> bytes:
    parts = [
        _DATA_SOURCE_META_LAYOUT.pack(
            0x0001038400080010,
            message.stream_id,
            message.meta_version,
            message.timestamp_ns,
        )
    ]
    parts.append(write_dimension(0, len(message.attributes), "DataSourceMeta.attributes"))
    for attribute in message.attributes:
        _write_attribute(parts, attribute)
    return b"".join(parts)


def decode_control_response(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ControlResponse:
    correlation_id, code = _CONTROL_RESPONSE_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    error_message, at = read_text(buffer, at, size)
    code_ = _RESPONSE_CODE.get(code)
    if code_ is None:
        raise bad_enum("ControlResponse.code", code)
    return ControlResponse(
        correlation_id,
        code_,
        error_message,
    )


def encode_control_response(message: ControlResponse) -> bytes:
    parts = [
        _CONTROL_RESPONSE_LAYOUT.pack(
            0x000103840009000C,
            message.correlation_id,
            message.code,
        )
    ]
    parts.append(write_error_message(message.error_message))
    return b"".join(parts)


def check_control_response(message: ControlResponse) -> None:
    if message.code not in _RESPONSE_CODE:
        raise unlisted("ControlResponse.code", message.code)


def decode_meta_blob_announce(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> MetaBlobAnnounce:
    stream_id, meta_version, blob_type, total_len, checksum = (
        _META_BLOB_ANNOUNCE_LAYOUT_BLOCK.unpack_from(buffer, 8)
    )
    return MetaBlobAnnounce(
        stream_id,
        meta_version,
        blob_type,
        total_len,
        checksum,
    )


def encode_meta_blob_announce(message: MetaBlobAnnounce) -> bytes:
    return _META_BLOB_ANNOUNCE_LAYOUT.pack(
        0x00010384000A001C,
        message.stream_id,
        message.meta_version,
        message.blob_type,
        message.total_len,
        message.checksum,
    )


def decode_frame_progress(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> FrameProgress:
    stream_id, epoch, seq, payload_bytes_filled, state = _FRAME_PROGRESS_LAYOUT_BLOCK.unpack_from(
        buffer, 8
    )
    state_ = _FRAME_PROGRESS_STATE.get(state)
    if state_ is None:
        raise bad_enum("FrameProgress.state", state)
    return FrameProgress(
        stream_id,
        epoch,
        seq,
        payload_bytes_filled,
        state_,
    )


def encode_frame_progress(message: FrameProgress) -> bytes:
    return _FRAME_PROGRESS_LAYOUT.pack(
        0x00010384000B001D,
        message.stream_id,
        message.epoch,
        message.seq,
        message.payload_bytes_filled,
        message.state,
    )


def check_frame_progress(message: FrameProgress) -> None:
    if message.state not in _FRAME_PROGRESS_STATE:
        raise unlisted("FrameProgress.state", message.state)


def decode_meta_blob_chunk(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> MetaBlobChunk:
    stream_id, meta_version, chunk_offset = _META_BLOB_CHUNK_LAYOUT_BLOCK.unpack_from(buffer, 8)
    at = 8 + block_length
    bytes_, at = read_data(buffer, at, size)
    return MetaBlobChunk(
        stream_id,
        meta_version,
        chunk_offset,
        bytes_,
    )


def encode_meta_blob_chunk(message: MetaBlobChunk) -> bytes:
    parts = [
        _META_BLOB_CHUNK_LAYOUT.pack(
            0x00010384000C0010,
            message.stream_id,
            message.meta_version,
            message.chunk_offset,
        )
    ]
    parts.append(write_data(message.bytes_, "MetaBlobChunk.bytes_"))
    return b"".join(parts)


def decode_meta_blob_complete(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> MetaBlobComplete:
    stream_id, meta_version, checksum = _META_BLOB_COMPLETE_LAYOUT_BLOCK.unpack_from(buffer, 8)
    return MetaBlobComplete(
        stream_id,
        meta_version,
        checksum,
    )


def encode_meta_blob_complete(message: MetaBlobComplete) -> bytes:
    return _META_BLOB_COMPLETE_LAYOUT.pack(
        0x00010384000D0010,
        message.stream_id,
        message.meta_version,
        message.checksum,
    )


def decode_shm_region_superblock(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> ShmRegionSuperblock:
    if size < 64:
        raise truncated_record("ShmRegionSuperblock", size, 64)
    (
        magic,
        layout_version,
        epoch,
        stream_id,
        region_type,
        pool_id,
        nslots,
        slot_bytes,
        stride_bytes,
        pid,
        start_timestamp_ns,
        activity_timestamp_ns,
    ) = _SHM_REGION_SUPERBLOCK_LAYOUT.unpack_from(buffer, 0)
    return ShmRegionSuperblock(
        magic,
        layout_version,
        epoch,
        stream_id,
        region_type,
        pool_id,
        nslots,
        slot_bytes,
        stride_bytes,
        pid,
        start_timestamp_ns,
        activity_timestamp_ns,
    )


def encode_shm_region_superblock(message: ShmRegionSuperblock) -> bytes:
    return _SHM_REGION_SUPERBLOCK_LAYOUT.pack(
        message.magic,
        message.layout_version,
        message.epoch,
        message.stream_id,
        message.region_type,
        message.pool_id,
        message.nslots,
        message.slot_bytes,
        message.stride_bytes,
        message.pid,
        message.start_timestamp_ns,
        message.activity_timestamp_ns,
    )


def decode_slot_header(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> SlotHeader:
    if size < 60:
        raise truncated_record("SlotHeader", size, 60)
    (
        seq_commit,
        values_len_bytes,
        payload_slot,
        pool_id,
        payload_offset,
        timestamp_ns,
        meta_version,
    ) = _SLOT_HEADER_LAYOUT.unpack_from(buffer, 0)
    at = block_length
    header_bytes, at = read_data(buffer, at, size)
    return SlotHeader(
        seq_commit,
        values_len_bytes,
        payload_slot,
        pool_id,
        payload_offset,
        timestamp_ns,
        meta_version,
        header_bytes,
    )


def encode_slot_header(message: SlotHeader) -> bytes:
    parts = [
        _SLOT_HEADER_LAYOUT.pack(
            message.seq_commit,
            message.values_len_bytes,
            message.payload_slot,
            message.pool_id,
            message.payload_offset,
            message.timestamp_ns,
            message.meta_version,
        )
    ]
    parts.append(write_data(message.header_bytes, "SlotHeader.header_bytes"))
    return b"".join(parts)


def decode_tensor_header(
    buffer: WireBuffer, size: int, block_length: int, raw_enums: bool
) -> TensorHeader:
    if size < 184:
        raise truncated_record("TensorHeader", size, 184)
    values = _TENSOR_HEADER_LAYOUT.unpack_from(buffer, 0)
    dtype = values[0]
    major_order = values[1]
    ndims = values[2]
    progress_unit = values[3]
    progress_stride_bytes = values[4]
    dims = values[5:13]
    strides = values[13:21]
    return TensorHeader(
        dtype,
        major_order,
        ndims,
        progress_unit,
        progress_stride_bytes,
        dims,
        strides,
    )


def encode_tensor_header(message: TensorHeader) -> bytes:
    return _TENSOR_HEADER_LAYOUT.pack(
        message.dtype,
        message.major_order,
        message.ndims,
        message.progress_unit,
        message.progress_stride_bytes,
        *message.dims,
        *message.strides,
    )


FIELD_CODES: dict[type, dict[str, str]] = {
    PayloadPool: {"pool_id": "H", "pool_nslots": "I", "stride_bytes": "I"},
    Attribute: {},
    ShmPoolAnnounce: {
        "stream_id": "I",
        "producer_id": "I",
        "epoch": "Q",
        "announce_timestamp_ns": "Q",
        "announce_clock_domain": "B",
        "layout_version": "I",
        "header_nslots": "I",
        "header_slot_bytes": "H",
    },
    ConsumerHello: {
        "stream_id": "I",
        "consumer_id": "I",
        "supports_shm": "B",
        "supports_progress": "B",
        "mode": "B",
        "max_rate_hz": "I",
        "expected_layout_version": "I",
        "progress_interval_us": "I?",
        "progress_bytes_delta": "I?",
        "progress_major_delta_units": "I?",
        "descriptor_stream_id": "I",
        "control_stream_id": "I",
    },
    ConsumerConfig: {
        "stream_id": "I",
        "consumer_id": "I",
        "use_shm": "B",
        "mode": "B",
        "descriptor_stream_id": "I",
        "control_stream_id": "I",
    },
    FrameDescriptor: {
        "stream_id": "I",
        "epoch": "Q",
        "seq": "Q",
        "timestamp_ns": "Q?",
        "meta_version": "I?",
        "trace_id": "Q?",
    },
    QosConsumer: {
        "stream_id": "I",
        "consumer_id": "I",
        "epoch": "Q",
        "last_seq_seen": "Q",
        "drops_gap": "Q",
        "drops_late": "Q",
        "mode": "B",
    },
    QosProducer: {
        "stream_id": "I",
        "producer_id": "I",
        "epoch": "Q",
        "current_seq": "Q",
        "watermark": "I?",
    },
    DataSourceAnnounce: {"stream_id": "I", "producer_id": "I", "epoch": "Q", "meta_version": "I"},
    DataSourceMeta: {"stream_id": "I", "meta_version": "I", "timestamp_ns": "Q"},
    ControlResponse: {"correlation_id": "q", "code": "i"},
    MetaBlobAnnounce: {
        "stream_id": "I",
        "meta_version": "I",
        "blob_type": "I",
        "total_len": "Q",
        "checksum": "Q",
    },
    FrameProgress: {
        "stream_id": "I",
        "epoch": "Q",
        "seq": "Q",
        "payload_bytes_filled": "Q",
        "state": "B",
    },
    MetaBlobChunk: {"stream_id": "I", "meta_version": "I", "chunk_offset": "Q"},
    MetaBlobComplete: {"stream_id": "I", "meta_version": "I", "checksum": "Q"},
    ShmRegionSuperblock: {
        "magic": "Q",
        "layout_version": "I",
        "epoch": "Q",
        "stream_id": "I",
        "region_type": "h",
        "pool_id": "H",
        "nslots": "I",
        "slot_bytes": "I",
        "stride_bytes": "I",
        "pid": "Q",
        "start_timestamp_ns": "Q",
        "activity_timestamp_ns": "Q",
    },
    SlotHeader: {
        "seq_commit": "Q",
        "values_len_bytes": "I",
        "payload_slot": "I",
        "pool_id": "H",
        "payload_offset": "I",
        "timestamp_ns": "Q",
        "meta_version": "I",
    },
    TensorHeader: {
        "dtype": "h",
        "major_order": "h",
        "ndims": "B",
        "progress_unit": "B",
        "progress_stride_bytes": "I",
        "dims": "8i",
        "strides": "8i",
    },
}
"""`struct` codes by field; a trailing `?` where None is allowed."""
