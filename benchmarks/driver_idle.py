"""The cost of an idle daemon, and the punctuality of its announces (D-193).

    python benchmarks/driver_idle.py [--seconds 10]

Starts the daemon on an external media driver with one provisioned stream, and prints its share of
one core and the deviation of announces from their period. Exit status 1 above 5 % or 5 ms.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tensor_pool.protocol.transport.aeron import AeronTransport
from tensor_pool.protocol.transport.media_driver import MediaDriverProcess
from tensor_pool.protocol.wire import ShmPoolAnnounce, decode

COMMAND = [sys.executable, "-m", "tensor_pool.cli", "driver"]
CHANNEL = "aeron:ipc?term-length=64k"
STREAM_ID = 1000
PERIOD_MS = 100
CPU_LIMIT = 0.05
JITTER_LIMIT_MS = 5.0


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def announce_stamps(aeron_dir: str, seconds: float) -> list[int]:
    """Return the timestamps of the driver's announces, in ns."""
    stamps: list[int] = []

    def on_message(view: memoryview) -> None:
        message = decode(bytes(view))
        if isinstance(message, ShmPoolAnnounce):
            stamps.append(message.announce_timestamp_ns)

    transport = AeronTransport.connect(aeron_dir)
    subscription = transport.add_subscription(CHANNEL, STREAM_ID)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        subscription.poll(on_message, 100)
        time.sleep(0.01)
    transport.close()
    return stamps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    base_dir = tempfile.mkdtemp(prefix="tp-bench-", dir="/dev/shm")
    settings = {
        "driver.media_driver": "external",
        "driver.control_channel": CHANNEL,
        "driver.control_stream_id": STREAM_ID,
        "shm.base_dir": base_dir,
        "policies.announce_period_ms": PERIOD_MS,
        "policies.provision_on_startup": "true",
    }
    try:
        with MediaDriverProcess() as media_driver:
            settings["driver.aeron_dir"] = media_driver.directory
            overrides = (f"--set={key}={value}" for key, value in settings.items())
            daemon = subprocess.Popen(
                [*COMMAND, "--log-level", "error", *overrides],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert daemon.stdout is not None
            daemon.stdout.readline()
            before, began = cpu_seconds(daemon.pid), time.monotonic()
            stamps = announce_stamps(media_driver.directory, arguments.seconds)
            share = (cpu_seconds(daemon.pid) - before) / (time.monotonic() - began)
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)
    finally:
        shutil.rmtree(base_dir)
    periods_ms = [(b - a) / 1e6 for a, b in itertools.pairwise(stamps)]
    late_ms = sorted(abs(period - PERIOD_MS) for period in periods_ms)
    p99 = late_ms[int(0.99 * (len(late_ms) - 1))]
    print(
        f"idle daemon: {share:.1%} of a core; {len(stamps)} announces every {PERIOD_MS} ms,"
        f" off by {statistics.median(late_ms):.2f} ms in the median, {p99:.2f} ms at p99"
    )
    return 0 if share < CPU_LIMIT and p99 < JITTER_LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
