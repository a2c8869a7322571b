"""The driver inside an application's process, on a real media driver."""

from __future__ import annotations

import itertools
import json
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tensor_pool.driver.config.findings import ConfigError
from tensor_pool.driver.core.configuration import DriverConfig, DriverTable, IdRange, Pool, Profile
from tensor_pool.driver.core.ports import DriverLockedError
from tensor_pool.driver.daemon.embedded import EmbeddedDriver
from tensor_pool.driver.driver import Driver
from tensor_pool.protocol.errors import ClosedError, ForkedProcessError, TransportError
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess, unique_aeron_dir
from tensor_pool.protocol.wire import (
    ResponseCode,
    Role,
    ShmAttachResponse,
    ShmDetachResponse,
    ShmDriverShutdown,
    ShmLeaseRevoked,
    ShmPoolAnnounce,
    ShutdownReason,
)
from tests.driver.config.configs import small_config
from tests.driver.conftest import Daemons
from tests.driver.daemons import CHANNEL, HandClient, until
from tests.fresh_process import in_fresh_process

pytestmark = pytest.mark.process

_control_stream_ids = itertools.count(1700)


@pytest.fixture
def config(shm_dir: Path, media_driver: MediaDriverProcess) -> DriverConfig:
    return with_media_driver(small_config(shm_dir), media_driver.directory)


def with_media_driver(config: DriverConfig, aeron_dir: str) -> DriverConfig:
    table = DriverTable(
        aeron_dir=aeron_dir, control_channel=CHANNEL, control_stream_id=next(_control_stream_ids)
    )
    return msgspec.structs.replace(config, driver=table)


@pytest.fixture
def clients() -> Iterator[list[HandClient]]:
    clients: list[HandClient] = []
    yield clients
    for client in clients:
        client.close()


def connect(driver: EmbeddedDriver, clients: list[HandClient]) -> HandClient:
    config = driver.client_config()
    client = HandClient(config.aeron_dir or "", config.control_stream_id)
    clients.append(client)
    return client


def session(client: HandClient) -> list[tuple[Any, ...]]:
    """Run a scripted session; return the driver's messages without ids and times."""
    producer = client.attach(10000, 1)
    client.attach(10000, 2)
    client.attach(4711, 3)
    consumer = client.attach(10000, 4, Role.CONSUMER)
    for lease, client_id, role in ((producer, 1, Role.PRODUCER), (consumer, 4, Role.CONSUMER)):
        correlation_id = client.detach(lease.lease_id or 0, 10000, client_id, role)
        client.expect(
            ShmDetachResponse, lambda one, wanted=correlation_id: one.correlation_id == wanted
        )
    said: list[tuple[Any, ...]] = []
    for message in client.received:
        match message:
            case ShmAttachResponse():
                said.append(("attach", message.code, message.stream_id, message.error_message))
            case ShmDetachResponse():
                said.append(("detach", message.code, message.error_message))
            case ShmLeaseRevoked():
                said.append(("notice", message.client_id, message.reason, message.error_message))
            case ShmPoolAnnounce():
                said.append(("announce", message.stream_id, message.producer_id))
    return said


def test_a_range_that_is_a_tuple_is_refused_with_the_remedy() -> None:
    with pytest.raises(TypeError, match=r"stream_id_range: \(1, 9\) must be an IdRange, such as"):
        DriverTable(stream_id_range=(1, 9))  # type: ignore[arg-type]


def test_D_004_daemon_and_embedded_driver_send_the_same(
    config: DriverConfig, daemons: Daemons, clients: list[HandClient]
) -> None:
    """D-004, C-130: threaded too. No periodic announce falls into the session."""
    seldom = {"announce_period_ms": 600_000}
    daemon = daemons.start(
        settings={"policies.announce_period_ms": 600_000, "shm.namespace": "daemon"}
    ).ready()
    by_daemon = session(daemons.client(daemon))
    with EmbeddedDriver(
        with_media_driver(small_config(daemons.base_dir, policies=seldom), daemons.aeron_dir)
    ) as driver:
        by_embedded = session(connect(driver, clients))
    assert by_embedded == by_daemon
    assert ("attach", ResponseCode.OK, 10000, "") in by_daemon
    assert [one[0] for one in by_daemon].count("announce") == 3


