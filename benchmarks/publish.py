"""Put measured figures into the documentation: `make bench-publish`.

Reads what `benchmarks/data_path.py` and `benchmarks/workloads.py` saved into benchmarks/results,
and what `benchmarks/hsm.py` printed into benchmarks/results/hsm.txt. Draws
docs/pictures/throughput.svg and latency.svg, and writes the figures between the marks in README.md
and docs/explanation/performance.md. `--check` reports which of the two pages is stale and writes
nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))

import workloads  # noqa: E402 - beside this file, also where a test loads it

RESULTS = REPOSITORY / "benchmarks" / "results" / "data_path.json"
MACHINES = REPOSITORY / "benchmarks" / "results" / "hsm.txt"
PICTURES = REPOSITORY / "docs" / "pictures"
SIZES = {64: "64 B", 65536: "64 KiB", 655360: "640 KiB", 4194304: "4 MiB"}
NAMES = {
    "tensor-pool": "Tensor Pool",
    "tensor-pool spinning": "Tensor Pool, spinning",
    "pyzmq": "pyzmq (ipc)",
    "Pipe": "multiprocessing.Pipe",
    "zenoh": "zenoh (shared memory)",
    "iceoryx2": "iceoryx2 (event)",
    "iceoryx2 spinning": "iceoryx2, spinning",
    "raw ring": "raw ring, no protocol",
    "raw pyaeron": "raw pyaeron, no payload",
}
MARK = re.compile(r"<!-- measured -->.*?<!-- /measured -->", re.DOTALL)
WORKLOADS = REPOSITORY / "benchmarks" / "results" / "workloads.json"
WORKLOADS_MARK = re.compile(r"(<!-- measured workloads -->\n).*?(<!-- /measured -->)", re.DOTALL)
MACHINES_MARK = re.compile(r"(<!-- measured machines -->\n).*?(<!-- /measured -->)", re.DOTALL)


class Figures:
    """Medians over the rounds."""

    def __init__(self, saved: dict[str, Any]) -> None:
        self.about = saved
        self.rates = {(n, s): statistics.median(v) for n, s, v in saved["rates"] if v}
        self.latencies = {n: statistics.median(v) for n, v in saved["latencies_us"].items() if v}

    @property
    def senders(self) -> list[str]:
        return [name for name in NAMES if any((name, size) in self.rates for size in SIZES)]

    def provenance(self) -> str:
        about = self.about
        return (
            f"Measured on {about['date']} with benchmarks/data_path.py, {about['rounds']} rounds, "
            f"on {about['processors']} shared virtual processors (load average "
            f"{about['load_before']:g} before), each process on a core of its own and both near "
            f"each other (a word goes there and back in {about['usual_distance_ns']} ns); "
            f"{about['set_aside']} other measurements were set aside. "
            "Compare within the table, not with other machines."
        )


def rate_table(figures: Figures) -> str:
    """Frames a second, and how many times the peer's rate ours is."""
    lines = [
        "| frames/s | " + " | ".join(SIZES.values()) + " |",
        "| --- |" + " ---: |" * len(SIZES),
    ]
    for name in figures.senders:
        cells = []
        for size in SIZES:
            rate, own = figures.rates.get((name, size)), figures.rates.get(("tensor-pool", size))
            if rate is None:
                cells.append("–")
            elif name == "tensor-pool" or own is None:
                cells.append(f"**{_short(rate)}**")
            else:
                cells.append(f"{_short(rate)} ({own / rate:.2g} ×)")
        lines.append(f"| {NAMES[name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def latency_table(figures: Figures) -> str:
    lines = ["| one way, 64 B, 1000 frames/s | median |", "| --- | ---: |"]
    for name, value in sorted(figures.latencies.items(), key=lambda item: item[1]):
        lines.append(f"| {NAMES[name]} | {value:.1f} µs |")
    return "\n".join(lines)


def losses(figures: Figures) -> str:
    """Return a sentence on the rows in which another way is faster."""
    found = []
    for name in figures.senders[1:]:
        slower = [
            label
            for size, label in SIZES.items()
            if figures.rates.get((name, size), 0) > figures.rates.get(("tensor-pool", size), 0)
        ]
        if slower:
            found.append(f"{NAMES[name]} at {', '.join(slower)}")
    return "Faster than Tensor Pool here: " + ("; ".join(found) if found else "none") + "."


def workloads_text(saved: dict[str, Any]) -> str:
    """The tables of benchmarks/workloads.py, and how they came to be."""
    where = "on a busy computer, wherever the processes ran" if saved["busy"] else "as above"
    return (
        f"```text\n{workloads.report(saved)}\n```\n\nMeasured on {saved['date']},"
        f" {saved['rounds']} rounds, {where} (load average {saved['load_before']:g} before)."
    )


def pages(figures: Figures, machines: str) -> dict[Path, str]:
    """Both pages with their measured parts renewed; `machines` is what the other script printed."""
    legend = "In brackets: how many times that rate Tensor Pool reaches."
    readme = "\n\n".join(
        [
            rate_table(figures),
            latency_table(figures),
            f"{losses(figures)} {legend}",
            figures.provenance(),
        ]
    )
    performance = "\n\n".join(
        [
            rate_table(figures),
            f"{legend} {losses(figures)}",
            "![Frames a second by size](../pictures/throughput.svg)",
            latency_table(figures),
            "![One-way latency](../pictures/latency.svg)",
            figures.provenance(),
        ]
    )
    targets = {
        REPOSITORY / "README.md": readme,
        REPOSITORY / "docs" / "explanation" / "performance.md": performance,
    }
    table = f"\n```text\n{machines.strip()}\n```\n\n"
    more = f"\n{workloads_text(json.loads(WORKLOADS.read_text(encoding='utf-8')))}\n\n"
    return {
        path: MACHINES_MARK.sub(
            lambda found: f"{found[1]}{table}{found[2]}",
            MARK.sub(
                lambda _, text=text: f"<!-- measured -->\n\n{text}\n\n<!-- /measured -->",
                WORKLOADS_MARK.sub(
                    lambda found: f"{found[1]}{more}{found[2]}", path.read_text(encoding="utf-8")
                ),
            ),
        )
        for path, text in targets.items()
    }


def draw(figures: Figures) -> None:
    """The same figures as bars; logarithmic, as they differ by orders of magnitude."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "tensor-pool", "font.size": 9, "svg.fonttype": "none"})
    import matplotlib.pyplot as plt

    names = figures.senders
    chart, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for n, name in enumerate(names):
        places = [s + (n - len(names) / 2) * 0.13 for s in range(len(SIZES))]
        heights = [figures.rates.get((name, size), float("nan")) for size in SIZES]
        axes.bar(places, heights, 0.12, label=NAMES[name])
    axes.set_xticks(range(len(SIZES)), list(SIZES.values()))
    axes.set(yscale="log", ylabel="frames a second")
    axes.legend(fontsize=8)
    chart.savefig(PICTURES / "throughput.svg", metadata={"Date": None})
    ordered = sorted(figures.latencies.items(), key=lambda item: -item[1])
    chart, axes = plt.subplots(figsize=(8, 2.4), layout="constrained")
    axes.barh([NAMES[name] for name, _ in ordered], [value for _, value in ordered])
    axes.set(xlabel="µs, one way, median")
    chart.savefig(PICTURES / "latency.svg", metadata={"Date": None})


def _short(rate: float) -> str:
    if rate >= 1e5:
        return f"{rate / 1e3:,.0f} k"
    if rate >= 1e3:
        return f"{rate / 1e3:.3g} k"
    return f"{rate:.3g}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only tell what is stale")
    options = parser.parse_args()
    figures = Figures(json.loads(RESULTS.read_text(encoding="utf-8")))
    renewed = pages(figures, MACHINES.read_text(encoding="utf-8"))
    stale = [p for p, text in renewed.items() if p.read_text(encoding="utf-8") != text]
    if options.check:
        print("\n".join(p.name for p in stale) or "the pages show the saved figures")
        return 1 if stale else 0
    for path, text in renewed.items():
        path.write_text(text, encoding="utf-8")
    draw(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
