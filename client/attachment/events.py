"""The events of the connection machine and of the role machines of an attachment."""

from __future__ import annotations

import enum

__all__ = ["ConnectionEvent", "ConnectionTimer", "RoleEvent"]


class ConnectionEvent(enum.Enum):
    """Events of DriverConnection; the comment is the argument."""

    ATTACH_REQUESTED = enum.auto()
    REATTACH_DUE = enum.auto()
    ATTACH_OK = enum.auto()  # Grant
    LATE_ATTACH_OK = enum.auto()  # LateGrant
    ATTACH_REFUSED = enum.auto()  # (code, text)
    ATTACH_INVALID = enum.auto()  # LateGrant, of what could be read
    ATTACH_TIMEOUT = enum.auto()
    ATTACH_SEND_FAILED = enum.auto()
    KEEPALIVE_DUE = enum.auto()
    KEEPALIVE_FAILED = enum.auto()
    LEASE_DEADLINE_PASSED = enum.auto()
    LEASE_REVOKED = enum.auto()  # text for people
    DRIVER_LOST = enum.auto()
    MAPPING_FAILED = enum.auto()  # the exception
    REATTACH = enum.auto()  # why
    DETACH_REQUESTED = enum.auto()
    DETACH_RESPONDED = enum.auto()
    DETACH_TIMEOUT = enum.auto()
    BACKOFF_ELAPSED = enum.auto()
    DRIVER_SHUTDOWN = enum.auto()
    STREAM_RESOLVED = enum.auto()  # id of the stream that has the name
    STREAM_UNRESOLVED = enum.auto()


class ConnectionTimer(enum.Enum):
    """The timers of the machine; when due, the event is dispatched."""

    RESPONSE = ConnectionEvent.ATTACH_TIMEOUT
    KEEPALIVE = ConnectionEvent.KEEPALIVE_DUE
    DETACH = ConnectionEvent.DETACH_TIMEOUT
    BACKOFF = ConnectionEvent.BACKOFF_ELAPSED
    REATTACH = ConnectionEvent.REATTACH_DUE


class RoleEvent(enum.Enum):
    """Events of the producer and consumer machines; the comment is the argument."""

    MAP_OK = enum.auto()  # StreamMapping
    MAP_FAILED = enum.auto()  # the exception
    LEASE_LOST = enum.auto()  # why
    CLOSE_REQUESTED = enum.auto()
    SHUTDOWN = enum.auto()
    # producer
    STALE_EPOCH = enum.auto()
    # consumer
    ANNOUNCE_ACCEPTED = enum.auto()  # AcceptedAnnounce
    PRODUCER_REVOKED = enum.auto()  # timestamp of the notice
    INVALID_SUPERBLOCK = enum.auto()  # AcceptedAnnounce
    INVALID_STALE_ACTIVITY = enum.auto()
    INVALID_NEWER_EPOCH = enum.auto()
    INVALID_PID_CHANGED = enum.auto()
    INVALID_SEQ_REGRESSION = enum.auto()
    REMAP_OK = enum.auto()  # StreamMapping
    REMAP_FAILED = enum.auto()  # the exception
    ANNOUNCE_TIMEOUT = enum.auto()
    BACKOFF_ELAPSED = enum.auto()
    SHM_DISABLED = enum.auto()  # fallback URI
    SHM_ENABLED = enum.auto()
