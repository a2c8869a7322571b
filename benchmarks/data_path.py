"""Time to move arrays from one process to another, beside other ways: `make bench`, or

    python benchmarks/data_path.py [--rounds 5] [--seconds 1] [--sizes 64,65536] [--only
    tensor-pool]

Throughput: one process sends as fast as it can with at most as many frames on their way as the ring
has slots, the other copies each out and counts. Latency: 1000 frames of 64 bytes a second, each
with the time of its sending in it. Contenders take turns in every round, so that other load on the
machine falls on all of them alike; medians over the rounds are shown, and for each target the ratio
with a verdict.

How the two processes are placed on the processors decides about a factor of up to six, so that is
looked at before and after each measurement; one on another placement than usual is set aside and
repeated (see `placement.py`).
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from data_path_contenders import CONTENDERS, Place
from placement import Placement, PlacementWatch, be_seen, look

DEPTHS = {64: 256, 65536: 64, 655360: 16, 4194304: 8}
NAMES = {64: "64 B", 65536: "64 KiB", 655360: "640 KiB", 4194304: "4 MiB"}
THROUGHPUT = ("tensor-pool", "pyzmq", "Pipe", "zenoh", "iceoryx2", "raw ring")
LATENCY = (
    "tensor-pool",
    "tensor-pool spinning",
    "iceoryx2",
    "iceoryx2 spinning",
    "raw pyaeron",
    "pyzmq",
)
# At least this many times the throughput of the peer, by size.
AT_LEAST = {
    "pyzmq": {64: 1.0, 65536: 4, 655360: 4, 4194304: 4},
    "Pipe": {64: 5, 65536: 5, 655360: 30, 4194304: 30},
    "zenoh": {64: 12, 65536: 6, 655360: 2, 4194304: 1.5},
    "iceoryx2": {64: 1.0, 65536: 1.0, 655360: 1.0, 4194304: 1.3},
    "raw ring": {65536: 0.6, 655360: 0.8, 4194304: 0.9},
}
# At most this many times the latency of the peer.
AT_MOST = (
    ("tensor-pool spinning", "raw pyaeron", 2.5),
    ("tensor-pool spinning", "iceoryx2 spinning", 0.8),
    ("tensor-pool", "iceoryx2", 1.0),
)
SHARED_MEMORY = Path("/dev/shm")
WARM_UP_S = 0.3
# Indices of the words that the two ends share
READY, RECEIVED, STOP, DONE, LOOKING = range(0, 40, 8)  # and two words behind the last
ATTEMPTS = 8
KILLED_S = 12  # until Aeron and the driver have forgotten a client that was killed
LATENCY_FRAMES = 1000
DRIVER_CONFIG = """
[profiles.s64]
header_nslots = 256
payload_pools = [{ pool_id = 1, stride_bytes = 64 }]
[profiles.s65536]
header_nslots = 64
payload_pools = [{ pool_id = 1, stride_bytes = 65536 }]
[profiles.s655360]
header_nslots = 16
payload_pools = [{ pool_id = 1, stride_bytes = 1048576 }]
[profiles.s4194304]
header_nslots = 8
payload_pools = [{ pool_id = 1, stride_bytes = 4194304 }]
"""


class Gate:
    """Words that the two ends share, each in a cache line of its own."""

    def __init__(self, path: str) -> None:
        with open(path, "a+b") as file:
            file.truncate(4096)
            self.words = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
        self._placements = Path(path + ".placements")

    ready = property(lambda self: self.words[READY])
    stop = property(lambda self: self.words[STOP])

    def begin(self, send: Any, frame: Any) -> None:
        """Send until the receiver has one, then see how the two are placed."""
        words = self.words
        while not words[LOOKING]:
            send(frame)
            patience = time.monotonic() + 0.1
            while not words[LOOKING] and time.monotonic() < patience:
                time.sleep(0.001)
        self._before = look(words, LOOKING)

    def end(self) -> None:
        """Leave for the receiver how the two were placed, before and now."""
        after = look(self.words, LOOKING)
        self._placements.write_bytes(msgspec.json.encode([self._before, after]))
        self.words[DONE] = 1

    def answer(self) -> None:
        """The receiver's part while the sender is in `begin`."""
        be_seen(self.words, LOOKING)

    def placements(self) -> list[Any]:
        """The receiver's part while the sender is in `end`."""
        self.answer()
        while not self.words[DONE]:
            pass
        return json.loads(self._placements.read_bytes())


def send_all(contender: Any, place: Place, gate: Gate) -> None:
    """Send with a bounded number of frames on their way, until the gate closes."""
    while not gate.ready:
        time.sleep(0.001)
    send = contender.sender(place)
    frame = np.arange(place.size, dtype=np.uint8)
    words, depth = gate.words, place.depth
    gate.begin(send, frame)
    sent = words[RECEIVED]
    patience = 0
    while not words[STOP]:
        if sent - words[RECEIVED] >= depth:
            os.sched_yield()
            patience += 1
            if patience > 1_000_000:  # frames were lost, so the receiver is behind for ever
                sent, patience = words[RECEIVED], 0
            continue
        patience = 0
        send(frame)
        sent += 1
    gate.end()


