"""Keepalives, detaches, expiry and revocation: what happens to leases after their grant (§6)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable

from tensor_pool.protocol.wire import (
    ConsumerHello,
    LeaseRevokeReason,
    ResponseCode,
    Role,
    ShmDetachRequest,
    ShmDetachResponse,
    ShmLeaseKeepalive,
    ShmLeaseRevoked,
)

from .events import DriverEvent, LeaseCheck, LeaseEvent, Revocation
from .lease_machine import LeaseLifecycle
from .lease_table import LeaseTable
from .ports import Target
from .services import Services
from .stream_table import StreamTable

__all__ = ["LeaseRequests"]

REMEMBERED_FOREIGN_LEASES = 256
FOREIGN_ANSWERS_PER_PERIOD = 16

_log = logging.getLogger(__name__)


class LeaseRequests:
    """Handles requests about leases on behalf of DriverLifecycle."""

    __slots__ = (
        "_foreign",
        "_foreign_answers_left",
        "_is_draining",
        "_leases",
        "_resumed_ns",
        "_services",
        "_streams",
        "_ticked_ns",
    )

    def __init__(
        self,
        services: Services,
        leases: LeaseTable,
        streams: StreamTable,
        is_draining: Callable[[], bool],
    ) -> None:
        self._services = services
        self._leases = leases
        self._streams = streams
        self._is_draining = is_draining
        self._foreign: OrderedDict[int, None] = OrderedDict()
        self._foreign_answers_left = FOREIGN_ANSWERS_PER_PERIOD
        self._ticked_ns = services.time.now
        self._resumed_ns = 0

    def tick(self, now: int) -> None:
        """Notice when the driver itself was away for longer than a lease lasts."""
        if now - self._ticked_ns > self._services.lease_duration_ns:
            self._resumed_ns = now
        self._ticked_ns = now

    def keepalive(self, message: ShmLeaseKeepalive) -> None:
        """Push the lease's expiry on, if everything matches (D-083, D-084)."""
        lease = self._leases.get(message.lease_id)
        if lease is not None and _matches(lease, message):
            lease.dispatch(LeaseEvent.KEEPALIVE)
            self._leases.extended(lease)
        elif self._leases.was_issued(message.lease_id):
            self._services.metrics.inc("keepalives_invalid")
        else:
            self._answer_foreign(message)

    def detach(self, message: ShmDetachRequest) -> None:
        """End the lease and answer; nothing happens twice (D-085)."""
        self._services.metrics.inc("detach_requests")
        lease = self._leases.get(message.lease_id)
        code, text = ResponseCode.REJECTED, "unknown lease"
        if lease is not None and _matches(lease, message):
            self._end(lease, LeaseEvent.DETACH)
            code, text = ResponseCode.OK, ""
        self._services.publisher.publish(
            Target.CONTROL, ShmDetachResponse(message.correlation_id, code, text)
        )

    def check(self, check: LeaseCheck) -> None:
        """Expire what is overdue (D-087).

        While messages are still queued, a keepalive may be among them: then a lease gets as long
        again as it lasts, counted from the driver's return if the driver itself was away.
        """
        self._foreign_answers_left = FOREIGN_ANSWERS_PER_PERIOD
        before_ns = check.now
        if not check.drained:
            before_ns -= self._services.lease_duration_ns
            if before_ns <= self._resumed_ns:
                return
        for lease in self._leases.overdue(before_ns):
            self._end(lease, LeaseEvent.LEASE_TIMEOUT)

    def transport_back(self) -> None:
        """Extend every lease: no keepalive could be received meanwhile (D-146)."""
        for lease in self._leases.by_expiry():
            lease.dispatch(LeaseEvent.TRANSPORT_BACK)
            self._leases.extended(lease)

    def revoke(self, revocation: Revocation) -> None:
        """End a lease on the driver's own account (D-089)."""
        lease = self._leases.get(revocation.lease_id)
        if lease is not None:
            self._end(lease, LeaseEvent.REVOKE, revocation.text)

    def hello(self, message: ConsumerHello) -> None:
        """Answer a consumer that asks for streams of its own (D-166, D-169)."""
        services = self._services
        services.metrics.inc("hello_received")
        lease = self._leases.of_client(message.consumer_id)
        if lease is None or lease.role != Role.CONSUMER or lease.stream_id != message.stream_id:
            services.metrics.inc("hello_unmatched")
            return
        answer = services.private_streams.answer(lease.lease_id, message)
        if answer is None:
            return
        config, declined = answer
        if declined:
            services.metrics.inc("configs_declined")
        elif services.private_streams.has_had(lease.lease_id, message, config):
            return
        services.publisher.publish(Target.CONTROL, config)

    def close_all(self) -> None:
        """The driver stops: close every lease without a notice and empty the table (D-042)."""
        for lease in self._leases:
            lease.dispatch(LeaseEvent.CLOSE)
            self._leases.remove(lease)
        self._services.metrics.set("leases_active", len(self._leases))

    def _end(self, lease: LeaseLifecycle, event: LeaseEvent, text: str | None = None) -> None:
        """End a lease by the given event and take the steps that follow any end (D-086)."""
        stream = lease.stream
        lease.dispatch(event, text)
        _log.info(
            "lease %d of client %d on stream %d ended: %s",
            lease.lease_id,
            lease.client_id,
            lease.stream_id,
            lease.current.name.lower(),
        )
        lease.dispatch(LeaseEvent.CLOSE)
        self._leases.remove(lease)
        self._services.metrics.set("leases_active", len(self._leases))
        if stream is not None:
            self._streams.remove_if_unused(stream)
        self._services.epochs.collect_if_retired()
        if not self._leases and self._is_draining():
            self._services.post(DriverEvent.DRAIN_COMPLETE, None)

    def _answer_foreign(self, message: ShmLeaseKeepalive) -> None:
        """Tell a client of an earlier driver that its lease is gone, once and within limits."""
        self._services.metrics.inc("foreign_keepalives")
        if message.lease_id in self._foreign:
            self._foreign.move_to_end(message.lease_id)
            return
        if not self._foreign_answers_left:
            return
        self._foreign_answers_left -= 1
        self._foreign[message.lease_id] = None
        if len(self._foreign) > REMEMBERED_FOREIGN_LEASES:
            self._foreign.popitem(last=False)
        self._services.publisher.publish(
            Target.CONTROL,
            ShmLeaseRevoked(
                self._services.time.now,
                message.lease_id,
                message.stream_id,
                message.client_id,
                message.role,
                LeaseRevokeReason.REVOKED,
                "unknown lease",
            ),
        )


def _matches(lease: LeaseLifecycle, message: ShmLeaseKeepalive | ShmDetachRequest) -> bool:
    return (
        lease.stream_id == message.stream_id
        and lease.client_id == message.client_id
        and lease.role == message.role
    )
