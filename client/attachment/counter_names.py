"""The counters of a handle, by the names that the specification gives them (C-122, W-201)."""

from __future__ import annotations

__all__ = [
    "ATTACHMENT_COUNTERS",
    "CONSUMER_COUNTERS",
    "LATE_REASONS",
    "LEASE_LOSSES",
    "LOSS_COUNTERS",
    "PRODUCER_COUNTERS",
    "lease_loss_counter",
]

# A lease ends for one of these reasons; the machines give the text before the counter.
LEASE_LOSSES = {
    "keepalive failed": "lease_losses_keepalive_failed",
    "lease deadline passed": "lease_losses_deadline_passed",
    "driver lost": "lease_losses_driver_lost",
    "driver shutdown": "lease_losses_driver_shutdown",
    "epoch superseded": "lease_losses_epoch_superseded",
    "remap failed": "lease_losses_remap_failed",
    "consumer id in use": "lease_losses_id_conflict",
    "DETACHED": "lease_losses_detached",
    "EXPIRED": "lease_losses_expired",
    "REVOKED": "lease_losses_revoked",
}

ATTACHMENT_COUNTERS = (
    "announces_accepted",
    "announces_ignored",
    "attach_refused",
    "attach_timeouts",
    "attaches",
    "bad_message",
    "callback_errors",
    "connection_unhandled",
    "hellos_received",
    "hellos_sent",
    "keepalives_sent",
    "mapping_failures",
    "protocol_errors",
    "qos_sent",
    "transport_losses",
    *LEASE_LOSSES.values(),
)

PRODUCER_COUNTERS = (
    *ATTACHMENT_COUNTERS,
    "bells_missing",
    "descriptor_admin_action",
    "descriptor_backpressured",
    "descriptor_closed",
    "descriptor_errors",
    "descriptor_max_position_exceeded",
    "descriptor_not_connected",
    "drops_no_subscriber",
    "drops_not_active",
    "drops_too_large",
    "frames_published",
    "loans_aborted",
    "loans_refused",
    "metadata_sent",
    "private_streams_closed",
    "private_streams_failed",
    "private_streams_opened",
    "producer_unhandled",
    "progress_sent",
    "trace_links_dropped",
    "trace_parents_missing",
)

# Reasons that make up drops_late (W-104).
LATE_REASONS = (
    "late_in_progress",
    "late_changed",
    "late_seq_mismatch",
    "late_rewind",
    "late_skipped",
    "header_invalid",
    "payload_invalid",
)

# A frame that was published since the attach and not received is in exactly one of them (C-108).
LOSS_COUNTERS = ("drops_gap", "drops_late", "drops_rate", "drops_resync", "missed_unmapped")

CONSUMER_COUNTERS = (
    *ATTACHMENT_COUNTERS,
    *LATE_REASONS,
    "consumer_unhandled",
    "drops_duplicate",
    "drops_epoch",
    "drops_gap",
    "drops_late",
    "drops_progress",
    "drops_rate",
    "drops_regression",
    "drops_resync",
    "drops_unmapped",
    "frames_ok",
    "id_conflicts",
    "missed_unmapped",
    "private_streams_declined",
    "private_streams_failed",
    "private_streams_unserved",
    "progress_received",
    "remaps",
    "wakeups",
    "wakeups_unrung",
)


def lease_loss_counter(why: str) -> str:
    """The counter for a lease that ended with this reason."""
    return LEASE_LOSSES.get(why.partition(":")[0], "lease_losses_revoked")
