"""The causes of Degraded, which changes nothing else (§3.4)."""

from __future__ import annotations

import logging

import pytest

from tensor_pool.driver.runtime.metrics import GAUGES, METRIC_NAMES
from tensor_pool.protocol.testing.faults import Faults
from tensor_pool.protocol.transport.ports import OfferResult
from tensor_pool.protocol.wire import ResponseCode, Role
from tests.driver.core.harness import MS, OTHER_STREAM, SECOND, Rig, make_config
from tests.driver.core.simulated_store import SimulatedDisk

NORMAL, DEGRADED = "Serving.Running.Normal", "Serving.Running.Degraded"
EPOCH_BYTES = 64 + 8 * 256 + 64 + 8 * 4096 + 64 + 8 * 65536
BLOCKED = Faults(offer_result=OfferResult.BACK_PRESSURED)


def test_D_050_full_store_degrades_and_heals_by_itself() -> None:
    """D-050, D-186"""
    disk = SimulatedDisk(capacity_bytes=EPOCH_BYTES)
    rig = Rig(disk=disk)
    rig.granted(1)
    answer = rig.attach(2, stream_id=OTHER_STREAM)
    assert answer.code is ResponseCode.INTERNAL_ERROR
    assert answer.error_message == (
        f"failed to provision SHM: insufficient shm space: need {EPOCH_BYTES} bytes, have 0"
    )
    assert rig.driver.state == DEGRADED
    assert rig.metrics["degraded"] == 1
    assert rig.snapshot().status.conditions == ("SHM_SPACE",)
    assert rig.granted(3).code is ResponseCode.OK
    disk.capacity_bytes *= 2
    rig.clock.advance(SECOND - 1)
    rig.cycle()
    assert rig.driver.state == DEGRADED
    rig.clock.advance(1)
    rig.cycle()
    assert rig.driver.state == NORMAL
    assert rig.metrics["degraded"] == 0
    assert rig.granted(4, stream_id=OTHER_STREAM).code is ResponseCode.OK


def test_D_050_a_provisioning_that_succeeds_clears_the_space_condition() -> None:
    disk = SimulatedDisk(capacity_bytes=0)
    rig = Rig(disk=disk)
    rig.attach(1)
    assert rig.driver.state == DEGRADED
    disk.capacity_bytes = EPOCH_BYTES
    rig.granted(1)
    assert rig.driver.state == NORMAL


def test_free_space_is_looked_at_once_a_second_at_most() -> None:
    """D-050"""
    disk = SimulatedDisk(capacity_bytes=0)
    rig = Rig(disk=disk)
    rig.attach(1)
    looks = 0

    def free_bytes() -> int:
        nonlocal looks
        looks += 1
        return 0

    rig.store.free_bytes = free_bytes  # type: ignore[method-assign]
    rig.run(5 * SECOND, 10 * MS)
    assert looks == 5
    assert rig.driver.state == DEGRADED


def test_D_050_other_failures_of_provisioning_do_not_degrade() -> None:
    rig = Rig()
    rig.store.faults.permission = True
    rig.attach(1)
    assert rig.driver.state == NORMAL


def test_a_file_system_that_cannot_be_asked_has_no_space() -> None:
    """D-050, D-064"""
    disk = SimulatedDisk(capacity_bytes=0)
    rig = Rig(disk=disk)
    rig.attach(1)

    def fail() -> int:
        raise OSError("gone")

    rig.store.free_bytes = fail  # type: ignore[method-assign]
    rig.run(3 * SECOND)
    assert rig.driver.state == DEGRADED
    assert rig.metrics["handler_errors"] == 0


@pytest.mark.parametrize("many", [True, False])
def test_D_050_back_pressure_degrades_by_number_or_by_age(many: bool) -> None:
    rig = Rig()
    rig.granted(1000)
    rig.network.set_faults(BLOCKED, transport="driver")
    for _ in range(256 if many else 1):
        rig.say(rig.request(client_id=0))
    rig.settle()
    rig.cycle()
    if many:
        assert rig.driver.state == DEGRADED
    else:
        assert rig.driver.state == NORMAL
        rig.clock.advance(SECOND)
        rig.cycle()
        assert rig.driver.state == DEGRADED
    rig.network.set_faults(Faults(), transport="driver")
    rig.cycle()
    assert rig.driver.state == NORMAL


def test_D_050_failing_collection_degrades_until_a_pass_succeeds() -> None:
    rig = Rig(make_config(policies={"epoch_gc_keep": 1}))
    lease = rig.granted(1, Role.PRODUCER)
    rig.store.faults.collect_error = True
    assert rig.detach(lease, 1, Role.PRODUCER).code is ResponseCode.OK
    assert rig.driver.state == DEGRADED
    assert rig.snapshot().status.conditions == ("GC_FAILED",)
    rig.store.faults.collect_error = False
    rig.run(SECOND)
    assert rig.driver.state == NORMAL


