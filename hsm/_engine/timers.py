"""Time events: deadlines that a state sets when it is entered and drops when it is left.

A machine owns no thread and does not sleep; it reads no clock but `m.clock()`. The program that
drives it asks `m.next_deadline` and calls `m.poll()` (section 23).

Each time event has a cell of the machine's memory: the deadline, or None while it is not armed.
The plans of the transitions write there. A machine that is not running has no armed timers,
whatever its cells have.
"""

from __future__ import annotations

from typing import Any

from .._definition.signatures import is_delay
from ..declarations import After
from ..errors import DispatchError
from ..states import State
from . import run_to_completion as steps
from .nodes import Phase

type Armed = dict[After, float]
type Remaining = list[tuple[State, int, float]]
"""Armed timers as they are stored: the state, the position among its timers, seconds left."""


def armed(m: Any) -> Armed:
    """The deadlines of the armed timers."""
    memories = m._hsm_node.tables.memories
    if memories.left is None or m._hsm_node.phase is not Phase.RUNNING:
        return {}
    memory = m._hsm_memory
    left, memory[memories.left] = memory[memories.left], None
    if left is not None:
        resume(m, left)
    return {
        event: memory[cell] for event, cell in memories.timers.items() if memory[cell] is not None
    }


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
    cell = m._hsm_node.tables.memories.timers[event]
    m._hsm_memory[cell] = None
    if event.every:
        period = delay(m, event)
        missed = (now - deadline) // period
        m._hsm_memory[cell] = deadline + period * (missed + 1)
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
    """Arm timers by the machine's clock, unless their states were entered or left meanwhile."""
    memories, chart = m._hsm_node.tables.memories, m._hsm_node.tables.chart
    now = m.clock()
    for state, index, seconds in left:
        cell = memories.timers[chart.timeouts[state][index].event]
        if m._hsm_memory[cell] is None and m.is_in(state):
            m._hsm_memory[cell] = now + seconds
