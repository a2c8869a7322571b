"""The pause after a turn that had nothing to do (B-013)."""

from __future__ import annotations

__all__ = ["Pacing"]

_SPIN_S = 300e-6
_FIRST_PAUSE_S = 50e-6
# (seconds since a frame came, longest pause)
_SOON, _PAUSE_SOON_S = 0.05, 250e-6
_LATER, _PAUSE_LATER_S = 1.5, 2e-3
_PAUSE_IDLE_S = 15e-3


class Pacing:
    """The pause between two turns.

    While frames flow, and 50 ms longer, the loop spins for 300 us after its last work and then
    looks again every 50 to 250 us. After that it looks every 2 ms, and 1.5 s after the last
    frame every 15 ms: with ten streams an idle sender takes 2 to 3 % of a core.
    """

    def __init__(self) -> None:
        self._worked_at = self._flowed_at = float("-inf")
        self._pause_s = _FIRST_PAUSE_S

    def pause_s(self, now: float, *, worked: bool, flows: bool, due: float = float("inf")) -> float:
        """Return seconds to sleep after a turn, 0 for none.

        Args:
            now: its end, in seconds of any clock that only goes forward.
            worked: it did something.
            flows: a frame came or is on its way.
            due: when the next timer is due, on the same clock; no pause goes beyond it.
        """
        if flows:
            self._flowed_at = now
            self._pause_s = _FIRST_PAUSE_S if worked else self._pause_s
        if worked:
            self._worked_at = now
            return 0.0
        since = now - self._flowed_at
        if since < _SOON and now - self._worked_at < _SPIN_S:
            return 0.0
        longest = (
            _PAUSE_SOON_S if since < _SOON else _PAUSE_LATER_S if since < _LATER else _PAUSE_IDLE_S
        )
        pause = min(self._pause_s, longest)
        self._pause_s = 2 * pause
        return min(pause, max(0.0, due - now))
