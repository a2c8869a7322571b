"""The Unix socket of the pages: a file that only the driver's user can connect to."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from tensor_pool.protocol.shm.ownership import ownership_problem

from .server import HttpUnavailableError, require_libraries

__all__ = ["listen_on_path"]

_MODE = 0o600


@contextlib.contextmanager
def listen_on_path(path: str) -> Iterator[socket.socket]:
    """A listening socket at a path, with mode 0600; the file is removed at the end.

    The socket of a dead driver of this user is replaced. Raises HttpUnavailableError for anything
    else at the path, and for a directory in which another user could put a socket in its place.
    """
    require_libraries("driver.http_socket")
    try:
        _check_directory(Path(path).parent)
        _remove_leftover(path)
        server = socket.socket(socket.AF_UNIX)
        try:
            os.fchmod(server.fileno(), _MODE)  # so that the file has this mode from the beginning
            server.bind(path)
            server.listen()
        except BaseException:
            server.close()
            raise
    except OSError as error:
        raise _unavailable(path, error.strerror or str(error)) from error
    identity = _identity(path)
    with server:
        try:
            yield server
        finally:
            with contextlib.suppress(OSError):
                if _identity(path) == identity:
                    os.unlink(path)


def _check_directory(directory: Path) -> None:
    status = directory.stat()
    problem = ownership_problem(status, os.geteuid())
    # In a sticky directory, as /tmp is, no other user can remove or rename the socket.
    if problem is not None and not (status.st_mode & stat.S_ISVTX and status.st_uid == 0):
        raise _unavailable(str(directory), f"{problem}; choose a directory of this user")


def _remove_leftover(path: str) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise _unavailable(path, "not a socket; remove it, or choose another path")
    if (problem := ownership_problem(status, os.geteuid())) is not None:
        raise _unavailable(path, f"{problem}; choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise _unavailable(path, "another process listens there")


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _unavailable(path: str, why: str) -> HttpUnavailableError:
    return HttpUnavailableError(f"cannot listen on driver.http_socket {path}: {why}")
