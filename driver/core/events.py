"""The events of the three machines, named as in their transition tables, and what they carry.

The comment beside an event is the type of its argument.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from tensor_pool.protocol.wire import ResponseCode, ShutdownReason

from .ports import Regions

__all__ = [
    "Cause",
    "Condition",
    "DriverEvent",
    "LeaseCheck",
    "LeaseEvent",
    "NewEpoch",
    "NoSuccessor",
    "Producer",
    "ProducerEnd",
    "Refusal",
    "Revocation",
    "Shutdown",
    "StreamEvent",
]


class DriverEvent(enum.StrEnum):
    """Events of DriverLifecycle."""

    START_OK = "StartOk"
    START_FAILED = "StartFailed"  # Exception
    TICK = "Tick"  # int: the cycle's time
    ATTACH_REQUEST = "AttachRequest"  # ShmAttachRequest
    DETACH_REQUEST = "DetachRequest"  # ShmDetachRequest
    KEEPALIVE = "Keepalive"  # ShmLeaseKeepalive
    CONSUMER_HELLO = "ConsumerHello"  # ConsumerHello
    DISCOVERY_REQUEST = "DiscoveryRequest"  # DiscoveryRequest
    ANNOUNCE_TIMER_FIRED = "AnnounceTimerFired"  # int: the cycle's time
    LEASE_CHECK_TIMER_FIRED = "LeaseCheckTimerFired"  # LeaseCheck
    REVOKE_LEASE = "RevokeLease"  # Revocation
    REPROVISION = "Reprovision"  # int: stream id
    SHUTDOWN_REQUESTED = "ShutdownRequested"  # Shutdown
    SHUTDOWN_TIMEOUT = "ShutdownTimeout"
    DRAIN_COMPLETE = "DrainComplete"
    FATAL_ERROR = "FatalError"  # str
    TRANSPORT_LOST = "TransportLost"  # str: the transport's error
    TRANSPORT_BACK = "TransportBack"
    HEALTH_RAISED = "HealthRaised"  # Condition
    HEALTH_CLEARED = "HealthCleared"  # Condition


class StreamEvent(enum.StrEnum):
    """Events of StreamLifecycle."""

    STREAM_PROVISIONED = "StreamProvisioned"  # NewEpoch
    EPOCH_BUMPED = "EpochBumped"  # NewEpoch
    PRODUCER_ATTACHED = "ProducerAttached"  # Producer
    PRODUCER_DETACHED = "ProducerDetached"  # ProducerEnd
    CONSUMER_ATTACHED = "ConsumerAttached"  # int: lease id
    CONSUMER_DETACHED = "ConsumerDetached"  # int: lease id
    DRIVER_DRAINING = "DriverDraining"
    DRIVER_SHUTDOWN = "DriverShutdown"
    CLOSE = "Close"


class LeaseEvent(enum.StrEnum):
    """Events of LeaseLifecycle."""

    ATTACH_OK = "AttachOk"  # StreamLifecycle
    ATTACH_REJECT = "AttachReject"  # Refusal
    KEEPALIVE = "Keepalive"
    DETACH = "Detach"
    LEASE_TIMEOUT = "LeaseTimeout"
    TRANSPORT_BACK = "TransportBack"
    REVOKE = "Revoke"  # str: text of the notice
    CLOSE = "Close"


class Cause(enum.Enum):
    """Reason for a new epoch; with ATTACH the grant that follows announces it."""

    ATTACH = "attach"
    STARTUP = "startup"
    RETRY = "retry"
    ADMIN = "admin"


class Condition(enum.StrEnum):
    """Conditions that degrade a running driver (§3.4)."""

    SHM_SPACE = "SHM_SPACE"
    CONTROL_BACKPRESSURE = "CONTROL_BACKPRESSURE"
    GC_FAILED = "GC_FAILED"
    TRANSPORT_LOST = "TRANSPORT_LOST"


class NoSuccessor(enum.Enum):
    """Reason for the end of a producer without a next epoch."""

    FAILED = "failed"
    DRAINING = "draining"


class LeaseCheck(NamedTuple):
    """`drained`: nothing was left on the control subscription in this cycle (D-087)."""

    now: int
    drained: bool


class Revocation(NamedTuple):
    lease_id: int
    text: str


class Shutdown(NamedTuple):
    reason: ShutdownReason
    text: str


class Refusal(NamedTuple):
    """An answer other than OK: what goes on the wire, and a hint that only the log shows."""

    code: ResponseCode
    text: str
    hint: str = ""


class NewEpoch(NamedTuple):
    regions: Regions
    cause: Cause


class Producer(NamedTuple):
    """The producer of a stream."""

    lease_id: int
    client_id: int


class ProducerEnd(NamedTuple):
    """A producer's lease has ended; `successor` holds the regions of the next epoch, if any."""

    lease_id: int
    successor: Regions | NoSuccessor
