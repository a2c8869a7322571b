"""Read-only records of a driver's state, sorted by id (D-191)."""

from __future__ import annotations

import msgspec

from tensor_pool.hsm import ROOT, State
from tensor_pool.protocol.wire import Role

from .configuration import DriverConfig, IdRange
from .driver_machine import DriverLifecycle
from .services import Services
from .stream_machine import StreamLifecycle

__all__ = [
    "AssignmentSnapshot",
    "DriverSnapshot",
    "LeaseSnapshot",
    "StatusSnapshot",
    "StreamSnapshot",
    "state_path",
    "take_snapshot",
]


class StatusSnapshot(msgspec.Struct, frozen=True):
    """The driver itself. `state` is the path of the state machine, dotted."""

    instance_id: str
    state: str
    shutdown_reason: str
    shutdown_text: str
    conditions: tuple[str, ...]
    leases: int
    streams: int
    next_lease_id: int
    next_node_id: int
    next_dynamic_stream_id: int | None
    stream_id_range: str | None
    descriptor_stream_id_range: str | None
    control_stream_id_range: str | None


class LeaseSnapshot(msgspec.Struct, frozen=True):
    """One lease in force; `expiry_ns` is monotonic time."""

    lease_id: int
    stream_id: int
    client_id: int
    node_id: int
    role: str
    expiry_ns: int
    state: str
    client: str = ""
    """Name, process and host of the client, as far as it sent them."""


class StreamSnapshot(msgspec.Struct, frozen=True):
    """One stream; `uris` are the header ring's and each pool's, in profile order."""

    stream_id: int
    header_nslots: int
    strides_bytes: tuple[int, ...]
    dynamic: bool
    epoch: int | None
    last_epoch: int
    uris: tuple[str, ...]
    producer_lease_id: int | None
    consumer_lease_ids: tuple[int, ...]
    state: str
    name: str = ""


class AssignmentSnapshot(msgspec.Struct, frozen=True):
    """The transport streams that one consumer has to itself; None where it has none."""

    lease_id: int
    descriptor_stream_id: int | None
    control_stream_id: int | None


class DriverSnapshot(msgspec.Struct, frozen=True):
    """Everything at one moment."""

    status: StatusSnapshot
    leases: tuple[LeaseSnapshot, ...]
    streams: tuple[StreamSnapshot, ...]
    assignments: tuple[AssignmentSnapshot, ...]


def take_snapshot(
    config: DriverConfig, lifecycle: DriverLifecycle, services: Services
) -> DriverSnapshot:
    """Copy the present state; tokens are not part of it (D-140)."""
    driver, names = config.driver, lifecycle.descriptions
    status = StatusSnapshot(
        instance_id=driver.instance_id,
        state=state_path(lifecycle.current),
        shutdown_reason=lifecycle.shutdown.reason.name,
        shutdown_text=lifecycle.shutdown.text,
        conditions=tuple(sorted(lifecycle.conditions)),
        leases=len(lifecycle.leases),
        streams=len(lifecycle.streams),
        next_lease_id=lifecycle.leases.next_id,
        next_node_id=services.node_ids.next_id,
        next_dynamic_stream_id=lifecycle.streams.dynamic_ids.peek(),
        stream_id_range=_text(driver.stream_id_range),
        descriptor_stream_id_range=_text(driver.descriptor_stream_id_range),
        control_stream_id_range=_text(driver.control_stream_id_range),
    )
    return DriverSnapshot(
        status=status,
        leases=tuple(
            LeaseSnapshot(
                lease_id=lease.lease_id,
                stream_id=lease.stream_id,
                client_id=lease.client_id,
                node_id=lease.node_id,
                role=Role(lease.role).name,
                expiry_ns=lease.expiry_ns,
                state=state_path(lease.current),
                client=str(names.name_of_client(lease.client_id) or ""),
            )
            for lease in lifecycle.leases
        ),
        streams=tuple(
            _stream(stream, names.name_of_stream(stream.stream_id)) for stream in lifecycle.streams
        ),
        assignments=_assignments(services),
    )


def state_path(state: State) -> str:
    """The names of a state and of those that contain it, outermost first.

    >>> state_path(DriverLifecycle.Degraded)
    'Serving.Running.Degraded'
    """
    names = []
    inner: State | None = state
    while inner is not None and inner is not ROOT:
        names.append(inner.name)
        inner = inner.parent
    return ".".join(reversed(names))


def _stream(stream: StreamLifecycle, name: str) -> StreamSnapshot:
    regions, profile = stream.regions, stream.profile
    return StreamSnapshot(
        stream_id=stream.stream_id,
        header_nslots=profile.header_nslots if profile is not None else 0,
        strides_bytes=tuple(
            pool.stride_bytes for pool in (profile.payload_pools if profile is not None else ())
        ),
        dynamic=stream.dynamic,
        epoch=stream.epoch,
        last_epoch=stream.last_epoch,
        uris=(
            (regions.header_uri, *(pool.uri for pool in regions.pools))
            if regions is not None
            else ()
        ),
        producer_lease_id=stream.producer.lease_id if stream.producer is not None else None,
        consumer_lease_ids=tuple(sorted(stream.consumers)),
        state=state_path(stream.current),
        name=name,
    )


def _assignments(services: Services) -> tuple[AssignmentSnapshot, ...]:
    descriptor = services.private_streams.descriptor.by_lease
    control = services.private_streams.control.by_lease
    return tuple(
        AssignmentSnapshot(lease_id, descriptor.get(lease_id), control.get(lease_id))
        for lease_id in sorted({*descriptor, *control})
    )


def _text(id_range: IdRange | None) -> str | None:
    return str(id_range) if id_range is not None else None
