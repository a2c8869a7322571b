"""The pages on a Unix socket that only the driver's user can connect to (D-195)."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tensor_pool.cli.support.status_page import fetch_status
from tensor_pool.driver.http import page_address
from tensor_pool.driver.http.page.peer import is_same_user
from tensor_pool.driver.http.server import HttpUnavailableError
from tensor_pool.driver.http.unix_socket import listen_on_path
from tests.driver.conftest import Daemons
from tests.fresh_process import as_user

NOBODY = 65534


@pytest.fixture
def path() -> Iterator[Path]:
    """A path below a directory that every user can search; those of pytest are closed to others."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="tp-socket-") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory) / "pages"


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def test_D_195_the_socket_is_its_users_alone_and_goes_with_the_driver(path: Path) -> None:
    umask = os.umask(0)
    try:
        with listen_on_path(str(path)) as listener:
            assert page_address(listener) == f"unix:{path}"
            status = path.stat()
            assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, os.geteuid())
            assert connects(path)
            if os.geteuid() == 0:
                assert not as_user(NOBODY, connects, path)
    finally:
        os.umask(umask)
    assert not path.exists()


def test_D_195_a_dead_drivers_socket_is_replaced_and_a_live_ones_is_not(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listen_on_path(str(path)):
        assert connects(path)
        with pytest.raises(HttpUnavailableError, match="another process listens there"):
            listen_on_path(str(path)).__enter__()
        assert connects(path)


def test_D_195_anything_else_at_the_path_is_left_alone(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(HttpUnavailableError, match="not a socket"):
        listen_on_path(str(path)).__enter__()
    assert path.read_text() == "mine"
    path.unlink()
    path.symlink_to("/dev/shm/elsewhere")
    with pytest.raises(HttpUnavailableError, match="not a socket"):
        listen_on_path(str(path)).__enter__()
    assert path.is_symlink()


def test_D_195_a_directory_of_others_is_refused_and_a_sticky_one_is_not(path: Path) -> None:
    path.parent.chmod(0o777)
    with pytest.raises(HttpUnavailableError, match=r"mode 0777.*choose a directory of this user"):
        listen_on_path(str(path)).__enter__()
    if os.geteuid() == 0:
        path.parent.chmod(0o1777)
        with listen_on_path(str(path)):
            assert connects(path)
        os.chown(path.parent, NOBODY, NOBODY)
        with pytest.raises(HttpUnavailableError, match=r"owned by .*65534"):
            listen_on_path(str(path)).__enter__()


def test_D_195_frames_are_shown_on_the_socket_as_only_its_user_is_there() -> None:
    assert is_same_user(None, ("/run/user/1000/pages", None))
    assert not is_same_user(None, ("host", None))
    assert not is_same_user(("127.0.0.1", 1), ("/run/user/1000/pages", None))


@pytest.mark.process
def test_D_195_a_running_daemon_serves_its_pages_on_the_socket(
    daemons: Daemons, path: Path
) -> None:
    daemon = daemons.start(settings={"driver.http_socket": str(path)}).ready()
    assert "driver" in fetch_status(str(path), 5.0)
    assert daemon.stop() == 0
    assert not path.exists()
