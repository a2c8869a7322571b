"""DriverConnection: one attachment's relation with the driver.

It asks for a lease, keeps it alive, notices its end and gives it back.

Unattached   no lease and none asked for; perhaps a timer runs to try again after a shutdown
Attaching    one request is on its way
Attached     the lease is live and its regions are in use
Detaching    the lease is being returned
Backoff      the last attempt or lease came to a bad end; a timer starts the next

All its effects go through `ConnectionPort`, also those on the role machine of its attachment.
`AttachAnswers` has already sorted the driver's answers into valid, invalid, refused and late ones
(C-015, C-040), so nothing here reads a message.
"""

from __future__ import annotations

from collections.abc import Callable

from tensor_pool.hsm import (
    ANY,
    HANDLED,
    ROOT,
    Machine,
    Outcome,
    State,
    on_entry,
    on_event,
    on_exit,
    on_initial,
)
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import (
    PublishMode,
    Role,
    ShmAttachRequest,
    ShmDetachRequest,
    ShmLeaseKeepalive,
)
from tensor_pool.protocol.wire.attach_refusals import CLIENT_ID_ATTACHED, PERMANENT_REFUSALS

from ..config import ClientConfig, ns
from .backoff import backoff_delay_ns, jitter
from .events import ConnectionEvent as Event
from .events import ConnectionTimer, RoleEvent
from .grant import Grant, LateGrant
from .identity import Correlations, Identity
from .ports import ConnectionPort

__all__ = ["NEVER", "DriverConnection"]

NEVER = (1 << 63) - 1  # a deadline that does not come
_MOMENTARY = (OfferResult.BACK_PRESSURED, OfferResult.ADMIN_ACTION)


