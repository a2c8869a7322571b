"""The creation of region files, before any process may map them.

The order makes it safe (W-014, D-114): a new inode that no process has mapped, sized and backed by
memory before the first byte is written, the superblock with its magic last, then flushed. A file
that exists is never truncated or shrunk, since a process may have it mapped (W-223); it is
unlinked, or taken over as it is if the caller asks for that.

An error names the step at which it happened; the caller removes the files created before it.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import logging
import mmap
import os
import stat
from collections.abc import Callable

import msgspec

from ..errors import ShmError
from . import libc
from .commit_word import require_supported_platform
from .geometry import RegionGeometry
from .hugepages import huge_page_bytes, round_up_to_pages
from .mapping import Mapping
from .ownership import ownership_problem
from .safe_open import (
    AllowedBaseDirs,
    errno_name,
    open_child_directory,
    open_directory_beneath,
    require_safe_opens,
)
from .superblock import activity_of, set_activity, write_superblock
from .uri import is_uri_path

__all__ = [
    "CreateOptions",
    "CreateStep",
    "CreatedDirectory",
    "CreatedRegion",
    "RegionCreateError",
    "create_region",
    "make_directories",
]

_log = logging.getLogger(__name__)


class CreateStep(enum.StrEnum):
    """Steps at which creating an epoch can fail; the first word of the driver's texts (D-118)."""

    MKDIR = "mkdir"
    CREATE = "create"
    FALLOCATE = "fallocate"
    MLOCK = "mlock"
    FSYNC = "fsync"


class RegionCreateError(ShmError):
    """A directory or region file could not be created.

    `reason` is the text of D-118, D-111 or D-121; `step` and `error_number` are those of the
    failure (None where it was not a system call); `path` is the file or directory.
    """

    def __init__(
        self,
        reason: str,
        path: str,
        step: CreateStep | None = None,
        error_number: int | None = None,
    ) -> None:
        super().__init__(reason, path, step, error_number)
        self.reason = reason
        self.path = path
        self.step = step
        self.error_number = error_number

    @property
    def out_of_space(self) -> bool:
        """True if freeing space may help (D-113)."""
        return self.error_number in (errno.ENOSPC, errno.EDQUOT)

    def __str__(self) -> str:
        return f"{self.reason} ({self.path})"


class CreateOptions(msgspec.Struct, frozen=True):
    """The mode of region files (exact, whatever the umask), their backing, locking and reuse."""

    file_mode: int = 0o660
    prefault: bool = True
    lock_memory: bool = False
    reuse_existing: bool = False

    @property
    def directory_mode(self) -> int:
        """The file mode plus execute where read is set: 660 gives 770 (D-115)."""
        return self.file_mode | (self.file_mode & 0o444) >> 2


class CreatedDirectory(msgspec.Struct, frozen=True):
    """An open directory to create files in; the caller closes `fd`.

    `made` lists the directories that did not exist before, outermost first.
    """

    fd: int
    path: str
    made: tuple[str, ...]


def make_directories(
    base: str, parts: tuple[str, ...], *, mode: int, allowed_base_dirs: AllowedBaseDirs
) -> CreatedDirectory:
    """Make `base/part/part/...` with an exact mode, following no link below `base` (D-111, W-034).

    `base` is canonical and exists. Directories that exist keep their mode. Raises
    RegionCreateError, also for a path outside the allowed directories, one that no region URI can
    name, or a directory that another user owns or can write to (D-115); what was made before the
    failure is removed again.
    """
    require_safe_opens()
    wanted = "/".join((base, *parts))
    plain = all(part not in ("", ".", "..") and "/" not in part for part in parts)
    if not plain or allowed_base_dirs.containing(wanted) is None:
        raise _outside(wanted)
    if not is_uri_path(wanted):
        raise RegionCreateError("SHM path cannot stand in a region URI", wanted, CreateStep.MKDIR)
    made: list[str] = []
    path = base
    try:
        fd = open_directory_beneath(base, ())
    except NotADirectoryError as error:  # as mkdir below `base` reports it
        raise _failed(CreateStep.MKDIR, path, OSError(errno.EEXIST, error.strerror)) from error
    except OSError as error:
        raise _failed(CreateStep.MKDIR, path, error) from error
    try:
        for part in parts:
            path = f"{path}/{part}"
            inner, is_new = _enter_or_make(fd, part, path, mode)
            if is_new:
                made.append(path)
            os.close(fd)
            fd = inner
            if not is_new and (problem := ownership_problem(os.fstat(fd), os.geteuid())):
                raise RegionCreateError(f"SHM directory {problem}", path, CreateStep.MKDIR)
    except BaseException:
        os.close(fd)
        for directory in reversed(made):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        raise
    return CreatedDirectory(fd, path, tuple(made))


