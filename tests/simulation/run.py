"""One seed, one run: the figures of it, or what went wrong and where."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .isolation import isolated
from .memory_store import MemoryDisk
from .recovery import recover, shut_down
from .schedule import FAULTS, Scenario, Step, scenario_of, steps_of
from .world import World

__all__ = ["Failure", "Figures", "run_seed", "run_steps"]


@dataclass
class Figures:
    """The figures of a number of runs."""

    seeds: int = 0
    steps: int = 0
    events: int = 0
    checks: int = 0
    frames: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    slowest_recovery_ns: int = 0
    seconds: float = 0.0

    def add(self, other: Figures) -> None:
        """Take another's figures in; times are of processors, so they add up."""
        for name in ("seeds", "steps", "events", "checks", "frames", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults += other.faults
        self.slowest_recovery_ns = max(self.slowest_recovery_ns, other.slowest_recovery_ns)


@dataclass
class Failure:
    """A run that went wrong: `step` counts from 0; the number of steps if it was the recovery."""

    seed: int
    step: int
    error: BaseException

    @property
    def kind(self) -> str:
        """The rule or the exception, which minimising must keep."""
        text = str(self.error)
        return f"{type(self.error).__name__} {text.split(':')[0]}"


def run_steps(
    scenario: Scenario, steps: Sequence[Step], tell: Callable[[str], None] | None = None
) -> tuple[Figures, str] | Failure:
    """Carry out the given steps in a new world; the figures and the digest of its trace."""
    started = time.process_time()
    done = 0
    disk = MemoryDisk()
    with isolated(disk, scenario.seed):
        try:
            world = World(scenario, disk, tell)
            for done, step in enumerate(steps):  # noqa: B007 - read after a failure
                world.step(step)
            done = len(steps)
            recovery_ns = recover(world)
            shut_down(world)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            return Failure(scenario.seed, done, error)
    traffic = world.traffic
    figures = Figures(
        seeds=1,
        steps=len(steps),
        events=sum(world.count.values()) + sum(traffic.count.values()) + world.driver.events,
        checks=(
            world.checks.checks
            + world.separation.checks
            + world.driver.checks
            + traffic.checks
            + world.frames.count["frames_checked"]
        ),
        frames=world.frames.count["frames_checked"],
        faults=Counter({name: n for name, n in world.count.items() if name in FAULTS}),
        slowest_recovery_ns=recovery_ns,
        seconds=time.process_time() - started,
    )
    return figures, traffic.digest()


def run_seed(
    seed: int, count: int, tell: Callable[[str], None] | None = None
) -> tuple[Figures, str] | Failure:
    """The run that a seed stands for, with so many steps."""
    scenario = scenario_of(seed)
    return run_steps(scenario, steps_of(scenario, count), tell)
