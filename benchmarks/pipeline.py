"""A pipeline of four processes, beside other ways: latency and processor time.

Part of `make bench`, or

    python benchmarks/pipeline.py [--rounds 5] [--seconds 5] [--sizes vga,hd] [--only tensor-pool]

A camera has images at a fixed rate, a filter inverts each of them, a detector finds the dark square
in it and draws a frame around it, a viewer looks at the result. Each stage is a process that does
its work between a frame it was given and a frame that it sends, in the memory that its way of
moving frames offers (see `pipeline_contenders.py`).

Latency is from before the camera fills a frame, which has the time in it, until the viewer has got
it, by one clock. Processor time is that of all threads of the four processes and of the driver, by
frames that arrived. The viewer compares each image, at every eighth pixel of every eighth row, with
the one that the number in it leads to. The camera sleeps until a frame is due; one that is late
moves no other. Contenders take turns in every round.
"""

from __future__ import annotations

import argparse
import json
import mmap
import multiprocessing
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from data_path import KILLED_S, Machine, median
from data_path_contenders import Array, Place
from pipeline_contenders import LINKS, Link

STAGES = ("camera", "filter", "detector", "viewer")
NAMES = {
    "tensor-pool": "Tensor Pool",
    "iceoryx2": "iceoryx2 (event)",
    "zenoh": "zenoh (shared memory)",
    "pyzmq": "pyzmq (ipc)",
    "Queue": "multiprocessing.Queue",
}
IMAGES = 8  # different ones
HEADER = 16  # bytes at the start of each: its number and the time
SQUARE = 16  # pixels
SPARSE = slice(None, None, 8)
WARM_UP_S = 1.5  # by then a producer has a hello of its consumers, and rings
PATIENCE_S = 30.0
# Indices of the words that the stages share, each in a cache line of its own
SEEN, FIRST, LAST, LEFT = range(0, 32, 8)


class Size(NamedTuple):
    """Images at a rate; at most `depth` of them wait between two stages."""

    title: str
    shape: tuple[int, int, int]
    rate: int
    depth: int

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape))


SIZES = {
    "vga": Size("640 × 480 × 3, 200 Hz", (480, 640, 3), 200, 8),
    "hd": Size("1920 × 1080 × 3, 60 Hz", (1080, 1920, 3), 60, 4),
    "smoke": Size("64 × 64 × 3, 50 Hz", (64, 64, 3), 50, 8),
}
FIRST_STREAM = 20_000


