"""The driver's counters and gauges (D-185)."""

from __future__ import annotations

from tensor_pool.protocol.counters import Counters

__all__ = ["GAUGES", "METRIC_GROUPS", "METRIC_HELP", "METRIC_NAMES", "DriverMetrics"]

# Group -> name -> help text of the metrics page and of its reference.
METRIC_GROUPS: dict[str, dict[str, str]] = {
    "router": {
        "fragments": "Messages taken from the control stream.",
        "malformed": "Messages dropped because they could not be decoded.",
        "foreign_schema": "Messages of other schemas, ignored.",
        "unsupported_version": "Messages of a newer schema version, dropped.",
        "unknown_template": "Messages of a known schema but unknown kind, ignored.",
        "ignored": "Messages meant for others, the driver's own echo among them.",
        "handler_errors": "Unexpected exceptions while handling an event; each is in the log.",
        "foreign_announces": "Announces of a managed stream with an epoch of another driver.",
    },
    "attach": {
        "attach_requests": "Attach requests considered.",
        "attach_granted": "Attach requests granted.",
        "attach_refused_unsupported": "Attach requests answered UNSUPPORTED.",
        "attach_refused_invalid_params": "Attach requests answered INVALID_PARAMS.",
        "attach_refused_rejected": "Attach requests answered REJECTED.",
        "attach_refused_internal_error": "Attach requests answered INTERNAL_ERROR.",
        "attach_duplicates": "Repeated attach requests of a lease already granted, not answered.",
        "attach_shed": "Attach requests dropped because no answer could have been delivered.",
        "attach_responses": "Attach responses handed to the transport.",
        "attach_response_drops": "Attach responses dropped: too old, or too many waiting.",
    },
    "detach": {
        "detach_requests": "Detach requests considered.",
        "detach_responses": "Detach responses handed to the transport.",
        "detach_response_drops": "Detach responses dropped: too old, or too many waiting.",
    },
    "leases": {
        "leases_active": "Leases in force.",
        "leases_detached": "Leases ended by their client.",
        "leases_expired": "Leases ended because their client fell silent.",
        "leases_revoked": "Leases ended by the driver.",
        "keepalives": "Keepalives that extended a lease.",
        "keepalives_invalid": "Keepalives that matched no lease in force.",
        "foreign_keepalives": "Keepalives for leases of an earlier driver.",
        "lease_revoked": "Notices of ended leases handed to the transport.",
        "lease_unhandled": "Events that a lease's state does not provide for.",
    },
    "streams": {
        "streams_total": "Streams known, configured and dynamic.",
        "streams_with_producer": "Streams with a producer attached.",
        "stream_unhandled": "Events that a stream's state does not provide for.",
        "epochs_provisioned": "Epochs created.",
        "provision_failures": "Epochs that could not be created.",
        "epochs_retired": "Epochs that are no longer current.",
    },
    "announce": {
        "announces": "Announces handed to the transport.",
        "announce_drops": "Announces dropped: no subscriber, or the transport failed.",
    },
    "consumers": {
        "hello_received": "Consumer hellos considered.",
        "hello_unmatched": "Consumer hellos without a matching lease, ignored.",
        "configs_sent": "Answers to consumer hellos handed to the transport.",
        "configs_declined": "Answers that declined a private stream.",
        "config_drops": "Answers to consumer hellos dropped: too many waiting.",
    },
    "discovery": {
        "discovery_requests": "Questions which streams there are, considered.",
        "discovery_answers": "Answers to them sent or queued.",
        "discovery_refused": "Questions dropped for the endpoint that they name.",
        "discovery_shed": "Questions dropped because too many came in one second.",
        "discovery_answer_drops": "Answers dropped: too old, or too many messages waiting.",
    },
    "gc": {
        "gc_passes": "Collection passes over old epochs.",
        "gc_removed": "Epoch directories removed.",
        "gc_errors": "Epoch directories that could not be looked at or removed.",
    },
    "outbox": {
        "outbox_control": "Messages waiting to go to the control stream.",
        "outbox_announce": "Messages waiting to go to the announce stream.",
        "publish_retries": "Offers of waiting messages that failed again.",
        "shutdown_flush_drops": "Messages that were still waiting when the driver stopped.",
    },
    "driver": {
        "driver_unhandled": "Events that the driver's state does not provide for.",
        "degraded": "1 while a health condition degrades the driver.",
        "duty_cycles": "Rounds of the driver's loop.",
        "work_done": "Things done in those rounds.",
        "max_cycle_ns": "Longest round so far, in ns.",
        "shutdown_rejected": "Shutdown requests without the right token.",
    },
}

METRIC_HELP = {name: text for group in METRIC_GROUPS.values() for name, text in group.items()}
METRIC_NAMES = tuple(METRIC_HELP)

GAUGES = frozenset(
    {
        "leases_active",
        "streams_total",
        "streams_with_producer",
        "outbox_control",
        "outbox_announce",
        "degraded",
        "max_cycle_ns",
    }
)


class DriverMetrics(Counters):
    """All metrics of one driver, 0 at first. `name in GAUGES` is true for a gauge."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(METRIC_NAMES)
