"""The states and edges of a machine class that a run has visited (H-233)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from ._definition.introspection import Edge
from .states import Region, State, Terminate

if TYPE_CHECKING:
    from .machine import Machine


class Coverage:
    """An observer that counts; any number of machines of the class may share it.

    Attributes:
        states: how often each state was entered.
        edges: how often each edge was taken, or handled its event without a transition.

    >>> from tensor_pool.hsm import Machine, State, on_event, on_initial, ROOT, Coverage
    >>> class Lamp(Machine):
    ...     Off = State()
    ...     On = State()
    ...     begin = on_initial(ROOT, target=Off)
    ...     up = on_event(Off, "up", target=On)
    >>> coverage = Coverage(Lamp)
    >>> lamp = Lamp(observer=coverage)
    >>> coverage.missed_states()
    (State('On'),)
    """

    def __init__(self, machine: type[Machine]) -> None:
        self.states: Counter[State] = Counter()
        self.edges: Counter[Edge] = Counter()
        self._machine = machine
        self._edges: dict[tuple[State, Hashable, State | None], Edge] = {}
        for edge in machine.edges:
            self._edges.setdefault((edge.source, edge.event, edge.target), edge)

    def missed_states(self) -> tuple[State, ...]:
        """The states never entered; `Terminate` vertices and regions, which never are, left out."""
        return tuple(
            state
            for state in self._machine.states
            if not isinstance(state, Terminate | Region) and not self.states[state]
        )

    def missed_edges(self) -> tuple[Edge, ...]:
        """The edges never taken."""
        return tuple(edge for edge in self._machine.edges if not self.edges[edge])

    def trace_entry(self, machine: Any, state: State) -> None:
        """Count an entry."""
        self.states[state] += 1

    def _hsm_edge_taken(self, source: State, event: Hashable, target: State | None) -> None:
        edge = self._edges.get((source, event, target))
        if edge is not None:
            self.edges[edge] += 1
