"""Reports of a running bridge for other threads: asked for there, made in the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from .status import BridgeStatus

__all__ = ["Reporter"]

_ANSWER_TIMEOUT_S = 2.0


class Reporter:
    """Takes requests from any thread; `serve` answers them in the loop's."""

    def __init__(self, take: Callable[[], BridgeStatus]) -> None:
        self._take = take
        self._waiting: deque[Future[BridgeStatus]] = deque()

    def status(self) -> BridgeStatus:
        """Return the state of the bridge, for threads other than the loop's.

        Raises TimeoutError when the loop does not answer within 2 s.
        """
        asked: Future[BridgeStatus] = Future()
        self._waiting.append(asked)
        return asked.result(_ANSWER_TIMEOUT_S)

    def serve(self) -> None:
        """Answer what waits; one report for all."""
        if not self._waiting:
            return
        report = self._take()
        while self._waiting:
            self._waiting.popleft().set_result(report)
