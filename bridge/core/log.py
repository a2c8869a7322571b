"""Log lines of a bridge: one line a cause and second, however fast things change (B-163)."""

from __future__ import annotations

import logging

from tensor_pool.protocol.clock import Clock

__all__ = ["BridgeLog"]

_log = logging.getLogger("tensor_pool.bridge")
_INTERVAL_NS = 1_000_000_000


class BridgeLog:
    """The lines of one link or stream. Causes are names from the code, never text of a message."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._written_ns: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def info(self, cause: str, text: str, *arguments: object) -> None:
        """Write a line, unless this cause had one within the last second."""
        self._write(logging.INFO, cause, text, arguments)

    def warning(self, cause: str, text: str, *arguments: object) -> None:
        """The same for something that needs a remedy, which the text names."""
        self._write(logging.WARNING, cause, text, arguments)

    def _write(self, level: int, cause: str, text: str, arguments: tuple[object, ...]) -> None:
        now = self._clock.monotonic_ns()
        written_ns = self._written_ns.get(cause)
        if written_ns is not None and now - written_ns < _INTERVAL_NS:
            self._left_out[cause] = self._left_out.get(cause, 0) + 1
            return
        self._written_ns[cause] = now
        more = self._left_out.pop(cause, 0)
        if more:
            text, arguments = f"{text} (and %d more of these)", (*arguments, more)
        _log.log(level, text, *arguments)
