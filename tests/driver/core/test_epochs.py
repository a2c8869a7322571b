"""Epochs: how they are numbered, and when there is a new one (§8)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_pool.driver.core.configuration import IdRange
from tensor_pool.driver.core.epochs import LAST_EPOCH
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.wire import ResponseCode, Role, ShmLeaseRevoked, ShmPoolAnnounce
from tests.driver.core.harness import OTHER_STREAM, SECOND, STREAM, Rig, make_config
from tests.driver.core.simulated_store import EpochDirectory, SimulatedDisk


def epochs_used(rig: Rig, stream_id: int = STREAM) -> list[int]:
    return [
        epoch
        for name, stream, epoch in rig.store.calls
        if (name, stream) == ("provision", stream_id)
    ]


@settings(deadline=None)
@given(st.lists(st.integers(-10_000 * SECOND, 10_000 * SECOND), max_size=8), st.booleans())
def test_D_095_epochs_rise_whatever_the_wall_clock_does(steps: list[int], keep: bool) -> None:
    """D-095, D-099, D-102"""
    disk = SimulatedDisk()
    clock = SimulatedClock()
    seen: list[int] = []
    rig = Rig(disk=disk, clock=clock)
    for step in steps:
        clock.step_realtime(step)
        if keep:
            rig.driver.close(drain=False)
            rig = Rig(disk=disk, clock=clock)
        lease = rig.granted(1, Role.PRODUCER)
        rig.detach(lease, 1, Role.PRODUCER)
        seen += [lease.epoch, rig.stream().epoch or 0]
    assert seen == sorted(set(seen))


def test_D_095_next_epoch_is_above_the_highest_directory() -> None:
    disk = SimulatedDisk(epochs={STREAM: {2**62: EpochDirectory(0, 0, 0)}})
    rig = Rig(disk=disk)
    assert rig.granted(1).epoch == 2**62 + 1


def test_D_095_epochs_rise_although_their_directories_are_gone() -> None:
    rig = Rig()
    before = rig.granted(1).epoch
    rig.disk.epochs.clear()
    rig.clock.step_realtime(-3600 * SECOND)
    assert rig.granted(2, Role.PRODUCER).epoch == before + 1


def test_D_095_the_null_value_is_never_an_epoch() -> None:
    disk = SimulatedDisk(epochs={STREAM: {LAST_EPOCH - 1: EpochDirectory(0, 0, 0)}})
    rig = Rig(disk=disk)
    assert rig.granted(1).epoch == LAST_EPOCH
    answer = rig.attach(2, Role.PRODUCER)
    assert answer.code is ResponseCode.INTERNAL_ERROR
    assert answer.error_message == "failed to provision SHM: no epoch number is left"


def test_D_099_a_clock_set_back_before_a_restart_does_not_lower_the_epoch() -> None:
    """D-099, D-102, D-186"""
    disk = SimulatedDisk()
    first = Rig(disk=disk)
    before = first.granted(1).epoch
    first.driver.close(drain=False)
    clock = SimulatedClock()
    clock.step_realtime(-3600 * SECOND)
    second = Rig(disk=disk, clock=clock)
    assert second.granted(1).epoch > before


def test_D_104_epochs_deleted_at_start_still_count() -> None:
    disk = SimulatedDisk()
    first = Rig(disk=disk)
    before = first.granted(1).epoch
    first.driver.close(drain=False)
    clock = SimulatedClock()
    clock.step_realtime(-3600 * SECOND)
    second = Rig(make_config(policies={"delete_shm_on_startup": True}), disk=disk, clock=clock)
    assert second.granted(1).epoch > before


def producer_ends(how: str) -> Callable[[Rig], object]:
    def end(rig: Rig) -> None:
        lease = rig.granted(50, Role.PRODUCER)
        rig.store.calls.clear()
        if how == "detach":
            rig.detach(lease, 50, Role.PRODUCER)
        elif how == "expire":
            rig.run(5 * SECOND)
        else:
            rig.driver.revoke_lease(lease.lease_id)

    return end


def consumer_ends(rig: Rig) -> None:
    lease = rig.granted(51)
    rig.store.calls.clear()
    rig.detach(lease, 51, Role.CONSUMER)


def producer_ends_while_draining(rig: Rig) -> None:
    rig.granted(52)
    lease = rig.granted(53, Role.PRODUCER)
    rig.driver.request_shutdown()
    rig.settle()
    rig.store.calls.clear()
    rig.detach(lease, 53, Role.PRODUCER)


def init_with_consumers_is_retried(rig: Rig) -> None:
    rig.granted(54)
    lease = rig.granted(55, Role.PRODUCER)
    rig.store.faults.permission = True
    rig.detach(lease, 55, Role.PRODUCER)
    rig.store.faults.permission = False
    rig.store.calls.clear()
    rig.run(SECOND)
    rig.run(SECOND)


def attach_on_ready(role: Role) -> Callable[[Rig], object]:
    def attach(rig: Rig) -> None:
        rig.granted(56)
        rig.store.calls.clear()
        rig.granted(57, role)

    return attach


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (lambda rig: rig.granted(1), 1),
        (lambda rig: rig.granted(1, Role.PRODUCER), 1),
        (attach_on_ready(Role.PRODUCER), 1),
        (attach_on_ready(Role.CONSUMER), 0),
        (producer_ends("detach"), 1),
        (producer_ends("expire"), 1),
        (producer_ends("revoke"), 1),
        (consumer_ends, 0),
        (producer_ends_while_draining, 0),
        (init_with_consumers_is_retried, 1),
        (lambda rig: (rig.granted(1), rig.store.calls.clear(), rig.run(2 * SECOND)), 0),
        (lambda rig: rig.driver.reprovision(STREAM), 1),
    ],
    ids=[
        "consumer attach on Init",
        "producer attach on Init",
        "producer attach on Ready",
        "consumer attach on Ready",
        "producer detach",
        "producer expiry",
        "producer revocation",
        "consumer end",
        "producer end while draining",
        "retry of an Init stream with consumers",
        "timers",
        "reprovision",
    ],
)
def test_D_096_each_trigger_uses_as_many_epochs_as_it_should(
    trigger: Callable[[Rig], object], expected: int
) -> None:
    """D-096, D-073, D-031"""
    rig = Rig()
    trigger(rig)
    assert len(epochs_used(rig)) == expected


def test_D_073_a_grant_that_retires_an_epoch_ends_with_a_collection() -> None:
    """D-073, D-086, D-126"""
    rig = Rig()
    first = rig.granted(1).epoch
    rig.store.calls.clear()
    second = rig.granted(2, Role.PRODUCER).epoch
    assert rig.store.calls == [
        ("provision", STREAM, second),
        ("retire", STREAM, first),
        ("collect", 0, 0),
    ]
    rig.store.calls.clear()
    rig.granted(3)
    assert rig.store.calls == []


def test_D_096_start_up_provisioning_gives_each_configured_stream_one() -> None:
    """D-096, D-100"""
    rig = Rig(make_config(policies={"provision_on_startup": True}))
    assert len(epochs_used(rig)) == len(epochs_used(rig, OTHER_STREAM)) == 1
    assert rig.attach(1, publish_mode=None).code is ResponseCode.OK


def test_D_097_reprovision_of_a_stream_with_a_producer_revokes_it() -> None:
    """D-097, D-089"""
    rig = Rig()
    lease = rig.granted(1, Role.PRODUCER)
    rig.granted(2)
    used = len(epochs_used(rig))
    assert rig.driver.reprovision(STREAM)
    rig.settle()
    (notice,) = rig.heard(ShmLeaseRevoked)
    assert (notice.lease_id, notice.error_message) == (lease.lease_id, "stream reprovisioned")
    assert len(epochs_used(rig)) == used + 1


def test_D_097_reprovision_of_a_stream_without_a_producer_bumps_it() -> None:
    rig = Rig()
    before = rig.granted(1).epoch
    assert rig.driver.reprovision(STREAM)
    rig.settle()
    assert rig.stream().epoch > before  # type: ignore[operator]
    assert rig.heard(ShmPoolAnnounce)[-1].epoch == rig.stream().epoch
    assert rig.heard(ShmLeaseRevoked) == []


def test_D_097_reprovision_of_an_init_stream_provisions_it() -> None:
    rig = Rig()
    assert rig.driver.reprovision(STREAM)
    rig.listen()
    assert rig.heard(ShmPoolAnnounce)[-1].epoch == rig.stream().epoch


def test_D_097_reprovision_reports_what_it_could_not_do() -> None:
    rig = Rig()
    assert not rig.driver.reprovision(4)
    rig.store.faults.permission = True
    assert not rig.driver.reprovision(STREAM)
    rig.driver.request_shutdown()
    rig.settle()
    assert not rig.driver.reprovision(STREAM)


def test_D_098_layout_of_an_epoch_never_changes() -> None:
    rig = Rig()
    shapes: dict[int, set[object]] = {}
    for client in range(1, 6):
        lease = rig.granted(client, Role.PRODUCER)
        rig.detach(lease, client, Role.PRODUCER)
        rig.run(SECOND)
    for announce in rig.heard(ShmPoolAnnounce):
        shape = (announce.header_nslots, announce.layout_version, announce.payload_pools)
        shapes.setdefault(announce.epoch, set()).add(shape)
    assert all(len(found) == 1 for found in shapes.values())
    assert len(shapes) > 5


def test_D_165_recreated_dynamic_stream_continues_with_higher_epochs() -> None:
    config = make_config(
        driver={"stream_id_range": IdRange(20000, 20000)},
        policies={"allow_dynamic_streams": True, "epoch_gc_keep": 1, "epoch_gc_min_age_ns": 1},
    )
    clock = SimulatedClock()
    rig = Rig(config, clock=clock)
    seen = []
    for client in range(1, 6):
        clock.step_realtime(-100 * SECOND)
        lease = rig.granted(client, Role.PRODUCER, stream_id=0)
        assert lease.stream_id == 20000
        seen.append(lease.epoch)
        rig.detach(lease, client, Role.PRODUCER)
        rig.run(2 * SECOND)
    assert seen == sorted(set(seen))
