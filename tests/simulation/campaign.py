"""Many seeds on all processors: figures, and each failure with the command that repeats it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from .minimise import minimised
from .run import Failure, Figures, run_seed
from .schedule import FAULTS, scenario_of, steps_of

__all__ = ["Finding", "Result", "campaign", "describe", "report"]

_SEEDS_A_TASK = 10
_ENOUGH_FINDINGS = 3


@dataclass
class Finding:
    """A failure as it travels between processes; `only` are the steps that suffice."""

    seed: int
    steps: int
    step: int
    error: str
    only: list[int] | None

    def __str__(self) -> str:
        replay = f"python -m tests.simulation --seed {self.seed} --steps {self.steps} --trace"
        lines = [f"seed {self.seed}, step {self.step}: {self.error}", f"  replay: {replay}"]
        if self.only is not None:
            numbers = ",".join(map(str, self.only))
            lines.append(f"  smallest: {replay} --only {numbers or 'none'}")
        return "\n".join(lines)


@dataclass
class Result:
    """The result of a campaign."""

    figures: Figures = field(default_factory=Figures)
    findings: list[Finding] = field(default_factory=list)
    processes: int = 1
    elapsed_s: float = 0.0


def campaign(
    seeds: Iterable[int],
    steps: int,
    processes: int | None = None,
    on_finding: Callable[[Finding], object] = lambda _: None,
) -> Result:
    """Run the seeds; after a few findings, each reported at once, the rest is left out."""
    started = time.monotonic()
    result = Result(processes=processes or os.cpu_count() or 1)
    for figures, findings in _outcomes(list(seeds), steps, result.processes):
        result.figures.add(figures)
        for finding in findings:
            on_finding(finding)
        result.findings += findings
        if len(result.findings) >= _ENOUGH_FINDINGS:
            break
    result.elapsed_s = time.monotonic() - started
    return result


def _outcomes(
    seeds: list[int], steps: int, processes: int
) -> Iterator[tuple[Figures, list[Finding]]]:
    tasks = [(seeds[at : at + _SEEDS_A_TASK], steps) for at in range(0, len(seeds), _SEEDS_A_TASK)]
    if processes == 1:
        yield from map(_run_task, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(processes, gc.freeze) as pool:
        yield from pool.imap_unordered(_run_task, tasks)


def _run_task(task: tuple[list[int], int]) -> tuple[Figures, list[Finding]]:
    seeds, steps = task
    figures = Figures()
    findings = []
    for seed in seeds:
        outcome = run_seed(seed, steps)
        if isinstance(outcome, Failure):
            findings.append(describe(outcome, steps))
        else:
            figures.add(outcome[0])
    gc.collect()
    return figures, findings


def describe(failure: Failure, steps: int) -> Finding:
    """The failure made small."""
    scenario = scenario_of(failure.seed)
    only = minimised(scenario, steps_of(scenario, steps), failure)
    error = f"{type(failure.error).__name__}: {failure.error}"
    return Finding(failure.seed, steps, failure.step, error, only)


def report(result: Result) -> str:
    """The figures of a campaign, for people."""
    figures = result.figures
    rate = figures.events / figures.seconds if figures.seconds else 0.0
    lines = [
        f"seeds                {figures.seeds:>12,}",
        f"steps                {figures.steps:>12,}",
        f"events               {figures.events:>12,}   (steps, messages offered and delivered,"
        " events of the driver's machines)",
        f"frames checked       {figures.frames:>12,}",
        f"invariant checks     {figures.checks:>12,}",
        f"faults injected      {figures.faults.total():>12,}",
        *(f"  {name:<18} {figures.faults[name]:>12,}" for name in sorted(FAULTS)),
        f"slowest recovery     {figures.slowest_recovery_ns / 1e6:>12,.0f} ms of simulated time",
        f"events a second      {rate:>12,.0f}   (a processor; {result.processes} used,"
        f" {result.elapsed_s:.0f} s)",
    ]
    lines += [f"FAILED {finding}" for finding in result.findings]
    return "\n".join(lines)
