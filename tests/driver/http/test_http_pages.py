"""Metrics and status over HTTP."""

from __future__ import annotations

import importlib.util
import json
import re
import resource
import socket
import urllib.error
import urllib.request
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from tensor_pool.driver.core.snapshots import (
    AssignmentSnapshot,
    DriverSnapshot,
    LeaseSnapshot,
    StatusSnapshot,
    StreamSnapshot,
)
from tensor_pool.driver.http import app as http_app
from tensor_pool.driver.http.server import HttpUnavailableError, listen, split_address
from tensor_pool.driver.runtime.metrics import GAUGES, METRIC_NAMES
from tensor_pool.driver.runtime.report import DriverReport, MetricsReport, status_document
from tensor_pool.protocol.wire import ResponseCode
from tests.driver.conftest import Daemons
from tests.driver.daemons import until

LEASE = 7_710_982_144_897_581_057
EPOCH = 1_795_352_113_293_747_445


@pytest.fixture
def report() -> DriverReport:
    status = StatusSnapshot(
        instance_id="lab-7",
        state="Serving.Running.Degraded",
        shutdown_reason="NORMAL",
        shutdown_text="",
        conditions=("SHM_SPACE",),
        leases=1,
        streams=1,
        next_lease_id=LEASE + 1,
        next_node_id=2,
        next_dynamic_stream_id=None,
        stream_id_range=None,
        descriptor_stream_id_range=None,
        control_stream_id_range=None,
    )
    lease = LeaseSnapshot(LEASE, 10000, 77, 1, "PRODUCER", 5_000_000_000, "Live.Active")
    stream = StreamSnapshot(
        stream_id=10000,
        header_nslots=4,
        strides_bytes=(4096,),
        dynamic=False,
        epoch=EPOCH,
        last_epoch=EPOCH,
        uris=("shm:file?path=/x",),
        producer_lease_id=LEASE,
        consumer_lease_ids=(LEASE + 5,),
        state="Live.Active.ProducerAttached",
    )
    return DriverReport(
        snapshot=DriverSnapshot(
            status, (lease,), (stream,), (AssignmentSnapshot(LEASE, 31000, None),)
        ),
        metrics={name: number for number, name in enumerate(METRIC_NAMES)},
        taken_ns=3_500_000_000,
        aeron_dir="/dev/shm/aeron",
        embeds_media_driver=True,
        control_channel="aeron:ipc",
        control_stream_id=1000,
    )


class ScriptedReporter:
    """Answers with a report, or never, or as a driver that has stopped."""

    def __init__(self, report: DriverReport | None, *, stopped: bool = False) -> None:
        self._report = report
        self._stopped = stopped

    def request_metrics(self) -> Future[MetricsReport]:
        report = self._report
        if report is None:
            return self._answer(None)
        status = report.snapshot.status
        return self._answer(MetricsReport(status.instance_id, status.state, report.metrics))

    def request_report(self) -> Future[DriverReport]:
        return self._answer(self._report)

    def _answer(self, answer: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if answer is not None:
            future.set_result(answer)
        elif self._stopped:
            future.cancel()
        return future


def client_of(report: DriverReport | None, **options: Any) -> TestClient:
    """A client of pages whose loop answers with `report`, or never."""

    app = http_app.create_app(ScriptedReporter(report))
    return TestClient(app, base_url="http://127.0.0.1:9464", **options)


def test_every_metric_is_on_the_metrics_page_with_its_kind(report: DriverReport) -> None:
    """D-185."""
    response = client_of(report).get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    for number, name in enumerate(METRIC_NAMES):
        if name in GAUGES:
            family = families[f"tensor_pool_driver_{name}"]
            assert family.type == "gauge"
        else:
            family = families[f"tensor_pool_driver_{name.removesuffix('_total')}"]
            assert family.type == "counter"
        assert family.samples[0].value == number
        assert family.documentation
    info = families["tensor_pool_driver_info"].samples[0]
    assert info.labels == {"instance_id": "lab-7", "state": "Serving.Running.Degraded"}


def test_the_status_document_keeps_large_numbers_whole(report: DriverReport) -> None:
    """D-191: readers that keep numbers as doubles must not mix up leases."""
    document = client_of(report).get("/status.json").json()
    assert document["driver"]["state"] == "Serving.Running.Degraded"
    assert document["driver"]["conditions"] == ["SHM_SPACE"]
    assert document["driver"]["aeron_dir"] == "/dev/shm/aeron"
    (stream,) = document["streams"]
    (lease,) = document["leases"]
    assert stream["epoch"] == str(EPOCH)
    assert stream["producer_lease_id"] == lease["lease_id"] == str(LEASE)
    assert stream["consumer_lease_ids"] == [str(LEASE + 5)]
    assert lease["expires_in_ms"] == 1500
    assert document["assignments"] == [
        {"lease_id": str(LEASE), "descriptor_stream_id": 31000, "control_stream_id": None}
    ]
    assert document["metrics"]["attach_granted"] == METRIC_NAMES.index("attach_granted")
    numbers = re.findall(r"(?<![\w\"])-?\d+", json.dumps(document))
    assert all(abs(int(number)) < 2**53 for number in numbers)


def test_a_stream_without_epoch_or_producer_has_null_there(report: DriverReport) -> None:
    (stream,) = report.snapshot.streams
    bare = status_document(
        _changed(report, streams=(_changed(stream, epoch=None, producer_lease_id=None),))
    )
    assert bare["streams"][0]["epoch"] is None
    assert bare["streams"][0]["producer_lease_id"] is None


def _changed(record: Any, **changes: Any) -> Any:
    if isinstance(record, DriverReport):
        snapshot = msgspec.structs.replace(record.snapshot, **changes)
        return msgspec.structs.replace(record, snapshot=snapshot)
    return msgspec.structs.replace(record, **changes)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9464", 200),
        ("localhost", 200),
        ("LOCALHOST:9464", 200),
        ("[::1]:9464", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:9464", 421),
        ("10.0.0.1", 421),
        ("", 421),
    ],
)
def test_only_loopback_names_are_answered(report: DriverReport, host: str, status: int) -> None:
    """Issue: against DNS rebinding."""
    for path in ("/", "/metrics", "/status.json", "/none"):
        response = client_of(report).get(path, headers={"host": host})
        assert response.status_code == (404 if path == "/none" and status == 200 else status)
        if status != 200:
            assert "lab-7" not in response.text


