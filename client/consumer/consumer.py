"""Consumer: receive frames, waiting without spinning (§9 of the client specification)."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, overload

import numpy as np

from tensor_pool.protocol.errors import ConcurrentUseError, FrameOverwrittenError, StaleFrameError
from tensor_pool.protocol.wire import DataSourceAnnounce, DataSourceMeta, Mode

from ..frame_parts import parse_parts
from ..handle import Handle, HandleClient
from ..image_format import ImageFormat, image_format_of
from ..metadata import SourceMetadata
from .announced import Announced
from .attachment import ConsumerAttachment
from .frame import Frame
from .frame_run import FrameStack
from .options import ConsumerOptions
from .unrung import Unrung

__all__ = ["Consumer"]

_log = logging.getLogger("tensor_pool.client")
_FIRST_SLEEP_S = 0.0005
_LONGEST_SLEEP_S = 0.05
_ASYNC_SLEEP_S = 0.02  # a producer that rings no bells is noticed as late as that
_INVOKER_SLEEP_S = 0.005
_SPIN_NS = 25_000
_SETTLING_NS = 50_000
_LOOKS = range(10)  # between looks at the clock


class Consumer(Handle):
    """Receives the frames of one stream; made by `client.consumer(...)`.

    Iterate over it, `receive()` one frame, or `poll()` without waiting. One thread at a time may
    use it. It survives the loss of lease, driver, producer and media driver: iteration goes on when
    frames come again, and `metrics()` counts what happened.
    """

    _attachment: ConsumerAttachment

    def __init__(self, client: HandleClient, attachment: ConsumerAttachment, *, spin: bool) -> None:
        super().__init__(client, attachment)
        self._receiver = attachment.receiver
        self._next = attachment.receiver.next
        self._in_use = False
        self._reader = ""  # what reads this consumer instead of the application
        self._spin = spin
        self._sleep_s = _FIRST_SLEEP_S
        self._unrung = Unrung()
        self._executor: ThreadPoolExecutor | None = None
        self._sleep: Future[bool] | None = None  # of the waiting thread of an asyncio program
        self._rang = False

    # Receiving

    @overload
    def poll(
        self, handler: None = None, limit: int = 10, *, copy: bool = False
    ) -> Frame | None: ...

    @overload
    def poll(
        self, handler: Callable[[Frame], object], limit: int = 10, *, copy: bool = False
    ) -> int: ...

    def poll(
        self,
        handler: Callable[[Frame], object] | None = None,
        limit: int = 10,
        *,
        copy: bool = False,
    ) -> int | Frame | None:
        """Look at up to `limit` waiting descriptors without waiting for more (C-090).

        With a handler, calls it for each frame and returns how many; without, returns the next
        frame or None. With `copy`, frames come as private copies, those that were overwritten
        meanwhile are skipped (C-094). An exception of the handler is counted and raised, after the
        frame is done with.
        """
        self._enter()
        try:
            if handler is None:
                return self._copied(self._next(limit)) if copy else self._next(limit)
            delivered = 0
            for _ in range(limit):
                frame = self._next(1)
                if copy:
                    frame = self._copied(frame)
                if frame is not None:
                    delivered += 1
                    self._hand_over(handler, frame)
                elif not self._receiver.has_pending:
                    break
            return delivered
        finally:
            self._in_use = False

    def announced(self, limit: int = 64) -> list[Announced]:
        """At most `limit` frames whose descriptors are waiting, without a look at their slots.

        For programs that decide later which of them to read; see Announced.
        """
        self._enter()
        try:
            return list(self._receiver.announced(limit))
        finally:
            self._in_use = False

    def latest(self) -> Frame | None:
        """The newest frame that is waiting, or None; those before it count as `drops_rate`."""
        self._enter()
        try:
            counters = self._attachment.counters
            newest: Frame | None = None
            while (frame := self._next()) is not None:
                if newest is not None:
                    self._receiver.frames_ok -= 1
                    counters.inc("drops_rate")
                newest = frame
            return newest
        finally:
            self._in_use = False

    def receive(self, timeout: float | None = None) -> Frame | None:
        """Wait for the next frame, at most `timeout` seconds; None if none came.

        Sleeps while there is nothing. Raises ClosedError once the consumer is closed.
        """
        self._enter()
        try:
            frame = self._next()
            if frame is None:
                frame = self._wait(timeout)
            if frame is None:
                self._check_open()
            return frame
        finally:
            self._in_use = False

    @overload
    def receive_many(
        self, limit: int = 64, timeout: float | None = None, *, stack: Literal[False] = False
    ) -> list[Frame]: ...

    @overload
    def receive_many(
        self, limit: int = 64, timeout: float | None = None, *, stack: Literal[True]
    ) -> FrameStack | None: ...

    def receive_many(
        self, limit: int = 64, timeout: float | None = None, *, stack: bool = False
    ) -> list[Frame] | FrameStack | None:
        """Wait for a frame as `receive` does, and return it with those that wait behind it (C-103).

        At most `limit` frames; at the timeout an empty list. They are those that `receive` would
        return one by one, in their order, read in place, and small ones cost a fraction.

        With `stack=True` the frames come as copies in one array, as a FrameStack; None at the
        timeout. It ends before a frame of another shape or type.

        Raises ValueError for a `limit` below 1, ClosedError once the consumer is closed.

        >>> batch = consumer.receive_many(64, timeout=1, stack=True)  # doctest: +SKIP
        >>> batch.array.shape  # doctest: +SKIP
        (64, 16)
        """
        if limit < 1:
            raise ValueError(f"limit {limit} must be at least 1")
        self._enter()
        try:
            if stack:
                found = self._stack(limit, timeout)
                if found is None:
                    self._check_open()
                return found
            frames = self._receiver.next_many(limit)
            if not frames:
                frame = self._wait(timeout)
                if frame is None:
                    self._check_open()
                    return []
                frames = [frame, *self._receiver.next_many(limit - 1)]
            return frames
        finally:
            self._in_use = False

    def _stack(self, limit: int, timeout: float | None) -> FrameStack | None:
        clock_ns = self._client.clock.monotonic_ns
        deadline_ns = None if timeout is None else clock_ns() + round(timeout * 1e9)
        next_stack = self._receiver.next_stack
        first = next_stack(limit)
        while not first:
            frame = self._next()
            if frame is None:
                left_s = None if deadline_ns is None else (deadline_ns - clock_ns()) / 1e9
                frame = self._wait(left_s)
                if frame is None:
                    return None
            copied = self._copied(frame)
            first = FrameStack.of(copied, copied._private) if copied is not None else None
        stacks, left = [first], limit - len(first)
        while left > 0 and (more := next_stack(left, first)) is not None:
            stacks.append(more)
            left -= len(more)
        return FrameStack.joined(stacks)

    def __iter__(self) -> Iterator[Frame]:
        """Every frame as it comes; ends when the consumer is closed."""
        inside = False
        try:
            if self._in_use:
                self._refuse_concurrent_use()
            self._in_use = inside = True
            for waiting in self._receiver.frames():
                frame = waiting if waiting is not None else self._wait(None)
                if frame is None:
                    return
                self._in_use = inside = False
                yield frame
                if self._in_use:
                    self._refuse_concurrent_use()
                self._in_use = inside = True
        finally:
            if inside:
                self._in_use = False

    async def __aiter__(self) -> AsyncIterator[Frame]:
        """Every frame as it comes, in an asyncio program; ends when the consumer is closed."""
        import asyncio  # here and below: it is a third of a start, and few programs need it

        while not self._closed:
            frame = await self._receive_async(None)
            if frame is not None:
                yield frame
                await asyncio.sleep(0)  # a fast stream must not starve the program's other tasks

    async def _receive_async(self, timeout: float | None) -> Frame | None:
        """Wait for the next frame without blocking the loop; None at the timeout or when closed.

        A wait that is cancelled takes no frame: threads only sleep, frames are taken here.
        """
        import asyncio

        deadline = None if timeout is None else time.monotonic() + timeout
        self._enter()
        slept = False
        try:
            while not self._closed:
                frame = self._look_on() if self._rang else self._next()
                if slept or self._rang:
                    self._count_wakeup(self._rang, frame)
                self._rang = False
                if frame is not None:
                    return frame
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return None
                if self._client.is_threaded:
                    await self._sleep_async(left_s)
                    slept = True
                else:
                    self._client.do_work()
                    await asyncio.sleep(_INVOKER_SLEEP_S)
            return None
        finally:
            self._in_use = False

    async def _sleep_async(self, at_most_s: float | None) -> None:
        """Sleep until the bell rings, or for a while; a cancelled sleep is taken up again."""
        import asyncio

        sleep = self._sleep
        if sleep is None:
            sleep = self._sleep = self._waiter().submit(self._await_bell)
        await asyncio.wait([asyncio.wrap_future(sleep)], timeout=at_most_s)
        if sleep.done():
            self._sleep = None
            self._rang = sleep.result()

    def _await_bell(self) -> bool:
        """Sleep in the waiting thread; True if the bell rang. Touches nothing else."""
        bell = self._attachment.bell
        if bell is None:
            time.sleep(_FIRST_SLEEP_S)
            return False
        return bell.wait(_ASYNC_SLEEP_S)

    # Waiting

    def _wait(self, timeout: float | None) -> Frame | None:
        """Wait for a frame; None at the timeout or when the consumer was closed."""
        clock_ns = self._client.clock.monotonic_ns
        deadline_ns = None if timeout is None else clock_ns() + round(timeout * 1e9)
        next_frame = self._next
        is_waiting = self._receiver.poll
        spins = True  # frames of a fast stream come sooner than a sleep and a wake-up take
        while not self._closed:
            spin_until = time.monotonic_ns() + _SPIN_NS
            while spins:
                for _ in _LOOKS:
                    if is_waiting() and (frame := next_frame()) is not None:
                        return frame
                if time.monotonic_ns() > spin_until:
                    break
            left_s = None
            if deadline_ns is not None:
                left_s = (deadline_ns - clock_ns()) / 1e9
                if left_s <= 0:
                    return None
            if not self._client.is_threaded:
                self._client._do_work_while_waiting()
            if self._spin:
                continue
            frame = self._sleep_once(left_s)
            if frame is not None:
                return frame
            spins = False
        return None

    def _sleep_once(self, at_most_s: float | None) -> Frame | None:
        """Sleep until the bell rings or it is time to look; a frame found just before it.

        A producer that does not ring bells is noticed by frames that come without one; then the
        sleeps stay short while frames keep coming.
        """
        bell = self._attachment.bell
        limit_s = self._sleep_s
        if not self._client.is_threaded:
            limit_s = min(limit_s, _INVOKER_SLEEP_S)
        if at_most_s is not None:
            limit_s = min(limit_s, at_most_s)
        if bell is None:
            time.sleep(limit_s)
            rang = False
            frame = self._next()
        else:
            # Between taking a ring and sleeping we look, so that nothing is missed.
            frame = self._look_on() if bell.empty() else self._next()
            if frame is not None:
                return frame
            rang = bell.wait(limit_s)
            frame = self._look_on() if rang else self._next()
        self._count_wakeup(rang, frame)
        if rang:
            self._sleep_s = _LONGEST_SLEEP_S
        elif frame is not None:
            self._sleep_s = _FIRST_SLEEP_S
        else:
            self._sleep_s = min(2 * self._sleep_s, _LONGEST_SLEEP_S)
        return frame

    def _count_wakeup(self, rang: bool, frame: Frame | None) -> None:
        """Count what ended a sleep, and report once that frames come without a ring."""
        if rang:
            self._attachment.counters.inc("wakeups")
            self._unrung.rang()
        elif frame is not None:
            self._attachment.counters.inc("wakeups_unrung")
            if self._unrung.missed():
                _log.warning(
                    "stream %d: the producer cannot ring this consumer's bell (it runs in another"
                    " container or group, or is of another make); while frames are awaited, the"
                    " consumer looks for them every %g to %g ms",
                    *(self.stream_id, 1e3 * _FIRST_SLEEP_S, 1e3 * _LONGEST_SLEEP_S),
                )

    def _look_on(self) -> Frame | None:
        """Look for a frame until whatever was published before we took the ring must show.

        A producer that finds a ring in the bell does not ring. But it may have looked while the
        frame it had just published was still on its way out of its processor, which lets loads
        overtake stores; so the first look may be too early, and there would be no other ring.
        """
        until = time.monotonic_ns() + _SETTLING_NS
        while (frame := self._next()) is None and time.monotonic_ns() < until:
            pass
        return frame

    def _waiter(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, f"tensor-pool-wait-{self.stream_id}")
        return self._executor

    # The state of the stream

    @property
    def mapping_state(self) -> str:
        """MAPPED, UNMAPPED, or FALLBACK when the payload has to come from `fallback_uri`."""
        return self._attachment.mapping_state

    @property
    def fallback_uri(self) -> str:
        """URI of the payload without shared memory; empty if there is none."""
        return self._attachment.fallback_uri

    @property
    def mode(self) -> Mode:
        """The delivery mode in force; the config authority may have changed it (W-173)."""
        return self._receiver.mode

    @property
    def uses_private_stream(self) -> bool:
        """True if descriptors come on a stream of this consumer's own."""
        return self._attachment.uses_private_stream

    @property
    def epoch(self) -> int:
        """Epoch of the regions that are mapped; 0 while none are."""
        state = self._receiver.state
        return state.epoch if state is not None else 0

    @property
    def nslots(self) -> int:
        """Slots of the stream; 0 while it is not mapped."""
        state = self._receiver.state
        return state.mask + 1 if state is not None else 0

    @property
    def largest_frame_bytes(self) -> int:
        """Bytes of the largest slot of the stream; 0 while it is not mapped."""
        state = self._receiver.state
        return state.largest_stride_bytes if state is not None else 0

    @property
    def has_producer(self) -> bool:
        """True if the stream has a producer, by the latest announce or notice of the driver."""
        return self._attachment.has_producer

    @property
    def metadata(self) -> SourceMetadata | None:
        """The producer's description of its source; None before it arrives in this epoch."""
        return self._attachment.metadata.current

    @property
    def image_format(self) -> ImageFormat | None:
        """Encoding of the images; None until metadata has one (S-132)."""
        metadata = self.metadata
        return image_format_of(metadata.attributes) if metadata is not None else None

    @property
    def parts(self) -> np.dtype[Any] | None:
        """The fields of a frame, for `frame.array.view(parts)[0]`; None until metadata has them.

        A view of a frame whose size is another raises ValueError (S-134).
        """
        metadata = self.metadata
        return parse_parts(metadata.attributes) if metadata is not None else None

    @property
    def metadata_messages(self) -> tuple[DataSourceAnnounce | None, DataSourceMeta | None]:
        """The latest announce and attribute list of the source, as they came."""
        return self._attachment.metadata.messages

    def ask_for(self, options: ConsumerOptions) -> None:
        """Change mode, rate, progress hints or private streams; sent to the driver at once."""
        self._check_open()
        attachment = self._attachment
        attachment.request(lambda: attachment.ask_for(options))

    # Life

    def close(self) -> None:
        super().close()
        bell = self._attachment.bell
        if bell is not None:
            bell.ring()
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def _enter(self) -> None:
        # Test and set without a call in between: threads are not exchanged there.
        if self._in_use:
            self._refuse_concurrent_use()
        self._in_use = True
        if self._closed:
            self._in_use = False
            self._check_open()

    # For a synchronizer, which reads instead of the application (C-112)

    def _lend_to(self, reader: str) -> None:
        """Let another object read from now on; ConcurrentUseError if one does already."""
        self._enter()
        self._reader = reader

    def _take_back(self) -> None:
        self._reader = ""
        self._in_use = False

    def _next_lent(self, *, copy: bool) -> Frame | None:
        frame = self._next()
        return self._copied(frame) if copy else frame

    def _sleep_lent(self, seconds: float, *, copy: bool) -> Frame | None:
        frame = self._sleep_once(seconds)
        return self._copied(frame) if copy else frame

    def _refuse_concurrent_use(self) -> None:
        by = self._reader or "another thread, or further up this call stack"
        raise ConcurrentUseError(f"this consumer is being used already: by {by}")

    def _copied(self, frame: Frame | None) -> Frame | None:
        if frame is None:
            return None
        try:
            frame._private = frame.copy()
        except (FrameOverwrittenError, StaleFrameError):
            self._receiver.frames_ok -= 1
            return None
        return frame

    def _hand_over(self, handler: Callable[[Frame], object], frame: Frame) -> None:
        try:
            handler(frame)
        except Exception:
            self._attachment.counters.inc("callback_errors")
            raise
