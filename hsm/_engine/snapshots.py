"""Taking a machine's configuration out and putting it back: snapshots, copies, pickles.

A configuration is the phase, the leaf, the memories, a pending completion and the two queues.
Copies and pickles carry it as state objects, snapshots by name (sections 17 and 20).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..declarations import After
from ..errors import DispatchError
from ..states import ANY, HANDLED, ROOT, EventLike, Final, State
from . import regions, timers
from .nodes import Node, Phase
from .regions import Branched, Leaf, state_of
from .run_to_completion import COMPLETION, Agenda, refuse_in_step, refuse_to_run, rest

FORMAT = 2
"""The format of snapshots; those of format 1 have no number, timers or regions (H-258)."""


@dataclass(slots=True)
class Configuration:
    """The whole configuration of a machine between steps.

    Attributes:
        branches: what is active in the regions of the state; None for a state without any.
        history: the memory of each composite that has one.
        completions: with regions, the leaves whose reaching has completed a state.
        offer: the deferred event that a failed step was about to offer, None in most cases.
    """

    phase: Phase
    state: State
    branches: Branched | None = None
    history: dict[State, Leaf] = field(default_factory=dict)
    completion: bool = False
    completions: list[State] = field(default_factory=list)
    posted: list[tuple[EventLike, Any]] = field(default_factory=list)
    deferred: list[tuple[EventLike, Any]] = field(default_factory=list)
    offer: int | None = None
    timers: timers.Remaining = field(default_factory=list)


def configuration(m: Any) -> Configuration:
    """The configuration of a machine between steps."""
    node, due = m._hsm_node, m._hsm_due
    found = Configuration(node.phase, node.state)
    found.history = node.tables.memories.read(m._hsm_memory)
    branches = regions.shape(m, node)
    found.branches = branches if isinstance(branches, Branched) else None
    if isinstance(due, Agenda):
        found.completion = due.completion
        found.completions = list(due.completions)
        found.posted = list(due.posted)
        found.deferred = list(due.deferred)
        found.offer = due.offer
    else:
        found.completion = due is COMPLETION
    found.timers = timers.remaining(m)
    return found


def configure(m: Any, found: Configuration, tables: Any) -> None:
    """Put a machine into a configuration; runs nothing."""
    m._hsm_due = HANDLED
    m._hsm_active = None
    m._hsm_node = _node(tables, found)
    tables.memories.write(m, found.history)
    if found.branches is not None:
        regions.build(m, tables, found.branches)
    if found.timers:
        m._hsm_memory[tables.memories.left] = found.timers
    if found.posted or found.deferred or found.completions:
        agenda = m._hsm_due = Agenda(completion=found.completion)
        agenda.completions = list(found.completions)
        agenda.posted = deque(found.posted)
        agenda.deferred = list(found.deferred)
        agenda.offer = found.offer
    elif found.completion:
        m._hsm_due = COMPLETION
    rest(m)


def _node(tables: Any, found: Configuration) -> Node:
    node: Node
    if found.phase is Phase.NEW:
        node = tables.held
    elif found.phase is Phase.TERMINATED:
        node = tables.terminated
    else:
        node = tables.nodes[found.state]
        if found.phase is not Phase.RUNNING:
            node = Node(tables, found.state, found.phase, refuse_to_run)
    return node


def rebuild(cls: Any, found: Configuration) -> Any:
    """A copy of a machine without the user's attributes and without an observer."""
    machine = cls.__new__(cls)
    configure(machine, found, cls._hsm_new.tables)
    return machine


def without_framework(state: Any) -> Any:
    """Return the result of `object.__getstate__` without the framework's attributes."""
    if isinstance(state, tuple):
        attributes, slots = state
        slots = {name: value for name, value in slots.items() if not name.startswith("_hsm_")}
        attributes = without_framework(attributes)
        return (attributes, slots) if slots else attributes
    if isinstance(state, dict):
        return {name: value for name, value in state.items() if not name.startswith("_hsm_")}
    return state


# Snapshots ----------------------------------------------------------------------------------------


def snapshot(m: Any) -> dict[str, Any]:
    """`Machine.snapshot` (H-220)."""
    refuse_in_step(m, "snapshot")
    found = configuration(m)
    if found.phase is Phase.FAULTED:
        raise DispatchError(f"{type(m).__qualname__}.snapshot: the machine is faulted; reset it")
    node = m._hsm_node
    completed: Any = node.completes.name if found.completion and node.completes else None
    names = [node.tables.nodes[leaf].completes.name for leaf in found.completions]
    if names:
        completed = names if len(names) > 1 else names[0]
    taken = {
        "format": FORMAT,
        "machine": type(m).__qualname__,
        "state": found.state.name,
        "lifecycle": found.phase.value,
        "history": {owner.name: _named(leaf) for owner, leaf in found.history.items()},
        "completion": completed,
        "posted": [[event, arg] for event, arg in found.posted],
        "deferred": [[event, arg] for event, arg in found.deferred],
        "timers": [[state.name, index, left] for state, index, left in found.timers],
    }
    if found.branches is not None:
        taken["regions"] = _named(found.branches)["regions"]
    return taken