def _enter_or_make(parent: int, name: str, path: str, mode: int) -> tuple[int, bool]:
    try:
        os.mkdir(name, mode, dir_fd=parent)
        is_new = True
    except FileExistsError as error:
        is_new = False
        existing = os.lstat(name, dir_fd=parent)
        if stat.S_ISLNK(existing.st_mode):
            raise _outside(path) from error
        if not stat.S_ISDIR(existing.st_mode):
            raise _failed(CreateStep.MKDIR, path, error) from error
    except OSError as error:
        raise _failed(CreateStep.MKDIR, path, error) from error
    try:
        fd = open_child_directory(parent, name)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _outside(path) from error
        raise _failed(CreateStep.MKDIR, path, error) from error
    if is_new:
        # mkdir's mode was cut by the umask. A set-group-id directory hands its group down, as its
        # administrator intended (W-222).
        try:
            os.fchmod(fd, mode | (os.fstat(fd).st_mode & stat.S_ISGID))
        except OSError as error:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=parent)
            raise _failed(CreateStep.MKDIR, path, error) from error
    return fd, is_new


class CreatedRegion:
    """A new region that its owner keeps alive by refreshing the activity stamp.

    Only the superblock's page stays mapped, or the whole region where it is locked into memory
    (D-122). A file that another process shortens makes `lost` true instead of killing the owner.
    """

    __slots__ = ("_mapping", "geometry", "path")

    def __init__(self, geometry: RegionGeometry, path: str, mapping: Mapping) -> None:
        self.geometry = geometry
        self.path = path
        self._mapping = mapping

    @property
    def lost(self) -> bool:
        """True once the memory was found gone; stamps then have no effect."""
        return self._mapping.lost

    def activity_ns(self) -> int:
        """The activity stamp as it is now."""
        return activity_of(self._mapping.words)

    def refresh_activity(self, now_ns: int) -> None:
        """Store the activity stamp, one aligned store (W-053)."""
        set_activity(self._mapping.words, now_ns)

    def close(self) -> None:
        """Unmap; the file stays."""
        self._mapping.close()


def create_region(
    directory: CreatedDirectory,
    name: str,
    geometry: RegionGeometry,
    *,
    options: CreateOptions,
    now_ns: int,
    pid: int,
) -> CreatedRegion:
    """Create the region file `name` in an open directory and leave it ready to be mapped by others.

    On a huge page file system the length is rounded up (W-046). Raises RegionCreateError; then the
    file, unless it existed and was to be reused, is gone again.
    """
    require_supported_platform()
    path = f"{directory.path}/{name}"
    fd, is_new = _open_new_or_reused(directory, name, path, options)
    try:
        page_bytes = huge_page_bytes(fd)
        length = round_up_to_pages(geometry.length_bytes, page_bytes)
        _step(CreateStep.CREATE, path, lambda: os.fchmod(fd, options.file_mode))
        if is_new:
            # A new inode with no other descriptor: the one place where a length is set.
            _step(CreateStep.FALLOCATE, path, lambda: os.ftruncate(fd, length))
        elif os.fstat(fd).st_size < length:
            raise RegionCreateError(
                "existing SHM file smaller than expected", path, CreateStep.CREATE
            )
        # Reserved now, so that no later store meets a full file system (which is SIGBUS).
        reserved = length if options.prefault else min(length, page_bytes or mmap.PAGESIZE)
        _step(CreateStep.FALLOCATE, path, lambda: os.posix_fallocate(fd, 0, reserved))
        mapping = _fill(fd, path, length, page_bytes, geometry, options, now_ns=now_ns, pid=pid)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory.fd)
        raise
    finally:
        os.close(fd)
    return CreatedRegion(geometry, path, mapping)


