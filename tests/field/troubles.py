"""The troubles of the deployment, a function for each.

A trouble is over when its function returns. Then every camera has to publish and every consumer to
receive again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tensor_pool.driver.config.layout import LOCK_FILE, user_name
from tensor_pool.protocol.transport.aeron import AeronTransport
from tests.driver.garbage import garbage_corpus
from tests.fresh_process import as_user

from .deployment import CAMERAS, Deployment

__all__ = ["LONG", "SHORT", "Trouble"]

Trouble = Callable[[Deployment], None]

_NOBODY = 65534
_HOURS = 3 * 3600
_LEASES_S = 2.0  # longer than a lease lasts
_LIVENESS_S = 12.0  # longer than Aeron takes a silent process for alive
_SHARED_STREAMS = (1000, 1100, 1200, 1300)

_CROWD = """
with connect(**endpoints) as pool:
    begin = pool.begin_attach_consumer
    handles = [begin(10001, publish_mode=2) for _ in range(40)]
    while not all(handle.poll_ready() for handle in handles):
        pool.run_once()
    print("{}", flush=True)
    sys.stdin.read()
"""
_CLOSES_IN_A_HANDLER = """
pool = connect(**endpoints)
def close(*_):
    pool.close()
    raise SystemExit
signal.signal(signal.SIGTERM, close)
consumer = pool.consumer(10001)
print("{}", flush=True)
while True:
    consumer.receive(timeout=0.01)
"""


# Consumers


def stopped_consumer(field: Deployment) -> None:
    """Longer than its lease."""
    child = field.consumers[CAMERAS[0], 0]
    child.stop()
    time.sleep(_LEASES_S)
    child.go_on()


def consumers_that_do_not_read(field: Deployment) -> None:
    """One of every stream; then they are killed."""
    guests = [field.member("consumer", stream) for stream in CAMERAS]
    field.until(lambda: all(guest.last.get("is_ready") for guest in guests), "guests attached")
    for guest in guests:
        guest.stop()
    time.sleep(1.0)
    for guest in guests:
        guest.kill()


def crowd(field: Deployment) -> None:
    """Forty further consumers in one more program."""
    guest = field.guest("crowd", _CROWD)
    field.until(lambda: guest.is_ready, "the crowd attached")
    guest.kill()


def closed_in_a_handler(field: Deployment) -> None:
    """SIGTERM falls into a wait; its handler closes the client."""
    guest = field.guest("closing guest", _CLOSES_IN_A_HANDLER)
    field.until(lambda: guest.is_ready, "the guest attached")
    if guest.end() != 0:
        field.problems.append("a client that is closed in a signal handler did not end")


# Memory


def full_shared_memory(field: Deployment) -> None:
    """While a camera is started again."""
    with field.full_shared_memory():
        field.kill_camera(CAMERAS[1])
        time.sleep(_LEASES_S)


def removed_base_directory(field: Deployment) -> None:
    """Frames go on in the files that are mapped; a new camera gets a new tree."""
    shutil.rmtree(field.regions)
    field.until_well("the base directory was removed")
    field.kill_camera(CAMERAS[1])


def obstacle(field: Deployment) -> None:
    """A file stands where the directory of a stream belongs, while a camera is started again."""
    (lock,) = field.regions.glob(f"tensorpool-*/*/{LOCK_FILE}")
    directory = lock.with_name(str(CAMERAS[2]))
    shutil.rmtree(directory, ignore_errors=True)  # missing where the base directory was removed
    directory.touch()
    field.kill_camera(CAMERAS[2])
    time.sleep(1.0)
    directory.unlink()


# Other users


def another_user(field: Deployment) -> None:
    """Tries to get at regions, messages, bells and page, and to put files in their places."""
    if os.geteuid():
        return
    regions = [p for p in field.regions.rglob("*") if p.suffix in (".ring", ".pool")]
    bells = list(Path("/dev/shm").glob("sem.tensor-pool-bell-*"))
    for what in as_user(_NOBODY, _intrusions, field.shm, field.root, regions[0], bells[0]):
        field.problems.append(f"another user could {what}")


def _intrusions(shm: Path, root: Path, region: Path, bell: Path) -> list[str]:
    """Return the names of what this process could do."""
    attempts: dict[str, Callable[[], object]] = {
        "write a region": lambda: region.open("r+b"),
        "read a region": lambda: region.open("rb"),
        "make a file beside regions": lambda: (region.parent / "mine").touch(),
        "rename the pools": lambda: region.parents[3].rename(shm / "regions" / "mine"),
        "remove a region": lambda: region.unlink(),
        "remove the base directory": lambda: (shm / "regions").rename(shm / "mine"),
        "write messages": lambda: (shm / "aeron" / "cnc.dat").open("r+b"),
        "make files beside messages": lambda: (shm / "aeron" / "mine").touch(),
        "connect to the page": lambda: socket.socket(socket.AF_UNIX).connect(
            str(root / "pages.sock")
        ),
        "use a bell": lambda: bell.open("r+b"),
        "remove a bell": lambda: bell.unlink(),
    }
    done = []
    for name, attempt in attempts.items():
        with contextlib.suppress(OSError):
            attempt()
            done.append(name)
    return done


def squatter(field: Deployment) -> None:
    """Another user takes the name of the driver's directory while there is no driver."""
    if os.geteuid():
        return
    field.driver.kill()
    directory = field.regions / f"tensorpool-{user_name()}"
    aside = directory.rename(field.regions / "aside")
    directory.mkdir(0o777)
    os.chown(directory, _NOBODY, _NOBODY)
    field.begin_driver()
    if field.driver.process.wait(field.bound_s) != 1:
        field.problems.append("a driver serves from the directory of another user")
    if f"SHM directory owned by {user_name(_NOBODY)}" not in field.error_text():
        field.problems.append("the refusal does not name the owner")
    directory.rmdir()
    aside.rename(directory)
    field.begin_driver()


