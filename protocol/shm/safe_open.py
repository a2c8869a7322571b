"""Opening a region file whose path another process chose (W-030 steps 1 to 10).

The path comes from a message and the directories are writable for others, so no result is used
twice: every check is made on the resolved file, and the descriptor that is opened is compared with
it. The way down from the allowed base directory is walked component by component without following
links, so that a directory swapped for a link after it was checked leads nowhere.

There is no switch that turns any of this off (W-221).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable

import msgspec

from ..errors import (
    ConfigError,
    ShmUriError,
    ShmValidationError,
    UnsupportedPlatformError,
)
from .geometry import RegionGeometry
from .hugepages import huge_page_bytes, round_up_to_pages
from .ownership import ownership_problem, uid_of_directory_name
from .uri import RegionUri, parse_region_uri

__all__ = [
    "AllowedBaseDirs",
    "FilePolicy",
    "OpenedRegion",
    "errno_name",
    "open_child_directory",
    "open_directory_beneath",
    "open_region",
    "require_safe_opens",
]


class AllowedBaseDirs(msgspec.Struct, frozen=True):
    """The directories below which regions may lie, made canonical once (W-031)."""

    directories: tuple[str, ...]

    @classmethod
    def of(cls, directories: Iterable[str] = (), *, shm_base_dir: str = "") -> AllowedBaseDirs:
        """Resolve the configured directories; `[shm_base_dir]` when there are none.

        With neither, nothing is allowed. Raises ConfigError for a directory that is not absolute or
        does not exist.
        """
        given = list(directories) or ([shm_base_dir] if shm_base_dir else [])
        return cls(tuple(_canonical_directory(directory) for directory in given))

    def containing(self, canonical_path: str) -> str | None:
        """The allowed directory that a canonical path lies strictly inside, or None."""
        for directory in self.directories:
            prefix = directory if directory.endswith("/") else directory + "/"
            if canonical_path.startswith(prefix) and canonical_path != prefix:
                return directory
        return None


def _canonical_directory(directory: str) -> str:
    if not os.path.isabs(directory):
        raise ConfigError(f"allowed base directory {directory!r} is not absolute")
    try:
        canonical = os.path.realpath(directory, strict=True)
    except OSError as error:
        raise ConfigError(
            f"allowed base directory {directory!r} cannot be resolved: {errno_name(error)}"
        ) from error
    if not os.path.isdir(canonical):
        raise ConfigError(f"allowed base directory {directory!r} is not a directory")
    return canonical


class FilePolicy(msgspec.Struct, frozen=True):
    """The owners and modes that a region file may have (W-041); permissive by default.

    `forbidden_mode` holds permission bits that must all be clear (0o002: no world write); `owners`
    and `groups` are the ids accepted, None for any.
    """

    forbidden_mode: int = 0
    owners: frozenset[int] | None = None
    groups: frozenset[int] | None = None


class OpenedRegion(msgspec.Struct, frozen=True):
    """An open descriptor that passed steps 1 to 10; the caller closes it."""

    fd: int
    path: str
    map_bytes: int
    """Length to map: the region's, rounded up to whole huge pages where it lies on such."""


def open_region(
    uri: str,
    region: RegionGeometry,
    *,
    allowed_base_dirs: AllowedBaseDirs,
    writable: bool,
    require_hugepages: bool = False,
    policy: FilePolicy | None = None,
) -> OpenedRegion:
    """Carry out steps 1 to 10 of W-030 for one region.

    Raises ShmUriError for step 1, ShmValidationError naming the step for the others, and
    UnsupportedPlatformError where links cannot be refused (W-032).
    """
    require_safe_opens()
    try:
        parsed = parse_region_uri(uri)
    except ShmUriError as error:
        raise ShmUriError(f"{region.name}: {error}") from None
    check = _Check(region.name, parsed.path)
    canonical, base = _resolve(parsed, allowed_base_dirs, check)
    before = check.call(6, "a file", lambda: os.lstat(canonical))
    check.require(6, stat.S_ISREG(before.st_mode), _kind(before), "a regular file")
    # O_NONBLOCK: a FIFO put in the place of the file must not hang the open.
    access = os.O_RDWR if writable else os.O_RDONLY
    flags = access | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    fd = check.call(7, "a file that opens", lambda: _open_beneath(base, canonical, flags, check))
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(os.close, fd)
        opened = check.call(8, "an open file", lambda: os.fstat(fd))
        check.require(8, stat.S_ISREG(opened.st_mode), _kind(opened), "a regular file")
        check.require(
            8,
            (opened.st_dev, opened.st_ino) == (before.st_dev, before.st_ino),
            f"device {opened.st_dev} inode {opened.st_ino}",
            f"device {before.st_dev} inode {before.st_ino} as before the open",
        )
        _apply_policy(opened, policy or FilePolicy(), check)
        check.require(
            9,
            opened.st_size >= region.length_bytes,
            f"{opened.st_size} bytes",
            f"at least {region.length_bytes}",
        )
        page_bytes = huge_page_bytes(fd)
        check.require(
            10,
            page_bytes is not None or not (require_hugepages or parsed.require_hugepages),
            "not on a huge page file system",
            "hugetlbfs, since huge pages are required",
        )
        on_failure.pop_all()
    return OpenedRegion(fd, canonical, round_up_to_pages(region.length_bytes, page_bytes))


