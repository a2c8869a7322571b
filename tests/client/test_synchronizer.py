"""Synchronizer over real consumers on simulated time, and its machine (§5 of services)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_pool.client import ClosedError, ConcurrentUseError, ConfigError, Producer
from tensor_pool.client.synchronizer.machine import SynchronizerEvent as E
from tensor_pool.client.synchronizer.machine import SynchronizerMachine
from tests.client.live_world import LiveWorld, until
from tests.client.pool_world import LEFT, MS, RIGHT, PoolWorld
from tests.client.world import STREAM


class Cameras:
    """Two producers and a client that reads both."""

    def __init__(self, world: PoolWorld) -> None:
        self.world = world
        self.left = world.client().producer(LEFT)
        self.right = world.client().producer(RIGHT)
        self.pool = world.client()

    def shoot(self, camera: Producer, time_ns: int | None = None) -> None:
        result = camera.publish(
            np.full(16, camera.stream_id & 0xFF, np.uint8), timestamp_ns=time_ns
        )
        assert result

    def both(self, time_ns: int | None = None, skew_ns: int = 0) -> None:
        now = self.world.clock.monotonic_ns() if time_ns is None else time_ns
        self.shoot(self.left, now)
        self.shoot(self.right, now + skew_ns)


@pytest.fixture
def cameras(tmp_path: Path) -> Iterator[Cameras]:
    world = PoolWorld(tmp_path)
    yield Cameras(world)
    world.close()


@pytest.mark.parametrize("form", ["names", "ids", "consumers"])
def test_S_100_inputs_are_names_ids_or_consumers(cameras: Cameras, form: str) -> None:
    pool = cameras.pool
    forms: dict[str, Any] = {
        "names": lambda: ["left", "right"],
        "ids": lambda: [LEFT, RIGHT],
        "consumers": lambda: [pool.consumer("left"), pool.consumer(RIGHT)],
    }
    given = forms[form]()
    with pool.synchronize(*given, by="seq") as pairs:
        cameras.both()
        found = pairs.receive(timeout=1)
        assert found is not None
        left, right = found
        assert (left.array[0], right.array[0]) == (LEFT & 0xFF, RIGHT & 0xFF)
        assert (found.key, found.skew_ns, found.missing, found.valid) == (0, 0, (), True)
        copies = found.copy()
        assert [c[0] for c in copies if c is not None] == [LEFT & 0xFF, RIGHT & 0xFF]
    if form == "consumers":
        assert not given[0].closed
        cameras.shoot(cameras.left)
        assert given[0].receive(timeout=1) is not None  # the application's again
    else:
        assert not pool._handles


def test_S_100_a_consumer_in_a_synchronizer_is_not_read_by_others(cameras: Cameras) -> None:
    """S-100, C-112"""
    left, right = cameras.pool.consumer(LEFT), cameras.pool.consumer(RIGHT)
    with cameras.pool.synchronize(left, right, by="seq"):
        with pytest.raises(ConcurrentUseError, match="a synchronizer"):
            left.poll()
        with pytest.raises(ConcurrentUseError, match="a synchronizer"):
            cameras.pool.synchronize(left, right, by="seq")


def test_S_101_latest_is_the_newest_complete_set_and_keys_rise(cameras: Cameras) -> None:
    with cameras.pool.synchronize(LEFT, RIGHT, by="seq") as pairs:
        assert pairs.poll() is None
        assert pairs.receive(timeout=0.05) is None
        for _ in range(4):
            cameras.both()
        cameras.shoot(cameras.left)
        newest = pairs.latest()
        assert newest is not None
        assert newest.key == 3
        assert pairs.latest() is None


def test_S_101_iteration_ends_with_the_synchronizer(cameras: Cameras) -> None:
    pairs = cameras.pool.synchronize(LEFT, RIGHT, by="seq")
    for _ in range(3):
        cameras.both()
    keys = []
    for found in pairs:
        keys.append(found.key)
        if len(keys) == 3:
            pairs.close()
    assert keys == [0, 1, 2]
    with pytest.raises(ClosedError):
        pairs.poll()


def test_S_101_a_missing_input_is_none(cameras: Cameras) -> None:
    with cameras.pool.synchronize(
        LEFT, RIGHT, by="timestamp", required=(True, False), max_wait=0.05
    ) as pairs:
        cameras.shoot(cameras.left)
        found = pairs.receive(timeout=1)
        assert found is not None
        assert (found[1], found.missing, found.copy()[1]) == (None, (1,), None)


def test_S_102_no_torn_set_comes_from_a_short_ring(tmp_path: Path) -> None:
    world = PoolWorld(tmp_path, nslots=8)
    cameras = Cameras(world)
    plain = cameras.pool.synchronize(LEFT, RIGHT, by="seq", max_wait=1e6)
    assert [each.limit for each in plain._inputs] == [4, 4]
    for _ in range(3):
        cameras.shoot(cameras.left)
    assert plain.poll() is None  # they wait for the right ones
    for _ in range(8):
        cameras.shoot(cameras.left)  # and are overwritten meanwhile
    for _ in range(3):
        cameras.shoot(cameras.right)
    found = []
    while (pair := plain.poll()) is not None:
        assert pair.valid
        found.append(pair.key)
    assert found == []
    metrics = plain.metrics()
    assert metrics["sets"] == 0
    by_input = plain.input_metrics()
    lost = by_input[str(LEFT)]
    assert lost.overwritten_by_input + lost.queue_overflow > 0
    plain.close()
    world.close()


def test_S_102_with_copy_frames_wait_as_long_as_it_takes(tmp_path: Path) -> None:
    world = PoolWorld(tmp_path, nslots=8)
    cameras = Cameras(world)
    with cameras.pool.synchronize(
        LEFT, RIGHT, by="seq", copy=True, queue=20, max_wait=1e6
    ) as pairs:
        for _ in range(3):
            cameras.shoot(cameras.left)
        assert pairs.poll() is None
        for _ in range(8):
            cameras.shoot(cameras.left)
        for _ in range(3):
            cameras.shoot(cameras.right)
        keys = [pair.key for pair in iter(pairs.poll, None)]
    assert keys == [0, 1, 2]
    world.close()


def test_S_104_it_sleeps_at_the_bell_of_the_input_that_the_set_lacks(live: LiveWorld) -> None:
    """Real bells: the producer of that input ends the sleep, which is 50 ms at most."""
    live.driver.add_stream(STREAM + 1, nslots=64)
    left, right = live.client().producer(STREAM), live.client().producer(STREAM + 1)
    consumers = [live.client().consumer(stream) for stream in (STREAM, STREAM + 1)]
    until(lambda: all(p.metrics()["hellos_received"] for p in (left, right)))
    sleeps: list[tuple[int, float]] = []
    asleep = threading.Event()

    def noting(index: int, sleep: Callable[..., Any]) -> Callable[..., Any]:
        def note(seconds: float, *, copy: bool) -> Any:
            sleeps.append((index, seconds))
            if index == 1:
                asleep.set()
            return sleep(seconds, copy=copy)

        return note

    for index, consumer in enumerate(consumers):
        consumer._sleep_lent = noting(index, consumer._sleep_lent)  # type: ignore[method-assign]

    def answer() -> None:
        """The right picture comes while its bell is slept at."""
        if asleep.wait(30):
            right.publish(np.zeros(8, np.uint8))

    with live.clients[-1].synchronize(*consumers, by="seq", max_wait=60.0) as pairs:
        rung = 0
        for _ in range(50):
            asleep.clear()
            left.publish(np.zeros(8, np.uint8))
            answering = threading.Thread(target=answer)
            answering.start()
            assert pairs.receive(timeout=60) is not None
            answering.join()
            if rung := consumers[1].metrics()["wakeups"]:
                break
        assert rung
    assert all(0 < seconds <= 0.05 for _, seconds in sleeps)


def test_S_112_frames_without_the_time_are_counted(cameras: Cameras) -> None:
    with cameras.pool.synchronize(LEFT, RIGHT, by="timestamp", source="descriptor") as pairs:
        cameras.both()
        assert pairs.poll() is None
        assert [c.no_timestamp for c in pairs.input_metrics().values()] == [1, 1]
        text = str(pairs.explain())
        for name in (LEFT, RIGHT):
            assert f"1 frames of {name} had no timestamp and are in no set" in text


@pytest.mark.parametrize("by", ["seq", "timestamp"])
def test_S_116_an_input_that_is_a_frame_ahead_loses_none_when_much_waits(
    cameras: Cameras, by: Any
) -> None:
    """S-116, S-122: as many frames wait as a queue holds, and one is in a queue already."""
    with cameras.pool.synchronize(LEFT, RIGHT, by=by, max_wait=60.0, queue=4) as pairs:
        stamp = cameras.world.clock.monotonic_ns()
        for number in range(3):
            cameras.shoot(cameras.left, stamp + number)
        assert pairs.poll() is None
        for number in range(3, 7):
            cameras.shoot(cameras.left, stamp + number)
        for number in range(7):
            cameras.shoot(cameras.right, stamp + number)
        sets = list(iter(pairs.poll, None))
        assert [left.seq for left, _ in sets] == list(range(7))
        assert [c.queue_overflow for c in pairs.input_metrics().values()] == [0, 0]


def test_S_115_a_restarted_input_begins_anew(cameras: Cameras) -> None:
    world = cameras.world
    with cameras.pool.synchronize(LEFT, RIGHT, by="seq", max_wait=10) as pairs:
        for _ in range(3):
            cameras.both()
        assert [pair.key for pair in iter(pairs.poll, None)] == [0, 1, 2]
        cameras.shoot(cameras.left)
        pairs.poll()
        cameras.left.close()
        cameras.right.close()
        world.run(0.2)
        cameras.left = world.client().producer(LEFT)
        cameras.right = world.client().producer(RIGHT)
        world.run(0.2)
        cameras.both()
        found = pairs.receive(timeout=2)
        assert found is not None
        assert found.key == 0
        assert sum(c.epoch_resets for c in pairs.input_metrics().values()) == 1


def test_S_116_explain_names_the_camera_that_stalled(cameras: Cameras) -> None:
    """Two cameras at 30 Hz with 2 ms jitter, one stalls for 1 s (§9, test 7)."""
    world = cameras.world
    period = 33 * MS
    with cameras.pool.synchronize("left", "right", by="timestamp", tolerance=0.004) as pairs:
        made = expected = 0
        for number in range(90):
            stalls = 30 <= number < 60
            time_ns = world.clock.monotonic_ns()
            cameras.shoot(cameras.left, time_ns)
            if not stalls:
                cameras.shoot(cameras.right, time_ns + (number % 5 - 2) * MS)
                expected += 1
            for _ in range(period // MS):
                world.idle()
                while (pair := pairs.poll()) is not None:
                    made += 1
                    assert pair.skew_ns <= 2 * MS
        explanation = pairs.explain()
        # The newest pair waits for a right frame at or after its target.
        assert expected - 1 <= made <= expected
        assert explanation.failures == {"right": 30}
        text = str(explanation)
        assert text.startswith(f"{made} sets; right failed 30 times; the last:\n")
        assert "right has its nearest frame -" in text
        assert len(explanation.given_up) == 20
        for each in pairs.input_metrics().values():
            assert each.frames_in == each.sets + each.unmatched + each.waiting


def test_S_121_an_input_is_stale_after_its_time(cameras: Cameras) -> None:
    """S-120, S-121"""
    world = cameras.world
    with cameras.pool.synchronize(LEFT, RIGHT, by="seq", stale_after=0.5) as pairs:
        assert pairs.state == "Complete"
        world.run(0.4)
        pairs.poll()
        assert pairs.state == "Complete"
        cameras.shoot(cameras.left)
        pairs.poll()
        world.run(0.2)
        pairs.poll()
        assert pairs.state == "Starved"
        cameras.shoot(cameras.right)
        pairs.poll()
        assert pairs.state == "Complete"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"by": "time"}, "by: 'time'"),
        ({"reference": 2}, "reference: 2"),
        ({"offsets": (1,)}, "offsets"),
        ({"required": (False, True)}, "the reference must be"),
        ({"queue": 0}, "queue: 0"),
        ({"tolerance": -1}, "tolerance: -1"),
        ({"max_wait": -1}, "max_wait: -1"),
        ({"source": "clock"}, "source: 'clock'"),
    ],
)
def test_S_100_what_cannot_work_is_refused_and_leaves_nothing_open(
    cameras: Cameras, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        cameras.pool.synchronize(LEFT, RIGHT, **({"by": "seq"} | changes))
    assert not cameras.pool._handles


class Port:
    """Records the effects of the machine."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def empty(self, index: int) -> None:
        self.log.append(f"empty {index}")

    def empty_all(self) -> None:
        self.log.append("empty all")

    def release(self) -> None:
        self.log.append("release")

    def count(self, counter: str) -> None:
        self.log.append(counter)


