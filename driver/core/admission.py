"""The rules by which an attach request is granted or refused, in the order of D-070.

Nothing is changed here. A refusal carries the text that goes on the wire, word for word as
specified, and a hint for the log that names what was seen and what would have succeeded.
"""

from __future__ import annotations

from typing import NamedTuple

from tensor_pool.protocol.wire import (
    HugepagesPolicy,
    PublishMode,
    Role,
    ShmAttachRequest,
)
from tensor_pool.protocol.wire import attach_refusals as refusals
from tensor_pool.protocol.wire.attach_refusals import AttachRefusal

from .configuration import Profile
from .descriptions import Descriptions
from .events import Refusal
from .lease_machine import LeaseLifecycle
from .lease_table import LeaseTable
from .services import Services
from .stream_machine import LAYOUT_VERSION, StreamLifecycle
from .stream_table import StreamTable

__all__ = ["DRAINING", "Admission", "AdmissionRules", "Duplicate"]

DRAINING = Refusal(
    refusals.DRAINING.code,
    refusals.DRAINING.text,
    "the driver is stopping; attach after its restart",
)

_ROLES = frozenset(Role)
_MODES = frozenset(PublishMode)
_POLICIES = frozenset(HugepagesPolicy)


class Duplicate(NamedTuple):
    """The request repeats one that was granted; it stays without an answer (row 8a)."""

    lease_id: int


class Admission(NamedTuple):
    """The request may be granted: on this stream, or on a new one with this id and profile."""

    stream: StreamLifecycle | None
    new_stream_id: int
    profile: Profile


class _RefusedError(Exception):
    """Ends the examination of one request."""

    def __init__(self, reason: AttachRefusal, hint: str, *, text: str = "") -> None:
        super().__init__(reason.text)
        self.refusal = Refusal(reason.code, text or reason.text, hint)


