"""The time from the daemon's start to `driver ready`, with a media driver already running.

    python benchmarks/driver_start.py [--runs 10] [--limit 0.5]

Prints every run, the median and the slowest; exit status 1 when the median is above the limit.
`python -X importtime -m tensor_pool.cli driver --check` shows where import time goes.
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
from pathlib import Path
from typing import NamedTuple

from tensor_pool.protocol.transport.media_driver import MediaDriverProcess

COMMAND = [sys.executable, "-m", "tensor_pool.cli", "driver", "--log-level", "error"]


class Start(NamedTuple):
    """Time until the line, and processor time used until then, in seconds."""

    wall: float
    cpu: float


def start_once(aeron_dir: str, base_dir: str) -> Start:
    """Start one daemon, wait for its line, stop it."""
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
    took = Start(time.perf_counter() - began, cpu_seconds(process.pid))
    process.send_signal(signal.SIGTERM)
    if not line.startswith("driver ready") or process.wait(timeout=30) != 0:
        raise SystemExit(f"the driver did not start: {line!r}, exit status {process.wait()}")
    return took


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--limit", type=float, default=0.5, help="seconds")
    arguments = parser.parse_args()
    base_dir = tempfile.mkdtemp(prefix="tp-bench-", dir="/dev/shm")
    try:
        with MediaDriverProcess() as media_driver:
            runs = [start_once(media_driver.directory, base_dir) for _ in range(arguments.runs)]
    finally:
        shutil.rmtree(base_dir)
    for run in runs:
        print(f"  {run.wall * 1000:7.1f} ms, {run.cpu * 1000:5.0f} ms of them on a processor")
    median = statistics.median(run.wall for run in runs)
    cpu = statistics.median(run.cpu for run in runs)
    print(
        f"start to ready, external media driver: median {median * 1000:.0f} ms"
        f" ({cpu * 1000:.0f} ms of processor time), slowest {max(runs).wall * 1000:.0f} ms"
        f" (limit {arguments.limit * 1000:.0f} ms)"
    )
    return 0 if median <= arguments.limit else 1


if __name__ == "__main__":
    sys.exit(main())
