"""The position of a machine (node and lifecycle phase), and the permissions of handlers.

A machine refers to one `Node`. A node belongs to one class, one table set (plain or traced) and one
state, and carries the phase, so that the configuration of a machine is that single reference: the
running machine in state S, the complete machine in its final state and the terminated machine stand
at different nodes. During a transition the machine stands at the node of the innermost state that
is active at that moment (H-085).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from .._definition.chart import Chart, Rule
from ..states import State
from .codegen import Plan
from .history import Memories


class Phase(enum.Enum):
    """The lifecycle of a machine (H-040)."""

    NEW = "new"
    RUNNING = "running"
    COMPLETE = "complete"
    TERMINATED = "terminated"
    FAULTED = "faulted"


class TableSet(Protocol):
    """The part of `dispatch_tables.Tables` that a machine finds through its node."""

    chart: Chart
    memories: Memories
    new: Node
    held: Node
    start: Plan
    nodes: dict[State, Node]
    routes: Any

    def source(self, leaf: State, event: Hashable) -> State: ...
    def completion(self, node: Node) -> Plan: ...
    def timeout(self, m: Any, event: Any) -> Plan: ...
    def guarded(self, m: Any, plan: Plan, arg: Any) -> Any: ...


class Node:
    """A state of a running machine, or another phase of its life.

    Attributes:
        find: maps an event to the plan that treats it, None when nothing can; raises TypeError for
            an unhashable event. The only thing that `dispatch` looks at. In a phase other than
            RUNNING every plan refuses.
        completes: the state that completes when this node is reached, if it has candidates.
        completion: the search for what follows that completion; None until it is needed.
        rests: for events whose plan is the user's own function, the rule, and the search that
            follows when the function declines.
        grants: for events whose plan is the user's own function, what that may do; absent for
            functions that may take no transition.
        home: for a state in a region, where the machine's node of that region is: the cell of the
            memory, and the position among the regions. None outside of regions.
        regions: for a state with regions, the cell of the memory that has their nodes.
    """

    __slots__ = (
        "completes",
        "completion",
        "find",
        "grants",
        "home",
        "phase",
        "regions",
        "rests",
        "state",
        "tables",
    )

    def __init__(
        self, tables: TableSet, state: State, phase: Phase, refuse: Plan | None = None
    ) -> None:
        self.tables = tables
        self.state = state
        self.phase = phase
        self.find: Callable[[Any], Plan | None] = hash_only
        self.completes: State | None = None
        self.completion: Plan | None = None
        self.rests: dict[Hashable, tuple[Rule, Plan | None]] = {}
        self.grants: dict[Hashable, Activation] = {}
        self.home: tuple[int, int] | None = None
        self.regions: int | None = tables.memories.regions.get(state)
        if refuse is not None:
            self.find = _always(refuse)


def hash_only(event: Hashable) -> None:
    """Find nothing; raise TypeError for an unhashable event."""
    hash(event)


def _always(plan: Plan) -> Callable[[Any], Plan]:
    def find(event: Hashable) -> Plan:
        hash(event)
        return plan

    return find


class Activation:
    """The permission of the running user code for one in-handler call.

    The machine's `_hsm_active` refers to the activation of the user code that runs. Taking a
    transition replaces that of a handler by its `taken` form, which permits nothing. Guards,
    effects, entry and exit handlers run under activations without moves.

    While a function runs that an event finds without a search, `_hsm_active` is None, and the
    node's `grants` has its activation.

    Attributes:
        source: the state being searched, completed or initialised (H-065).
        refusal: why `transition` is refused when a target is not among the moves.
        leaf: the leaf at which the handler runs; None for other user code.
        rule: the declaration of the handler.
        moves: the plan for each target that `transition` may be given.
        refused: for declared targets that `transition` may not be given, why (H-254).
        targets: the declared targets.
        recalls: the plans of `transition_history`, by owner and kind.
        choices: the plans of `choice`, by owner.
        spent: whether the handler has taken its transition.
    """

    __slots__ = (
        "choices",
        "leaf",
        "moves",
        "recalls",
        "refusal",
        "refused",
        "rule",
        "source",
        "spent",
        "taken",
        "targets",
    )

    def __init__(
        self,
        source: State,
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
        self.refused: dict[State, str] = {}
        self.targets: tuple[State, ...] = rule.targets if rule and leaf is not None else ()
        self.recalls: dict[tuple[State, Any], Plan] = {}
        self.choices: dict[State, Plan] = {}
        self.taken = self
        self.spent = False
        if leaf is not None:
            refusal = (
                "this handler has taken its transition; a handler takes one at most, and guards, "
                "effects, entry and exit handlers take none"
            )
            self.taken = Activation(source, refusal, rule=rule)
            self.taken.spent = True


def activation_of(m: Any) -> Activation | None:
    """Return the activation of the running user code; None when no handler with targets runs."""
    active: Activation | None = m._hsm_active
    return active or m._hsm_node.grants.get(m._hsm_event)
