"""The conductor thread of threaded mode (C-110)."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from tensor_pool.protocol.errors import ClosedError, TransportError

from .conductor import Conductor

__all__ = ["ConductorThread"]

_log = logging.getLogger("tensor_pool.client")
_ACTIVE_S = 0.001  # between cycles while something is going on
_LONGEST_IDLE_S = 0.25  # otherwise
_IDLES_PER_PERIOD = 10  # of the shortest period that is configured
_RESTS_PER_CYCLE = 4  # a cycle of a client with thousands of handles takes milliseconds
_CYCLES_BEFORE_IDLE = 1  # each of them wakes a processor: most of what waiting costs


class ConductorThread:
    """Runs duty cycles until stopped; sleeps between them, and wakes for requests."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._idle_s = min(_LONGEST_IDLE_S, conductor.config.shortest_period / _IDLES_PER_PERIOD)
        # A lock that no thread owns: to sleep is to wait for it, to wake is to release it. It costs
        # a third of a threading.Event, a hundred times a second.
        self._asleep = threading.Lock()
        self._asleep.acquire()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="tensor-pool-conductor", daemon=True)
        conductor.on_wake = self._wake

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the running cycle."""
        self._stopping = True
        self._wake()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is awake, or about to be
            self._asleep.release()

    def _sleep_s(self, quiet: int, cycle_s: float) -> float:
        if self._conductor.wants_low_latency:
            return _ACTIVE_S
        if quiet < _CYCLES_BEFORE_IDLE:
            return min(max(_ACTIVE_S, _RESTS_PER_CYCLE * cycle_s), self._idle_s)
        return self._idle_s

    def _run(self) -> None:
        quiet = 0
        while not self._stopping:
            began = time.monotonic()
            try:
                worked = self._conductor.do_work()
            except (ClosedError, TransportError) as error:
                _log.error("the conductor ends: %s", error)
                return
            except Exception:  # noqa: BLE001 - one bad message must not end the background work
                _log.exception("the conductor survives an error")
                worked = 0
            quiet = 0 if worked else quiet + 1
            cycle_s = time.monotonic() - began
            self._asleep.acquire(timeout=self._sleep_s(quiet, cycle_s))
