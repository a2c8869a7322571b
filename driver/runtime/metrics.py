"""The driver's counters and gauges (D-185)."""

from __future__ import annotations

from tensor_pool.protocol.counters import Counters

__all__ = ["GAUGES", "METRIC_GROUPS", "METRIC_NAMES", "DriverMetrics"]

METRIC_GROUPS = {
    "router": (
        "fragments",
        "malformed",
        "foreign_schema",
        "unsupported_version",
        "unknown_template",
        "ignored",
        "handler_errors",
        "foreign_announces",
    ),
    "attach": (
        "attach_requests",
        "attach_granted",
        "attach_refused_unsupported",
        "attach_refused_invalid_params",
        "attach_refused_rejected",
        "attach_refused_internal_error",
        "attach_duplicates",
        "attach_shed",
        "attach_responses",
        "attach_response_drops",
    ),
    "detach": ("detach_requests", "detach_responses", "detach_response_drops"),
    "leases": (
        "leases_active",
        "leases_detached",
        "leases_expired",
        "leases_revoked",
        "keepalives",
        "keepalives_invalid",
        "foreign_keepalives",
        "lease_revoked",
        "lease_unhandled",
    ),
    "streams": (
        "streams_total",
        "streams_with_producer",
        "stream_unhandled",
        "epochs_provisioned",
        "provision_failures",
        "epochs_retired",
    ),
    "announce": ("announces", "announce_drops"),
    "consumers": (
        "hello_received",
        "hello_unmatched",
        "configs_sent",
        "configs_declined",
        "config_drops",
    ),
    "gc": ("gc_passes", "gc_removed", "gc_errors"),
    "outbox": ("outbox_control", "outbox_announce", "publish_retries", "shutdown_flush_drops"),
    "driver": (
        "driver_unhandled",
        "degraded",
        "duty_cycles",
        "work_done",
        "max_cycle_ns",
        "shutdown_rejected",
    ),
}

METRIC_NAMES = tuple(name for names in METRIC_GROUPS.values() for name in names)

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
    """All metrics of one driver, 0 at first. `name in GAUGES` tells a gauge from a counter."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(METRIC_NAMES)
