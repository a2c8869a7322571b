"""The schedule of a rate cap (W-170, W-171)."""

from __future__ import annotations

__all__ = ["RateGate"]


class RateGate:
    """Lets frames pass on a schedule of one period each, which the first frame starts.

    The schedule moves on by one period with each frame, not from the frame's own time. So a frame
    that comes late does not delay the next one, and a cap of 50 Hz gives 50 frames a second of a
    source with 60, or with jitter. A frame two periods late starts the schedule anew; between two
    frames there is always half a period.

    >>> gate = RateGate(10)
    >>> [gate.passes(ms * 1_000_000) for ms in (0, 60, 120, 180, 240)]
    [True, False, True, False, True]
    """

    __slots__ = ("_due_ns", "_last_ns", "period_ns")

    def __init__(self, rate_hz: int) -> None:
        self.period_ns = 1_000_000_000 // rate_hz
        self._due_ns: int | None = None
        self._last_ns = 0

    def is_due(self, time_ns: int) -> bool:
        """Return True if a frame of this time passes: the first, one on schedule, or one earlier
        than the last, which starts the schedule anew."""
        due_ns, last_ns = self._due_ns, self._last_ns
        return (
            due_ns is None
            or time_ns < last_ns
            or (time_ns >= due_ns and time_ns - last_ns >= self.period_ns // 2)
        )

    def advance(self, time_ns: int) -> None:
        """Move the schedule on for a frame that passed."""
        due_ns, period_ns = self._due_ns, self.period_ns
        if due_ns is None or time_ns < self._last_ns or time_ns - due_ns >= 2 * period_ns:
            due_ns = time_ns
        self._due_ns = due_ns + period_ns
        self._last_ns = time_ns

    def passes(self, time_ns: int) -> bool:
        """Return True if a frame of this time passes, and move the schedule on."""
        due = self.is_due(time_ns)
        if due:
            self.advance(time_ns)
        return due
