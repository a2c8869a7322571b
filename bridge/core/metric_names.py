"""Names of everything a bridge counts (B-162)."""

from __future__ import annotations

from typing import Final

__all__ = ["BRIDGE_COUNTERS", "DROPPED_HERE", "DROPPED_THERE", "GAUGES", "LINK_COUNTERS"]
__all__ += ["RECEIVER_COUNTERS", "SENDER_COUNTERS"]

DROPPED_HERE: Final = (
    *("dropped_superseded", "dropped_overwritten", "dropped_invalid", "dropped_too_large"),
    *("dropped_stalled", "dropped_rate", "dropped_link"),
)
"""Frames that a sender takes and does not send."""

SENDER_COUNTERS: Final = (
    *("frames_taken", "frames_sent", "chunks_sent", "bytes_sent"),
    *DROPPED_HERE,
    *("skipped_link", "infos_sent", "offers_refused", "outbound_unhandled"),
)

DROPPED_THERE: Final = (
    *("frames_incomplete", "assembly_timeouts", "chunks_invalid", "headers_invalid"),
    *("dest_too_large", "crc_errors", "duplicate_frames", "frames_unwanted"),
)
"""Frames that a receiver gets, at least in part, and does not deliver."""

RECEIVER_COUNTERS: Final = (
    *("chunks_received", "bytes_received", "frames_delivered"),
    *DROPPED_THERE,
    *("frames_lost", "frames_before"),
    *("chunks_ignored", "foreign_chunks", "not_ready_chunks", "stale_epoch_chunks"),
    *("infos_received", "loops_refused", "local_lease_losses", "inbound_unhandled"),
)

LINK_COUNTERS: Final = ("unmapped_chunks", "bad_message", "ignored", "refused_sources")
BRIDGE_COUNTERS: Final = ("bridge_unhandled", "net_losses")
GAUGES: Final = (
    *("link_up", "link_choked", "queue_frames", "lag_frames", "age_ms", "clock_offset_ns"),
    *("clock_spread_ns", "sessions", "source_epoch", "far_epoch"),
)
