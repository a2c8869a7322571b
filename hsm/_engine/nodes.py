"""Where a machine stands: the node of its leaf, its lifecycle phase, and what a handler may do.

A machine refers to one `Node`. A node belongs to one class, one table set (plain or traced) and one
state, and carries the phase, so that the configuration of a machine is that single reference: the
running machine in state S, the complete machine in its final state and the terminated machine stand
at different nodes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from ..states import State
from .codegen import Plan

if TYPE_CHECKING:
    from .._definition.chart import Rule
    from .dispatch_tables import Tables


class Phase(enum.Enum):
    """The lifecycle of a machine (H-040)."""

    NEW = "new"
    RUNNING = "running"
    COMPLETE = "complete"
    TERMINATED = "terminated"
    FAULTED = "faulted"


class Node:
    """A state of a running machine, or another phase of its life.

    Attributes:
        find: maps an event to the plan that treats it, None when nothing can; raises TypeError for
            an unhashable event. The only thing that `dispatch` looks at.
        passing: whether the state has an initial: it is then current only while that is taken.
        completes: the state that completes when this node is reached, if anybody would notice.
        rests: for events whose plan is the user's own function, the search that follows when it
            declines.
        grants: for events whose plan is the user's own function, what that may do; absent for
            functions that may take no transition.
        moves: for each value of the machine's `_hsm_event` that permits transitions their plans by
            target: an event, where a function found without a search runs, or an `Activation`.
    """

    __slots__ = (
        "completes",
        "completion",
        "find",
        "grants",
        "moves",
        "passing",
        "phase",
        "rests",
        "state",
        "tables",
    )

    def __init__(self, tables: Tables, state: State, phase: Phase, *, passing: bool) -> None:
        self.tables = tables
        self.state = state
        self.phase = phase
        self.passing = passing
        self.find: Callable[[Any], Plan | None] = _find_nothing
        self.completes: State | None = None
        self.completion: Plan | None = None
        self.rests: dict[Hashable, tuple[Rule, Plan | None]] = {}
        self.grants: dict[Hashable, Activation] = {}
        self.moves: dict[Hashable, dict[State, Plan]] = {}


def _find_nothing(event: Hashable) -> None:
    hash(event)


class Activation:
    """What the running user code may do: the permission for one in-handler call.

    While a search is under way, or an imperative initial, the machine's `_hsm_event` refers to the
    activation of the function that runs, and its `_hsm_searched` to the event. Taking a transition
    replaces the activation by its `taken` form, which permits nothing. Guards, effects, entry and
    exit handlers run under activations without moves.

    A function that an event finds without a search needs no activation to be set: the event itself
    stands for it, until a transition is taken.

    Attributes:
        source: the state being searched, completed or initialised (H-065); None outside of
            handlers.
        moves: the plan for each target that `transition` may be given.
        targets: the declared targets.
        recalls: the plans of `transition_history`.
        spent: whether the handler has taken its transition.
        refusal: why `transition` is refused when a target is not among the moves.
    """

    __slots__ = (
        "leaf",
        "moves",
        "recalls",
        "refusal",
        "rule",
        "source",
        "spent",
        "taken",
        "targets",
    )

    def __init__(
        self,
        source: State | None,
        refusal: str,
        *,
        leaf: State | None = None,
        rule: Rule | None = None,
    ) -> None:
        self.source = source
        self.refusal = refusal
        self.leaf = leaf
        self.rule = rule
        self.moves: dict[State, Plan] = {}
        self.targets: tuple[State, ...] = rule.targets if rule and leaf is not None else ()
        self.recalls: dict[tuple[State, Any], Plan] = {}
        self.taken = self
        self.spent = False
        if leaf is not None:
            refusal = "this handler has taken its transition; a handler takes one at most"
            self.taken = Activation(source, refusal, rule=rule)
            self.taken.spent = True


IDLE = Activation(None, "only a running imperative handler may take a transition")


def activation_of(m: Any) -> Activation:
    """What the running user code may do; `IDLE` when it may do nothing in particular."""
    event = m._hsm_event
    if type(event) is Activation:
        return event
    found: Activation = m._hsm_node.grants.get(event, IDLE)
    return found


def processed(m: Any) -> Any:
    """The event that the machine is at, whatever stands for it."""
    event = m._hsm_event
    return m._hsm_searched if type(event) is Activation else event


def activate(m: Any, activation: Activation) -> None:
    """Have `activation` stand for the event."""
    m._hsm_searched = processed(m)
    m._hsm_event = activation
