"""The conductor thread of threaded mode (C-110)."""

from __future__ import annotations

import logging
import threading

from .conductor import Conductor
from .errors import ClosedError, TransportError

__all__ = ["ConductorThread"]

_log = logging.getLogger("tensor_pool.client")
_ACTIVE_S = 0.001  # between cycles while something is going on
_IDLE_S = 0.01  # when nothing was for a while: next to no CPU, and timers are coarser than this
_CYCLES_BEFORE_IDLE = 200


class ConductorThread:
    """Runs duty cycles until stopped; sleeps between them, and wakes for requests."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="tensor-pool-conductor", daemon=True)
        conductor.on_wake = self._wake.set

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the running cycle."""
        self._stopping = True
        self._wake.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        quiet = 0
        while not self._stopping:
            try:
                worked = self._conductor.do_work()
            except (ClosedError, TransportError) as error:
                _log.error("the conductor ends: %s", error)
                return
            except Exception:  # noqa: BLE001 - one bad message must not end the background work
                _log.exception("the conductor survives an error")
                worked = 0
            quiet = 0 if worked else quiet + 1
            self._wake.wait(_ACTIVE_S if quiet < _CYCLES_BEFORE_IDLE else _IDLE_S)
            self._wake.clear()
