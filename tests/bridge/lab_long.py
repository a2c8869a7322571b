"""The long form of the lab, which `make lab-bridge` runs: kills of every program, and full lengths.

Not a part of `make test`: the loss of a media driver is noticed after 10 s, so each of these steps
takes that long.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridge.carried import HELD, PAGE, Carried, frames, program
from tests.bridge.lab import Host, Lab
from tests.bridge.stories import LONG, PROFILES, SHORT, Size, carry_three_streams, squeeze

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

_NET_DIRECTORY = "/dev/shm/net"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two hosts, clocks 5000 s apart."""
    with Lab("A", "B", offsets_s={"B": 5000}) as lab:
        yield lab
        lab.print_outputs()  # shown if the test has failed


def start_driver(host: Host, number: int = 1) -> subprocess.Popen[str]:
    """The driver of a host, for the n-th time."""
    driver = host.tool("driver", *PROFILES, output="driver")
    host.wait_for("driver", "driver ready", count=number)
    return driver


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


@pytest.mark.parametrize("pause_s", [0, 2, 15])
def test_B_140_every_program_is_killed_under_traffic(lab: Lab, pause_s: float) -> None:
    """B-140, B-025, B-096, B-090, B-091, B-005: row 6 of section 16.2. No consumer is restarted,
    and all frames are true ones. The pause is that between a kill and the next start."""
    a, b = lab["A"], lab["B"]
    drivers = {host.name: start_driver(host) for host in (a, b)}
    net = program(a, "media_driver", _NET_DIRECTORY, output="net")
    a.wait_for("net", "media driver ready")
    carried = Carried(lab, 40466, send=("--set", f"media_driver={_NET_DIRECTORY}"), receive=HELD)
    first = carried.produce("publish", "100000", "30", "100x100", "float32", "1")
    first.touch()
    carried.wait_for_more()

    def require_epochs(count: int, what: str) -> None:
        started = time.monotonic()
        carried.wait_for_epochs(count)
        carried.wait_for_more()
        print(f"{what}: {time.monotonic() - started:.1f} s from the restart to the 15th frame")
        assert len(carried.far_epochs()) == count

    kill(net)
    time.sleep(pause_s)
    a.wait_for(carried.log, "the media driver of the network side is lost")
    program(a, "media_driver", _NET_DIRECTORY, output="net")
    require_epochs(1, "media driver")  # the pool side was not hit

    kill(carried.sender)
    time.sleep(pause_s)
    carried.sender = carried.send()
    require_epochs(1, "bridge A")  # the lease was held

    kill(carried.receiver)
    time.sleep(pause_s)
    carried.receiver = carried.receive()
    require_epochs(2, "bridge B")

    kill(drivers["B"])
    time.sleep(pause_s)
    start_driver(b, 2)
    require_epochs(3, "driver B")

    kill(drivers["A"])
    time.sleep(pause_s)
    start_driver(a, 2)
    require_epochs(4, "driver A")

    kill(carried.producers[0])
    time.sleep(pause_s)
    second = carried.produce("publish", "100000", "30", "64", "uint8", "2")
    second.touch()
    require_epochs(5, "producer")
    carried.require_true_frames(unprinted=1)  # a producer is killed before it prints, or after

    carried.close([second])
    carried.require_sum()


@pytest.mark.parametrize("seconds", [3, 8, 10, 20])
def test_B_140_partitions(lab: Lab, seconds: float) -> None:
    """B-140, B-091, B-053, B-005: row 5 of section 16.2. Up to 10 s the lease is held; after 20 s
    it has ended, and no frame comes that was published before the link was up again."""
    a, b = lab["A"], lab["B"]
    for host in (a, b):
        start_driver(host)
    carried = Carried(lab, 40468)
    go = carried.produce("publish", "100000", "30", "100x100", "float32", "1")
    go.touch()
    carried.wait_for_more()
    b.link_down()
    time.sleep(seconds)
    before = len(frames(a, carried.sent[0]))
    b.link_up()
    carried.wait_for_more()
    long = seconds > 15
    assert len(carried.far_epochs()) == 1 + long
    carried.require_true_frames()
    if long:
        stale = set(frames(a, carried.sent[0])[:before])
        later = carried.frames_of(carried.far_epochs()[1])
        assert not stale & set(later)
    carried.close([go])
    carried.require_sum()


def test_B_140_clocks_are_stepped_under_traffic(lab: Lab) -> None:
    """B-140, B-100: row 13 of section 16.2. Real time jumps, as an operator would set it; the
    monotonic clocks are 5000 s apart. Frames go on, and their ages are those of the network."""
    a, b = lab["A"], lab["B"]
    for host in (a, b):
        start_driver(host)
    carried = Carried(lab, 40469, receive=HELD, stepped=True)
    go = carried.produce("publish", "100000", "30", "100x100", "float32", "1")
    go.touch()
    for host, step_s in ((a, 3600), (b, -7200), (a, -86_400), (b, 0), (a, 0)):
        (host.home / "step").write_text(str(step_s))
        carried.wait_for_more(60)  # longer than an info takes to come
    assert len(carried.far_epochs()) == 1
    carried.require_true_frames()
    carried.close([go])
    carried.require_sum()
    youngest, oldest = carried.ages_ms()
    assert youngest >= 0
    assert oldest < 60_000


def test_B_160_a_newcomer_follows_the_page(lab: Lab) -> None:
    """B-160, row 18 of section 16.2: every command of the first part of the how-to page, as it is
    written but for the address."""
    a, b = lab["A"], lab["B"]
    steps = PAGE.read_text().split("If no frames come")[0]
    commands = re.findall(r"```sh\n(.*)\n```", steps)
    driver, receive, send, capture, hz = (line.replace("10.0.0.2", b.address) for line in commands)
    for host, command, prints in (
        (b, receive, "The bridge waits for it"),  # in any order
        (a, driver, "driver ready"),
        (a, send, "bridge ready"),
        (b, driver, "driver ready"),
        (a, send, ": up"),
        (a, capture, ""),
        (b, hz, " Hz   period"),
    ):
        name = command.partition("tensor-pool ")[2].replace("bridge ", "").partition(" ")[0]
        if not (host.home / name).exists():
            path = f"PATH={Path(sys.executable).parent}:$PATH"
            host.start("sh", "-c", f"export {path}; exec {command}", output=name)
        host.wait_for(name, prints)


@pytest.mark.parametrize("size", [SHORT, LONG])
def test_B_005_every_frame_of_three_streams_arrives_at_each_place_that_lives(
    lab: Lab, size: Size
) -> None:
    """B-005, B-002, B-023, B-024, B-041, B-004: rows 1 and 9 of section 16.2. One place is dead
    from the beginning, one receiver of a dynamic control address is stopped. The sender shares the
    pool's media driver."""
    for host in lab.hosts.values():
        start_driver(host)
    carry_three_streams(lab, size)


@pytest.mark.parametrize("size", [SHORT, LONG])
def test_B_043_a_narrow_link_costs_old_frames_and_no_memory(lab: Lab, size: Size) -> None:
    """B-043, B-004, B-005, B-075: row 8 of section 16.2, over links of 8 and of 100 Mbit/s."""
    for host in lab.hosts.values():
        start_driver(host)
    squeeze(lab, size)
