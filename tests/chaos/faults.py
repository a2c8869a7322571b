"""The faults of a deployment: one function a fault, and the table they are drawn from.

A fault is given the deployment and a stream of random numbers. It returns how many seconds later it
is to be undone and how, or None where it is over at once or the deployment's own tending ends it.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

from tensor_pool.protocol.errors import TransportError
from tensor_pool.protocol.transport.aeron import AeronTransport
from tests.chaos.deployment import Deployment, Member
from tests.driver.garbage import garbage_corpus

__all__ = ["GENTLE", "HOSTILE", "Fault", "Undo"]

Undo = tuple[float, Callable[[], None]]
Fault = Callable[[Deployment, random.Random], Undo | None]

_CHANNEL = "aeron:ipc?term-length=4m"
_STREAMS_OF_MESSAGES = (1000, 1100, 1200, 1300)  # control, descriptors, QoS, metadata
_GARBAGE_MESSAGES = 500
_SPARED_BYTES = 64 * 1024


def kill_a_member(deployment: Deployment, rng: random.Random) -> None:
    deployment.kill_member(_member(deployment, rng), rng.uniform(0.0, 1.5))


def end_a_member(deployment: Deployment, rng: random.Random) -> None:
    deployment.end_member(_member(deployment, rng), rng.uniform(0.0, 1.0))


def stop_a_member(deployment: Deployment, rng: random.Random) -> Undo | None:
    """Shorter or longer than its lease."""
    child = _member(deployment, rng).child
    if child is None or child.is_stopped:
        return None
    child.stop()
    return rng.uniform(0.1, 3.0), child.go_on


def kill_the_daemon(deployment: Deployment, rng: random.Random) -> None:
    deployment.kill_daemon()


def end_the_daemon(deployment: Deployment, rng: random.Random) -> None:
    deployment.end_daemon()


def stop_the_daemon(deployment: Deployment, rng: random.Random) -> Undo | None:
    daemon = deployment.daemon
    if daemon is None or daemon.is_stopped:
        return None
    daemon.stop()
    return rng.uniform(0.1, 3.0), daemon.go_on


def kill_the_media_driver(deployment: Deployment, rng: random.Random) -> None:
    deployment.kill_media_driver(rng.uniform(0.0, 2.0))


def fill_the_file_system(deployment: Deployment, rng: random.Random) -> Undo | None:
    """Leave no room for another epoch.

    Where the file system is not the deployment's own, the daemon may make no large files instead.
    """
    if not deployment.is_mounted:
        return _limit_the_daemon(deployment, rng)
    ballast = deployment.base / "ballast"
    if ballast.exists():
        return None
    space = os.statvfs(deployment.base)
    size = space.f_bavail * space.f_frsize - _SPARED_BYTES
    if size <= 0:
        return None
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, size)
    return rng.uniform(0.5, 4.0), lambda: ballast.unlink(missing_ok=True)


def _limit_the_daemon(deployment: Deployment, rng: random.Random) -> Undo | None:
    daemon = deployment.daemon
    if daemon is None or not daemon.runs:
        return None
    pid = daemon.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)

    def lift() -> None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    resource.prlimit(pid, resource.RLIMIT_FSIZE, (_SPARED_BYTES, hard))
    return rng.uniform(0.5, 4.0), lift


def delete_region_files(deployment: Deployment, rng: random.Random) -> Undo | None:
    """A file, an epoch or a stream; who is mapped goes on, and the next epoch ends the trouble.

    So undoing it is what an operator would do: have the stream's producer attach anew.
    """
    file = _region_file(deployment, rng)
    if file is None:
        return None
    victim = rng.choice((file, file.parent, file.parent.parent))
    if victim.is_dir():
        shutil.rmtree(victim, ignore_errors=True)
    else:
        victim.unlink(missing_ok=True)
    return rng.uniform(0.5, 3.0), lambda: _renew_epoch(deployment, file)


def truncate_region_files(deployment: Deployment, rng: random.Random) -> Undo | None:
    """Shorten a mapped file: an access behind its end raises SIGBUS in every process."""
    file = _region_file(deployment, rng)
    if file is None:
        return None
    with contextlib.suppress(FileNotFoundError):
        os.truncate(file, rng.choice((0, 64, file.stat().st_size // 2)))
    return rng.uniform(0.5, 3.0), lambda: _renew_epoch(deployment, file)


def send_garbage(deployment: Deployment, rng: random.Random) -> None:
    """On every stream of messages, as fast as it goes; what is not accepted is lost."""
    if deployment.media_driver is None:
        return
    corpus = garbage_corpus(rng.getrandbits(32), _GARBAGE_MESSAGES)
    with contextlib.suppress(TransportError):
        transport = AeronTransport.connect(deployment.aeron_dir, client_name="vandal")
        try:
            publications = [transport.add_publication(_CHANNEL, s) for s in _STREAMS_OF_MESSAGES]
            for message in corpus:
                for publication in publications:
                    publication.offer(message)
        finally:
            transport.close()


def _region_file(deployment: Deployment, rng: random.Random) -> Path | None:
    files = sorted(deployment.base.rglob("*.ring")) + sorted(deployment.base.rglob("*.pool"))
    return rng.choice(files) if files else None


def _renew_epoch(deployment: Deployment, file: Path) -> None:
    stream_id = int(file.parent.parent.name)
    producer = next(
        m for m in deployment.members if m.role == "producer" and m.stream_id == stream_id
    )
    deployment.end_member(producer, 0.0)


def _member(deployment: Deployment, rng: random.Random) -> Member:
    return rng.choice([member for member in deployment.members if not member.is_spared])


HOSTILE: dict[str, tuple[Fault, int]] = {
    "SIGKILL of a member": (kill_a_member, 6),
    "SIGTERM of a member": (end_a_member, 3),
    "SIGSTOP of a member": (stop_a_member, 6),
    "SIGKILL of the daemon": (kill_the_daemon, 1),
    "SIGTERM of the daemon": (end_the_daemon, 1),
    "SIGSTOP of the daemon": (stop_the_daemon, 2),
    "death of the media driver": (kill_the_media_driver, 1),
    "full file system": (fill_the_file_system, 2),
    "deleted region files": (delete_region_files, 2),
    "truncated region files": (truncate_region_files, 2),
    "garbage messages": (send_garbage, 2),
}
"""Every fault with its weight."""

GENTLE: dict[str, tuple[Fault, int]] = {
    "SIGKILL of a member": (kill_a_member, 3),
    "SIGTERM of a member": (end_a_member, 2),
    "SIGKILL of the daemon": (kill_the_daemon, 1),
    "SIGTERM of the daemon": (end_the_daemon, 1),
}
"""The faults of any day."""
