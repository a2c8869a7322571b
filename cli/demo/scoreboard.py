"""The table that the demo shows: the totals of each process and the state of each machine.

Totals come from the workers' reports; states come from the transitions that the driver's machines
trace into its log.
"""

from __future__ import annotations

import re
from collections import Counter

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .protocol import ConsumerReport, ProducerReport

__all__ = ["Scoreboard", "Transition"]

_NUMBER_COLUMNS = 7
_LEASES_SHOWN = 8  # one by one; of more, those of other programs, the number by state

_GRANTED = re.compile(r"(?P<lease>lease \d+) granted: .* is (?P<role>\w+) of stream")


class Transition(msgspec.Struct, frozen=True):
    """One line of the driver's transition log."""

    machine: str
    before: str = msgspec.field(name="from")
    after: str = msgspec.field(name="to")
    event: str = ""

    def __str__(self) -> str:
        cause = f" on {self.event}" if self.event else ""
        return f"{self.machine}: {self.before or '(start)'} -> {self.after}{cause}"


class _Row:
    """One worker: its last report, and the rates since the one before."""

    def __init__(self) -> None:
        self.report: ProducerReport | ConsumerReport | None = None
        self.frames_per_s = 0.0
        self.gigabytes_per_s = 0.0
        self.note = "starting"

    def update(self, report: ProducerReport | ConsumerReport) -> None:
        last = self.report
        if last is not None and report.monotonic_ns > last.monotonic_ns and not report.final:
            seconds = (report.monotonic_ns - last.monotonic_ns) / 1e9
            self.frames_per_s = (report.frames - last.frames) / seconds
            self.gigabytes_per_s = (report.nbytes - last.nbytes) / seconds / 1e9
        self.report = report
        self.note = ""

    @property
    def state(self) -> str:
        return self.note or (self.report.state if self.report else "starting")


class Scoreboard:
    """The latest of everything."""

    def __init__(self, workers: tuple[str, ...]) -> None:
        self._rows = {name: _Row() for name in workers}
        self.machines: dict[str, str] = {}
        self._roles: dict[str, str] = {}

    def on_report(self, worker: str, report: ProducerReport | ConsumerReport) -> None:
        """Take over a worker's report."""
        self._rows[worker].update(report)

    def on_driver_message(self, text: str) -> None:
        """Learn from the driver's log what a lease is for."""
        if match := _GRANTED.match(text):
            self._roles[match["lease"]] = match["role"]

    def on_transition(self, transition: Transition) -> None:
        """Take over a machine's new state; a machine that is done with is forgotten."""
        if transition.after == "Closed":
            self.machines.pop(transition.machine, None)
        else:
            self.machines[transition.machine] = transition.after

    def note(self, worker: str, text: str) -> None:
        """Say something of a worker in the place of its state, until its next report."""
        row = self._rows[worker]
        row.note = text
        row.frames_per_s = row.gigabytes_per_s = 0.0

    def table(self, caption: str) -> RenderableType:
        """For a terminal, of 80 columns or more."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
        table.add_column("process", no_wrap=True)
        table.add_column("state")
        for heading in ("frames/s", "GB/s", "frames", "p50", "p99"):
            table.add_column(heading, justify="right", min_width=_NUMBER_COLUMNS, no_wrap=True)
        table.add_column("drops by kind")
        for name, row in self._rows.items():
            report = row.report
            consumer = report if isinstance(report, ConsumerReport) else None
            table.add_row(
                name,
                row.state,
                f"{row.frames_per_s:.0f}",
                f"{row.gigabytes_per_s:.2f}",
                str(report.frames if report else 0),
                _latency(consumer.latency_p50_ns if consumer else None),
                _latency(consumer.latency_p99_ns if consumer else None),
                _counts(_lost(report)),
            )
        machines = Table.grid(padding=(0, 2, 0, 0))
        for machine, state in self._machine_states():
            machines.add_row(machine, state)
        return Group(table, machines, Text(caption, style="dim"))

    def line(self) -> str:
        """For a log: the same in one line."""
        parts = []
        for name, row in self._rows.items():
            report = row.report
            part = f"{name} {row.state} {row.frames_per_s:.0f}/s {row.gigabytes_per_s:.2f} GB/s"
            if isinstance(report, ConsumerReport):
                part += (
                    f" p50 {_latency(report.latency_p50_ns)} p99 {_latency(report.latency_p99_ns)}"
                )
            part += f" drops {_counts(_lost(report))}"
            parts.append(part)
        parts.append(", ".join(f"{name} {state}" for name, state in self._machine_states()))
        return " | ".join(parts)

    def _machine_states(self) -> list[tuple[str, str]]:
        """Driver, leases, stream; each with the inner two names of its state."""
        inner = {name: ".".join(path.split(".")[-2:]) for name, path in self.machines.items()}
        leases = [name for name in inner if name.startswith("lease ")]
        counted = leases if len(leases) > _LEASES_SHOWN else []
        states = Counter(inner[name] for name in counted)
        return [
            (f"{name} ({self._roles[name]})" if name in self._roles else name, inner[name])
            for name in sorted(inner)
            if name not in counted
        ] + [(f"{count} leases", state) for state, count in sorted(states.items())]


def _lost(report: ProducerReport | ConsumerReport | None) -> dict[str, int]:
    if report is None:
        return {}
    lost = report.drops if isinstance(report, ConsumerReport) else report.refused
    return {kind: count for kind, count in lost.items() if count}


def _counts(counts: dict[str, int]) -> str:
    return " ".join(f"{kind}={count}" for kind, count in counts.items()) or "0"


def _latency(ns: int | None) -> str:
    if ns is None:
        return "-"
    return f"{ns / 1e6:.2f} ms" if ns >= 1_000_000 else f"{ns / 1e3:.0f} µs"
