"""The reasons behind errors of the transport, and what to do about them."""

from __future__ import annotations

import os
import stat

from ..shm.ownership import described_user, ownership_problem

__all__ = ["foreign_default", "no_media_driver", "storage_remedy"]

_CNC_FILE = "cnc.dat"
_FULL = ("usable storage", "No space left", "ENOSPC", "nsufficient")
_OPEN_FILES = ("Too many open files", "EMFILE", "ENFILE")


def no_media_driver(directory: str) -> str:
    """Return why no media driver can be used in a directory: no permission, or none runs."""
    for path in (directory, os.path.join(directory, _CNC_FILE)):
        try:
            status = os.stat(path)
        except FileNotFoundError:
            break
        except OSError:
            return _no_permission(directory, os.path.dirname(path), None)
        wanted = os.R_OK | (os.X_OK if stat.S_ISDIR(status.st_mode) else os.W_OK)
        if not os.access(path, wanted, effective_ids=True):
            return _no_permission(directory, path, status)
    return (
        f"no media driver is running in {directory}; start the tensor-pool driver (or a "
        "media driver) with that directory, or name the directory of the one running "
        "(aeron_dir=...; clients do not read AERON_DIR)"
    )


def foreign_default(directory: str) -> str | None:
    """Return why this user's default Aeron directory cannot be trusted, or None.

    Its name is known to all, so another user could make it first and read every message. The user
    of a directory that the configuration names has chosen to share it.
    """
    try:
        status = os.lstat(directory)
    except OSError:
        return None
    if stat.S_ISLNK(status.st_mode):
        problem: str | None = "a symbolic link"
    else:
        problem = ownership_problem(status, os.geteuid())
    if problem is None:
        return None
    return (
        f"{directory} is {problem}: not used as this user's default Aeron directory. Remove it, or"
        " name another one (aeron_dir=..., driver.aeron_dir)"
    )


def _no_permission(directory: str, path: str, status: os.stat_result | None) -> str:
    owner = ""
    if status is not None:
        mode = stat.S_IMODE(status.st_mode)
        owner = f", which belongs to {described_user(status.st_uid)} and has mode {mode:04o}"
    return (
        f"no permission to use the media driver in {directory}: this process runs as"
        f" {described_user(os.geteuid())} and needs to read and write {path}{owner}. Run it as that"
        " user, or put both users into one group and start the media driver with that group and"
        " umask 007"
    )


def storage_remedy(error: str, directory: str) -> str:
    """Return what to do about a full file system or a limit of open files that Aeron reports."""
    if any(sign in error for sign in _OPEN_FILES):
        return "; raise the limit of open files (ulimit -n, LimitNOFILE= in a systemd unit)"
    if not any(sign in error for sign in _FULL):
        return ""
    try:
        status = os.statvfs(directory if os.path.isdir(directory) else os.path.dirname(directory))
    except OSError:
        return ""
    free_mib, size_mib = (
        blocks * status.f_frsize >> 20 for blocks in (status.f_bavail, status.f_blocks)
    )
    return (
        f"; the file system of {directory} has {free_mib} of {size_mib} MiB free: remove files, or"
        " enlarge it (docker run --shm-size=512m)"
    )
