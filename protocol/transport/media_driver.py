"""The Aeron media driver: use the one that runs, or embed one.

pyaeron can run Aeron's C media driver inside a process. Left to its defaults it deletes the
directory of a media driver that is alive, even when it then refuses to start; so this module asks
first, never lets it delete anything, and removes a directory itself when it is its own or its owner
is dead.

The embedded driver has threads of its own, outside the interpreter, and ends with its process. When
transport has to outlive a daemon, run a media driver of its own (`MediaDriverProcess`, or Aeron's
`aeronmd`) and name its directory.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pyaeron

from ..errors import TransportError
from ..file_lock import try_lock
from .forked import FORKED, abandon_in_forked_children, never_finalize

__all__ = [
    "MEDIA_DRIVER_MODES",
    "EmbeddedMediaDriver",
    "ExternalMediaDriver",
    "MediaDriverActiveError",
    "MediaDriverProcess",
    "default_aeron_dir",
    "is_media_driver_active",
    "open_media_driver",
    "unique_aeron_dir",
]

MEDIA_DRIVER_MODES = ("auto", "embedded", "external")

_HEARTBEAT_TIMEOUT_MS = 10_000  # Aeron's default liveness timeout
_MISSED_HEARTBEATS_MS = 2_000  # a live media driver stamps its heartbeat several times a second
_LOCK_TIMEOUT_S = 15.0
_CNC_FILE = "cnc.dat"
_CNC_PID = struct.Struct("<q")
_CNC_PID_OFFSET = 40
_READY = "media driver ready"
_TIMER_INTERVAL = "20ms"
"""Time between two looks at subscribers that do not read (W-008); Aeron's default is 1 s."""

_AERON_ENTRIES = {_CNC_FILE, "loss-report.dat", "publications", "images"}


def default_aeron_dir() -> str:
    """The Aeron library's default directory for this user."""
    return str(pyaeron.default_path())


