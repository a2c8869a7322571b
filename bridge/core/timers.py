"""One-shot timers of a whole bridge."""

from __future__ import annotations

from collections.abc import Callable

from tensor_pool.protocol.clock import Clock

__all__ = ["Timers"]

type _Key = tuple[object, object]

_NEVER = (1 << 63) - 1


class Timers:
    """Timers by (owner, name); arming one that is armed moves it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[_Key, tuple[int, Callable[[], object]]] = {}
        self._earliest_ns = _NEVER  # or earlier than that, after a disarm

    def arm(self, owner: object, name: object, delay_ns: int, action: Callable[[], object]) -> None:
        """Call `action` once, `delay_ns` from now."""
        due_ns = self._clock.monotonic_ns() + delay_ns
        self._due[owner, name] = (due_ns, action)
        self._earliest_ns = min(self._earliest_ns, due_ns)

    def disarm(self, owner: object, name: object) -> None:
        """Forget a timer; nothing happens if it is not armed."""
        self._due.pop((owner, name), None)

    def fire(self, now: int) -> int:
        """Call what is due at `now`, earliest first; returns the number of calls."""
        if now < self._earliest_ns:
            return 0
        due = sorted(
            (at, i, key) for i, (key, (at, _)) in enumerate(self._due.items()) if at <= now
        )
        for at, _, key in due:
            entry = self._due.get(key)
            if entry is not None and entry[0] == at:  # not moved or disarmed by an earlier one
                del self._due[key]
                entry[1]()
        self._earliest_ns = min((at for at, _ in self._due.values()), default=_NEVER)
        return len(due)

    @property
    def next_due_ns(self) -> int | None:
        """A time before which nothing is due; None without timers."""
        return self._earliest_ns if self._due else None
