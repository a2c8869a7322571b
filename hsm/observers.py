"""An observer that logs."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from .states import ROOT, Outcome, State

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["LoggingObserver"]


class LoggingObserver:
    """An observer that logs each transition and each event that no state takes (H-262).

    Args:
        logger: takes the lines; by default the logger `tensor_pool.hsm`.
        level: the level of the lines.

    A line names the class, the state before and after, and the event.

    >>> import logging, sys
    >>> from tensor_pool.hsm import LoggingObserver, Machine, State, on_event, on_initial, ROOT
    >>> class Lamp(Machine):
    ...     Off = State()
    ...     On = State()
    ...     begin = on_initial(ROOT, target=Off)
    ...     up = on_event(Off, "up", target=On)
    >>> logger = logging.Logger("lamps")
    >>> logger.addHandler(logging.StreamHandler(sys.stdout))
    >>> lamp = Lamp(observer=LoggingObserver(logger))
    Lamp: ROOT -> Off
    >>> lamp.dispatch("up"), lamp.dispatch("down")
    Lamp: Off -> On on 'up'
    Lamp: 'down' is not handled in On
    (HANDLED, UNHANDLED)
    """

    def __init__(self, logger: logging.Logger | None = None, level: int = logging.INFO) -> None:
        self._logger = logger or logging.getLogger("tensor_pool.hsm")
        self._level = level
        self._open: dict[int, tuple[State, int]] = {}

    def trace_dispatch_start(self, machine: Machine, event: Hashable, arg: Any) -> None:
        """Forget a transition that an exception ended."""
        self._open.pop(id(machine), None)

    def trace_dispatch_result(
        self, machine: Machine, state: State, event: Hashable, result: Outcome
    ) -> None:
        """Log an event that was deferred, or that no state took."""
        if result is Outcome.DEFERRED:
            self._log(machine, self._level, "%r is deferred in %s", event, machine.current.name)
        elif result is Outcome.UNHANDLED and state is ROOT:
            self._log(machine, self._level, "%r is not handled in %s", event, machine.current.name)

    def trace_transition_begin(
        self, machine: Machine, origin: State, target: State, lca: State
    ) -> None:
        """Note where a transition begins; those of initials are nested in it."""
        began, depth = self._open.get(id(machine), (origin, 0))
        self._open[id(machine)] = (began, depth + 1)

    def trace_transition_end(self, machine: Machine, origin: State, target: State) -> None:
        """Log the outermost transition when it has ended."""
        began, depth = self._open.pop(id(machine), (origin, 1))
        if depth > 1:
            self._open[id(machine)] = (began, depth - 1)
            return
        reached = machine.current if machine.is_running else target
        if machine.event is None:
            self._log(machine, self._level, "%s -> %s", began.name, reached.name)
        else:
            event = machine.event
            self._log(machine, self._level, "%s -> %s on %r", began.name, reached.name, event)

    def trace_choice_begin(self, machine: Machine, origin: State, owner: State) -> None:
        """As `trace_transition_begin`."""
        self.trace_transition_begin(machine, origin, owner, owner)

    def trace_choice_end(self, machine: Machine, origin: State, target: State) -> None:
        """As `trace_transition_end`."""
        self.trace_transition_end(machine, origin, target)

    def _log(self, machine: Machine, level: int, text: str, *arguments: object) -> None:
        if self._logger.isEnabledFor(level):
            name = type(machine).__qualname__
            self._logger.log(level, "%s: " + text, name, *arguments)
