"""The long form of the lab, which `make lab-bridge` runs: kills of every program, and full lengths.

Not a part of `make test`: the loss of a media driver is noticed after 10 s, so each of these steps
takes that long.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tensor_pool.bridge.core.metric_names import DROPPED_HERE, DROPPED_THERE
from tests.bridge.carried import HELD, Carried, program
from tests.bridge.lab import Host, Lab
from tests.bridge.stories import LONG, PROFILES, SHORT, Size, carry_three_streams, squeeze

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

_NET_DIRECTORY = "/dev/shm/net"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two hosts, clocks 5000 s apart."""
    with Lab("A", "B", offsets_s={"B": 5000}) as lab:
        yield lab


def start_driver(host: Host, number: int = 1) -> subprocess.Popen[str]:
    """The driver of a host, for the n-th time."""
    driver = host.tool("driver", *PROFILES, output="driver")
    host.wait_for("driver", "driver ready", count=number)
    return driver


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def test_B_140_every_program_is_killed_under_traffic(lab: Lab) -> None:
    """B-140, B-025, B-096, B-090, B-005: row 6 of section 16.2, without the bridges, which
    `test_two_hosts` kills. No bridge and no consumer is restarted, and all frames are true ones."""
    a, b = lab["A"], lab["B"]
    drivers = {host.name: start_driver(host) for host in (a, b)}
    net = program(a, "media_driver", _NET_DIRECTORY, output="net")
    a.wait_for("net", "media driver ready")
    carried = Carried(lab, 40466, send=("--set", f"media_driver={_NET_DIRECTORY}"), receive=HELD)
    first = carried.produce("publish", "100000", "30", "100x100", "float32", "1")
    first.touch()
    carried.wait_for_more()

    kill(net)
    a.wait_for(carried.log, "the media driver of the network side is lost")
    program(a, "media_driver", _NET_DIRECTORY, output="net")
    carried.wait_for_more()
    assert len(carried.far_epochs()) == 1  # the pool side was not hit

    kill(drivers["B"])
    start_driver(b, 2)
    carried.wait_for_more()
    assert len(carried.far_epochs()) == 2

    kill(drivers["A"])
    start_driver(a, 2)
    carried.wait_for_more()
    assert len(carried.far_epochs()) == 3

    kill(carried.producers[0])
    second = carried.produce("publish", "100000", "30", "64", "uint8", "2")
    second.touch()
    carried.wait_for_more()
    assert len(carried.far_epochs()) == 4
    carried.require_true_frames(unprinted=1)  # a producer is killed before it prints, or after

    carried.close([second])
    here, there = carried.counts(a, "sent"), carried.counts(b, "received")
    dropped = sum(here.get(name, 0) for name in DROPPED_HERE)
    assert here["frames_taken"] == here["frames_sent"] + dropped + here.get("skipped_link", 0)
    account = there["frames_delivered"] + sum(there.get(name, 0) for name in DROPPED_THERE)
    account += there.get("frames_before", 0) + there.get("frames_lost", 0)
    assert here["frames_sent"] <= account <= here["frames_sent"] + dropped


def test_B_005_twenty_seconds_of_three_streams(lab: Lab) -> None:
    """B-005, B-023: rows 1 and 9 of section 16.2."""
    for host in lab.hosts.values():
        start_driver(host)
    carry_three_streams(lab, LONG)


@pytest.mark.parametrize("size", [SHORT, LONG])
def test_B_043_a_narrow_link_costs_old_frames_and_no_memory(lab: Lab, size: Size) -> None:
    """B-043, B-004, B-005, B-075: row 8 of section 16.2, over links of 8 and of 100 Mbit/s."""
    for host in lab.hosts.values():
        start_driver(host)
    squeeze(lab, size)
