"""A UDP path with a delay, loss and duplication."""

from __future__ import annotations

import heapq
import random
import time
from typing import Any

from tensor_pool.cli.demo.two_hosts.relay import Relay

__all__ = ["BadPath"]


class BadPath(Relay):
    """A path with a delay each way, loss and duplication, from a seed."""

    def __init__(
        self, target_port: int, *, delay_s: float = 0.0, loss: float = 0.0, copies: float = 0.0
    ) -> None:
        self._dice = random.Random(11)
        self._delay_s = delay_s
        self._loss = loss
        self._copies = copies
        self._waiting: list[tuple[float, int, Any, bytes, Any]] = []
        self._number = 0
        self.lost = 0
        super().__init__(target_port)
        self.tick_s = 0.002

    def _pass(self, out: Any, datagram: bytes, to: tuple[str, int]) -> None:
        if self._dice.random() < self._loss:
            self.lost += 1
            return
        for _ in range(1 + (self._dice.random() < self._copies)):
            self._number += 1
            due = time.monotonic() + self._delay_s
            heapq.heappush(self._waiting, (due, self._number, out, datagram, to))

    def _each_turn(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, out, datagram, to = heapq.heappop(self._waiting)
            super()._pass(out, datagram, to)
