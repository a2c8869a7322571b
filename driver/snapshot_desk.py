"""Where other threads ask the loop for a picture of the driver, and wait for it.

The driver's state belongs to the loop's thread. Nobody else may look at it, so nobody does: a
request is left here, the loop makes one immutable document between two cycles and hands it to all
who wait. Nothing is computed while nobody asks, and a loop that hangs shows as an answer that does
not come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

__all__ = ["SnapshotDesk"]


class SnapshotDesk[T]:
    """Requests from any thread, answers from the loop's."""

    def __init__(self, take_snapshot: Callable[[], T]) -> None:
        self._take_snapshot = take_snapshot
        self._waiting: deque[Future[T]] = deque()

    def request(self) -> Future[T]:
        """A future that the loop will complete in its next cycle."""
        future: Future[T] = Future()
        self._waiting.append(future)
        return future

    def serve(self) -> None:
        """Answer everybody who waits; called by the loop every cycle."""
        if not self._waiting:
            return
        snapshot = self._take_snapshot()
        while self._waiting:
            future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                future.set_result(snapshot)
