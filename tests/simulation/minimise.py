"""Making a failing run small: fewest steps that still break the same rule (delta debugging).

Any subset of the steps of a run is a run, so steps can simply be left out. The result is a list
of step numbers, to be replayed with `--only`.
"""

from __future__ import annotations

from collections.abc import Callable

from .run import Failure, run_steps
from .schedule import Scenario, Step

__all__ = ["minimised", "smallest_subset"]

_TRIES = 400


def minimised(scenario: Scenario, steps: list[Step], failure: Failure) -> list[int]:
    """Numbers of steps that together fail in the same way; the fewest found."""

    def fails(numbers: list[int]) -> bool:
        outcome = run_steps(scenario, [steps[n] for n in numbers])
        return isinstance(outcome, Failure) and outcome.kind == failure.kind

    return smallest_subset(list(range(min(failure.step + 1, len(steps)))), fails)


def smallest_subset(
    items: list[int], fails: Callable[[list[int]], bool], tries: int = _TRIES
) -> list[int]:
    """Leave out as many items as possible while `fails` stays true: larger parts first.

    >>> smallest_subset(list(range(100)), lambda items: {7, 42} <= set(items))
    [7, 42]
    """
    size = len(items) // 2
    while size:
        start = 0
        while start < len(items) and tries:
            rest = items[:start] + items[start + size :]
            tries -= 1
            if fails(rest):
                items = rest
            else:
                start += size
        size //= 2
    return items
