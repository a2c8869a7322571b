"""Chaos: a deployment broken in every way for N seconds from a seed (`make chaos`).

    python -m tests.chaos --seconds 300 --seed 7

Rounds of faults alternate with quiet times, in which every client has to be well again within a
bound and may hold nothing that it does not need. Consumers check the contents of every frame. At
the end nothing may be left: no file, map, process, semaphore. The seed decides which faults come
when; what they meet is up to the machine. Exit status 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import sys

from tests.chaos.course import chaos


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bound", type=float, default=30.0, help="for being well again, in s")
    options = parser.parse_args()
    outcome = chaos(options.seconds, options.seed, bound_s=options.bound)
    print(outcome.report())
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
