"""Run the field test: `python -m tests.field` (`make field`)."""

from __future__ import annotations

import argparse
import sys
import time

from tests.field.course import LONG, FieldTest


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.field", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=200.0, help="frames a second of a camera")
    parser.add_argument("--bound", type=float, default=60.0, help="for being well again, in s")
    options = parser.parse_args()
    field = FieldTest(rate_hz=options.rate, bound_s=options.bound)
    field.kills = 2 * options.rounds
    began = time.monotonic()
    problems = field.run(LONG * options.rounds)
    print("\n".join(f"PROBLEM: {problem}" for problem in problems) or "all is well")
    print(f"{len(LONG)} troubles, {options.rounds} rounds, {time.monotonic() - began:.0f} s")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
