"""Soak of clients: ten minutes of crashes and driver restarts, and nothing grows.

    python -m tests.soak.clients --seconds 600

Producers, consumers and the daemon are killed, ended and started again, from a seed; consumers
check the contents of every frame. One producer and one consumer of each stream live through it all:
in quiet times after the first minute and at the end it is looked at what they and the daemon hold.
Open files, mapped files and memory have to be back at the first level. Exit status 1 if not, or if
a frame was corrupt, or if anything was left behind.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

import msgspec

from tests.chaos.course import STARTED_WITHIN_S, Outcome, Weather, settle
from tests.chaos.deployment import Deployment
from tests.chaos.faults import GENTLE
from tests.chaos.processes import Holdings

__all__ = ["Level", "soak"]

_STORM_S = 25.0
_FIRST_LEVEL_S = 60.0
_WELL_WITHIN_S = 60.0
_SAMPLES = 70  # 21 s: for so long Aeron keeps the logs of clients that were killed, and then some
_MEAN_PAUSE_S = 4.0
_MEMORY_SLACK = 1.10
_MEMORY_SLACK_KIB = 4096  # what an allocator may keep


class Level(msgspec.Struct, frozen=True):
    """The least of what a process held in some seconds of quiet."""

    descriptors: int
    maps: int
    rss_kib: int

    @classmethod
    def of(cls, samples: list[Holdings]) -> Level:
        return cls(
            min(s.descriptors for s in samples),
            min(s.maps for s in samples),
            min(s.rss_kib for s in samples),
        )

    def growth_since(self, first: Level) -> list[str]:
        """Return the figures that are not back at the first level."""
        grown = []
        if self.descriptors > first.descriptors:
            grown.append(f"{first.descriptors} open files became {self.descriptors}")
        if self.maps > first.maps:
            grown.append(f"{first.maps} maps became {self.maps}")
        if self.rss_kib > first.rss_kib * _MEMORY_SLACK + _MEMORY_SLACK_KIB:
            grown.append(f"{first.rss_kib} KiB of memory became {self.rss_kib}")
        return grown

    def __str__(self) -> str:
        return f"{self.descriptors} files, {self.maps} maps, {self.rss_kib / 1024:.1f} MiB"


def levels(deployment: Deployment) -> dict[str, Level]:
    """Return the holdings of each spared process, and of the daemon, when nothing happens."""
    settle(deployment)
    samples: dict[str, list[Holdings]] = {}
    for _ in range(_SAMPLES):
        for name, holdings in deployment.holdings().items():
            samples.setdefault(name, []).append(holdings)
        time.sleep(0.3)
    watched = {"daemon", *(m.name for m in deployment.members if m.is_spared)}
    return {name: Level.of(found) for name, found in samples.items() if name in watched}


def soak(
    seconds: float, seed: int, *, first_level_s: float = _FIRST_LEVEL_S, storm_s: float = _STORM_S
) -> tuple[Outcome, list[str]]:
    """The outcome, and lines with the first and last level of each process."""
    deployment = Deployment(seed, consumers=3, rate_hz=60.0)
    recoveries: list[float] = []
    lines: list[str] = []
    began = time.monotonic()
    try:
        for stream_id in deployment.stream_ids:
            for role in ("producer", "consumer"):
                spared = next(
                    m for m in deployment.members if m.role == role and m.stream_id == stream_id
                )
                spared.is_spared = role == "consumer" or stream_id == deployment.stream_ids[0]
        weather = Weather(deployment, GENTLE, random.Random(seed), _MEAN_PAUSE_S)
        deployment.wait_until_well(STARTED_WITHIN_S)
        began = time.monotonic()
        first: dict[str, Level] = {}
        while not deployment.problems and time.monotonic() - began < seconds:
            weather.storm(min(storm_s, seconds))
            recovery = deployment.wait_until_well(_WELL_WITHIN_S)
            if recovery is not None:
                recoveries.append(recovery)
            if not first and time.monotonic() - began >= first_level_s:
                first = levels(deployment)
        for name, last in levels(deployment).items():
            if name in first:
                lines.append(f"  {name}: {first[name]} at first, {last} at the end")
                deployment.problems += [
                    f"{name}: {grown}" for grown in last.growth_since(first[name])
                ]
        if not first:
            deployment.problems.append("there was no first level to compare with")
        deployment.end()
        if deployment.counts["frames corrupt"]:
            deployment.problems.append(f"{deployment.counts['frames corrupt']} corrupt frames")
        if not deployment.counts["frames verified"]:
            deployment.problems.append("no frame was verified")
        deployment.look_at_error_log()
    finally:
        deployment.close()
    outcome = Outcome(
        seed,
        time.monotonic() - began,
        dict(deployment.counts),
        dict(weather.counts),
        recoveries,
        deployment.problems,
        _WELL_WITHIN_S,
    )
    return outcome, lines


def main() -> int:
    parser = argparse.ArgumentParser(description="Clients, crashes, restarts: nothing may grow.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    outcome, lines = soak(options.seconds, options.seed)
    print(outcome.report(), *lines, sep="\n")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
