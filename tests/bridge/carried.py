"""A stream on its way from host A to host B of the lab, and the programs at its ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tensor_pool.bridge.core.metric_names import DROPPED_HERE, DROPPED_THERE
from tests.bridge.lab import Host, Lab

__all__ = ["HELD", "PAGE", "Carried", "command", "counts_in", "frames", "program"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "two-machines.md"


HELD = ("--set", "hold_ms=300000")
"""Options of a receiver whose lease does not end because the machine is slow."""


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


def counts_in(line: str, start: str) -> dict[str, int]:
    """The counts of a line of a bridge's summary, which begins with `start`."""
    pairs = (item.split() for item in line.removeprefix(start).partition(": ")[2].split(", "))
    return {name: int(value) for name, value in pairs}


class Carried:
    """Stream 10000 on its way from A to B, with a consumer on each."""

    def __init__(
        self,
        lab: Lab,
        port: int,
        near: str = "consume",
        *,
        send: Sequence[str] = (),
        receive: Sequence[str] = (),
        stepped: bool = False,
    ) -> None:
        """`send` and `receive` are options besides those of the how-to page. With `stepped` the
        real time of both bridges is off by the seconds in the file `step` of their hosts."""
        self.lab = lab
        self._options = {"send": send, "receive": receive}
        self.port = port
        self._stepped = stepped
        self.a, self.b = lab["A"], lab["B"]
        self.producers: list[subprocess.Popen[str]] = []
        self.sent: list[str] = []  # their outputs
        self.arrived = f"arrived-{port}"
        self.local = f"local-{port}"
        self.readers = [(self.b, self.arrived), (self.a, self.local)]
        self.consumers = [
            program(self.b, "consume", "10000", output=self.arrived),
            program(self.a, near, "10000", output=self.local),
        ]
        self.receiver = self.receive()
        self.sender = self.send()
        for host in (self.a, self.b):
            host.wait_for(self.log, "bridge ready")

    @property
    def log(self) -> str:
        return f"bridge-{self.port}"

    def receive(self) -> subprocess.Popen[str]:
        return self._start("receive", self.b)

    def send(self) -> subprocess.Popen[str]:
        return self._start("send", self.a)

    def _start(self, word: str, host: Host) -> subprocess.Popen[str]:
        words = [*command(word, self.lab, self.port), *self._options[word]]
        if self._stepped:
            step = host.home / "step"
            step.write_text("0")
            return program(host, "stepped", str(step), *words, output=self.log)
        return host.tool(*words, output=self.log)

    def produce(self, what: str, *arguments: str) -> Path:
        """Start a producer; returns when its far stream has a lease. It waits for its GO file."""
        output = f"sent-{self.port}-{len(self.sent)}"
        self.sent.append(output)
        go = self.a.home / f"go-{output}"
        self.producers.append(program(self.a, what, "10000", *arguments, str(go), output=output))
        self.b.wait_for(self.log, "carries epoch", count=len(self.sent))
        for host, reader in self.readers:
            host.wait_for(reader, "ready")
        return go

    def end(self, go: Path) -> None:
        Path(f"{go}.end").touch()

    def close(self, gos: Iterable[Path]) -> None:
        """End producers, consumers and bridges, so that another test has the stream.

        The receiver ends when it has got everything: the info without a producer comes last.
        """
        left = "on ProducerDetached"
        before = self.b.text("driver").count(left)
        for go in gos:
            self.end(go)
        self.b.wait_for("driver", left, count=before + 1)
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

    def wait_for_epochs(self, count: int) -> None:
        """Wait until the far consumer has got frames of so many epochs. A killed driver is noticed
        after a while, and frames go on under the old epoch until then."""
        deadline = time.monotonic() + 60
        while len(self.far_epochs()) < count:
            assert time.monotonic() < deadline, self.b.text(self.log)
            time.sleep(0.02)

    def require_true_frames(self, unprinted: int = 0) -> None:
        """Every frame that arrived is one that was sent, and none arrived twice.

        `unprinted` producers were killed, each perhaps after a frame that it had not printed yet.
        """
        received = frames(self.b, self.arrived)
        sent = {row for output in self.sent for row in frames(self.a, output)}
        assert len(set(received) - sent) <= unprinted
        assert len(set(received)) == len(received)

    def require_sum(self) -> None:
        """B-005, by the counts of the two bridges that ran last; they have ended.

        A frame that was given up after its first chunk is counted here, and broken there.
        """
        here, there = self.counts(self.a, "sent"), self.counts(self.b, "received")
        dropped = sum(here.get(name, 0) for name in DROPPED_HERE)
        assert here["frames_taken"] == here["frames_sent"] + dropped + here.get("skipped_link", 0)
        account = there["frames_delivered"] + sum(there.get(name, 0) for name in DROPPED_THERE)
        account += there.get("frames_before", 0) + there.get("frames_lost", 0)
        assert here["frames_sent"] <= account <= here["frames_sent"] + dropped, (here, there)

    def ages_ms(self) -> tuple[float, float]:
        """Ages of the youngest and of the oldest frame when the far consumer, which has ended,
        received it."""
        (line,) = [t for t in self.b.text(self.arrived).splitlines() if t.startswith("ages ")]
        _, youngest, oldest = line.split()
        return float(youngest), float(oldest)

    def far_epochs(self) -> list[str]:
        """Epochs of the far stream, in the order in which they were seen."""
        rows = [line.split() for line in self.b.text(self.arrived).splitlines()]
        return list(dict.fromkeys(row[2] for row in rows if row[0].isdigit()))

    def frames_of(self, far_epoch: str) -> list[tuple[str, ...]]:
        """`SEQ SHA256` of each frame that arrived in an epoch of the far stream."""
        rows = [line.split() for line in self.b.text(self.arrived).splitlines()]
        return [tuple(row[:2]) for row in rows if row[0].isdigit() and row[2] == far_epoch]

    def counts(self, host: Host, word: str) -> dict[str, int]:
        """The counts of a bridge that has ended: its last line."""
        (*_, line) = [t for t in host.text(self.log).splitlines() if t.startswith(f"{word} ")]
        return counts_in(line, word)