def _open_new_or_reused(
    directory: CreatedDirectory, name: str, path: str, options: CreateOptions
) -> tuple[int, bool]:
    open_flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        try:
            existing = os.lstat(name, dir_fd=directory.fd)
        except FileNotFoundError:
            pass
        else:
            if not stat.S_ISREG(existing.st_mode):
                raise RegionCreateError("SHM path must be a regular file", path, CreateStep.CREATE)
            if options.reuse_existing:
                fd = os.open(name, open_flags | os.O_NONBLOCK, dir_fd=directory.fd)
                opened = os.fstat(fd)
                if problem := ownership_problem(opened, os.geteuid()):
                    os.close(fd)
                    raise RegionCreateError(f"SHM file {problem}", path, CreateStep.CREATE)
                if os.path.samestat(opened, existing):
                    return fd, False
                os.close(fd)
                raise RegionCreateError("SHM path must be a regular file", path, CreateStep.CREATE)
            os.unlink(name, dir_fd=directory.fd)
        # The mode given here is cut by the umask; fchmod sets the real one.
        fd = os.open(name, open_flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory.fd)
    except OSError as error:
        raise _failed(CreateStep.CREATE, path, error) from error
    return fd, True


def _fill(
    fd: int,
    path: str,
    length: int,
    page_bytes: int | None,
    geometry: RegionGeometry,
    options: CreateOptions,
    *,
    now_ns: int,
    pid: int,
) -> Mapping:
    """Map, prefault, lock, write the superblock, flush; return the mapping that stays."""
    superblock_page = min(length, page_bytes or mmap.PAGESIZE)
    lock = options.lock_memory and _mlock_available()
    whole = lock or options.prefault
    try:
        mapping = Mapping(fd, length if whole else superblock_page, writable=True)
    except (OSError, ValueError, OverflowError) as error:
        raise _failed(CreateStep.CREATE, path, error) from error
    try:
        if options.prefault:
            _step(CreateStep.FALLOCATE, path, mapping.populate)
        if lock:
            _step(CreateStep.MLOCK, path, mapping.lock)
        write_superblock(mapping.buffer, mapping.words, geometry, pid=pid, now_ns=now_ns)
        _step(CreateStep.FSYNC, path, lambda: os.fsync(fd))
        if whole and not lock:
            mapping.close()
            mapping = Mapping(fd, superblock_page, writable=True)
    except BaseException:
        mapping.close()
        raise
    return mapping


def _mlock_available() -> bool:
    global _warned_of_mlock
    if not libc.HAS_MLOCK and not _warned_of_mlock:
        _warned_of_mlock = True
        _log.warning("this platform has no mlock; regions stay unlocked")
    return libc.HAS_MLOCK


_warned_of_mlock = False


def _step(step: CreateStep, path: str, action: Callable[[], None]) -> None:
    try:
        action()
    except OSError as error:
        raise _failed(step, path, error) from error


def _failed(step: CreateStep, path: str, error: Exception) -> RegionCreateError:
    if isinstance(error, OSError):
        return RegionCreateError(f"{step} failed: {errno_name(error)}", path, step, error.errno)
    return RegionCreateError(f"{step} failed: {error}", path, step)


def _outside(path: str) -> RegionCreateError:
    return RegionCreateError("SHM path not within allowed_base_dirs", path, CreateStep.MKDIR)
