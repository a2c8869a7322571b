"""The active regions of a machine: which nodes they stand at, how they are left and restored.

While a state with regions is active, a cell of the machine's memory has a list with the node of
each of its regions; `_hsm_node` is that of the outermost such state, or of the only leaf. The list
is a new one whenever the state is entered, so that an old one shows that the state has been left
since. Nothing here is called for charts without regions (H-259).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .._definition.chart import Chart
from ..states import ROOT, Final, Region, State
from . import run_to_completion as steps
from .nodes import Node, Phase

type Leaf = State | Branched
"""A leaf; or a state with regions, with what is active in each of them."""


@dataclass(frozen=True, slots=True)
class Branched:
    """A state with regions and the leaf of each region; None for a region that is not to be kept.

    Attributes:
        state: the state.
        parts: the leaves in the order of the regions.
    """

    state: State
    parts: tuple[Leaf | None, ...]

    @property
    def states(self) -> Iterator[State]:
        """The leaves, those of inner regions included."""
        for part in self.parts:
            if isinstance(part, Branched):
                yield from part.states
            elif part is not None:
                yield part

    @property
    def is_final(self) -> bool:
        """Return True if all regions are at their final states."""
        return all(isinstance(p, Final) and isinstance(p.parent, Region) for p in self.parts)


def state_of(leaf: Leaf) -> State:
    """The leaf itself, or the state whose regions have the leaves."""
    return leaf.state if isinstance(leaf, Branched) else leaf


# What is active -----------------------------------------------------------------------------------


def nodes_of(m: Any, node: Node) -> tuple[Node | None, ...]:
    """The nodes of the regions of a node's state; empty without regions."""
    if node.regions is None:
        return ()
    found = m._hsm_memory[node.regions]
    return () if found is None else tuple(found)


def leaves(m: Any) -> Iterator[State]:
    """The active leaves in document order (H-251)."""
    yield from _leaves(m, m._hsm_node)


def _leaves(m: Any, node: Node) -> Iterator[State]:
    inner = [each for each in nodes_of(m, node) if each is not None]
    if not inner:
        yield node.state
    for each in inner:
        yield from _leaves(m, each)


def active_states(m: Any) -> Iterator[State]:
    """Every active state once: the inner ones of each region first, `ROOT` last."""
    chart: Chart = m._hsm_node.tables.chart
    yield from _active(m, chart, m._hsm_node)


def _active(m: Any, chart: Chart, node: Node) -> Iterator[State]:
    for inner in nodes_of(m, node):
        if inner is not None:
            yield from _active(m, chart, inner)
    zone = chart.zones[node.state]
    for state in chart.paths[node.state]:
        yield state
        if state is zone:
            return


def zone_node(m: Any, state: State) -> Node | None:
    """The node of the region that a state is in, or of the machine; None if that is not active."""
    node: Node = m._hsm_node
    home = node.tables.nodes[state].home
    if home is None:
        return node
    zone = node.tables.chart.zones[state] or ROOT
    if not is_in(m, zone.parent or ROOT):
        return None
    regions = m._hsm_memory[home[0]]
    found: Node | None = None if regions is None else regions[home[1]]
    return found


def is_in(m: Any, state: State) -> bool:
    """Return True if a state is active (H-251)."""
    tables = m._hsm_node.tables
    if state not in tables.nodes:
        return False
    node = zone_node(m, state)
    return node is not None and state in tables.chart.paths[node.state]


def shape(m: Any, node: Node) -> Leaf:
    """Everything that is active in a node's state."""
    if node.regions is None:
        return node.state
    inner = nodes_of(m, node)
    return Branched(node.state, tuple(None if e is None else shape(m, e) for e in inner))


def worth_keeping(leaf: Leaf | None) -> Leaf | None:
    """The part of a configuration that history remembers: all but final states (H-120, H-257)."""
    if leaf is None or isinstance(leaf, Final | Region):
        return None
    if isinstance(leaf, Branched):
        return Branched(leaf.state, tuple(worth_keeping(part) for part in leaf.parts))
    return leaf


def build(m: Any, tables: Any, leaf: Leaf) -> Node:
    """Fill the lists of all regions as `shape` has found them; return the node."""
    node: Node = tables.nodes[state_of(leaf)]
    if isinstance(leaf, Branched):
        inner = [None if part is None else build(m, tables, part) for part in leaf.parts]
        m._hsm_memory[node.regions] = inner
    return node


# What the plans call ------------------------------------------------------------------------------


def clear(m: Any) -> None:
    """The machine has ended: no region is active any more."""
    for cell in m._hsm_node.tables.memories.regions.values():
        m._hsm_memory[cell] = None


def guarded(m: Any, plan: Any, arg: Any) -> Any:
    """Run a plan; if it leaves the machine faulted, the leaves are those of before (H-258)."""
    node = m._hsm_node
    before = shape(m, node)
    try:
        return plan(m, arg)
    except BaseException:
        if m._hsm_node.phase is Phase.FAULTED:
            clear(m)
            build(m, node.tables, before)
        raise


def raise_completion(m: Any, leaf: State) -> None:
    """Reaching a leaf has completed a state; several are processed in this order (H-255)."""
    steps.agenda_of(m).completions.append(leaf)


def drop_completion(m: Any, state: State) -> None:
    """A state is left: a completion of it that is pending is not processed any more."""
    due = m._hsm_due
    if isinstance(due, steps.Agenda) and due.completions:
        nodes = m._hsm_node.tables.nodes
        due.completions = [leaf for leaf in due.completions if nodes[leaf].completes is not state]


def end_region(m: Any, owner: Node) -> None:
    """A region has reached a final state; the owner completes when all have (H-255)."""
    regions = m._hsm_memory[owner.regions]
    for node in regions:
        if node is None or not isinstance(node.state, Final):
            return
        if not isinstance(node.state.parent, Region):
            return
    m._hsm_memory[owner.tables.memories.cells[owner.state]] = None
    if owner.completes is not None:
        raise_completion(m, owner.state)
