"""Messages of the discovery schema.

Generated from `schemas/*.xml` by `make schemas`; edit those, not this file.
"""

from __future__ import annotations

from msgspec import Struct

from .control_messages import PayloadPool
from .enums import DiscoveryStatus

__all__ = [
    "DiscoveryRequest",
    "DiscoveryResponse",
    "DiscoveryResult",
    "Tag",
]


class Tag(Struct, frozen=True, gc=False):
    """One entry for each tag."""

    tag: str = ""
    """One word."""


class DiscoveryResult(Struct, frozen=True, gc=False):
    """One entry for each stream."""

    stream_id: int
    """Tensor stream id."""
    producer_id: int
    """Its producer; 0 = none."""
    epoch: int
    """Its epoch; 0 = none."""
    layout_version: int
    """Version of the shared memory layout."""
    header_nslots: int
    """Slots of the header ring."""
    header_slot_bytes: int
    """Bytes of a header slot, 256."""
    max_dims: int
    """Most axes of a tensor, 8."""
    data_source_id: int | None
    """Data source."""
    driver_control_stream_id: int
    """Control stream of the driver, never 0."""
    payload_pools: tuple[PayloadPool, ...] = ()
    """One entry for each payload pool."""
    tags: tuple[Tag, ...] = ()
    """One entry for each tag."""
    header_region_uri: str = ""
    """Region URI of the header ring file."""
    data_source_name: str = ""
    """Name of the stream."""
    driver_instance_id: str = ""
    """Instance of the driver."""
    driver_control_channel: str = ""
    """Control channel of the driver."""


class DiscoveryRequest(Struct, frozen=True, gc=False):
    """A client asks which streams exist."""

    request_id: int
    """Chosen by the client."""
    client_id: int
    """Client, for logs and limits only."""
    response_stream_id: int
    """Stream for the answer, 1..2147483647."""
    stream_id: int | None = None
    """Filter by stream."""
    producer_id: int | None = None
    """Filter by producer; 0 = streams without one."""
    data_source_id: int | None = None
    """Filter by data source."""
    tags: tuple[Tag, ...] = ()
    """One entry for each tag."""
    response_channel: str = ""
    """Channel for the answer."""
    data_source_name: str = ""
    """Filter by name; empty = none."""


class DiscoveryResponse(Struct, frozen=True, gc=False):
    """The streams that match a request."""

    request_id: int
    """Copied from the request."""
    status: DiscoveryStatus
    """Result."""
    results: tuple[DiscoveryResult, ...] = ()
    """One entry for each stream."""
    error_message: str = ""
    """Diagnostic; empty = none."""
