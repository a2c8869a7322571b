"""A bridge on a bad path, idle, and with many streams: the rows of B-170 without a contender.

    python benchmarks/bridge_cases.py [--seconds 20] [--only path,idle,many]

The bad path loses 1 % of the packets and takes 25 ms each way; both hosts are on loopback there.
The others need root, for two hosts in namespaces of their own: idle is the CPU time of the two
bridges with ten streams, and many are 30 streams over a wire of 200 Mbit/s.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.bridge import main_thread_s, running  # noqa: E402
from tensor_pool.cli.demo.stage import driver_configuration  # noqa: E402
from tensor_pool.cli.demo.two_hosts.hosts import Host, Hosts, make_hosts  # noqa: E402
from tests.bridge.bad_path import BadPath  # noqa: E402

STREAM = 10_000
FRAME = 64 << 10
SLOTS = 32
WIRE_MBIT_S = 200
ATTACH_S = 60.0
SILENCE_S = 3.0


# The ends: one process publishes all streams, one receives all of them.


def publish(streams: int, rate_hz: float, seconds: float, host: dict[str, str]) -> dict[str, Any]:
    """Publish each stream at a rate, the streams spread evenly over a period; 0 Hz: wait."""
    from tensor_pool.client import connect

    array = np.zeros(FRAME, np.uint8)
    stamp = array[:8].view(np.uint64)
    with connect(aeron_dir=host["aeron"], allowed_base_dirs=(host["base"],)) as pool:
        producers = [pool.producer(STREAM + n) for n in range(streams)]
        answer("ready")
        sys.stdin.readline()  # the other end is there
        if not rate_hz:
            time.sleep(seconds)
            return {"published": 0}
        total = round(seconds * rate_hz) * streams
        began = time.monotonic()
        for frame in range(total):
            ahead = began + frame / (rate_hz * streams) - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            stamp[0] = time.monotonic_ns()
            producers[frame % streams].publish(array)
        time.sleep(SILENCE_S)  # what is on its way still belongs to this producer
        return {"published": total // streams}


def receive(streams: int, host: dict[str, str]) -> dict[str, Any]:
    """Copy every frame of all streams until none has come for a while."""
    from tensor_pool.client import FrameOverwrittenError, connect

    copied = np.empty(FRAME, np.uint8)
    counts, ages = [0] * streams, []
    with connect(aeron_dir=host["aeron"], allowed_base_dirs=(host["base"],)) as pool:
        consumers = [pool.consumer(STREAM + n, attach_timeout=ATTACH_S) for n in range(streams)]
        answer("ready")
        sys.stdin.readline()
        last = time.monotonic() + ATTACH_S
        while time.monotonic() - last < SILENCE_S:
            came = False
            for number, consumer in enumerate(consumers):
                while (frame := consumer.poll()) is not None:
                    with contextlib.suppress(FrameOverwrittenError):
                        frame.copy(copied)
                        counts[number] += 1
                        ages.append(time.monotonic_ns() - int(copied[:8].view(np.uint64)[0]))
                    came = True
            if came:
                last = time.monotonic()
            else:
                time.sleep(0.001)
    return {"received": counts, "ages_ms": [age / 1e6 for age in ages]}


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


# The harness


class Pair:
    """Two hosts with drivers, and bridges between them that carry some streams."""

    def __init__(self, hosts: Hosts, streams: int, send_to: str) -> None:
        self.hosts = hosts
        self.streams = streams
        self._opened = contextlib.ExitStack()
        enter = self._opened.enter_context
        folder = Path(enter(tempfile.TemporaryDirectory()))
        ids = [str(STREAM + n) for n in range(streams)]
        for host in (hosts.a, hosts.b):
            text = driver_configuration(host.name, host.aeron_dir, host.base_dir, [FRAME], SLOTS)
            for one in ids[1:]:
                text += f'[streams.s{one}]\nstream_id = {one}\nprofile = "demo"\n'
            (folder / f"{host.name}.toml").write_text(text)
            config = str(folder / f"{host.name}.toml")
            enter(running(host, ["driver", "--config", config], "driver ready"))
        self.pids = []
        for host, words in (
            (hosts.b, ["receive", *ids, "--at", hosts.listen_at]),
            (hosts.a, ["send", *ids, "--to", send_to]),
        ):
            config = ["--instance", host.name, "--config", str(folder / f"{host.name}.toml")]
            self.pids.append(enter(running(host, ["bridge", *words, *config], "bridge ready")))

    def start(self, host: Host, *words: object) -> subprocess.Popen[str]:
        """Start one end on a host, and wait until it has attached to all streams."""
        told = json.dumps({"aeron": str(host.aeron_dir), "base": str(host.base_dir)})
        process = subprocess.Popen(
            [*host.prefix, sys.executable, __file__, "--worker", told, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._opened.callback(process.wait)
        self._opened.callback(process.kill)
        self.answer(process)
        return process

    @staticmethod
    def answer(process: subprocess.Popen[str]) -> Any:
        """Wait for the next line of an end."""
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("a worker has ended; see above")
        return json.loads(line)

    def carry(self, rate_hz: float, seconds: float) -> tuple[int, list[int], list[float]]:
        """Return frames published a stream, frames received of each, and their ages in ms."""
        source = self.start(self.hosts.a, "publish", self.streams, rate_hz, seconds)
        sink = self.start(self.hosts.b, "receive", self.streams)
        for process in (sink, source):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        published = self.answer(source)["published"]
        got = self.answer(sink)
        return published, got["received"], got["ages_ms"]

    def close(self) -> None:
        self._opened.close()
        self.hosts.close()


def verdict(met: bool) -> str:
    return "met" if met else "missed"


def measure_path(seconds: float) -> str:
    """20 Hz over a path with loss and delay: no frame lost, the 99th percentile below 1 s."""
    hosts = make_hosts(namespaces=False)
    path = BadPath(int(hosts.listen_at.rpartition(":")[2]), loss=0.01, delay_s=0.025)
    pair = Pair(hosts, 1, f"127.0.0.1:{path.port}")
    try:
        published, (received,), ages = pair.carry(20, seconds)
    finally:
        pair.close()
        path.close()
    p99 = float(np.percentile(ages, 99))
    return (
        f"64 KiB at 20 Hz, 1 % loss, 25 ms each way: {received} of {published} frames,"
        f" age p50 {np.median(ages):.0f} ms, p99 {p99:.0f} ms, {path.lost} packets lost"
        f" (goal all, p99 < 1000 ms: {verdict(received == published and p99 < 1000)})"
    )


def measure_idle(seconds: float) -> str:
    """Ten streams with a producer that publishes nothing: below 2 % of a core each bridge."""
    pair = Pair(hosts := make_hosts(namespaces=True), 10, hosts.send_to)
    try:
        source = pair.start(hosts.a, "publish", 10, 0, seconds + ATTACH_S)
        assert source.poll() is None
        time.sleep(3)
        before = [main_thread_s(pid) for pid in pair.pids]
        time.sleep(seconds)
        far, near = (
            100 * (main_thread_s(pid) - b) / seconds
            for pid, b in zip(pair.pids, before, strict=True)
        )
    finally:
        pair.close()
    return (
        f"idle, 10 streams: sender {near:.1f} %, receiver {far:.1f} % of a core"
        f" (goal < 2 % each: {verdict(max(far, near) < 2)})"
    )


def measure_many(seconds: float) -> str:
    """30 streams of 64 KiB at 10 Hz over 200 Mbit/s: each gets 0.9 of its share."""
    streams, rate_hz = 30, 10
    pair = Pair(hosts := make_hosts(namespaces=True), streams, hosts.send_to)
    limit = ["rate", f"{WIRE_MBIT_S}mbit", "burst", "64kb", "limit", "8mb"]
    try:
        shape = [*hosts.a.prefix, "tc", "qdisc", "add", "dev", "eth", "root", "tbf", *limit]
        subprocess.run(shape, check=True)
        published, received, ages = pair.carry(rate_hz, seconds)
    finally:
        pair.close()
    least = min(received) / published
    return (
        f"30 streams of 64 KiB at 10 Hz over {WIRE_MBIT_S} Mbit/s: least {least:.2f},"
        f" median {np.median(received) / published:.2f} of its share,"
        f" age p50 {np.median(ages):.0f} ms (goal each 0.9: {verdict(least >= 0.9)})"
    )


CASES = {"path": measure_path, "idle": measure_idle, "many": measure_many}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each case")
    parser.add_argument("--only", default=",".join(CASES), help="cases, with commas")
    arguments = parser.parse_args()
    for name in arguments.only.split(","):
        print(CASES[name](arguments.seconds), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        told, role, *numbers = sys.argv[2:]
        if role == "publish":
            count, rate, length = numbers
            answer(publish(int(count), float(rate), float(length), json.loads(told)))
        else:
            answer(receive(int(numbers[0]), json.loads(told)))
    else:
        main()