def receive_all(contender: Any, place: Place, gate: Gate, seconds: float) -> dict[str, Any]:
    """Frames a second, by the receiver."""
    frames = contender.receiver(place)
    next(frames)
    words = gate.words
    words[READY] = 1
    received = 0
    started = warm = 0.0
    for _ in frames:
        received += 1
        words[RECEIVED] = received
        if received == 1:
            gate.answer()
        if received & 15 == 0 or place.size > 1 << 20:
            now = time.perf_counter()
            if not warm:
                warm = now + WARM_UP_S
            elif not started:
                if now > warm:
                    started, first = now, received
            elif now - started > seconds:
                break
    words[STOP] = 1
    if contender.blocks:
        threading.Thread(target=lambda: [None for _ in frames], daemon=True).start()
    return {"rate": (received - first) / (now - started), "placements": gate.placements()}


def send_paced(contender: Any, place: Place, gate: Gate) -> None:
    while not gate.ready:
        time.sleep(0.001)
    send = contender.sender(place)
    frame = np.zeros(place.size, np.uint8)
    stamp = frame[:8].view(np.int64)
    gate.begin(send, frame)
    due = time.perf_counter_ns() + 1_000_000
    while not gate.stop:
        while (now := time.perf_counter_ns()) < due:
            if due - now > 300_000:
                time.sleep((due - now - 200_000) / 1e9)
        due += 1_000_000
        stamp[0] = time.monotonic_ns()
        send(frame)
    gate.end()


