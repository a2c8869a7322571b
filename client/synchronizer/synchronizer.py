"""Synchronizer: frames of several streams that belong together (§5 of services).

It reads its consumers, offers their frames to a matcher and yields the sets. The matcher decides
which frames belong together, the machine whether sets can be made; this is the part with a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, Self

import msgspec

from tensor_pool.protocol.clock import Clock
from tensor_pool.protocol.counters import Counters
from tensor_pool.protocol.errors import ClosedError, ConfigError

from ..config import ns
from ..consumer.consumer import Consumer
from ..consumer.frame import Frame
from ..consumer.read_state import ReadState
from .explanation import GivenUp
from .frame_set import FrameSet
from .inputs import Input, InputCounters
from .machine import SynchronizerEvent, SynchronizerMachine
from .matching import LatestMatcher, Matcher, SequenceMatcher, TimestampMatcher

__all__ = ["Explanation", "Rule", "Synchronizer", "SynchronizerClient", "Timestamps"]

type Rule = Literal["seq", "timestamp", "latest"]
type Timestamps = Literal["slot", "descriptor"]

_LONGEST_SLEEP_S = 0.05


class SynchronizerClient(Protocol):
    """The client of a synchronizer, as far as it is used here."""

    @property
    def clock(self) -> Clock: ...
    @property
    def is_threaded(self) -> bool: ...
    def do_work(self) -> int: ...
    def run_once(self) -> None: ...


class Explanation(msgspec.Struct, frozen=True):
    """Reasons for sets that were not made: the last 20, and how often each input failed.

    `without_time` counts the frames of an input that had no timestamp, which are in no set.
    `str()` is a text for people.
    """

    given_up: tuple[GivenUp, ...]
    failures: dict[str, int]
    sets: int
    without_time: dict[str, int] = {}

    def __str__(self) -> str:
        return self._failures() + "".join(
            f"\n{count} frames of {name} had no timestamp and are in no set"
            for name, count in self.without_time.items()
        )

    def _failures(self) -> str:
        if not self.failures:
            return f"{self.sets} sets; no reference frame was given up"
        worst = ", ".join(
            f"{name} failed {count} times"
            for name, count in sorted(self.failures.items(), key=lambda item: -item[1])
        )
        lines = [f"{self.sets} sets; {worst}; the last:"]
        return "\n".join([*lines, *(f"  {each}" for each in self.given_up)])


class Synchronizer:
    """Iterate over it, `receive()` one set, or `poll()` without waiting; one thread at a time.

    Made by `client.synchronize(...)`. It owns the reading of its consumers. Keys of sets strictly
    rise; producers are never held up (S-103).
    """

    def __init__(
        self,
        client: SynchronizerClient,
        consumers: Sequence[Consumer],
        names: Sequence[str],
        *,
        by: Rule,
        reference: int = 0,
        offsets: Sequence[float] | None = None,
        tolerance: float = 0.0,
        required: Sequence[bool] | None = None,
        max_wait: float = 0.1,
        stale_after: float | None = None,
        queue: int = 10,
        reuse: bool = False,
        copy: bool = False,
        source: Timestamps = "slot",
        opened: Sequence[Consumer] = (),
    ) -> None:
        count = len(consumers)
        self._check(count, by, reference, offsets, required, queue, tolerance, max_wait, source)
        self._client = client
        self._now = client.clock.monotonic_ns
        self._consumers = tuple(consumers)
        self._opened = tuple(opened)
        self._by = by
        self._copy = copy
        self._from_descriptor = source == "descriptor"
        self._limit = queue
        self._stale_ns = None if stale_after is None else ns(stale_after)
        needs = tuple(required) if required is not None else (True,) * count
        shifts = [0.0] * count if offsets is None else list(offsets)
        unit = 1 if by == "seq" else 1_000_000_000
        self._inputs = tuple(
            Input(name, offset=round(shift * unit), required=need, limit=queue)
            for name, shift, need in zip(names, shifts, needs, strict=True)
        )
        self._matcher = self._matcher_for(by, reference, ns(tolerance), ns(max_wait), reuse)
        self._states: list[ReadState | None] = [None] * count
        self._came_ns = [client.clock.monotonic_ns()] * count
        self._counters = Counters(["synchronizer_unhandled"])
        self._closed = False
        self._machine = SynchronizerMachine(self, needs)
        for consumer in consumers:
            consumer._lend_to("a synchronizer")
        self._look_at_mappings()

    @staticmethod
    def _check(
        count: int,
        by: str,
        reference: int,
        offsets: Sequence[float] | None,
        required: Sequence[bool] | None,
        queue: int,
        tolerance: float,
        max_wait: float,
        source: str,
    ) -> None:
        """Raise ConfigError for what cannot work."""
        rules = (
            (count >= 2, f"inputs: {count} given, at least 2 are needed"),
            (by in ("seq", "timestamp", "latest"), f"by: {by!r} must be seq, timestamp or latest"),
            (0 <= reference < count, f"reference: {reference} must be in 0..{count - 1}"),
            (
                offsets is None or len(offsets) == count,
                f"offsets: {count} are needed, one an input",
            ),
            (required is None or len(required) == count, f"required: {count} flags are needed"),
            (required is None or required[reference], "required: the reference must be"),
            (queue >= 1, f"queue: {queue} must be at least 1"),
            (tolerance >= 0, f"tolerance: {tolerance} s must be 0 or more"),
            (max_wait >= 0, f"max_wait: {max_wait} s must be 0 or more"),
            (source in ("slot", "descriptor"), f"source: {source!r} must be slot or descriptor"),
        )
        for holds, text in rules:
            if not holds:
                raise ConfigError(text)

    def _matcher_for(
        self, by: Rule, reference: int, tolerance: int, max_wait: int, reuse: bool
    ) -> Matcher:
        if by == "seq":
            return SequenceMatcher(self._inputs, reference=reference, max_wait=max_wait)
        if by == "latest":
            return LatestMatcher(self._inputs, reference=reference, tolerance=tolerance)
        return TimestampMatcher(
            self._inputs,
            reference=reference,
            tolerance=tolerance,
            max_wait=max_wait,
            reuse=reuse,
        )

    # Receiving

    def poll(self) -> FrameSet | None:
        """Return the next complete set, or None if there is none yet."""
        if self._closed:
            raise ClosedError("this synchronizer is closed")
        now = self._now()
        step = self._matcher.step
        matched = step(now)
        if matched is None:
            self._read(now)
            matched = step(now)
            if matched is None and self._read_past_full_queues(now):
                matched = step(now)
        return None if matched is None else FrameSet.of(matched)

    def latest(self) -> FrameSet | None:
        """Return the newest complete set, None if there is none; older ones are passed over."""
        newest = None
        while (found := self.poll()) is not None:
            newest = found
        return newest

    def receive(self, timeout: float | None = None) -> FrameSet | None:
        """Wait for the next set, at most `timeout` s; None if none came.

        Sleeps at the doorbell of the input that the next set lacks, at most 50 ms at a time
        (S-104). Raises ClosedError once the synchronizer is closed.
        """
        clock_ns = self._client.clock.monotonic_ns
        deadline_ns = None if timeout is None else clock_ns() + ns(timeout)
        while (found := self.poll()) is None:
            sleep_s = _LONGEST_SLEEP_S
            now = clock_ns()
            if deadline_ns is not None:
                if now >= deadline_ns:
                    return None
                sleep_s = min(sleep_s, (deadline_ns - now) / 1e9)
            due_ns = self._matcher.due_ns()
            if due_ns is not None:
                sleep_s = min(sleep_s, max(0.0, (due_ns - now) / 1e9))
            self._sleep(sleep_s)
        return found

    def __iter__(self) -> Iterator[FrameSet]:
        """Every set as it comes; ends when the synchronizer or one of its inputs is closed."""
        while not self._closed:
            try:
                found = self.receive()
            except ClosedError:  # or one of its consumers
                return
            if found is not None:
                yield found

    # Reports

    def explain(self) -> Explanation:
        """Return the last 20 reference frames without a set, each with the input that failed."""
        log = self._matcher.log
        without = {
            each.name: each.counters.no_timestamp
            for each in self._inputs
            if each.counters.no_timestamp
        }
        return Explanation(tuple(log), dict(log.by_input), self._matcher.sets, without)

    def metrics(self) -> dict[str, int]:
        """All counters of the synchronizer by name (S-116)."""
        matcher = self._matcher
        return {
            "sets": matcher.sets,
            "sets_timed_out": matcher.sets_timed_out,
            "sets_overwritten": matcher.sets_overwritten,
            "unmatched_reference": matcher.unmatched_reference,
            **self._counters.snapshot(),
        }

    def input_metrics(self) -> dict[str, InputCounters]:
        """The counters of each input, by its name (S-116)."""
        found = {}
        for each in self._inputs:
            found[each.name] = msgspec.structs.replace(each.counters, waiting=len(each.queue))
        return found

    @property
    def state(self) -> str:
        """The state of the machine: "Waiting", "Complete", "Partial", "Starved" or "Closed"."""
        return self._machine.current.name

    # Life

    def close(self) -> None:
        """Let go of all frames, close the consumers that were opened here; may be called again."""
        if not self._closed:
            self._closed = True
            self._machine.dispatch(SynchronizerEvent.CLOSE)

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # SynchronizerPort

    def empty(self, index: int) -> None:
        self._matcher.reset(index)

    def empty_all(self) -> None:
        self._matcher.reset_all()

    def release(self) -> None:
        self._matcher.reset_all()
        for consumer in self._consumers:
            consumer._take_back()
        for consumer in self._opened:
            consumer.close()

    def count(self, counter: str) -> None:
        self._counters.inc(counter)

    # Reading

    def _read(self, now: int) -> None:
        """Take what the transport has for every input and its queue has room for."""
        self._check_open()
        self._look_at_mappings()
        for index, each in enumerate(self._inputs):
            self._read_input(index, each.limit - len(each.queue), now)
            if self._stale_ns is not None:
                self._note_silence(index, now)

    def _read_past_full_queues(self, now: int) -> bool:
        """With all read that has room and still no set: the oldest of a full queue give way.

        Not before, or an input that is a frame ahead of the others would lose one that fits.
        """
        full = [index for index, each in enumerate(self._inputs) if len(each.queue) >= each.limit]
        taken = 0
        for index in full:
            taken += self._read_input(index, self._limit, now)
        return taken > 0

    def _read_input(self, index: int, most: int, now: int) -> int:
        take, copy = self._consumers[index]._next_lent, self._copy
        for count in range(most):
            frame = take(copy=copy)
            if frame is None:
                return count
            self._take(index, frame, now)
        return max(0, most)

    def _take(self, index: int, frame: Frame, now: int) -> None:
        state = frame._state
        if state is not self._states[index]:
            self._exchange(index, state)
        each = self._inputs[index]
        each.counters.frames_in += 1
        self._came_ns[index] = now
        if each.is_stale:
            each.is_stale = False
            self._machine.dispatch(SynchronizerEvent.INPUT_FRESH, index)
        if self._by == "seq":
            self._matcher.offer(index, frame.seq - each.offset, frame, now)
            return
        time_ns = frame.publish_timestamp_ns if self._from_descriptor else frame.timestamp_ns
        if time_ns is None:
            each.counters.no_timestamp += 1
        elif each.newest_key is not None and time_ns < each.newest_key:
            each.counters.time_went_back += 1
        else:
            self._matcher.offer(index, time_ns, frame, now)

    def _note_silence(self, index: int, now: int) -> None:
        each = self._inputs[index]
        assert self._stale_ns is not None
        if (
            not each.is_stale
            and self._states[index] is not None
            and now - self._came_ns[index] >= self._stale_ns
        ):
            each.is_stale = True
            self._machine.dispatch(SynchronizerEvent.INPUT_STALE, index)

    def _look_at_mappings(self) -> None:
        for index, consumer in enumerate(self._consumers):
            state = consumer._receiver.state
            if state is not self._states[index]:
                self._exchange(index, state)

    def _exchange(self, index: int, state: ReadState | None) -> None:
        """An input has another mapping: another epoch begins (S-115), or the lease is gone."""
        if self._states[index] is not None:
            self._machine.dispatch(SynchronizerEvent.INPUT_UNMAPPED, index)
        self._states[index] = state
        if state is not None:
            limit = max(1, state.mask + 1 >> 1)
            self._inputs[index].limit = self._limit if self._copy else min(self._limit, limit)
            self._machine.dispatch(SynchronizerEvent.INPUT_MAPPED, index)

    def _sleep(self, seconds: float) -> None:
        if not self._client.is_threaded:
            self._client.run_once()
            return
        index = self._matcher.lacking
        frame = self._consumers[index]._sleep_lent(seconds, copy=self._copy)
        if frame is not None:
            self._take(index, frame, self._client.clock.monotonic_ns())

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("this synchronizer is closed")
        for consumer, each in zip(self._consumers, self._inputs, strict=True):
            if consumer.closed:
                raise ClosedError(f"input {each.name} of this synchronizer is closed")
