"""Time events: deadlines that a state sets when it is entered and drops when it is left.

A machine owns no thread and does not sleep; it reads no clock but `m.clock()`. The program that
drives it asks `m.next_deadline` and calls `m.poll()` (section 23).

The armed timers of a machine are a dict from the time event to its deadline, in a cell of the
machine's memory. It holds the timers of the active states only, so it stays small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._definition.chart import Rule
from .._definition.signatures import is_delay
from ..declarations import After
from ..errors import DispatchError
from ..states import State
from . import run_to_completion as steps
from .nodes import Phase

type Armed = dict[After, float]
type Remaining = list[tuple[State, int, float]]
"""Armed timers as they are stored: the state, the position among its timers, seconds left."""


class Pending:
    """Timers of a copy that has no clock yet: they are armed as soon as it has."""

    def __init__(self, remaining: Remaining) -> None:
        self.remaining = remaining


def armed(m: Any) -> Armed:
    """The deadlines of the armed timers."""
    cell = m._hsm_node.tables.memories.timers
    if cell is None or m._hsm_node.phase is not Phase.RUNNING:
        return {}
    found = m._hsm_memory[cell]
    if type(found) is Pending:
        m._hsm_memory[cell] = None
        resume(m, found.remaining)
        found = m._hsm_memory[cell]
    return found or {}


def arming(rules: tuple[Rule, ...], cell: int) -> Callable[[Any], None]:
    """Return a function that arms the timers of a state by one reading of the clock (H-241)."""
    events = tuple(rule.event for rule in rules if isinstance(rule.event, After))

    def arm(m: Any) -> None:
        now = m.clock()
        deadlines = {event: now + delay(m, event) for event in events}
        memory = m._hsm_memory
        memory[cell] = {**memory[cell], **deadlines} if memory[cell] else deadlines

    return arm


def disarming(rules: tuple[Rule, ...], cell: int) -> Callable[[Any], None]:
    """Return a function that disarms the timers of a state."""
    events = tuple(rule.event for rule in rules if isinstance(rule.event, After))

    def disarm(m: Any) -> None:
        deadlines = armed(m)
        for event in events:
            deadlines.pop(event, None)

    return disarm


def delay(m: Any, event: After) -> float:
    """The seconds after which a timer is due.

    Raises:
        DispatchError: the function that gives them returned something else (H-240).
    """
    if not callable(event.after):
        return float(event.after)
    seconds = event.after(m)
    if not is_delay(seconds):
        raise DispatchError(
            f"{type(m).__qualname__}: the function of {event!r} returned {seconds!r}; return a "
            "number of seconds above 0"
        )
    return float(seconds)


def next_deadline(m: Any) -> float | None:
    """`Machine.next_deadline` (section 23)."""
    return min(armed(m).values(), default=None)


def poll(m: Any) -> bool:
    """`Machine.poll` (H-242)."""
    steps.refuse_in_step(m, "poll")
    steps.refuse_stopped(m, "poll")
    taken = False
    if m._hsm_event is steps.BLOCKED:
        steps.resume(m)
    while (event := _due(m)) is not None:
        taken |= steps.fire(m, event)
    return taken


def _due(m: Any) -> After | None:
    """Take the timer that is due first; a periodic one is armed again (H-242)."""
    deadlines = armed(m)
    if not deadlines:
        return None
    event = min(deadlines, key=lambda each: (deadlines[each], each.order))
    deadline, now = deadlines[event], m.clock()
    if deadline > now:
        return None
    del deadlines[event]
    if event.every:
        period = delay(m, event)
        missed = (now - deadline) // period
        deadlines[event] = deadline + period * (missed + 1)
    return event


# Copies and snapshots -----------------------------------------------------------------------------


def remaining(m: Any) -> Remaining:
    """The seconds that are left of each armed timer."""
    deadlines = armed(m)
    if not deadlines:
        return []
    now = m.clock()
    chart = m._hsm_node.tables.chart
    return [
        (state, index, deadlines[rule.event] - now)
        for state, rules in chart.timeouts.items()
        for index, rule in enumerate(rules)
        if rule.event in deadlines
    ]


def resume(m: Any, left: Remaining) -> None:
    """Arm timers by the machine's own clock."""
    memories, chart = m._hsm_node.tables.memories, m._hsm_node.tables.chart
    if memories.timers is None or not left:
        return
    now = m.clock()
    m._hsm_memory[memories.timers] = {
        chart.timeouts[state][index].event: now + seconds for state, index, seconds in left
    }
