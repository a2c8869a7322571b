"""One driver per namespace."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tensor_pool.driver.core.ports import DriverLockedError
from tensor_pool.protocol.clock import SimulatedClock
from tensor_pool.protocol.errors import TensorPoolError
from tests.driver.config.configs import SMALL
from tests.driver.conftest import Stores
from tests.driver.files.epoch_tree import namespace_dir
from tests.fresh_process import in_fresh_process


def state_of(directory: Path) -> list[tuple[str, int, int, int]]:
    """Return all about each file that a second start must not change."""
    found = []
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        found.append((str(path), status.st_ino, status.st_mtime_ns, status.st_mode))
    return found


def test_D_003_a_second_store_on_the_same_tree_is_refused_and_changes_nothing(
    stores: Stores,
) -> None:
    stores.open().provision(10000, SMALL, 1)
    before = state_of(stores.base_dir)

    second = stores.make(
        shm={"permissions_mode": "600"},
        policies={"delete_shm_on_startup": True, "epoch_gc_on_startup": True},
    )
    with pytest.raises(DriverLockedError) as caught:
        second.open(stores.clock.monotonic_ns())

    assert str(caught.value) == f"another driver is running for {namespace_dir(stores.base_dir)}"
    assert isinstance(caught.value, TensorPoolError)
    assert state_of(stores.base_dir) == before


def test_D_003_the_lock_is_free_after_a_close(stores: Stores) -> None:
    stores.open().close()
    stores.open().close()


def test_D_006_another_namespace_or_base_dir_is_another_tree(stores: Stores) -> None:
    """D-003, D-006."""
    stores.open()
    stores.open(shm={"namespace": "other"})
    stores.open(shm={"base_dir": str(stores.base_dir / "below")})


def test_D_003_a_killed_driver_leaves_no_lock(stores: Stores) -> None:
    stores.open().close()
    lock_file = namespace_dir(stores.base_dir) / ".driver.lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys\n"
            "file = open(sys.argv[1], 'r+')\n"
            "fcntl.flock(file, fcntl.LOCK_EX)\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()\n",
            str(lock_file),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(DriverLockedError):
        stores.open()

    holder.send_signal(signal.SIGKILL)
    holder.communicate()

    stores.open()


def test_D_003_a_forked_child_does_not_keep_the_lock_of_its_parent(shm_dir: Path) -> None:
    """D-003: a child of an embedding application may live on when the parent has been killed."""
    in_fresh_process(_fork_beside_a_lock, shm_dir)


def _fork_beside_a_lock(base_dir: Path) -> None:
    store = Stores(base_dir, SimulatedClock()).open()
    lock_file = namespace_dir(base_dir) / ".driver.lock"
    inode = lock_file.stat().st_ino
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        held = [
            fd
            for fd in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{fd}")
            and os.stat(f"/proc/self/fd/{fd}").st_ino == inode
        ]
        os.write(write_end, b"%d" % len(held))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read_end, 10) == b"0"
    os.close(read_end)
    os.close(write_end)
    with open(lock_file) as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    store.close()


def test_D_003_a_lock_file_that_was_removed_between_open_and_lock_is_not_trusted(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-003, D-128: a driver that cleans up removes the file that the next has already opened."""
    stores.open().close()
    lock_file = namespace_dir(stores.base_dir) / ".driver.lock"
    real = fcntl.flock
    removed: list[bool] = []

    def racing(fd: int, operation: int) -> None:
        if not removed:
            removed.append(True)
            lock_file.unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", racing)
    stores.open()
    monkeypatch.undo()
    with pytest.raises(DriverLockedError):
        stores.open()


def test_D_100_a_failed_open_releases_the_lock(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores.make(policies={"delete_shm_on_startup": True})
    monkeypatch.setattr(type(store), "_delete_all", lambda self: (_ for _ in ()).throw(OSError(5)))
    with pytest.raises(OSError, match="5"):
        store.open(0)
    monkeypatch.undo()
    stores.open()


def test_closing_what_was_never_opened_is_harmless(stores: Stores) -> None:
    store = stores.make()
    store.close()
    store.open(0)
    store.close()
    store.close()
