"""The chart of a machine class: its checked, resolved and immutable model.

A `Chart` is what the declarations of a whole family come to: every reference is a state object,
overriding and replacement are done, candidates are in the order in which they are tried. The engine
plans from it, and so may tools: `chart_of(SomeMachine)` (in `_definition/chart_of.py`) returns it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..declarations import Role
from ..states import ANY, ROOT, Final, History, Region, State, Terminate


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One declaration for one state (and one event): a candidate, an initial, an entry handler, …

    Attributes:
        role: which decorator factory declared it.
        state: the state or owner; None for `on_entry(ANY)` and `on_exit(ANY)`.
        event: the event, possibly `ANY`, or the time event; None for the other roles (None is an
            event as well).
        attribute: the name of the attribute that carries the declaration.
        function: the handler or effect in force (H-181); None for a bare declaration.
        guard: the guard, or None.
        target: the target of a declarative edge; None for an imperative handler.
        targets: the declared targets of an imperative handler; `(target,)` for an edge.
        history: how `target` is entered, None for an ordinary entry.
        kind: the history kind of an `on_history_default`.
        takes_argument: whether an entry or exit handler is given the event's argument (H-110).
        fork: the states that an edge with several targets enters; its `target` is the state whose
            regions they are in (H-253).
        place: file and line.
    """

    role: Role
    state: State | None
    event: Hashable
    attribute: str
    function: Callable[..., Any] | None
    guard: Callable[..., Any] | None
    target: State | None
    targets: tuple[State, ...]
    history: History | None
    kind: History | None
    place: tuple[str, int]
    takes_argument: bool = False
    fork: tuple[State, ...] = ()

    @property
    def is_declarative(self) -> bool:
        """Return True if the rule is an edge by itself, not a handler that decides."""
        return self.target is not None

    @property
    def handler(self) -> str | None:
        """The attribute name of the function; None for a declaration without one."""
        return None if self.function is None else self.attribute


@dataclass(frozen=True, eq=False)
class Chart:
    """The model of one machine class.

    Attributes:
        name: the qualified name of the class.
        abstract: whether completeness was not asked for (H-008).
        states: all states in document order, without `ROOT`.
        rules: all rules in force, in the order of declaration, base classes first.
        initials: the initial of each state that has one, `ROOT` included.
        candidates: per state and event, the candidates in the order in which they are tried.
        completions: per state, its completion candidates.
        defaults: the history defaults by owner and kind.
        entries, exits: the entry and exit handlers; the key None holds the one for `ANY`.
        timeouts: per state, its time events in the order of declaration (H-240).
        strict: whether undeclared events are refused (H-261).
    """

    name: str
    abstract: bool
    states: tuple[State, ...]
    rules: tuple[Rule, ...]
    initials: dict[State, Rule]
    candidates: dict[State, dict[Hashable, tuple[Rule, ...]]]
    completions: dict[State, tuple[Rule, ...]]
    defaults: dict[tuple[State, History], Rule]
    entries: dict[State | None, Rule]
    exits: dict[State | None, Rule]
    timeouts: dict[State, tuple[Rule, ...]]
    strict: bool = False

    @cached_property
    def events(self) -> tuple[Hashable, ...]:
        """All declared events in document order, without `ANY` (H-260)."""
        found = (rule.event for rule in self.rules if rule.role is Role.EVENT)
        return tuple(dict.fromkeys(event for event in found if event is not ANY))

    @cached_property
    def vocabulary(self) -> frozenset[Hashable]:
        """The declared events and the deferred ones."""
        return frozenset(self.events).union(*(state.defer for state in self.states))

    @cached_property
    def has_any(self) -> bool:
        """Return True if some state takes every event."""
        return any(ANY in events for events in self.candidates.values())

    @property
    def checks_events(self) -> bool:
        """Return True if an event that is not found may be a mistake to report (H-261)."""
        return self.strict or any(isinstance(event, type) for event in self.vocabulary)

    @cached_property
    def passes_argument(self) -> bool:
        """Return True if any entry or exit handler takes the event's argument (H-110)."""
        return any(
            rule.takes_argument for rules in (self.entries, self.exits) for rule in rules.values()
        )

    @cached_property
    def children(self) -> dict[State, tuple[State, ...]]:
        """The children of each state and of `ROOT`, in document order."""
        children: dict[State, list[State]] = {ROOT: [], **{state: [] for state in self.states}}
        for state in self.states:
            if state.parent is not None:
                children[state.parent].append(state)
        return {state: tuple(below) for state, below in children.items()}

    @cached_property
    def paths(self) -> dict[State, tuple[State, ...]]:
        """For each state the way up to `ROOT`: the state itself first, `ROOT` last."""
        paths: dict[State, tuple[State, ...]] = {ROOT: (ROOT,)}
        for state in self.states:
            missing = []
            above: State = state
            while above not in paths:
                missing.append(above)
                above = above.parent or ROOT
            for below in reversed(missing):
                paths[below] = (below, *paths[below.parent or ROOT])
        return paths

    @cached_property
    def regions(self) -> dict[State, tuple[State, ...]]:
        """The regions of each state that has any, in document order (section 24)."""
        return {
            state: below
            for state, below in self.children.items()
            if below and isinstance(below[0], Region)
        }

    @cached_property
    def zones(self) -> dict[State, State | None]:
        """For each state the innermost region that it is in (or is); None outside of regions."""
        return {
            state: next((each for each in path if isinstance(each, Region)), None)
            for state, path in self.paths.items()
        }

    def lift(self, state: State, ancestor: State) -> State:
        """Return the state, or the owner of regions around it, that is in the zone of `ancestor`.

        Leaving a state in a region up to a state outside of it means leaving that owner.
        """
        zone = self.zones[ancestor]
        while (inner := self.zones[state]) is not zone:
            state = (inner or ROOT).parent or ROOT
        return state

    def crosses(self, source: State, target: State) -> bool:
        """Return True if the two are in different regions of one owner (H-254)."""
        scope = self.scope(source, target)
        different = scope not in (source, target) and source is not target
        return different and scope in self.regions

    def is_composite(self, state: State) -> bool:
        """Return True if a state has children of any kind; `ROOT` counts as composite."""
        return state is ROOT or bool(self.children.get(state))

    def is_below(self, state: State, other: State) -> bool:
        """Return True if `state` is a proper descendant of `other`."""
        return state is not other and other in self.paths[state]

    def scope(self, source: State, target: State) -> State:
        """The lca of section 1: what a transition from `source` to `target` does not leave."""
        if source is target:
            return source.parent or ROOT
        above = set(self.paths[target])
        return next(state for state in self.paths[source] if state in above)

    def between(self, state: State, ancestor: State) -> tuple[State, ...]:
        """The states from `state` up to, but not including, `ancestor`; innermost first."""
        path = self.paths[state]
        return path[: path.index(ancestor)]

    def can_rest_in(self, state: State) -> bool:
        """Return True if a state may be the leaf between steps (H-222)."""
        children = self.children.get(state)
        if state is ROOT or children is None or isinstance(state, Terminate):
            return False
        return all(isinstance(child, Final | Terminate) for child in children)
