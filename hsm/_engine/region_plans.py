"""The parts of transitions that orthogonal regions add (section 24).

Each region is entered and left by plans of its own, which the plans of the states around call: so
their number grows with the states, not with the combinations of leaves (H-259).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from .._definition.chart import Chart, Rule
from ..states import HANDLED, ROOT, SHALLOW, Final, History, Outcome, Region, State, Terminate
from . import regions as active
from .codegen import Plan, Script
from .history import Memories
from .nodes import Activation, Node, Phase
from .regions import Branched, Leaf, state_of

type Call = tuple[Any, ...]
"""A template and its operands."""

CROSSING = (
    "it is in another region of the same state; lead to a state outside of it, or post an event to "
    "the other region"
)


class Routes(Protocol):
    """The parts of the transitions that the ways into and out of regions use."""

    chart: Chart
    nodes: dict[State, Node]
    memories: Memories

    def transition(
        self,
        leaf: State,
        source: State,
        target: State,
        effect: Call | None,
        edge: tuple[State, Hashable, State],
        *,
        scope: State | None = None,
        default: Rule | None = None,
        activation: Activation | None = None,
        restores: bool = False,
    ) -> Plan: ...

    def exit(self, script: Script, exited: tuple[State, ...]) -> None: ...

    def enter(self, script: Script, target: State, scope: State) -> tuple[State, ...]: ...

    def enter_regions(self, script: Script, later: tuple[State, ...]) -> None: ...

    def arrive(self, script: Script, target: State, *, restores: bool = False) -> None: ...

    def take_initial(self, script: Script, rule: Rule, owner: State) -> None: ...


class RegionParts:
    """Writes what a transition does in regions."""

    def __init__(self, routes: Routes) -> None:
        self.routes = routes
        self.chart = routes.chart
        self.cells = routes.memories.cells
        self.may_terminate = any(isinstance(state, Terminate) for state in self.chart.states)
        self._initials: dict[State, Plan] = {}
        self._ways_in: dict[tuple[State, State, bool], Plan] = {}
        self._ways_out: dict[State, Plan] = {}

    # Leaving ------------------------------------------------------------------------------------

    def leave(self, script: Script, leaf: State, scope: State) -> None:
        """Leave everything from the leaf, and from its region's siblings, up to the scope."""
        self._leave(script, self.chart.lift(leaf, scope), scope)

    def _leave(self, script: Script, leaf: State, scope: State, *, region: bool = False) -> None:
        exited = self.chart.between(leaf, scope)
        branches = leaf in self.chart.regions
        cells = [self.cells[state] for state in exited if state in self.cells and state is not leaf]
        if region:
            cells.append(self.cells[scope])
        if cells:
            kept = "{}"
            operand: Any = None if isinstance(leaf, Final | Region) else leaf
            if branches:
                kept, operand = "{}(m)", self._keeper(leaf)
            script.add("memory = m._hsm_memory")
            script.add("memory[{}] = " * len(cells) + kept, *cells, operand)
        if branches:
            script.user(f"{{}}(m, {script.argument})", self._leaving(leaf))
        for state in exited:
            if state in self.chart.completions:
                script.add("{}(m, {})", active.drop_completion, state)
        self.routes.exit(script, exited)

    def _keeper(self, owner: State) -> Any:
        node = self.routes.nodes[owner]

        def keep(m: Any) -> Leaf | None:
            return active.worth_keeping(active.shape(m, node))

        return keep

    def _leaving(self, owner: State) -> Plan:
        """The plan that leaves all regions of a state, the last one first (H-253)."""
        cell, node = self.routes.nodes[owner].regions, self.routes.nodes[owner]
        regions = self.chart.regions[owner]

        def leave(m: Any, arg: Any) -> Outcome:
            memory = m._hsm_memory
            kept = active.worth_keeping(active.shape(m, node))
            memory[self.cells[owner]] = (
                kept if isinstance(kept, Branched) and any(kept.parts) else None
            )
            inner = memory[cell]
            for index in reversed(range(len(regions))):
                if inner[index] is not None:
                    self._way_out(inner[index].state, regions[index])(m, arg)
                    inner[index] = None
            memory[cell] = None
            return HANDLED

        return leave

    def _way_out(self, leaf: State, region: State) -> Plan:
        plan = self._ways_out.get(leaf)
        if plan is None:
            script = Script()
            self._leave(script, leaf, region, region=True)
            script.settle()
            script.add("return {}", HANDLED)
            plan = self._ways_out[leaf] = script.compile()
        return plan

    # Entering -----------------------------------------------------------------------------------

    def siblings(self, script: Script, region: State) -> tuple[State, ...]:
        """Begin with the regions of an owner, up to the one that a path leads into.

        Returns:
            The regions that are to be entered when that path has come to its end.
        """
        regions = self._begin(script, region)
        index = regions.index(region)
        for before in regions[:index]:
            self.by_initial(script, before)
        return regions[index + 1 :]

    def _begin(self, script: Script, region: State) -> tuple[State, ...]:
        owner = region.parent or ROOT
        regions = self.chart.regions[owner]
        cell = self.routes.nodes[owner].regions
        script.settle()
        script.add(f"m._hsm_memory[{{}}] = [{', '.join(['None'] * len(regions))}]", cell)
        return regions

    def by_initials(self, script: Script, regions: tuple[State, ...]) -> None:
        """Enter the regions that come after one that has been entered."""
        self._unless_ended(script)
        for region in regions:
            self.by_initial(script, region)

    def by_initial(self, script: Script, region: State) -> None:
        """Enter a region by its initial."""
        self._call(script, self._initial(region))

    def _initial(self, region: State) -> Plan:
        plan = self._initials.get(region)
        if plan is None:
            script = self._inside(region)
            self.routes.take_initial(script, self.chart.initials[region], region)
            plan = self._initials[region] = self._finish(script)
        return plan

    def _inside(self, region: State) -> Script:
        script = Script()
        script.add("outer = m._hsm_active")
        script.at(self.routes.nodes[region])
        return script

    def _finish(self, script: Script) -> Plan:
        script.end("")
        script.settle()
        script.add("m._hsm_active = outer")  # an initial has changed it
        script.add("return {}", HANDLED)
        return script.compile()

    def _call(self, script: Script, plan: Plan) -> None:
        script.user(f"{{}}(m, {script.argument})", plan)
        self._unless_ended(script)

    def _unless_ended(self, script: Script) -> None:
        """Have what follows depend on the machine: a region may have ended it."""
        if self.may_terminate:
            script.begin("if m._hsm_node.phase is {}:", Phase.RUNNING)

    def _way_in(self, region: State, target: State, *, restores: bool = False) -> Plan:
        """The plan that enters the way from a region to a state inside it, and activates it."""
        plan = self._ways_in.get((region, target, restores))
        if plan is None:
            script = self._inside(region)
            if restores:
                script.add("restored = m._hsm_memory[{}]", self.routes.memories.restored)
            later = self.routes.enter(script, target, region)
            self.routes.arrive(script, target, restores=restores)
            self.routes.enter_regions(script, later)
            plan = self._ways_in[region, target, restores] = self._finish(script)
        return plan

    def arrive(
        self, script: Script, target: State, fork: tuple[State, ...], *, restores: bool
    ) -> None:
        """Activate a state: enter its regions; or note what its reaching has completed."""
        node = self.routes.nodes[target]
        if isinstance(target, Final) and isinstance(target.parent, Region):
            owner = target.parent.parent or ROOT
            script.settle()
            script.add("{}(m, {})", active.end_region, self.routes.nodes[owner])
        elif target not in self.chart.regions:
            if node.completes is not None:
                script.add("{}(m, {})", active.raise_completion, target)
        else:
            regions = self._begin(script, self.chart.regions[target][0])
            if restores:
                script.user(f"{{}}(m, {script.argument}, restored)", self._restoring(target))
                return
            for region in regions:
                inside = next((each for each in fork if region in self.chart.paths[each]), None)
                if inside is None:
                    self.by_initial(script, region)
                else:
                    self._call(script, self._way_in(region, inside))

    # History ------------------------------------------------------------------------------------

    def _restoring(self, owner: State) -> Any:
        """The function that enters the regions of a state as they are remembered (H-257)."""
        regions = self.chart.regions[owner]
        cell = self.routes.memories.restored

        def restore(m: Any, arg: Any, parts: tuple[Leaf | None, ...]) -> None:
            for region, part in zip(regions, parts, strict=True):
                if m._hsm_node.phase is not Phase.RUNNING:
                    return
                if part is None:
                    self._initial(region)(m, arg)
                elif isinstance(part, Branched):
                    m._hsm_memory[cell] = part.parts
                    self._way_in(region, part.state, restores=True)(m, arg)
                else:
                    self._way_in(region, part)(m, arg)

        return restore

    def recall(
        self,
        leaf: State,
        source: State,
        owner: State,
        kind: History,
        effect: Call | None,
        edge: tuple[State, Hashable, State],
        *,
        entering: bool,
        activation: Activation | None,
    ) -> Plan:
        """`Routes.recall` for charts with regions: what is restored may be in several of them."""
        chart = self.chart
        left = owner.parent if isinstance(owner, Region) else owner
        around = source in chart.paths[left or ROOT] and not entering
        cell, restored = self.cells[owner], self.routes.memories.restored
        plans: dict[tuple[State | None, bool, bool], Plan] = {}

        def build(target: State | None, *, restores: bool, external: bool) -> Plan:
            default = None
            if target is None:
                default = chart.defaults.get((owner, kind))
                target = owner if default is None else default.target
            scope = None
            if external:
                scope = source.parent if source is left else source
            return self.routes.transition(
                leaf,
                source,
                target or owner,
                effect,
                edge,
                scope=scope,
                default=default,
                activation=activation,
                restores=restores,
            )

        def plan(m: Any, arg: Any) -> Outcome:
            external = around and active.is_in(m, owner)
            kept = self._left(m, owner) if external else m._hsm_memory[cell]
            target, parts = self._restored(owner, kind, kept)
            key = target, parts is not None, external
            chosen = plans.get(key)
            if chosen is None:
                chosen = plans[key] = build(target, restores=key[1], external=external)
            m._hsm_memory[restored] = parts
            return chosen(m, arg)

        return plan

    def _left(self, m: Any, owner: State) -> Leaf | None:
        """The memory that leaving a state now would write; a final state counts as nothing."""
        node = active.zone_node(m, owner)
        if node is None or (node.state is owner and owner not in self.chart.regions):
            return None
        return active.worth_keeping(active.shape(m, node))

    def _restored(
        self, owner: State, kind: History, kept: Leaf | None
    ) -> tuple[State | None, tuple[Leaf | None, ...] | None]:
        """The target, and what is to be entered in its regions if it has any."""
        if kept is None:
            return None, None
        if isinstance(kept, Branched) and kept.state is owner:
            if not any(kept.parts):
                return None, None
            if kind is SHALLOW:
                regions = self.chart.regions[owner]
                parts = zip(regions, kept.parts, strict=True)
                return owner, tuple(part and self._child(region, part) for region, part in parts)
            return owner, kept.parts
        if kind is SHALLOW:
            return self._child(owner, kept), None
        return state_of(kept), kept.parts if isinstance(kept, Branched) else None

    def _child(self, owner: State, leaf: Leaf) -> State:
        return self.chart.between(state_of(leaf), owner)[-1]

    # Permissions --------------------------------------------------------------------------------

    def refuses(self, activation: Activation, target: State) -> bool:
        """Note why a handler may not take the transition to a target, if it may not (H-254)."""
        if self.chart.crosses(activation.source, target):
            activation.refused[target] = CROSSING
        elif isinstance(target, Region):
            activation.refused[target] = "it is a region; name its owner or a state inside it"
        return target in activation.refused
