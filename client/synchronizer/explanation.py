"""Reasons for sets that were not made, for people (S-116)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

__all__ = ["GivenUp", "GivenUpLog"]

_KEPT = 20


class GivenUp(msgspec.Struct, frozen=True):
    """A reference frame, or a sequence key, that no set was made of.

    `input` is the input that failed; `distance` that of its nearest frame: in ns for times, in
    frames for sequences, None if it had none. `waited_ns` is how long the set was waited for.
    """

    key: int
    input: str
    distance: int | None
    waited_ns: int
    timed_out: bool
    unit: str  # "ns" or "frames"
    tolerance: int = 0

    def __str__(self) -> str:
        what = f"time {self.key} ns" if self.unit == "ns" else f"sequence {self.key}"
        return f"{what}: {self.input} {self._lack()}{self._wait()}"

    def _lack(self) -> str:
        if self.distance is None:
            return "had no frame"
        if self.unit == "frames":
            return f"skipped it; its nearest frame is {self.distance:+d}"
        return (
            f"has its nearest frame {self.distance / 1e6:+.3f} ms away"
            f" (tolerance {self.tolerance / 1e6:g} ms)"
        )

    def _wait(self) -> str:
        return f", after {self.waited_ns / 1e6:.0f} ms of waiting" if self.timed_out else ""


class GivenUpLog:
    """The last 20 of them, and how many there were of each input."""

    def __init__(self) -> None:
        self._last: deque[GivenUp] = deque(maxlen=_KEPT)
        self.by_input: dict[str, int] = {}

    def add(self, given_up: GivenUp) -> None:
        self._last.append(given_up)
        self.by_input[given_up.input] = self.by_input.get(given_up.input, 0) + 1

    def __iter__(self) -> Iterator[GivenUp]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)
