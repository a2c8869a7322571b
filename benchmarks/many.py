"""Many consumers and many streams: throughput, processor time, the cost of waiting.

Part of `make bench`, or

    python benchmarks/many.py [--rounds 5] [--seconds 1] [--only consumers,streams,idle]

- consumers: one producer, 1, 2, 4 or 8 consumers in a process each, which copy each frame out. The
  producer sends as fast as it can, at most as many frames ahead of the slowest consumer as the ring
  has slots. Frames a second, of all consumers together; pyzmq with PUB and SUB. Each frame has its
  number at both ends, and one with two numbers, or one that is not above the one before, is wrong.
- streams: 1, 10 or 100 of them, 30 frames a second of 64 KiB each. A program has all producers, a
  second one all consumers, in a thread each, that copy each frame out. Processor time of both
  programs and the driver, by frames that arrived.
- idle: 100 consumers in a process each wait on a stream without frames (see `scale.py`). Share of a
  processor of each.

Contenders take turns in every round; medians are compared within the run.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import scale
from data_path import DEPTHS, KILLED_S, Machine, median
from data_path_contenders import CONTENDERS, Place
from pipeline import cpu_ns

PARTS = ("consumers", "streams", "idle")
CONSUMERS = (1, 2, 4, 8)
SIZES = {65536: "64 KiB", 655360: "640 KiB"}
NAMES = {
    "tensor-pool": "Tensor Pool",
    "iceoryx2": "iceoryx2 (event)",
    "zenoh to many": "zenoh (shared memory)",
    "pyzmq to many": "pyzmq (PUB, ipc)",
}
STREAMS = (1, 10, 100)
STREAM_RATE = 30
STREAM_BYTES = 65536
STREAM_SECONDS = 5.0
FIRST_STREAM = 20_000
IDLE_CONSUMERS = 100
IDLE_SECONDS = 20.0
IDLE_GOAL = 0.002  # of a processor
FLAT = 1.1  # times the cost of a frame with fewer streams
WARM_UP_S = 0.3
SETTLED_S = 2.0
PATIENCE_S = 60.0
# Lines of the words that the processes share, one of each kind for every consumer
READY, RECEIVED, DONE, PHASE = 0, 8, 16, 24
WARM, MEASURED, OVER = 0, 1, 2


class Words:
    """Shared words, each in a cache line of its own."""

    def __init__(self, place: Place) -> None:
        with open(place.path("words"), "a+b") as file:
            file.truncate(4096)
            self._words = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")

    def __getitem__(self, line: int) -> int:
        return self._words[8 * line]

    def __setitem__(self, line: int, value: int) -> None:
        self._words[8 * line] = value


# Many consumers


def send(contender: Any, place: Place, words: Words, consumers: int, seconds: float) -> None:
    """Send with a bounded number of frames ahead of the slowest, then until all have left."""
    lines = range(consumers)
    while not all(words[READY + n] for n in lines):
        time.sleep(0.001)
    emit = contender.sender(place)
    frame = np.arange(place.size, dtype=np.uint8)
    ends = frame[:8].view(np.uint64), frame[-8:].view(np.uint64)
    number = 0

    def send_one() -> None:
        nonlocal number
        number += 1
        ends[0][0] = ends[1][0] = number
        emit(frame)

    while not all(words[RECEIVED + n] for n in lines):
        send_one()
        time.sleep(0.01)
    warm = time.perf_counter() + WARM_UP_S
    until = warm + seconds
    ahead, patience = 0, 0
    base = [words[RECEIVED + n] for n in lines]
    while (now := time.perf_counter()) < until:
        if words[PHASE] == WARM and now > warm:
            words[PHASE] = MEASURED
        if ahead - min(words[RECEIVED + n] - base[n] for n in lines) >= place.depth:
            os.sched_yield()
            patience += 1
            if patience > 100_000:  # frames were lost, so a receiver is behind for ever
                base, ahead, patience = [words[RECEIVED + n] for n in lines], 0, 0
            continue
        patience = 0
        send_one()
        ahead += 1
    words[PHASE] = OVER
    while not all(words[DONE + n] for n in lines):
        send_one()
        time.sleep(0.01)


def receive(contender: Any, place: Place, words: Words, at: int) -> dict[str, Any]:
    """Frames a second while the producer has it measured."""
    frames = contender.receiver(place)
    next(frames)
    words[READY + at] = 1
    received = first = wrong = latest = 0
    started = 0.0
    for frame in frames:
        received += 1
        words[RECEIVED + at] = received
        number = int(frame[:8].view(np.uint64)[0])
        if number != frame[-8:].view(np.uint64)[0] or number <= latest:
            wrong += 1
        latest = number
        phase = words[PHASE]
        if phase == MEASURED and not started:
            started, first = time.perf_counter(), received
        elif phase == OVER:
            break
    rate = (received - first) / (time.perf_counter() - started) if started else 0.0
    words[DONE + at] = 1
    return {"rate": rate, "wrong": wrong}


def run_end(argument: str) -> None:
    """One end, in a process of its own."""
    given = json.loads(argument)
    place = Place(**given["place"])
    words = Words(place)
    contender = CONTENDERS[given["name"]]()
    if given["at"] < 0:
        send(contender, place, words, given["consumers"], given["seconds"])
    else:
        print(json.dumps(receive(contender, place, words, given["at"])), flush=True)
    contender.close()
    os._exit(0)  # peers' exit handlers are not what is measured


def measure_consumers(
    machine: Machine, name: str, size: int, consumers: int, seconds: float
) -> dict[str, Any] | None:
    """One run of new processes; None if one of them did not come to its end."""
    directory = tempfile.mkdtemp(prefix="run-", dir=machine.root)
    stream = 10_000 + list(DEPTHS).index(size)
    common = {
        "name": name,
        "place": {"directory": directory, "size": size, "depth": DEPTHS[size], "stream_id": stream},
        "consumers": consumers,
        "seconds": seconds,
    }
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the run
    ends = [
        subprocess.Popen(
            [sys.executable, __file__, "--end", json.dumps(common | {"at": at})],
            stdout=subprocess.PIPE if at >= 0 else None,
            stderr=errors,
            text=True,
        )
        for at in (*range(consumers), -1)
    ]
    try:
        results = [json.loads(end.communicate(timeout=PATIENCE_S)[0]) for end in ends[:-1]]
        ends[-1].wait(PATIENCE_S)
    except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        errors.seek(0)
        states = [end.poll() for end in ends]
        print(f"{name}, {size} B, {consumers} consumers: {type(error).__name__}, {states}")
        print(errors.read()[-2000:], flush=True)
        return None
    finally:
        errors.close()
        for end in ends:
            if end.poll() is None:
                end.kill()
                end.wait()
                if name == "tensor-pool":
                    time.sleep(KILLED_S)
        shutil.rmtree(directory, ignore_errors=True)
    return {key: sum(result[key] for result in results) for key in ("rate", "wrong")}


# Many streams


def run_streams(argument: str) -> None:
    """All producers or all consumers, in one program."""
    from tensor_pool.client import connect

    given = json.loads(argument)
    ids = range(FIRST_STREAM, FIRST_STREAM + given["streams"])
    root = Path(given["root"])
    with connect(aeron_dir=str(root / "aeron"), allowed_base_dirs=(str(root / "regions"),)) as pool:
        if given["role"] == "producers":
            produce_all([pool.producer(n) for n in ids])
        else:
            consume_all([pool.consumer(n) for n in ids])


def produce_all(producers: list[Any]) -> None:
    """A frame of each stream in turn, evenly spread over the period, until the pipe ends."""
    print("ready", flush=True)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    period_ns = 1_000_000_000 // (STREAM_RATE * len(producers))
    frame = np.arange(STREAM_BYTES, dtype=np.uint8)
    ends = frame[:8].view(np.uint64), frame[-8:].view(np.uint64)
    number, due = 0, time.monotonic_ns()
    while not over.is_set():
        number += 1
        for producer in producers:
            due += period_ns
            if (wait_ns := due - time.monotonic_ns()) > 0:
                time.sleep(wait_ns / 1e9)
            ends[0][0] = ends[1][0] = number
            producer.publish(frame)


def consume_all(consumers: list[Any]) -> None:
    """Copy the frames of each stream in a thread of its own; answer lines with the counts."""
    from tensor_pool.client import FrameOverwrittenError, StaleFrameError

    received = [0] * len(consumers)
    wrong = [0] * len(consumers)

    def consume(at: int) -> None:
        out = np.empty(STREAM_BYTES, np.uint8)
        for frame in consumers[at]:
            try:
                frame.copy(out)
            except (FrameOverwrittenError, StaleFrameError):
                continue
            received[at] += 1
            if out[:8].view(np.uint64)[0] != out[-8:].view(np.uint64)[0]:
                wrong[at] += 1

    for at in range(len(consumers)):
        threading.Thread(target=consume, args=(at,), daemon=True).start()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps([sum(received), sum(wrong)]), flush=True)


def measure_streams(machine: Machine, streams: int, seconds: float) -> dict[str, Any]:
    """Processor time of both programs and the driver for each frame that arrived."""

    def start(role: str) -> subprocess.Popen[str]:
        given = {"role": role, "streams": streams, "root": str(machine.root)}
        program = subprocess.Popen(
            [sys.executable, __file__, "--streams-of", json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert program.stdout is not None
        if "ready" not in program.stdout.readline():
            raise SystemExit(f"the program with {role} did not start")
        return program

    producers = start("producers")
    consumers = start("consumers")
    pids = (producers.pid, consumers.pid, machine.driver_pid)

    def look() -> tuple[list[int], list[int]]:
        assert consumers.stdin is not None
        assert consumers.stdout is not None
        consumers.stdin.write("\n")
        consumers.stdin.flush()
        return json.loads(consumers.stdout.readline()), [cpu_ns(pid) for pid in pids]

    time.sleep(SETTLED_S)
    (first, _), cpu_before = look()
    time.sleep(seconds)
    (last, wrong), cpu_after = look()
    for program in (consumers, producers):
        program.communicate()
    frames = max(last - first, 1)
    programs_ns = sum(cpu_after[:2]) - sum(cpu_before[:2])
    driver_ns = cpu_after[2] - cpu_before[2]
    return {
        "cpu_us": (programs_ns + driver_ns) / frames / 1000,
        "driver_us": driver_ns / frames / 1000,
        "arrived": frames / (seconds * STREAM_RATE * streams),
        "wrong": wrong,
    }


def config() -> str:
    """A hundred streams of 64 KiB."""
    streams = "".join(
        f'[streams.m{n}]\nstream_id = {n}\nprofile = "many"\n'
        for n in range(FIRST_STREAM, FIRST_STREAM + max(STREAMS))
    )
    pools = f"payload_pools = [{{ pool_id = 1, stride_bytes = {STREAM_BYTES} }}]"
    return f"[profiles.many]\nheader_nslots = 8\n{pools}\n{streams}"


# Waiting


def measure_idle(seconds: float) -> dict[str, float]:
    row = scale.measure(1, IDLE_CONSUMERS, hold_s=seconds, most_programs=IDLE_CONSUMERS, period_s=1)
    return {"share": row.program_cpu / (IDLE_CONSUMERS + 1), "driver": row.driver_cpu}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--consumers", default=",".join(map(str, CONSUMERS)))
    parser.add_argument("--streams", default=",".join(map(str, STREAMS)))
    parser.add_argument("--save", type=Path, help="write every figure to this JSON file")
    parser.add_argument("--add", action="store_true", help="add rounds to those in that file")
    parser.add_argument("--end", help=argparse.SUPPRESS)
    parser.add_argument("--streams-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.end:
        run_end(options.end)
    if options.streams_of:
        run_streams(options.streams_of)
        return 0
    parts = options.only.split(",") if options.only else PARTS
    saved: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "processors": os.cpu_count(),
        "load_before": [],
        "consumers": [],
        "streams": [],
        "idle": [],
    }
    if options.add and options.save.exists():
        saved = json.loads(options.save.read_text(encoding="utf-8"))
    saved["load_before"].append(round(os.getloadavg()[0], 1))

    def keep() -> None:
        """After each round, so that an interrupted run has its rounds."""
        if options.save:
            options.save.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")

    if "consumers" in parts or "streams" in parts:
        machine = Machine(config())
        try:
            for _ in range(options.rounds):
                if "consumers" in parts:
                    for size in SIZES:
                        for count in map(int, options.consumers.split(",")):
                            for name in NAMES:
                                found = measure_consumers(
                                    machine, name, size, count, options.seconds
                                )
                                saved["consumers"].append([size, count, name, found])
                if "streams" in parts:
                    for count in map(int, options.streams.split(",")):
                        result = measure_streams(machine, count, STREAM_SECONDS * options.seconds)
                        saved["streams"].append([count, result])
                keep()
        finally:
            machine.close()
    if "idle" in parts:
        saved["idle"].append(measure_idle(IDLE_SECONDS * options.seconds))
        keep()
    print(report(saved))
    results = [result for *_, result in saved["consumers"] + saved["streams"]]
    return 1 if any(result is None or result["wrong"] for result in results) else 0


def report(saved: dict[str, Any]) -> str:
    """Tables of medians, ratios, each goal met or missed, and every round."""
    return "\n".join(_consumers(saved) + _streams(saved) + _idle(saved))


def _consumers(saved: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    runs: dict[tuple[int, int, str], list[float | None]] = {}
    for size, count, name, result in saved["consumers"]:
        runs.setdefault((size, count, name), []).append(result and result["rate"])
    rates = {key: [rate for rate in found if rate is not None] for key, found in runs.items()}
    medians = {key: median(values) for key, values in rates.items() if values}
    counts = sorted({count for _, count, _ in rates})
    for size, title in SIZES.items():
        if not any(key[0] == size for key in rates):
            continue
        head = f"{title} to consumers, frames/s of all".ljust(38)
        lines.append(head + "".join(f"{count:>16}" for count in counts))
        for name in NAMES:
            cells = ""
            for count in counts:
                rate, own = (medians.get((size, count, n)) for n in (name, "tensor-pool"))
                ratio = f"({own / rate:.2f} ×)" if rate and own and name != "tensor-pool" else ""
                cells += f"{rate or float('nan'):>8,.0f} {ratio:>7}"
            lines.append(f"  {NAMES[name]:36}{cells}".rstrip())
        for name in list(NAMES)[1:]:
            behind = [
                str(count)
                for count in counts
                if medians.get((size, count, name), 0)
                > medians.get((size, count, "tensor-pool"), 0)
            ]
            if behind:
                lines.append(f"    {NAMES[name]} is faster with {', '.join(behind)}")
    if rates:
        lines.append("every round:")
    for (size, count, name), found in runs.items():
        text = " ".join("none" if rate is None else f"{rate:,.0f}" for rate in found)
        lines.append(f"  {SIZES[size]} | {count} | {NAMES[name]}: {text}")
    return lines


def _streams(saved: dict[str, Any]) -> list[str]:
    found: dict[int, list[dict[str, float]]] = {}
    for count, result in saved["streams"]:
        found.setdefault(count, []).append(result)
    if not found:
        return []
    lines = ["streams at 30 Hz, 64 KiB      CPU ms/frame   of it driver   arrived"]
    costs = {}
    for count, results in found.items():
        cpu, driver, arrived = (
            median([result[key] for result in results])
            for key in ("cpu_us", "driver_us", "arrived")
        )
        costs[count] = cpu
        lines.append(f"  {count:<26}{cpu / 1000:>14.2f}{driver / 1000:>15.2f}{arrived:>10.1%}")
    if len(costs) > 1:
        first = costs[min(costs)]
        worst = max(cost / first for cost in costs.values())
        verdict = "met" if worst <= FLAT else "MISSED"
        lines.append(
            f"    goal flat: with more streams a frame costs at most {worst:.2f} times that of one"
            f" stream (at most {FLAT:g}): {verdict}"
        )
    for count, results in found.items():
        text = " ".join(f"{result['cpu_us'] / 1000:.2f}" for result in results)
        lines.append(f"  every round | {count}: {text}")
    return lines


def _idle(saved: dict[str, Any]) -> list[str]:
    if not saved["idle"]:
        return []
    share = median([each["share"] for each in saved["idle"]])
    driver = median([each["driver"] for each in saved["idle"]])
    verdict = "met" if share <= IDLE_GOAL else "MISSED"
    text = " ".join(f"{each['share']:.2%}" for each in saved["idle"])
    return [
        f"{IDLE_CONSUMERS} waiting consumers: {share:.2%} of a processor each"
        f" (at most {IDLE_GOAL:.1%}): {verdict}; the driver {driver:.0%}",
        f"  every round: {text}",
    ]


if __name__ == "__main__":
    sys.exit(main())
