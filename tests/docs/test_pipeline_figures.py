"""Arithmetic of `benchmarks/pipeline.py` and `many.py`; figures are measured, never asserted."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import pipeline

    return pipeline


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import many

    return many


def run(p50: float, cpu: float, arrived: float = 1.0) -> dict[str, float]:
    return {
        "p50_us": p50, "p99_us": 2 * p50, "cpu_us": cpu, "driver_us": 1.0, "arrived": arrived,
        "wrong": 0, "late": 0,
    }  # fmt: skip


def test_medians_ratios_and_goals_of_the_pipeline(pipeline: ModuleType) -> None:
    """Latency is ahead, processor time is not, and a run that came to nothing shows."""
    saved: dict[str, Any] = {
        "runs": [
            ["vga", "tensor-pool", run(1000, 3000)],
            ["vga", "tensor-pool", run(9000, 4000)],
            ["vga", "tensor-pool", run(2000, 9000)],
            ["vga", "iceoryx2", run(3000, 1000)],
            ["vga", "Queue", None],
        ]
    }
    assert pipeline.medians(saved)["vga", "tensor-pool"]["p50_us"] == 2000
    text = pipeline.report(saved)
    assert "goal first in p50: met; the best other way takes 1.50 times as much" in text
    assert "goal first in CPU: MISSED, iceoryx2 (event) is first" in text
    assert "vga | multiprocessing.Queue: none" in text
    assert "vga | Tensor Pool: 1.00/2.00/3.00 9.00/18.00/4.00 2.00/4.00/9.00" in text


def test_the_viewer_compares_each_image_with_the_one_that_must_come(pipeline: ModuleType) -> None:
    """The square is where the detector finds it, and one wrong pixel is noticed."""
    size = pipeline.SIZES["smoke"]
    assert len({image.tobytes() for image in pipeline.images(size)}) == pipeline.IMAGES
    for image, thumbnail in zip(pipeline.images(size), pipeline.expected(size), strict=True):
        y, x = pipeline.detect(~image)
        assert (image[y : y + pipeline.SQUARE, x : x + pipeline.SQUARE] == 255).all()
        seen = ~image
        pipeline.draw(seen, (y, x))
        rows = seen[pipeline.SPARSE, pipeline.SPARSE][1:]
        assert np.array_equal(rows, thumbnail)
        assert not np.array_equal(~image[pipeline.SPARSE, pipeline.SPARSE][1:], thumbnail)


def test_many_consumers_streams_and_waiting(many: ModuleType) -> None:
    """Sums, ratios, and each goal with its figure."""
    saved: dict[str, Any] = {
        "consumers": [
            [65536, 2, "tensor-pool", {"rate": 300.0, "wrong": 0}],
            [65536, 2, "tensor-pool", {"rate": 100.0, "wrong": 0}],
            [65536, 2, "iceoryx2", {"rate": 400.0, "wrong": 0}],
            [65536, 2, "pyzmq to many", None],
        ],
        "streams": [
            [1, {"cpu_us": 1000.0, "driver_us": 500.0, "arrived": 1.0, "wrong": 0}],
            [10, {"cpu_us": 1200.0, "driver_us": 50.0, "arrived": 1.0, "wrong": 0}],
        ],
        "idle": [{"share": 0.004, "driver": 0.1}],
    }
    text = many.report(saved)
    assert "400 (0.50 ×)" in text
    assert "iceoryx2 (event) is faster with 2" in text
    assert "64 KiB | 2 | Tensor Pool: 300 100" in text
    assert "64 KiB | 2 | pyzmq (PUB, ipc): none" in text
    assert "at most 1.20 times that of one stream (at most 1.1): MISSED" in text
    assert "100 waiting consumers: 0.40% of a processor each (at most 0.2%): MISSED" in text
