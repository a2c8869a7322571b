"""The figures in the pages are those measured, also where others are faster."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def publish() -> ModuleType:
    path = REPOSITORY / "benchmarks" / "publish.py"
    spec = importlib.util.spec_from_file_location("benchmarks_publish", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def saved() -> dict[str, object]:
    return {
        "date": "2001-02-03",
        "load_before": 0.5,
        "processors": 2,
        "rounds": 3,
        "usual_distance_ns": 250,
        "set_aside": 4,
        "rates": [
            ["tensor-pool", 64, [100_000, 200_000, 300_000]],
            ["pyzmq", 64, [400_000, 400_000, 1]],
            ["tensor-pool", 65536, [50_000]],
            ["pyzmq", 65536, [10_000]],
            ["zenoh", 64, []],
        ],
        "latencies_us": {"tensor-pool": [9.0, 7.0, 8.0], "pyzmq": [20.0]},
    }


def test_medians_and_ratios_are_shown(publish: ModuleType, saved: dict[str, object]) -> None:
    figures = publish.Figures(saved)
    table = publish.rate_table(figures)
    assert "| Tensor Pool | **200 k** | **50 k** | – | – |" in table
    assert "| pyzmq (ipc) | 400 k (0.5 ×) | 10 k (5 ×) | – | – |" in table
    assert "zenoh" not in table
    assert "| Tensor Pool | 8.0 µs |" in publish.latency_table(figures)


def test_the_page_names_where_others_are_faster(
    publish: ModuleType, saved: dict[str, object]
) -> None:
    assert "pyzmq (ipc) at 64 B." in publish.losses(publish.Figures(saved))


def test_both_pages_have_a_place_for_the_figures(
    publish: ModuleType, saved: dict[str, object]
) -> None:
    pages = publish.pages(publish.Figures(saved), "  leaf  1.06\n")
    assert {path.name for path in pages} == {"README.md", "performance.md"}
    for text in pages.values():
        assert "| pyzmq (ipc) | 400 k (0.5 ×)" in text
        assert "2001-02-03" in text
        assert "| four processes | 640 × 480 × 3, 200 Hz: p50 |" in text
    performance = next(text for path, text in pages.items() if path.name == "performance.md")
    for sentence in ("in flight, frames a second", "goal first in p50", "waiting consumers"):
        assert sentence in performance
    assert "```text\nleaf  1.06\n```" in performance


def test_the_pipeline_is_shown_beside_other_ways(publish: ModuleType) -> None:
    """Medians in ms, how many times ours they are, and each way that is ahead."""
    ours = {"p50_us": 2000.0, "cpu_us": 1000.0}
    saved = {
        "runs": [
            ["vga", "tensor-pool", ours],
            ["hd", "tensor-pool", ours],
            ["vga", "iceoryx2", {"p50_us": 1000.0, "cpu_us": 500.0}],
            ["hd", "iceoryx2", {"p50_us": 4000.0, "cpu_us": 500.0}],
            ["hd", "zenoh", None],
        ]
    }
    table = publish.pipeline_table(saved)
    assert "| Tensor Pool | **2 ms** | **1 ms** | **2 ms** | **1 ms** |" in table
    assert "| iceoryx2 (event) | 1 ms (0.5 ×) | 0.5 ms (0.5 ×) | 4 ms (2 ×) | 0.5 ms (0.5" in table
    assert "| zenoh (shared memory) | – | – | – | – |" in table
    ahead = (
        "iceoryx2 (event) in p50 and CPU at 640 × 480 × 3, 200 Hz; iceoryx2 (event) in CPU at 1920"
    )
    assert ahead in publish.pipeline_losses(saved)


@pytest.mark.parametrize("name", ["throughput", "latency", "pipeline"])
def test_pictures_of_figures_work_on_dark_pages(publish: ModuleType, name: str) -> None:
    """No white ground, no black text."""
    drawn = (publish.PICTURES / f"{name}.svg").read_text(encoding="utf-8")
    assert "#7d8590" in drawn
    for colour in ("#ffffff", "#000000", "fill: white"):
        assert colour not in drawn


def test_figures_are_drawn_without_a_ground_and_in_grey(
    publish: ModuleType, saved: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings at the time of drawing; Matplotlib itself is not installed for the tests."""
    drawn: list[dict[str, object]] = []
    matplotlib = MagicMock(rcParams={})
    chart = MagicMock()
    chart.savefig = lambda *_, **__: drawn.append(dict(matplotlib.rcParams))
    matplotlib.pyplot.subplots.return_value = chart, MagicMock()
    monkeypatch.setitem(sys.modules, "matplotlib", matplotlib)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", matplotlib.pyplot)
    monkeypatch.setattr(publish, "draw_pipeline", lambda plt, _: plt.subplots()[0].savefig())
    publish.draw(publish.Figures(saved))
    assert len(drawn) == 3
    for settings in drawn:
        grounds = {name: value for name, value in settings.items() if name.endswith("facecolor")}
        assert grounds == dict.fromkeys(
            ("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"
        )
        assert settings["legend.framealpha"] == 0
        for name in (
            "text.color",
            "axes.labelcolor",
            "axes.edgecolor",
            "xtick.color",
            "ytick.color",
        ):
            assert settings[name] == "#7d8590", name


def test_the_pages_show_the_saved_figures(publish: ModuleType) -> None:
    """Run this when it fails: python benchmarks/publish.py"""
    if publish.RESULTS.exists():
        figures = publish.Figures(json.loads(publish.RESULTS.read_text(encoding="utf-8")))
        machines = publish.MACHINES.read_text(encoding="utf-8")
        for path, text in publish.pages(figures, machines).items():
            assert path.read_text(encoding="utf-8") == text, path.name
    else:
        for name in ("README.md", "docs/explanation/performance.md"):
            text = (REPOSITORY / name).read_text(encoding="utf-8")
            assert "make bench-publish` measures" in text, name
