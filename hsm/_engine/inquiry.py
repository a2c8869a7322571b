"""Questions about a machine: which event it would take, and what an unknown event might be.

Nothing here changes a machine or calls a hook (H-260, H-261).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from .._definition.chart import Chart, Rule
from ..errors import DispatchError
from ..states import ANY, EventLike, State
from . import regions
from . import run_to_completion as steps
from .nodes import Phase


def can(m: Any, event: EventLike, arg: Any) -> bool:
    """`Machine.can` (H-260)."""
    steps.refuse_in_step(m, "can")
    refuse_unhashable(m, event)
    steps.refuse_event(m, event)
    node = m._hsm_node
    chart: Chart = node.tables.chart
    refuse_message_object(m, event)
    if node.phase is not Phase.RUNNING:
        return False
    m._hsm_event = steps.NO_EVENT if event is None else event
    try:
        return any(
            _takes(m, chart, state, event, arg)  # a guard finds itself within a step
            for state in regions.active_states(m)
        )
    finally:
        steps.rest(m)


def _takes(m: Any, chart: Chart, state: State, event: Any, arg: Any) -> bool:
    m._hsm_active = m._hsm_node.tables.routes.marks[state]
    candidates = chart.candidates.get(state, {})
    if any(_enabled(m, rule, arg) for rule in candidates.get(event, ())):
        return True
    if event in state.defer:
        return True
    return any(_enabled(m, rule, arg, event) for rule in candidates.get(ANY, ()))


def _enabled(m: Any, rule: Rule, *arguments: Any) -> bool:
    return rule.guard is None or bool(rule.guard(m, *arguments))


def refuse_message_object(m: Any, event: EventLike) -> None:
    """Raise for an instance of a class that is declared as an event (H-261)."""
    vocabulary = m._hsm_node.tables.chart.vocabulary
    kind = type(event)
    if kind in vocabulary and event not in vocabulary:
        raise DispatchError(
            f"{type(m).__qualname__}: the event is the class {kind.__qualname__}, not its instance "
            f"{event!r}; call dispatch({kind.__qualname__}, message), or in general "
            "dispatch(type(message), message)"
        )


def refuse_unhashable(m: Any, event: Any) -> None:
    """Raise with a remedy for an unhashable instance of a declared class (H-261)."""
    if type(event).__hash__ is None and type(event) in m._hsm_node.tables.chart.vocabulary:
        kind = type(event).__qualname__
        raise DispatchError(
            f"{type(m).__qualname__}: the event is the class {kind}, not its instance {event!r}; "
            f"call dispatch({kind}, message)"
        )


def refuse_unknown(m: Any, event: EventLike) -> None:
    """Raise for an event that a strict machine does not declare (H-261)."""
    refuse_message_object(m, event)
    chart: Chart = m._hsm_node.tables.chart
    if chart.strict and event not in chart.vocabulary:
        closest = _closest(event, chart.vocabulary)
        remedy = f"did you mean {closest!r}?" if closest is not None else "declare it"
        raise DispatchError(
            f"{type(m).__qualname__}: the event {event!r} is declared nowhere in the class; "
            f"{remedy}"
        )


def check_posted(m: Any, event: EventLike) -> None:
    """Raise for an event that a later dispatch of it would refuse."""
    chart: Chart = m._hsm_node.tables.chart
    if chart.checks_events and event is not ANY:
        refuse_unhashable(m, event)
        if chart.has_any:
            refuse_message_object(m, event)
        else:
            refuse_unknown(m, event)


def _closest(event: EventLike, vocabulary: frozenset[Hashable]) -> Hashable | None:
    by_text = {str(each): each for each in sorted(vocabulary, key=repr)}
    import difflib  # here: only errors need it

    found = difflib.get_close_matches(str(event), by_text, n=1, cutoff=0.5)
    return by_text[found[0]] if found else None
