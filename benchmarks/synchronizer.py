"""The cost of a Synchronizer per set, and eight inputs at 1 kHz: `make bench-synchronizer`, or

    python benchmarks/synchronizer.py [--rounds 15] [--seconds 5]

The first part is one process with two producers and two consumers: processor time to receive two
frames, and to receive them as a set, in turn in every round. The difference is the cost of the
Synchronizer (S-122: at most that of receiving). The second part has the producers in a process of
their own; this one synchronizes eight streams at 1000 frames a second each and counts what is
missing. Exit status 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
from data_path import Machine

from tensor_pool.client import Client, PublishMode, connect

INPUTS, RATE_HZ = 8, 1000
BATCH = 8  # frames that wait at once; a queue holds 10
BATCHES = 100
COST_LIMIT = 1.0
FIRST_STREAM = 20_000
MODE = PublishMode.EXISTING_OR_CREATE
DYNAMIC = """
[driver]
stream_id_range = "20000-20999"
[policies]
allow_dynamic_streams = true
default_profile = "s64"
"""


def costs(pool: Client, rounds: int) -> dict[str, tuple[float, float]]:
    """Processor time in us, by rule: for two frames received alone, and as a set."""
    streams = (FIRST_STREAM, FIRST_STREAM + 1)
    producers = [pool.producer(stream, publish_mode=MODE) for stream in streams]
    consumers = [pool.consumer(stream) for stream in streams]
    frame = np.zeros(64, np.uint8)

    def publish() -> None:
        for _ in range(BATCH):
            now = time.monotonic_ns()
            for producer in producers:
                producer.publish(frame, timestamp_ns=now)

    def alone() -> int:
        taken = 0
        for consumer in consumers:
            while consumer.poll() is not None:
                taken += 1
        return taken // len(consumers)

    found = {}
    for rule in ("seq", "timestamp"):
        plain, sets = [], []
        for _ in range(rounds):
            plain.append(_time(publish, alone))
            with pool.synchronize(*consumers, by=rule, tolerance=0.001) as pairs:

                def together(poll: Any = pairs.poll) -> int:
                    taken = 0
                    while poll() is not None:
                        taken += 1
                    return taken

                sets.append(_time(publish, together))
        found[rule] = (statistics.median(plain), statistics.median(sets))
    return found


def _time(publish: Any, take: Any) -> float:
    """Processor time in us for each set."""
    spent = taken = 0
    for _ in range(BATCHES):
        publish()
        began = time.thread_time_ns()
        taken += take()
        spent += time.thread_time_ns() - began
    if taken < BATCH * BATCHES * 0.99:
        raise SystemExit(f"{taken} of {BATCH * BATCHES} sets came")
    return spent / taken / 1000


def publish_all(endpoints: dict[str, Any], seconds: float) -> None:
    """Publish on every stream at the rate, in step."""
    with connect(**endpoints) as pool:
        streams = range(FIRST_STREAM + 10, FIRST_STREAM + 10 + INPUTS)
        producers = [pool.producer(stream, publish_mode=MODE) for stream in streams]
        frame = np.zeros(64, np.uint8)
        print("ready", flush=True)
        sys.stdin.readline()
        due = time.monotonic()
        for _ in range(round(seconds * RATE_HZ)):
            now = time.monotonic_ns()
            for producer in producers:
                producer.publish(frame, timestamp_ns=now)
            due = max(due + 1 / RATE_HZ, time.monotonic() - 0.01)
            time.sleep(max(0.0, due - time.monotonic()))
        print("done", flush=True)
        sys.stdin.readline()


def eight_inputs(pool: Client, endpoints: dict[str, Any], seconds: float) -> dict[str, float]:
    """Sets and losses of eight streams, and the share of a core that they took."""
    given = json.dumps({"endpoints": endpoints, "seconds": seconds})
    source = subprocess.Popen(
        [sys.executable, __file__, "--end", given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert source.stdin is not None
    assert source.stdout is not None
    if "ready" not in source.stdout.readline():
        raise SystemExit("the producers did not start")
    streams = range(FIRST_STREAM + 10, FIRST_STREAM + 10 + INPUTS)
    with pool.synchronize(*streams, by="seq", max_wait=1.0) as sets:
        time.sleep(2.0)  # a hello: the producers have the bells
        source.stdin.write("go\n")
        source.stdin.flush()
        taken = 0
        first = last = time.monotonic()
        cpu = time.process_time()
        wanted = round(seconds * RATE_HZ)
        while taken < wanted and time.monotonic() - last < 2.0:
            if sets.receive(timeout=0.5) is not None:
                last = time.monotonic()
                taken += 1
        share = (time.process_time() - cpu) / (last - first)
        explanation = str(sets.explain()).splitlines()
        print("\n".join(explanation[:4]))
        for name, counters in sets.input_metrics().items():
            print(f"  {name}: {counters}")
    source.communicate("end\n")
    return {
        "sets": taken,
        "missing": wanted - taken,
        "share": share,
        "rate": taken / (last - first),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--end", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.end:
        publish_all(**json.loads(arguments.end))
        return 0
    print(f"load average before: {os.getloadavg()[0]:.2f}")
    machine = Machine(more_config=DYNAMIC)
    missed = False
    endpoints = {
        "aeron_dir": str(machine.root / "aeron"),
        "allowed_base_dirs": [str(machine.root / "regions")],
    }
    try:
        with connect(**endpoints) as pool:
            for rule, (plain, sets) in costs(pool, arguments.rounds).items():
                own = (sets - plain) / plain
                missed |= own > COST_LIMIT
                print(
                    f"by {rule:9} two frames {plain:.2f} us, as a set {sets:.2f} us: the"
                    f" synchronizer costs {own:.2f} x receiving (at most {COST_LIMIT:g})"
                )
            result = eight_inputs(pool, endpoints, arguments.seconds)
            missed |= result["missing"] > 0
            print(
                f"{INPUTS} inputs at {RATE_HZ} Hz: {result['sets']} sets, {result['missing']}"
                f" missing, {result['rate']:.0f} sets/s, {100 * result['share']:.0f} % of a core"
            )
    finally:
        machine.close()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
