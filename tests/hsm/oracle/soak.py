"""Compare the engines on very many cases: `python tests/hsm/oracle/soak.py --cases 1000000`.

A case is one chart with one sequence of operations. Stops at the first disagreement, printing its
seed and the minimised case; `--first SEED` starts there again.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.hsm.oracle.differ import check_seed

SEQUENCES = 10
CHUNK = 50


def _check(first: int, common: bool) -> str | None:
    try:
        for seed in range(first, first + CHUNK):
            check_seed(seed, SEQUENCES, common=common)
    except AssertionError as error:
        return str(error)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--common-every", type=int, default=5, help="every n-th chunk runs all three engines"
    )
    options = parser.parse_args()
    chunks = -(-options.cases // (SEQUENCES * CHUNK))
    started = time.monotonic()
    with ProcessPoolExecutor(options.processes) as pool:
        firsts = [options.first + number * CHUNK for number in range(chunks)]
        commons = [number % options.common_every == 0 for number in range(chunks)]
        for number, failure in enumerate(pool.map(_check, firsts, commons), 1):
            if failure is not None:
                print(failure)
                pool.shutdown(cancel_futures=True)
                return 1
            if number % 20 == 0 or number == chunks:
                seconds = time.monotonic() - started
                print(f"{number * CHUNK * SEQUENCES} cases agree, {seconds:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
