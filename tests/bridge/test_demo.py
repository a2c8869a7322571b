"""`tensor-pool bridge demo`, in a very short form."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tensor_pool.cli.demo.protocol import ConsumerReport, ProducerReport
from tensor_pool.cli.demo.two_hosts.verdict import Break, TwoHostsOutcome, judge

COMMAND = [str(Path(sys.executable).parent / "tensor-pool"), "bridge", "demo"]
SHORT = ["--partition", "0.5", "--pause", "0.1", "--rate", "20"]


def outcome() -> TwoHostsOutcome:
    """A run in which everything went well."""
    viewer = ConsumerReport(monotonic_ns=1, state="Closed", frames=9, final=True)
    each = {"viewer-1": 0, "viewer-2": 0}
    return TwoHostsOutcome(
        source_frames=3,
        partition_s=8,
        breaks=[
            Break(
                name="the partition", frames_before=dict.fromkeys(each, 3), mended_s=1, remaps=each
            )
        ],
        link_went_down=True,
        camera=ProducerReport(monotonic_ns=1, state="Closed", frames=9, final=True),
        viewers=dict.fromkeys(each, viewer),
        sent={"frames_taken": 9, "frames_sent": 7, "dropped_stalled": 1, "skipped_link": 1},
        received={"frames_delivered": 7},
        exit_statuses={"bridge-a": 0},
    )


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, ""),
        ({"link_went_down": False}, "noticed the partition"),
        ({"sent": {"frames_taken": 9, "frames_sent": 8}}, "add up"),
        ({"received": {"frames_delivered": 10}}, "frames at the receiver"),
        ({"exit_statuses": {"bridge-a": 1}}, "drained"),
        ({"left_behind": ["/dev/shm/x"]}, "nothing left"),
        ({"camera": None}, "never held up"),
    ],
)
def test_B_005_the_verdict_of_the_demo_can_fail(changes: dict[str, object], failed: str) -> None:
    """B-005: every check of the summary that is not about a step."""
    whole = outcome()
    for name, value in changes.items():
        setattr(whole, name, value)
    texts = [check.text for check in judge(whole) if not check.passed]
    assert bool(texts) == bool(failed)
    assert all(failed in text for text in texts)


@pytest.mark.parametrize(
    "changes",
    [{"mended_s": None}, {"mended_s": 99.0}, {"remaps": {"viewer-1": 1, "viewer-2": 0}},
     {"frames_before": {"viewer-1": 0, "viewer-2": 1}}, {"exit_status": 0}, {"may_remap": True}],
)  # fmt: skip
def test_B_091_a_step_of_the_demo_can_fail(changes: dict[str, object]) -> None:
    """B-091: recovery in time, and a remap where there has to be one and nowhere else."""
    whole = outcome()
    for name, value in changes.items():
        setattr(whole.breaks[0], name, value)
    assert [check for check in judge(whole) if not check.passed]


@pytest.mark.process
@pytest.mark.xdist_group("bridge-demo")
def test_B_091_the_short_demo_over_loopback_passes_and_leaves_nothing_behind() -> None:
    """B-091, B-140, B-024: a partition, a kill of each bridge; without namespaces, as without root.

    The whole demo in namespaces is `make demo-bridge`.
    """
    demo = subprocess.Popen(
        [*COMMAND, *SHORT, "--loopback"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = demo.communicate(timeout=110)
    assert demo.returncode == 0, out[-6000:] + err
    assert "hosts: two base directories and media drivers over loopback" in out
    assert "0 failed" in out
    assert not list(Path("/dev/shm").glob(f"tensorpool-demo-{demo.pid}-*"))
    killed = re.findall(r"KILL  bridge-\w \(pid (\d+)\)", out)
    assert len(killed) == 2
    for pid in killed:
        assert not list(Path("/dev/shm").glob(f"aeron-*-tensorpool-bridge-{pid}-*"))
