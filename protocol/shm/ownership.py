"""The owners and modes of shared memory that a process may trust (D-115, W-041).

A region, and every directory between it and the base directory, belongs to the driver's user or to
root, and no other user can write to it. Anything else could be replaced by a neighbour.
"""

from __future__ import annotations

import os
import pwd
import stat

__all__ = ["ROOT", "described_user", "ownership_problem", "uid_of_directory_name"]

ROOT = 0
_WORLD_WRITE = 0o002
_PREFIX = "tensorpool-"


def described_user(uid: int) -> str:
    """Return `name (uid n)`, or `uid n` for a user without an account."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def uid_of_directory_name(name: str) -> int | None:
    """Return the uid whose directory `tensorpool-<user>` is; None where the name has no account.

    >>> uid_of_directory_name("tensorpool-uid-5002")
    5002
    """
    if not name.startswith(_PREFIX):
        return None
    user = name.removeprefix(_PREFIX)
    if user.startswith("uid-") and user[4:].isdigit():
        return int(user[4:])
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def ownership_problem(status: os.stat_result, owner: int) -> str | None:
    """Return the reason for which another user could replace a file or directory, or None.

    `owner` is the uid that it must belong to; root may own it as well.
    """
    if status.st_uid not in (owner, ROOT):
        return f"owned by {described_user(status.st_uid)}, not by {described_user(owner)}"
    if status.st_mode & _WORLD_WRITE:
        return f"mode {stat.S_IMODE(status.st_mode):04o}, so that every user can write to it"
    return None
