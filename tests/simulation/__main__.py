"""`python -m tests.simulation`: many seeds, or one of them again with everything it did."""

from __future__ import annotations

import argparse
import sys

from .campaign import Finding, campaign, describe, report
from .run import Failure, run_steps
from .schedule import scenario_of, steps_of


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--steps", type=int, default=2000, help="steps of each")
    parser.add_argument("--processes", type=int, help="default: one for each processor")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--only", help="of its steps only those numbered so: 3,17,40 or none")
    parser.add_argument("--trace", action="store_true", help="say everything that happens")
    parser.add_argument("--minimise", action="store_true", help="find the fewest steps that fail")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _one(options)
    seeds = range(options.first, options.first + options.seeds)
    result = campaign(seeds, options.steps, options.processes, _tell)
    print(report(result))
    return 1 if result.findings else 0


def _tell(finding: Finding) -> None:
    print(f"FAILED {finding}", file=sys.stderr, flush=True)


def _one(options: argparse.Namespace) -> int:
    scenario = scenario_of(options.seed)
    steps = steps_of(scenario, options.steps)
    chosen = steps
    if options.only is not None:
        numbers = [] if options.only == "none" else [int(n) for n in options.only.split(",")]
        chosen = [steps[n] for n in numbers]
    print(scenario)
    outcome = run_steps(scenario, chosen, print if options.trace else None)
    if isinstance(outcome, Failure):
        print(f"FAILED at step {outcome.step}: {type(outcome.error).__name__}: {outcome.error}")
        if options.minimise:
            print(describe(outcome, options.steps))
        return 1
    figures, digest = outcome
    print(f"passed: {figures.events} events, trace {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
