"""No wait depends on the wall clock (C-118): nothing is late when it is set back, or early."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.waits_beside_a_stepping_clock import WAIT_S
from tests.wall_clock import WallClock

ROOT = Path(__file__).parents[2]
PACKAGES = ("bridge", "cli", "client", "driver", "hsm", "protocol")
WALL_CLOCKS = {"time", "time_ns", "localtime", "gmtime", "now", "utcnow", "CLOCK_REALTIME"}
# Files that read it, and the number they need it for. A wait is not among them.
READERS = {
    "bridge/core/clocks.py": "offset between two hosts' clocks",
    "bridge/core/receiving.py": "offset between two hosts' clocks",
    "bridge/core/sending.py": "offset between two hosts' clocks",
    "cli/commands/foxglove_server.py": "times of frames and of the log that are shown",
    "cli/commands/health.py": "time of day that is shown",
    "cli/commands/mcap_file.py": "the date of a recording",
    "cli/commands/_lineage_text.py": "time of day that is shown",
    "cli/commands/trace.py": "times of received frames",
    "cli/commands/view.py": "times of received frames",
    "cli/commands/watch.py": "time of day that is shown",
    "cli/conformance/driver_regions.py": "announces of the REALTIME_SYNCED clock domain",
    "cli/conformance/peer_checks.py": "time stamps of keepalives",
    "cli/conformance/producer_frames.py": "time stamps of frames",
    "cli/conformance/stand_in.py": "first lease id and epochs (D-080, D-095)",
    "cli/pool_view/heard.py": "time of day that is shown",
    "client/attachment/announce_filter.py": "announces of the REALTIME_SYNCED clock domain",
    "client/attachment/epoch_mapping.py": "announces of the REALTIME_SYNCED clock domain",
    "client/traces/listener.py": "times of received frames",
    "client/producer/producer.py": "trace ids",
    "driver/core/driver_machine.py": "first lease id (D-080)",
    "driver/core/epochs.py": "epochs (D-095)",
    "driver/daemon/log.py": "time of day in the log",
    "driver/files/garbage.py": "age of a file that an earlier driver left, from its date",
    "driver/runtime/message_feed.py": "time of day on the page",
    "driver/runtime/transition_feed.py": "time of day on the page",
    "protocol/clock.py": "the clock itself",
    "protocol/transport/counters_file.py": "age of Aeron's heartbeat, which is of the wall clock",
    "protocol/transport/media_driver.py": "start time of a process",
}


@pytest.mark.process
def test_every_wait_takes_its_time_while_the_wall_clock_steps_by_an_hour(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tests.client.waits_beside_a_stepping_clock"],
        cwd=ROOT,
        env=os.environ | clock.environ,
        capture_output=True,
        text=True,
        timeout=120,  # with a wait on the wall clock it would be an hour
        check=False,
    )
    assert done.returncode == 0, done.stderr
    took = [(name, float(seconds)) for name, seconds in map(str.split, done.stdout.splitlines())]
    assert len(took) == 16
    assert all(seconds >= 0.9 * WAIT_S for _, seconds in took), took


def wall_clock_reads(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            module = node.value.id if isinstance(node.value, ast.Name) else ""
            if node.attr == "realtime_ns" or (
                node.attr in WALL_CLOCKS and module in ("time", "datetime", "date")
            ):
                yield f"{module}.{node.attr}"


def sleeps_by_the_wall_clock(source: str) -> Iterator[str]:
    """Waits of modules whose time limits follow the wall clock."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name = ast.unparse(node.func)
        limited = any(ast.unparse(argument) != "0" for argument in node.args)
        if name.endswith("semaphore.acquire") and limited:
            yield name  # sem_timedwait
        if name.startswith(("multiprocessing.", "_processes.")) and node.func.attr in (
            *("Barrier", "Condition", "Event", "JoinableQueue", "Lock", "Queue", "RLock"),
            *("BoundedSemaphore", "Semaphore"),
        ):
            yield name


def test_the_wall_clock_is_read_for_stamps_and_numbers_only() -> None:
    """Every wait of the product has another clock: the monotonic one, or that of the kernel."""
    readers, sleepers = set(), {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            source, name = path.read_text(), str(path.relative_to(ROOT))
            if "generated" in path.parts:
                continue
            if any(wall_clock_reads(source)):
                readers.add(name)
            if found := list(sleeps_by_the_wall_clock(source)):
                sleepers[name] = found
    assert readers == set(READERS)
    assert not sleepers


@pytest.mark.parametrize(
    ("source", "finds"),
    [
        ("semaphore.acquire(0.2)", sleeps_by_the_wall_clock),
        ("multiprocessing.Event()", sleeps_by_the_wall_clock),
        ("deadline = time.time() + 1", wall_clock_reads),
        ("clock.realtime_ns()", wall_clock_reads),
    ],
)
def test_the_search_finds_waits_on_the_wall_clock(source: str, finds: object) -> None:
    assert callable(finds)
    assert list(finds(source))
    assert not list(finds("semaphore.acquire(0); time.monotonic(); threading.Event()"))
