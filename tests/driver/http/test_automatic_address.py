"""The address `auto` of the pages (D-196)."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import socket
import urllib.request
from collections.abc import Iterator

import pytest

from tensor_pool.cli.support import status_page
from tensor_pool.driver.config.load import load_config
from tensor_pool.driver.http import server
from tests.driver.conftest import Daemons


@pytest.fixture
def taken_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The usual address of this test, which another program has."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setattr(server, "USUAL_ADDRESS", address)
        yield address


def test_D_196_another_loopback_port_is_taken_where_the_usual_one_is_not_free(
    taken_port: str,
) -> None:
    listener = server.listen_anywhere()
    assert listener is not None
    with listener:
        host, port = listener.getsockname()
    assert host == "127.0.0.1"
    assert f"{host}:{port}" != taken_port


def test_D_196_without_the_libraries_there_are_no_pages_and_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with caplog.at_level("INFO"):
        assert server.listen_anywhere() is None
    assert "extra http: pip install pillow prometheus-client sse-starlette" in caplog.text


@pytest.mark.process
def test_D_196_a_driver_whose_usual_port_is_taken_runs_and_prints_where_its_page_is(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(OSError):  # then another program has it, now or all the time
            opened.enter_context(socket.create_server(("127.0.0.1", 9464)))
        daemon = daemons.start(settings={"driver.http_address": "auto"}).ready()
        (address,) = re.findall(r"pages on http://(127\.0\.0\.1:\d+)/", daemon.stderr)
        assert daemon.stdout[0].endswith(f" page=http://{address}/\n"), "D-192"
        with urllib.request.urlopen(f"http://{address}/status.json") as page:
            assert json.load(page)["driver"]["aeron_dir"] == daemons.aeron_dir
        overrides = [
            ("driver.http_address", "auto"),
            ("driver.aeron_dir", daemons.aeron_dir),
            ("driver.control_stream_id", daemon.control_stream_id),
        ]
        config = load_config(overrides=overrides, environ={}).config
        monkeypatch.setattr(status_page, "USUAL_ADDRESS", address)
        assert status_page.address_of_pages(config, 10.0) == address
        other = load_config(
            overrides=[*overrides, ("driver.aeron_dir", "/elsewhere")], environ={}
        ).config
        assert status_page.address_of_pages(other, 10.0) == ""
        assert daemon.stop() == 0
