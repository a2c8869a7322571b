"""Shortest ways from the start to every edge (H-265)."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..states import ANY, ROOT, Final, Region, State, Terminate
from .chart import Chart, Rule
from .chart_of import chart_of
from .introspection import Edge, edges_of_rule

if TYPE_CHECKING:
    from ..machine import Machine

OTHER = "any other event"
"""The event that stands for those which only `ANY` takes."""


class Path(NamedTuple):
    """A way to an edge.

    Attributes:
        edge: the edge that the last event takes.
        events: the events from the start on; empty for edges that the initial step takes.
    """

    edge: Edge
    events: tuple[Hashable, ...]


def paths(machine: type[Machine]) -> Iterator[Path]:
    """Yield, for every reachable edge, a shortest sequence of events that takes it (H-265).

    Guards are assumed to answer as the way needs it, and handlers to choose the target it needs. A
    recall is assumed to find no memory. Regions are walked one by one, as if no other region took
    the same events; the way to the completion of their owner ends one region after the other. The
    order is that of `machine.edges`.

    >>> from tensor_pool.hsm import Machine, State, on_event, on_initial, paths, ROOT
    >>> class Lamp(Machine):
    ...     Off = State()
    ...     On = State()
    ...     begin = on_initial(ROOT, target=Off)
    ...     up = on_event(Off, "up", target=On)
    ...     down = on_event(On, "down", target=Off)
    >>> [path.events for path in paths(Lamp)]
    [(), ('up',), ('up', 'down')]
    """
    found = _Walk(chart_of(machine)).found
    for edge in machine.edges:
        if edge in found:
            yield Path(edge, found[edge])


class _Walk:
    """A breadth-first walk over the leaves of a chart."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.found: dict[Edge, tuple[Hashable, ...]] = {}
        self._arrived: set[State] = set()
        self._ended: dict[State, dict[State, tuple[Hashable, ...]]] = {}
        self._resting: deque[tuple[State, tuple[Hashable, ...]]] = deque()
        self._arrive(ROOT, ())
        while self._resting:
            self._leave(*self._resting.popleft())

    def _leave(self, leaf: State, events: tuple[Hashable, ...]) -> None:
        """Try every event that can be taken in a leaf."""
        path = self.chart.paths[leaf]
        visible: dict[Hashable, None] = {}
        for state in path:
            visible.update(dict.fromkeys(self.chart.candidates.get(state, ())))
        for state in path:
            for rule in self.chart.timeouts.get(state, ()):
                self._take(rule, (*events, rule.event))
        for event in visible:
            for rule in self._takers(path, event):
                self._take(rule, (*events, OTHER if event is ANY else event))

    def _takers(self, path: tuple[State, ...], event: Hashable) -> Iterator[Rule]:
        """The candidates that may be selected, until one takes the event in any case."""
        for state in path:
            candidates = self.chart.candidates.get(state, {})
            rules = candidates.get(event, ())
            if event not in state.defer and event is not ANY:
                rules += candidates.get(ANY, ()) if not rules else ()
            for rule in rules:
                yield rule
                if rule.guard is None and rule.is_declarative:
                    return
            if event in state.defer:
                return

    def _take(self, rule: Rule, events: tuple[Hashable, ...]) -> None:
        for edge in edges_of_rule(self.chart, rule):
            self.found.setdefault(edge, events)
            if edge.target is None:
                continue
            default = None
            if rule.history is not None:
                default = self.chart.defaults.get((edge.target, rule.history))
            if default is not None:
                self._take(default, events)
            else:
                self._arrive(edge.target, events)

    def _arrive(self, target: State, events: tuple[Hashable, ...]) -> None:
        """Activate a target, with all that follows by itself."""
        if target in self._arrived:
            return
        self._arrived.add(target)
        for state in self.chart.paths[target]:
            for region in self.chart.regions.get(state, ()):
                if region not in self.chart.paths[target]:
                    self._arrive(region, events)
        initial = self.chart.initials.get(target)
        if initial is not None:
            self._take(initial, events)
        elif isinstance(target, Final):
            if isinstance(target.parent, Region):
                self._end_region(target.parent, events)
            if target.parent not in (None, ROOT):
                self._complete(target.parent, events)
                self._resting.append((target, events))
        elif target not in self.chart.regions and not isinstance(target, Terminate):
            self._resting.append((target, events))
            if not self.chart.is_composite(target):
                self._complete(target, events)

    def _end_region(self, region: State, events: tuple[Hashable, ...]) -> None:
        """A region has come to its end; the last one of its owner completes that."""
        owner = region.parent or ROOT
        ends = self._ended.setdefault(owner, {})
        ends.setdefault(region, events)
        if len(ends) == len(self.chart.regions[owner]):
            first, *others = ends.values()
            common = next(
                (
                    at
                    for at, events in enumerate(zip(*ends.values(), strict=False))
                    if len(set(events)) > 1
                ),
                min(map(len, ends.values())),
            )
            whole = sum((other[common:] for other in others), first)
            self._complete(owner, whole)

    def _complete(self, state: State | None, events: tuple[Hashable, ...]) -> None:
        for rule in self.chart.completions.get(state or ROOT, ()):
            self._take(rule, events)
