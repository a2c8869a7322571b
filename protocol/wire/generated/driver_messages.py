"""Messages of the driver schema.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from msgspec import Struct

from .control_messages import PayloadPool
from .enums import (
    HugepagesPolicy,
    LeaseRevokeReason,
    PublishMode,
    ResponseCode,
    Role,
    ShutdownReason,
)

__all__ = [
    "ShmAttachRequest",
    "ShmAttachResponse",
    "ShmDetachRequest",
    "ShmDetachResponse",
    "ShmDriverShutdown",
    "ShmDriverShutdownRequest",
    "ShmLeaseKeepalive",
    "ShmLeaseRevoked",
]


class ShmAttachRequest(Struct, frozen=True, gc=False):
    """A client asks for a lease on a stream."""

    correlation_id: int
    """Chosen by the client."""
    stream_id: int
    """Tensor stream id; 0 asks the driver to choose."""
    client_id: int
    """Client, never 0."""
    role: Role | int
    """Producer or consumer."""
    expected_layout_version: int
    """0 = no expectation."""
    publish_mode: PublishMode | int | None = None
    """Not given = REQUIRE_EXISTING."""
    require_hugepages: HugepagesPolicy | int = HugepagesPolicy.UNSPECIFIED
    """Demand on pages."""
    desired_node_id: int | None = None
    """Node id asked for."""


class ShmAttachResponse(Struct, frozen=True, gc=False):
    """The lease and the regions, or why not."""

    correlation_id: int
    """Copied from the request."""
    code: ResponseCode
    """Result."""
    lease_id: int | None = None
    """The lease."""
    lease_expiry_timestamp_ns: int | None = None
    """Deadline of the next keepalive, driver's monotonic clock."""
    stream_id: int | None = None
    """Tensor stream id; may differ from the request."""
    epoch: int | None = None
    """Current epoch."""
    layout_version: int | None = None
    """Layout version."""
    header_nslots: int | None = None
    """Slots of the header ring."""
    header_slot_bytes: int | None = None
    """256."""
    node_id: int | None = None
    """Node id assigned."""
    payload_pools: tuple[PayloadPool, ...] = ()
    """One entry for each payload pool."""
    header_region_uri: str = ""
    """Region URI of the header ring file."""
    error_message: str = ""
    """Diagnostic; empty on OK."""


class ShmDetachRequest(Struct, frozen=True, gc=False):
    """A client gives its lease back."""

    correlation_id: int
    """Chosen by the client."""
    lease_id: int
    """Lease to end."""
    stream_id: int
    """Must match the lease."""
    client_id: int
    """Must match the lease."""
    role: Role
    """Must match the lease."""


class ShmDetachResponse(Struct, frozen=True, gc=False):
    """Answer to a detach."""

    correlation_id: int
    """Copied from the request."""
    code: ResponseCode
    """OK, or REJECTED for a lease that is unknown or ended."""
    error_message: str = ""
    """Diagnostic; empty on OK."""


class ShmLeaseKeepalive(Struct, frozen=True, gc=False):
    """A client still uses its lease."""

    lease_id: int
    """Lease."""
    stream_id: int
    """Must match the lease."""
    client_id: int
    """Must match the lease."""
    role: Role
    """Must match the lease."""
    client_timestamp_ns: int
    """Client's clock, for diagnosis only."""


class ShmDriverShutdown(Struct, frozen=True, gc=False):
    """The driver stops; every lease has ended."""

    timestamp_ns: int
    """Driver's clock."""
    reason: ShutdownReason
    """Reason."""
    error_message: str = ""
    """Diagnostic; empty = none."""


class ShmLeaseRevoked(Struct, frozen=True, gc=False):
    """A lease has ended."""

    timestamp_ns: int
    """Driver's clock."""
    lease_id: int
    """Lease that ended."""
    stream_id: int
    """Tensor stream id."""
    client_id: int
    """Owner of the lease."""
    role: Role
    """Role of the lease."""
    reason: LeaseRevokeReason
    """Reason."""
    error_message: str = ""
    """Diagnostic; empty = none."""


class ShmDriverShutdownRequest(Struct, frozen=True, gc=False):
    """An administrator asks the driver to stop; never answered."""

    correlation_id: int
    """Chosen by the requester."""
    reason: ShutdownReason
    """Reason to give in ShmDriverShutdown."""
    token: str = ""
    """Secret configured in the driver."""
    error_message: str = ""
    """Text to give in ShmDriverShutdown."""
