"""Status, metrics and pages of a bridge (B-101, B-108, B-112, B-160 to B-162)."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tensor_pool.bridge.http import PagesUnavailableError, serve_pages
from tensor_pool.bridge.metrics import metrics_page, samples
from tensor_pool.bridge.reporting import Reporter
from tensor_pool.bridge.status import (
    BridgeStatus,
    InStatus,
    LinkStatus,
    MachineStatus,
    OutStatus,
    take_status,
)
from tensor_pool.bridge.status_socket import bridges_here, serve_status
from tensor_pool.cli.commands.bridge_status import bridge_tables
from tensor_pool.cli.pool_view.tables import table_console
from tests.bridge.sim_world import FAR, STREAM, Faults, World
from tests.driver.http.page.browser import Browser

ROOT = Path(__file__).resolve().parents[2]
SPECIFICATION = ROOT / "docs" / "specification" / "bridge.md"
PAGE = ROOT / "bridge" / "http" / "static" / "page.js"


def both(world: World) -> tuple[BridgeStatus, BridgeStatus]:
    assert world.a is not None
    assert world.b is not None
    return take_status(world.a, pid=1, pool="/a"), take_status(world.b, pid=2, pool="/b")


def running_world(**faults: float) -> World:
    world = World(1, Faults(**faults))
    world.run(3000, frames_per_step=0.1)
    return world


def test_B_161_the_status_has_rates_lag_and_drops_of_both_sides() -> None:
    """B-161, B-101, B-108: links, streams, rates, lag, age, drops by reason, path, clocks."""
    world = running_world(overwritten=0.05)
    a, b = both(world)
    (out,), (entry,) = a.outgoing, b.incoming
    (link,) = a.links
    assert (link.direction, link.state, link.name) == ("out", "Up.Flowing", "b")
    assert link.mbit_s == pytest.approx(out.mbit_s)
    assert out.share == 1.0
    assert 80 < out.frames_s < 120  # 0.1 frames a step of 1 ms
    assert entry.frames_s == pytest.approx(out.frames_s, rel=0.1)
    assert out.drops == {"dropped_overwritten": out.counters["dropped_overwritten"]}
    assert out.counters["dropped_overwritten"] > 0
    assert entry.drops["frames_incomplete"] > 0
    assert entry.sender_frames_dropped > 0
    assert (entry.owner, entry.address, entry.path) == ("a", "10.0.0.1", ("a",))
    assert (out.path, entry.source_stream, entry.stream) == (("a",), STREAM, FAR)
    assert (entry.source_epoch, out.epoch) == (str(world.source.epoch),) * 2
    assert entry.far_epoch == str(world.pool_b.sinks[0].epoch)
    assert 0 < entry.age_ms < 100  # of simulated time, at ten frames in 100 ms
    assert 0 < entry.clock_offset_ns <= 5_000_000  # one clock: the smallest delay
    assert (entry.sequence, entry.timestamps) == ("source", "local")
    (incoming,) = b.links
    assert (incoming.sessions, incoming.sources) == (1, ("10.0.0.1",))


def test_B_108_the_lag_is_what_the_far_side_has_not_got() -> None:
    """B-108: at the sender what waits, at the receiver what was settled and did not arrive."""
    world = running_world()
    world.network.window_bytes = 0  # nothing is accepted any more
    for number in range(3):
        world.source.publish(10_000 + number, 100)
        world.step()
    a, b = both(world)
    assert a.outgoing[0].lag_frames == 3
    assert a.outgoing[0].queue_frames == 2
    delivered = world.receiver.last_delivered
    world.network.window_bytes = 1 << 14
    world.settle()
    assert both(world)[0].outgoing[0].lag_frames == 0
    assert both(world)[1].incoming[0].lag_frames == 0
    world.receiver.last_delivered = delivered  # as if the three had been lost on the way
    assert both(world)[1].incoming[0].lag_frames == 3
    del b


def test_B_112_every_machine_has_a_label_and_its_state() -> None:
    """B-112: Idle, Filling and Skipping show; the charts of all four machines are shipped."""
    world = running_world()
    a, b = both(world)
    labels = {machine.label: machine for machine in (*a.machines, *b.machines)}
    assert set(labels) == {"a", "b", "link b", f"out {STREAM}→{FAR} @ b", f"in {FAR}→{FAR} @ a"}
    seen = set()
    for number in range(300):
        world.source.publish(20_000 + number, 1000)
        world.step()
        seen.add(both(world)[1].machines[-1].state)
    assert {"Bound.Ready.Idle", "Bound.Ready.Filling"} <= seen
    charts = {path.stem for path in (PAGE.parent / "charts").glob("*.svg")}
    assert charts == {machine.chart for machine in labels.values()}


def test_B_162_metrics_have_the_names_of_the_specification() -> None:
    """B-162: the snapshot's names are those of the list, and no others."""
    text = SPECIFICATION.read_text().split('<a id="B-162">')[1].split("*Check:*")[0]
    listed = text.split("Sender:")[1]
    names: set[str] = set()
    for prefix, inner, suffix in re.findall(r"(\w*)\{([\w, ]+)\}(\w*)", listed):
        names |= {f"{prefix}{part.strip()}{suffix}" for part in inner.split(",")}
    plain = re.sub(r"\w*\{[\w, ]+\}\w*", "", listed)
    names |= {word for word in re.findall(r"[a-z_]+", plain) if "_" in word}
    names |= {"ignored", "sessions"}
    world = running_world()
    found = {name for status in both(world) for name, _, _ in samples(status)}
    unhandled = {f"{machine}_unhandled" for machine in ("bridge", "link", "outbound", "inbound")}
    assert found == names | unhandled


