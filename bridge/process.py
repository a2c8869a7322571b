"""The bridge as a process: the loop around `Bridge.do_work`, from start to goodbye."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from .core.bridge import Bridge

__all__ = ["run_bridge"]

_SPINS = 20
_YIELDS = 200
_FIRST_SLEEP_S = 50e-6
_LONGEST_SLEEP_S = 1e-3


def run_bridge(
    bridge: Bridge, should_stop: Callable[[], bool], each_cycle: Callable[[], object]
) -> None:
    """Run until `should_stop` and the last goodbye is sent; `bridge` was started before."""
    idle = 0
    sleep_s = _FIRST_SLEEP_S
    stopping = False
    while not bridge.is_stopped:
        if not stopping and should_stop():
            stopping = True
            bridge.request_shutdown()
        each_cycle()
        if bridge.do_work():
            idle = 0
            sleep_s = _FIRST_SLEEP_S
            continue
        idle += 1
        if idle <= _SPINS:
            continue
        if idle <= _YIELDS:
            os.sched_yield()
        else:
            time.sleep(sleep_s)
            sleep_s = min(2 * sleep_s, _LONGEST_SLEEP_S)
