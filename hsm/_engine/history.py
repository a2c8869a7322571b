"""What composites remember: the memory of history (section 10).

Every composite below `ROOT` has a memory, whether or not a history is declared for it, and every
transition that leaves it writes there. So the memories of a machine are one object with a slot for
each composite, of a class made for the chart; a machine gets it when it leaves a composite for the
first time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._definition.chart import Chart
from ..states import State
from .codegen import Attribute


class Memories:
    """The shape of the memories of one machine class.

    Attributes:
        names: for each composite the attribute that holds the leaf it remembers, or None.
        readers: for each composite a function that reads it.
        Memory: the class; its objects remember nothing at first.
    """

    def __init__(self, chart: Chart) -> None:
        composites = [state for state in chart.states if chart.is_composite(state)]
        self.names = {state: Attribute(f"h{index}") for index, state in enumerate(composites)}
        slots = tuple(str(name) for name in self.names.values())

        def forget(memory: Any) -> None:
            for write in self._writers.values():
                write(memory, None)

        self.Memory: Any = type("Memory", (), {"__slots__": slots, "__init__": forget})
        members = {state: vars(self.Memory)[name] for state, name in self.names.items()}
        self.readers: dict[State, Callable[[Any], State | None]] = {
            state: member.__get__ for state, member in members.items()
        }
        self._writers = {state: member.__set__ for state, member in members.items()}

    def read(self, memory: Any) -> dict[State, State]:
        """What a machine's memory holds, by owner."""
        if memory is None:
            return {}
        found = {state: read(memory) for state, read in self.readers.items()}
        return {state: leaf for state, leaf in found.items() if leaf is not None}

    def write(self, m: Any, history: dict[State, State]) -> None:
        """Have a machine remember this and nothing else."""
        memory = memory_of(m)
        if memory is None:
            if not history:
                return
            memory = m._hsm_memory = self.Memory()
        for owner, write in self._writers.items():
            write(memory, history.get(owner))


def memory_of(m: Any) -> Any:
    """What a machine remembers; None while it has left no composite.

    The attribute is absent until then, which spares both its creation and the first test in every
    transition.
    """
    try:
        return m._hsm_memory
    except AttributeError:
        return None
