"""LeaseLifecycle: one attach attempt, and the lease that comes of it (D-040).

**Unattached**: the attempt is being answered. **Active**: the lease is in force and has an expiry,
pushed on by keepalives. **Ended**: it is over, *Detached* by its client, *Expired* in silence or
*Revoked* by the driver; entering one of the three publishes the notice, once. **Closed**:
nothing is left to do.

A refused attempt never leaves Unattached except to Closed. A lease that is closed while Active
ends without a notice of its own: the driver's shutdown message speaks for all of them (D-042).
"""

from __future__ import annotations

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    Machine,
    Outcome,
    State,
    on_entry,
    on_event,
    on_initial,
)
from tensor_pool.protocol.wire import (
    LeaseRevokeReason,
    ResponseCode,
    Role,
    ShmAttachRequest,
    ShmAttachResponse,
    ShmLeaseRevoked,
)

from .events import LeaseEvent, NoSuccessor, ProducerEnd, Refusal, StreamEvent
from .ports import Regions, Target
from .services import Services
from .stream_machine import HEADER_SLOT_BYTES, LAYOUT_VERSION, StreamLifecycle

__all__ = ["LeaseLifecycle"]

REVOKED_TEXT = "lease revoked"


class LeaseLifecycle(Machine):
    """The state of one lease, or of one refused attempt (`lease_id` 0)."""

    def __init__(
        self,
        services: Services,
        request: ShmAttachRequest,
        *,
        lease_id: int = 0,
        node_id: int = 0,
    ) -> None:
        self._services = services
        self.lease_id = lease_id
        self.client_id = request.client_id
        self.role = request.role
        self.node_id = node_id
        self.correlation_id = request.correlation_id
        self.stream: StreamLifecycle | None = None
        self.expiry_ns = 0
        self.granted_ns = 0
        super().__init__(observer=services.observer)

    # -- states

    Live = State()
    Unattached = State(parent=Live)
    Active = State(parent=Live)
    Ended = State(parent=Live)
    Detached = State(parent=Ended)
    Expired = State(parent=Ended)
    Revoked = State(parent=Ended)
    Closed = State()

    _start = on_initial(ROOT, target=Live)
    _live_start = on_initial(Live, target=Unattached)
    _ended_start = on_initial(Ended, target=Detached)

    # -- Unattached

    @on_event(Unattached, LeaseEvent.ATTACH_OK, target=Active)
    def _attached(self, stream: StreamLifecycle) -> None:
        self.stream = stream

    @on_event(Unattached, LeaseEvent.ATTACH_REJECT)
    def _rejected(self, refusal: Refusal) -> Outcome:
        self._services.publisher.publish(
            Target.CONTROL,
            ShmAttachResponse(self.correlation_id, refusal.code, error_message=refusal.text),
        )
        return HANDLED

    # -- Active

    @on_entry(Active)
    def _grant(self) -> None:
        assert self.stream is not None
        regions = self.stream.regions
        assert regions is not None
        self._extend()
        self.granted_ns = self._services.time.now
        if self.role == Role.PRODUCER:
            # Before the grant, so that its very first frame reaches every consumer.
            for config in self._services.private_streams.for_producer(self.stream.stream_id):
                self._services.publisher.publish(Target.CONTROL, config)
        self._services.publisher.publish(
            Target.CONTROL,
            ShmAttachResponse(
                self.correlation_id,
                ResponseCode.OK,
                self.lease_id,
                self.expiry_ns,
                self.stream.stream_id,
                regions.epoch,
                LAYOUT_VERSION,
                regions.nslots,
                HEADER_SLOT_BYTES,
                self.node_id,
                self.stream.payload_pools,
                regions.header_uri,
            ),
        )
        self._extend()  # the process may have been stopped before the answer left (D-087)

    @on_event(Active, LeaseEvent.KEEPALIVE)
    def _kept_alive(self, _: object) -> Outcome:
        self._extend()
        self._services.metrics.inc("keepalives")
        return HANDLED

    @on_event(Active, LeaseEvent.TRANSPORT_BACK)
    def _could_not_be_heard(self, _: object) -> Outcome:
        self._extend()
        return HANDLED

    _detach = on_event(Active, LeaseEvent.DETACH, target=Detached)
    _time_out = on_event(Active, LeaseEvent.LEASE_TIMEOUT, target=Expired)

    @on_event(Active, LeaseEvent.REVOKE, target=Revoked)
    def _revoke(self, text: str | None) -> None:
        self._revoke_text = text or REVOKED_TEXT

    # -- Ended

    @on_entry(Ended)
    def _release_ids(self) -> None:
        services = self._services
        services.node_ids.release(self.node_id, self.client_id, services.time.now)
        services.private_streams.release(self.lease_id)

    @on_entry(Detached)
    def _detached(self) -> None:
        self._end("leases_detached", LeaseRevokeReason.DETACHED, "lease detached")

    @on_entry(Expired)
    def _expired(self) -> None:
        self._end("leases_expired", LeaseRevokeReason.EXPIRED, "lease expired")

    @on_entry(Revoked)
    def _revoked(self) -> None:
        self._end("leases_revoked", LeaseRevokeReason.REVOKED, self._revoke_text)

    # -- Live, Closed

    _close = on_event(Live, LeaseEvent.CLOSE, target=Closed)

    @on_event(Closed, LeaseEvent.CLOSE)
    def _already_closed(self, _: object) -> Outcome:
        return HANDLED

    # -- everywhere

    @on_event(ROOT, ANY)
    def _unhandled(self, _: object, event: object) -> Outcome:
        self._services.metrics.inc("lease_unhandled")
        return HANDLED

    # -- what others may ask

    @property
    def stream_id(self) -> int:
        """The stream this is a lease on; 0 for a refused attempt."""
        return self.stream.stream_id if self.stream is not None else 0

    @property
    def label(self) -> str:
        """Name of this machine in logs."""
        return f"lease {self.lease_id}" if self.lease_id else f"attach by client {self.client_id}"

    @property
    def is_active(self) -> bool:
        """Return whether the lease is in force."""
        return self.current is self.Active

    # -- effects

    def _extend(self) -> None:
        """Set the expiry by a reading of the clock after the message was polled (D-014)."""
        services = self._services
        self.expiry_ns = services.time.read() + services.lease_duration_ns

    def _end(self, counter: str, reason: LeaseRevokeReason, text: str) -> None:
        """Publish the notice, then inform the stream: the notice precedes the epoch (D-092)."""
        services = self._services
        services.metrics.inc(counter)
        services.publisher.publish(
            Target.CONTROL,
            ShmLeaseRevoked(
                services.time.now,
                self.lease_id,
                self.stream_id,
                self.client_id,
                Role(self.role),
                reason,
                text,
            ),
        )
        if self.role == Role.PRODUCER:
            self._leave_as_producer()
        elif self.stream is not None:
            self.stream.dispatch(StreamEvent.CONSUMER_DETACHED, self.lease_id)

    def _leave_as_producer(self) -> None:
        stream = self.stream
        if stream is None or stream.producer is None or stream.producer.lease_id != self.lease_id:
            return  # the attach failed before the stream learned of it
        successor: Regions | NoSuccessor = NoSuccessor.DRAINING
        if stream.accepts_provisioning():
            successor = self._services.epochs.provision_successor(stream) or NoSuccessor.FAILED
        stream.dispatch(StreamEvent.PRODUCER_DETACHED, ProducerEnd(self.lease_id, successor))
