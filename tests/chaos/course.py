"""The course of a chaos run: faults from a seed, quiet times, the end, the figures."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from tests.chaos.deployment import Deployment
from tests.chaos.faults import HOSTILE, Fault

__all__ = ["STARTED_WITHIN_S", "Outcome", "Weather", "chaos", "settle"]

ROUND_S = 15.0
WELL_WITHIN_S = 30.0
STARTED_WITHIN_S = 240.0  # so many processes take their time on a busy machine
SETTLED_WITHIN_S = 10.0
_MEAN_PAUSE_S = 0.7


class Outcome(msgspec.Struct):
    """Figures of a run; `problems` is empty if all was as it should be."""

    seed: int
    seconds: float
    figures: dict[str, int]
    faults: dict[str, int]
    recoveries_s: list[float]
    problems: list[str]
    bound_s: float

    def report(self) -> str:
        """As lines for people."""
        lines = [f"seed {self.seed}, {self.seconds:.0f} s"]
        lines += [f"  {count:9,} {what}" for what, count in sorted(self.figures.items())]
        lines += [f"  {count:9,} x {what}" for what, count in sorted(self.faults.items())]
        if self.recoveries_s:
            mean = sum(self.recoveries_s) / len(self.recoveries_s)
            worst = max(self.recoveries_s)
            lines.append(
                f"  all clients well again {len(self.recoveries_s)} times, within {mean:.1f} s"
                f" on average, {worst:.1f} s at most (bound {self.bound_s:g} s)"
            )
        lines += [f"  PROBLEM: {problem}" for problem in self.problems]
        lines.append("0 corrupt, 0 leaks" if not self.problems else "NOT WELL")
        return "\n".join(lines)


class Weather:
    """Draws faults, carries them out, and undoes them when their time has come."""

    def __init__(
        self,
        deployment: Deployment,
        faults: dict[str, tuple[Fault, int]],
        rng: random.Random,
        mean_pause_s: float = _MEAN_PAUSE_S,
    ) -> None:
        self._deployment = deployment
        self._faults = faults
        self._rng = rng
        self._mean_pause_s = mean_pause_s
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.counts: Counter[str] = Counter()

    def storm(self, seconds: float) -> None:
        """Faults for that long, then undo what is not undone yet."""
        end = time.monotonic() + seconds
        next_fault = time.monotonic()
        while (now := time.monotonic()) < end:
            self._deployment.tend()
            self._undo(now)
            if now >= next_fault:
                self._strike(now)
                next_fault = now + self._rng.expovariate(1 / self._mean_pause_s)
            time.sleep(0.01)
        self._undo(float("inf"))

    def _strike(self, now: float) -> None:
        weights = [weight for _, weight in self._faults.values()]
        (name,) = self._rng.choices(list(self._faults), weights)
        fault, _ = self._faults[name]
        # Its own numbers, so that what a fault meets does not change which faults follow.
        undo = fault(self._deployment, random.Random(self._rng.getrandbits(64)))
        self.counts[name] += 1
        if undo is not None:
            delay_s, action = undo
            heapq.heappush(self._due, (now + delay_s, next(self._order), action))

    def _undo(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()


def settle(deployment: Deployment, within_s: float = SETTLED_WITHIN_S) -> None:
    """Wait until no process maps more than it uses; one problem for each that goes on doing so."""
    deadline = time.monotonic() + within_s
    while leaks := deployment.region_leaks():
        if time.monotonic() > deadline:
            deployment.problems += leaks
            return
        deployment.tend()
        time.sleep(0.1)


def chaos(
    seconds: float,
    seed: int,
    *,
    streams: int = 2,
    round_s: float = ROUND_S,
    bound_s: float = WELL_WITHIN_S,
) -> Outcome:
    """Storms and quiet times for that long, then the end."""
    deployment = Deployment(seed, streams=streams)
    recoveries: list[float] = []
    try:
        weather = Weather(deployment, HOSTILE, random.Random(seed))
        deployment.wait_until_well(STARTED_WITHIN_S)
        began = time.monotonic()
        while not deployment.problems and time.monotonic() - began < seconds:
            weather.storm(min(round_s, seconds))
            recovery = deployment.wait_until_well(bound_s)
            if recovery is not None:
                recoveries.append(recovery)
                settle(deployment)
        deployment.end()
        if deployment.counts["frames corrupt"]:
            deployment.problems.append(f"{deployment.counts['frames corrupt']} corrupt frames")
        deployment.look_at_error_log()
    finally:
        deployment.close()
    return Outcome(
        seed,
        time.monotonic() - began,
        dict(deployment.counts),
        dict(weather.counts),
        recoveries,
        deployment.problems,
        bound_s,
    )
