"""Put measured figures into the documentation: `make bench-publish`.

Reads what `data_path.py`, `workloads.py`, `pipeline.py` and `many.py` of benchmarks/ saved into
benchmarks/results, and what `benchmarks/hsm.py` printed into benchmarks/results/hsm.txt. Draws
throughput.svg, latency.svg and pipeline.svg in docs/pictures, and writes the figures between the
marks in README.md and docs/explanation/performance.md. `--check` reports which of the two pages is
stale and writes nothing.
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

import many  # noqa: E402 - these are beside this file, also where a test loads it
import pipeline  # noqa: E402
import workloads  # noqa: E402

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
MARK = re.compile(r"(<!-- measured -->\n).*?(<!-- /measured -->)", re.DOTALL)
WORKLOADS = REPOSITORY / "benchmarks" / "results" / "workloads.json"
WORKLOADS_MARK = re.compile(r"(<!-- measured workloads -->\n).*?(<!-- /measured -->)", re.DOTALL)
PIPELINE = REPOSITORY / "benchmarks" / "results" / "pipeline.json"
PIPELINE_MARK = re.compile(r"(<!-- measured pipeline -->\n).*?(<!-- /measured -->)", re.DOTALL)
MANY = REPOSITORY / "benchmarks" / "results" / "many.json"
MANY_MARK = re.compile(r"(<!-- measured many -->\n).*?(<!-- /measured -->)", re.DOTALL)
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


def pipeline_table(saved: dict[str, Any]) -> str:
    """Medians of latency and processor time, and how many times as much as ours that is."""
    found = pipeline.medians(saved)
    sizes = [size for size in pipeline.SIZES if any(key[0] == size for key in found)]
    titles = [
        f"{pipeline.SIZES[size].title}: {what}"
        for size in sizes
        for what in ("p50", "CPU of a frame")
    ]
    lines = [f"| four processes | {' | '.join(titles)} |", "| --- |" + " ---: |" * len(titles)]
    for name, title in pipeline.NAMES.items():
        cells = []
        for size in sizes:
            row, own = found.get((size, name)), found.get((size, "tensor-pool"))
            for field in ("p50_us", "cpu_us"):
                if row is None:
                    cells.append("–")
                elif name == "tensor-pool" or own is None:
                    cells.append(f"**{row[field] / 1000:.3g} ms**")
                else:
                    cells.append(f"{row[field] / 1000:.3g} ms ({row[field] / own[field]:.2g} ×)")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pipeline_losses(saved: dict[str, Any]) -> str:
    """Return a sentence on the other ways that are ahead of Tensor Pool."""
    found = pipeline.medians(saved)
    ahead = []
    for name, title in pipeline.NAMES.items():
        for size in pipeline.SIZES:
            row, own = found.get((size, name)), found.get((size, "tensor-pool"))
            if row is None or own is None:
                continue
            fields = (("p50_us", "p50"), ("cpu_us", "CPU"))
            better = [what for field, what in fields if row[field] < own[field]]
            if better:
                ahead.append(f"{title} in {' and '.join(better)} at {pipeline.SIZES[size].title}")
    return "Ahead of Tensor Pool here: " + ("; ".join(ahead) if ahead else "none") + "."


def rounds_text(saved: dict[str, Any], script: str) -> str:
    """The way in which the rounds came to be."""
    loads = [f"{load:g}" for load in saved["load_before"]]
    return (
        f"Measured on {saved['date']} with benchmarks/{script}, on {saved['processors']} shared"
        f" virtual processors, wherever the processes ran (load averages before the rounds"
        f" {', '.join(loads)})."
    )


def pages(figures: Figures, machines: str) -> dict[Path, str]:
    """Both pages with their measured parts renewed; `machines` is what the other script printed."""
    piped = json.loads(PIPELINE.read_text(encoding="utf-8"))
    to_many = json.loads(MANY.read_text(encoding="utf-8"))
    about_pipeline = (
        "In brackets: how many times as much it takes as Tensor Pool."
        f" {pipeline_losses(piped)}\n\n{rounds_text(piped, 'pipeline.py')}"
    )
    pipeline_parts = {
        "README.md": f"\n{pipeline_table(piped)}\n\n{about_pipeline}\n\n",
        "performance.md": (
            f"\n{pipeline_table(piped)}\n\n{about_pipeline}\n\n"
            "![A pipeline of four processes](../pictures/pipeline.svg)\n\n"
            f"```text\n{pipeline.report(piped)}\n```\n\n"
        ),
    }
    many_part = f"\n```text\n{many.report(to_many)}\n```\n\n{rounds_text(to_many, 'many.py')}\n\n"
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
    renewed = {}
    for path, text in targets.items():
        page = path.read_text(encoding="utf-8")
        for mark, part in (
            (MARK, f"\n{text}\n\n"),
            (WORKLOADS_MARK, more),
            (PIPELINE_MARK, pipeline_parts[path.name]),
            (MANY_MARK, many_part),
            (MACHINES_MARK, table),
        ):
            page = mark.sub(lambda found, part=part: f"{found[1]}{part}{found[2]}", page)
        renewed[path] = page
    return renewed


def draw(figures: Figures) -> None:
    """The same figures as bars; logarithmic, as they differ by orders of magnitude."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "tensor-pool", "font.size": 9, "svg.fonttype": "none"})
    # On light and on dark pages: no background, lines and text of a grey between the two.
    colours = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    mpl.rcParams.update(dict.fromkeys(colours, "#7d8590"))
    mpl.rcParams.update(
        dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none")
    )
    mpl.rcParams.update({"legend.framealpha": 0, "legend.edgecolor": "none"})
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
    draw_pipeline(plt, pipeline.medians(json.loads(PIPELINE.read_text(encoding="utf-8"))))


def draw_pipeline(plt: Any, found: dict[tuple[str, str], dict[str, float]]) -> None:
    """Latency and processor time, a row for each size."""
    sizes = list(dict.fromkeys(size for size, _ in found))
    chart, rows = plt.subplots(
        len(sizes), 2, figsize=(8, 1.9 * len(sizes)), layout="constrained", squeeze=False
    )
    for axes_of_row, size in zip(rows, sizes, strict=True):
        names = [name for name in reversed(pipeline.NAMES) if (size, name) in found]
        for axes, field, what in zip(
            axes_of_row, ("p50_us", "cpu_us"), ("latency, median", "processor time"), strict=True
        ):
            values = [found[size, name][field] / 1000 for name in names]
            bars = axes.barh([pipeline.NAMES[name] for name in names], values)
            axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=2, fontsize=8)
            axes.set(xscale="log", xlabel=f"ms, {what}", xlim=(0.5, 3 * max(values)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
            axes.set_title(pipeline.SIZES[size].title, fontsize=9)
        axes_of_row[1].set_yticklabels([])
    chart.savefig(PICTURES / "pipeline.svg", metadata={"Date": None})


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
