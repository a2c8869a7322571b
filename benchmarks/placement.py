"""The placement of two processes on the processors, which decides about a factor of up to six.

Two processes that exchange memory run on cores that share a cache, on cores that do not, or on two
threads of one core, and on a virtual machine this changes every few seconds without notice. Two
figures tell it: how long a word takes to the other process and back, and how much slower a process
works while the other works too.

One process calls `look`, the other `be_seen` at the same time, with the same words of shared
memory.
"""

from __future__ import annotations

import mmap
import os
import statistics
import time

import msgspec

__all__ = ["Placement", "PlacementWatch", "be_seen", "look"]

_LINE = 8
_ROUND_TRIPS, _BATCHES = 500, 5
_LOOPS = range(20_000)
_PROBES = 20
_PAUSE_S = 0.3
_PATIENCE_S = 60.0
_APART = 1.6  # times as far as usual: no cache in common
_CROWDED = 1.3  # times as slow beside the other: the same core


class Placement(msgspec.Struct, frozen=True):
    """`distance_ns`: there and back; `crowding`: time for some work beside the other, by alone."""

    distance_ns: float
    crowding: float


def _work() -> float:
    times = []
    for _ in range(_BATCHES):
        started = time.perf_counter_ns()
        for _ in _LOOPS:
            pass
        times.append(time.perf_counter_ns() - started)
    return statistics.median(times)


def look(words: memoryview, start: int) -> Placement:
    """Waits for the other to `be_seen`. `start` is the index of the first word to use."""
    seen_at, asked_at, answered_at = start, start + _LINE, start + 2 * _LINE
    while words[seen_at] != 1:
        time.sleep(0.0005)
    alone = _work()
    words[seen_at] = 2
    asked = words[asked_at]
    batches = []
    for _ in range(_BATCHES):
        started = time.perf_counter_ns()
        for asked in range(asked + 1, asked + 1 + _ROUND_TRIPS):  # noqa: B020
            words[asked_at] = asked
            while words[answered_at] != asked:
                pass
        batches.append((time.perf_counter_ns() - started) / _ROUND_TRIPS)
    beside = _work()
    words[seen_at] = 0
    return Placement(statistics.median(batches), beside / alone)


def be_seen(words: memoryview, start: int) -> None:
    """The other end of `look`."""
    seen_at, asked_at, answered_at = start, start + _LINE, start + 2 * _LINE
    words[seen_at] = 1
    while words[seen_at] != 2:
        time.sleep(0.0005)
    answered = words[answered_at]
    for asked in range(answered + 1, answered + 1 + _BATCHES * _ROUND_TRIPS):
        while words[asked_at] != asked:
            pass
        words[answered_at] = asked
    while words[seen_at]:
        pass


class PlacementWatch:
    """The placement to measure in: a core each, as near as those usually are."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, 4096)).cast("Q")
        probes = [self._probe() for _ in range(_PROBES)]
        apart = [probe.distance_ns for probe in probes if probe.crowding < _CROWDED]
        distances = sorted(apart or [probe.distance_ns for probe in probes])
        self.usual_ns = distances[len(distances) // 4]
        self._crowding = _CROWDED if apart else float("inf")

    def is_usual(self, placement: Placement) -> bool:
        near = placement.distance_ns < _APART * self.usual_ns
        return near and 1 / self._crowding < placement.crowding < self._crowding

    def wait(self) -> None:
        """Until two processes are placed so, at most a minute."""
        patience = time.monotonic() + _PATIENCE_S
        while not self.is_usual(self._probe()) and time.monotonic() < patience:
            pass

    def _probe(self) -> Placement:
        if (child := os.fork()) == 0:
            be_seen(self._words, 0)
            os._exit(0)
        placement = look(self._words, 0)
        os.waitpid(child, 0)
        time.sleep(_PAUSE_S)
        return placement