def locks_of_another_user(field: Deployment) -> None:
    """On the shared directories, while media driver and driver are started again."""
    with _locked_by_another_user(["/dev/shm", str(field.shm), str(field.regions)]):
        killed_media_driver(field)
        killed_driver(field)
        field.until_well("a restart beside locks")


def idle_connections(field: Deployment) -> None:
    """To the page."""
    with contextlib.ExitStack() as opened:
        for _ in range(300):
            with contextlib.suppress(OSError):
                opened.enter_context(socket.create_connection(("127.0.0.1", field.port), 1.0))
        time.sleep(1.0)


def garbage(field: Deployment) -> None:
    """On every shared stream."""
    transport = AeronTransport.connect(str(field.shm / "aeron"))
    for stream_id in _SHARED_STREAMS:
        publication = transport.add_publication("aeron:ipc?term-length=64k", stream_id)
        for message in garbage_corpus(seed=1, count=200):
            publication.offer(bytes(message))
    transport.close()


# Time and death


def paused_driver(field: Deployment) -> None:
    """Longer than every lease."""
    field.driver.stop()
    time.sleep(_LEASES_S)
    field.driver.go_on()


def paused_for_long(field: Deployment) -> None:
    """Driver and media driver, longer than Aeron's liveness timeouts."""
    field.lost_transports += 1
    for child in (field.driver, field.media_driver):
        child.stop()
    time.sleep(_LIVENESS_S)
    for child in (field.media_driver, field.driver):
        child.go_on()


def interrupted_terminal(field: Deployment) -> None:
    """Ctrl-Z and fg, for everything but the media driver."""
    everything = list(field.everything())
    for child in everything:
        child.stop()
    time.sleep(_LEASES_S)
    for child in everything:
        child.go_on()


def clock_steps(field: Deployment) -> None:
    """The wall clock of all processes goes ahead by hours, back by hours, and right again."""
    enough = round(1.5 * field.rate_hz)
    for seconds in (_HOURS, -_HOURS, 0):
        field.wall_clock.step(seconds)
        field.until_well(f"the clock stepped to {seconds:+} s", enough)


def killed_driver(field: Deployment) -> None:
    field.driver.kill()
    field.begin_driver()


def killed_media_driver(field: Deployment) -> None:
    """Under a driver that serves: one that starts without a media driver ends (D-146)."""
    field.until(lambda: field.driver.is_ready, "a driver that serves")
    field.lost_transports += 1
    field.media_driver.kill()
    field.begin_transport()


def process_1(field: Deployment) -> None:
    """Media driver and driver of a container are killed; the next ones are process 1 too."""
    if os.geteuid():
        return
    for is_process_1 in (True, True, False):
        field.lost_transports += 1
        for child in (field.driver, field.media_driver):
            child.kill()
        field.begin_transport(is_process_1=is_process_1)
        field.begin_driver(is_process_1=is_process_1)
        field.until_well("a restart as process 1")


def killed_camera(field: Deployment) -> None:
    field.kill_camera(CAMERAS[1])


def hung_up(field: Deployment) -> None:
    """SIGHUP drains like SIGTERM; the next driver takes over."""
    field.driver.process.send_signal(signal.SIGHUP)
    if field.driver.process.wait(field.bound_s) != 0:
        field.problems.append("SIGHUP does not end the driver in order")
    field.begin_driver()


@contextlib.contextmanager
def _locked_by_another_user(paths: list[str]) -> Iterator[None]:
    """Have another user hold a lock on every path."""
    rights: dict[str, Any] = (
        {} if os.geteuid() else {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    )
    holders = []
    try:
        for path in paths:
            command = ["flock", "--no-fork", path, "sleep", "3600"]
            holders.append(subprocess.Popen(command, **rights))
            while (
                subprocess.run(["flock", "--nonblock", path, "true"], check=False).returncode == 0
            ):
                assert holders[-1].poll() is None, f"{path} was not locked"
        yield
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


SHORT: tuple[Trouble, ...] = (stopped_consumer, another_user, killed_camera, clock_steps)
LONG: tuple[Trouble, ...] = (
    stopped_consumer,
    consumers_that_do_not_read,
    crowd,
    closed_in_a_handler,
    full_shared_memory,
    removed_base_directory,
    obstacle,
    another_user,
    squatter,
    locks_of_another_user,
    idle_connections,
    garbage,
    paused_driver,
    paused_for_long,
    interrupted_terminal,
    clock_steps,
    killed_driver,
    killed_media_driver,
    process_1,
    hung_up,
    killed_camera,
)
