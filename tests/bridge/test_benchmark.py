"""The arithmetic of `benchmarks/bridge.py`; the figures themselves are measured, never asserted."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "bridge.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_bridge", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def runs(*rates: float, cpu: float = 2.0) -> list[dict[str, float]]:
    return [{"bytes_s": rate * 1e6, "cpu_per_gb": cpu} for rate in rates]


def test_B_170_ratios_are_of_the_same_round_and_the_median_of_them(bench: ModuleType) -> None:
    """B-170, B-171: not the ratio of medians; a goal is met or missed by it."""
    found = {
        "bridge": runs(50, 90, 10, cpu=4.0),
        "aeron": runs(100, 100, 100),
        "zmq": runs(1000, 900, 1000),
        "zenoh": runs(500, 0, 500),
    }
    assert bench.medians(found, "aeron") == 0.5
    line = bench.row(1408, "64 KiB", found)
    assert "0.50" in line
    assert ("met" in line) == (bench.GOALS[1408][(bench.os.cpu_count() or 1) >= 4] <= 0.5)
    assert line.rstrip().endswith("2.00")  # CPU seconds per GB, as a ratio
    assert "missed" in bench.row(8192, "64 KiB", {**found, "bridge": runs(1, 1, 1)})


def test_B_171_ends_copy_count_and_stamp(bench: ModuleType) -> None:
    """B-171: every payload is copied and stamped at both ends; the first only starts the clock."""
    frames: list[bytes] = []
    result = bench.drive(
        lambda array: frames.append(array.tobytes()),
        {"size": 64, "bytes_s": 64 * 50.0, "seconds": 0.1},
    )
    assert result["frames"] == len(frames) >= 1
    assert all(int(np.frombuffer(f[:8], np.uint64)[0]) > 0 for f in frames)
    waiting: list[bytes] = [frames[0]] * 5

    def receive(buffer: memoryview) -> int:
        if not waiting:
            return 0
        buffer[:64] = waiting.pop()
        return 64

    got: dict[str, Any] = bench.collect(receive, {"latency": True})
    assert round(got["total"]) == 4 * 64
    assert got["p50_ms"] > 0
