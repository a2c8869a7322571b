"""The epochs that are collected, the times, and the files that removal leaves alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.shm.epoch_directories import process_is_alive
from tests.driver.config.configs import SMALL
from tests.driver.conftest import Stores
from tests.driver.files.epoch_tree import dead_pid, epochs, namespace_dir, plant_epoch

SECOND = 1_000_000_000
MIN_AGE = {"epoch_gc_min_age_ns": 10 * SECOND}
ON_STARTUP = {**MIN_AGE, "epoch_gc_on_startup": True, "epoch_gc_keep": 1}


@pytest.fixture
def clock() -> SimulatedClock:
    """Long after boot, so that there is time in which epochs can have been stamped."""
    return SimulatedClock(monotonic_ns=100_000 * SECOND)


@pytest.fixture(scope="module")
def dead() -> int:
    return dead_pid()


@pytest.fixture
def alive() -> int:
    """A live process that is not this one."""
    return os.getppid()


def old(clock: SimulatedClock) -> int:
    return clock.monotonic_ns() - 11 * SECOND


def bump(stores: Stores, store: Any, epoch: int, stream_id: int = 10000) -> None:
    """Provision an epoch and retire the one before, as a producer's end does."""
    store.provision(stream_id, SMALL, epoch)
    if epoch > 1:
        store.retire(stream_id, epoch - 1)
    store.collect(stores.clock.monotonic_ns())


def test_D_124_the_current_epoch_is_never_collected(stores: Stores, clock: SimulatedClock) -> None:
    """D-124, W-018: however old it is, and whatever higher numbers lie beside it."""
    store = stores.open(policies={**MIN_AGE, "epoch_gc_keep": 1})
    store.provision(10000, SMALL, 5)
    store.provision(10000, SMALL, 7)
    clock.advance(3600 * SECOND)
    store.retire(10000, 7)
    store.collect(clock.monotonic_ns())
    assert epochs(stores.base_dir, 10000) == [5, 7]


def test_D_124_the_newest_epochs_are_kept(stores: Stores, clock: SimulatedClock) -> None:
    """D-124: `epoch_gc_keep` counts directories, the current one included."""
    store = stores.open(policies={**MIN_AGE, "epoch_gc_keep": 3})
    for epoch in range(1, 7):
        bump(stores, store, epoch)
        clock.advance(60 * SECOND)
    store.collect(clock.monotonic_ns())
    assert epochs(stores.base_dir, 10000) == [4, 5, 6]


def test_D_124_nothing_is_collected_before_its_time(stores: Stores, clock: SimulatedClock) -> None:
    """D-124, D-125, W-018: the age must exceed the minimum."""
    store = stores.open(policies={**MIN_AGE, "epoch_gc_keep": 1})
    store.provision(10000, SMALL, 1)
    clock.advance(5 * SECOND)
    store.refresh_activity(10000, 1, clock.monotonic_ns())
    bump(stores, store, 2)
    clock.advance(10 * SECOND)
    store.collect(clock.monotonic_ns())
    assert epochs(stores.base_dir, 10000) == [1, 2]
    assert store.has_retired()

    clock.advance(1)
    store.collect(clock.monotonic_ns())

    assert epochs(stores.base_dir, 10000) == [2]
    assert not store.has_retired()
    assert stores.metrics["gc_removed"] == 1


@pytest.mark.parametrize(("age_ns", "left"), [(10 * SECOND, [1, 2]), (10 * SECOND + 1, [2])])
def test_D_124_an_epoch_found_at_the_start_must_be_older_than_the_minimum(
    stores: Stores, clock: SimulatedClock, dead: int, age_ns: int, left: list[int]
) -> None:
    for epoch in (1, 2):
        activity_ns = clock.monotonic_ns() - age_ns
        plant_epoch(stores.base_dir, 10000, epoch, pid=dead, activity_ns=activity_ns)
    stores.open(policies=ON_STARTUP)
    assert epochs(stores.base_dir, 10000) == left


