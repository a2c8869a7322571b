"""The cost of publish and poll before and after a change: `make bench-before COMMIT=...`, or

    python benchmarks/before_after.py COMMIT [--rounds 5]

Publishes and reads frames on the in-memory network in one thread, with the code of a commit and
with that of the working tree, in turn in every round; so nothing but the library's own code is
measured. Prints us a frame of processor time (the fastest batch of all rounds: load only adds), and
the ratio of now to then. Exit status 1 where a size became slower by more than LIMIT.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZES = (64, 1024, 65536)
BATCHES, FRAMES = 250, 200
LIMIT = 1.03
ROOT = Path(__file__).resolve().parents[1]


def measure() -> list[float]:
    """Microseconds a frame, for each size, with the code that is found first."""
    from tests.client.world import World

    fastest = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        world = World(Path(directory))
        producer, consumer = world.pair()
        for size in SIZES:
            frame = np.zeros(size, np.uint8)
            times = []
            for batch in range(BATCHES):
                began = time.process_time_ns()
                for _ in range(FRAMES):
                    producer.publish(frame)
                    received = consumer.poll()
                    _ = received.array
                times.append(time.process_time_ns() - began)
                if batch % 20 == 0:
                    world.run(0.02)  # keepalives
            fastest.append(min(times) / FRAMES / 1000)
        world.close()
    return fastest


def measure_code_of(root: Path) -> list[float]:
    """Measure in a process that imports everything from `root`."""
    environ = {**os.environ, "PYTHONPATH": f"{root}/src:{root}"}
    command = [sys.executable, __file__, "--measure"]
    done = subprocess.run(
        command, cwd=root, env=environ, check=True, stdout=subprocess.PIPE, text=True
    )
    times: list[float] = json.loads(done.stdout)
    return times


def compare(commit: str, rounds: int) -> bool:
    """Print the table; return whether no size became slower."""
    with tempfile.TemporaryDirectory() as directory:
        then = Path(directory, "then")
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(then), commit], check=True)
        try:
            pairs = [(measure_code_of(then), measure_code_of(ROOT)) for _ in range(rounds)]
        finally:
            subprocess.run([*git, "remove", "--force", str(then)], check=True)
    print(f"publish and poll, us a frame of processor time, fastest batch of {rounds} rounds")
    is_well = True
    for column, size in enumerate(SIZES):
        before, after = (min(pair[side][column] for pair in pairs) for side in (0, 1))
        is_well = is_well and after <= before * LIMIT
        print(f"{size:>7} B: {commit} {before:6.2f}, now {after:6.2f}, ratio {after / before:.2f}")
    return is_well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit", nargs="?", default="HEAD")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure()))
        return 0
    return 0 if compare(options.commit, options.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
