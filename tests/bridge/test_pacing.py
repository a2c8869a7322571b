"""The loop's pauses: short while frames flow, long when none do (B-013, B-170)."""

from __future__ import annotations

from typing import Any

import pytest

from tensor_pool.bridge import process
from tensor_pool.bridge.core.pacing import Pacing
from tensor_pool.bridge.core.timers import Timers
from tensor_pool.protocol.clock import SimulatedClock
from tests.bridge.sim_world import World


class Loop:
    """Turns of a given length on a clock of its own."""

    def __init__(self, turn_s: float) -> None:
        self.turn_s = turn_s
        self.now = 100.0
        self.pacing = Pacing()
        self.pauses: list[float] = []

    def turn(self, *, worked: bool = False, flows: bool = False) -> float:
        self.now += self.turn_s
        pause = self.pacing.pause_s(self.now, worked=worked, flows=flows)
        self.now += pause
        self.pauses.append(pause)
        return pause

    def until(self, moment: float) -> None:
        while self.now < moment:
            self.turn()


def test_B_013_no_pause_after_work() -> None:
    """B-013: also when the work was only an info."""
    loop = Loop(20e-6)
    assert loop.turn(worked=True, flows=True) == 0
    assert loop.turn(worked=True) == 0


def test_B_013_spins_shortly_after_a_frame_then_pauses_shortly() -> None:
    """B-013: 300 us without a pause, then 50 to 250 us until 50 ms have passed."""
    loop = Loop(20e-6)
    loop.turn(worked=True, flows=True)
    frame = loop.now
    loop.until(frame + 270e-6)
    assert set(loop.pauses) == {0.0}
    loop.until(frame + 49e-3)
    pauses = [pause for pause in loop.pauses if pause]
    assert pauses[0] == 50e-6
    assert max(pauses) == 250e-6


def test_B_170_an_idle_bridge_pauses_longer_the_longer_no_frame_came() -> None:
    """B-013, B-170: 2 ms after 50 ms, 15 ms after 1.5 s."""
    loop = Loop(20e-6)
    loop.turn(worked=True, flows=True)
    frame = loop.now
    loop.until(frame + 60e-3)
    assert loop.turn() == 2e-3
    loop.until(frame + 1.49)
    assert max(loop.pauses) == 2e-3
    loop.until(frame + 1.51)
    assert loop.turn() == 15e-3
    assert loop.turn(worked=True) == 0  # an info: it does not make the loop spin
    assert loop.turn() == 15e-3
    loop.turn(worked=True, flows=True)
    assert loop.turn() == 0
    loop.until(loop.now + 1e-3)
    assert loop.turn() <= 250e-6


def test_B_013_a_frame_that_waits_for_the_link_is_looked_at_often() -> None:
    """B-013: nothing can be done, but a frame is in work: no spinning, no long pause."""
    loop = Loop(20e-6)
    loop.turn(worked=True, flows=True)
    began = loop.now
    while loop.now < began + 1:
        loop.turn(flows=True)
    assert set(loop.pauses[-100:]) == {250e-6}


def test_B_013_frames_flow_on_both_sides_and_infos_do_not_count() -> None:
    """B-013: what the pauses depend on."""
    world = World(3)
    for _ in range(300):
        world.step(10)
    assert world.a is not None
    assert world.b is not None
    flows = set()
    for _ in range(300):  # infos and leases only
        world.step(10)
        flows |= {world.a.frames_flow, world.b.frames_flow}
    assert flows == {False}
    sent = world.sender.counters["infos_sent"]
    assert sent > 3
    world.source.publish(1, 200)
    seen = []
    for _ in range(10):
        world.step(10)
        seen.append((world.a.frames_flow, world.b.frames_flow))
    assert any(a for a, _ in seen)
    assert any(b for _, b in seen)
    assert seen[-1] == (False, False)


class TimedBridge:
    """A bridge with nothing to do but its timer, on a simulated clock that sleeping moves."""

    frames_flow = False

    def __init__(self, period_ns: int, rounds: int) -> None:
        self.clock = SimulatedClock(0, 0)
        self.timers = Timers(self.clock)
        self.period_ns = period_ns
        self.rounds = rounds
        self.late_ns: list[int] = []
        self._arm()

    def _arm(self) -> None:
        self.due_ns = self.clock.monotonic_ns() + self.period_ns
        self.timers.arm(self, "period", self.period_ns, self._fire)

    def _fire(self) -> None:
        self.late_ns.append(self.clock.monotonic_ns() - self.due_ns)
        self._arm()

    @property
    def is_stopped(self) -> bool:
        return len(self.late_ns) == self.rounds

    def do_work(self) -> int:
        self.clock.advance(20_000)
        return self.timers.fire(self.clock.monotonic_ns())

    def sleep(self, seconds: float) -> None:
        self.clock.advance(round(seconds * 1e9))


@pytest.mark.parametrize("period_ms", [0.1, 1, 4, 14, 37])
def test_B_013_no_pause_goes_beyond_the_next_timer(
    monkeypatch: pytest.MonkeyPatch, period_ms: float
) -> None:
    """B-013: the loop itself; a timer fires in the turn that follows its time."""
    bridge: Any = TimedBridge(round(period_ms * 1e6), rounds=30)
    monkeypatch.setattr(process.time, "sleep", bridge.sleep)
    process.run_bridge(bridge, lambda: False, lambda: None)
    assert max(bridge.late_ns) <= 21_000  # a turn, and the rounding of a pause


def test_B_013_a_bridge_without_timers_pauses_as_long_as_it_may() -> None:
    """B-013"""
    pacing = Pacing()
    pauses = [pacing.pause_s(now / 100, worked=False, flows=False) for now in range(100)]
    assert max(pauses) == 15e-3