STATES: dict[str, list[tuple[E, int]]] = {
    "Waiting": [],
    "Complete": [(E.INPUT_MAPPED, 0), (E.INPUT_MAPPED, 1), (E.INPUT_MAPPED, 2)],
    "Partial": [
        (E.INPUT_MAPPED, 0),
        (E.INPUT_MAPPED, 1),
        (E.INPUT_MAPPED, 2),
        (E.INPUT_STALE, 2),
    ],
    "Starved": [
        (E.INPUT_MAPPED, 0),
        (E.INPUT_MAPPED, 1),
        (E.INPUT_MAPPED, 2),
        (E.INPUT_STALE, 1),
    ],
    "Closed": [(E.CLOSE, 0)],
}
# Inputs 0 and 1 are required, 2 may be missing. (state, event, input) -> target, effects.
TABLE: dict[tuple[str, E, int], tuple[str, list[str]]] = {
    ("Waiting", E.INPUT_MAPPED, 1): ("Waiting", []),
    ("Waiting", E.INPUT_UNMAPPED, 1): ("Waiting", ["empty 1"]),
    ("Waiting", E.INPUT_STALE, 1): ("Waiting", []),
    ("Waiting", E.INPUT_FRESH, 1): ("Waiting", []),
    ("Waiting", E.CLOSE, 0): ("Closed", ["release"]),
    ("Complete", E.INPUT_MAPPED, 2): ("Complete", []),
    ("Complete", E.INPUT_UNMAPPED, 1): ("Waiting", ["empty all"]),
    ("Complete", E.INPUT_UNMAPPED, 2): ("Complete", ["empty 2"]),
    ("Complete", E.INPUT_STALE, 1): ("Starved", []),
    ("Complete", E.INPUT_STALE, 2): ("Partial", []),
    ("Complete", E.INPUT_FRESH, 2): ("Complete", []),
    ("Complete", E.CLOSE, 0): ("Closed", ["release"]),
    ("Partial", E.INPUT_MAPPED, 2): ("Partial", []),
    ("Partial", E.INPUT_UNMAPPED, 0): ("Waiting", ["empty all"]),
    ("Partial", E.INPUT_UNMAPPED, 2): ("Partial", ["empty 2"]),
    ("Partial", E.INPUT_STALE, 0): ("Starved", []),
    ("Partial", E.INPUT_STALE, 2): ("Partial", []),
    ("Partial", E.INPUT_FRESH, 2): ("Complete", []),
    ("Partial", E.CLOSE, 0): ("Closed", ["release"]),
    ("Starved", E.INPUT_MAPPED, 2): ("Starved", []),
    ("Starved", E.INPUT_UNMAPPED, 0): ("Waiting", ["empty all"]),
    ("Starved", E.INPUT_UNMAPPED, 2): ("Starved", ["empty 2"]),
    ("Starved", E.INPUT_STALE, 2): ("Starved", []),
    ("Starved", E.INPUT_FRESH, 1): ("Complete", []),
    ("Starved", E.CLOSE, 0): ("Closed", ["release"]),
    ("Closed", E.INPUT_MAPPED, 0): ("Closed", []),
    ("Closed", E.CLOSE, 0): ("Closed", []),
}


@pytest.mark.parametrize(("state", "event", "index"), TABLE, ids=str)
def test_S_120_the_table_holds(state: str, event: E, index: int) -> None:
    port = Port()
    machine = SynchronizerMachine(port, (True, True, False))
    for step in STATES[state]:
        machine.dispatch(*step)
    assert machine.current.name == state
    port.log.clear()
    machine.dispatch(event, index)
    target, effects = TABLE[state, event, index]
    assert (machine.current.name, port.log) == (target, effects)


def test_S_120_a_starved_synchronizer_stays_partial_while_another_input_is_stale() -> None:
    machine = SynchronizerMachine(Port(), (True, True, False))
    for step in [*STATES["Partial"], (E.INPUT_STALE, 1), (E.INPUT_FRESH, 1)]:
        machine.dispatch(*step)
    assert machine.current.name == "Partial"
