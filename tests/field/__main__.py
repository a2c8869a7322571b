"""Run the field test: `python -m tests.field` (`make field`).

Three cameras, six consumers and a recorder; troubles come one after the other. After each of them
every member gets frames through again. At the end each consumer has received or counted every
frame that was published since its attach, no frame is corrupt, no camera was refused for 100 ms,
and no process has died by itself.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.field.deployment import Deployment, with_a_shared_memory_of_its_own
from tests.field.troubles import LONG, SHORT, Trouble


def run(field: Deployment, troubles: list[Trouble]) -> list[str]:
    """Do one trouble after the other; return what was wrong."""
    try:
        field.begin()
        for trouble in troubles:
            began = time.monotonic()
            trouble(field)
            field.until_well(trouble.__name__)
            print(f"{time.monotonic() - began:6.1f} s {trouble.__name__}", flush=True)
        field.check_accounts()
    except AssertionError as error:
        field.problems.append(f"{error}\n{field.error_text()[-3000:]}")
    finally:
        field.close()
    return field.problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.field", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="only the troubles of `make test`")
    parser.add_argument("--only", help="troubles by name, with commas")
    parser.add_argument("--rate", type=float, default=200.0, help="frames a second of a camera")
    parser.add_argument("--bound", type=float, default=60.0, help="for being well again, in s")
    parser.add_argument("--refusal", type=float, default=0.1, help="longest of a camera, in s")
    options = parser.parse_args()
    troubles = [
        trouble
        for trouble in (SHORT if options.short else LONG)
        if options.only is None or trouble.__name__ in options.only.split(",")
    ]
    is_private = with_a_shared_memory_of_its_own()
    if not is_private:
        print("without root: no full shared memory, no other user, no process 1")
    began = time.monotonic()
    field = Deployment(
        rate_hz=options.rate,
        bound_s=options.bound,
        longest_refusal_s=options.refusal,
        is_private=is_private,
    )
    problems = run(field, troubles * options.rounds)
    print("\n".join(f"PROBLEM: {problem}" for problem in problems) or "all is well")
    print(f"{len(troubles)} troubles, {options.rounds} rounds, {time.monotonic() - began:.0f} s")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
