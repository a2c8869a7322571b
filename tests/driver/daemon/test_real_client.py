"""The daemon with a real client process, which publishes and receives all the time."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.driver.conftest import Daemons
from tests.driver.daemons import CHANNEL, Daemon, until
from tests.driver.files.epoch_tree import namespace_dir

pytestmark = pytest.mark.process

SETTINGS = {"policies.announce_period_ms": 200}


class TracedClient:
    """`traced_client.py` as a process."""

    def __init__(self, daemons: Daemons, daemon: Daemon) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("traced_client.py")),
                daemons.aeron_dir,
                CHANNEL,
                str(daemon.control_stream_id),
                str(daemons.base_dir),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def next_epoch(self) -> int:
        """The next epoch in which a frame arrives."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1]
        return int(line)

    def finish(self) -> dict[str, Any]:
        output, errors = self._process.communicate(timeout=30)
        assert self._process.returncode == 0, errors
        report: dict[str, Any] = json.loads(output.splitlines()[-1])
        return report

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def clients() -> Iterator[list[TracedClient]]:
    clients: list[TracedClient] = []
    yield clients
    for client in clients:
        client.close()


def test_D_001_only_the_driver_makes_and_changes_region_files(
    daemons: Daemons, clients: list[TracedClient]
) -> None:
    """D-001: a whole session, the client traced by its interpreter."""
    daemon = daemons.start(settings=SETTINGS).ready()
    clients.append(client := TracedClient(daemons, daemon))
    epoch = client.next_epoch()
    report = client.finish()
    assert report == {"wrong": 0, "epochs": [epoch], "changes": []}
    assert daemon.stop() == 0
    assert (namespace_dir(daemons.base_dir) / "10000" / str(epoch) / "header.ring").is_file()


def test_a_killed_driver_comes_back_and_clients_go_on_without_being_restarted(
    daemons: Daemons, clients: list[TracedClient]
) -> None:
    """D-102, D-099, D-186, I-2, I-12: epochs strictly higher, no file outside policy."""
    daemon = daemons.start(settings=SETTINGS).ready()
    clients.append(client := TracedClient(daemons, daemon))
    epochs = [client.next_epoch()]
    for _ in range(2):
        # Lease ids of two instances differ if these were started in different seconds (D-080).
        started = int(time.time())
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        until(lambda started=started: int(time.time()) > started, "the next second")
        daemon = daemons.start(
            settings=SETTINGS, control_stream_id=daemon.control_stream_id
        ).ready()
        epochs.append(client.next_epoch())

    report = client.finish()

    assert report == {"wrong": 0, "epochs": epochs, "changes": []}
    assert epochs == sorted(set(epochs))
    assert daemon.stop() == 0
    policy = re.compile(r"\.driver\.lock|10000(/\d+(/header\.ring|/[12]\.pool)?)?|10001")
    tree = namespace_dir(daemons.base_dir)
    outside = [
        str(path)
        for path in daemons.base_dir.rglob("*")
        if path not in (tree, tree.parent)
        and not (path.is_relative_to(tree) and policy.fullmatch(str(path.relative_to(tree))))
    ]
    assert outside == []