def test_B_162_the_page_of_metrics_is_prometheus_text() -> None:
    """B-162: labels `link`, `stream`."""
    from prometheus_client.parser import text_string_to_metric_families

    world = running_world()
    a, _ = both(world)
    page = metrics_page(msgspec.structs.replace(a, instance_id='a"\\')).decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    (sent,) = families["tensor_pool_bridge_frames_sent"].samples
    assert sent.name == "tensor_pool_bridge_frames_sent_total"
    assert sent.labels == {"instance": 'a"\\', "link": "b", "stream": str(FAR)}
    assert sent.value == a.outgoing[0].counters["frames_sent"] > 0
    assert families["tensor_pool_bridge_link_up"].type == "gauge"


@pytest.fixture
def reporter() -> Iterator[Reporter]:
    """Of a world that a thread of its own serves."""
    world = running_world(overwritten=0.05)
    made = Reporter(lambda: both(world)[1])
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(0.001):
            made.serve()

    thread = threading.Thread(target=loop)
    thread.start()
    yield made
    ended.set()
    thread.join()


def get(address: str, path: str, **headers: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers["Content-Type"], body


def test_B_161_the_pages_are_served(reporter: Reporter) -> None:
    """B-161: status, metrics, page and charts; nothing for pages from elsewhere."""
    with serve_pages("127.0.0.1:0", reporter) as address:
        status, kind, body = get(address, "/status.json")
        assert (status, kind) == (200, "application/json")
        decoded = msgspec.json.decode(body, type=BridgeStatus)
        assert decoded.incoming[0].drops["frames_incomplete"] > 0
        assert b"frames_delivered_total" in get(address, "/metrics")[2]
        assert b"page.js" in get(address, "/")[2]
        for path in ("/static/page.js", "/static/page.css", "/static/charts/InboundStream.svg"):
            assert get(address, path)[0] == 200
        for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/etc/passwd"):
            assert get(address, path)[0] == 404
        assert get(address, "/status.json", Host="evil.example")[0] == 421
        assert get(address, "/status.json", Sec_Fetch_Site="cross-site")[0] == 403
        with pytest.raises(PagesUnavailableError, match="in use"), serve_pages(address, reporter):
            pass
    with pytest.raises(OSError, match="refused"):
        get(address, "/status.json")


@pytest.mark.process
def test_B_112_the_page_in_a_browser_lights_the_active_state(reporter: Reporter) -> None:
    """B-112, B-161: tables, drops by reason, the statechart of the far stream; no errors."""
    browser = Browser.start()
    try:
        with serve_pages("127.0.0.1:0", reporter) as address:
            browser.open(f"http://{address}/")
            browser.wait("document.querySelector('#chart .node.lit text')?.textContent")
            assert browser.text("#instance") == "b"
            assert browser.text("#label") == f"in {FAR}→{FAR} @ a"
            assert browser.text("#path").startswith("Bound › Ready › ")
            assert browser.count("#chart .cluster.around") == 2
            row = browser.text("#incoming")
            for wanted in (f"{FAR} → {FAR}", f"a:{STREAM} 10.0.0.1", "frames_incomplete"):
                assert wanted in row
            assert "1 sessions" in browser.text("#links")
            # One script, since the list is drawn anew at every refresh.
            browser.wait(
                "(document.querySelector('#machines li:first-child button').click(), true)"
            )
            browser.wait("document.querySelector('#label').textContent === 'b'")
            assert browser.console() == []
    finally:
        browser.close()


def test_B_161_a_bridge_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """B-161: a stopped loop gives 503, not a page that hangs."""
    monkeypatch.setattr("tensor_pool.bridge.reporting._ANSWER_TIMEOUT_S", 0.05)
    with serve_pages("127.0.0.1:0", Reporter(lambda: pytest.fail("asked"))) as address:
        assert get(address, "/status.json")[0] == 503


def test_B_161_the_page_reads_fields_that_the_status_has() -> None:
    """B-161: the JSON schema has every field that the page shows."""
    _, schemas = msgspec.json.schema_components([BridgeStatus])
    text = PAGE.read_text()
    text = text.replace("/status.json", "")
    for letter, kinds in (
        ("l", (LinkStatus,)),
        ("s", (OutStatus, InStatus)),
        ("machine", (MachineStatus,)),
        ("status", (BridgeStatus,)),
    ):
        fields = {name for kind in kinds for name in schemas[kind.__name__]["properties"]}
        used = set(re.findall(rf"\b{letter}\.(\w+)\b", text))
        assert used, letter
        assert used <= fields, used - fields


def test_B_160_a_bridge_is_found_without_an_address(reporter: Reporter) -> None:
    """B-160: over a socket that ends with the process; the printed tables have both sides."""
    with serve_status(reporter):
        found = [status for status in bridges_here() if status.pool == "/b"]
        assert [status.instance_id for status in found] == ["b"]
    assert not [status for status in bridges_here() if status.pool == "/b"]
    console = table_console()
    with console.capture() as capture:
        console.print(bridge_tables(found))
    text = capture.get()
    for wanted in ("bridge b: Connected", "10.0.0.1", f"{FAR} into {FAR}", "frames_incomplete"):
        assert wanted in text
