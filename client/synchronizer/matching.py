"""Matching: which waiting frames belong together (S-110, S-111, S-113).

Plain code without a clock or a transport: frames are offered with their keys, `step` makes the next
set or returns None. A frame is anything with `valid`; keys are integers. A matcher never reorders:
the keys of its sets rise strictly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec

from .explanation import GivenUp, GivenUpLog
from .inputs import Input

__all__ = ["LatestMatcher", "MatchedSet", "Matcher", "SequenceMatcher", "TimestampMatcher"]


class MatchedSet(msgspec.Struct, frozen=True, gc=False):
    """Frames in the order of the inputs, None where an input that may be missing has none."""

    frames: tuple[Any, ...]
    key: int
    skew: int


class Matcher(ABC):
    """The common part of the rules. `max_wait` is in ns."""

    unit = "ns"

    def __init__(self, inputs: Sequence[Input], *, reference: int = 0, max_wait: int) -> None:
        self.inputs = tuple(inputs)
        self.reference = reference
        self.max_wait = max_wait
        self.log = GivenUpLog()
        self.sets = 0
        self.sets_timed_out = 0
        self.sets_overwritten = 0
        self.unmatched_reference = 0
        self.lacking: int = reference  # the input that the next set waits for

    def offer(self, index: int, key: int, frame: Any, now: int) -> None:
        """Take a frame of one input."""
        self.inputs[index].take(key, frame, now)

    @abstractmethod
    def step(self, now: int) -> MatchedSet | None:
        """Return the next complete set, None if there is none yet; gives up what cannot come."""

    @abstractmethod
    def due_ns(self) -> int | None:
        """Return the time at which waiting for the next set ends, None while none is in work."""

    def reset(self, index: int) -> None:
        """A new epoch of an input: its queue is emptied; of the reference, all are (S-115)."""
        for i in range(len(self.inputs)) if index == self.reference else (index,):
            self.inputs[i].reset()

    def reset_all(self) -> None:
        """Empty every queue."""
        for each in self.inputs:
            each.reset()

    def _finish(self, frames: tuple[Any, ...], key: int, skew: int) -> MatchedSet | None:
        """Count a set and return it, if all its frames are still valid (S-102)."""
        for index, frame in enumerate(frames):
            if frame is not None and not frame.valid:
                self._overwritten(frames, index)
                return None
        for each, frame in zip(self.inputs, frames, strict=True):
            if frame is not None:
                each.counters.sets += 1
        self.sets += 1
        return MatchedSet(frames, key, skew)

    def _overwritten(self, frames: tuple[Any, ...], culprit: int) -> None:
        self.sets_overwritten += 1
        self.inputs[culprit].counters.overwritten_by_input += 1
        for each, frame in zip(self.inputs, frames, strict=True):
            if frame is not None:
                each.counters.overwritten += 1

    def _give_up(
        self, key: int, index: int, distance: int | None, waited_ns: int, timed_out: bool
    ) -> None:
        self.unmatched_reference += 1
        self.sets_timed_out += timed_out
        tolerance = getattr(self, "tolerance", 0)
        name = self.inputs[index].name
        self.log.add(GivenUp(key, name, distance, waited_ns, timed_out, self.unit, tolerance))


class SequenceMatcher(Matcher):
    """Frames of equal key belong together; a key is `seq - offset` (S-110)."""

    unit = "frames"

    def __init__(self, inputs: Sequence[Input], *, reference: int = 0, max_wait: int) -> None:
        super().__init__(inputs, reference=reference, max_wait=max_wait)
        self._decided: int | None = None  # the greatest key that was yielded or given up

    def offer(self, index: int, key: int, frame: Any, now: int) -> None:
        each = self.inputs[index]
        if self._decided is not None and key <= self._decided:
            each.newest_key = key if each.newest_key is None else max(key, each.newest_key)
            each.counters.unmatched += 1
            return
        each.take(key, frame, now)

    def reset(self, index: int) -> None:
        super().reset(index)
        # Sequences of another epoch begin anew, so keys may lie below those decided before.
        self._decided = None if index == self.reference else self._decided

    def reset_all(self) -> None:
        super().reset_all()
        self._decided = None

    def due_ns(self) -> int | None:
        key = self._next_key()
        return None if key is None else self._came_ns(key) + self.max_wait

    def step(self, now: int) -> MatchedSet | None:
        inputs = self.inputs
        while self._is_complete():  # the common case, which every set pays for
            taken = [each.queue.popleft() for each in inputs]
            decided = self._decided = taken[0].key
            found = self._finish(tuple([waiting.frame for waiting in taken]), decided, 0)
            if found is not None:
                return found
        while (key := self._next_key()) is not None:
            missing = passed = lacking = -1
            for index, each in enumerate(inputs):
                queue = each.queue
                if queue and queue[0].key == key:
                    continue
                newest = each.newest_key
                if (newest is not None and newest > key) or each.is_stale:
                    if each.required:
                        passed = index
                        break
                elif each.required or lacking < 0:
                    lacking = index
                    missing = index if each.required else missing
            if passed >= 0:
                self._drop(key, passed, now, timed_out=False)
                continue
            if lacking >= 0:
                self.lacking = lacking
                if now - self._came_ns(key) < self.max_wait:
                    return None
                if missing >= 0:
                    self._drop(key, missing, now, timed_out=True)
                    continue
            self._decided = key
            frames = tuple(
                each.queue.popleft().frame if each.queue and each.queue[0].key == key else None
                for each in inputs
            )
            if (found := self._finish(frames, key, 0)) is not None:
                return found
        self.lacking = self.reference
        return None

    def _is_complete(self) -> bool:
        """Return True if the first frames of all inputs have one key."""
        key = None
        for each in self.inputs:
            queue = each.queue
            if not queue:
                return False
            first = queue[0].key
            if key is None:
                key = first
            elif first != key:
                return False
        return True

    def _next_key(self) -> int | None:
        return min((each.queue[0].key for each in self.inputs if each.queue), default=None)

    def _came_ns(self, key: int) -> int:
        return min(e.queue[0].came_ns for e in self.inputs if e.queue and e.queue[0].key == key)

    def _drop(self, key: int, index: int, now: int, *, timed_out: bool) -> None:
        """Give up a key because of one input."""
        self._decided = key
        failed = self.inputs[index]
        nearest = failed.queue[0].key if failed.queue else failed.newest_key
        waited = now - self._came_ns(key)
        distance = None if nearest is None else nearest - key
        self._give_up(key, index, distance, waited, timed_out)
        for each in self.inputs:
            if each.queue and each.queue[0].key == key:
                each.drop_first(1)


class TimestampMatcher(Matcher):
    """For each reference frame, the nearest frame of every other input (S-111)."""

    def __init__(
        self,
        inputs: Sequence[Input],
        *,
        reference: int = 0,
        tolerance: int = 0,
        max_wait: int,
        reuse: bool = False,
    ) -> None:
        super().__init__(inputs, reference=reference, max_wait=max_wait)
        self.tolerance = tolerance
        self._reuse = reuse

    def due_ns(self) -> int | None:
        queue = self.inputs[self.reference].queue
        return queue[0].came_ns + self.max_wait if queue else None

    def step(self, now: int) -> MatchedSet | None:
        inputs, reference = self.inputs, self.reference
        queue = inputs[reference].queue
        while queue:
            key, frame, came_ns = queue[0]
            waits = now - came_ns < self.max_wait
            places = []
            for index, each in enumerate(inputs):
                if index == reference:
                    places.append(0)
                    continue
                target = key + each.offset
                # A frame at or after the target that waits: one that was used does not settle it,
                # or the sets would depend on the order in which frames come.
                shown = each.queue[-1].key if each.queue else None
                if waits and not each.is_stale and (shown is None or shown < target):
                    self.lacking = index
                    return None
                places.append(_nearest(each, target))
            queue.popleft()
            found = self._decide(key, frame, came_ns, places, now)
            if found is not None:
                return found
        self.lacking = reference
        return None

    def _decide(
        self, key: int, frame: Any, came_ns: int, places: list[int], now: int
    ) -> MatchedSet | None:
        """Make a set of a reference frame and the nearest others, or give the frame up."""
        inputs, reference, tolerance = self.inputs, self.reference, self.tolerance
        frames: list[Any] = []
        skew = 0
        for index, (each, place) in enumerate(zip(inputs, places, strict=True)):
            if index == reference:
                frames.append(frame)
                continue
            distance = None if place < 0 else each.queue[place].key - key - each.offset
            if distance is not None and -tolerance <= distance <= tolerance:
                frames.append(each.queue[place].frame)
                skew = max(skew, abs(distance))
            elif each.required:
                inputs[reference].counters.unmatched += 1
                waited = now - came_ns
                newest = each.newest_key
                timed_out = newest is None or newest < key + each.offset
                if distance is None and newest is not None:
                    distance = newest - key - each.offset  # of one that was used, to explain
                self._give_up(key, index, distance, waited, timed_out)
                return None
            else:
                frames.append(None)
        for index, (each, place) in enumerate(zip(inputs, places, strict=True)):
            if index != reference and frames[index] is not None:
                each.drop_first(place)
                if not self._reuse:
                    each.queue.popleft()
        return self._finish(tuple(frames), key, skew)


def _nearest(each: Input, target: int) -> int:
    """Return the place of the waiting frame nearest to a time, the earlier of two; -1 for none.

    Frames before the last one that is not after the target are nearest to no later target either,
    and leave the queue.
    """
    queue = each.queue
    while len(queue) > 1 and queue[1].key <= target:
        queue.popleft()
        each.counters.unmatched += 1
    if not queue:
        return -1
    if len(queue) == 1 or target <= queue[0].key:
        return 0
    return 0 if target - queue[0].key <= queue[1].key - target else 1


class LatestMatcher(Matcher):
    """Each reference frame with the newest frame that every other input has shown (S-113)."""

    def __init__(
        self, inputs: Sequence[Input], *, reference: int = 0, tolerance: int = 0, max_wait: int = 0
    ) -> None:
        super().__init__(inputs, reference=reference, max_wait=max_wait)
        self.tolerance = tolerance

    def offer(self, index: int, key: int, frame: Any, now: int) -> None:
        each = self.inputs[index]
        if index != self.reference:
            each.queue.clear()  # only the newest counts
        each.take(key, frame, now)

    def due_ns(self) -> int | None:
        return None

    def step(self, now: int) -> MatchedSet | None:
        inputs, reference = self.inputs, self.reference
        queue = inputs[reference].queue
        while queue:
            first = queue.popleft()
            frames: list[Any] = []
            skew = 0
            for index, each in enumerate(inputs):
                if index == reference:
                    frames.append(first.frame)
                    continue
                newest = each.queue[-1] if each.queue else None
                distance = None if newest is None else newest.key - first.key
                if newest is not None and self._is_fresh(distance):
                    frames.append(newest.frame)
                    skew = max(skew, abs(newest.key - first.key))
                elif each.required:
                    inputs[reference].counters.unmatched += 1
                    self._give_up(first.key, index, distance, now - first.came_ns, False)
                    break
                else:
                    frames.append(None)
            else:
                if (found := self._finish(tuple(frames), first.key, skew)) is not None:
                    return found
        return None

    def _is_fresh(self, distance: int | None) -> bool:
        return distance is not None and (not self.tolerance or -self.tolerance <= distance)
