"""The daemon as a process: start, stop, exit statuses, restart after a kill."""

from __future__ import annotations

import ctypes
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pyaeron
import pytest

from tensor_pool.protocol.transport.media_driver import (
    is_media_driver_active,
    unique_aeron_dir,
)
from tensor_pool.protocol.wire import (
    LeaseRevokeReason,
    ResponseCode,
    Role,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmDriverShutdownRequest,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
    peek_header,
)
from tests.driver.conftest import Daemons
from tests.driver.daemons import CHANNEL, until
from tests.driver.files.epoch_tree import epochs

pytestmark = pytest.mark.process

QUICK = {"policies.announce_period_ms": 50, "policies.lease_keepalive_interval_ms": 100}


def test_D_192_one_line_on_stdout_when_the_driver_is_ready(daemons: Daemons) -> None:
    """D-192, D-194: and logs are JSON lines, one for each transition."""
    daemon = daemons.start(settings={"driver.instance_id": "lab-7"}).ready()
    client = daemons.client(daemon)
    lease = client.attach()
    client.detach(lease.lease_id or 0)
    client.expect(ShmDetachResponse)

    assert daemon.stop() == 0

    (line,) = daemon.stdout
    assert line == (
        f"driver ready instance=lab-7 control={CHANNEL} stream={daemon.control_stream_id}"
        f" memory=0.2MiB aeron_dir={daemons.aeron_dir}\n"
    )
    assert daemon.transitions("driver") == [
        "Init",
        "Serving.Running.Normal",
        "Serving.Draining",
        "Stopped",
    ]
    assert daemon.transitions("stream 10000") == [
        "Live.Init",
        "Live.Active.Ready",
        "Live.Active.ProducerAttached",
        "Live.Active.Ready",
        "Live.Draining",
        "Closed",
    ]
    assert daemon.transitions(f"lease {lease.lease_id}") == [
        "Live.Unattached",
        "Live.Active",
        "Live.Ended.Detached",
        "Closed",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_D_144_a_signal_lets_clients_detach_and_ends_with_status_0(
    daemons: Daemons, number: int
) -> None:
    """D-144, D-192, D-141: attaches are refused meanwhile; the tests may run under `nohup`."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the driver inherits it
    daemon = daemons.start(settings={"policies.shutdown_timeout_ms": 60_000}).ready()
    client = daemons.client(daemon)
    lease_id = client.attach().lease_id or 0

    daemon.signal(number)

    until(lambda: "Serving.Draining" in daemon.transitions("driver"))
    refusal = client.attach(stream_id=10001, client_id=78)
    assert (refusal.code, refusal.error_message) == (ResponseCode.REJECTED, "driver draining")
    client.detach(lease_id)
    shutdown = client.expect(ShmDriverShutdown)
    assert (shutdown.reason, shutdown.error_message) == (ShutdownReason.NORMAL, "")
    assert daemon.wait() == 0


def test_D_144_a_second_signal_stops_at_once(daemons: Daemons) -> None:
    """D-144: although a lease lives and the drain timer has an hour to go."""
    daemon = daemons.start(
        settings={
            "policies.shutdown_timeout_ms": 3_600_000,
            "policies.lease_keepalive_interval_ms": 60_000,
        }
    ).ready()
    client = daemons.client(daemon)
    client.attach()
    daemon.signal(signal.SIGTERM)
    until(lambda: "Serving.Draining" in daemon.transitions("driver"))
    assert daemon.process.poll() is None

    daemon.signal(signal.SIGINT)

    assert daemon.wait() == 0
    client.expect(ShmDriverShutdown)
    assert client.of(ShmLeaseRevoked) == []


def test_D_192_configuration_problems_are_all_on_stderr_with_status_2(
    daemons: Daemons, shm_dir: Path
) -> None:
    """D-181, D-192."""
    daemon = daemons.start(
        base_dir=shm_dir / "never made",
        settings={"driver.fragment_limit": 0, "policies.outbox_limit": 1},
    )
    assert daemon.wait() == 2
    assert daemon.stdout == []
    for text in (
        "driver.fragment_limit: must be in 1..1000 (it is 0, from file)",
        "shm.base_dir: contains characters not allowed in a region URI",
        "policies.outbox_limit: must be in 16..65536",
    ):
        assert text in daemon.stderr
    assert list(shm_dir.iterdir()) == []


def test_D_192_a_held_lock_ends_the_start_with_status_3(daemons: Daemons) -> None:
    """D-003, D-192."""
    daemons.start().ready()
    second = daemons.start()
    assert second.wait() == 3
    assert second.stdout == []
    assert "another driver is running for" in second.stderr


@pytest.mark.parametrize(
    ("mode", "active", "text"),
    [
        ("external", False, "no media driver is active"),
        ("embedded", True, "a media driver is already active"),
    ],
)
def test_D_182_a_media_driver_that_is_not_as_configured_fails_the_start(
    daemons: Daemons, mode: str, active: bool, text: str
) -> None:
    """D-182, D-192."""
    aeron_dir = daemons.aeron_dir if active else unique_aeron_dir()
    daemon = daemons.start(aeron_dir=aeron_dir, settings={"driver.media_driver": mode})
    assert daemon.wait() == 1
    assert text in daemon.stderr
    assert "Traceback" not in daemon.stderr
    assert list(daemons.base_dir.iterdir()) == []


@pytest.mark.parametrize("mode", ["auto", "embedded"])
def test_D_182_a_media_driver_is_embedded_and_cleaned_up(daemons: Daemons, mode: str) -> None:
    """D-182."""
    aeron_dir = unique_aeron_dir()
    daemon = daemons.start(aeron_dir=aeron_dir, settings={"driver.media_driver": mode}).ready()
    assert is_media_driver_active(aeron_dir)
    assert daemons.client(daemon, aeron_dir).attach().code is ResponseCode.OK
    daemons.close()
    assert daemon.process.returncode == -signal.SIGKILL

    again = daemons.start(aeron_dir=aeron_dir, settings={"driver.media_driver": mode}).ready()
    assert again.stop() == 0
    assert not Path(aeron_dir).exists()


def test_D_102_a_killed_driver_starts_again_with_higher_epochs(daemons: Daemons) -> None:
    """D-102, D-003, D-084, D-095: the client of the old instance gets the notice of its end."""
    first = daemons.start(settings={"policies.announce_period_ms": 100}).ready()
    client = daemons.client(first)
    before = {stream_id: client.attach(stream_id, stream_id) for stream_id in (10000, 10001)}
    # A driver that is killed before the end of the poll in which it answered has not yet stored
    # how far it read, and the next one gets those requests again (D-103). Its timers, hence the
    # periodic announces, come after the poll; the first announce belongs to the attach.
    for _ in range(2):
        answered_ns = time.monotonic_ns()
        client.expect(
            ShmPoolAnnounce,
            lambda one, since_ns=answered_ns: (
                one.stream_id == 10001 and one.announce_timestamp_ns > since_ns
            ),
        )
    first.signal(signal.SIGKILL)
    first.wait()
    # Lease ids of two instances differ if these were started in different seconds (D-080).
    first_lease_id = before[10000].lease_id or 0
    until(lambda: int(time.time()) % 2**31 > first_lease_id >> 32, "the next second")

    second = daemons.start(control_stream_id=first.control_stream_id).ready()
    old = before[10000]
    client.keepalive(old.lease_id or 0, 10000, 10000)
    notice = client.expect(ShmLeaseRevoked)
    assert (notice.lease_id, notice.reason, notice.error_message) == (
        old.lease_id,
        LeaseRevokeReason.REVOKED,
        "unknown lease",
    )
    for stream_id, old in before.items():
        new = client.attach(stream_id, stream_id)
        assert new.code is ResponseCode.OK, new.error_message
        assert (new.epoch or 0) > (old.epoch or 0)
        assert (new.lease_id or 0) > (old.lease_id or 0)
    assert second.stop() == 0


def test_D_128_cleanup_on_exit_leaves_no_file(daemons: Daemons) -> None:
    daemon = daemons.start(settings={"policies.cleanup_shm_on_exit": True}).ready()
    client = daemons.client(daemon)
    client.detach(client.attach().lease_id or 0)
    assert daemon.stop() == 0
    assert list(daemons.base_dir.iterdir()) == []


def test_D_140_only_the_right_token_stops_the_driver(daemons: Daemons) -> None:
    """D-140, D-141: and no token is ever in the log."""
    daemon = daemons.start(settings={"policies.shutdown_token": "open sesame"}).ready()
    client = daemons.client(daemon)
    for token in ("", "wrong token", "open sesam", "open sesame!"):
        client.send(ShmDriverShutdownRequest(1, ShutdownReason.ADMIN, token, "no"))
    assert client.attach().code is ResponseCode.OK
    client.send(ShmDriverShutdownRequest(1, ShutdownReason.ADMIN, "open sesame", "maintenance"))
    shutdown = client.expect(ShmDriverShutdown)
    assert (shutdown.reason, shutdown.error_message) == (ShutdownReason.ADMIN, "maintenance")
    assert daemon.wait() == 0
    assert "sesam" not in daemon.stderr
    assert "wrong token" not in daemon.stderr


def test_a_full_file_system_degrades_the_driver_until_there_is_space(
    daemons: Daemons, small_tmpfs: Callable[[int], Path], tmp_path: Path
) -> None:
    """D-113, D-050, D-186: attach refused with the documented text, Degraded, then by itself well.

    Where no file system can be mounted, a limit on the size of files stands for the full one.
    """
    size = 128 * 1024
    base = small_tmpfs(size)
    ballast = base / "ballast"
    if not base.is_mount():
        pytest.fail("this test needs to mount a tmpfs: run it as root or in a user namespace")
    daemon = daemons.start(base_dir=base, settings=QUICK).ready()
    client = daemons.client(daemon)
    with open(ballast, "wb") as file:
        file.write(bytes(size - 40 * 1024))

    refusal = client.attach()

    assert refusal.code is ResponseCode.INTERNAL_ERROR
    assert refusal.error_message.startswith(
        "failed to provision SHM: insufficient shm space: need 83136 bytes, have "
    )
    until(lambda: daemon.transitions("driver")[-1] == "Serving.Running.Degraded")
    assert epochs(base, 10000) == []

    ballast.unlink()

    until(lambda: daemon.transitions("driver")[-1] == "Serving.Running.Normal")
    assert client.attach().code is ResponseCode.OK
    assert daemon.stop() == 0


def test_D_119_memory_that_cannot_be_locked_is_reported(daemons: Daemons) -> None:
    """D-119: RLIMIT_MEMLOCK = 0, also without the capability that lifts it."""

    def forbid_locking() -> None:
        prctl_capbset_drop, cap_ipc_lock = 24, 14
        ctypes.CDLL(None).prctl(prctl_capbset_drop, cap_ipc_lock, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))

    daemon = daemons.start(settings={"policies.mlock_shm": True}, preexec=forbid_locking).ready()
    refusal = daemons.client(daemon).attach()
    assert refusal.code is ResponseCode.INTERNAL_ERROR
    assert refusal.error_message.startswith("failed to provision SHM: mlock failed: E")
    assert epochs(daemons.base_dir, 10000) == []
    at_startup = daemons.start(
        settings={
            "policies.mlock_shm": True,
            "policies.provision_on_startup": True,
            "shm.namespace": "other",
        },
        preexec=forbid_locking,
    )
    assert at_startup.wait() == 1
    assert "mlock failed" in at_startup.stderr


def test_systemd_is_notified_when_the_driver_is_ready_lives_and_stops(
    daemons: Daemons, tmp_path: Path
) -> None:
    """Issue: readiness and watchdog notices when NOTIFY_SOCKET is set."""
    address = str(tmp_path / "notify.socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(20)
        daemon = daemons.start(
            environ={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"},
        )
        notices: list[str] = []
        while notices.count("WATCHDOG=1") < 3:
            notices.append(receiver.recv(4096).decode())
        assert "READY=1" in notices[0].splitlines()
        assert f"MAINPID={daemon.pid}" in notices[0].splitlines()
        daemon.signal(signal.SIGTERM)
        while not notices[-1].startswith("STOPPING=1"):
            notices.append(receiver.recv(4096).decode())
    assert daemon.wait() == 0


def test_D_002_all_driver_messages_of_a_session_come_from_the_driver(daemons: Daemons) -> None:
    """D-002: by their session, which only the driver's exclusive publication has."""
    daemon = daemons.start(settings=QUICK).ready()
    client = daemons.client(daemon)
    sessions: dict[tuple[int, int], set[int]] = {}
    with pyaeron.Aeron(context=pyaeron.Context(dir=daemons.aeron_dir)) as spy:
        subscription = spy.add_subscription(CHANNEL, daemon.control_stream_id)

        def record(buffer: object, header: object) -> None:
            kind = peek_header(bytes(memoryview(buffer)))  # type: ignore[arg-type]
            key = (kind.schema_id, kind.template_id)
            sessions.setdefault(key, set()).add(header.session_id)  # type: ignore[attr-defined]

        until(lambda: subscription.is_connected)
        lease_id = client.attach().lease_id or 0
        client.attach(10000, 78, Role.CONSUMER)
        client.keepalive(lease_id)
        client.detach(lease_id)
        client.expect(ShmDetachResponse)
        client.expect(ShmPoolAnnounce)
        daemon.signal(signal.SIGTERM)
        client.expect(ShmDriverShutdown)
        subscription.poll(record, 10_000)
    from_driver = {(900, 1), (900, 3), (901, 2), (901, 4), (901, 6), (901, 7)}
    by_driver = set().union(*(sessions.get(key, set()) for key in from_driver))
    by_client = set().union(*(s for key, s in sessions.items() if key not in from_driver))
    assert len(by_driver) == len(by_client) == 1
    assert by_driver.isdisjoint(by_client)
    assert (900, 1) in sessions
