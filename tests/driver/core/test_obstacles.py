"""Obstacles below `base_dir` are answered with the texts of D-118, and the log stays bounded."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.driver.config.layout import Layout
from tensor_pool.driver.core.ports import DriverLockedError
from tensor_pool.driver.files.store import FileStore
from tensor_pool.protocol.wire import ResponseCode, Role, ShutdownReason
from tests.driver.core.harness import MS, OTHER_STREAM, STREAM, Rig, make_config


@pytest.fixture
def base() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tensor-pool-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


def make_rig(base: Path) -> Rig:
    return Rig(make_config(shm={"base_dir": str(base / "pools")}), store=FileStore)


def stream_dir(rig: Rig) -> Path:
    return Path(Layout.of(rig.config.shm).stream_dir(STREAM))


def a_file(path: Path) -> None:
    path.write_text("in the way")


def a_link(path: Path) -> None:
    path.symlink_to("/tmp")


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def of_another_user(path: Path) -> None:
    path.mkdir(mode=0o770)
    os.chown(path, 5001, 5001)


def open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


OBSTACLES: list[tuple[Callable[[Path], None], str]] = [
    (a_file, "mkdir failed: EEXIST"),
    (a_link, "SHM path not within allowed_base_dirs"),
    (a_fifo, "mkdir failed: EEXIST"),
    (open_to_all, "SHM directory mode 0777, so that every user can write to it"),
]
if os.geteuid() == 0:
    OBSTACLES.append((of_another_user, "SHM directory owned by uid 5001, not by root (uid 0)"))


@pytest.mark.parametrize(("make", "text"), OBSTACLES)
@pytest.mark.parametrize("role", [Role.PRODUCER, Role.CONSUMER])
def test_D_070_row_21_an_obstacle_in_place_of_the_stream_directory(
    base: Path, make: Callable[[Path], None], text: str, role: Role, caplog: Any
) -> None:
    """D-070, D-111, D-115, D-118: the answer names it; when it is gone the next attach works."""
    rig = make_rig(base)
    make(stream_dir(rig))
    caplog.set_level(logging.INFO)
    for client_id in range(1, 200):
        answer = rig.attach(client_id, role)
        assert answer.code is ResponseCode.INTERNAL_ERROR
        assert answer.error_message == f"failed to provision SHM: {text}"
    assert rig.metrics["handler_errors"] == 0
    assert not any(record.exc_info for record in caplog.records)
    assert len([r for r in caplog.records if "refused" in r.message]) <= 20
    assert any(str(stream_dir(rig)) in record.getMessage() for record in caplog.records)
    assert rig.granted(500, stream_id=OTHER_STREAM).code is ResponseCode.OK
    if stream_dir(rig).is_dir() and not stream_dir(rig).is_symlink():
        shutil.rmtree(stream_dir(rig))
    else:
        stream_dir(rig).unlink()
    assert rig.granted(501, role).code is ResponseCode.OK


def test_D_118_no_free_descriptor_is_reported_with_the_remedy_in_the_log(
    base: Path, caplog: Any
) -> None:
    rig = make_rig(base)
    caplog.set_level(logging.INFO)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = max(int(name) for name in os.listdir("/proc/self/fd"))
    for extra in range(1, 9):  # none is left at each of the steps in turn
        resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + extra, limits[1]))
        holders = []
        try:
            while True:
                holders.append(os.dup(0))
        except OSError:
            pass
        for fd in holders[: extra - 1]:
            os.close(fd)
        try:
            answer = rig.attach(extra)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for fd in holders[extra - 1 :]:
                os.close(fd)
        if answer.code is ResponseCode.OK:
            break
        assert "EMFILE" in answer.error_message
    assert any("ulimit -n" in record.getMessage() for record in caplog.records)
    assert rig.metrics["handler_errors"] == 0
    assert rig.granted(77, stream_id=OTHER_STREAM).code is ResponseCode.OK


def test_D_064_a_store_that_breaks_at_every_attach_does_not_fill_the_log(
    base: Path, caplog: Any
) -> None:
    rig = make_rig(base)

    def broken(*_: object) -> int:
        raise RuntimeError("broken")

    rig.store.highest_epoch = broken
    for client_id in range(1, 100):
        assert rig.attach(client_id).error_message == "internal error"
    assert rig.metrics["handler_errors"] == 99
    assert len([record for record in caplog.records if record.exc_info]) == 1
    rig.clock.advance(1000 * MS)
    rig.attach(100)
    last = [record for record in caplog.records if record.exc_info][-1]
    assert last.left_out == 98


def test_D_115_a_removed_tree_is_made_anew_with_its_lock(base: Path) -> None:
    rig = make_rig(base)
    rig.granted(1)
    shutil.rmtree(base / "pools")
    answer = rig.granted(2, stream_id=OTHER_STREAM)
    assert Path(answer.header_region_uri.partition("file=")[2].partition("|")[0]).exists()
    assert (base / "pools").stat().st_mode & 0o7777 == 0o1777
    with pytest.raises(DriverLockedError):
        make_rig(base)
    rig.driver.close(drain=False)
    make_rig(base).driver.close(drain=False)


def test_D_115_a_removed_tree_is_back_within_an_announce_period(base: Path) -> None:
    """Clients refuse to connect where no directory is, so that none would attach any more."""
    rig = make_rig(base)
    shutil.rmtree(base / "pools")
    rig.clock.advance(1100 * MS)
    rig.driver.do_work()
    assert (base / "pools").stat().st_mode & 0o7777 == 0o1777
    with pytest.raises(DriverLockedError):
        make_rig(base)


def test_D_115_a_tree_that_cannot_be_made_anew_is_logged_once(base: Path, caplog: Any) -> None:
    rig = make_rig(base)
    shutil.rmtree(base / "pools")
    (base / "pools").write_text("in the way")
    for _ in range(20):  # announce periods
        rig.clock.advance(1000 * MS)
        rig.driver.do_work()
    lines = [r.getMessage() for r in caplog.records if "cannot be made anew" in r.getMessage()]
    assert lines == ["the driver's directories cannot be made anew: mkdir failed: EEXIST"]
    (base / "pools").unlink()
    rig.clock.advance(1100 * MS)
    rig.driver.do_work()
    assert (base / "pools").is_dir()


def test_D_115_a_driver_whose_tree_was_taken_by_another_ends(base: Path) -> None:
    first = make_rig(base)
    first.granted(1)
    shutil.rmtree(base / "pools")
    second = make_rig(base)
    second.granted(1)
    answer = first.attach(2, stream_id=OTHER_STREAM)
    assert answer.code is ResponseCode.INTERNAL_ERROR
    assert "another driver is running for" in answer.error_message
    assert first.driver.is_stopped
    assert first.driver.shutdown.reason is ShutdownReason.ERROR
    assert second.granted(3, stream_id=OTHER_STREAM).code is ResponseCode.OK


def test_D_115_a_driver_does_not_start_in_a_directory_of_another_user(base: Path) -> None:
    pools = base / "pools"
    pools.mkdir()
    user = Path(Layout.of(make_config(shm={"base_dir": str(pools)}).shm).namespace_dir).parent
    user.mkdir()
    user.chmod(0o777)
    with pytest.raises(Exception, match="every user can write to it"):
        make_rig(base)
