"""The cost of a consumer that waits, and the time until it wakes: `make bench-waiting`, or

    python benchmarks/waiting.py [--seconds 60] [--wakeups 60]

Real processes and the real daemon. A consumer waits for a stream on which nothing is published for
a minute: its processor time. Then a frame comes every 0.15 to 0.35 s, so that the consumer has gone
to sleep each time: the time from before `publish` until the application has the frame. Then the
same with a consumer that never sleeps. Exit status 1 if a limit is missed: 1 % of a core, and twice
the median of the consumer that never sleeps plus 50 us.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from typing import Any

import numpy as np
from data_path import Machine

from tensor_pool.client import PublishMode, connect

STREAM_ID = 10_000  # 64 bytes a frame, as in data_path.py
CPU_LIMIT = 0.01
TIMES_BUSY, PLUS_US = 2.0, 50.0
ATTACH = {"publish_mode": PublishMode.EXISTING_OR_CREATE}


def produce(endpoints: dict[str, Any], quiet_s: float, wakeups: int) -> None:
    """Send nothing for a while, then single frames at irregular times."""
    with connect(**endpoints) as pool, pool.producer(STREAM_ID, **ATTACH) as producer:
        frame = np.zeros(64, np.uint8)
        stamp = frame[:8].view(np.int64)
        print("ready", flush=True)
        time.sleep(quiet_s)
        for _ in range(wakeups):
            time.sleep(random.uniform(0.15, 0.35))
            stamp[0] = time.monotonic_ns()
            producer.publish(frame)
        time.sleep(0.5)


def consume(endpoints: dict[str, Any], spin: bool, quiet_s: float, wakeups: int) -> None:
    """Print the processor time of the wait as a share of a core, and the latencies in us."""
    with connect(**endpoints) as pool, pool.consumer(STREAM_ID, spin=spin, **ATTACH) as consumer:
        print("ready", flush=True)
        sys.stdin.readline()  # the producer is there
        share = None
        if not spin:
            began, cpu = time.monotonic(), time.process_time()
            assert consumer.receive(timeout=quiet_s) is None
            share = (time.process_time() - cpu) / (time.monotonic() - began)
        latencies = []
        for frame in consumer:
            now = time.monotonic_ns()
            latencies.append((now - int(frame.copy()[:8].view(np.int64)[0])) / 1000)
            if len(latencies) == wakeups:
                break
        print(json.dumps({"share": share, "latencies_us": latencies}), flush=True)


def start(role: str, **arguments: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--end", json.dumps({"role": role, **arguments})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if "ready" not in process.stdout.readline():
        raise SystemExit(f"the {role} did not start")
    return process


def measure(machine: Machine, *, spin: bool, seconds: float, wakeups: int) -> dict[str, Any]:
    """One consumer and one producer, as new processes."""
    endpoints = {
        "aeron_dir": str(machine.root / "aeron"),
        "allowed_base_dirs": [str(machine.root / "regions")],
    }
    quiet_s = 1.0 if spin else seconds
    common: dict[str, Any] = {"endpoints": endpoints, "wakeups": wakeups}
    consumer = start("consumer", **common, spin=spin, quiet_s=quiet_s)
    # The producer needs a hello to know whom to wake, and starts after the measured silence.
    producer = start("producer", **common, quiet_s=quiet_s + 2.0)
    out, _ = consumer.communicate("go\n")
    producer.wait()
    result: dict[str, Any] = json.loads(out)
    result["p50_us"] = sorted(result["latencies_us"])[wakeups // 2]
    return result


def told(what: str, value: float, limit: float, unit: str) -> bool:
    met = value <= limit
    verdict = "ok" if met else "MISSED"
    print(f"{what:48} {value:8.3g} {unit} (at most {limit:.3g}) {verdict}")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--wakeups", type=int, default=60)
    parser.add_argument("--end", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.end:
        given = json.loads(arguments.end)
        {"producer": produce, "consumer": consume}[given.pop("role")](**given)
        return 0
    print(f"load average before: {os.getloadavg()[0]:.2f}")
    machine = Machine()
    try:
        given = {"seconds": arguments.seconds, "wakeups": arguments.wakeups}
        waiting = measure(machine, spin=False, **given)
        busy = measure(machine, spin=True, **given)
    finally:
        machine.close()
    print(f"consumer that never sleeps, median {busy['p50_us']:.1f} us")
    results = [
        told(
            f"processor, {arguments.seconds:g} s of waiting", 100 * waiting["share"], 1.0, "% core"
        ),
        told(
            "wake-up after idle, median",
            waiting["p50_us"],
            TIMES_BUSY * busy["p50_us"] + PLUS_US,
            "us",
        ),
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
