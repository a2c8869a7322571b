"""How long the daemon takes from its start to `driver ready`, with a media driver already running.

    python benchmarks/driver_start.py [--runs 10] [--limit 0.5]

Prints every run, the median and the slowest; exit status 1 when the median is above the limit.
`python -X importtime -m tensor_pool.driver driver --check` shows where import time goes.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from tensor_pool.client.transport.media_driver import MediaDriverProcess

COMMAND = [sys.executable, "-m", "tensor_pool.driver", "driver", "--log-level", "error"]


def seconds_until_ready(aeron_dir: str, base_dir: str) -> float:
    """Start one daemon on a stream of its own ids, wait for its line, stop it."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [
            *COMMAND,
            *("--set", "driver.media_driver=external"),
            *("--set", f"driver.aeron_dir={aeron_dir}"),
            *("--set", f"shm.base_dir={base_dir}"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    took = time.perf_counter() - began
    process.send_signal(signal.SIGTERM)
    if not line.startswith("driver ready") or process.wait(timeout=30) != 0:
        raise SystemExit(f"the driver did not start: {line!r}, exit status {process.wait()}")
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--limit", type=float, default=0.5, help="seconds")
    arguments = parser.parse_args()
    base_dir = tempfile.mkdtemp(prefix="tp-bench-", dir="/dev/shm")
    try:
        with MediaDriverProcess() as media_driver:
            runs = [
                seconds_until_ready(media_driver.directory, base_dir) for _ in range(arguments.runs)
            ]
    finally:
        shutil.rmtree(base_dir)
    for run in runs:
        print(f"  {run * 1000:7.1f} ms")
    median = statistics.median(runs)
    print(
        f"start to ready, external media driver: median {median * 1000:.0f} ms,"
        f" slowest {max(runs) * 1000:.0f} ms (limit {arguments.limit * 1000:.0f} ms)"
    )
    return 0 if median <= arguments.limit else 1


if __name__ == "__main__":
    sys.exit(main())
