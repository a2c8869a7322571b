"""The loop that runs a driver: duty cycles, and calls of other threads in between.

The driver's state belongs to the loop's thread and no other thread touches it. A call of another
thread is queued; the loop makes it between two cycles and returns the result by a future. Without
calls nothing is computed, and a loop that hangs shows as an answer that does not come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from tensor_pool.protocol.clock import Clock

from ..driver import Driver
from .idle import IdleBackoff

__all__ = ["LoopCalls", "run_driver"]

_LONGEST_REST_NS = 50_000_000


class LoopCalls:
    """Takes calls from any thread and makes them in the loop's."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        """Calls that wait to be made; to look at."""
        self._closed = False

    def call[T](self, function: Callable[[], T]) -> Future[T]:
        """Have `function` called between two cycles; its future is cancelled if none follows."""
        future: Future[T] = Future()
        self.waiting.append((function, future))
        if self._closed:
            self._cancel_all()
        return future

    def serve(self) -> None:
        """Make the calls that wait; the loop's thread only."""
        while self.waiting:
            function, future = self.waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001 - raised where the result is asked for
                future.set_exception(error)

    def close(self) -> None:
        """Take no more calls, and cancel those that wait."""
        self._closed = True
        self._cancel_all()

    def _cancel_all(self) -> None:
        while self.waiting:
            self.waiting.popleft()[1].cancel()


def run_driver(
    driver: Driver,
    clock: Clock,
    calls: LoopCalls,
    each_cycle: Callable[[int], None] = lambda now: None,
    backoff: IdleBackoff | None = None,
) -> None:
    """Run a started driver until it is Stopped, backing off while idle (D-193).

    An idle driver looks for input a thousand times a second and does nothing else. A whole cycle
    runs when there is input, when a timer is due, and every 50 ms for changes without an event.
    `each_cycle` is called with the monotonic time after every cycle. Raises what `do_work` raises.
    """
    backoff = backoff or IdleBackoff()
    has_input, now_ns, idle = driver.has_input, clock.monotonic_ns, backoff.idle
    try:
        while not driver.is_stopped:
            calls.serve()  # before a cycle, so that none is made after the last one
            requests = driver.requests
            work = driver.do_work()
            if driver.requests != requests:
                backoff.reset()
            now = now_ns()
            each_cycle(now)
            due_ns = now + _LONGEST_REST_NS
            if (timer_ns := driver.next_due_ns) is not None:
                due_ns = min(due_ns, timer_ns)
            if not work:
                idle(now, due_ns)
            if not driver.has_backlog:
                while not (has_input() or calls.waiting):
                    if (now := now_ns()) >= due_ns:
                        break
                    idle(now, due_ns)
    finally:
        calls.close()