def test_D_124_collection_can_be_switched_off(stores: Stores, clock: SimulatedClock) -> None:
    plant_epoch(stores.base_dir, 10000, 1, pid=dead_pid(), activity_ns=old(clock))
    store = stores.open(policies={**ON_STARTUP, "epoch_gc_enabled": False})
    for epoch in range(2, 6):
        bump(stores, store, epoch)
        clock.advance(60 * SECOND)
    assert epochs(stores.base_dir, 10000) == [1, 2, 3, 4, 5]
    assert not store.has_retired()


@pytest.mark.parametrize("owner", ["dead", "own", "alive", "unreadable"])
def test_W_018_only_another_live_process_protects_an_old_epoch(
    stores: Stores, clock: SimulatedClock, owner: str, dead: int, alive: int
) -> None:
    """D-124, W-018: the driver's own pid does not, nor a superblock that cannot be read."""
    pid = {"dead": dead, "own": os.getpid(), "alive": alive, "unreadable": alive}[owner]
    directory = plant_epoch(stores.base_dir, 10000, 1, pid=pid, activity_ns=old(clock))
    plant_epoch(stores.base_dir, 10000, 2, pid=dead, activity_ns=old(clock))
    if owner == "unreadable":
        (directory / "header.ring").write_bytes(bytes(64))
        past = clock.realtime_ns() - 11 * SECOND
        os.utime(directory, ns=(past, past))
    stores.open(policies=ON_STARTUP)
    assert epochs(stores.base_dir, 10000) == ([1, 2] if owner == "alive" else [2])


def test_W_018_recent_activity_protects_the_epoch_of_a_dead_process(
    stores: Stores, clock: SimulatedClock, dead: int
) -> None:
    """D-124, W-018."""
    recent = clock.monotonic_ns() - 9 * SECOND
    plant_epoch(stores.base_dir, 10000, 1, pid=dead, activity_ns=recent)
    plant_epoch(stores.base_dir, 10000, 2, pid=dead, activity_ns=recent)
    store = stores.open(policies=ON_STARTUP)
    assert epochs(stores.base_dir, 10000) == [1, 2]
    assert store.has_retired(), "it waits for its time"
    clock.advance(2 * SECOND)
    store.collect(clock.monotonic_ns())
    assert epochs(stores.base_dir, 10000) == [2]


@pytest.mark.parametrize("name", ["07", "x", "7.old", "-7", "18446744073709551616"])
def test_D_127_directories_with_other_names_are_left_alone(
    stores: Stores, clock: SimulatedClock, dead: int, name: str
) -> None:
    """D-124, D-127."""
    for epoch in (1, 2):
        plant_epoch(stores.base_dir, 10000, epoch, pid=dead, activity_ns=old(clock))
    odd = namespace_dir(stores.base_dir) / "10000" / name
    odd.mkdir()
    stores.open(policies=ON_STARTUP)
    assert odd.is_dir()
    assert not (namespace_dir(stores.base_dir) / "10000" / "1").exists()


def test_D_124_a_link_is_not_an_epoch_directory(
    stores: Stores, clock: SimulatedClock, tmp_path: Path, dead: int
) -> None:
    """D-124, D-127: neither as an epoch nor as a stream."""
    for epoch in (5, 6):
        plant_epoch(tmp_path, 10000, epoch, pid=dead, activity_ns=old(clock))
    elsewhere = namespace_dir(tmp_path) / "10000"
    plant_epoch(stores.base_dir, 10000, 7, pid=dead, activity_ns=old(clock))
    (namespace_dir(stores.base_dir) / "10000" / "5").symlink_to(elsewhere / "5")
    (namespace_dir(stores.base_dir) / "10001").symlink_to(elsewhere)
    stores.open(policies=ON_STARTUP)
    assert epochs(tmp_path, 10000) == [5, 6]
    assert sorted(path.name for path in (elsewhere / "5").iterdir()) == ["1.pool", "header.ring"]