def test_C_133_one_thread_may_poll_driver_and_client(
    config: DriverConfig, clients: list[HandClient]
) -> None:
    """C-130, C-133: nothing runs by itself with `threaded=False`."""
    before = threading.active_count()
    with EmbeddedDriver(config, threaded=False) as driver:
        assert threading.active_count() == before
        client = connect(driver, clients)
        real_poll = client.poll

        def poll_both() -> None:
            driver.do_work()
            real_poll()

        client.poll = poll_both  # type: ignore[method-assign]
        assert client.attach().code is ResponseCode.OK
        assert driver.report().snapshot.status.leases == 1
        client.detach(client.of(ShmAttachResponse)[0].lease_id)
        client.expect(ShmDetachResponse)


def test_C_132_its_endpoint_is_an_ordinary_channel(
    config: DriverConfig, clients: list[HandClient]
) -> None:
    """C-130, C-132: `client_config` is enough to attach from anywhere."""
    with EmbeddedDriver(config) as driver:
        told = driver.client_config(attach_timeout=1.5)
        assert told.control_channel == config.driver.control_channel
        assert told.control_stream_id == config.driver.control_stream_id
        assert told.aeron_dir == config.driver.aeron_dir
        assert told.allowed_base_dirs == config.shm.allowed_base_dirs
        assert told.keepalive_interval == config.policies.lease_keepalive_interval_ms / 1000
        assert told.attach_timeout == 1.5
        assert connect(driver, clients).attach().code is ResponseCode.OK
        driver.close(drain=False)


def test_leases_are_revoked_and_streams_reprovisioned_from_other_threads(
    config: DriverConfig, clients: list[HandClient]
) -> None:
    """D-089, D-097, D-190, D-191."""
    with EmbeddedDriver(config) as driver:
        client = connect(driver, clients)
        first = client.attach()
        assert driver.revoke_lease(first.lease_id or 0, "enough")
        notice = client.expect(ShmLeaseRevoked)
        assert (notice.lease_id, notice.error_message) == (first.lease_id, "enough")
        assert not driver.revoke_lease(first.lease_id or 0)
        epoch = driver.report().snapshot.streams[0].epoch
        assert driver.reprovision(10000)
        assert (driver.report().snapshot.streams[0].epoch or 0) > (epoch or 0)
        assert not driver.reprovision(4711)


def test_D_142_a_close_waits_for_clients_and_a_hard_one_does_not(
    config: DriverConfig, clients: list[HandClient]
) -> None:
    """D-190, D-142, C-131."""
    patient = msgspec.structs.replace(
        config, policies=msgspec.structs.replace(config.policies, shutdown_timeout_ms=3_600_000)
    )
    driver = EmbeddedDriver(patient)
    client = connect(driver, clients)
    lease_id = client.attach().lease_id or 0
    closing = threading.Thread(target=driver.close)
    closing.start()
    until(lambda: client.attach(10000, 99).error_message == "driver draining")
    assert closing.is_alive()
    client.detach(lease_id)
    closing.join(20)
    assert not closing.is_alive()
    assert client.expect(ShmDriverShutdown).reason is ShutdownReason.NORMAL
    assert not driver.is_running

    hard = EmbeddedDriver(patient)
    assert connect(hard, clients).attach().code is ResponseCode.OK
    hard.close(drain=False)
    hard.close()
    for call in (hard.report, lambda: hard.revoke_lease(1), lambda: hard.reprovision(1)):
        with pytest.raises(ClosedError):
            call()


def test_a_requested_shutdown_leaves_a_driver_that_reports_it(config: DriverConfig) -> None:
    """D-141."""
    driver = EmbeddedDriver(config)
    assert driver.is_running
    driver.request_shutdown(ShutdownReason.ADMIN, "maintenance")
    until(lambda: not driver.is_running)
    with pytest.raises(ClosedError, match="has stopped"):
        driver.report()
    driver.close()


