"""Attach: judging a request, granting it, refusing it, and undoing a grant that broke (§5).

A request is answered exactly once, whatever happens on the way (D-064).
"""

from __future__ import annotations

import logging

from tensor_pool.protocol.wire import ResponseCode, Role, ShmAttachRequest
from tensor_pool.protocol.wire.attach_refusals import INTERNAL_ERROR, PROVISIONING_FAILED

from .admission import Admission, AdmissionRules
from .descriptions import Descriptions
from .events import (
    Cause,
    DriverEvent,
    LeaseEvent,
    NewEpoch,
    Producer,
    Refusal,
    Revocation,
    StreamEvent,
)
from .lease_machine import LeaseLifecycle
from .lease_table import LeaseTable
from .log_limit import WarningLimit
from .ports import ProvisionError
from .services import Services
from .stream_machine import StreamLifecycle
from .stream_table import StreamTable

__all__ = ["AttachRequests"]

REFUSALS_LOGGED = 20  # lines per second and response code: a client may retry without a pause

_log = logging.getLogger(__name__)

_INTERNAL_ERROR = Refusal(
    INTERNAL_ERROR.code, INTERNAL_ERROR.text, "see the error logged with this request"
)
_REFUSED = {
    ResponseCode.UNSUPPORTED: "attach_refused_unsupported",
    ResponseCode.INVALID_PARAMS: "attach_refused_invalid_params",
    ResponseCode.REJECTED: "attach_refused_rejected",
    ResponseCode.INTERNAL_ERROR: "attach_refused_internal_error",
}


class AttachRequests:
    """Handles attach requests on behalf of DriverLifecycle."""

    __slots__ = ("_leases", "_log_limit", "_rules", "_services", "_streams")

    def __init__(
        self,
        services: Services,
        leases: LeaseTable,
        streams: StreamTable,
        descriptions: Descriptions,
    ) -> None:
        self._services = services
        self._log_limit = WarningLimit(services.clock, lines=REFUSALS_LOGGED)
        self._leases = leases
        self._streams = streams
        self._rules = AdmissionRules(services, leases, streams, descriptions)

    def handle(self, request: ShmAttachRequest) -> None:
        """Grant or refuse a request while Running."""
        try:
            verdict = self._rules.judge(request)
        except Exception:
            self.refuse(request, _INTERNAL_ERROR)
            raise
        if isinstance(verdict, Admission):
            self._grant(request, verdict)
        elif isinstance(verdict, Refusal):
            self.refuse(request, verdict)
        else:
            self._services.metrics.inc("attach_duplicates")
            _log.debug("attach of lease %d repeated by its client", verdict.lease_id)

    def refuse(self, request: ShmAttachRequest, refusal: Refusal) -> None:
        """Answer with anything but OK; nothing else changes."""
        attempt = LeaseLifecycle(self._services, request)
        self._services.metrics.inc(_REFUSED[refusal.code])
        attempt.dispatch(LeaseEvent.ATTACH_REJECT, refusal)
        attempt.dispatch(LeaseEvent.CLOSE)
        left_out = self._log_limit.admit(refusal.code.name)
        if left_out is not None:
            _log.info(
                "attach refused: %s %s (client %d, stream %d, role %d): %s",
                refusal.code.name,
                refusal.text,
                request.client_id,
                request.stream_id,
                request.role,
                refusal.hint,
                extra={"left_out": left_out} if left_out else None,
            )

    def _grant(self, request: ShmAttachRequest, admission: Admission) -> None:
        """The steps of D-073."""
        lease: LeaseLifecycle | None = None
        stream = admission.stream or self._streams.create_dynamic(
            admission.new_stream_id, admission.profile
        )
        try:
            self._provide_epoch(stream, request.role)
            lease = self._create_lease(request)
            lease.dispatch(LeaseEvent.ATTACH_OK, stream)
        except Exception as error:
            self._undo(stream, lease)
            if not isinstance(error, ProvisionError):
                self.refuse(request, _INTERNAL_ERROR)
                raise
            text = PROVISIONING_FAILED.text + error.text
            hint = error.hint or "free the obstacle and attach again; the stream is as before"
            self.refuse(request, Refusal(PROVISIONING_FAILED.code, text, hint))
            return
        self._services.metrics.inc("attach_granted")
        if admission.stream is None:
            self._streams.keep(stream)
        try:
            self._tell_stream(stream, lease)
        except Exception:
            self._services.post(
                DriverEvent.REVOKE_LEASE, Revocation(lease.lease_id, INTERNAL_ERROR.text)
            )
            raise
        self._services.epochs.collect_if_retired()

    def _provide_epoch(self, stream: StreamLifecycle, role: int) -> None:
        """Provision if the stream has no epoch, or gets a producer; then that is the epoch."""
        if stream.regions is not None and role != Role.PRODUCER:
            return
        event = (
            StreamEvent.STREAM_PROVISIONED if stream.regions is None else StreamEvent.EPOCH_BUMPED
        )
        regions = self._services.epochs.provision(stream)
        stream.dispatch(event, NewEpoch(regions, Cause.ATTACH))

    def _create_lease(self, request: ShmAttachRequest) -> LeaseLifecycle:
        services = self._services
        node_id = services.node_ids.take(
            request.client_id, request.desired_node_id, services.time.now
        )
        assert node_id is not None, "admission has seen a free node id"
        lease = LeaseLifecycle(services, request, lease_id=self._leases.take_id(), node_id=node_id)
        self._leases.add(lease)
        services.metrics.set("leases_active", len(self._leases))
        return lease

    def _tell_stream(self, stream: StreamLifecycle, lease: LeaseLifecycle) -> None:
        if lease.role == Role.PRODUCER:
            stream.dispatch(
                StreamEvent.PRODUCER_ATTACHED, Producer(lease.lease_id, lease.client_id)
            )
        else:
            stream.dispatch(StreamEvent.CONSUMER_ATTACHED, lease.lease_id)
        _log.info(
            "lease %d granted: client %d is %s of stream %d, epoch %s, node %d",
            lease.lease_id,
            lease.client_id,
            Role(lease.role).name.lower(),
            stream.stream_id,
            stream.epoch,
            lease.node_id,
        )

    def _undo(self, stream: StreamLifecycle, lease: LeaseLifecycle | None) -> None:
        services = self._services
        if lease is not None:
            self._leases.remove(lease)
            services.metrics.set("leases_active", len(self._leases))
            services.node_ids.release(lease.node_id, lease.client_id, services.time.now)
        self._streams.remove_if_unused(stream)
