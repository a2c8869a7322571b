"""Events of the four machines of a bridge."""

from __future__ import annotations

import enum

import msgspec

from tensor_pool.client.producer.payload_layout import FrameHeader
from tensor_pool.protocol.wire import BridgeStreamInfo

from .chunks import Chunk

__all__ = ["BegunFrame", "BridgeEvent", "InboundEvent", "LinkEvent", "OutboundEvent", "SeenInfo"]


class BridgeEvent(enum.Enum):
    """Events of a bridge as a whole."""

    START_OK = enum.auto()
    START_FAILED = enum.auto()
    NET_LOST = enum.auto()
    RETRY_DUE = enum.auto()
    NET_BACK = enum.auto()
    SHUTDOWN_REQUESTED = enum.auto()
    DRAIN_COMPLETE = enum.auto()
    SHUTDOWN_TIMEOUT = enum.auto()
    FATAL_ERROR = enum.auto()


class LinkEvent(enum.Enum):
    """Events of an outgoing link; REFUSED carries the ns without an accepted offer."""

    CONNECTED = enum.auto()
    DISCONNECTED = enum.auto()
    REFUSED = enum.auto()
    ACCEPTED = enum.auto()
    CLOSE = enum.auto()


class OutboundEvent(enum.Enum):
    """Events of a stream on its way out."""

    SOURCE_MAPPED = enum.auto()
    SOURCE_LOST = enum.auto()
    LINK_UP = enum.auto()
    LINK_DOWN = enum.auto()
    FRAME_TAKEN = enum.auto()
    RATE_DUE = enum.auto()
    FRAME_SENT = enum.auto()
    FRAME_DROPPED = enum.auto()
    SEND_TIMEOUT = enum.auto()
    PRODUCER_SEEN = enum.auto()
    PRODUCER_GONE = enum.auto()
    INFO_DUE = enum.auto()
    CLOSE = enum.auto()


class InboundEvent(enum.Enum):
    """Events of a stream on its way in."""

    INFO = enum.auto()
    LEASE_READY = enum.auto()
    LEASE_REFUSED = enum.auto()
    LEASE_LOST = enum.auto()
    RETRY_DUE = enum.auto()
    FRAME_BEGAN = enum.auto()
    FRAME_COMPLETED = enum.auto()
    FRAME_BROKEN = enum.auto()
    ASSEMBLY_TIMEOUT = enum.auto()
    OWNER_SILENT = enum.auto()
    SESSION_GONE = enum.auto()
    HOLD_TIMEOUT = enum.auto()
    CLOSE = enum.auto()


class BegunFrame(msgspec.Struct, frozen=True):
    """A frame whose first chunk has come, and its header, checked."""

    chunk: Chunk
    header: FrameHeader


class SeenInfo(msgspec.Struct, frozen=True):
    """A valid info, the session it came by, and when."""

    info: BridgeStreamInfo
    path: tuple[str, ...]
    session: int
    order: int
    """Rank of the session among those seen; a newer one has a higher rank."""
    seen_ns: int