@pytest.mark.parametrize("stamp", [0, 2**63], ids=["never stamped", "stamped in another boot"])
def test_D_125_without_a_usable_stamp_the_directory_has_the_age(
    stores: Stores, clock: SimulatedClock, dead: int, stamp: int
) -> None:
    wall = clock.realtime_ns()
    for epoch, age in ((1, 11 * SECOND), (2, 9 * SECOND), (3, -5 * SECOND), (4, 0)):
        plant_epoch(stores.base_dir, 10000, epoch, pid=dead, activity_ns=stamp, mtime_ns=wall - age)
    store = stores.open(policies=ON_STARTUP)
    assert epochs(stores.base_dir, 10000) == [2, 3, 4]

    clock.advance(2 * SECOND)
    store.collect(clock.monotonic_ns())
    assert epochs(stores.base_dir, 10000) == [3, 4]

    clock.advance(20 * SECOND)
    store.collect(clock.monotonic_ns())
    assert epochs(stores.base_dir, 10000) == [4]


def test_D_126_the_start_looks_at_every_stream_of_the_namespace(
    stores: Stores, clock: SimulatedClock, dead: int
) -> None:
    """D-126, D-100: also streams that are not configured, and no other namespace."""
    for stream_id in (10000, 777, 4_000_000_000):
        for epoch in (1, 2):
            plant_epoch(stores.base_dir, stream_id, epoch, pid=dead, activity_ns=old(clock))
    for epoch in (1, 2):
        plant_epoch(stores.base_dir, 5, epoch, pid=dead, activity_ns=old(clock), namespace="other")
    stores.open(policies=ON_STARTUP)
    assert [epochs(stores.base_dir, s) for s in (10000, 777, 4_000_000_000)] == [[2]] * 3
    assert epochs(stores.base_dir, 5, "other") == [1, 2]


def test_D_126_without_collection_at_the_start_old_epochs_stay_until_their_stream_is_used(
    stores: Stores, clock: SimulatedClock, dead: int
) -> None:
    for epoch in (1, 2, 3):
        plant_epoch(stores.base_dir, 10000, epoch, pid=dead, activity_ns=old(clock))
    store = stores.open(policies={**MIN_AGE, "epoch_gc_keep": 2})
    assert epochs(stores.base_dir, 10000) == [1, 2, 3]
    bump(stores, store, 4)
    clock.advance(11 * SECOND)
    bump(stores, store, 5)
    assert epochs(stores.base_dir, 10000) == [4, 5]


def test_D_126_an_hour_of_attaching_leaves_few_epochs(
    stores: Stores, clock: SimulatedClock
) -> None:
    """D-126: at most `keep` and those younger than the minimum age."""
    store = stores.open(policies={**MIN_AGE, "epoch_gc_keep": 2})
    for epoch in range(1, 601):
        bump(stores, store, epoch)
        clock.advance(6 * SECOND)
        store.collect(clock.monotonic_ns())
        assert len(epochs(stores.base_dir, 10000)) <= 2 + 2


def test_an_incomplete_epoch_of_a_crash_is_collected(stores: Stores, clock: SimulatedClock) -> None:
    """D-186: a partial provisioning followed by a crash."""
    directory = namespace_dir(stores.base_dir) / "10000" / "1"
    directory.mkdir(parents=True)
    (directory / "header.ring").write_bytes(b"")
    past = clock.realtime_ns() - 11 * SECOND
    os.utime(directory, ns=(past, past))
    store = stores.open(policies={**MIN_AGE, "epoch_gc_keep": 1})
    assert store.highest_epoch(10000) == 1
    bump(stores, store, 2)
    bump(stores, store, 3)
    assert epochs(stores.base_dir, 10000) == [2, 3]


