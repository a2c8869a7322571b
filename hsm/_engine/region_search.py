"""The search for an event in several regions at once (H-252, H-256).

Each region selects its candidate from its leaf outwards; all guards are evaluated before the first
candidate runs. Only if no region takes or defers the event does the state around them search. A
candidate that declines when it runs is followed by the search further out in its region.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from types import FunctionType
from typing import Any, Protocol

from .._definition.chart import Chart, Rule
from ..declarations import After
from ..states import ANY, DEFERRED, HANDLED, UNHANDLED, Outcome, State
from . import regions as active
from . import run_to_completion as steps
from .codegen import Lines, Plan
from .exit_and_entry_plans import Routes, trace
from .nodes import Node, Phase


class Tables(Protocol):
    """The parts of the dispatch tables that the search in regions uses."""

    chart: Chart
    traced: bool
    routes: Routes

    def finder(
        self, table: dict[Hashable, Plan], other: Plan | None, *, has_any: bool
    ) -> Callable[[Any], Plan | None]: ...

    def keeping(self, plan: Plan) -> Plan: ...

    def options(self, state: State, event: Hashable) -> tuple[list[tuple[Rule, str]], bool]: ...

    def search(
        self, leaf: State, path: tuple[State, ...], event: Hashable, *, begins: bool = True
    ) -> Plan: ...

    def levels(
        self, lines: Lines, leaf: State, path: tuple[State, ...], event: Hashable
    ) -> None: ...

    def run(
        self,
        lines: Lines,
        indent: str,
        leaf: State,
        rule: Rule,
        parameters: str,
        *,
        hooked: bool,
    ) -> None: ...

    def edge(self, leaf: State, rule: Rule, parameters: str) -> Plan: ...


class Selected:
    """A candidate that a region has selected: its plan, and the state that has it."""

    __slots__ = ("plan", "state")

    def __init__(self, state: State, plan: Plan) -> None:
        self.state = state
        self.plan = plan


class Deferring:
    """The answer of a region in which a state defers the event."""

    __slots__ = ("state",)

    def __init__(self, state: State) -> None:
        self.state = state


class Choosing:
    """A region's selection that has to evaluate guards, or to call hooks."""

    __slots__ = ("choose",)

    def __init__(self, choose: Callable[[Any, Any], Any]) -> None:
        self.choose = choose


class Nested:
    """A region in which a state with regions is active: they come first.

    Attributes:
        owner: the node of the state.
        own: what the region selects if none of them takes or defers the event.
        search: the same as a whole search, for when all of them decline.
    """

    __slots__ = ("own", "owner", "search")

    def __init__(self, owner: Node, own: Any, search: Plan) -> None:
        self.owner = owner
        self.own = own
        self.search = search


_OTHER: Any = type("_OTHER", (), {"__slots__": ()})()  # an event that no state declares

type Found = Selected | Deferring | FunctionType | None
"""A selection: nothing, a plan without the name of its state, or one of the above."""


def wait(m: Any, arg: Any) -> Outcome:
    """A state in a region defers the event; a sibling region may still take it."""
    return DEFERRED


class Group:
    """The selections of the regions of one state, for one event.

    Attributes:
        cell, regions: where the machine has the list of the regions, and that list: another one
            there shows that the state has been left since.
    """

    __slots__ = ("cell", "deferring", "items", "regions", "search")

    def __init__(self, cell: int, regions: list[Node], search: Plan) -> None:
        self.cell = cell
        self.regions = regions
        self.search = search
        self.items: list[Selected | Group | FunctionType] = []
        self.deferring: list[State] = []


