"""The user whose process opened a connection on the loopback interface.

Regions are files with an owner. The page must not show their contents to a user who could not open
them, and the loopback interface asks no client for a name; but the kernel has the owner.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

__all__ = ["is_same_user"]

_TABLES = {socket.AF_INET: Path("/proc/net/tcp"), socket.AF_INET6: Path("/proc/net/tcp6")}


def is_same_user(client: tuple[str, int] | None, server: tuple[str, int | None] | None) -> bool:
    """Return whether the process at `client` belongs to this process's user, or to root.

    Both are host and port of an established TCP connection to this process. A server without a port
    is a Unix socket, which no other user can connect to. False if the owner cannot be found out.
    """
    if server is not None and server[1] is None:
        return client is None and server[0].startswith("/")
    if client is None or server is None or server[1] is None:
        return False
    try:
        uid = _uid_of(client, (server[0], server[1]))
    except (OSError, ValueError):
        return False
    return uid is not None and uid in (0, os.geteuid())


def _uid_of(local: tuple[str, int], remote: tuple[str, int]) -> int | None:
    """Owner of the socket at `local` that is connected to `remote`."""
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    wanted = [_as_in_table(local, family), _as_in_table(remote, family)]
    for row in _TABLES[family].read_text().splitlines()[1:]:
        columns = row.split()
        if columns[1:3] == wanted:
            return int(columns[7])
    return None


def _as_in_table(address: tuple[str, int], family: socket.AddressFamily) -> str:
    """An address as the kernel prints it: words of four bytes in the machine's order.

    >>> _as_in_table(("127.0.0.1", 80), socket.AF_INET)
    '0100007F:0050'
    """
    packed = socket.inet_pton(family, address[0])
    words = [packed[i : i + 4] for i in range(0, len(packed), 4)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return f"{b''.join(words).hex().upper()}:{address[1]:04X}"
