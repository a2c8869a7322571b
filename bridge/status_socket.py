"""The status of every bridge of a host, without a port or a file to configure.

A bridge listens on a Unix socket whose name is in Linux's abstract namespace: it belongs to the
network namespace, it ends with its process, and nothing is left on disk. A connection gets the
status as JSON. Only the bridge's own user and root are answered.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from .reporting import Reporter
from .status import BridgeStatus

__all__ = ["bridges_here", "serve_status"]

_PREFIX: Final = "tensorpool-bridge-"
_SOCKETS = Path("/proc/net/unix")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_TIMEOUT_S = 3.0
_LONGEST_BYTES = 16 << 20


@contextlib.contextmanager
def serve_status(reporter: Reporter) -> Iterator[None]:
    """Answer until the block ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"\0{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}")
        listener.listen(8)
        thread = threading.Thread(
            target=_serve, args=(listener, reporter), name="bridge-status", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
            thread.join(_TIMEOUT_S)


def bridges_here() -> list[BridgeStatus]:
    """Return the status of each bridge on this host that answers this user, by instance id."""
    found = []
    for name in _names():
        try:
            found.append(_ask(name))
        except (OSError, msgspec.MsgspecError):
            continue  # it has ended meanwhile, or belongs to another user
    return sorted(found, key=lambda status: (status.instance_id, status.pid))


def _names() -> list[str]:
    words = (line.split() for line in _SOCKETS.read_text().splitlines())
    listening = (w[7] for w in words if len(w) > 7 and w[3] == "00010000")
    return sorted({n[1:] for n in listening if n.startswith(f"@{_PREFIX}")})


def _ask(name: str) -> BridgeStatus:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(f"\0{name}")
        if _peer_uid(connection) not in (0, os.geteuid()):
            raise PermissionError(f"{name} belongs to another user")
        parts: list[bytes] = []
        while (part := connection.recv(1 << 16)) and sum(map(len, parts)) < _LONGEST_BYTES:
            parts.append(part)
    return msgspec.json.decode(b"".join(parts), type=BridgeStatus)


def _serve(listener: socket.socket, reporter: Reporter) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # closed
        with connection, contextlib.suppress(OSError, TimeoutError):
            connection.settimeout(_TIMEOUT_S)
            if _peer_uid(connection) in (0, os.geteuid()):
                connection.sendall(msgspec.json.encode(reporter.status()))


def _peer_uid(connection: socket.socket) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(raw)[1]
    return uid