class DriverConnection(Machine):
    """The connection of one attachment; `role` and `stream_id` say what it asks for."""

    Unattached = State()
    Attaching = State()
    Attached = State()
    Detaching = State()
    Backoff = State()

    start_unattached = on_initial(ROOT, target=Unattached)

    def __init__(
        self,
        port: ConnectionPort,
        config: ClientConfig,
        identity: Identity,
        *,
        stream_id: int,
        role: Role,
        publish_mode: PublishMode,
        desired_node_id: int | None = None,
        stream_name: str = "",
        jitter: Callable[[], float] = jitter,
    ) -> None:
        super().__init__()
        self.port = port
        self.config = config
        self.identity = identity
        self.correlations = Correlations()
        self.stream_name = stream_name  # looked up at every attempt, if not empty
        self.requested_stream_id = stream_id  # 0: the driver chooses
        self.stream_id = stream_id  # of the lease, once there is one
        self.role = role
        self.publish_mode = publish_mode
        self.desired_node_id = desired_node_id
        self.grant: Grant | None = (
            None  # the accepted response, from its receipt to the lease's end
        )
        self.deadline_ns = NEVER
        self.attached_ns = 0
        self.failures = 0
        self.last_refusal: tuple[int, str] | None = None
        self._jitter = jitter
        self._extension_ns = 0
        self._keepalive_ns = 0
        self._keepalive_blocked_since: int | None = None
        self._detach_attempts = 0

    @property
    def is_attached(self) -> bool:
        """True if the lease is live."""
        return self.current is DriverConnection.Attached

    # Unattached

    @on_entry(Unattached)
    def _forget_lease(self) -> None:
        self.grant = None
        self.deadline_ns = NEVER

    @on_exit(Unattached)
    def _disarm_reattach(self) -> None:
        self.port.disarm(ConnectionTimer.REATTACH)

    @on_event(Unattached, Event.ATTACH_REQUESTED, target=Attaching)
    def _attach(self, _: object) -> None:
        self.failures = 0

    def _reattaches(self, _: object) -> bool:
        return self.config.auto_reattach

    @on_event(Unattached, Event.REATTACH_DUE, target=Attaching, guard=_reattaches)
    def _attach_again(self, _: object) -> None:
        self.failures = 0

    @on_event(Unattached, Event.DETACH_REQUESTED)
    def _stay_unattached(self, _: object) -> Outcome:
        self.port.disarm(ConnectionTimer.REATTACH)
        return HANDLED

    @on_event(Unattached, Event.DRIVER_SHUTDOWN)
    def _shut_down_already(self, _: object) -> Outcome:
        return HANDLED

    # Attaching

    @on_entry(Attaching)
    def _begin_attempt(self) -> None:
        if self.stream_name:
            self.port.resolve(self.stream_name)
        else:
            self._request()

    @on_event(Attaching, Event.STREAM_RESOLVED)
    def _resolve(self, stream_id: int) -> Outcome:
        self.requested_stream_id = self.stream_id = stream_id
        self._request()
        return HANDLED

    @on_event(Attaching, Event.STREAM_UNRESOLVED, target=Backoff)
    def _miss(self, _: object) -> None:
        self.last_refusal = None

    def _request(self) -> None:
        request = ShmAttachRequest(
            correlation_id=self.correlations.begin_attach(self.identity.client_id),
            stream_id=self.requested_stream_id,
            client_id=self.identity.client_id,
            role=self.role,
            expected_layout_version=self.config.expected_layout_version,
            publish_mode=self.publish_mode,
            require_hugepages=self.config.hugepages,
            desired_node_id=self.desired_node_id,
        )
        self.port.arm(ConnectionTimer.RESPONSE, ns(self.config.response_timeout))
        if self.port.send(request) is not OfferResult.ACCEPTED:
            self.post(Event.ATTACH_SEND_FAILED)

    @on_exit(Attaching)
    def _stop_waiting(self) -> None:
        self.port.disarm(ConnectionTimer.RESPONSE)
        self.correlations.give_up(self.port.now())

    @on_event(Attaching, Event.ATTACH_OK, target=Attached)
    def _accept(self, grant: Grant) -> None:
        self.grant = grant

    def _is_adoptable(self, late: LateGrant) -> bool:
        return late.grant is not None and late.client_id == self.identity.client_id

    @on_event(Attaching, Event.LATE_ATTACH_OK, target=Attached, guard=_is_adoptable)
    @on_event(Backoff, Event.LATE_ATTACH_OK, target=Attached, guard=_is_adoptable)
    def _adopt(self, late: LateGrant) -> None:
        self.grant = late.grant

    @on_event(Attaching, Event.ATTACH_REFUSED, target=Backoff)
    def _keep_refusal(self, refusal: tuple[int, str]) -> None:
        code, text = refusal
        self.last_refusal = refusal
        if text == CLIENT_ID_ATTACHED:
            self.identity.renew()
        self.port.refused(code, text)

    @on_event(Attaching, Event.ATTACH_INVALID, target=Backoff)
    def _refuse_response(self, late: LateGrant) -> None:
        self.port.count("protocol_errors")
        self._return_lease(late.lease_id, late.stream_id, late.client_id)

    @on_event(Attaching, Event.ATTACH_TIMEOUT, target=Backoff)
    def _time_out(self, _: object) -> None:
        self.last_refusal = None
        self.port.count("attach_timeouts")

    @on_event(Attaching, Event.ATTACH_SEND_FAILED, target=Backoff)
    def _fail_to_send(self, _: object) -> None:
        self.last_refusal = None

    cancel_attach = on_event(Attaching, Event.DETACH_REQUESTED, target=Unattached)

    @on_event(Attaching, Event.DRIVER_SHUTDOWN, target=Unattached)
    def _abandon_attach(self, _: object) -> None:
        self._arm_reattach()

    # Attached

    @on_entry(Attached)
    def _take_lease(self) -> None:
        grant = self.grant
        assert grant is not None
        self.last_refusal = None
        self.attached_ns = grant.received_ns
        self.stream_id = grant.regions.stream_id
        self._keepalive_blocked_since = None
        self._keepalive_ns = ns(self.config.keepalive_interval)
        if grant.expiry_ns is None:
            self.deadline_ns = NEVER
            self._extension_ns = NEVER
        else:
            self.deadline_ns = grant.expiry_ns
            self._extension_ns = grant.expiry_ns - grant.received_ns
            self._keepalive_ns = min(self._keepalive_ns, self._extension_ns // 3)
        self.port.count("attaches")
        self.port.arm(ConnectionTimer.KEEPALIVE, self._keepalive_ns)
        self.port.start_mapping(grant)

    @on_exit(Attached)
    def _stop_keepalives(self) -> None:
        self.port.disarm(ConnectionTimer.KEEPALIVE)

    @on_event(Attached, Event.KEEPALIVE_DUE)
    def _keep_alive(self, _: object) -> Outcome:
        grant = self.grant
        assert grant is not None
        now = self.port.now()
        result = self.port.send(
            ShmLeaseKeepalive(
                lease_id=grant.lease_id,
                stream_id=self.stream_id,
                client_id=grant.client_id,
                role=self.role,
                client_timestamp_ns=now,
            )
        )
        if result is OfferResult.ACCEPTED:
            self.port.count("keepalives_sent")
            self.failures = 0
            self._keepalive_blocked_since = None
            if self._extension_ns != NEVER:
                self.deadline_ns = now + self._extension_ns
            self.port.arm(ConnectionTimer.KEEPALIVE, self._keepalive_ns)
            return HANDLED
        if self._keepalive_blocked_since is None:
            self._keepalive_blocked_since = now
        if result in _MOMENTARY and now - self._keepalive_blocked_since < self._keepalive_ns:
            self.port.arm(ConnectionTimer.KEEPALIVE, 0)
        else:
            self.post(Event.KEEPALIVE_FAILED)
        return HANDLED

    @on_event(Attached, Event.KEEPALIVE_FAILED, target=Backoff)
    def _lose_to_silence(self, _: object) -> None:
        self._lose_lease("keepalive failed")

    @on_event(Attached, Event.LEASE_DEADLINE_PASSED, target=Backoff)
    def _lose_to_time(self, _: object) -> None:
        self._lose_lease("lease deadline passed")

    @on_event(Attached, Event.LEASE_REVOKED, target=Backoff)
    def _lose_to_driver(self, why: str) -> None:
        self._lose_lease(why)

    @on_event(Attached, Event.DRIVER_LOST, target=Backoff)
    def _lose_driver(self, _: object) -> None:
        self._lose_lease("driver lost")
        self._return_own_lease()

    @on_event(Attached, Event.MAPPING_FAILED, target=Backoff)
    def _give_up_regions(self, _: object) -> None:
        self._return_own_lease()

    @on_event(Attached, Event.REATTACH, target=Backoff)
    def _start_over(self, why: str) -> None:
        self._lose_lease(why)
        self._return_own_lease()

    @on_event(Attached, Event.DETACH_REQUESTED, target=Detaching)
    def _close_role(self, _: object) -> None:
        self.port.tell_role(RoleEvent.CLOSE_REQUESTED)

    @on_event(Attached, Event.DRIVER_SHUTDOWN, target=Unattached)
    @on_event(Backoff, Event.DRIVER_SHUTDOWN, target=Unattached)
    def _shut_down(self, _: object) -> None:
        self.port.tell_role(RoleEvent.SHUTDOWN)
        self._arm_reattach()

    def _is_another_lease(self, late: LateGrant) -> bool:
        return self.grant is None or late.lease_id != self.grant.lease_id

    @on_event(Attached, Event.LATE_ATTACH_OK, guard=_is_another_lease)
    def _return_second_lease(self, late: LateGrant) -> Outcome:
        return self._return_late(late)

    # Detaching

    @on_entry(Detaching)
    def _ask_to_detach(self) -> None:
        self._detach_attempts = 0
        self._send_detach()

    @on_exit(Detaching)
    def _stop_detaching(self) -> None:
        self.port.disarm(ConnectionTimer.DETACH)
        self.correlations.end_detach()

    detached = on_event(Detaching, Event.DETACH_RESPONDED, target=Unattached)
    revoked_meanwhile = on_event(Detaching, Event.LEASE_REVOKED, target=Unattached)
    driver_gone = on_event(Detaching, Event.DRIVER_SHUTDOWN, target=Unattached)

    def _has_attempts_left(self, _: object) -> bool:
        return self._detach_attempts < self.config.detach_attempts

    @on_event(Detaching, Event.DETACH_TIMEOUT, guard=_has_attempts_left)
    def _detach_again(self, _: object) -> Outcome:
        self._send_detach()
        return HANDLED

    leave_it_to_expire = on_event(Detaching, Event.DETACH_TIMEOUT, target=Unattached)

    @on_event(Detaching, Event.DETACH_REQUESTED)
    def _is_detaching_already(self, _: object) -> Outcome:
        return HANDLED

    # Backoff

    @on_entry(Backoff)
    def _back_off(self) -> None:
        self._forget_lease()
        self.failures += 1
        refusal = self.last_refusal
        permanent = refusal is not None and refusal[0] in PERMANENT_REFUSALS
        delay_ns = backoff_delay_ns(
            self.config, self.failures, permanent=permanent, jitter=self._jitter
        )
        deadline_ns = self.port.attach_deadline_ns
        if deadline_ns is not None:
            # Else a stream that became free in the last long delay would still be refused.
            last_call_ns = deadline_ns - ns(self.config.response_timeout) // 2 - self.port.now()
            if 0 < last_call_ns < delay_ns:
                delay_ns = last_call_ns
        self.port.arm(ConnectionTimer.BACKOFF, delay_ns)

    @on_exit(Backoff)
    def _stop_backing_off(self) -> None:
        self.port.disarm(ConnectionTimer.BACKOFF)

    def _wants_to_try_again(self, _: object) -> bool:
        return self.config.auto_reattach or self.port.attach_deadline_ns is not None

    try_again = on_event(
        Backoff, Event.BACKOFF_ELAPSED, target=Attaching, guard=_wants_to_try_again
    )
    stop_trying = on_event(Backoff, Event.BACKOFF_ELAPSED, target=Unattached)
    stop_backing_off = on_event(Backoff, Event.DETACH_REQUESTED, target=Unattached)

    # Any state

    @on_event(Unattached, Event.LATE_ATTACH_OK)
    @on_event(Attaching, Event.LATE_ATTACH_OK)
    @on_event(Detaching, Event.LATE_ATTACH_OK)
    @on_event(Backoff, Event.LATE_ATTACH_OK)
    def _return_late(self, late: LateGrant) -> Outcome:
        self._return_lease(late.lease_id, late.stream_id, late.client_id)
        return HANDLED

    @on_event(ROOT, Event.ATTACH_REQUESTED, Event.LEASE_REVOKED)
    def _is_harmless(self, _: object) -> Outcome:
        return HANDLED

    @on_event(ROOT, ANY)
    def _count_unhandled(self, _: object, event: object) -> Outcome:
        self.port.count("connection_unhandled")
        return HANDLED

    # Effects

    def _lose_lease(self, why: str) -> None:
        self.port.lease_lost(why)
        self.port.tell_role(RoleEvent.LEASE_LOST, why)

    def _arm_reattach(self) -> None:
        if self.config.auto_reattach:
            self.port.arm(ConnectionTimer.REATTACH, ns(self.config.reattach_after_shutdown))

    def _return_own_lease(self) -> None:
        if self.grant is not None:
            self._return_lease(self.grant.lease_id, self.stream_id, self.grant.client_id)

    def _return_lease(self, lease_id: int | None, stream_id: int, client_id: int) -> None:
        """Detach a lease that will not be used, once and without waiting for an answer (C-034)."""
        if lease_id:
            self.port.send(self._detach_request(lease_id, stream_id, client_id, 0))

    def _send_detach(self) -> None:
        grant = self.grant
        assert grant is not None
        self._detach_attempts += 1
        correlation_id = self.correlations.begin_detach(grant.client_id)
        self.port.arm(ConnectionTimer.DETACH, ns(self.config.detach_timeout))
        self.port.send(
            self._detach_request(grant.lease_id, self.stream_id, grant.client_id, correlation_id)
        )

    def _detach_request(
        self, lease_id: int, stream_id: int, client_id: int, correlation_id: int
    ) -> ShmDetachRequest:
        return ShmDetachRequest(
            correlation_id=correlation_id or self.correlations.new(client_id),
            lease_id=lease_id,
            stream_id=stream_id,
            client_id=client_id,
            role=self.role,
        )
