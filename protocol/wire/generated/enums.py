"""Enum values as they stand on the wire.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

import enum

__all__ = [
    "ClockDomain",
    "DiscoveryStatus",
    "Dtype",
    "FrameProgressState",
    "HugepagesPolicy",
    "LeaseRevokeReason",
    "MajorOrder",
    "MergeRuleType",
    "MergeTimeRuleType",
    "Mode",
    "PayloadMode",
    "ProgressUnit",
    "PublishMode",
    "RegionType",
    "ResponseCode",
    "Role",
    "ShutdownReason",
    "TimestampSource",
]


class Mode(enum.IntEnum):
    """Delivery of frames to a consumer."""

    STREAM = 1
    RATE_LIMITED = 2


class FrameProgressState(enum.IntEnum):
    """Fill level of a frame."""

    UNKNOWN = 0
    STARTED = 1
    PROGRESS = 2
    COMPLETE = 3


class ProgressUnit(enum.IntEnum):
    """Unit in which a frame fills up."""

    NONE = 0
    ROWS = 1
    COLUMNS = 2


class ResponseCode(enum.IntEnum):
    """Result of a request."""

    OK = 0  # carried out
    UNSUPPORTED = 1  # a capability this endpoint lacks
    INVALID_PARAMS = 2  # malformed or incompatible request
    REJECTED = 3  # refused by policy or state
    INTERNAL_ERROR = 4  # unexpected failure; may be retried later


class ClockDomain(enum.IntEnum):
    """Clock that timestamps are taken from."""

    MONOTONIC = 1
    REALTIME_SYNCED = 2


class RegionType(enum.IntEnum):
    """Contents of a region file."""

    HEADER_RING = 1
    PAYLOAD_POOL = 2


class Dtype(enum.IntEnum):
    """Element type of a tensor."""

    UNKNOWN = 0
    UINT8 = 1
    INT8 = 2
    UINT16 = 3
    INT16 = 4
    UINT32 = 5
    INT32 = 6
    UINT64 = 7
    INT64 = 8
    FLOAT32 = 9
    FLOAT64 = 10
    BOOLEAN = 11
    BYTES = 13
    BIT = 14


class MajorOrder(enum.IntEnum):
    """Order of the axes in memory."""

    UNKNOWN = 0
    ROW = 1
    COLUMN = 2


class HugepagesPolicy(enum.IntEnum):
    """Pages that a client requires behind a region."""

    UNSPECIFIED = 0
    STANDARD = 1
    HUGEPAGES = 2


class Role(enum.IntEnum):
    """Use that a lease allows."""

    PRODUCER = 1
    CONSUMER = 2


class PublishMode(enum.IntEnum):
    """Right of an attach to create the stream."""

    REQUIRE_EXISTING = 1
    EXISTING_OR_CREATE = 2


class LeaseRevokeReason(enum.IntEnum):
    """Reason for the end of a lease."""

    DETACHED = 1
    EXPIRED = 2
    REVOKED = 3


class ShutdownReason(enum.IntEnum):
    """Reason for the driver's stop."""

    NORMAL = 0
    ADMIN = 1
    ERROR = 2


class PayloadMode(enum.IntEnum):
    """Part of a frame that a bridge carries."""

    FULL = 1
    HEADERS = 2  # type and shape without payload


class TimestampSource(enum.IntEnum):
    """Timestamp that a merge rule compares."""

    FRAME_DESCRIPTOR = 1
    SLOT_HEADER = 2


class MergeRuleType(enum.IntEnum):
    """Matching of an input's frames by sequence."""

    OFFSET = 0
    WINDOW = 1


class MergeTimeRuleType(enum.IntEnum):
    """Matching of an input's frames by time."""

    OFFSET_NS = 0
    WINDOW_NS = 1


class DiscoveryStatus(enum.IntEnum):
    """Result of a discovery request."""

    OK = 1
    NOT_FOUND = 2
    ERROR = 3
