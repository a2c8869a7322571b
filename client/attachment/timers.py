"""One-shot timers of an attachment, fired by the conductor's duty cycle."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from tensor_pool.protocol.clock import Clock

__all__ = ["Timers"]

_NEVER = (1 << 63) - 1


class Timers:
    """Named timers; arming one that is armed moves it.

    `on_due` is called with the name of each timer that has become due, after it was disarmed, so it
    may arm it again.
    """

    def __init__(self, clock: Clock, on_due: Callable[[Hashable], None]) -> None:
        self._clock = clock
        self._on_due = on_due
        self._due_ns: dict[Hashable, int] = {}
        self._earliest_ns = _NEVER  # or earlier than any: most cycles find nothing due

    def arm(self, name: Hashable, delay_ns: int) -> None:
        """Let `name` become due `delay_ns` from now."""
        due_ns = self._due_ns[name] = self._clock.monotonic_ns() + delay_ns
        self._earliest_ns = min(self._earliest_ns, due_ns)

    def disarm(self, name: Hashable) -> None:
        """Forget `name`; nothing happens if it is not armed."""
        self._due_ns.pop(name, None)

    def fire(self, now: int) -> int:
        """Fire what is due at `now` in order of due time; returns how many."""
        if now < self._earliest_ns:
            return 0
        due = sorted((at, str(name), name) for name, at in self._due_ns.items() if at <= now)
        for at, _, name in due:
            if self._due_ns.get(name) == at:  # not moved or disarmed by an earlier one
                del self._due_ns[name]
                self._on_due(name)
        self._earliest_ns = min(self._due_ns.values(), default=_NEVER)
        return len(due)
