"""Everything of the demo that is on disk: one directory in shared memory, removed at the end.

It holds the source frames, the configuration of the driver, its region files and the directory of
its media driver, so nothing of it can meet another demo, a test or a real driver.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import numpy as np

from tensor_pool.protocol.file_lock import try_lock
from tensor_pool.protocol.shm.geometry import stride_for

from ..media.files import InputError
from .protocol import Manifest, SourceFrame, content_digest
from .sources import Pictures

__all__ = [
    "ANNOUNCE_PERIOD_S",
    "EXPIRY_S",
    "KEEPALIVE_INTERVAL_S",
    "STREAM_ID",
    "Stage",
    "driver_configuration",
    "write_source",
]

STREAM_ID = 10000
ANNOUNCE_PERIOD_S = 0.5
KEEPALIVE_INTERVAL_S = 0.25  # expiry is checked as often
_GRACE_INTERVALS = 6
EXPIRY_S = KEEPALIVE_INTERVAL_S * _GRACE_INTERVALS
"""Seconds from the last keepalive of a lease to its expiry."""

_SHARED_MEMORY = Path("/dev/shm")
_PREFIX = "tensorpool-demo-"
_SOURCE = "source"
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_EPOCH_BYTES = 256 * 1024 * 1024  # at most for one epoch
_EPOCHS_AT_ONCE = 3  # current, and retired ones not yet collected
_MAX_SLOTS = 64
_MIN_SLOTS = 8


class Stage:
    """The directory `/dev/shm/tensorpool-demo-…`; `clear()` removes it.

    A lock on its source folder ends with this process. Directories of killed demos have no lock.
    """

    def __init__(self) -> None:
        self.root = _SHARED_MEMORY / f"{_PREFIX}{os.getpid()}-{os.urandom(3).hex()}"
        self._lock = -1
        self.base_dir = self.root / "regions"
        self.aeron_dir = self.root / "aeron"
        self.source_folder = self.root / _SOURCE
        self.config_file = self.root / "driver.toml"

    def set_up(self, pictures: Pictures) -> Manifest:
        """Write the source and the driver's configuration; InputError when there is no room."""
        strides = sorted({stride_for(picture.array.nbytes) for picture in pictures.pictures})
        slots = _slots(strides, sum(picture.array.nbytes for picture in pictures.pictures))
        _sweep_abandoned()
        self.root.mkdir(mode=0o700)
        self.base_dir.mkdir()
        self.source_folder.mkdir()
        self._lock = os.open(self.source_folder, _OPEN_FOLDER)
        try_lock(self._lock)
        self.config_file.write_text(
            driver_configuration("demo", self.aeron_dir, self.base_dir, strides, slots)
        )
        return write_source(self.source_folder, pictures)

    def clear(self) -> None:
        """Remove everything; may be called again."""
        shutil.rmtree(self.root, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def write_source(folder: Path, pictures: Pictures) -> Manifest:
    """Write the frames and the list of their digests for the workers."""
    frames = []
    for number, picture in enumerate(pictures.pictures):
        file = f"{number:06d}.npy"
        np.save(folder / file, picture.array)
        frames.append(
            SourceFrame(
                file=file,
                shape=picture.array.shape,
                dtype=picture.array.dtype.str,
                nbytes=picture.array.nbytes,
                digest=content_digest(picture.array),
            )
        )
    manifest = Manifest(tuple(frames))
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return manifest


def driver_configuration(
    instance: str, aeron_dir: Path, base_dir: Path, strides: list[int], slots: int
) -> str:
    """Return the TOML document of a driver for the one stream of a demo."""
    pools = "\n".join(
        f"[[profiles.demo.payload_pools]]\npool_id = {number}\nstride_bytes = {stride}\n"
        for number, stride in enumerate(strides, 1)
    )
    return f"""\
[driver]
instance_id = "{instance}"
aeron_dir = "{aeron_dir}"
media_driver = "embedded"
http_address = "auto"

[shm]
base_dir = "{base_dir}"

[policies]
announce_period_ms = {round(ANNOUNCE_PERIOD_S * 1000)}
lease_keepalive_interval_ms = {round(KEEPALIVE_INTERVAL_S * 1000)}
lease_expiry_grace_intervals = {_GRACE_INTERVALS}
shutdown_timeout_ms = 500
cleanup_shm_on_exit = true
prefault_shm = false
provision_on_startup = true

[profiles.demo]
header_nslots = {slots}

{pools}
[streams.demo]
stream_id = {STREAM_ID}
profile = "demo"
"""


def _sweep_abandoned() -> None:
    """Remove the directories of demos that were killed: their lock is free."""
    for root in _SHARED_MEMORY.glob(f"{_PREFIX}*"):
        try:
            lock = os.open(root / _SOURCE, _OPEN_FOLDER)
        except OSError:
            continue
        try:
            if try_lock(lock):
                shutil.rmtree(root, ignore_errors=True)
        finally:
            os.close(lock)


def _slots(strides: list[int], source_bytes: int) -> int:
    """Slots of the ring: up to 64, as far as memory allows."""
    status = os.statvfs(_SHARED_MEMORY)
    free = status.f_bavail * status.f_frsize - source_bytes
    slots = _MAX_SLOTS
    while slots > _MIN_SLOTS and slots * sum(strides) > min(_EPOCH_BYTES, free // _EPOCHS_AT_ONCE):
        slots //= 2
    needed = _EPOCHS_AT_ONCE * slots * sum(strides)
    if needed > free:
        raise InputError(
            f"frames of up to {strides[-1] >> 20} MiB need {needed >> 20} MiB of {_SHARED_MEMORY}, "
            f"and {max(0, free) >> 20} MiB are free"
        )
    return slots