def test_a_loop_that_hangs_shows_as_503(
    report: DriverReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_app, "_ANSWER_TIMEOUT_S", 0.01)
    response = client_of(None).get("/metrics")
    assert response.status_code == 503
    assert "did not answer" in response.text


def test_a_stopped_driver_shows_as_503() -> None:
    app = http_app.create_app(ScriptedReporter(None, stopped=True))
    client = TestClient(app, base_url="http://localhost")
    assert client.get("/status.json").status_code == client.get("/metrics").status_code == 503


def test_only_reading_is_possible(report: DriverReport) -> None:
    client = client_of(report)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, "/status.json").status_code == 405


def test_the_index_names_the_pages(report: DriverReport) -> None:
    text = client_of(report).get("/").text
    assert "/metrics" in text
    assert "/status.json" in text


def test_an_address_in_use_is_reported(free_port: int) -> None:
    with listen(f"127.0.0.1:{free_port}"), pytest.raises(HttpUnavailableError, match="in use"):
        listen(f"127.0.0.1:{free_port}")


def test_missing_libraries_are_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HttpUnavailableError, match=r"extra http: pip install"):
        listen("127.0.0.1:0")


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:9", ("::1", 9)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_addresses_are_split(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.process
def test_a_running_daemon_serves_its_pages(daemons: Daemons, free_port: int) -> None:
    """D-185: readable while running."""
    daemon = daemons.start(settings={"driver.http_address": f"127.0.0.1:{free_port}"}).ready()
    lease = daemons.client(daemon).attach()

    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/status.json") as page:
        document = json.load(page)
    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics") as page:
        metrics = page.read().decode()

    assert [one["lease_id"] for one in document["leases"]] == [str(lease.lease_id)]
    assert "tensor_pool_driver_attach_granted_total 1.0" in metrics
    assert daemon.stop() == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{free_port}/")


@pytest.mark.process
def test_a_daemon_whose_address_is_taken_ends_with_status_1(
    daemons: Daemons, free_port: int
) -> None:
    """D-192: before the lock, files or transport are touched."""
    with listen(f"127.0.0.1:{free_port}"):
        daemon = daemons.start(settings={"driver.http_address": f"127.0.0.1:{free_port}"})
        assert daemon.wait() == 1
    assert "cannot listen on driver.http_address" in daemon.stderr
    assert list(daemons.base_dir.iterdir()) == []


@pytest.mark.process
def test_idle_connections_use_up_neither_descriptors_nor_the_log(
    daemons: Daemons, free_port: int
) -> None:
    """D-186: any local user can open connections; leases and epochs go on."""
    limit = 256
    daemon = daemons.start(
        settings={"driver.http_address": f"127.0.0.1:{free_port}"},
        preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    ).ready()
    client = daemons.client(daemon)
    idle: list[socket.socket] = []
    try:
        idle += [
            socket.create_connection(("127.0.0.1", free_port), timeout=5)
            for _ in range(limit + 200)
        ]
        until(lambda: "more than 64 HTTP connections" in daemon.stderr, "the warning")
        assert client.attach().code is ResponseCode.OK
        assert client.attach(10001, 5).code is ResponseCode.OK
        # The first ones are closed for want of a request, and the page answers again.
        idle[0].settimeout(20)
        assert idle[0].recv(1) == b""

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics") as page:
                    return bool(page.status == 200)
            except OSError:
                return False

        until(answers, "an answer")
    finally:
        for one in idle:
            one.close()
    assert len(daemon.stderr) < 50_000
    assert "out of system resource" not in daemon.stderr
    assert daemon.stop() == 0
