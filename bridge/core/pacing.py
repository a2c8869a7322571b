"""The pause after a turn that had nothing to do (B-013)."""

from __future__ import annotations

__all__ = ["Pacing"]

_FLOW_S = 0.05
_SPIN_S = 300e-6
_FIRST_PAUSE_S = 50e-6
_PAUSE_IN_FLOW_S = 250e-6
_TURNS_TO_PAUSE = 100
_SHORTEST_IDLE_PAUSE_S = 2e-3
_LONGEST_IDLE_PAUSE_S = 5e-3


class Pacing:
    """The pause between two turns.

    While frames flow, and 50 ms longer, the loop spins for 300 us after its last work and then
    looks again every 50 to 250 us. After that a pause is 100 times as long as a turn, so that an
    idle bridge costs below 2 % of a core, but 2 to 5 ms: the first frame waits no longer.
    """

    def __init__(self) -> None:
        self._worked_at = self._flowed_at = float("-inf")
        self._pause_s = _FIRST_PAUSE_S

    def pause_s(self, began: float, now: float, *, worked: bool, flows: bool) -> float:
        """Return seconds to sleep after a turn, 0 for none.

        Args:
            began: begin of the turn, seconds of any clock that only goes forward.
            now: its end.
            worked: it did something.
            flows: a frame came or is on its way.
        """
        if flows:
            self._flowed_at = now
            self._pause_s = _FIRST_PAUSE_S if worked else self._pause_s
        if worked:
            self._worked_at = now
            return 0.0
        if now - self._flowed_at < _FLOW_S:
            if now - self._worked_at < _SPIN_S:
                return 0.0
            longest = _PAUSE_IN_FLOW_S
        else:
            longest = min(
                max(_TURNS_TO_PAUSE * (now - began), _SHORTEST_IDLE_PAUSE_S), _LONGEST_IDLE_PAUSE_S
            )
        pause = min(self._pause_s, longest)
        self._pause_s = 2 * pause
        return pause
