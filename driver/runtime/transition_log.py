"""The log of transitions: one line for every transition of every machine.

An event that enters a composite state takes several transitions, the initial ones nested in the
first; the line names where the machine was before and where it came to rest. Internal transitions
(a keepalive) change no state and are not logged.
"""

from __future__ import annotations

import abc
import logging

from tensor_pool.hsm import Machine, State

from ..core.snapshots import state_path

__all__ = ["TransitionLog", "TransitionWatch"]

_log = logging.getLogger(__name__)


class TransitionWatch(abc.ABC):
    """An observer of transitions, called once for each, when the machine has come to rest."""

    def __init__(self) -> None:
        # Machines inside a transition: where it began and how deep it is nested.
        self._open: dict[int, tuple[State, int]] = {}

    def trace_dispatch_start(self, machine: Machine, event: object, arg: object) -> None:
        # Nothing is open when an event arrives, unless an exception ended the last transition.
        self._open.pop(id(machine), None)

    def trace_transition_begin(
        self, machine: Machine, origin: State, target: State, lca: State
    ) -> None:
        began, depth = self._open.get(id(machine), (origin, 0))
        self._open[id(machine)] = (began, depth + 1)

    def trace_transition_end(self, machine: Machine, origin: State, target: State) -> None:
        began, depth = self._open.pop(id(machine), (origin, 1))
        if depth > 1:
            self._open[id(machine)] = (began, depth - 1)
        else:
            self.settled(machine, began)

    @abc.abstractmethod
    def settled(self, machine: Machine, began: State) -> None:
        """`machine` went from `began` to its current state; `machine.event` made it."""


class TransitionLog(TransitionWatch):
    """An observer for the machines of a driver, each of which has a `label`."""

    def settled(self, machine: Machine, began: State) -> None:
        if not _log.isEnabledFor(logging.INFO):
            return
        label = getattr(machine, "label", type(machine).__name__)
        before, after = state_path(began), state_path(machine.current)
        event = str(machine.event) if machine.event is not None else ""
        _log.info(
            "%s: %s -> %s%s",
            label,
            before or "(start)",
            after,
            f" on {event}" if event else "",
            extra={"transition": {"machine": label, "from": before, "to": after, "event": event}},
        )
