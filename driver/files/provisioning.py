"""Creating the region files of one epoch, all or nothing (D-110 to D-121, W-014, W-034)."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from tensor_pool.protocol.shm.create import (
    CreatedRegion,
    CreateOptions,
    RegionCreateError,
    create_region,
    make_directories,
)
from tensor_pool.protocol.shm.geometry import RegionGeometry
from tensor_pool.protocol.shm.hugepages import round_up_to_pages
from tensor_pool.protocol.shm.safe_open import AllowedBaseDirs, errno_name
from tensor_pool.protocol.wire import RegionType

from ..config.layout import Layout
from ..core.configuration import DriverConfig, Profile
from ..core.ports import ProvisionError, ProvisionFailure

__all__ = ["EpochBuilder", "epoch_bytes", "hint_for"]

_REMEDIES = {
    errno.EMFILE: "too many open files: raise the limit (ulimit -n, LimitNOFILE= in the unit)",
    errno.ENFILE: "too many open files on this machine: raise fs.file-max",
    errno.EACCES: "no permission: give the directory to the driver's user",
    errno.EPERM: "no permission: give the directory to the driver's user",
    errno.EEXIST: "remove what stands in its place",
    errno.ENOSPC: "remove files or enlarge the file system (docker run --shm-size)",
    errno.EROFS: "the file system is read-only",
}


def hint_for(error_number: int | None, path: str) -> str:
    """Return the path and the remedy of an obstacle, for the log."""
    remedy = _REMEDIES.get(error_number or 0, "free the obstacle")
    return f"{path}: {remedy}; the stream is as before"


def epoch_bytes(profile: Profile, huge_page_bytes: int | None) -> int:
    """Length of all files of an epoch together (D-112)."""
    return sum(
        round_up_to_pages(region.length_bytes, huge_page_bytes)
        for region in _geometries(0, profile, 0)
    )


def _geometries(stream_id: int, profile: Profile, epoch: int) -> Iterator[RegionGeometry]:
    """Header ring first, then the pools in profile order."""
    yield RegionGeometry(stream_id, epoch, profile.header_nslots)
    for pool in profile.payload_pools:
        yield RegionGeometry(
            stream_id,
            epoch,
            profile.header_nslots,
            pool_id=pool.pool_id,
            stride_bytes=pool.stride_bytes,
            region_type=RegionType.PAYLOAD_POOL,
        )


class EpochBuilder:
    """Makes epochs by one set of policies below one layout."""

    def __init__(self, config: DriverConfig, layout: Layout, allowed: AllowedBaseDirs) -> None:
        self._layout = layout
        self._allowed = allowed
        self._directory_mode = config.shm.directory_mode
        self._options = CreateOptions(
            file_mode=config.shm.file_mode,
            prefault=config.policies.prefault_shm,
            lock_memory=config.policies.mlock_shm,
            reuse_existing=config.policies.reuse_existing_shm,
        )

    def build(
        self, stream_id: int, profile: Profile, epoch: int, *, now: int, needed_bytes: int
    ) -> list[CreatedRegion]:
        """Create one epoch and return its regions: header ring first, pools in order.

        Raises ProvisionError with the texts of D-118, leaving no file, directory, descriptor or
        mapping behind.
        """
        try:
            with contextlib.ExitStack() as undo:
                return self._build(stream_id, profile, epoch, now, undo)
        except RegionCreateError as error:
            kind = ProvisionFailure.SPACE if error.out_of_space else ProvisionFailure.OTHER
            raise ProvisionError(
                kind,
                error.reason,
                needed_bytes=needed_bytes,
                hint=hint_for(error.error_number, error.path),
            ) from error
        except OSError as error:
            out_of_space = error.errno in (errno.ENOSPC, errno.EDQUOT)
            kind = ProvisionFailure.SPACE if out_of_space else ProvisionFailure.OTHER
            text = f"fsync failed: {errno_name(error)}"
            raise ProvisionError(kind, text, needed_bytes=needed_bytes) from error

    def _build(
        self, stream_id: int, profile: Profile, epoch: int, now: int, undo: contextlib.ExitStack
    ) -> list[CreatedRegion]:
        layout = self._layout
        directory = make_directories(
            layout.base_dir,
            (*layout.namespace_parts, str(stream_id), str(epoch)),
            mode=self._directory_mode,
            allowed_base_dirs=self._allowed,
        )
        undo.callback(_remove_directories, directory.made)
        undo.callback(os.close, directory.fd)
        regions: list[CreatedRegion] = []
        for geometry in _geometries(stream_id, profile, epoch):
            name = layout.file_name(geometry.pool_id)
            existed = self._options.reuse_existing and os.path.lexists(f"{directory.path}/{name}")
            region = create_region(
                directory, name, geometry, options=self._options, now_ns=now, pid=os.getpid()
            )
            if not existed:
                undo.callback(_remove_file, directory.fd, name)
            undo.callback(region.close)
            regions.append(region)
        os.fsync(directory.fd)
        undo.pop_all()
        os.close(directory.fd)
        return regions


def _remove_file(directory: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=directory)


def _remove_directories(made: tuple[str, ...]) -> None:
    for path in reversed(made):
        with contextlib.suppress(OSError):
            os.rmdir(path)
