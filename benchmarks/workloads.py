"""Small frames in bulk, equal numbers of frames in flight, and frames that are not copied.

Part of `make bench`, or

    python benchmarks/workloads.py [--rounds 5] [--seconds 1] [--only bulk] [--save FILE]

- bulk: blocks of 64 frames of 64 bytes, which `publish_many` and `receive_many` move together.
  pyzmq moves the frames one by one, or a block as one message, which is then one frame.
- in flight: 640 KiB and 4 MiB, at most 2, 4 or 8 frames on their way, ring and buffers of that
  depth.
- no copy: a block is lent, its first 8 bytes are written, and read in place; 4 in flight.

Everything else is as in `data_path.py`: contenders take turns in every round, medians are compared
within the run.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from data_path import Machine, median

BLOCK = 64  # frames of 64 bytes
FRAME_BYTES = 64

# Workload: contenders, then cells of (label, bytes of a send, frames in it, depth)
type Cell = tuple[str, int, int, int]
WORKLOADS: dict[str, tuple[tuple[str, ...], tuple[Cell, ...]]] = {
    "bulk": (
        ("batches", "frame by frame", "pyzmq frame by frame", "pyzmq", "iceoryx2 frame by frame"),
        (("64 × 64 B", BLOCK * FRAME_BYTES, BLOCK, 8),),
    ),
    "in flight": (
        ("tensor-pool", "iceoryx2"),
        tuple(
            (f"{name}, {depth}", size, 1, depth)
            for name, size in (("640 KiB", 655360), ("4 MiB", 4194304))
            for depth in (2, 4, 8)
        ),
    ),
    "no copy": (
        ("loan", "iceoryx2 loan"),
        tuple(
            (name, size, 1, 4)
            for name, size in (("64 KiB", 65536), ("4 MiB", 4 << 20), ("64 MiB", 64 << 20))
        ),
    ),
}
# (workload, ours, peer, least ratio)
GOALS = (
    ("bulk", "batches", "pyzmq frame by frame", 2.0),
    ("bulk", "batches", "pyzmq", 1.0),
    ("bulk", "frame by frame", "pyzmq frame by frame", 1.0),
    ("in flight", "tensor-pool", "iceoryx2", 1.1),
    ("no copy", "loan", "iceoryx2 loan", 1.0),
)
NAMES = {
    "batches": "Tensor Pool, batches",
    "frame by frame": "Tensor Pool, one by one",
    "pyzmq frame by frame": "pyzmq, one by one",
    "pyzmq": "pyzmq, one message",
    "iceoryx2 frame by frame": "iceoryx2, one by one",
    "tensor-pool": "Tensor Pool",
    "iceoryx2": "iceoryx2 (event)",
    "loan": "Tensor Pool",
    "iceoryx2 loan": "iceoryx2 (event)",
}
FIRST_STREAM = 20_000


def cells() -> list[tuple[str, Cell]]:
    return [(workload, cell) for workload, (_, row) in WORKLOADS.items() for cell in row]


def stream_of(workload: str, cell: Cell) -> int:
    return FIRST_STREAM + cells().index((workload, cell))


def config() -> str:
    """A stream for each cell."""
    text = ""
    for workload, cell in cells():
        _, size, frames, depth = cell
        number = stream_of(workload, cell)
        nslots = max(depth * frames * (4 if frames > 1 else 1), 2)
        text += (
            f"[profiles.w{number}]\nheader_nslots = {nslots}\n"
            f"payload_pools = [{{ pool_id = 1, stride_bytes = {size // frames} }}]\n"
            f'[streams.w{number}]\nstream_id = {number}\nprofile = "w{number}"\n'
        )
    return text


def measured(
    machine: Machine, name: str, workload: str, cell: Cell, seconds: float, *, busy: bool
) -> float | None:
    """Frames a second; on a `busy` computer wherever the processes run."""
    _, size, frames, depth = cell
    meeting = (size, depth, stream_of(workload, cell))
    measure = machine.run if busy else machine.measure
    result = measure(name, size, paced=False, seconds=seconds, meeting=meeting)
    return result["rate"] * frames if result is not None else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="", help="comma-separated workloads")
    parser.add_argument("--busy", action="store_true", help="do not wait for a quiet computer")
    parser.add_argument("--save", type=Path, help="write every figure to this JSON file")
    parser.add_argument("--add", action="store_true", help="add rounds to those in that file")
    options = parser.parse_args()
    chosen = [w for w in WORKLOADS if not options.only or w in options.only.split(",")]
    began, load = time.strftime("%Y-%m-%d"), os.getloadavg()[0]
    machine = Machine(config())
    before: dict[str, Any] = {"load_before": load, "rounds": 0, "set_aside": 0}
    rates: dict[tuple[str, str, str], list[float]] = {}
    if options.add and options.save.exists():
        before = json.loads(options.save.read_text(encoding="utf-8"))
        rates = {(w, label, name): values for w, label, name, values in before["rates"]}
    try:
        for _ in range(options.rounds):
            for workload in chosen:
                contenders, row = WORKLOADS[workload]
                for cell in row:
                    for name in contenders:
                        rate = measured(
                            machine, name, workload, cell, options.seconds, busy=options.busy
                        )
                        if rate is not None:
                            rates.setdefault((workload, cell[0], name), []).append(rate)
    finally:
        machine.close()
    saved: dict[str, Any] = {
        "date": began,
        "load_before": round(max(load, before["load_before"]), 1),
        "rounds": before["rounds"] + options.rounds,
        "set_aside": before["set_aside"] + machine.set_aside,
        "busy": options.busy,
        "rates": [[*key, [round(v, 1) for v in values]] for key, values in rates.items()],
    }
    if options.save:
        options.save.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    print(report(saved))


def report(saved: dict[str, Any]) -> str:
    """Tables of medians, the rounds, and each goal met or missed."""
    rates = {(w, cell, name): values for w, cell, name, values in saved["rates"]}
    medians = {key: median(values) for key, values in rates.items()}
    lines: list[str] = []
    for workload, (contenders, row) in WORKLOADS.items():
        if not any(key[0] == workload for key in rates):
            continue
        labels = [cell[0] for cell in row]
        lines += [f"{workload}, frames a second".ljust(28) + "".join(f"{n:>14}" for n in labels)]
        for name in contenders:
            found = [medians.get((workload, label, name), float("nan")) for label in labels]
            lines.append(f"  {NAMES[name]:26}" + "".join(f"{rate:>14,.0f}" for rate in found))
        for goal, ours, peer, least in GOALS:
            if goal != workload:
                continue
            for label in labels:
                own, other = (medians.get((workload, label, n)) for n in (ours, peer))
                if own is not None and other is not None:
                    ratio = own / other
                    verdict = "met" if ratio >= least else "MISSED"
                    lines.append(
                        f"    {label}: {NAMES[ours]} / {NAMES[peer]} = {ratio:.2f},"
                        f" goal {least:g}: {verdict}"
                    )
    lines.append("every round:")
    for (workload, label, name), values in rates.items():
        text = " ".join(f"{value:,.0f}" for value in values)
        lines.append(f"  {workload} | {label} | {NAMES[name]}: {text}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
