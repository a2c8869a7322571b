"""Two hosts with nothing in common but a network: real drivers, real Aeron UDP, real frames."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.bridge.lab import Host, Lab

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("lab")]


def program(host: Host, *arguments: str, output: str) -> None:
    host.start(sys.executable, "-m", "tests.bridge.programs", *arguments, output=output)


def frames(host: Host, output: str) -> list[list[str]]:
    """`SEQ SHA256` of each frame that a program printed."""
    rows = [line.split()[:2] for line in host.text(output).splitlines()]
    return [row for row in rows if row[0].isdigit()]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab("A", "B") as lab:
        for host in lab.hosts.values():
            host.tool("driver", output="driver")
        for host in lab.hosts.values():
            host.wait_for("driver", "driver ready")
        yield lab


def test_B_160_two_commands_carry_every_frame_to_another_host(lab: Lab) -> None:
    """B-160, B-002, B-104, B-130, B-140 (bridges before streams): 18 of section 16.2."""
    a, b = lab["A"], lab["B"]
    b.tool("bridge", "receive", "10000", "--at", f"{b.address}:40456", output="bridge")
    a.tool("bridge", "send", "10000", "--to", f"{b.address}:40456", output="bridge")
    for host in (a, b):
        host.wait_for("bridge", "bridge ready")
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
