"""Protocols between the parts of an attachment."""

from __future__ import annotations

from typing import Protocol

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.transport.ports import OfferResult, Transport
from tensor_pool.protocol.wire import (
    Message,
    ShmAttachRequest,
    ShmDetachRequest,
    ShmLeaseKeepalive,
)
from tensor_pool.protocol.wire.names import ClientName

from ..config import ClientConfig
from ..discovery.directory import Directory
from ..shared_streams import LogicalStream
from .epoch_mapping import MappingRules
from .events import ConnectionTimer, RoleEvent
from .grant import Grant

__all__ = ["AttachmentConductor", "ConnectionPort"]


class AttachmentConductor(Protocol):
    """The conductor of an attachment, as far as attachments use it."""

    config: ClientConfig
    clock: Clock
    counters: Counters
    mapping_rules: MappingRules
    directory: Directory
    client_name: ClientName

    @property
    def transport(self) -> Transport:
        """The transport in use; raises TransportError while there is none."""
        ...

    @property
    def sees_driver(self) -> bool:
        """True if a driver shows its beacon (W-009)."""
        ...

    def wake(self) -> None:
        """Start the next duty cycle soon."""
        ...

    def subscribe(self, stream: LogicalStream) -> None:
        """Poll a shared stream from now on."""
        ...

    def send(self, stream: LogicalStream, message: Message) -> OfferResult:
        """Offer a message on a shared stream."""
        ...

    def keep_callback_error(self, error: Exception) -> None:
        """Keep what a callback raised until the end of the duty cycle."""
        ...


class ConnectionPort(Protocol):
    """The effects that the connection machine may have."""

    def now(self) -> int:
        """Monotonic ns."""
        ...

    def send(self, message: ShmAttachRequest | ShmDetachRequest | ShmLeaseKeepalive) -> OfferResult:
        """Offer a message on the control stream."""
        ...

    def resolve(self, name: str) -> None:
        """Look up a stream; StreamResolved or StreamUnresolved comes back (S-021)."""
        ...

    def arm(self, timer: ConnectionTimer, delay_ns: int) -> None: ...
    def disarm(self, timer: ConnectionTimer) -> None: ...

    def start_mapping(self, grant: Grant) -> None:
        """Map the granted regions; MapOk or MapFailed goes to the role machine."""
        ...

    def tell_role(self, event: RoleEvent, argument: object = None) -> None:
        """Post an event to the role machine."""
        ...

    def refused(self, code: int, text: str) -> None:
        """A request was refused; for the application's callback."""
        ...

    def lease_lost(self, why: str) -> None:
        """A lease ended against our will; for the statistics."""
        ...

    def count(self, counter: str) -> None: ...

    @property
    def attach_deadline_ns(self) -> int | None:
        """Deadline of the blocking attach call that waits, monotonic ns; None if none waits."""
        ...
