"""Two hosts with nothing in common but a network: real drivers, real Aeron UDP, real frames."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.bridge.lab import Host, Lab

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "two-machines.md"

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


def program(host: Host, *arguments: str, output: str) -> subprocess.Popen[str]:
    return host.start(sys.executable, "-m", "tests.bridge.programs", *arguments, output=output)


def frames(host: Host, output: str) -> list[tuple[str, ...]]:
    """`SEQ SHA256` of each frame that a program printed."""
    rows = [line.split()[:2] for line in host.text(output).splitlines()]
    return [tuple(row) for row in rows if row[0].isdigit()]


def command(word: str, lab: Lab, port: int) -> list[str]:
    """The bridge command of the how-to page, for an address of the lab."""
    lines = PAGE.read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"tensor-pool bridge {word} 10000 --")]
    return line.replace("10.0.0.2:40456", f"{lab['B'].address}:{port}").split()[1:]


class Carried:
    """Stream 10000 on its way from A to B, with a consumer on each."""

    def __init__(self, lab: Lab, port: int) -> None:
        self.lab = lab
        self.port = port
        self.a, self.b = lab["A"], lab["B"]
        self.sent: list[str] = []  # outputs of producers
        self.arrived = f"arrived-{port}"
        self.local = f"local-{port}"
        self.readers = [(self.b, self.arrived), (self.a, self.local)]
        self.consumers = [
            program(host, "consume", "10000", output=output) for host, output in self.readers
        ]
        self.receiver = self.receive()
        self.sender = self.send()
        for host in (self.a, self.b):
            host.wait_for(self.log, "bridge ready")

    @property
    def log(self) -> str:
        return f"bridge-{self.port}"

    def receive(self) -> subprocess.Popen[str]:
        return self.b.tool(*command("receive", self.lab, self.port), output=self.log)

    def send(self) -> subprocess.Popen[str]:
        return self.a.tool(*command("send", self.lab, self.port), output=self.log)

    def produce(self, what: str, *arguments: str) -> Path:
        """Start a producer; returns when its far stream has a lease. It waits for its GO file."""
        output = f"sent-{self.port}-{len(self.sent)}"
        self.sent.append(output)
        go = self.a.home / f"go-{output}"
        program(self.a, what, "10000", *arguments, str(go), output=output)
        self.b.wait_for(self.log, "carries epoch", count=len(self.sent))
        for host, reader in self.readers:
            host.wait_for(reader, "ready")
        return go

    def end(self, go: Path) -> None:
        Path(f"{go}.end").touch()

    def close(self, gos: Iterable[Path]) -> None:
        """End producers, consumers and bridges, so that another test has the stream."""
        for go in gos:
            self.end(go)
        for process in (self.sender, self.receiver, *self.consumers):
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(30)

    def wait_for_more(self, count: int = 15) -> None:
        """Wait until the far consumer has got `count` frames more."""
        wanted = len(frames(self.b, self.arrived)) + count
        deadline = time.monotonic() + 60
        while len(frames(self.b, self.arrived)) < wanted:
            assert time.monotonic() < deadline, self.b.text(self.log)
            time.sleep(0.02)

    def require_true_frames(self) -> None:
        """Every frame that arrived is one that was sent, and none arrived twice."""
        received = frames(self.b, self.arrived)
        assert set(received) <= {row for output in self.sent for row in frames(self.a, output)}
        assert len(set(received)) == len(received)

    def far_epochs(self) -> list[str]:
        """Epochs of the far stream, in the order in which they were seen."""
        rows = [line.split() for line in self.b.text(self.arrived).splitlines()]
        return list(dict.fromkeys(row[2] for row in rows if row[0].isdigit()))

    def counts(self, host: Host, word: str) -> dict[str, int]:
        """The counts of a bridge that has ended: its last line."""
        (*_, line) = [t for t in host.text(self.log).splitlines() if t.startswith(f"{word} ")]
        pairs = (item.split() for item in line.partition(": ")[2].split(", "))
        return {name: int(value) for name, value in pairs}


def test_B_160_two_commands_carry_frames_through_restarts_kills_and_a_partition(lab: Lab) -> None:
    """B-160, B-002, B-104, B-130 (first success); B-090 (a producer that is restarted); B-091,
    B-053 (a partition costs no remap); B-140, B-004, B-024, B-082 (either bridge killed); B-005 at
    the end; B-100: capture times are of the far host's clock, 5000 s off. One story, since each
    step needs the same nine processes."""
    carried = Carried(lab, 40456)
    a, b = lab["A"], lab["B"]
    for host in (a, b):
        assert "unencrypted" in host.text(carried.log)

    first = carried.produce("publish", "40", "40", "480x640", "uint8", "1")
    first.touch()
    carried.wait_for_more(40)
    assert frames(b, carried.arrived) == frames(a, carried.sent[0])  # every one, in order
    b.wait_for(carried.arrived, "metadata camera ['gain', 'tensorpool.bridge']")
    streams = b.run(sys.executable, "-m", "tensor_pool.cli", "streams")
    assert "A:10000" in streams

    carried.end(first)
    second = carried.produce("publish", "5000", "30", "100x100", "float32", "2")
    second.touch()
    carried.wait_for_more()
    assert len(carried.far_epochs()) == 2
    assert carried.far_epochs() == sorted(carried.far_epochs())

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
    counted = carried.counts(a, "sent")
    dropped = sum(value for name, value in counted.items() if name.startswith("dropped_"))
    assert counted["frames_taken"] == (
        counted["frames_sent"] + dropped + counted.get("skipped_link", 0)
    )
    assert 0 < carried.counts(b, "received")["frames_delivered"] <= counted["frames_sent"]
    a.wait_for(carried.sent[1], "counters 0")
    (ages,) = [t for t in b.text(carried.arrived).splitlines() if t.startswith("ages ")]
    youngest, oldest = map(float, ages.split()[1:])
    assert 0 <= youngest < 1000
    assert oldest < 60_000
    local = [int(seq) for seq, _ in frames(a, carried.local)]
    restart = local.index(0, 1)  # of the second producer
    for numbers in (local[:restart], local[restart:]):
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_B_040_a_stopped_bridge_holds_no_producer_up(lab: Lab) -> None:
    """B-040, B-004: SIGSTOP under 10 kHz, more descriptors than a window holds. The window that
    fills is the bridge's own: a local consumer loses none. Frames flow again after SIGCONT."""
    carried = Carried(lab, 40457)
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
