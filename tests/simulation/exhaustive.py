"""Every order of everything: one stream, two producers, one consumer, explored breadth first.

A move is a turn of one process, a look at the next timer, or one of a few things that happen at
most once. From each root every sequence of moves is tried, except that states met before are not
gone through again. A state is rebuilt by repeating its moves, since live objects cannot be copied.

The invariants are those of the simulation, checked after every move. From every so many states it
is also tried whether all gets well again.
"""

from __future__ import annotations

import gc
import multiprocessing
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tensor_pool.protocol.wire import Role

from .canonical import state_of
from .isolation import Files, isolated
from .memory_store import MemoryDisk
from .recovery import recover
from .schedule import STREAM, Plan, Scenario
from .world import World

__all__ = ["QUICK", "Exploration", "Root", "explore", "explore_all"]

SCENARIO = Scenario(
    0,
    (
        (Plan(Role.PRODUCER, STREAM, 1),),
        (Plan(Role.PRODUCER, STREAM, 2),),
        (Plan(Role.CONSUMER, STREAM, 3),),
    ),
    frozenset(),
    separate_announces=True,
    streams=(STREAM,),
)

MOVES = {
    "d": ("drive", 0, 0),
    "1": ("cycle", 0, 0),
    "2": ("cycle", 1, 0),
    "c": ("cycle", 2, 0),
    "p": ("publish", 0, 2),
    "q": ("publish", 1, 2),
    "r": ("poll", 0, 0),
    "t": ("next_timer", 0, 0),
    "x": ("close", 0, 0),
    "y": ("close", 2, 0),
    "k": ("crash", 0, 0),
    "v": ("revoke", 0, 0),
    "e": ("reprovision", 0, 0),
    "s": ("stop_driver", 0, 0),
    "K": ("kill_driver", 0, 0),
    "R": ("revive_driver", 0, 0),
}
"""One letter each, so that a path is a word."""

_LIMITS = {"p": 2, "q": 1, "x": 1, "y": 1, "k": 1, "v": 1, "e": 1, "s": 1, "K": 1, "R": 1}
"""The number of times in one path; the others as often as there is room."""

_RECOVER_EVERY = 100
SERVING = "12cd12cd"
"""All have asked and have answers: a producer serves, the other backs off, the consumer reads."""


@dataclass(frozen=True)
class Root:
    """The beginning of an exploration, and its depth."""

    name: str
    path: str
    depth: int
    fragment_limit: int = 10

    def deeper(self, by: int) -> Root:
        return replace(self, depth=self.depth + by)


QUICK = (
    Root("none has attached", "", 3),
    Root("all serve, wait or read", SERVING, 3),
    Root("none has attached; one message a turn", "12c", 3, fragment_limit=1),
)


@dataclass
class Exploration:
    """The findings from one root."""

    root: Root
    states: int = 0
    transitions: int = 0
    recoveries: int = 0
    by_depth: list[int] = field(default_factory=list)
    seconds: float = 0.0
    failure: str = ""

    def __str__(self) -> str:
        text = (
            f"{self.root.name}: depth {len(self.by_depth) - 1}, {self.states:,} states"
            f" {self.by_depth}, {self.transitions:,} transitions, {self.recoveries} recoveries,"
            f" {self.seconds:.1f} s"
        )
        return f"{text}\n  FAILED {self.failure}" if self.failure else text


def _replay(scenario: Scenario, path: str, files: Files) -> World:
    """The world that a path leads to."""
    files.disk = MemoryDisk()
    world = World(scenario, files.disk)
    for letter in path:
        world.step(MOVES[letter])
    return world


def explore(root: Root) -> Exploration:
    """All states that up to `root.depth` moves lead to."""
    found = Exploration(root)
    scenario = replace(SCENARIO, fragment_limit=root.fragment_limit)
    started = time.process_time()
    path = root.path
    with isolated(MemoryDisk(), None) as files:
        try:
            first = hash(state_of(_replay(scenario, root.path, files)))
            seen = {first}
            level = [("", first)]
            found.by_depth.append(1)
            for _ in range(root.depth):
                deeper: list[tuple[str, int]] = []
                for moves, state in level:
                    world: World | None = None
                    for letter in MOVES:
                        if moves.count(letter) >= _LIMITS.get(letter, 99):
                            continue
                        path = root.path + moves + letter
                        if world is None:
                            world = _replay(scenario, path[:-1], files)
                        world.step(MOVES[letter])
                        found.transitions += 1
                        reached = hash(state_of(world))
                        if reached == state:
                            continue  # nothing happened: the world can be used for the next move
                        if reached not in seen:
                            seen.add(reached)
                            deeper.append((moves + letter, reached))
                            if len(seen) % _RECOVER_EVERY == 0:
                                recover(world)
                                found.recoveries += 1
                        world = None
                level = deeper
                found.by_depth.append(len(level))
                gc.collect()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            found.failure = f"{type(error).__name__}: {error}\n  after {path}"
    found.states = sum(found.by_depth)
    found.seconds = time.process_time() - started
    return found


def explore_all(roots: Sequence[Root], processes: int = 2) -> list[Exploration]:
    """Each root in a process of its own, as far as there are processors."""
    with multiprocessing.get_context("spawn").Pool(processes, gc.freeze) as pool:
        return pool.map(explore, roots, chunksize=1)


def main() -> int:
    """`python -m tests.simulation.exhaustive 2`: two moves deeper than in the test suite."""
    deeper = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    explorations = explore_all([root.deeper(deeper) for root in QUICK])
    for exploration in explorations:
        print(exploration)
    print(f"{sum(e.states for e in explorations):,} states")
    return 1 if any(e.failure for e in explorations) else 0


if __name__ == "__main__":
    sys.exit(main())