def unique_aeron_dir(label: str = "tensorpool") -> str:
    """A directory name in shared memory that nobody else uses; nothing is created."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
    return f"{base}/aeron-{getpass.getuser()}-{label}-{os.getpid()}-{os.urandom(4).hex()}"


def is_media_driver_active(directory: str) -> bool:
    """Whether a media driver is alive in `directory`.

    A killed one leaves a heartbeat that looks fresh to Aeron for 10 s. When the process that wrote
    it does not exist any more, this waits, at most about 2 s, until heartbeats are seen to be
    missing.
    """
    if not pyaeron.is_driver_active(directory, _HEARTBEAT_TIMEOUT_MS):
        return False
    if _process_of(directory) is None:
        # Not conclusive alone: it may live in another pid namespace and share only the memory.
        deadline = time.monotonic() + 1.25 * _MISSED_HEARTBEATS_MS / 1000
        while time.monotonic() < deadline:
            if not pyaeron.is_driver_active(directory, _MISSED_HEARTBEATS_MS):
                return False
            time.sleep(0.05)
    return True


def open_media_driver(
    aeron_dir: str | None = None, mode: str = "auto"
) -> EmbeddedMediaDriver | ExternalMediaDriver:
    """The media driver of `aeron_dir` (None or "": Aeron's default directory).

    `auto` uses one that is active there, else embeds one; `embedded` insists on embedding,
    `external` on an active one. Raises TransportError with what to do when that cannot be.
    """
    if mode not in MEDIA_DRIVER_MODES:
        raise ValueError(f"mode must be auto, embedded or external, not {mode!r}")
    directory = aeron_dir or default_aeron_dir()
    if mode == "embedded":
        return EmbeddedMediaDriver(directory)
    if is_media_driver_active(directory):
        return ExternalMediaDriver(directory)
    if mode == "external":
        raise TransportError(
            f"no media driver is active in {directory}; start one there, or set media_driver to "
            "auto or embedded"
        )
    try:
        return EmbeddedMediaDriver(directory)
    except MediaDriverActiveError:  # another process was quicker
        return ExternalMediaDriver(directory)


class MediaDriverActiveError(TransportError):
    """A media driver was not embedded because one is active in its directory already."""


class ExternalMediaDriver:
    """Somebody else's media driver: used, never stopped."""

    is_embedded = False

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def close(self) -> None:
        """Nothing: it is not ours."""


class EmbeddedMediaDriver:
    """A media driver in this process, which owns its directory and removes it when closed.

    Raises TransportError when a media driver is active there, when the directory holds anything
    that is not Aeron's, or when it cannot be made. What a dead media driver left is removed first.
    `threading_mode` is Aeron's word for its threads, such as `shared` or `dedicated`; empty: its
    default.
    """

    is_embedded = True

    def __init__(self, directory: str, threading_mode: str = "") -> None:
        self.directory = directory
        parent = Path(directory).parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with _locked(parent):
                if is_media_driver_active(directory):
                    raise MediaDriverActiveError(
                        f"a media driver is already active in {directory}; set media_driver to "
                        "auto or external to use it, or choose another aeron_dir"
                    )
                _remove_leftovers(directory)
                with _environment_default("AERON_TIMER_INTERVAL", _TIMER_INTERVAL):
                    self._raw: Any = pyaeron.MediaDriver(
                        dir=directory,
                        dir_delete_on_start=False,
                        dir_delete_on_shutdown=False,
                        **({"threading": threading_mode} if threading_mode else {}),
                    )
            self._identity = _identity(directory)
        except (OSError, pyaeron.AeronError) as error:
            text = " ".join(str(error).split())
            raise TransportError(f"cannot start a media driver in {directory}: {text}") from error
        self._closed = False
        abandon_in_forked_children(self)

    def close(self) -> None:
        """Stop it and remove its directory; clients still connected lose their transport."""
        if self._closed:
            return
        self._closed = True
        self._raw.close()
        # Unless somebody has put another directory there meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if _identity(self.directory) == self._identity:
                shutil.rmtree(self.directory)

    def _abandon(self) -> None:
        never_finalize(self._raw)
        self._raw = FORKED
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class MediaDriverProcess:
    """A media driver in a child process, which ends when it is closed or this process ends.

    For tests, and for applications whose transport should outlive the daemon.
    """

    def __init__(self, directory: str | None = None) -> None:
        self.directory = directory or unique_aeron_dir()
        # The child stops when its standard input ends, so also when this process is killed.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, self.directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if said != _READY:
            self._process.communicate()
            raise TransportError(said or f"no media driver started in {self.directory}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it as a crash would: the directory stays, clients are not told."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Stop it; its directory is gone afterwards, also if it had been killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=5)
        if self._process.poll() is None:
            self.kill()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


@contextlib.contextmanager
def _environment_default(name: str, value: str) -> Iterator[None]:
    """Set an environment variable that is not set, for as long as the block runs."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


@contextlib.contextmanager
def _locked(parent: Path) -> Iterator[None]:
    """Only one process at a time looks for a media driver below `parent` and starts one.

    The lock is on the directory itself, so it leaves no file.
    """
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while not try_lock(descriptor):
            if time.monotonic() > deadline:
                raise TransportError(
                    f"another process has held the lock on {parent} for {_LOCK_TIMEOUT_S} s"
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _process_of(directory: str) -> int | None:
    """The live process that runs the media driver of `directory`, as far as can be seen."""
    try:
        with open(os.path.join(directory, _CNC_FILE), "rb") as file:
            file.seek(_CNC_PID_OFFSET)
            (pid,) = _CNC_PID.unpack(file.read(_CNC_PID.size))
        os.kill(pid, 0)
    except PermissionError:
        return int(pid)
    except (OSError, struct.error, OverflowError):
        return None
    return int(pid)


def _remove_leftovers(directory: str) -> None:
    """Remove what a dead media driver left, and nothing that could be anything else."""
    path = Path(directory)
    if not path.is_symlink() and not path.exists():
        return
    if path.is_symlink() or not path.is_dir():
        raise TransportError(f"{directory} is not a directory; choose another aeron_dir")
    foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in _AERON_ENTRIES)
    if foreign:
        raise TransportError(
            f"{directory} holds {', '.join(foreign[:3])}, which is not Aeron's, and is left alone; "
            "choose another aeron_dir or empty it"
        )
    shutil.rmtree(path)


def _identity(directory: str) -> tuple[int, int]:
    status = os.lstat(directory)
    return status.st_dev, status.st_ino


def _run(directory: str) -> int:
    """Body of a MediaDriverProcess's child."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    def on_end_of_input() -> None:
        sys.stdin.read()
        stop.set()

    # An interrupt from the terminal reaches the whole group; the owner decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, on_signal)
    try:
        driver = EmbeddedMediaDriver(directory)
    except TransportError as error:
        print(error, flush=True)
        return 1
    with driver:
        print(_READY, flush=True)
        threading.Thread(target=on_end_of_input, daemon=True).start()
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1]))