def _named(leaf: Leaf | None) -> Any:
    """A leaf by its name; with regions a dict of the state's name and what is in each region."""
    if isinstance(leaf, Branched):
        return {"state": leaf.state.name, "regions": [_named(part) for part in leaf.parts]}
    return None if leaf is None else leaf.name


def restore(m: Any, value: Any, elapsed: float) -> None:
    """`Machine.restore` (H-221, H-222, H-244)."""
    refuse_in_step(m, "restore")
    tables = m._hsm_node.tables
    found = _Reader(m, tables, value).configuration()
    if elapsed < 0:
        raise ValueError(f"elapsed is {elapsed!r}; give a number of seconds, 0 or more")
    found.timers = [(state, index, left - elapsed) for state, index, left in found.timers]
    configure(m, found, tables)
    timers.armed(m)


class _Reader:
    """Reads a snapshot of unknown origin."""

    _KEYS = frozenset(
        ("machine", "state", "lifecycle", "history", "completion", "posted", "deferred")
    )

    def __init__(self, machine: Any, tables: Any, value: Any) -> None:
        self.machine = machine
        self.cls = type(machine)
        self.tables = tables
        self.chart = tables.chart
        self.value = value
        self.by_name = {state.name: state for state in (ROOT, *tables.chart.states)}

    def _require(self, condition: bool, problem: str) -> None:
        if not condition:
            raise ValueError(f"no snapshot of {self.cls.__qualname__}: {problem}")

    def configuration(self) -> Configuration:
        value = self.value
        self._require(isinstance(value, dict), f"it is a {type(value).__name__}, not a dict")
        missing = sorted(self._KEYS - value.keys())
        self._require(not missing, f"it has no {', '.join(missing)}")
        form = value.get("format", 1)
        self._require(form in (1, FORMAT), f"its format is {form!r}, not {FORMAT}")
        self._require(
            value["machine"] == self.cls.__qualname__, f"it is of machine {value['machine']!r}"
        )
        phase = self._phase(value["lifecycle"])
        state = self._state(value["state"])
        self._check_phase(phase, state)
        found = Configuration(
            phase,
            state,
            history=self._history(value["history"]),
            posted=self._queue("posted"),
            deferred=self._queue("deferred"),
        )
        found.branches = self._branches(state, value.get("regions"))
        self._read_completion(value["completion"], found)
        found.timers = self._timers(value.get("timers", ()), found)
        alive = phase in (Phase.NEW, Phase.RUNNING)
        self._require(
            alive or not (found.posted or found.deferred or found.completion or found.completions),
            f"a {phase.value} machine has nothing left to do",
        )
        self._require(
            phase is not Phase.NEW or not (found.history or found.deferred),
            "a new machine remembers nothing",
        )
        return found

    def _phase(self, name: object) -> Phase:
        known = [phase.value for phase in Phase if phase is not Phase.FAULTED]
        self._require(name in known, f"the lifecycle {name!r} is none of {', '.join(known)}")
        return Phase(name)

    def _state(self, name: object) -> State:
        known = isinstance(name, str) and name in self.by_name
        self._require(known, f"{name!r} is not a state")
        state: State = self.by_name[str(name)]
        return state

    def _check_phase(self, phase: Phase, state: State) -> None:
        if phase in (Phase.NEW, Phase.TERMINATED):
            self._require(state is ROOT, f"a {phase.value} machine is in ROOT, not in {state.name}")
            return
        rests = self.chart.can_rest_in(state) and self.chart.zones[state] is None
        rests = rests or (state in self.chart.regions and self.chart.zones[state] is None)
        self._require(rests, f"{state.name} cannot be the active leaf")
        ends = isinstance(state, Final) and state.parent is ROOT
        self._require(
            ends == (phase is Phase.COMPLETE), f"a machine in {state.name} is not {phase.value}"
        )

    def _branches(self, state: State, parts: object) -> Branched | None:
        """The leaves in the regions of a state."""
        if parts is None and state not in self.chart.regions:
            return None
        regions = self.chart.regions.get(state, ())
        fits = isinstance(parts, list | tuple) and len(parts) == len(regions)
        self._require(fits, f"{state.name} has {len(regions)} regions, not {parts!r}")
        pairs = zip(list(parts), regions, strict=True)  # type: ignore[call-overload]
        return Branched(state, tuple(self._leaf(part, region) for part, region in pairs))

    def _leaf(self, value: object, zone: State | None) -> Leaf:
        """A leaf of a region or, for None, of the machine."""
        parts = value.get("regions") if isinstance(value, dict) else None
        state = self._state(value.get("state") if isinstance(value, dict) else value)
        rests = self.chart.can_rest_in(state) or state in self.chart.regions
        self._require(rests, f"{state.name} cannot be an active leaf")
        inside = self.chart.zones[state] is zone
        where = "the machine" if zone is None else zone.name
        self._require(inside, f"{state.name} is not a leaf of {where}")
        return self._branches(state, parts) or state

    def _memory(self, value: object, zone: State | None) -> Leaf:
        """A remembered leaf: in regions, None stands for what is not remembered."""
        if isinstance(value, dict) and isinstance(value.get("regions"), list | tuple):
            state = self._state(value.get("state"))
            regions = self.chart.regions.get(state, ())
            fits = len(value["regions"]) == len(regions) and self.chart.zones[state] is zone
            self._require(fits, f"{value!r} cannot be remembered")
            pairs = zip(value["regions"], regions, strict=True)
            parts = (None if part is None else self._memory(part, zone) for part, zone in pairs)
            return Branched(state, tuple(parts))
        state = self._state(value)
        rests = self.chart.can_rest_in(state) and not isinstance(state, Final)
        self._require(
            rests and self.chart.zones[state] is zone, f"{state.name} cannot be remembered"
        )
        return state

    def _history(self, history: object) -> dict[State, Leaf]:
        self._require(isinstance(history, dict), f"the history is {history!r}, not a dict")
        found: dict[State, Leaf] = {}
        for owner_name, value in dict(history).items():  # type: ignore[call-overload]
            owner = self._state(owner_name)
            self._require(owner in self.tables.memories.cells, f"{owner.name} has no history")
            leaf = self._memory(value, self.chart.zones[owner])
            state = state_of(leaf)
            below = self.chart.is_below(state, owner)
            below = below or (state is owner and owner in self.chart.regions)
            self._require(below, f"{state.name} is not below {owner.name}")
            found[owner] = leaf
        return found

    def _read_completion(self, completion: object, found: Configuration) -> None:
        several = isinstance(completion, list | tuple) and self.chart.regions and completion
        names: Any = completion if several else (completion,)
        for name in names:
            if name is None:
                continue
            leaf = next(
                (
                    state_of(leaf)
                    for leaf in _reached(found.branches or found.state)
                    if (completes := self.tables.nodes[state_of(leaf)].completes) is not None
                    and completes.name == name
                    and (not isinstance(leaf, Branched) or leaf.is_final)
                ),
                None,
            )
            fits = leaf is not None and found.phase is Phase.RUNNING
            self._require(fits, f"{name!r} does not complete in {found.state.name}")
            if self.chart.regions and leaf is not None:
                found.completions.append(leaf)
            else:
                found.completion = True

    def _timers(self, items: object, found: Configuration) -> timers.Remaining:
        timeouts = self.chart.timeouts
        if found.phase is not Phase.RUNNING:
            self._require(not items, f"a {found.phase.value} machine has no timers")
            return []
        active = dict.fromkeys(s for leaf in _leaves(found) for s in self.chart.paths[leaf])
        if "timers" not in self.value:  # of format 1: the timers begin anew
            return [
                (state, index, timers.delay(self.machine, rule.event))
                for state in active
                for index, rule in enumerate(timeouts.get(state, ()))
                if isinstance(rule.event, After)
            ]
        self._require(isinstance(items, list | tuple), f"timers is {items!r}, not a list")
        left: timers.Remaining = []
        for item in items:  # type: ignore[attr-defined]
            fits = isinstance(item, list | tuple) and len(item) == 3
            self._require(fits, f"timers contains {item!r}, not [state, position, seconds]")
            name, index, seconds = item
            state = self._state(name)
            known = type(index) is int and 0 <= index < len(timeouts.get(state, ()))
            self._require(known and state in active, f"{state.name} has no such timer: {item!r}")
            number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            self._require(number and math.isfinite(seconds), f"{seconds!r} is not a time")
            left.append((state, index, float(seconds)))
        return left

    def _queue(self, key: str) -> list[tuple[EventLike, Any]]:
        items = self.value[key]
        self._require(isinstance(items, list | tuple), f"{key} is {items!r}, not a list")
        queue = []
        for item in items:
            pair = isinstance(item, list | tuple) and len(item) == 2
            self._require(pair, f"{key} contains {item!r}, not [event, arg]")
            event, arg = item
            try:
                hash(event)
            except TypeError:
                self._require(False, f"{key} contains the unhashable event {event!r}")
            self._require(event is not ANY, f"{key} contains ANY")
            queue.append((event, arg))
        return queue


def _leaves(found: Configuration) -> tuple[State, ...]:
    return (found.state,) if found.branches is None else tuple(found.branches.states)


def _reached(leaf: Leaf) -> Iterator[Leaf]:
    """The leaves, and the states whose regions they are in."""
    yield leaf
    for part in leaf.parts if isinstance(leaf, Branched) else ():
        if part is not None:
            yield from _reached(part)
