"""The kit finds nothing at our producer and consumer, and every fault that is planted in them.

The runs wait for most of their time, so three go on at once, each with its own media driver: more
would make the answers late that they wait for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tensor_pool.cli.conformance.consumer import CONSUMER_CHECKS
from tensor_pool.cli.conformance.producer import PRODUCER_CHECKS
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tests.conformance.faults import CONSUMER_FAULTS, PRODUCER_FAULTS
from tests.conformance.peers import CHANNEL

pytestmark = [pytest.mark.process, pytest.mark.timeout(700)]

PERIOD_S = 0.4
CHECKS: dict[str, Any] = {"producer": PRODUCER_CHECKS, "consumer": CONSUMER_CHECKS}
FAULTS = {"producer": PRODUCER_FAULTS, "consumer": CONSUMER_FAULTS}
EXAMPLES = Path(__file__).parents[2] / "examples" / "interop"


type Outcomes = dict[str, dict[str, Any]]


def run_kit(
    role: str,
    aeron_dir: str,
    base_dir: str,
    control: int,
    *command: object,
    channel: str = CHANNEL,
    checks: Sequence[str] = (),
    patience_s: int = 10,
) -> Outcomes:
    """Run the program as others run it, and return the outcomes by name of the check."""
    given = {
        "aeron-dir": aeron_dir,
        "base-dir": base_dir,
        "control-channel": channel,
        "control-stream-id": control,
        "announce-period": PERIOD_S if channel == CHANNEL else 1.0,
        "timeout": patience_s,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tensor_pool.cli", "conformance", role, "--json"]
        + [f"--{name}={value}" for name, value in given.items()]
        + [f"--check={name}" for name in checks]
        + ["--", sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    names = [one.name for one in CHECKS[role] if not checks or one.name in checks]
    assert [one["name"] for one in outcomes] == names, done.stderr
    broken = any(one["verdict"] == "broken" for one in outcomes)
    assert done.returncode == int(broken), done.stderr
    return {one["name"]: one for one in outcomes}


def ours(
    role: str, control: int, *options: str, checks: Sequence[str] = (), patience_s: int = 10
) -> Outcomes:
    with _place() as (aeron_dir, base_dir):
        program = ("-m", "tests.conformance.peers", role, aeron_dir, control, base_dir)
        where = (role, aeron_dir, base_dir, control)
        return run_kit(*where, *program, PERIOD_S, *options, checks=checks, patience_s=patience_s)


def ours_with_faults(role: str, control: int) -> Outcomes:
    """Of the many grants that must not be used, the one that is: the others take long."""
    names = [one.name for one in CHECKS[role]]
    checks = [name for name in names if not name.startswith("no_") or name in FAULTS[role]]
    # Every fault is waited for: a check holds only if what must come came within the patience.
    return ours(role, control, "--faults", checks=checks, patience_s=3)


def raw() -> Outcomes:
    """The minimal producer shares no code with ours; checks that need it to come back are left."""
    checks = ("attach_request", "drivers_messages", "committed", "fixed_fields", "known_values")
    checks += ("extents", "padding", "pool_choice", "timestamps", "no_subscriber", "stamps")
    channel = "aeron:ipc?term-length=4m"  # that of the program
    with _place() as (aeron_dir, base_dir):
        where = ("producer", aeron_dir, base_dir, 1000)
        program = (EXAMPLES / "producer.py", aeron_dir, "--base-dir", base_dir)
        endless = ("--frames", 10**6, "--rate", 200)
        outcomes = run_kit(*where, *program, *endless, channel=channel, checks=checks)
        assert not list(Path(base_dir).iterdir()), "it leaves no file and no directory"
        return outcomes


@contextmanager
def _place() -> Iterator[tuple[str, str]]:
    """A media driver's directory, and one for regions."""
    with (
        MediaDriverProcess() as media_driver,
        tempfile.TemporaryDirectory(prefix="conformance-", dir="/dev/shm") as base_dir,
    ):
        yield media_driver.directory, base_dir


RUNS: dict[str, Callable[[], Outcomes]] = {
    "consumer": lambda: ours("consumer", 1282),
    "consumer with faults": lambda: ours_with_faults("consumer", 1284),
    "producer": lambda: ours("producer", 1281),
    "producer with faults": lambda: ours_with_faults("producer", 1283),
    "raw": raw,
}


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Future[Outcomes]]]:
    with ThreadPoolExecutor(3) as threads:
        yield {name: threads.submit(run) for name, run in RUNS.items()}


@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_ours_holds_every_requirement_that_can_be_seen(
    role: str, runs: dict[str, Future[Outcomes]]
) -> None:
    outcomes = runs[role].result()
    assert [one for one in outcomes.values() if one["verdict"] != "holds"] == []


@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_every_planted_fault_is_found_and_nothing_else(
    role: str, runs: dict[str, Future[Outcomes]]
) -> None:
    outcomes = runs[f"{role} with faults"].result()
    broken = {name: one["text"] for name, one in outcomes.items() if one["verdict"] == "broken"}
    assert set(broken) == FAULTS[role], broken
    assert all(broken.values())


def test_a_producer_in_raw_aeron_and_raw_memory_holds_what_it_promises(
    runs: dict[str, Future[Outcomes]],
) -> None:
    outcomes = runs["raw"].result()
    assert [one for one in outcomes.values() if one["verdict"] != "holds"] == []
