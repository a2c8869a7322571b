"""Promises of README and the pages on consumers and losses, each with the tests that try it.

A sentence that changes on its page has to be looked at here; one that no test tries does not stand
on these pages.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tensor_pool.client.attachment.counter_names import (
    CONSUMER_COUNTERS,
    LATE_REASONS,
    PRODUCER_COUNTERS,
)

REPOSITORY = Path(__file__).parents[2]

STOPPED = (
    "test_W_008_idle_stopped_and_killed_consumers_refuse_no_frame_and_cost_others_none",
    "test_of_four_consumers_one_stopped_for_10_s_harms_no_other_and_reports_its_gap",
)
KILLED_PRODUCER = (
    "test_a_killed_producer_is_replaced_and_consumers_go_on",
    "test_frames_flow_before_and_after_the_producer_is_killed",
)
NO_TORN_FRAME = (
    "test_W_081_no_torn_frame_is_accepted_from_a_producer_at_full_speed",
    "test_a_deployment_survives_chaos_with_every_frame_whole_and_nothing_left",
)
ACCOUNTED = (
    "test_C_091_every_sequence_is_accounted_for_once",
    "test_W_104_late_frames_are_not_gaps_and_the_sum_holds",
    "test_C_107_every_frame_is_received_or_counted",
)
IN_PLACE = ("test_C_092_arrays_and_payload_are_shared_memory_and_read_only",)
LOAN = ("test_C_075_a_raw_loan_is_shared_memory_and_counts_when_committed",)
RESTART = (
    "test_a_restarted_daemon_takes_all_clients_back",
    "test_a_killed_driver_comes_back_and_clients_go_on_without_being_restarted",
)
STREAM_WIDE = ("test_C_098_consumers_read_the_stream_wide_one_and_none_the_shared_one",)
ASYNC = (
    "test_C_102_a_wait_that_ends_early_takes_no_frame",
    "test_C_112_calls_from_other_places_do_what_the_page_promises",
)

PROMISES: dict[str, dict[str, tuple[str, ...]]] = {
    "README.md": {
        "A consumer reads a frame in place.": IN_PLACE,
        "A process may be killed at any instruction.": (*KILLED_PRODUCER, *NO_TORN_FRAME),
        "Its lease expires, the next producer gets a new *epoch*": (
            *KILLED_PRODUCER,
            "test_C_078_after_a_reattach_sequences_start_at_zero_in_a_new_epoch",
        ),
        "no reader ever gets half a frame": NO_TORN_FRAME,
        "show every stream, lease and lost frame": (
            "test_watch_shows_driver_streams_leases_and_what_changes",
            "test_every_metric_is_on_the_metrics_page_with_its_kind",
        ),
        "# or none: fill it in place": LOAN,
        "# was it overwritten while we looked?": (
            "test_C_101_a_loop_slower_than_its_camera_uses_nearly_every_frame_it_takes",
        ),
        "Kill the camera, restart the driver, stop the viewer in a debugger: the others go on, and"
        " when the missing one comes back so does the stream.": (
            *KILLED_PRODUCER,
            *RESTART,
            *STOPPED,
        ),
        "| a producer is killed while writing | lease expires, new epoch, next producer takes over"
        " |": KILLED_PRODUCER,
        "| a reader is stopped | loses frames and counts them; no process waits for it |": STOPPED,
        "| daemon needed | yes (or embedded) |": (
            "test_C_130_client_and_embedded_driver_work_in_one_process",
        ),
        "carries chosen streams to other Linux hosts over UDP": (
            "test_B_160_two_commands_carry_frames_through_restarts_kills_and_a_partition",
        ),
    },
    "docs/how-to/many-consumers.md": {
        "every consumer maps the same memory read-only": (
            *IN_PLACE,
            "test_W_033_a_consumers_memory_is_read_only",
        ),
        "None can slow down the producer or another consumer.": STOPPED,
        "also at 10,000 frames a second": STOPPED,
        "It rejoins at the newest frame when it reads again, and counts its loss in `drops_gap`.": (
            STOPPED
        ),
        "A stopped consumer also loses its lease, and attaches again when it goes on.": (
            "test_frames_that_pass_while_a_consumer_has_no_lease_are_counted_when_it_is_back",
            *STOPPED,
        ),
        "A slow loop goes on with usable frames": (
            "test_C_101_a_loop_slower_than_its_camera_uses_nearly_every_frame_it_takes",
        ),
        "All consumers of a tensor stream share one Aeron stream for its descriptors": STREAM_WIDE,
        "Producers also send descriptors on the shared stream 1100": (
            "test_W_165_the_shared_stream_carries_the_descriptors_too",
        ),
        "reads it only where the driver assigns nothing, or the producer does not know the assigned"
        " stream": (
            "test_C_098_without_an_answer_the_shared_stream_is_read",
            "test_W_164_a_producer_that_serves_the_shared_stream_only_is_received_there",
        ),
        "A consumer with a rate limit can have a stream of its own": (
            "test_C_083_a_private_reader_has_its_own_publication_beside_the_wide_one",
        ),
        "`last_error`, the log and the counter `private_streams_declined` show that": (
            "test_W_161_a_decline_is_visible",
        ),
        "the counters `bells_missing` (producer) and `wakeups_unrung` (consumer) show it": (
            "test_a_bell_that_cannot_be_rung_is_reported_on_both_sides",
        ),
        "let the producer wait": ("test_C_084_a_producer_waits_for_its_consumers",),
        "each handle belongs to one thread at a time": (
            "test_C_112_two_threads_in_one_handle_are_an_error",
        ),
        "a wait that is cancelled takes no frame": ASYNC,
    },
    "docs/how-to/drops.md": {
        "Each sequence number is accounted for once": ACCOUNTED,
        "`FrameOverwrittenError`: the producer was faster.": (
            "test_C_101_a_loop_slower_than_its_camera_uses_nearly_every_frame_it_takes",
        ),
        "Consumers report their totals once a second": (
            "test_C_097_reports_go_out_also_while_unmapped",
        ),
    },
}

LOSSES = ("drops_", "late_", "missed_")


def defined_tests() -> set[str]:
    return {
        name
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize("page", PROMISES)
def test_every_promise_stands_on_its_page_and_has_tests(page: str) -> None:
    text = " ".join((REPOSITORY / page).read_text(encoding="utf-8").split())
    missing = [promise for promise in PROMISES[page] if promise not in text]
    assert not missing
    tests = {test for named in PROMISES[page].values() for test in named}
    assert all(PROMISES[page].values())
    assert tests - defined_tests() == set()


def test_every_counter_of_a_loss_has_a_row_on_the_page_with_a_test_that_asserts_it() -> None:
    text = (REPOSITORY / "docs/how-to/drops.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    counters = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    known = {
        name
        for name in (*CONSUMER_COUNTERS, *PRODUCER_COUNTERS)
        if name.startswith(LOSSES) or name in LATE_REASONS
    }
    assert counters - {"descriptor_backpressured"} == known
    assert all(re.findall(r"`(test_\w+)`", row[-1]) for row in rows)