def require_safe_opens() -> None:
    """Raise UnsupportedPlatformError where opens cannot refuse links or walk by directory
    (W-032)."""
    if not getattr(os, "O_NOFOLLOW", 0) or os.open not in os.supports_dir_fd:
        raise UnsupportedPlatformError(
            "this platform cannot open files without following links;"
            " shared memory regions are refused on it"
        )


_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_directory_beneath(base: str, parts: Iterable[str]) -> int:
    """Open the directory `base/part/part/...` without following a link below `base`.

    Returns a descriptor for use as `dir_fd`; raises OSError (ELOOP or ENOTDIR at a link).
    """
    fd = os.open(base, _DIRECTORY_FLAGS)
    for part in parts:
        try:
            inner = open_child_directory(fd, part)
        finally:
            os.close(fd)
        fd = inner
    return fd


def open_child_directory(parent_fd: int, name: str) -> int:
    """Open a directory inside another one; raises OSError, also if it is a link."""
    return os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=parent_fd)


def _open_beneath(base: str, canonical: str, flags: int, check: _Check) -> int:
    """Open a file, if it and every directory below `base` belong to one user (D-115).

    The first directory, `tensorpool-<user>`, names that user.
    """
    *parents, name = canonical[len(base) :].strip("/").split("/")
    owner = uid_of_directory_name(parents[0]) if parents else None
    path = base.rstrip("/")
    directory = os.open(base, _DIRECTORY_FLAGS)
    try:
        for part in parents:
            inner = open_child_directory(directory, part)
            os.close(directory)
            directory = inner
            path = f"{path}/{part}"
            status = os.fstat(directory)
            owner = status.st_uid if owner is None else owner
            check.owned(f"the directory {path}", status, owner)
        file = os.open(name, flags, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        status = os.fstat(file)
        check.owned("the file", status, status.st_uid if owner is None else owner)
    except BaseException:
        os.close(file)
        raise
    return file


class _Check:
    """Words the refusal of one region."""

    def __init__(self, region: str, path: str) -> None:
        self._region = region
        self._path = path

    def require(self, step: int, condition: bool, seen: str, wanted: str) -> None:
        if not condition:
            raise ShmValidationError(self._region, self._path, step, seen, wanted)

    def owned(self, what: str, status: os.stat_result, owner: int) -> None:
        problem = ownership_problem(status, owner)
        if problem is not None:
            wanted = "memory that only its driver's user and group can write to"
            raise ShmValidationError(self._region, self._path, 8, f"{what}: {problem}", wanted)

    def call[T](self, step: int, wanted: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except (OSError, ValueError) as error:
            seen = errno_name(error) if isinstance(error, OSError) else "an impossible path"
            raise ShmValidationError(self._region, self._path, step, seen, wanted) from error


def _resolve(uri: RegionUri, allowed: AllowedBaseDirs, check: _Check) -> tuple[str, str]:
    path = uri.path
    check.require(2, os.path.isabs(path), "a relative path", "an absolute path")
    announced = check.call(4, "an existing file", lambda: os.lstat(path))
    check.require(3, not stat.S_ISLNK(announced.st_mode), "a symbolic link", "a file")
    canonical = check.call(4, "a path that resolves", lambda: os.path.realpath(path, strict=True))
    base = allowed.containing(canonical)
    allowed_text = " or ".join(allowed.directories) or "an allowed base directory; there is none"
    check.require(5, base is not None, f"resolves to {canonical}", f"inside {allowed_text}")
    return canonical, base or ""


def _apply_policy(status: os.stat_result, policy: FilePolicy, check: _Check) -> None:
    mode = stat.S_IMODE(status.st_mode)
    check.require(
        8,
        mode & policy.forbidden_mode == 0,
        f"mode {mode:04o}",
        f"none of the permission bits {policy.forbidden_mode:04o}",
    )
    for what, number, accepted in (
        ("owner", status.st_uid, policy.owners),
        ("group", status.st_gid, policy.groups),
    ):
        if accepted is not None:
            wanted = f"{what} " + " or ".join(map(str, sorted(accepted)))
            check.require(8, number in accepted, f"{what} {number}", wanted)


def _kind(status: os.stat_result) -> str:
    mode = status.st_mode
    for test, name in (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return name
    return "a regular file" if stat.S_ISREG(mode) else f"file type {stat.S_IFMT(mode):o}"


def errno_name(error: OSError) -> str:
    """`ENOENT` and the like; the number where it has no name."""
    return errno.errorcode.get(error.errno or 0, f"errno {error.errno}")