def test_D_050_a_failed_collection_is_repeated_though_nothing_waits() -> None:
    """Found by simulation, seed 532: without another retirement the driver stayed Degraded."""
    rig = Rig(make_config(policies={"epoch_gc_keep": 1}))
    lease = rig.granted(1, Role.PRODUCER)
    rig.store.faults.crash = {"retire"}
    rig.store.faults.collect_error = True
    assert rig.detach(lease, 1, Role.PRODUCER).code is ResponseCode.OK
    assert rig.driver.state == DEGRADED
    assert not rig.store.has_retired()
    rig.store.faults.crash = set()
    rig.store.faults.collect_error = False
    rig.run(1100 * MS)
    assert rig.driver.state == NORMAL


def test_D_050_a_condition_that_comes_back_degrades_again() -> None:
    disk = SimulatedDisk(capacity_bytes=0)
    rig = Rig(disk=disk)
    for _ in range(3):
        disk.capacity_bytes = disk.used_bytes
        rig.attach(1, Role.PRODUCER)
        assert rig.driver.state == DEGRADED
        disk.capacity_bytes += EPOCH_BYTES
        rig.run(1100 * MS)
        assert rig.driver.state == NORMAL


def test_several_conditions_are_cleared_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    """D-050, D-020, D-194"""
    caplog.set_level(logging.INFO)
    disk = SimulatedDisk(capacity_bytes=2 * EPOCH_BYTES)
    rig = Rig(disk=disk)
    lease = rig.granted(1, Role.PRODUCER)
    rig.store.faults.collect_error = True
    rig.detach(lease, 1, Role.PRODUCER)
    rig.attach(2, stream_id=OTHER_STREAM)
    assert rig.snapshot().status.conditions == ("GC_FAILED", "SHM_SPACE")
    disk.capacity_bytes *= 2
    rig.run(1500 * MS)
    assert rig.snapshot().status.conditions == ("GC_FAILED",)
    assert rig.driver.state == DEGRADED
    rig.store.faults.collect_error = False
    rig.run(1500 * MS)
    assert rig.driver.state == NORMAL
    assert any("GC_FAILED" in r.getMessage() for r in caplog.records)


def test_draining_keeps_the_set_but_is_not_degraded() -> None:
    """D-020"""
    rig = Rig()
    rig.granted(9)
    rig.network.set_faults(BLOCKED, transport="driver")
    rig.say(rig.request(client_id=0))
    rig.run(1200 * MS)
    assert rig.driver.state == DEGRADED
    rig.driver.request_shutdown()
    rig.cycle()
    assert rig.driver.state == "Serving.Draining"
    assert rig.metrics["degraded"] == 0
    assert rig.snapshot().status.conditions == ("CONTROL_BACKPRESSURE",)


D_185 = """
fragments, malformed, foreign_schema, unsupported_version, unknown_template, ignored,
handler_errors, foreign_announces, attach_requests, attach_granted, attach_refused_unsupported,
attach_refused_invalid_params, attach_refused_rejected, attach_refused_internal_error,
attach_duplicates, attach_shed, attach_responses, attach_response_drops, detach_requests,
detach_responses, detach_response_drops, leases_active, leases_detached, leases_expired,
leases_revoked, keepalives, keepalives_invalid, foreign_keepalives, lease_revoked, lease_unhandled,
streams_total, streams_with_producer, stream_unhandled, epochs_provisioned, provision_failures,
epochs_retired, announces, announce_drops, hello_received, hello_unmatched, configs_sent,
configs_declined, config_drops, gc_passes, gc_removed, gc_errors, outbox_control, outbox_announce,
publish_retries, shutdown_flush_drops, driver_unhandled, degraded, duty_cycles, work_done,
max_cycle_ns, shutdown_rejected
"""
S_180 = """
discovery_requests, discovery_answers, discovery_refused, discovery_shed, discovery_answer_drops
"""


def test_D_185_the_metrics_are_those_listed() -> None:
    rig = Rig()
    """D-185, S-180"""
    listed = f"{D_185} {S_180}"
    assert set(rig.metrics.snapshot()) == set(listed.replace(",", " ").split())
    assert len(METRIC_NAMES) == len(set(METRIC_NAMES))
    assert set(METRIC_NAMES) > GAUGES


def test_D_185_counters_never_fall_and_tell_what_happened() -> None:
    rig = Rig()
    before = rig.metrics.snapshot()
    for client in range(1, 6):
        lease = rig.granted(client, Role.PRODUCER)
        rig.detach(lease, client, Role.PRODUCER)
        after = rig.metrics.snapshot()
        fallen = [n for n in after if n not in GAUGES and after[n] < before[n]]
        assert fallen == []
        before = after
    expected = {
        "attach_requests": 5,
        "attach_granted": 5,
        "attach_responses": 5,
        "detach_requests": 5,
        "detach_responses": 5,
        "leases_detached": 5,
        "lease_revoked": 5,
        "announces": 10,
        "epochs_provisioned": 10,
        "epochs_retired": 9,
        "streams_total": 2,
        "streams_with_producer": 0,
        "leases_active": 0,
        "driver_unhandled": 0,
        "stream_unhandled": 0,
        "lease_unhandled": 0,
    }
    assert {name: after[name] for name in expected} == expected
    assert after["duty_cycles"] > 0
    assert after["work_done"] >= after["fragments"] > 0