class AdmissionRules:
    """Judges requests against the tables as they are now."""

    __slots__ = ("_config", "_descriptions", "_leases", "_services", "_streams")

    def __init__(
        self,
        services: Services,
        leases: LeaseTable,
        streams: StreamTable,
        descriptions: Descriptions,
    ) -> None:
        self._descriptions = descriptions
        self._config = services.config
        self._services = services
        self._leases = leases
        self._streams = streams

    def judge(self, request: ShmAttachRequest) -> Admission | Duplicate | Refusal:
        """Rows 2 to 20 of D-070; the state of the driver is row 1, provisioning row 21."""
        try:
            self._check_request(request)
            lease = self._leases.of_client(request.client_id)
            if lease is not None:
                return self._judge_again(request, lease)
            self._check_lease_limit()
            stream = self._streams.get(request.stream_id) if request.stream_id else None
            if stream is None:
                admission = self._admit_new_stream(request)
            else:
                admission = self._admit_stream(request, stream)
            self._check_node_id(request)
        except _RefusedError as refused:
            return refused.refusal
        return admission

    def _check_request(self, request: ShmAttachRequest) -> None:
        if request.role not in _ROLES:
            raise _RefusedError(
                refusals.UNKNOWN_ROLE, f"role {request.role}; 1 is PRODUCER, 2 CONSUMER"
            )
        if request.client_id == 0:
            raise _RefusedError(refusals.NO_CLIENT_ID, "client ids are unique per attachment")
        if request.publish_mode is not None and request.publish_mode not in _MODES:
            raise _RefusedError(
                refusals.UNSUPPORTED_MODE,
                f"publish_mode {request.publish_mode}; 1 is REQUIRE_EXISTING, 2 EXISTING_OR_CREATE",
            )
        policy = request.require_hugepages
        if policy not in _POLICIES:
            raise _RefusedError(
                refusals.UNKNOWN_HUGEPAGES, f"policy {policy}; 0 any, 1 STANDARD, 2 HUGEPAGES"
            )
        on_hugetlbfs = self._services.store.on_hugetlbfs
        base_dir = self._config.shm.base_dir
        if policy == HugepagesPolicy.HUGEPAGES and not on_hugetlbfs:
            raise _RefusedError(
                refusals.NO_HUGEPAGES,
                f"shm.base_dir {base_dir} is not on hugetlbfs; ask for UNSPECIFIED or move it",
            )
        if policy == HugepagesPolicy.STANDARD and on_hugetlbfs:
            raise _RefusedError(
                refusals.ONLY_HUGEPAGES,
                f"shm.base_dir {base_dir} is on hugetlbfs; ask for UNSPECIFIED or HUGEPAGES",
            )

    def _judge_again(self, request: ShmAttachRequest, lease: LeaseLifecycle) -> Duplicate:
        if (
            lease.correlation_id == request.correlation_id
            and lease.role == request.role
            and request.stream_id in (0, lease.stream_id)
        ):
            return Duplicate(lease.lease_id)
        raise _RefusedError(
            refusals.CLIENT_ATTACHED,
            f"lease {lease.lease_id} on stream {lease.stream_id} is active;"
            " detach it, let it expire, or use another client id",
        )

    def _check_lease_limit(self) -> None:
        limit = self._config.policies.max_leases
        if limit and len(self._leases) >= limit:
            raise _RefusedError(
                refusals.LEASE_LIMIT, f"policies.max_leases is {limit} and all are in use"
            )

    def _admit_new_stream(self, request: ShmAttachRequest) -> Admission:
        policies = self._config.policies
        creates = request.publish_mode == PublishMode.EXISTING_OR_CREATE
        if not (policies.allow_dynamic_streams and creates):
            raise _RefusedError(
                refusals.UNKNOWN_STREAM,
                "the stream is not configured; configure it, or set policies.allow_dynamic_streams"
                " and attach with EXISTING_OR_CREATE",
            )
        id_range = self._streams.dynamic_ids.range
        if id_range is None:
            raise _RefusedError(
                refusals.NO_STREAM_RANGE, "set driver.stream_id_range for dynamic streams"
            )
        new_stream_id = request.stream_id or self._streams.dynamic_ids.peek()
        if request.stream_id and request.stream_id not in id_range:
            raise _RefusedError(
                refusals.OUTSIDE_STREAM_RANGE, f"dynamic streams have the ids {id_range}"
            )
        if new_stream_id is None:
            raise _RefusedError(
                refusals.STREAM_RANGE_EXHAUSTED, f"all ids of {id_range} are in use"
            )
        profile = self._check_profile(self._config.profiles.get(policies.default_profile))
        self._check_layout(request, profile)
        return Admission(None, new_stream_id, profile)

    def _admit_stream(self, request: ShmAttachRequest, stream: StreamLifecycle) -> Admission:
        profile = self._check_profile(stream.profile)
        if not stream.accepts_provisioning():
            raise _RefusedError(
                refusals.STREAM_DRAINING, "the stream is closing; attach again later"
            )
        self._check_layout(request, profile)
        if request.role == Role.PRODUCER and stream.producer is not None:
            name = self._descriptions.name_of_client(stream.producer.client_id)
            holder, age = stream.producer, self._age_of(stream.producer.lease_id)
            text = refusals.PRODUCER_ATTACHED.text
            raise _RefusedError(
                refusals.PRODUCER_ATTACHED,
                f"client {holder.client_id} holds it under lease {holder.lease_id}{age}; wait for"
                " it to detach or expire",
                text=f"{text} by {name}, client {holder.client_id}{age}" if name else "",
            )
        creates = request.publish_mode == PublishMode.EXISTING_OR_CREATE
        if not creates and stream.regions is None:
            raise _RefusedError(
                refusals.NOT_PROVISIONED,
                "the stream has no epoch yet; attach with EXISTING_OR_CREATE, or set"
                " policies.provision_on_startup",
            )
        return Admission(stream, 0, profile)

    def _age_of(self, lease_id: int) -> str:
        lease = self._leases.get(lease_id)
        if lease is None:
            return ""
        seconds = (self._services.time.now - lease.granted_ns) / 1e9
        return f" for {seconds:.1f} s"

    def _check_profile(self, profile: Profile | None) -> Profile:
        if profile is None:
            raise _RefusedError(
                refusals.NO_PROFILE, "define it under [profiles] in the configuration"
            )
        return profile

    def _check_layout(self, request: ShmAttachRequest, profile: Profile) -> None:
        if request.expected_layout_version not in (0, LAYOUT_VERSION):
            raise _RefusedError(
                refusals.LAYOUT_MISMATCH,
                f"expected {request.expected_layout_version}, the driver's is {LAYOUT_VERSION};"
                " 0 accepts any",
            )
        if not profile.payload_pools:
            raise _RefusedError(refusals.NO_POOLS, "add payload_pools to its profile")

    def _check_node_id(self, request: ShmAttachRequest) -> None:
        services = self._services
        node_id = services.node_ids.peek(
            request.client_id, request.desired_node_id, services.time.now
        )
        if node_id is None:
            raise _RefusedError(
                refusals.NO_NODE_ID,
                f"node id {request.desired_node_id} is in use or cooling down;"
                " ask for none or another",
            )
