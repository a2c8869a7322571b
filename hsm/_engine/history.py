"""The memory of composites: history (section 10).

Every composite below `ROOT` has a memory, whether or not a history is declared for it, and every
transition that leaves it writes there. So the memories of a machine are one list with a cell for
each composite; a machine gets it when it leaves a composite for the first time.
"""

from __future__ import annotations

from typing import Any

from .._definition.chart import Chart
from ..declarations import After
from ..states import State


class Memories:
    """The layout of the memories of one machine class.

    Attributes:
        cells: for each composite the position of the leaf that it remembers, or of None.
        argument: the position of the event's argument, for charts whose entry or exit handlers
            take it (H-110); None for others.
        timers: for each time event the position of its deadline, None while it is not armed
            (section 23).
        left: the position of what is left of the timers of a copy that has no clock yet; None for
            charts without time events.
        regions: for each state with regions the position of the list of their nodes, which is new
            whenever the state is entered and None while it is not active (section 24).
        restored: the position of what a transition restores in regions; None without regions.
        is_extended: whether a machine has the list from its beginning on.
    """

    def __init__(self, chart: Chart) -> None:
        composites = [state for state in chart.states if chart.is_composite(state)]
        self.cells = {state: index for index, state in enumerate(composites)}
        self.argument: int | None = None
        self.size = len(composites)
        if chart.passes_argument:
            self.argument = self._extend()
        self.timers = {
            rule.event: self._extend()
            for rules in chart.timeouts.values()
            for rule in rules
            if isinstance(rule.event, After)
        }
        self.left: int | None = self._extend() if self.timers else None
        self.regions = {state: self._extend() for state in chart.regions}
        self.restored: int | None = self._extend() if chart.regions else None

    def _extend(self) -> int:
        self.size += 1
        return self.size - 1

    @property
    def is_extended(self) -> bool:
        return self.size > len(self.cells)

    def new(self) -> list[Any]:
        """A list that remembers nothing."""
        return [None] * self.size

    def begin(self, m: Any) -> None:
        """Have a machine remember nothing."""
        m._hsm_memory = self.new() if self.is_extended else None

    def read(self, memory: list[Any] | None) -> dict[State, Any]:
        """Return the remembered leaves, by owner."""
        if memory is None:
            return {}
        return {state: memory[cell] for state, cell in self.cells.items() if memory[cell]}

    def write(self, m: Any, history: dict[State, Any]) -> None:
        """Have a machine remember this and nothing else."""
        self.begin(m)
        if history:
            memory = m._hsm_memory = m._hsm_memory or self.new()
            for owner, leaf in history.items():
                memory[self.cells[owner]] = leaf
