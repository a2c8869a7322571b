"""Paths of region files: `<base_dir>/tensorpool-<user>/<namespace>/<stream_id>/<epoch>/` (D-110).

Paths only; nothing here touches a file, except that `Layout.of` resolves the base directory, since
announced paths are canonical (D-111).
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterable

import msgspec

from tensor_pool.protocol.shm.epoch_directories import HEADER_FILE

from ..core.configuration import Profile, ShmTable

__all__ = ["LOCK_FILE", "Layout", "deepest_existing", "user_name"]

LOCK_FILE = ".driver.lock"
LONGEST_STREAM_ID = 2**32 - 1
LONGEST_EPOCH = 2**64 - 1


def user_name(uid: int | None = None) -> str:
    """Account name of a uid (default: the effective one), made fit for a path (W-016).

    >>> user_name(4_000_000_000)
    'uid-4000000000'
    """
    if uid is None:
        uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid-{uid}"
    return path_component(name)


def path_component(name: str) -> str:
    """`name` with everything but `A-Z a-z 0-9 . _ -` replaced by `_` (W-016).

    >>> path_component("a/../b")
    'a_.._b'
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return "_" if safe in ("", ".", "..") else safe


def deepest_existing(path: str) -> str:
    """The path itself or its nearest parent that exists.

    Raises OSError where a component cannot be looked at for another reason than absence.
    """
    while True:
        try:
            os.stat(path)
        except FileNotFoundError:
            path = os.path.dirname(path) or "/"
        else:
            return path


class Layout(msgspec.Struct, frozen=True):
    """Paths below one canonical base directory."""

    base_dir: str
    user: str
    namespace: str

    @classmethod
    def of(cls, shm: ShmTable) -> Layout:
        """Layout of a configuration for the user this process acts as."""
        return cls(os.path.realpath(shm.base_dir), user_name(), shm.namespace)

    @property
    def namespace_parts(self) -> tuple[str, str]:
        """Names of the directories between the base directory and those of the streams."""
        return (f"tensorpool-{self.user}", self.namespace)

    @property
    def namespace_dir(self) -> str:
        return "/".join((self.base_dir, *self.namespace_parts))

    def stream_dir(self, stream_id: int) -> str:
        return f"{self.namespace_dir}/{stream_id}"

    def epoch_dir(self, stream_id: int, epoch: int) -> str:
        return f"{self.namespace_dir}/{stream_id}/{epoch}"

    def file_name(self, pool_id: int) -> str:
        """Name of a pool's file; pool id 0 stands for the header ring, as in its superblock."""
        return f"{pool_id}.pool" if pool_id else HEADER_FILE

    def region_path(self, stream_id: int, epoch: int, pool_id: int = 0) -> str:
        return f"{self.epoch_dir(stream_id, epoch)}/{self.file_name(pool_id)}"

    def longest_paths(self, profile: Profile) -> Iterable[str]:
        """The header's and each pool's path at the largest stream id and epoch there can be."""
        for pool_id in (0, *(pool.pool_id for pool in profile.payload_pools)):
            yield self.region_path(LONGEST_STREAM_ID, LONGEST_EPOCH, pool_id)