def test_D_126_a_pass_costs_nothing_for_streams_that_are_not_due(
    stores: Stores, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores.open(policies=MIN_AGE | {"epoch_gc_keep": 1})
    for stream_id in range(1, 51):
        bump(stores, store, 1, stream_id)
        bump(stores, store, 2, stream_id)
    looked_at: list[Any] = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked_at.append(path) or real(path))
    clock.advance(SECOND)
    store.collect(clock.monotonic_ns())
    assert looked_at == []
    clock.advance(10 * SECOND)
    store.collect(clock.monotonic_ns())
    assert len(looked_at) == 50
    assert not store.has_retired()


def test_D_127_removal_unlinks_regular_files_only_and_follows_nothing(
    stores: Stores, clock: SimulatedClock, tmp_path: Path, dead: int
) -> None:
    target = tmp_path / "x"
    target.write_text("precious")
    directory = plant_epoch(stores.base_dir, 10000, 1, pid=dead, activity_ns=old(clock))
    plant_epoch(stores.base_dir, 10000, 2, pid=dead, activity_ns=old(clock))
    (directory / "link").symlink_to(target)
    (directory / "sub").mkdir()
    (directory / "sub" / "file").write_text("precious too")

    store = stores.open(policies=ON_STARTUP)

    assert target.read_text() == "precious"
    assert (directory / "sub" / "file").read_text() == "precious too"
    assert sorted(path.name for path in directory.iterdir()) == ["header.ring", "link", "sub"]
    assert stores.metrics["gc_errors"] == 1
    with pytest.raises(OSError, match="not empty"):
        store.collect(clock.monotonic_ns())
    assert stores.metrics["gc_errors"] == 2

    (directory / "link").unlink()
    (directory / "sub" / "file").unlink()
    (directory / "sub").rmdir()
    store.collect(clock.monotonic_ns())
    assert epochs(stores.base_dir, 10000) == [2]
    assert not store.has_retired()


def test_D_127_one_obstacle_does_not_keep_other_epochs_from_being_collected(
    stores: Stores, clock: SimulatedClock, dead: int
) -> None:
    for stream_id in (10, 20, 30):
        for epoch in (1, 2, 3):
            plant_epoch(stores.base_dir, stream_id, epoch, pid=dead, activity_ns=old(clock))
    (namespace_dir(stores.base_dir) / "20" / "1" / "sub").mkdir()
    stores.open(policies=ON_STARTUP)
    assert [epochs(stores.base_dir, s) for s in (10, 20, 30)] == [[3], [1, 3], [3]]