def config() -> str:
    """A stream for each link of each size."""
    text = ""
    for at, (name, size) in enumerate(SIZES.items()):
        stride_bytes = -(-size.nbytes // 4096) * 4096
        text += (
            f"[profiles.{name}]\nheader_nslots = {size.depth}\n"
            f"payload_pools = [{{ pool_id = 1, stride_bytes = {stride_bytes} }}]\n"
        )
        for link in range(len(STAGES) - 1):
            number = FIRST_STREAM + 10 * at + link
            text += f'[streams.p{number}]\nstream_id = {number}\nprofile = "{name}"\n'
    return text


def images(size: Size) -> list[Array]:
    """Noise with a bright square, elsewhere in each; the same in every process."""
    random = np.random.default_rng(18)
    height, width, _ = size.shape
    made = []
    for _ in range(IMAGES):
        image = random.integers(0, 200, size.shape, np.uint8)
        y, x = (8 * int(random.integers(1, n // 8 - SQUARE // 8 - 1)) for n in (height, width))
        image[y : y + SQUARE, x : x + SQUARE] = 255
        made.append(image)
    return made


def detect(image: Array) -> tuple[int, int]:
    """Row and column of the darkest of every eighth pixels: the corner of the square."""
    green = image[SPARSE, SPARSE, 1]
    y, x = divmod(int(green[1:].argmin()), green.shape[1])
    return 8 * (y + 1), 8 * x


def draw(image: Array, corner: tuple[int, int]) -> None:
    y, x = corner
    image[y, x : x + SQUARE] = image[y + SQUARE - 1, x : x + SQUARE] = (0, 255, 0)
    image[y : y + SQUARE, x] = image[y : y + SQUARE, x + SQUARE - 1] = (0, 255, 0)


def expected(size: Size) -> list[Array]:
    """Every eighth pixel of every eighth row that the viewer must see, but for the first row."""
    thumbnails = []
    for image in images(size):
        seen = ~image
        draw(seen, detect(seen))
        thumbnails.append(seen[SPARSE, SPARSE][1:].copy())
    return thumbnails


class Stage:
    """One process of the pipeline."""

    def __init__(self, name: str, size: Size, places: list[Place], channels: list[Any]) -> None:
        self.link: Link = LINKS[name]()
        self.size, self.places, self.channels = size, places, channels
        with open(places[0].path("words"), "a+b") as file:
            file.truncate(4096)
            self.words = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
        self._cpu_began = self.cpu_ns = 0

    def meter(self, number: int, at: int) -> bool:
        """Take the processor time at the first and the last frame; True when it is time to leave.

        The viewer leaves first: what others have sent may be on its way still.
        """
        words = self.words
        if not self.cpu_ns and words[FIRST]:
            if not self._cpu_began and number >= words[FIRST]:
                self._cpu_began = time.process_time_ns()
            elif number >= words[LAST]:
                self.cpu_ns = time.process_time_ns() - self._cpu_began
        return bool(self.cpu_ns) and all(words[LEFT + 8 * n] for n in range(at + 1, len(STAGES)))

    def output(self, at: int) -> Any:
        return self.link.output(self.places[at], self.channels[at])

    def input(self, at: int) -> Any:
        after = self.places[at + 1] if at + 1 < len(self.places) else None
        return self.link.input(self.places[at], self.channels[at], after)

    def leave(self, at: int) -> None:
        self.words[LEFT + 8 * at] = 1


def run_camera(stage: Stage, seconds: float) -> None:
    """Send frames until every other stage has left."""
    size, words = stage.size, stage.words
    pictures = [image.reshape(-1) for image in images(size)]
    emit = stage.output(0)
    period_ns = 1_000_000_000 // size.rate
    number, due = 0, time.monotonic_ns()
    picture = pictures[0]

    def fill(array: Array) -> bool:
        stamp = time.monotonic_ns()
        array[:] = picture
        array[:HEADER].view(np.int64)[:] = number, stamp
        return True

    while not stage.meter(number, 0):
        due += period_ns
        if (wait_ns := due - time.monotonic_ns()) > 0:
            time.sleep(wait_ns / 1e9)
        picture = pictures[number % IMAGES]
        emit(fill)
        if not words[FIRST] and words[SEEN]:
            first = number + max(round(WARM_UP_S * size.rate), 1)
            words[LAST] = first + max(round(seconds * size.rate), 2)
            words[FIRST] = first
        number += 1


def run_filter(stage: Stage) -> None:
    frames, emit = stage.input(0), None
    for array, is_intact in frames:
        header = array[:HEADER].copy()

        def fill(
            out: Array, array: Array = array, header: Array = header, intact: Any = is_intact
        ) -> bool:
            np.invert(array, out=out)
            out[:HEADER] = header
            return bool(intact())

        emit = emit or stage.output(1)
        emit(fill)
        if stage.meter(int(header.view(np.int64)[0]), 1):
            return


def run_detector(stage: Stage) -> None:
    shape = stage.size.shape
    frames, emit = stage.input(1), None
    for array, is_intact in frames:
        number = int(array[:8].view(np.int64)[0])

        def fill(out: Array, array: Array = array, intact: Any = is_intact) -> bool:
            corner = detect(array.reshape(shape))
            out[:] = array
            draw(out.reshape(shape), corner)
            return bool(intact())

        emit = emit or stage.output(2)
        emit(fill)
        if stage.meter(number, 2):
            return


def run_viewer(stage: Stage, began: Any, ended: Any) -> dict[str, Any]:
    """Latencies of the frames that arrived as they must look."""
    size, words = stage.size, stage.words
    thumbnails = expected(size)
    latencies: list[int] = []
    wrong = late = 0
    is_begun = False
    for array, is_intact in stage.input(2):
        now = time.monotonic_ns()
        number, stamp = array[:HEADER].view(np.int64).tolist()
        thumbnail = array.reshape(size.shape)[SPARSE, SPARSE][1:]
        is_right = np.array_equal(thumbnail, thumbnails[number % IMAGES])
        words[SEEN] = 1
        if not is_intact():
            late += 1
        elif not is_right:
            wrong += 1
        elif 0 < words[FIRST] <= number < words[LAST]:
            latencies.append(now - stamp)
            if not is_begun:
                is_begun = True
                began.set()
        if stage.meter(number, 3):
            break
    ended.set()
    return {"latencies": latencies, "wrong": wrong, "late": late}


def run_stage(
    at: int, name: str, size: Size, places: list[Place], channels: list[Any], seconds: float,
    began: Any, ended: Any, results: Any,
) -> None:  # fmt: skip
    """One stage, in a process of its own."""
    stage = Stage(name, size, places, channels)
    result: dict[str, Any] = {}
    if at == 0:
        run_camera(stage, seconds)
    elif at == 1:
        run_filter(stage)
    elif at == 2:
        run_detector(stage)
    else:
        result = run_viewer(stage, began, ended)
    stage.leave(at)
    results.put((at, result | {"cpu_ns": stage.cpu_ns}))
    stage.link.close()
    os._exit(0)  # peers' exit handlers are not what is measured


def cpu_ns(pid: int) -> int:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def measure(machine: Machine, name: str, which: str, seconds: float) -> dict[str, Any] | None:
    """One run of four new processes; None if a stage did not come to its end."""
    size = SIZES[which]
    context = multiprocessing.get_context("spawn")
    links = range(len(STAGES) - 1)
    directories = [tempfile.mkdtemp(prefix="run-", dir=machine.root) for _ in links]
    stream = FIRST_STREAM + 10 * list(SIZES).index(which)
    places = [Place(directories[at], size.nbytes, size.depth, stream + at) for at in links]
    channels = [context.Queue(size.depth) if name == "Queue" else None for _ in links]
    began, ended, results = context.Event(), context.Event(), context.SimpleQueue()
    processes = [
        context.Process(
            target=run_stage,
            args=(at, name, size, places, channels, seconds, began, ended, results),
        )
        for at in reversed(range(len(STAGES)))
    ]
    for process in processes:
        process.start()
    try:
        if not began.wait(PATIENCE_S):
            return None
        driver_began = cpu_ns(machine.driver_pid)
        if not ended.wait(seconds + PATIENCE_S):
            return None
        driver_ns = cpu_ns(machine.driver_pid) - driver_began if name == "tensor-pool" else 0
        for process in processes:
            process.join(PATIENCE_S)
            if process.exitcode != 0:
                return None
        found: dict[int, dict[str, Any]] = dict(results.get() for _ in STAGES)
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()
                if name == "tensor-pool":
                    time.sleep(KILLED_S)
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)
    viewer = found[len(STAGES) - 1]
    ordered = sorted(viewer["latencies"])
    if not ordered:
        return None
    stage_ns = [found[at]["cpu_ns"] for at in range(len(STAGES))]
    return {
        "p50_us": ordered[len(ordered) // 2] / 1000,
        "p99_us": ordered[min(round(0.99 * len(ordered)), len(ordered) - 1)] / 1000,
        "cpu_us": (sum(stage_ns) + driver_ns) / len(ordered) / 1000,
        "driver_us": driver_ns / len(ordered) / 1000,
        "arrived": len(ordered) / max(round(seconds * size.rate), 2),
        "wrong": viewer["wrong"],
        "late": viewer["late"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--sizes", default="vga,hd", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--only", default="", help="comma-separated names of contenders")
    parser.add_argument("--save", type=Path, help="write every figure to this JSON file")
    parser.add_argument("--add", action="store_true", help="add rounds to those in that file")
    options = parser.parse_args()
    sizes = options.sizes.split(",")
    chosen = [name for name in LINKS if not options.only or name in options.only.split(",")]
    saved: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "load_before": [],
        "processors": os.cpu_count(),
        "seconds": options.seconds,
        "runs": [],
    }
    if options.add and options.save.exists():
        saved = json.loads(options.save.read_text(encoding="utf-8"))
    machine = Machine(config())
    try:
        for _ in range(options.rounds):
            saved["load_before"].append(round(os.getloadavg()[0], 1))
            for which in sizes:
                for name in chosen:
                    result = measure(machine, name, which, options.seconds)
                    saved["runs"].append([which, name, result])
            if options.save:  # now, so that an interrupted run has its rounds
                options.save.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    finally:
        machine.close()
    print(report(saved))
    return 1 if any(result is None or result["wrong"] for *_, result in saved["runs"]) else 0


def medians(saved: dict[str, Any]) -> dict[tuple[str, str], dict[str, float]]:
    """Of the rounds, by size and contender."""
    runs: dict[tuple[str, str], list[dict[str, float]]] = {}
    for which, name, result in saved["runs"]:
        if result is not None:
            runs.setdefault((which, name), []).append(result)
    return {
        key: {field: median([run[field] for run in found]) for field in found[0]}
        for key, found in runs.items()
    }


def report(saved: dict[str, Any]) -> str:
    """Tables of medians, ratios, each goal met or missed, and every round."""
    found = medians(saved)
    lines: list[str] = []
    for which, size in SIZES.items():
        rows = {name: found[which, name] for name in LINKS if (which, name) in found}
        if not rows:
            continue
        lines.append(
            f"{size.title:28}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms/frame':>14}{'arrived':>9}"
            f"{'p50 ratio':>11}{'CPU ratio':>11}"
        )
        own = rows.get("tensor-pool")
        for name, row in rows.items():
            ratios = "".join(
                f"{row[field] / own[field]:>11.2f}" if own else "" for field in ("p50_us", "cpu_us")
            )
            lines.append(
                f"  {NAMES[name]:26}{row['p50_us'] / 1000:>9.2f}{row['p99_us'] / 1000:>9.2f}"
                f"{row['cpu_us'] / 1000:>14.2f}{row['arrived']:>9.1%}{ratios}"
            )
        for field, word in (("p50_us", "p50"), ("cpu_us", "CPU")):
            first = min(rows, key=lambda name: rows[name][field])
            if own and len(rows) > 1:
                best = min(row[field] for name, row in rows.items() if name != "tensor-pool")
                verdict = "met" if first == "tensor-pool" else f"MISSED, {NAMES[first]} is first"
                lines.append(
                    f"    goal first in {word}: {verdict}; the best other way takes"
                    f" {best / own[field]:.2f} times as much"
                )
    lines.append("every round, p50 / p99 / CPU in ms:")
    for which, name in dict.fromkeys((which, name) for which, name, _ in saved["runs"]):
        cells = [
            f"{run['p50_us'] / 1000:.2f}/{run['p99_us'] / 1000:.2f}/{run['cpu_us'] / 1000:.2f}"
            if run
            else "none"
            for *key, run in saved["runs"]
            if key == [which, name]
        ]
        lines.append(f"  {which} | {NAMES[name]}: {' '.join(cells)}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
