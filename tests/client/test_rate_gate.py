"""The schedule of rate caps (W-170, W-171)."""

from __future__ import annotations

import random

import pytest

from tensor_pool.client.rate_gate import RateGate

S = 1_000_000_000


def passed(gate: RateGate, times: list[int]) -> list[int]:
    return [time for time in times if gate.passes(time)]


def test_W_171_the_example_of_the_specification() -> None:
    gate = RateGate(1000)
    times = [S, S + 500, S + 1_000_000]
    assert passed(gate, times) == [S, S + 1_000_000]


@pytest.mark.parametrize("source_hz", [51, 60, 75, 90, 100, 333, 1000])
@pytest.mark.parametrize("jitter", [0.0, 0.3])
def test_W_170_a_cap_of_50_hz_gives_50_frames_a_second(source_hz: int, jitter: float) -> None:
    """The gate keeps to the schedule, not to the last frame: neither phase nor jitter costs any."""
    source = random.Random(source_hz)
    period = S / source_hz
    times = sorted(
        round(n * period + source.uniform(-jitter, jitter) * period) for n in range(20 * source_hz)
    )
    count = len(passed(RateGate(50), times))
    assert count <= 1001
    assert count >= (980 if jitter else 1000)


def test_W_170_no_second_has_more_frames_than_the_cap_and_two() -> None:
    source = random.Random(7)
    times, now = [], 0
    for _ in range(20_000):
        now += round(source.expovariate(100) * S)
        times.append(now)
    through = passed(RateGate(50), times)
    for first in through[::37]:
        assert sum(first <= time < first + S for time in through) <= 52


def test_W_171_a_pause_gives_no_credit_and_a_step_back_starts_anew() -> None:
    gate, period = RateGate(10), S // 10
    late = 30 * S
    times = [0, late, late + 1, late + period // 2, late + period]
    assert passed(gate, times) == [0, late, late + period]
    assert passed(gate, [5 * S, 5 * S + 1, 5 * S + period]) == [5 * S, 5 * S + period]
