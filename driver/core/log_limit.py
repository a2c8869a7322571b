"""So many log lines per cause and second, however fast garbage arrives (D-194)."""

from __future__ import annotations

from tensor_pool.protocol.clock import Clock

__all__ = ["WarningLimit"]

_INTERVAL_NS = 1_000_000_000


class WarningLimit:
    """A limit of log lines per cause and second, one by default.

    Ask before the log line is formatted: a flood then costs a dictionary look-up a message.

    >>> from tensor_pool.protocol.clock import SimulatedClock
    >>> clock = SimulatedClock()
    >>> limit = WarningLimit(clock)
    >>> limit.admit("malformed"), limit.admit("malformed")
    (0, None)
    >>> clock.advance(1_000_000_000)
    >>> limit.admit("malformed")
    1
    """

    def __init__(self, clock: Clock, lines: int = 1) -> None:
        self._clock = clock
        self._lines = lines
        self._began_ns: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def admit(self, cause: str) -> int | None:
        """Number of warnings of this cause left out since the last line; None: leave this out too.

        Causes are kept for ever, so they are names from the code and never text from a message.
        """
        now = self._clock.monotonic_ns()
        began_ns = self._began_ns.get(cause)
        if began_ns is None or now - began_ns >= _INTERVAL_NS:
            self._began_ns[cause] = now
            self._written[cause] = 0
        elif self._written[cause] >= self._lines:
            self._left_out[cause] = self._left_out.get(cause, 0) + 1
            return None
        self._written[cause] += 1
        return self._left_out.pop(cause, 0)
