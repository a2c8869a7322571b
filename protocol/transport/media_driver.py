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
import errno
import getpass
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pyaeron

from ..errors import TransportError
from ..file_lock import try_lock
from ..shm.ownership import ownership_problem
from .forked import FORKED, abandon_in_forked_children, never_finalize
from .remedies import foreign_default, no_media_driver, storage_remedy

__all__ = [
    "MEDIA_DRIVER_MODES",
    "EmbeddedMediaDriver",
    "ExternalMediaDriver",
    "MediaDriverActiveError",
    "MediaDriverProcess",
    "default_aeron_dir",
    "is_media_driver_active",
    "open_media_driver",
    "remove_abandoned",
    "unique_aeron_dir",
    "unique_prefix",
]

MEDIA_DRIVER_MODES = ("auto", "embedded", "external")

_HEARTBEAT_TIMEOUT_MS = 10_000  # Aeron's default liveness timeout
_MISSED_HEARTBEATS_MS = 2_000  # a live media driver stamps its heartbeat several times a second
_LOCK_TIMEOUT_S = 15.0
_CNC_FILE = "cnc.dat"
_CNC_START_AND_PID = struct.Struct("<qq")  # wall clock in ms, process id
_CNC_START_OFFSET = 32
_CLOCK_SLACK_S = 5.0
_READY = "media driver ready"
_TIMER_INTERVAL = "20ms"
"""Time between two looks at subscribers that do not read (W-008); Aeron's default is 1 s."""

_SETTINGS = {
    "AERON_TIMER_INTERVAL": _TIMER_INTERVAL,
    # Sparse log buffers find out by SIGBUS that the file system is full, in whatever process stores
    # first. Allocated ones make their creation fail instead.
    "AERON_TERM_BUFFER_SPARSE_FILE": "false",
    "AERON_PERFORM_STORAGE_CHECKS": "true",
}
"""Aeron's settings for an embedded media driver; one in the environment wins."""

_AERON_ENTRIES = {_CNC_FILE, "loss-report.dat", "publications", "images"}


def default_aeron_dir() -> str:
    """The Aeron library's default directory for this user."""
    return str(pyaeron.default_path())


def unique_aeron_dir(label: str = "tensorpool") -> str:
    """Return a directory name in shared memory that is not in use; nothing is created."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
    return f"{base}/{unique_prefix(label)}{os.getpid()}-{os.urandom(4).hex()}"


def unique_prefix(label: str) -> str:
    """Return the beginning of this user's names from `unique_aeron_dir`.

    A container's user may have no account; its number takes the place of a name.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid-{os.getuid()}"
    return f"aeron-{user}-{label}-"


def is_media_driver_active(directory: str) -> bool:
    """Return whether a media driver is alive in `directory`.

    A killed one leaves a heartbeat that looks fresh to Aeron for 10 s. Unless the process that
    wrote it certainly lives, this waits, at most about 2.5 s, for missing heartbeats.
    """
    if not pyaeron.is_driver_active(directory, _HEARTBEAT_TIMEOUT_MS):
        return False
    if not _writer_lives(directory):
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
    if not aeron_dir and (foreign := foreign_default(directory)) is not None:
        raise TransportError(foreign)
    if mode == "embedded":
        return EmbeddedMediaDriver(directory)
    if is_media_driver_active(directory):
        return ExternalMediaDriver(directory)
    if mode == "external":
        text = no_media_driver(directory)
        if text.startswith("no permission"):
            raise TransportError(text)
        raise TransportError(
            f"no media driver is active in {directory}; start one there, or set media_driver to "
            "auto or embedded"
        )
    try:
        return EmbeddedMediaDriver(directory)
    except MediaDriverActiveError:  # another process was quicker
        return ExternalMediaDriver(directory)


def remove_abandoned(directory: str) -> bool:
    """Remove what a dead media driver left; False if there is none, or one lives or is started.

    Raises TransportError if the directory holds anything else, OSError if it cannot be removed.
    """
    if not os.path.isdir(directory):
        return False
    path = f"{directory}.lock"
    descriptor = _try_lock_file(path)
    if descriptor is None:  # a media driver that is being started has no heartbeat yet
        return False
    with _held(descriptor, path):
        if is_media_driver_active(directory):
            return False
        _remove_leftovers(directory)
    return True


class MediaDriverActiveError(TransportError):
    """A media driver was not embedded because one is active in its directory already."""


class ExternalMediaDriver:
    """A media driver of another owner: used, never stopped."""

    is_embedded = False

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def close(self) -> None:
        """Nothing: it is not ours."""


