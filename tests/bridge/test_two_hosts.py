"""Two hosts with nothing in common but a network: real drivers, real Aeron UDP, real frames."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from tensor_pool.cli.commands._mcap_reader import Recording
from tests.bridge.carried import HELD, Carried, frames
from tests.bridge.lab import Lab
from tests.bridge.programs import digest

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("lab"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two hosts, clocks 5000 s apart, each with a driver; a test ends its own programs."""
    with Lab("A", "B", offsets_s={"B": 5000}) as lab:
        for host in lab.hosts.values():
            host.tool("driver", output="driver")
        for host in lab.hosts.values():
            host.wait_for("driver", "driver ready")
        yield lab


def test_B_160_two_commands_carry_frames_through_restarts_kills_and_a_partition(lab: Lab) -> None:
    """B-160, B-002, B-104, B-130 (first success); B-090 (a producer that is restarted); B-091,
    B-053 (a partition costs no remap); B-140, B-004, B-024, B-082 (either bridge killed); B-005 at
    the end; B-100: capture times are of the far host's clock, 5000 s off; the far stream is
    recorded by its name. One story, since each step needs the same nine processes."""
    carried = Carried(lab, 40456, receive=HELD)
    a, b = lab["A"], lab["B"]
    for host in (a, b):
        assert "unencrypted" in host.text(carried.log)

    first = carried.produce("publish", "40", "40", "480x640", "uint8", "1")
    first.touch()
    carried.wait_for_more(40)
    assert frames(b, carried.arrived) == frames(a, carried.sent[0])  # every one, in order
    b.wait_for(carried.arrived, "metadata camera/left ['gain', 'tensorpool.bridge']")
    streams = b.run(sys.executable, "-m", "tensor_pool.cli", "streams")
    assert "A:10000" in streams

    carried.end(first)
    second = carried.produce("publish", "5000", "30", "100x100", "float32", "2")
    second.touch()
    carried.wait_for_more()
    assert len(carried.far_epochs()) == 2
    assert carried.far_epochs() == sorted(carried.far_epochs())
    file = b.home / "far.mcap"
    b.run(
        sys.executable, "-m", "tensor_pool.cli", "record", "camera/left", str(file), "--count", "15"
    )
    with Recording(file) as recording:
        recorded = [(str(f.seq), digest(f.shape, f.array())) for _, f in recording.frames()]
    assert len(recorded) == 15
    assert set(recorded) <= set(frames(a, carried.sent[1]))

    b.link_down()
    a.wait_for(carried.log, "down; frames are skipped")
    b.link_up()
    carried.wait_for_more()
    assert len(carried.far_epochs()) == 2

    carried.sender.kill()
    carried.sender.wait()
    carried.sender = carried.send()
    carried.wait_for_more()
    assert len(carried.far_epochs()) == 2  # the lease was held

    carried.receiver.kill()
    carried.receiver.wait()
    carried.receiver = carried.receive()
    carried.wait_for_more()
    assert len(carried.far_epochs()) == 3
    carried.require_true_frames()

    carried.close([second])
    carried.require_sum()
    a.wait_for(carried.sent[1], "counters 0")
    youngest, oldest = carried.ages_ms()
    assert 0 <= youngest < 1000
    assert oldest < 60_000
    local = [int(seq) for seq, _ in frames(a, carried.local)]
    restart = local.index(0, 1)  # of the second producer
    for numbers in (local[:restart], local[restart:]):
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_B_040_a_stopped_bridge_holds_no_producer_up(lab: Lab) -> None:
    """B-040, B-004: SIGSTOP under 10 kHz, more descriptors than a window holds. The window that
    fills is the bridge's own: a local consumer loses none. Frames flow again after SIGCONT."""
    carried = Carried(lab, 40457, near="count")
    a, b = lab["A"], lab["B"]
    go = carried.produce("burst", "30000", "10000")
    carried.sender.send_signal(signal.SIGSTOP)
    go.touch()
    a.wait_for(carried.sent[0], "counters", timeout=90)
    carried.end(go)
    carried.consumers[1].terminate()
    a.wait_for(carried.local, "gaps")
    assert "gaps 0" in a.text(carried.local)  # of descriptors; slots may be overwritten meanwhile
    carried.sender.send_signal(signal.SIGCONT)
    before = len(frames(b, carried.arrived))
    again = carried.produce("publish", "3000", "30", "8", "uint8", "1")
    again.touch()
    carried.wait_for_more()
    carried.close([again])
    late = set(frames(b, carried.arrived)[before:]) & set(frames(a, carried.sent[1]))
    assert len(late) >= 15