class RegionSearch:
    """Fills the tables of the nodes that are in regions, or have some."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.chart = tables.chart
        self.traced = tables.traced
        below = set(self.chart.regions)
        self._is_flat = {
            owner: not any(
                other is not owner and owner in self.chart.paths[other] for other in below
            )
            for owner in below
        }

    def node_of(self, m: Any, event: After) -> Node:
        """The node of the region, or of the machine, in which a timer is armed."""
        state = next(
            state
            for state, rules in self.chart.timeouts.items()
            if any(rule.event is event for rule in rules)
        )
        node = active.zone_node(m, state)
        assert node is not None, f"a timer of {state.name} is armed, and the state is not active"
        return node

    # Filling ------------------------------------------------------------------------------------

    def fill(self, node: Node) -> bool:
        """Fill the table of a node, if that is a matter of regions."""
        state = node.state
        zone = self.chart.zones[state]
        if zone is None and state not in self.chart.regions:
            return False
        make = self._whole if zone is None else self._in_region
        table: dict[Hashable, Any] = {}
        if zone is None:
            table[ANY] = steps.refuse_any
        for event in self._visible(state):
            table[event] = make(node, event)
        if zone is None and None in table:
            table[None] = without_event(table[None])
        other = None
        if self.traced or self._has_any(state):
            other = make(node, _OTHER)
        if zone is None:
            node.find = self.tables.finder(table, other, has_any=self._has_any(state))
        elif other is None:
            node.find = table.get
        else:
            node.find = lambda event: table.get(event, other)
        return True

    def _states(self, state: State) -> list[State]:
        """The states that may be asked when this one is a leaf."""
        inner = [s for s in self.chart.states if state in self.chart.paths[s][1:]]
        zone = self.chart.zones[state]
        path = self.chart.paths[state]
        return [*inner, *(path if zone is None else path[: path.index(zone)])]

    def _visible(self, state: State) -> dict[Hashable, None]:
        events: dict[Hashable, None] = {}
        for each in self._states(state):
            events.update(dict.fromkeys(self.chart.candidates.get(each, ())))
            events.update(dict.fromkeys(each.defer))
        events.pop(ANY, None)
        return events

    def _has_any(self, state: State) -> bool:
        return any(ANY in self.chart.candidates.get(each, ()) for each in self._states(state))

    # In a region --------------------------------------------------------------------------------

    def _path(self, leaf: State) -> tuple[State, ...]:
        """The states that a region asks, from its leaf outwards."""
        path = self.chart.paths[leaf]
        zone = self.chart.zones[leaf]
        return path if zone is None else path[: path.index(zone)]

    def _in_region(self, node: Node, event: Hashable) -> Any:
        path = self._path(node.state)
        own = self._selection(node.state, path, event)
        if node.regions is None:
            return own
        return Nested(node, own, self.tables.search(node.state, path, event, begins=False))

    def _selection(self, leaf: State, path: tuple[State, ...], event: Hashable) -> Any:
        """The selection of a region: known at once, or a `Choosing` that evaluates guards."""
        lines = Lines()
        chooses = self.traced
        if self.traced:
            lines.add("event = m.event")
        for index, state in enumerate(path):
            options, defers = self.tables.options(state, event)
            if self.traced or (options and options[0][0].guard is not None):
                lines.add("m._hsm_active = {}", self.tables.routes.marks[state])
            if self.traced:
                trace(lines, "dispatch_attempt", state, names="{0}, event")
            for rule, parameters in options:
                run = self._run(leaf, state, rule, parameters, path[index + 1 :], event)
                if rule.guard is None:
                    if not chooses:
                        return run.plan
                    lines.add("return {}", run)
                    return Choosing(lines.compile())
                chooses = True
                lines.add(f"if {{}}{parameters}: return {{}}", rule.guard, run)
            if defers:
                if not chooses:
                    return Deferring(state)
                lines.add("return {}", Deferring(state))
                return Choosing(lines.compile())
            if self.traced:
                lines.add("result = {}", UNHANDLED)
                trace(lines, "dispatch_result", state, names="{0}, event, result")
        if not chooses:
            return None
        lines.add("return None")
        return Choosing(lines.compile())

    def _run(
        self,
        leaf: State,
        state: State,
        rule: Rule,
        parameters: str,
        above: tuple[State, ...],
        event: Hashable,
    ) -> Selected:
        """The plan of a candidate, with the search further out for when it declines."""
        if rule.is_declarative and not self.traced:
            return Selected(state, self.tables.edge(leaf, rule, parameters))
        lines = Lines()
        if self.traced:
            lines.add("event = m.event")
        self.tables.run(lines, "", leaf, rule, parameters, hooked=self.traced)
        if self.traced:
            trace(lines, "dispatch_result", state, names="{0}, event, result")
            lines.add("if result is not {}: return result", UNHANDLED)
        if not rule.is_declarative:
            self.tables.levels(lines, leaf, above, event)
        else:
            lines.add("return result")
        return Selected(state, lines.compile())

    # In the outermost state with regions --------------------------------------------------------

    def _whole(self, node: Node, event: Hashable) -> Plan:
        path = self.chart.paths[node.state]
        search = self.tables.search(node.state, path, event, begins=False)
        plan = self._general(node, search)
        is_plain = self._is_flat[node.state] and len(self.chart.regions[node.state]) == 2
        if is_plain and not self.traced and event is not _OTHER:
            plan = self._pair(node, event, search, plan)
        return self.tables.keeping(plan)

    def _pair(self, owner: Node, event: Hashable, search: Plan, general: Plan) -> Plan:
        """The plan for two regions without regions inside: as `_general`, and nothing is built."""
        cell: Any = owner.regions
        mark = self.tables.routes.marks[owner.state]

        def plan(m: Any, arg: Any) -> Outcome:
            memory = m._hsm_memory
            regions = memory[cell]
            first, second = regions
            one: Any = first.find(event)
            other: Any = second.find(event)
            if (one is not None and type(one) is not FunctionType) or (
                other is not None and type(other) is not FunctionType
            ):
                return general(m, arg)
            try:
                result = UNHANDLED if one is None else one(m, arg)
                if other is not None and memory[cell] is regions:
                    answer = other(m, arg)
                    if result is not HANDLED and answer is not UNHANDLED:
                        result = answer
                if result is HANDLED:
                    return result
                m._hsm_active = mark
                return search(m, arg) if result is UNHANDLED else steps.defer(m, arg)
            except BaseException:
                if m._hsm_node.phase is Phase.FAULTED:
                    memory[cell] = [first, second]
                raise

        return plan

    def _general(self, owner: Node, search: Plan) -> Plan:
        cell: Any = owner.regions
        mark = self.tables.routes.marks[owner.state]

        def plan(m: Any, arg: Any) -> Outcome:
            event = m.event
            if self.traced:
                m._hsm_active = mark
                m.trace_dispatch_start(event, arg)
                m._hsm_observer.trace_dispatch_start(m, event, arg)
            group = Group(cell, m._hsm_memory[cell], search)
            self._collect(m, group, event, arg)

            def carry_out(m: Any, arg: Any) -> Outcome:
                result = self._carry_out(m, group, arg)
                if result is HANDLED:
                    return result
                m._hsm_active = mark
                return search(m, arg) if result is UNHANDLED else steps.defer(m, arg)

            result: Outcome = active.guarded(m, carry_out, arg)
            for state in group.deferring if self.traced else ():
                self._trace_result(m, state, UNHANDLED if result is HANDLED else DEFERRED)
            return result

        return plan

    def _collect(self, m: Any, group: Group, event: Hashable, arg: Any) -> None:
        """Have every region of a state select; the guards are evaluated here."""
        for node in group.regions:
            found: Any = node.find(event)
            if type(found) is Nested:
                cell: Any = found.owner.regions
                inner = Group(cell, m._hsm_memory[cell], found.search)
                self._collect(m, inner, event, arg)
                if inner.items:
                    group.items.append(inner)
                group.deferring += inner.deferring
                if inner.items or inner.deferring:
                    continue
                found = found.own
            if type(found) is Choosing:
                found = found.choose(m, arg)
            if type(found) is Deferring:
                group.deferring.append(found.state)
            elif found is not None:
                group.items.append(found)

    def _carry_out(self, m: Any, group: Group, arg: Any) -> Outcome:
        """Run what the regions have selected, each whole; HANDLED if any of it took the event."""
        result = DEFERRED if group.deferring else UNHANDLED
        for item in group.items:
            if m._hsm_memory[group.cell] is not group.regions:
                if self.traced:
                    self._trace_dropped(m, item)
                continue
            answer: Outcome
            if isinstance(item, Group):
                answer = self._carry_out(m, item, arg)
                if answer is UNHANDLED:
                    answer = item.search(m, arg)
            else:
                plan: Any = item.plan if isinstance(item, Selected) else item
                answer = plan(m, arg)
            if answer is HANDLED or result is UNHANDLED:
                result = answer
        return result

    def _trace_dropped(self, m: Any, item: Any) -> None:
        """A candidate is not run: its state has been left since it was selected."""
        if isinstance(item, Group):
            for inner in item.items:
                self._trace_dropped(m, inner)
        else:
            self._trace_result(m, item.state, UNHANDLED)

    def _trace_result(self, m: Any, state: State, result: Outcome) -> None:
        m._hsm_active = self.tables.routes.marks[state]
        m.trace_dispatch_result(state, m.event, result)
        m._hsm_observer.trace_dispatch_result(m, state, m.event, result)


def without_event(plan: Plan) -> Plan:
    """None is an event like others, but between steps it stands for `no step`."""

    def begin(m: Any, arg: Any) -> Any:
        m._hsm_event = steps.NO_EVENT
        return plan(m, arg)

    return begin