class EmbeddedMediaDriver:
    """A media driver in this process, which owns its directory and removes it when closed.

    Raises TransportError when a media driver is active there, when the directory holds anything
    that is not Aeron's, or when it cannot be made. The files of a dead media driver are removed
    first. `threading_mode` is Aeron's word for its threads, such as `shared` or `dedicated`; empty:
    its default.
    """

    is_embedded = True

    def __init__(self, directory: str, threading_mode: str = "") -> None:
        self.directory = directory
        parent = Path(directory).parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with _locked(directory):
                if is_media_driver_active(directory):
                    raise MediaDriverActiveError(
                        f"a media driver is already active in {directory}; set media_driver to "
                        "auto or external to use it, or choose another aeron_dir"
                    )
                _remove_leftovers(directory)
                with _environment_defaults(_SETTINGS):
                    self._raw: Any = pyaeron.MediaDriver(
                        dir=directory,
                        dir_delete_on_start=False,
                        dir_delete_on_shutdown=False,
                        **({"threading": threading_mode} if threading_mode else {}),
                    )
            self._identity = _identity(directory)
        except (OSError, pyaeron.AeronError) as error:
            text = " ".join(str(error).split()) + storage_remedy(str(error), directory)
            raise TransportError(f"cannot start a media driver in {directory}: {text}") from error
        self._closed = False
        _embedded.add(self)
        abandon_in_forked_children(self)

    def close(self) -> None:
        """Stop it and remove its directory; clients still connected lose their transport."""
        if self._closed:
            return
        self._closed = True
        _embedded.discard(self)
        self._raw.close()
        # Unless another process has put another directory there meanwhile.
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
        """End it as a crash would: the directory stays, clients get no notice."""
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


_embedded: weakref.WeakSet[EmbeddedMediaDriver] = weakref.WeakSet()  # those of this process


@contextlib.contextmanager
def _environment_defaults(values: Mapping[str, str]) -> Iterator[None]:
    """Set the environment variables that are not set, for as long as the block runs."""
    ours = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Let one process at a time look for a media driver in `directory` and start one.

    The lock is on a file that only its owner can open, and that is removed with the lock. Any user
    could hold a lock on the directory above.
    """
    path = f"{directory}.lock"
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while (descriptor := _try_lock_file(path)) is None:
        if time.monotonic() > deadline:
            raise TransportError(
                f"another process has held the lock {path} for {_LOCK_TIMEOUT_S:.0f} s; end it, or"
                " choose another aeron_dir"
            )
        time.sleep(0.02)
    with _held(descriptor, path):
        yield


@contextlib.contextmanager
def _held(descriptor: int, path: str) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(descriptor)


def _try_lock_file(path: str) -> int | None:
    """Return a descriptor of the locked file; None while another process has it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        with contextlib.suppress(FileNotFoundError):
            raise _foreign_lock(path, os.lstat(path)) from error
        raise
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, descriptor)
        opened = os.fstat(descriptor)
        if not stat.S_ISREG(opened.st_mode) or ownership_problem(opened, os.geteuid()):
            raise _foreign_lock(path, opened)
        if not try_lock(descriptor):
            return None
        try:
            named = os.lstat(path)
        except FileNotFoundError:
            return None
        if not os.path.samestat(opened, named):
            return None
        undo.pop_all()
    return descriptor


def _foreign_lock(path: str, status: os.stat_result) -> TransportError:
    problem = ownership_problem(status, os.geteuid()) or "not a plain file"
    return TransportError(
        f"{path} cannot be locked: {problem}; remove it, or choose another aeron_dir"
    )


def _writer_lives(directory: str) -> bool:
    """Return whether the process that wrote the heartbeat certainly lives.

    A number alone is not enough: the next process 1 of a container has that of the last one, the
    host has a process 1 as well, and any number is used again. So the process must be older than
    the media driver that it runs, and have this very file mapped.
    """
    try:
        with open(os.path.join(directory, _CNC_FILE), "rb") as file:
            cnc = os.fstat(file.fileno())
            file.seek(_CNC_START_OFFSET)
            start_ms, pid = _CNC_START_AND_PID.unpack(file.read(_CNC_START_AND_PID.size))
        if pid == os.getpid():
            return any(one.directory == directory for one in list(_embedded))
        is_older = _process_started_s(pid) <= float(start_ms) / 1000 + _CLOCK_SLACK_S
        return is_older and _may_map(pid, cnc)
    except (OSError, ValueError, IndexError, struct.error):
        return False


def _may_map(pid: int, file: os.stat_result) -> bool:
    """Return whether a process has the file mapped, or is one of the file's owner that only the
    owner can look into."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
    except PermissionError:
        return os.stat(f"/proc/{pid}").st_uid == file.st_uid != os.geteuid()
    return any(line.split(maxsplit=5)[4] == str(file.st_ino) for line in maps.splitlines())


def _process_started_s(pid: int) -> float:
    """Return the wall clock at the start of a process; raises OSError where there is none."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    since_boot_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot_s)


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
