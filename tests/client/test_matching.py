"""Matching against brute-force models, and the counters that explain it (§5.2 of services)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from tensor_pool.client.synchronizer.inputs import Input
from tensor_pool.client.synchronizer.matching import (
    LatestMatcher,
    Matcher,
    SequenceMatcher,
    TimestampMatcher,
)

WAIT = 100


@dataclass
class Fake:
    """As much of a frame as a matcher looks at."""

    key: int
    valid: bool = True


@dataclass
class Run:
    """A matcher, the sets that it has made, and the time."""

    matcher: Matcher
    now: int = 0
    sets: list[tuple[int | None, ...]] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)

    def offer(self, index: int, key: int) -> Fake:
        frame = Fake(key)
        self.matcher.inputs[index].counters.frames_in += 1
        self.matcher.offer(index, key, frame, self.now)
        return frame

    def step(self) -> None:
        while (found := self.matcher.step(self.now)) is not None:
            self.sets.append(tuple(None if f is None else f.key for f in found.frames))
            self.keys.append(found.key)

    def wait(self, time: int) -> None:
        self.now += time
        self.step()

    def check_sums(self) -> None:
        """S-116: every frame is accounted for."""
        assert self.keys == sorted(set(self.keys)), "keys strictly rise"
        for each in self.matcher.inputs:
            c = each.counters
            parts = c.sets + c.unmatched + c.overwritten + len(each.queue)
            parts += c.queue_overflow + c.no_timestamp + c.time_went_back + c.epoch_resets
            assert c.frames_in == parts, (each.name, c)


def inputs(count: int, **changes: Any) -> list[Input]:
    return [Input(name, **changes) for name in "abcdef"[:count]]


@pytest.mark.parametrize("dropped", [None, (0, 1), (1, 2), (2, 0)])
def test_S_110_all_interleavings_make_the_same_sets(dropped: tuple[int, int] | None) -> None:
    """S-103, S-110, S-116: 3 inputs, 4 frames, at most one of them lost, against the model."""
    frames = [[k for k in range(4) if (i, k) != dropped] for i in range(3)]
    model = [(k, k, k) for k in range(4) if dropped is None or k != dropped[1]]
    order_of = random.Random(1)
    places = [i for i, keys in enumerate(frames) for _ in keys]
    seen = set()
    for _ in range(1500):
        order_of.shuffle(places)
        seen.add(tuple(places))
    for order in seen:
        run = Run(SequenceMatcher(inputs(3), max_wait=WAIT))
        left = [iter(keys) for keys in frames]
        for index in order:
            run.offer(index, next(left[index]))
            run.step()
        run.wait(WAIT)
        assert run.sets == model, order
        run.check_sums()


def test_S_110_a_key_is_given_up_as_soon_as_a_required_input_has_passed_it() -> None:
    run = Run(SequenceMatcher(inputs(2), max_wait=WAIT))
    run.offer(0, 5)
    run.step()
    assert run.matcher.lacking == 1
    run.offer(1, 6)
    run.step()
    assert list(run.matcher.inputs[0].queue) == []
    assert str(next(iter(run.matcher.log))) == "sequence 5: b skipped it; its nearest frame is +1"
    run.offer(0, 6)
    run.step()
    assert run.sets == [(6, 6)]


def test_S_110_a_key_is_waited_for_no_longer_than_max_wait() -> None:
    run = Run(SequenceMatcher(inputs(2), max_wait=WAIT))
    run.offer(0, 5)
    assert run.matcher.due_ns() == WAIT
    run.wait(WAIT - 1)
    assert len(run.matcher.inputs[0].queue) == 1
    run.wait(1)
    assert run.matcher.sets_timed_out == 1
    run.offer(1, 5)  # too late
    run.step()
    assert run.sets == []
    run.check_sums()


def test_S_110_an_input_that_may_be_missing_is_waited_for_until_it_has_passed() -> None:
    a, b = inputs(2)
    b.required = False
    run = Run(SequenceMatcher([a, b], max_wait=WAIT))
    run.offer(0, 1)
    run.step()
    assert run.sets == []
    run.offer(1, 2)
    run.step()
    assert run.sets == [(1, None)]
    run.offer(0, 2)
    run.step()
    run.offer(0, 3)
    run.wait(WAIT)
    assert run.sets == [(1, None), (2, 2), (3, None)]
    run.check_sums()


def nearest_model(
    reference: list[int], others: list[list[int]], tolerance: int
) -> list[tuple[int, ...]]:
    """Greedy matching around the reference: nearest unused frame, the earlier one on a tie."""
    rest = [list(times) for times in others]
    sets = []
    for time in reference:
        chosen = []
        for times in rest:
            best = min(times, key=lambda t: (abs(t - time), t), default=None)
            chosen.append(best)
        if all(c is not None and abs(c - time) <= tolerance for c in chosen):
            sets.append((time, *(c for c in chosen if c is not None)))
            for times, c in zip(rest, chosen, strict=True):
                del times[: times.index(c) + 1]
    return sets


@pytest.mark.parametrize("seed", range(30))
def test_S_111_timestamps_match_as_the_model_does(seed: int) -> None:
    """S-103, S-111, S-116: random rates, jitter and drops; 30 x 100 reference frames."""
    chance = random.Random(seed)
    count = chance.choice([2, 2, 3])
    tolerance = chance.choice([0, 2, 5, 12])
    streams = []
    for _ in range(count):
        period = chance.choice([10, 10, 7, 25])
        times = {k * period + chance.randint(-3, 3) + 10 for k in range(1000 // period)}
        streams.append(sorted(t for t in times if chance.random() > 0.1))
    run = Run(TimestampMatcher(inputs(count, limit=1000), tolerance=tolerance, max_wait=10**9))
    events = [(t + chance.randint(0, 40), i, t) for i, ts in enumerate(streams) for t in ts]
    last = [0] * count
    for arrival, index, time in sorted(events, key=lambda e: (e[2] + 0 * e[0], e[1])):
        del arrival
        assert time >= last[index]
        last[index] = time
        run.offer(index, time)
        if chance.random() < 0.5:
            run.step()
    run.wait(10**9)
    assert run.sets == nearest_model(streams[0], streams[1:], tolerance)
    run.check_sums()


def test_S_111_tolerance_0_means_equal_times() -> None:
    run = Run(TimestampMatcher(inputs(2), max_wait=WAIT))
    for time in (10, 20):
        run.offer(0, time)
    for time in (10, 21):
        run.offer(1, time)
    run.step()
    assert run.sets == [(10, 10)]


def test_S_111_an_offset_shifts_the_target() -> None:
    a, b = inputs(2)
    b.offset = 100
    run = Run(TimestampMatcher([a, b], tolerance=2, max_wait=WAIT))
    run.offer(0, 10)
    run.offer(1, 111)
    run.step()
    assert run.sets == [(10, 111)]


def test_S_111_the_earlier_of_two_equally_near_frames_is_taken() -> None:
    run = Run(TimestampMatcher(inputs(2), tolerance=5, max_wait=WAIT))
    run.offer(1, 8)
    run.offer(1, 12)
    run.offer(0, 10)
    run.step()
    assert run.sets == [(10, 8)]


def test_S_111_with_reuse_a_frame_is_in_several_sets() -> None:
    run = Run(TimestampMatcher(inputs(2), tolerance=20, max_wait=WAIT, reuse=True))
    for time in (10, 15, 19):
        run.offer(0, time)
    run.offer(1, 16)
    run.offer(1, 60)
    run.step()
    assert run.sets == [(10, 16), (15, 16), (19, 16)]


def test_S_111_a_stalled_input_is_named_with_the_distance() -> None:
    a, b = Input("left"), Input("right")
    run = Run(TimestampMatcher([a, b], tolerance=4_000_000, max_wait=100_000_000))
    run.offer(1, 1_000_000)
    run.offer(0, 34_000_000)
    run.wait(100_000_000)
    (given_up,) = run.matcher.log
    assert (given_up.input, given_up.distance, given_up.timed_out) == ("right", -33_000_000, True)
    assert str(given_up) == (
        "time 34000000 ns: right has its nearest frame -33.000 ms away (tolerance 4 ms),"
        " after 100 ms of waiting"
    )
    assert (a.counters.unmatched, run.matcher.sets_timed_out) == (1, 1)


def test_S_111_a_stale_input_is_not_waited_for() -> None:
    a, b = inputs(2)
    b.required, b.is_stale = False, True
    run = Run(TimestampMatcher([a, b], tolerance=1, max_wait=WAIT))
    run.offer(0, 10)
    run.step()
    assert run.sets == [(10, None)]


def test_S_113_latest_takes_what_the_others_have_shown() -> None:
    run = Run(LatestMatcher(inputs(2)))
    run.offer(0, 10)
    run.step()
    assert run.sets == []
    run.offer(1, 3)
    run.offer(0, 20)
    run.step()
    run.offer(0, 30)
    run.step()
    run.offer(1, 31)
    run.offer(0, 40)
    run.step()
    assert run.sets == [(20, 3), (30, 3), (40, 31)]
    assert run.matcher.unmatched_reference == 1


def test_S_113_tolerance_bounds_the_age() -> None:
    run = Run(LatestMatcher(inputs(2), tolerance=10))
    run.offer(1, 5)
    run.offer(0, 15)
    run.step()
    run.offer(0, 16)
    run.step()
    assert run.sets == [(15, 5)]


def test_S_102_a_set_with_an_overwritten_frame_is_dropped_and_its_input_named() -> None:
    run = Run(SequenceMatcher(inputs(2), max_wait=WAIT))
    run.offer(0, 1).valid = False
    run.offer(1, 1)
    run.offer(0, 2)
    run.offer(1, 2)
    run.step()
    assert run.sets == [(2, 2)]
    assert run.matcher.sets_overwritten == 1
    assert [i.counters.overwritten_by_input for i in run.matcher.inputs] == [1, 0]
    run.check_sums()


def test_S_116_a_full_queue_drops_its_oldest_frame() -> None:
    run = Run(SequenceMatcher(inputs(2, limit=2), max_wait=WAIT))
    for key in range(5):
        run.offer(0, key)
    run.offer(1, 4)
    run.step()
    assert run.sets == [(4, 4)]
    assert run.matcher.inputs[0].counters.queue_overflow == 3
    run.check_sums()


@pytest.mark.parametrize("index", [0, 1])
def test_S_115_a_new_epoch_empties_its_queue_and_for_the_reference_all(index: int) -> None:
    run = Run(SequenceMatcher(inputs(3), max_wait=WAIT))
    for i in range(2):
        run.offer(i, 7)
    run.step()
    run.matcher.reset(index)
    assert [len(i.queue) for i in run.matcher.inputs] == ([0, 0, 0] if index == 0 else [1, 0, 0])
    if index == 0:
        for i in range(3):
            run.offer(i, 0)
        run.step()
        assert run.sets == [(0, 0, 0)]
    run.check_sums()
