"""Clocks of two hosts: apart, drifting, and stepped by their operators (section 8.3, row 13)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tensor_pool.bridge import TimestampPolicy
from tensor_pool.bridge.core.inbound_stream import InboundStream
from tests.bridge.sim_world import World

MS = 1_000_000
S = 1000 * MS


class Timed:
    """A world whose far capture times are compared with the true ones."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.times: list[int] = []  # at the far side, by the clock of host B
        self.errors: list[int] = []
        self._taken: dict[int, int] = {}
        check = world.pool_b.on_commit

        def commit(sink, seq, payload, header):  # type: ignore[no-untyped-def]
            check(sink, seq, payload, header)
            assert header.timestamp_ns <= world.clock.monotonic_ns()
            self.times.append(header.timestamp_ns)
            self.errors.append(header.timestamp_ns - self._taken[header.trace_id])

        world.pool_b.on_commit = commit

    def run(self, seconds: int) -> list[int]:
        """Let time pass at 25 Hz; return the errors of the frames that came."""
        before = len(self.errors)
        for ms in range(1000 * seconds):
            if ms % 40 == 0:
                self.world.published += 1
                self._taken[self.world.published] = self.world.clock.monotonic_ns()
                self.world.source.publish(self.world.published, 100)
            self.world.step()
        return self.errors[before:]


@pytest.mark.parametrize(
    ("offset_s", "drift_ppm"), [(0, 0), (5000, 100), (-1_000_000, -100), (1_000_000, 100)]
)
def test_B_100_clocks_far_apart_that_drift(offset_s: int, drift_ppm: int) -> None:
    """B-100: late by the smallest delay and the drift over ten infos, never early."""
    timed = Timed(World(1, offset_ns=offset_s * S, drift_ppm=drift_ppm))
    timed.run(1)
    errors = timed.run(4)  # twice the window of ten infos
    assert len(errors) >= 95
    drift_ns = 10 * 200 * MS * abs(drift_ppm) // 1_000_000
    assert all(-drift_ns <= error <= 4 * MS + drift_ns for error in errors)
    assert all(one <= next_ for one, next_ in pairwise(timed.times))


@pytest.mark.parametrize("host", ["a", "b"])
@pytest.mark.parametrize("step_s", [-7200, 3600])
@pytest.mark.parametrize("policy", [TimestampPolicy.LOCAL, TimestampPolicy.WALL])
def test_B_140_a_stepped_clock_affects_wall_and_nothing_else(
    host: str, step_s: int, policy: TimestampPolicy
) -> None:
    """B-140, B-100, row 13 of section 16.2: frames go on under the same far epoch. Capture times
    are off with `wall` alone, until the clocks agree again; they do not fall (W-097)."""
    world = World(2, offset_ns=5000 * S, timestamps=policy)
    timed = Timed(world)
    timed.run(1)
    far = world.receiver.far_epoch
    clock = world.clock_a if host == "a" else world.clock
    good = range(4 * MS + 1)

    def all_good(errors: list[int]) -> bool:
        assert len(errors) >= 45
        return all(error in good for error in errors)

    assert all_good(timed.run(2))
    clock.step_realtime(step_s * S)
    timed.run(1)
    assert all_good(timed.run(2)) == (policy is TimestampPolicy.LOCAL)
    clock.step_realtime(-step_s * S)
    timed.run(1)
    assert all_good(timed.run(2))
    assert all(one <= next_ for one, next_ in pairwise(timed.times))
    assert world.receiver.far_epoch == far
    assert world.receiver.machine.is_in(InboundStream.Ready)
    world.settle()
    assert len(world.delivered) == world.published - world.sender.counters["skipped_link"]
    world.check_accounts(exact=True)
