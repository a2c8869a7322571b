"""Two hosts with nothing in common but a network: real drivers, real Aeron UDP, real frames."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridge.lab import Host, Lab

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "two-machines.md"

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("lab")]


def program(host: Host, *arguments: str, output: str) -> None:
    host.start(sys.executable, "-m", "tests.bridge.programs", *arguments, output=output)


def frames(host: Host, output: str) -> list[list[str]]:
    """`SEQ SHA256` of each frame that a program printed."""
    rows = [line.split()[:2] for line in host.text(output).splitlines()]
    return [row for row in rows if row[0].isdigit()]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two hosts, each with a driver."""
    with Lab("A", "B") as lab:
        for host in lab.hosts.values():
            host.tool("driver", output="driver")
        for host in lab.hosts.values():
            host.wait_for("driver", "driver ready")
        yield lab


def start_bridges(lab: Lab) -> None:
    """Carry stream 10000 from A to B."""
    receive(lab)
    send(lab)
    for host in lab.hosts.values():
        host.wait_for("bridge", "bridge ready")


def command(word: str, lab: Lab) -> list[str]:
    """The bridge command of the how-to page, for the far host's address in the lab."""
    lines = PAGE.read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"tensor-pool bridge {word} 10000 --")]
    return line.replace("10.0.0.2", lab["B"].address).split()[1:]


def receive(lab: Lab) -> subprocess.Popen[str]:
    return lab["B"].tool(*command("receive", lab), output="bridge")


def send(lab: Lab) -> subprocess.Popen[str]:
    return lab["A"].tool(*command("send", lab), output="bridge")


def wait_for_more(lab: Lab, count: int = 15) -> None:
    """Wait until the far consumer has got `count` frames more."""
    wanted = len(frames(lab["B"], "consumer")) + count
    deadline = time.monotonic() + 60
    while len(frames(lab["B"], "consumer")) < wanted:
        assert time.monotonic() < deadline, lab["B"].text("bridge")
        time.sleep(0.05)


def require_true_frames(lab: Lab) -> None:
    """Every frame that arrived is one that was sent, and none arrived twice."""
    received = [tuple(row) for row in frames(lab["B"], "consumer")]
    assert set(received) <= {tuple(row) for row in frames(lab["A"], "producer")}
    assert len(set(received)) == len(received)


def far_epochs(lab: Lab) -> list[str]:
    """Epochs of the far stream, in the order in which they were seen."""
    rows = [line.split() for line in lab["B"].text("consumer").splitlines()]
    return list(dict.fromkeys(row[2] for row in rows if row[0].isdigit()))


def test_B_160_two_commands_carry_every_frame_to_another_host(lab: Lab) -> None:
    """B-160, B-002, B-104, B-130, B-140 (bridges before streams): 18 of section 16.2."""
    a, b = lab["A"], lab["B"]
    start_bridges(lab)
    for host in (a, b):
        assert "unencrypted" in host.text("bridge")
    program(b, "consume", "10000", "5", output="consumer")
    program(a, "publish", "10000", "90", "30", "480x640", "uint8", output="producer")
    b.wait_for("consumer", "metadata", timeout=60)
    sent, received = frames(a, "producer"), frames(b, "consumer")
    assert len(sent) == 90
    assert received == sent
    assert "metadata camera" in b.text("consumer")
    assert "['gain', 'tensorpool.bridge']" in b.text("consumer")
    assert "counters 0" in a.text("producer")


def test_B_140_either_bridge_killed_under_traffic(lab: Lab) -> None:
    """B-140, B-004, B-082, B-091: the far consumer goes on, the source notices nothing."""
    a, b = lab["A"], lab["B"]
    receiver, sender = receive(lab), send(lab)
    for host in (a, b):
        host.wait_for("bridge", "bridge ready")
    program(b, "consume", "10000", "60", output="consumer")
    program(a, "consume", "10000", "60", output="local")
    program(a, "publish", "10000", "3000", "30", "100x100", "float32", output="producer")
    wait_for_more(lab)
    receiver.kill()
    receiver.wait()
    receiver = receive(lab)
    wait_for_more(lab)
    sender.kill()
    sender.wait()
    send(lab)
    wait_for_more(lab)
    require_true_frames(lab)
    local = [int(seq) for seq, _ in frames(a, "local")]
    assert local == list(range(local[0], local[0] + len(local)))


def test_B_091_a_partition_of_eight_seconds_costs_no_remap(lab: Lab) -> None:
    """B-091, B-053, B-140: frames of the partition are skipped, the far epoch stays."""
    a, b = lab["A"], lab["B"]
    start_bridges(lab)
    program(b, "consume", "10000", "60", output="consumer")
    program(a, "publish", "10000", "3000", "30", "100x100", "float32", output="producer")
    wait_for_more(lab)
    b.link_down()
    a.wait_for("bridge", "down; frames are skipped")
    time.sleep(3)  # 5 s are over, 10 s are not
    b.link_up()
    wait_for_more(lab)
    require_true_frames(lab)
    assert len(far_epochs(lab)) == 1


def test_B_090_the_far_epoch_follows_a_producer_that_is_restarted(lab: Lab) -> None:
    """B-090, B-140: no consumer is restarted."""
    a, b = lab["A"], lab["B"]
    start_bridges(lab)
    program(b, "consume", "10000", "60", output="consumer")
    program(a, "publish", "10000", "60", "30", "64x64", "uint8", "1", output="producer")
    wait_for_more(lab)
    a.wait_for("producer", "counters")
    program(a, "publish", "10000", "3000", "30", "64x64", "uint8", "2", output="producer")
    wait_for_more(lab)
    received = {tuple(row) for row in frames(b, "consumer")}
    assert received <= {tuple(row) for row in frames(a, "producer")}
    assert len(far_epochs(lab)) == 2
    assert far_epochs(lab) == sorted(far_epochs(lab))


def test_B_040_a_stopped_bridge_holds_no_producer_up(lab: Lab) -> None:
    """B-040, B-004: SIGSTOP under a producer of 1 kHz; a local consumer loses nothing."""
    a, b = lab["A"], lab["B"]
    receive(lab)
    sender = send(lab)
    for host in (a, b):
        host.wait_for("bridge", "bridge ready")
    program(b, "consume", "10000", "60", output="consumer")
    program(a, "consume", "10000", "5", output="local")
    program(a, "publish", "10000", "8000", "1000", "8", "uint8", output="producer")
    wait_for_more(lab, 100)
    sender.send_signal(signal.SIGSTOP)
    a.wait_for("producer", "counters", timeout=90)
    assert "counters 0" in a.text("producer")
    a.wait_for("local", "metadata", timeout=60)
    assert "gaps 0" in a.text(
        "local"
    )  # of descriptors; a slot may be overwritten on a busy machine
    sender.send_signal(signal.SIGCONT)
    program(a, "publish", "10000", "3000", "30", "8", "uint8", output="again")
    wait_for_more(lab)
