"""The plan of each leaf for each event, worked out once (H-196).

For a leaf and an event the search of H-061 is a fixed chain: the candidates of the leaf, of its
parent and so on up to `ROOT`. `Tables` writes that chain as one function per leaf and event. The
table of a leaf is filled when the first machine of the class asks it for an event, since a large
chart has many more pairs of leaf and event than any run visits; from then on it does not change.

Where the chain begins with an unguarded edge it is the edge's plan, and where it begins with an
unguarded handler it is the user's own function. A class has two sets of tables, plain and traced,
and a machine stands on a node of one of them; so tracing that is not used costs nothing (H-178).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any

from .._definition.chart import Chart, Rule
from ..declarations import After
from ..states import ANY, HANDLED, ROOT, UNHANDLED, Final, Outcome, State
from . import inquiry, regions
from . import run_to_completion as steps
from .codegen import Lines, Plan
from .exit_and_entry_plans import Routes, trace
from .history import Memories
from .nodes import Activation, Node, Phase
from .region_plans import Call
from .region_search import RegionSearch, wait, without_event

NO_TARGETS = "this handler declares no targets; add targets=… to its declaration"


class Tables:
    """The nodes and plans of one class, plain or traced.

    Attributes:
        new: the node of a new machine that will start by itself; `held` of one that will not.
        terminated: the node of a terminated machine.
        nodes: the node of each state of a running machine, `ROOT` included.
        start: takes a new machine through its initial step; ends the step itself.
    """

    def __init__(self, chart: Chart, memories: Memories, *, traced: bool) -> None:
        self.chart = chart
        self.traced = traced
        self.memories = memories
        self.nodes = {state: Node(self, state, Phase.RUNNING) for state in (ROOT, *chart.states)}
        self.new = Node(self, ROOT, Phase.NEW, steps.refuse_to_run)
        self.held = Node(self, ROOT, Phase.NEW, steps.refuse_to_run)
        self.terminated = Node(self, ROOT, Phase.TERMINATED, steps.refuse_to_run)
        self.routes = Routes(chart, self.nodes, self.terminated, memories, traced=traced)
        self._has_imperative_initial = any(
            not rule.is_declarative for rule in chart.initials.values()
        )
        self._timeouts: dict[tuple[State, After], Plan] = {}
        self._filling = threading.RLock()
        self.regional = RegionSearch(self) if chart.regions else None
        self.start: Plan = self._first_start
        for state, node in self.nodes.items():
            node.find = self._filler(node)
            if isinstance(state, Final):
                node.completes = state.parent if state.parent in chart.completions else None
            elif state in chart.completions:
                reaches = state in chart.regions or not chart.is_composite(state)
                node.completes = state if reaches else None
        for state, node in self.nodes.items():
            zone = chart.zones[state]
            if zone is not None and zone.parent is not None:
                index = chart.regions[zone.parent].index(zone)
                node.home = memories.regions[zone.parent], index

    def guarded(self, m: Any, plan: Plan, arg: Any) -> Outcome:
        """Run a plan; with regions, an exception leaves them as they were before (H-258)."""
        if self.regional is None:
            return plan(m, arg)
        result: Outcome = regions.guarded(m, plan, arg)
        return result

    def _first_start(self, m: Any, arg: Any) -> Outcome:
        self.start = self.routes.start()
        return self.start(m, arg)

    def source(self, leaf: State, event: Hashable) -> State:
        """The state whose function or edge an event finds first, when no search is needed."""
        for state in self.chart.paths[leaf]:
            if event in self.chart.candidates.get(state, ()):
                return state
        return leaf

    def completion(self, node: Node) -> Plan:
        """Return the search that follows the completion that reaching `node` raises (H-134)."""
        if node.completion is None:
            state = node.completes or ROOT
            options = [(rule, "(m)") for rule in self.chart.completions.get(state, ())]
            lines = Lines()
            self._level(lines, node.state, state, options, hooks=False)
            _conclude(lines)
            node.completion = lines.compile()
        return node.completion

    def timeout(self, m: Any, event: After) -> Plan:
        """Return the plan of a time event in a leaf; only its own state is asked (H-243)."""
        node: Node = m._hsm_node
        if self.regional is not None:
            node = self.regional.node_of(m, event)
        plan = self._timeouts.get((node.state, event))
        if plan is None:
            rule = next(
                rule
                for state in self.chart.paths[node.state]
                for rule in self.chart.timeouts.get(state, ())
                if rule.event is event
            )
            state = rule.state or ROOT
            lines = Lines()
            if self.traced:
                lines.add("event = m.event")
                lines.add("m._hsm_active = {}", self.routes.marks[state])
                trace(lines, "dispatch_start", names="event, arg")
            self._level(lines, node.state, state, [(rule, "(m)")])
            _conclude(lines)
            plan = self._timeouts[node.state, event] = lines.compile()
        return plan

    # Filling ------------------------------------------------------------------------------------

    def _filler(self, node: Node) -> Callable[[Hashable], Plan | None]:
        def fill_and_find(event: Hashable) -> Plan | None:
            with self._filling:
                if node.find is fill_and_find:
                    self._fill(node)
            return node.find(event)

        return fill_and_find

    def _fill(self, node: Node) -> None:
        if self.regional is not None and self.regional.fill(node):
            return
        leaf = node.state
        path = self.chart.paths[leaf]
        visible: dict[Hashable, None] = {}
        for state in path:
            visible.update(dict.fromkeys(self.chart.candidates.get(state, ())))
            visible.update(dict.fromkeys(state.defer))
        has_any = ANY in visible
        visible.pop(ANY, None)
        table: dict[Hashable, Plan] = {ANY: steps.refuse_any}
        for event in visible:
            table[event] = self._plan(node, event)
        other = None
        if has_any or self.traced:
            other = self._whole_search(leaf, path, object())
        node.find = self.finder(table, other, has_any=has_any)

    def finder(
        self, table: dict[Hashable, Plan], other: Plan | None, *, has_any: bool
    ) -> Callable[[Any], Plan | None]:
        """Return the `find` of a node: from a table, and `other` for events that are not there."""
        if self.chart.checks_events:
            other = _checking(other or _take_nothing, has_any=has_any)
        return table.get if other is None else _OpenTable(table, other).__getitem__

    def _plan(self, node: Node, event: Hashable) -> Plan:
        leaf = node.state
        path = self.chart.paths[leaf]
        if event is None:
            return without_event(self._whole_search(leaf, path, event))
        keeps = self.memories.argument is not None
        if not self.traced:
            for index, state in enumerate(path):
                rules = self.chart.candidates.get(state, {}).get(event, ())
                if rules and rules[0].guard is None:
                    if rules[0].is_declarative and not (keeps and self._has_imperative_initial):
                        return self.edge(leaf, rules[0], "(m, arg)")
                    if rules[0].function is not None and not (keeps or rules[0].is_declarative):
                        above = path[index + 1 :]
                        rest = self.search(leaf, above, event) if above else None
                        node.rests[event] = (rules[0], rest)
                        if rules[0].targets:
                            node.grants[event] = self._activation(leaf, rules[0])
                        return rules[0].function
                if rules or ANY in self.chart.candidates.get(state, ()) or event in state.defer:
                    break
        return self._whole_search(leaf, path, event)

    def _whole_search(self, leaf: State, path: tuple[State, ...], event: Hashable) -> Plan:
        """A search that keeps the argument for the entry and exit handlers, if any takes it."""
        return self.keeping(self.search(leaf, path, event))

    def keeping(self, plan: Plan) -> Plan:
        """The plan of a whole search, which keeps the argument if any such handler takes it."""
        cell = self.memories.argument
        return plan if cell is None else _keeping_argument(plan, cell)

    # Searches -----------------------------------------------------------------------------------

    def search(
        self, leaf: State, path: tuple[State, ...], event: Hashable, *, begins: bool = True
    ) -> Plan:
        """The function that tries the states of `path` in turn (H-061, H-062).

        Args:
            begins: whether the search for the event begins here.
        """
        lines = Lines()
        if self.traced:
            lines.add("event = m.event")
            lines.add("m._hsm_active = {}", self.routes.marks[leaf])
            if begins:
                trace(lines, "dispatch_start", names="event, arg")
        self.levels(lines, leaf, path, event)
        return lines.compile()

    def levels(self, lines: Lines, leaf: State, path: tuple[State, ...], event: Hashable) -> None:
        """Write the trial of the states of a path, and the answer when none takes the event."""
        for state in path:
            options, defers = self.options(state, event)
            if options or defers or self.traced:
                may_decline = self._level(lines, leaf, state, options, defers=defers)
                if not may_decline:
                    break
        _conclude(lines)

    def options(self, state: State, event: Hashable) -> tuple[list[tuple[Rule, str]], bool]:
        """The candidates of a state with their parameters, and whether it defers the event."""
        candidates = self.chart.candidates.get(state, {})
        options = [(rule, "(m, arg)") for rule in candidates.get(event, ())]
        defers = event in state.defer
        if not defers:
            options += [(rule, "(m, arg, m.event)") for rule in candidates.get(ANY, ())]
        return options, defers

    def _level(
        self,
        lines: Lines,
        leaf: State,
        state: State,
        options: list[tuple[Rule, str]],
        *,
        defers: bool = False,
        hooks: bool = True,
    ) -> bool:
        """Write the trial of one state; return whether the search may go on behind it.

        Args:
            options: the candidates with the text of the parameters they are called with.
            defers: whether the event is deferred when no candidate is enabled.
            hooks: whether this is the search for an event, which is traced (H-176).
        """
        hooked = self.traced and hooks
        if hooked or (options and options[0][0].guard is not None):
            lines.add("m._hsm_active = {}", self.routes.marks[state])
        if hooked:
            trace(lines, "dispatch_attempt", state, names="{0}, event")
        keyword, indent, decided = "if", "", False
        for rule, parameters in options:
            if rule.guard is not None:
                lines.add(f"{keyword} {{}}{parameters}:", rule.guard)
                keyword, indent = "elif", " "
                self.run(lines, indent, leaf, rule, parameters, hooked=hooked)
                continue
            if keyword == "elif":
                lines.add("else:")
            self.run(lines, indent, leaf, rule, parameters, hooked=hooked)
            decided = True
            break
        if not decided:
            if keyword == "elif":
                lines.add("else:")
            if defers:
                inside = self.regional is not None and self.chart.zones[state] is not None
                deferring = wait if inside else steps.defer
                lines.add(f"{indent}result = {{}}(m, arg)", deferring)
            else:
                lines.add(f"{indent}result = {{}}", UNHANDLED)
        if hooked:
            trace(lines, "dispatch_result", state, names="{0}, event, result")
        if hooked or defers or any(rule.is_declarative for rule, _ in options):
            lines.add("if result is not {}: return result", UNHANDLED)
        return not (decided or defers) or any(not rule.is_declarative for rule, _ in options)

    def run(
        self,
        lines: Lines,
        indent: str,
        leaf: State,
        rule: Rule,
        parameters: str,
        *,
        hooked: bool,
    ) -> None:
        """Write the call of one candidate; its answer is HANDLED or UNHANDLED afterwards."""
        if rule.is_declarative:
            plan = self.edge(leaf, rule, parameters)
            lines.add(f"{indent}result = {{}}(m, arg)", plan)
            return
        lines.add(f"{indent}m._hsm_active = {{}}", self._activation(leaf, rule))
        lines.add(f"{indent}result = {{}}{parameters}", rule.function)
        if not hooked:
            lines.add(f"{indent}if result is {{}}:", HANDLED)
            if self.traced and not rule.targets:
                edge = (rule.state, rule.event, None)
                lines.add(f"{indent} m._hsm_observer.edge_taken({{}}, {{}}, {{}})", *edge)
            lines.add(f"{indent} return result")
            lines.add(f"{indent}{{}}(m, {{}}, result)", steps.judge, rule)
            return
        lines.add(
            f"{indent}if result is not {{}}: {{}}(m, {{}}, result)", HANDLED, steps.judge, rule
        )
        if not rule.targets:
            edge = (rule.state, rule.event, None)
            lines.add(f"{indent}else: m._hsm_observer.edge_taken({{}}, {{}}, {{}})", *edge)

    def edge(self, leaf: State, rule: Rule, parameters: str) -> Plan:
        effect: Call | None = None
        if rule.function is not None:
            effect = (f"{{}}{parameters}", rule.function)
        return self.routes.edge(leaf, rule, effect)

    def _activation(self, leaf: State, rule: Rule) -> Activation:
        refusal = "it is not among the targets of the declaration that was selected"
        if not rule.targets:
            refusal = NO_TARGETS
        return self.routes.activation(leaf, rule.state or ROOT, rule, rule.targets, refusal)


def _conclude(lines: Lines) -> None:
    lines.add("return {}", UNHANDLED)


def _take_nothing(m: Any, arg: Any) -> Outcome:
    return UNHANDLED


def _checking(plan: Plan, *, has_any: bool) -> Plan:
    """Report an event that the class does not declare, if it is a mistake (H-261)."""
    refuse = inquiry.refuse_message_object if has_any else inquiry.refuse_unknown

    def check(m: Any, arg: Any) -> Outcome:
        refuse(m, m.event)
        return plan(m, arg)

    return check


def _keeping_argument(plan: Plan, cell: int) -> Plan:
    """Have entry and exit handlers find the argument, whatever takes the transition (H-110)."""

    def keep(m: Any, arg: Any) -> Outcome:
        m._hsm_memory[cell] = arg
        try:
            return plan(m, arg)
        finally:
            m._hsm_memory[cell] = None

    return keep


class _OpenTable(dict[Hashable, Plan]):
    """A table with a plan for events that are not in it: `ANY` handlers, or the trace hooks."""

    def __init__(self, table: dict[Hashable, Plan], other: Plan) -> None:
        super().__init__(table)
        self._other = other
        self._without_event = without_event(other)

    def __missing__(self, event: Hashable) -> Plan:
        return self._without_event if event is None else self._other
