"""The page's files and URLs: contents, permitted readers and headers for browsers."""

from __future__ import annotations

import importlib.util
import re
import socket
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from starlette.testclient import TestClient

from tensor_pool.driver.core.driver_machine import DriverLifecycle
from tensor_pool.driver.core.lease_machine import LeaseLifecycle
from tensor_pool.driver.core.stream_machine import StreamLifecycle
from tensor_pool.driver.http import app as http_app
from tensor_pool.driver.http.page import peer, routes
from tensor_pool.driver.http.page.event_hub import Hub
from tensor_pool.driver.http.page.viewer_process import Viewer
from tensor_pool.driver.runtime.transition_feed import TransitionFeed
from tensor_pool.hsm import Machine
from tensor_pool.hsm.diagram.reading import outline_of
from tests.driver.http.page.test_events import ScriptedReporter, report_of

STATIC = Path(routes.__file__).parent / "static"
CHARTS = (DriverLifecycle, StreamLifecycle, LeaseLifecycle)


class FullReporter(ScriptedReporter):
    def request_metrics(self) -> Any:
        raise AssertionError("not asked for here")


def client(*, shows_frames: bool = True) -> TestClient:
    reporter = FullReporter(report_of())
    hub = Hub(reporter, TransitionFeed(), Viewer(), shows_frames=shows_frames)
    return TestClient(http_app.create_app(reporter, hub), base_url="http://127.0.0.1")


def test_every_file_that_the_page_names_is_served() -> None:
    page = client().get("/").text
    waiting = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page))
    seen: set[str] = set()
    while waiting:
        seen.add(path := waiting.pop())
        response = client().get(path)
        assert response.status_code == 200, path
        found = {f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', response.text)}
        waiting |= found - seen
    on_disk = {f"/static/{path.name}" for path in STATIC.iterdir() if path.is_file()}
    assert seen == on_disk - {"/static/index.html"}


def test_nothing_is_fetched_from_elsewhere() -> None:
    for path in STATIC.rglob("*.*"):
        text = path.read_text()
        addresses = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"')]*", text))
        names = ("http://www.w3.org/", "//www.w3.org/")  # names of formats, never fetched
        assert [a for a in addresses if not a.startswith(names)] == [], path


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/static/none", "/none", "/frames"])
def test_browsers_are_asked_to_keep_the_page_to_itself(path: str) -> None:
    headers = client().get(path).headers
    policy = dict(
        directive.strip().split(" ", 1)
        for directive in headers["content-security-policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


def test_the_markup_has_nothing_that_the_policy_forbids() -> None:
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", page) == []
    for path in STATIC.glob("*.js"):
        code = path.read_text()
        assert (
            re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", code) == []
        )


PATHS = [
    "/events",
    "/frames?streams=1",
    "/pixels?stream=1",
    "/status.json",
    "/metrics",
    "/static/page.js",
    "/",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_from_elsewhere_cannot_make_the_driver_work(path: str, site: str) -> None:
    response = client().get(path, headers={"sec-fetch-site": site})
    assert response.status_code == 403


def test_a_link_from_elsewhere_opens_the_page_and_nothing_else() -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client().get("/", headers=headers).status_code == 200
    assert client().get("/status.json", headers=headers).status_code == 403


@pytest.mark.parametrize("path", PATHS)
def test_the_page_is_for_loopback_names_only(path: str) -> None:
    assert client().get(path, headers={"host": "rebound.example"}).status_code == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", PATHS)
def test_the_page_only_reads(method: str, path: str) -> None:
    assert client().request(method, path).status_code == 405


@pytest.mark.parametrize("path", ["/static/../routes.py", "/static/%2e%2e/routes.py"])
def test_no_other_file_is_served(path: str) -> None:
    assert client().get(path).status_code == 404


@pytest.mark.parametrize("path", ["/frames?streams=1", "/pixels?stream=1"])
def test_frames_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(routes, "is_same_user", lambda *_: True)
    response = client(shows_frames=False).get(path)
    assert response.status_code == 403
    assert "driver.http_images" in response.text


@pytest.mark.parametrize("path", ["/frames?streams=1", "/pixels?stream=1"])
def test_frames_are_refused_to_whom_the_kernel_does_not_name(path: str) -> None:
    response = client().get(path)
    assert response.status_code == 403
    assert "own user" in response.text


@pytest.mark.parametrize("streams", ["", "x", "1,,2", "-1", ",".join(map(str, range(65)))])
def test_bad_stream_ids_are_refused(monkeypatch: pytest.MonkeyPatch, streams: str) -> None:
    monkeypatch.setattr(routes, "is_same_user", lambda *_: True)
    assert client().get("/frames", params={"streams": streams}).status_code == 400


@pytest.mark.parametrize("stream", ["", "x", "1,2", "-1"])
def test_D_199_a_bad_stream_id_is_refused(monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    monkeypatch.setattr(routes, "is_same_user", lambda *_: True)
    assert client().get("/pixels", params={"stream": stream}).status_code == 400


def test_too_many_pages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "has_room", False)
    assert client().get("/events").status_code == 503


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_kernel_has_the_owner_of_a_connection(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as server,
        socket.create_connection(server.getsockname()[:2]) as mine,
    ):
        ends = (mine.getsockname()[:2], mine.getpeername()[:2])
        assert peer.is_same_user(*ends)
        assert peer._uid_of(*ends) == peer.os.geteuid()
        # Another user's, unless that is root, who can read everything anyway.
        monkeypatch.setattr(peer, "_uid_of", lambda *_: peer.os.geteuid() + 1)
        assert not peer.is_same_user(*ends)
        monkeypatch.setattr(peer, "_uid_of", lambda *_: 0)
        assert peer.is_same_user(*ends)
        monkeypatch.undo()
        assert not peer.is_same_user((host, 1), ends[1])
    assert not peer.is_same_user(("testclient", 50000), ("testserver", 80))
    assert not peer.is_same_user(None, None)


def diagrams() -> ModuleType:
    path = Path(__file__).resolve().parents[4] / "diagrams" / "generate.py"
    spec = importlib.util.spec_from_file_location("diagrams_generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_charts_of_the_page_are_not_stale() -> None:
    """`make diagrams` writes them."""
    assert diagrams().stale_on_pages() == []


@pytest.mark.parametrize("machine", CHARTS)
def test_every_state_and_every_way_between_states_is_found_in_the_chart(
    machine: type[Machine],
) -> None:
    """The page finds a state by its name, and an arrow by the event in its label."""
    svg = ElementTree.parse(STATIC / "charts" / f"{machine.__name__}.svg")
    space = "{http://www.w3.org/2000/svg}"
    titles = {element.text for element in svg.iter(f"{space}title")}
    texts = {(element.text or "").strip() for element in svg.iter(f"{space}text")}
    outline = outline_of(machine)
    for node in outline.nodes[1:]:
        if node.kind in ("state", "composite"):
            assert node.name in titles or f"cluster_{node.name}" in titles
            assert node.name in texts
    for arrow in outline.arrows:
        for label in arrow.labels:
            shown = label.partition("/")[0].strip()
            assert shown in texts
            assert re.match(r"[A-Z][A-Z_]+", shown)
