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
        now = time.monotonic()
        pause_s = pacing.pause_s(now, worked=worked, flows=bridge.frames_flow)
        if pause_s:
            time.sleep(pause_s)
        elif not worked:
            os.sched_yield()
