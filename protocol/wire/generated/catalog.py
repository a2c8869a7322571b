"""Every message: its class, ids, block length and codec functions.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from typing import Final

from ..codec_entry import Codec
from . import bridge_codecs as bridge
from . import control_codecs as control
from . import discovery_codecs as discovery
from . import driver_codecs as driver
from . import merge_codecs as merge
from . import trace_link_codecs as trace_link
from .bridge_messages import BridgeFrameChunk, BridgeStreamInfo
from .control_messages import (
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
    QosConsumer,
    QosProducer,
    ShmPoolAnnounce,
    ShmRegionSuperblock,
    SlotHeader,
    TensorHeader,
)
from .discovery_messages import DiscoveryRequest, DiscoveryResponse
from .driver_messages import (
    ShmAttachRequest,
    ShmAttachResponse,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmDriverShutdownRequest,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
)
from .merge_messages import (
    SequenceMergeMapAnnounce,
    SequenceMergeMapRequest,
    TimestampMergeMapAnnounce,
    TimestampMergeMapRequest,
)
from .trace_link_messages import TraceLinkSet

__all__ = ["CODECS", "FIELD_CODES", "RECORDS", "Message", "Record"]

type Message = (
    ShmPoolAnnounce
    | ConsumerHello
    | ConsumerConfig
    | FrameDescriptor
    | QosConsumer
    | QosProducer
    | DataSourceAnnounce
    | DataSourceMeta
    | ControlResponse
    | MetaBlobAnnounce
    | FrameProgress
    | MetaBlobChunk
    | MetaBlobComplete
    | ShmAttachRequest
    | ShmAttachResponse
    | ShmDetachRequest
    | ShmDetachResponse
    | ShmLeaseKeepalive
    | ShmDriverShutdown
    | ShmLeaseRevoked
    | ShmDriverShutdownRequest
    | BridgeFrameChunk
    | BridgeStreamInfo
    | SequenceMergeMapAnnounce
    | SequenceMergeMapRequest
    | TimestampMergeMapAnnounce
    | TimestampMergeMapRequest
    | TraceLinkSet
    | DiscoveryRequest
    | DiscoveryResponse
)
"""A message, which travels over a transport."""

type Record = ShmRegionSuperblock | SlotHeader | TensorHeader
"""A record, which stands in shared memory."""

CODECS: Final = (
    Codec(
        ShmPoolAnnounce,
        900,
        1,
        1,
        35,
        control.decode_shm_pool_announce,
        control.encode_shm_pool_announce,
        control.check_shm_pool_announce,
    ),
    Codec(
        ConsumerHello,
        900,
        2,
        1,
        39,
        control.decode_consumer_hello,
        control.encode_consumer_hello,
        control.check_consumer_hello,
    ),
    Codec(
        ConsumerConfig,
        900,
        3,
        1,
        18,
        control.decode_consumer_config,
        control.encode_consumer_config,
        control.check_consumer_config,
    ),
    Codec(
        FrameDescriptor,
        900,
        4,
        1,
        40,
        control.decode_frame_descriptor,
        control.encode_frame_descriptor,
        control.check_frame_descriptor,
    ),
    Codec(
        QosConsumer,
        900,
        5,
        1,
        41,
        control.decode_qos_consumer,
        control.encode_qos_consumer,
        control.check_qos_consumer,
    ),
    Codec(
        QosProducer,
        900,
        6,
        1,
        28,
        control.decode_qos_producer,
        control.encode_qos_producer,
        control.check_qos_producer,
    ),
    Codec(
        DataSourceAnnounce,
        900,
        7,
        1,
        20,
        control.decode_data_source_announce,
        control.encode_data_source_announce,
        None,
    ),
    Codec(
        DataSourceMeta,
        900,
        8,
        1,
        16,
        control.decode_data_source_meta,
        control.encode_data_source_meta,
        None,
    ),
    Codec(
        ControlResponse,
        900,
        9,
        1,
        12,
        control.decode_control_response,
        control.encode_control_response,
        control.check_control_response,
    ),
    Codec(
        MetaBlobAnnounce,
        900,
        10,
        1,
        28,
        control.decode_meta_blob_announce,
        control.encode_meta_blob_announce,
        None,
    ),
    Codec(
        FrameProgress,
        900,
        11,
        1,
        29,
        control.decode_frame_progress,
        control.encode_frame_progress,
        control.check_frame_progress,
    ),
    Codec(
        MetaBlobChunk,
        900,
        12,
        1,
        16,
        control.decode_meta_blob_chunk,
        control.encode_meta_blob_chunk,
        None,
    ),
    Codec(
        MetaBlobComplete,
        900,
        13,
        1,
        16,
        control.decode_meta_blob_complete,
        control.encode_meta_blob_complete,
        None,
    ),
    Codec(
        ShmAttachRequest,
        901,
        1,
        1,
        27,
        driver.decode_shm_attach_request,
        driver.encode_shm_attach_request,
        driver.check_shm_attach_request,
    ),
    Codec(
        ShmAttachResponse,
        901,
        2,
        1,
        54,
        driver.decode_shm_attach_response,
        driver.encode_shm_attach_response,
        driver.check_shm_attach_response,
    ),
    Codec(
        ShmDetachRequest,
        901,
        3,
        1,
        25,
        driver.decode_shm_detach_request,
        driver.encode_shm_detach_request,
        driver.check_shm_detach_request,
    ),
    Codec(
        ShmDetachResponse,
        901,
        4,
        1,
        12,
        driver.decode_shm_detach_response,
        driver.encode_shm_detach_response,
        driver.check_shm_detach_response,
    ),
    Codec(
        ShmLeaseKeepalive,
        901,
        5,
        1,
        25,
        driver.decode_shm_lease_keepalive,
        driver.encode_shm_lease_keepalive,
        driver.check_shm_lease_keepalive,
    ),
    Codec(
        ShmDriverShutdown,
        901,
        6,
        1,
        9,
        driver.decode_shm_driver_shutdown,
        driver.encode_shm_driver_shutdown,
        driver.check_shm_driver_shutdown,
    ),
    Codec(
        ShmLeaseRevoked,
        901,
        7,
        1,
        26,
        driver.decode_shm_lease_revoked,
        driver.encode_shm_lease_revoked,
        driver.check_shm_lease_revoked,
    ),
    Codec(
        ShmDriverShutdownRequest,
        901,
        8,
        1,
        9,
        driver.decode_shm_driver_shutdown_request,
        driver.encode_shm_driver_shutdown_request,
        driver.check_shm_driver_shutdown_request,
    ),
    Codec(
        BridgeFrameChunk,
        902,
        1,
        1,
        53,
        bridge.decode_bridge_frame_chunk,
        bridge.encode_bridge_frame_chunk,
        bridge.check_bridge_frame_chunk,
    ),
    Codec(
        BridgeStreamInfo,
        902,
        100,
        1,
        68,
        bridge.decode_bridge_stream_info,
        bridge.encode_bridge_stream_info,
        bridge.check_bridge_stream_info,
    ),
    Codec(
        SequenceMergeMapAnnounce,
        903,
        1,
        1,
        20,
        merge.decode_sequence_merge_map_announce,
        merge.encode_sequence_merge_map_announce,
        merge.check_sequence_merge_map_announce,
    ),
    Codec(
        SequenceMergeMapRequest,
        903,
        2,
        1,
        12,
        merge.decode_sequence_merge_map_request,
        merge.encode_sequence_merge_map_request,
        None,
    ),
    Codec(
        TimestampMergeMapAnnounce,
        903,
        3,
        1,
        29,
        merge.decode_timestamp_merge_map_announce,
        merge.encode_timestamp_merge_map_announce,
        merge.check_timestamp_merge_map_announce,
    ),
    Codec(
        TimestampMergeMapRequest,
        903,
        4,
        1,
        12,
        merge.decode_timestamp_merge_map_request,
        merge.encode_timestamp_merge_map_request,
        None,
    ),
    Codec(
        TraceLinkSet,
        904,
        1,
        1,
        28,
        trace_link.decode_trace_link_set,
        trace_link.encode_trace_link_set,
        None,
    ),
    Codec(
        DiscoveryRequest,
        910,
        1,
        1,
        32,
        discovery.decode_discovery_request,
        discovery.encode_discovery_request,
        discovery.check_discovery_request,
    ),
    Codec(
        DiscoveryResponse,
        910,
        2,
        1,
        9,
        discovery.decode_discovery_response,
        discovery.encode_discovery_response,
        discovery.check_discovery_response,
    ),
)

RECORDS: Final = (
    Codec(
        ShmRegionSuperblock,
        900,
        50,
        1,
        64,
        control.decode_shm_region_superblock,
        control.encode_shm_region_superblock,
        None,
    ),
    Codec(SlotHeader, 900, 51, 1, 60, control.decode_slot_header, control.encode_slot_header, None),
    Codec(
        TensorHeader,
        900,
        52,
        1,
        184,
        control.decode_tensor_header,
        control.encode_tensor_header,
        None,
    ),
)

FIELD_CODES: Final = (
    control.FIELD_CODES
    | driver.FIELD_CODES
    | bridge.FIELD_CODES
    | merge.FIELD_CODES
    | trace_link.FIELD_CODES
    | discovery.FIELD_CODES
)
"""`struct` codes by field; a trailing `?` where None is allowed."""