def test_an_error_in_the_loop_reaches_the_application(
    config: DriverConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-190."""

    def broken(self: Driver) -> int:
        raise RuntimeError("broken")

    driver = EmbeddedDriver(config)
    with monkeypatch.context() as patch:
        patch.setattr(Driver, "do_work", broken)
        until(lambda: not driver.is_running)
    with pytest.raises(RuntimeError, match="broken"):
        driver.report()
    with pytest.raises(RuntimeError, match="broken"):
        driver.close(drain=False)


def test_polling_a_driver_that_has_a_thread_is_refused(config: DriverConfig) -> None:
    with EmbeddedDriver(config) as driver, pytest.raises(RuntimeError, match="thread of its own"):
        driver.do_work()


def test_D_181_a_configuration_made_by_hand_is_judged_by_the_same_rules(
    config: DriverConfig, shm_dir: Path
) -> None:
    """D-181, D-100: before the lock, files or transport are touched."""
    bad = msgspec.structs.replace(
        config,
        driver=msgspec.structs.replace(
            config.driver, fragment_limit=0, stream_id_range=IdRange(9, 8)
        ),
        profiles={"small": Profile(payload_pools=(Pool(1, 65),), header_nslots=3)},
    )
    with pytest.raises(ConfigError) as caught:
        EmbeddedDriver(bad)
    assert [str(problem) for problem in caught.value.problems] == [
        "driver.stream_id_range: start must be <= end",
        "driver.fragment_limit: must be in 1..1000",
        "profiles.small.header_nslots: must be a power of two",
        "profiles.small.payload_pools[0].stride_bytes: must be a multiple of 64",
    ]
    assert list(shm_dir.iterdir()) == []


def test_D_190_a_forked_child_cannot_use_the_driver_of_its_parent(config: DriverConfig) -> None:
    """D-190: nor does it hang, or take anything away from the parent."""
    in_fresh_process(_use_the_embedded_driver_in_a_forked_child, config)


def _use_the_embedded_driver_in_a_forked_child(config: DriverConfig) -> None:
    with EmbeddedDriver(config) as driver:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                driver.report()
            except ForkedProcessError:
                os.write(write_end, b"refused")
            finally:
                driver.close()
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read_end, 100) == b"refused"
        os.close(read_end)
        os.close(write_end)
        assert driver.report().snapshot.status.state == "Serving.Running.Normal"


def test_its_pages_are_those_of_the_daemon(config: DriverConfig) -> None:
    """D-004."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    table = msgspec.structs.replace(config.driver, http_address=address)
    with EmbeddedDriver(msgspec.structs.replace(config, driver=table)) as driver:
        assert driver.is_running
        with urllib.request.urlopen(f"http://{address}/status.json") as page:
            document = json.load(page)
    assert document["driver"]["state"] == "Serving.Running.Normal"


def test_D_100_a_failed_start_leaves_nothing_open(config: DriverConfig) -> None:
    """D-003, D-100."""
    with EmbeddedDriver(config) as running:
        other = with_media_driver(config, running.aeron_dir)
        with pytest.raises(DriverLockedError):
            EmbeddedDriver(other)
    EmbeddedDriver(other).close()


def test_a_missing_media_driver_is_reported(config: DriverConfig) -> None:
    """D-182."""
    table = msgspec.structs.replace(
        config.driver, aeron_dir=unique_aeron_dir(), media_driver="external"
    )
    with pytest.raises(TransportError, match="no media driver is active"):
        EmbeddedDriver(msgspec.structs.replace(config, driver=table))


def test_it_brings_its_own_media_driver_where_there_is_none(
    config: DriverConfig, clients: list[HandClient]
) -> None:
    """D-182."""
    aeron_dir = unique_aeron_dir()
    with EmbeddedDriver(with_media_driver(config, aeron_dir)) as driver:
        client = connect(driver, clients)
        client.detach(client.attach().lease_id or 0)
        client.expect(ShmDetachResponse)
        client.close()
    assert not Path(aeron_dir).exists()
