"""The bridge as a process: the loop around `Bridge.do_work`, from start to goodbye."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from .core.bridge import Bridge
from .core.pacing import Pacing

__all__ = ["run_bridge"]


def run_bridge(
    bridge: Bridge, should_stop: Callable[[], bool], each_cycle: Callable[[], object]
) -> None:
    """Run until `should_stop` and the last goodbye is sent; `bridge` was started before."""
    pacing = Pacing()
    stopping = False
    while not bridge.is_stopped:
        if not stopping and should_stop():
            stopping = True
            bridge.request_shutdown()
        each_cycle()
        worked = bridge.do_work() > 0
        due_ns = bridge.timers.next_due_ns
        pause_s = pacing.pause_s(
            bridge.clock.monotonic_ns() / 1e9,
            worked=worked,
            flows=bridge.frames_flow,
            due=float("inf") if due_ns is None else due_ns / 1e9,
        )
        if pause_s:
            time.sleep(pause_s)
        elif not worked:
            os.sched_yield()