def receive_paced(contender: Any, place: Place, gate: Gate) -> dict[str, Any]:
    """Median one-way latency in microseconds."""
    frames = contender.receiver(place)
    next(frames)
    gate.words[READY] = 1
    latencies: list[int] = []
    for frame in frames:
        now = time.monotonic_ns()
        if not latencies:
            gate.answer()
        latencies.append(now - int(frame[:8].view(np.int64)[0]))
        if len(latencies) >= LATENCY_FRAMES:
            break
    gate.words[STOP] = 1
    ordered = sorted(latencies[100:])
    return {
        "p50_us": ordered[len(ordered) // 2] / 1000,
        "p99_us": ordered[-9] / 1000,
        "placements": gate.placements(),
    }


def run_end(argument: str) -> None:
    """One end, in a process of its own."""
    given = json.loads(argument)
    place = Place(**given["place"])
    gate = Gate(place.path("gate"))
    contender = CONTENDERS[given["name"]]()
    paced = given["paced"]
    if given["end"] == "send":
        (send_paced if paced else send_all)(contender, place, gate)
    else:
        result = (
            receive_paced(contender, place, gate)
            if paced
            else receive_all(contender, place, gate, given["seconds"])
        )
        print(json.dumps(result), flush=True)
    contender.close()
    os._exit(0)  # peers' exit handlers are not what is measured


class Machine:
    """The directories and the driver that contenders use."""

    def __init__(self, more_config: str = "") -> None:
        self._there_before = set(SHARED_MEMORY.iterdir())
        self.set_aside = 0
        self.root = Path(tempfile.mkdtemp(prefix="tensor-pool-bench-", dir=SHARED_MEMORY))
        (self.root / "regions").mkdir()
        config = self.root / "driver.toml"
        self._streams: list[int] = []
        streams = "".join(
            f'[streams.s{10_000 + i}]\nstream_id = {10_000 + i}\nprofile = "s{size}"\n'
            for i, size in enumerate(DEPTHS)
        )
        config.write_text(DRIVER_CONFIG + streams + more_config)
        self._driver = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tensor_pool.cli",
                "driver",
                "--config",
                str(config),
                "--log-level",
                "error",
                "--set",
                f"driver.aeron_dir={self.root / 'aeron'}",
                "--set",
                f"shm.base_dir={self.root / 'regions'}",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._driver.stdout is not None
        while "driver ready" not in (line := self._driver.stdout.readline()):
            if not line:
                raise SystemExit("the driver did not start")

    @cached_property
    def watch(self) -> PlacementWatch:
        """Takes seconds to make, so only for those that measure two processes."""
        return PlacementWatch()

    @property
    def driver_pid(self) -> int:
        return self._driver.pid

    def measure(
        self,
        name: str,
        size: int,
        *,
        paced: bool,
        seconds: float,
        meeting: tuple[int, int, int] | None = None,
    ) -> dict[str, Any] | None:
        """One measurement on processors that were placed as usual before and after it."""
        for _ in range(ATTEMPTS):
            self.watch.wait()
            result = self.run(name, size, paced=paced, seconds=seconds, meeting=meeting)
            if result is not None:
                placements = msgspec.convert(result["placements"], list[Placement])
                if all(map(self.watch.is_usual, placements)):
                    return result
            self.set_aside += 1
        return None

    def run(
        self,
        name: str,
        size: int,
        *,
        paced: bool,
        seconds: float,
        meeting: tuple[int, int, int] | None = None,
    ) -> dict[str, Any] | None:
        """One measurement with two new processes; None if it came to nothing.

        `meeting` is frame size, frames on their way and stream, if not those of the size.
        """
        directory = tempfile.mkdtemp(prefix="run-", dir=self.root)
        if meeting is None:
            meeting = size, DEPTHS[size], 10_000 + list(DEPTHS).index(size)
        place = Place(directory, *meeting)
        common: dict[str, Any] = {
            "name": name,
            "place": {f: getattr(place, f) for f in place.__struct_fields__},
            "paced": paced,
            "seconds": seconds,
        }
        ends = [
            subprocess.Popen(
                [sys.executable, __file__, "--end", json.dumps(common | {"end": end})],
                stdout=subprocess.PIPE if end == "receive" else None,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for end in ("receive", "send")
        ]
        try:
            out, _ = ends[0].communicate(timeout=30 + seconds)
            ends[1].wait(5)
            return json.loads(out) if out else None
        except subprocess.TimeoutExpired:
            return None
        finally:
            for end in ends:
                if end.poll() is None:
                    end.kill()
                    end.wait()
                    if name.startswith("tensor-pool"):
                        time.sleep(KILLED_S)
            shutil.rmtree(directory, ignore_errors=True)

    def close(self) -> None:
        self._driver.terminate()
        self._driver.wait()
        shutil.rmtree(self.root, ignore_errors=True)
        # Ends are killed when their result is in; two of the peers leave files behind then.
        for path in set(SHARED_MEMORY.iterdir()) - self._there_before:
            if path.suffix == ".zenoh" or path.name.startswith("iox2_"):
                path.unlink(missing_ok=True)


def median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


def verdict(ratio: float, wanted: float, *, at_least: bool) -> str:
    met = ratio >= wanted if at_least else ratio <= wanted
    return "met" if met else "NOT MET"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--sizes", default=",".join(map(str, DEPTHS)))
    parser.add_argument("--only", default="", help="comma-separated names of contenders")
    parser.add_argument("--no-latency", action="store_true")
    parser.add_argument("--save", type=Path, help="write every figure to this JSON file")
    parser.add_argument("--end", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.end:
        run_end(arguments.end)
    sizes = [int(size) for size in arguments.sizes.split(",")]
    wanted = [name for name in arguments.only.split(",") if name]
    began, load = time.strftime("%Y-%m-%d"), os.getloadavg()[0]
    machine = Machine()
    rates: dict[tuple[str, int], list[float]] = {}
    latencies: dict[str, list[float]] = {}
    try:
        for _ in range(arguments.rounds):
            for size in sizes:
                for name in (n for n in THROUGHPUT if not wanted or n in wanted):
                    result = machine.measure(name, size, paced=False, seconds=arguments.seconds)
                    if result is not None:
                        rates.setdefault((name, size), []).append(result["rate"])
            if not arguments.no_latency:
                for name in (n for n in LATENCY if not wanted or n in wanted):
                    result = machine.measure(name, 64, paced=True, seconds=5)
                    if result is not None:
                        latencies.setdefault(name, []).append(result["p50_us"])
    finally:
        machine.close()
    if arguments.save:
        saved = {
            "date": began,
            "load_before": round(load, 1),
            "processors": os.cpu_count(),
            "rounds": arguments.rounds,
            "usual_distance_ns": round(machine.watch.usual_ns),
            "set_aside": machine.set_aside,
            "rates": [[name, size, values] for (name, size), values in rates.items()],
            "latencies_us": latencies,
        }
        arguments.save.parent.mkdir(exist_ok=True)
        arguments.save.write_text(json.dumps(saved, indent=1) + "\n")
    report(sizes, {k: median(v) for k, v in rates.items()}, latencies)


def report(
    sizes: list[int], rates: dict[tuple[str, int], float], latencies: dict[str, list[float]]
) -> None:
    print("frames a second" + "".join(f"{NAMES[s]:>12}" for s in sizes))
    for name in THROUGHPUT:
        cells = [f"{rates.get((name, s), float('nan')):>12,.0f}" for s in sizes]
        print(f"{name:15}" + "".join(cells))
    for peer, targets in AT_LEAST.items():
        for size, target in targets.items():
            own, other = rates.get(("tensor-pool", size)), rates.get((peer, size))
            if own and other:
                ratio = own / other
                met = verdict(ratio, target, at_least=True)
                print(f"÷ {peer:10} {NAMES[size]:>8}: {ratio:6.2f} (at least {target:g}) {met}")
    for name, values in latencies.items():
        print(f"latency p50, 64 B at 1 kHz: {name:22} {median(values):8.1f} us")
    for own_name, peer, most in AT_MOST:
        if own_name in latencies and peer in latencies:
            ratio = median(latencies[own_name]) / median(latencies[peer])
            met = verdict(ratio, most, at_least=False)
            print(f"{own_name} ÷ {peer}: {ratio:.2f} (at most {most:g}) {met}")


if __name__ == "__main__":
    main()
