"""The daemon goes on after its media driver's death, its own stop and steps of the wall clock."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.protocol.transport.media_driver import (
    MediaDriverProcess,
    is_media_driver_active,
    unique_aeron_dir,
)
from tensor_pool.protocol.wire import ResponseCode, Role, ShmDetachResponse, ShmLeaseRevoked
from tests.driver.conftest import Daemons
from tests.driver.daemons import Daemon, HandClient, until
from tests.wall_clock import WallClock

pytestmark = pytest.mark.process

HERE = Path(__file__).parent

QUICK = {"policies.announce_period_ms": 50, "policies.lease_keepalive_interval_ms": 100}
# Where the test's own client cannot send keepalives for a while.
PATIENT = {"policies.lease_keepalive_interval_ms": 20_000}
NORMAL = "Serving.Running.Normal"
DEGRADED = "Serving.Running.Degraded"


@contextmanager
def keeping_alive(client: HandClient, lease_id: int, period_s: float) -> Iterator[None]:
    """Send keepalives from another thread."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(period_s):
            client.keepalive(lease_id)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def recovered(daemon: Daemon) -> None:
    """Wait until the driver is Normal again after it was Degraded."""
    until(lambda: daemon.transitions("driver")[-2:] == [DEGRADED, NORMAL], "the recovery")
    assert daemon.process.poll() is None


def lease_goes_on(client: HandClient, lease_id: int) -> None:
    """Assert that a lease was not lost, by returning it."""
    client.keepalive(lease_id)
    correlation_id = client.detach(lease_id)
    answer = client.expect(ShmDetachResponse, lambda one: one.correlation_id == correlation_id)
    assert answer.code is ResponseCode.OK


def test_D_146_the_media_driver_dies_and_comes_back(daemons: Daemons) -> None:
    with MediaDriverProcess() as first:
        daemon = daemons.start(aeron_dir=first.directory, settings=PATIENT).ready()
        client = daemons.client(daemon, first.directory)
        lease = client.attach()
        first.kill()
        until(lambda: daemon.transitions("driver")[-1] == DEGRADED, "the loss")
        with MediaDriverProcess(first.directory):
            recovered(daemon)
            again = daemons.client(daemon, first.directory)
            lease_goes_on(again, lease.lease_id or 0)
            assert again.attach(10001, 5, Role.CONSUMER).code is ResponseCode.OK
            assert daemon.stop() == 0


def test_D_146_a_driver_stopped_for_longer_than_the_liveness_timeout_goes_on(
    daemons: Daemons,
) -> None:
    """Ctrl-Z and fg, `docker pause`, a debugger: the embedded media driver is stopped as well."""
    aeron_dir = unique_aeron_dir()
    daemon = daemons.start(aeron_dir=aeron_dir).ready()
    lease = daemons.client(daemon, aeron_dir).attach()
    daemon.signal(signal.SIGSTOP)
    time.sleep(11.5)  # the time is the fault
    daemon.signal(signal.SIGCONT)
    recovered(daemon)
    lease_goes_on(daemons.client(daemon, aeron_dir), lease.lease_id or 0)
    assert daemon.stop() == 0


def test_D_146_an_embedded_media_driver_whose_directory_is_gone_is_started_anew(
    daemons: Daemons,
) -> None:
    aeron_dir = unique_aeron_dir()
    daemon = daemons.start(aeron_dir=aeron_dir, settings=PATIENT).ready()
    lease = daemons.client(daemon, aeron_dir).attach()
    shutil.rmtree(aeron_dir)
    daemon.signal(signal.SIGSTOP)
    time.sleep(11.5)
    daemon.signal(signal.SIGCONT)
    recovered(daemon)
    lease_goes_on(daemons.client(daemon, aeron_dir), lease.lease_id or 0)
    assert daemon.stop() == 0


@pytest.mark.parametrize("seconds", [30, 3600, -3600])
def test_D_146_a_step_of_the_wall_clock_ends_neither_driver_nor_lease(
    daemons: Daemons, tmp_path: Path, seconds: int
) -> None:
    clock = WallClock(tmp_path)
    aeron_dir = unique_aeron_dir()
    daemon = daemons.start(aeron_dir=aeron_dir, environ=clock.environ, settings=PATIENT).ready()
    lease = daemons.client(daemon, aeron_dir).attach()
    clock.step(seconds)
    began = time.monotonic()
    while time.monotonic() - began < 4:  # several rounds of every liveness check
        assert daemon.process.poll() is None
        time.sleep(0.1)
    until(lambda: daemon.transitions("driver")[-1] == NORMAL, "the recovery")
    if seconds < 0:  # to this process the heartbeat is too old
        clock.step(0)
        until(lambda: is_media_driver_active(aeron_dir), "a heartbeat")
    client = daemons.client(daemon, aeron_dir)
    lease_goes_on(client, lease.lease_id or 0)
    assert daemon.stop() == 0


@pytest.mark.parametrize("point", range(12))
def test_D_087_a_real_stop_at_a_point_of_the_cycle_ends_no_lease(
    daemons: Daemons, tmp_path: Path, point: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-014: keepalives that came during the stop count, in whatever instruction it began."""
    points = tmp_path / "point"
    points.write_text(str(point))
    program: Any = [str(HERE / "stopping_daemon.py"), str(points)]
    daemon = daemons.start(settings=QUICK, program=program).ready()
    client = daemons.client(daemon)
    lease = client.attach()
    with keeping_alive(client, lease.lease_id or 0, 0.03):
        daemon.signal(signal.SIGUSR1)
        until(lambda: _is_stopped(daemon.pid), "the stop")
        time.sleep(0.7)  # more than two leases last
        daemon.signal(signal.SIGCONT)
        time.sleep(0.2)  # the checks that ended leases came 1 to 7 ms after the resume
        assert client.of(ShmLeaseRevoked) == []
    lease_goes_on(client, lease.lease_id or 0)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