def test_D_127_a_file_that_disappears_meanwhile_is_not_an_error(
    stores: Stores, clock: SimulatedClock, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = plant_epoch(stores.base_dir, 10000, 1, pid=dead, activity_ns=old(clock))
    plant_epoch(stores.base_dir, 10000, 2, pid=dead, activity_ns=old(clock))
    real = os.listdir

    def racing(path: Any) -> list[str]:
        names = real(path)
        if "header.ring" in names:
            for name in names:
                (directory / name).unlink()
        return names

    monkeypatch.setattr(os, "listdir", racing)
    stores.open(policies=ON_STARTUP)
    assert stores.metrics["gc_errors"] == 0
    assert epochs(stores.base_dir, 10000) == [2]


def test_a_shortage_spares_nothing_of_a_stream_without_a_current_epoch(
    stores: Stores, clock: SimulatedClock
) -> None:
    """D-126: its last epoch is of no use any more; its number is not forgotten (D-165)."""
    from tests.driver.config.configs import SMALL_BYTES

    store = stores.open()
    store.provision(10000, SMALL, 5)
    store.retire(10000, 5)
    free = [SMALL_BYTES - 1, SMALL_BYTES]
    store.free_bytes = lambda: free.pop(0)  # type: ignore[method-assign]
    store.provision(10001, SMALL, 1)
    assert epochs(stores.base_dir, 10000) == []
    assert store.highest_epoch(10000) == 5


def test_D_128_on_exit_the_files_of_this_run_go_if_so_configured(
    stores: Stores, clock: SimulatedClock
) -> None:
    store = stores.open(policies={"cleanup_shm_on_exit": True})
    for stream_id in (10000, 10001):
        bump(stores, store, 1, stream_id)
        bump(stores, store, 2, stream_id)
    store.close()
    assert list(stores.base_dir.iterdir()) == []


def test_D_128_otherwise_the_files_stay(stores: Stores) -> None:
    store = stores.open()
    bump(stores, store, 1)
    store.close()
    assert epochs(stores.base_dir, 10000) == [1]


def test_D_128_what_this_run_did_not_create_stays_with_its_parents(
    stores: Stores, clock: SimulatedClock, dead: int
) -> None:
    """D-128, I-12."""
    plant_epoch(stores.base_dir, 10000, 1, pid=dead, activity_ns=old(clock))
    other = stores.open(shm={"namespace": "other"})
    store = stores.open(policies={"cleanup_shm_on_exit": True})
    store.provision(10000, SMALL, 2)
    store.provision(10001, SMALL, 1)
    store.close()
    assert epochs(stores.base_dir, 10000) == [1]
    assert not (namespace_dir(stores.base_dir) / "10001").exists()
    assert namespace_dir(stores.base_dir, "other").is_dir()
    other.close()


def test_D_100_a_discarded_start_leaves_nothing(stores: Stores) -> None:
    store = stores.open()
    store.provision(10000, SMALL, 1)
    store.close(discard=True)
    assert list(stores.base_dir.iterdir()) == []


def test_D_104_deleted_epochs_still_count_for_the_next_number(
    stores: Stores, clock: SimulatedClock, dead: int, alive: int
) -> None:
    """D-100, D-104: everything goes, of any owner, but the highest number is remembered."""
    plant_epoch(stores.base_dir, 10000, 1, pid=dead, activity_ns=old(clock))
    plant_epoch(stores.base_dir, 10000, 2**62, pid=alive, activity_ns=clock.monotonic_ns())
    plant_epoch(stores.base_dir, 777, 3, pid=dead, activity_ns=old(clock))
    store = stores.open(policies={"delete_shm_on_startup": True})
    assert epochs(stores.base_dir, 10000) == epochs(stores.base_dir, 777) == []
    assert not (namespace_dir(stores.base_dir) / "777").exists()
    assert [store.highest_epoch(s) for s in (10000, 777, 5)] == [2**62, 3, 0]


def test_D_100_what_cannot_be_deleted_at_the_start_does_not_prevent_it(
    stores: Stores, clock: SimulatedClock, dead: int
) -> None:
    directory = plant_epoch(stores.base_dir, 10000, 9, pid=dead, activity_ns=old(clock))
    (directory / "sub").mkdir()
    store = stores.open(policies={"delete_shm_on_startup": True})
    assert stores.metrics["gc_errors"] == 1
    assert store.highest_epoch(10000) == 9


def test_D_095_the_highest_epoch_is_the_highest_directory(
    stores: Stores, clock: SimulatedClock, dead: int
) -> None:
    """D-095, D-099."""
    plant_epoch(stores.base_dir, 10000, 2**62, pid=dead, activity_ns=0)
    (namespace_dir(stores.base_dir) / "10000" / "99999999999999999999999").mkdir()
    store = stores.open()
    assert store.highest_epoch(10000) == 2**62
    store.provision(10000, SMALL, 2**62 + 1)
    assert store.highest_epoch(10000) == 2**62 + 1


def test_a_process_is_found_alive_without_harm() -> None:
    """W-018: also of numbers that no process can have."""
    assert process_is_alive(os.getpid())
    assert process_is_alive(1)
    assert not process_is_alive(dead_pid())
    assert not process_is_alive(0)
    assert not process_is_alive(2**64 - 1)
