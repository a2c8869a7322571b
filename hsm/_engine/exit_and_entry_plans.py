"""The plans of transitions: exits, effect and entries in order (sections 6, 8, 10, 11 and 13).

`Routes` writes a script for each combination of leaf, source and target that a chart can come to,
when it is asked for. In the traced set the same scripts contain the calls of the trace hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._definition.chart import Chart, Rule
from ..declarations import After
from ..states import (
    HANDLED,
    ROOT,
    SHALLOW,
    Final,
    History,
    Outcome,
    Region,
    State,
    Terminate,
)
from . import regions, timers
from . import run_to_completion as steps
from .codegen import Lines, Plan, Script
from .history import Memories
from .nodes import Activation, Node
from .region_plans import Call, RegionParts

if TYPE_CHECKING:
    from collections.abc import Hashable

EFFECT_OF_CALLER: Call = ("arg is not None", "arg()")
"""The effect that a handler gives to `transition`: the condition and the call."""
BEHAVIOR = (
    "guards, effects, entry and exit handlers and trace hooks take no transition; declare an edge, "
    "or take it in the handler of an event"
)


class Routes:
    """Writes and compiles the transitions of one chart.

    Args:
        chart: the model.
        nodes: the node of each state of a running machine, `ROOT` included.
        terminated: the node of the terminated machine.
        memories: what a machine of the class remembers.
        traced: whether the hooks are called.

    Attributes:
        marks: for each state the activation of guards and behaviors on its behalf.
    """

    def __init__(
        self,
        chart: Chart,
        nodes: dict[State, Node],
        terminated: Node,
        memories: Memories,
        *,
        traced: bool,
    ) -> None:
        self.chart = chart
        self.nodes = nodes
        self.terminated = terminated
        self.traced = traced
        self.memories = memories
        self.marks = {state: Activation(state, BEHAVIOR) for state in nodes}
        self._stops: dict[State, Plan] = {}
        self._parts = RegionParts(self) if chart.regions else None
        self._choice_ends: dict[tuple[State, State], Plan] = {}
        self._defers = any(state.defer for state in chart.states)
        cell = memories.argument
        self._kept_argument = "None" if cell is None else f"m._hsm_memory[{cell}]"

    # Whole transitions --------------------------------------------------------------------------

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
        fork: tuple[State, ...] = (),
        restores: bool = False,
    ) -> Plan:
        """The transition of H-080.

        Args:
            leaf: the innermost active state when it begins.
            effect: the call that runs the effect.
            edge: source, event and declared target, for coverage.
            scope: what is not left, when that does not follow from source and target.
            default: the history default that the target was taken from (H-122).
            activation: for the transition of a handler, its permission, which is spent.
            fork: the states that are entered in the regions of the target (H-253).
            restores: whether what the memory's cell `restored` has is entered in them (H-257).
        """
        scope = scope or self.chart.scope(source, target)
        script = self._script(source, activation, leaf)
        if restores:
            script.add("restored = m._hsm_memory[{}]", self.memories.restored)
        self._begin(script, leaf, target, scope, edge, default, fork)
        script.commit()
        self._leave(script, leaf, scope)
        self._act(script, leaf, target, scope, effect)
        block = script.block
        later = self.enter(script, target, scope, default)
        self.arrive(script, target, fork, restores=restores)
        self.enter_regions(script, later)
        script.end(block)
        self._end(script, leaf, source, target)
        return self._finish(script, leaf, activation)

    def _script(self, source: State, activation: Activation | None, leaf: State | None) -> Script:
        script = Script(None if leaf is None else self._known(leaf))
        if activation is None:
            script.source(self.marks[source])
        else:
            script.argument = self._kept_argument
            script.add("m._hsm_active = {}", activation.taken)
        return script

    def _known(self, state: State) -> Node | None:
        """The node of a machine whose innermost state this is, if there are no regions."""
        return None if self._parts is not None else self.nodes[state]

    def _finish(self, script: Script, leaf: State, activation: Activation | None) -> Plan:
        cleanup: Call = ()
        if activation is not None and script.stores_source:  # an initial's, which is over
            cleanup = ("m._hsm_active = {}", activation.taken)
        script.protect(steps.fault_at(self.nodes[self.chart.lift(leaf, ROOT)]), *cleanup)
        script.add("return {}", HANDLED)
        return script.compile()

    def edge(self, leaf: State, rule: Rule, effect: Call | None, *, entering: bool = False) -> Plan:
        """The plan of a declarative edge.

        Args:
            entering: whether it is the initial of a state that is just being entered (H-103).
        """
        if rule.state is None or rule.target is None:
            raise AssertionError(f"{rule!r} is not an edge")
        taken = (rule.state, rule.event, rule.target)
        if rule.fork:
            scope = rule.state if rule.state is rule.target else None
            return self.transition(
                leaf, rule.state, rule.target, effect, taken, scope=scope, fork=rule.fork
            )
        if rule.history is None:
            return self.transition(leaf, rule.state, rule.target, effect, taken)
        return self.recall(
            leaf, rule.state, rule.target, rule.history, effect, taken, entering=entering
        )

    def recall(
        self,
        leaf: State,
        source: State,
        owner: State,
        kind: History,
        effect: Call | None,
        edge: tuple[State, Hashable, State],
        *,
        entering: bool = False,
        activation: Activation | None = None,
    ) -> Plan:
        """A transition through the history of `owner` (H-121, H-122).

        Where it leads depends on the memory, unless the owner itself is left: then the leaf that is
        left is restored.
        """
        chart = self.chart
        if self._parts is not None:
            return self._parts.recall(
                leaf, source, owner, kind, effect, edge, entering=entering, activation=activation
            )

        def build(remembered: State | None, scope: State | None = None) -> Plan:
            target, default = owner, None
            if remembered is None:
                default = chart.defaults.get((owner, kind))
                if default is not None and default.target is not None:
                    target = default.target
            elif kind is SHALLOW:
                target = chart.between(remembered, owner)[-1]
            else:
                target = remembered
            return self.transition(
                leaf,
                source,
                target,
                effect,
                edge,
                scope=scope,
                default=default,
                activation=activation,
            )

        if owner in chart.paths[leaf] and owner not in chart.paths[source][1:] and not entering:
            scope = owner.parent if source is owner else source
            return build(None if isinstance(leaf, Final) or leaf is owner else leaf, scope)
        cell = self.memories.cells[owner]
        plans: dict[State | None, Plan] = {}

        def plan(m: Any, arg: Any) -> Outcome:
            memory = m._hsm_memory
            remembered = None if memory is None else memory[cell]
            chosen = plans.get(remembered)
            if chosen is None:
                chosen = plans[remembered] = build(remembered)
            return chosen(m, arg)

        return plan

    def start(self) -> Plan:
        """The initial step: the initial of `ROOT` and what it leads to."""
        script = Script()
        self.write_start(script)
        script.add("return {}", HANDLED)
        return script.compile()

    def write_start(self, script: Script) -> None:
        """Append the lines of the initial step."""
        script.argument = "None"
        script.source(self.marks[ROOT])
        script.add("m._hsm_event = {}", steps.NO_EVENT)
        script.commit()
        self.arrive(script, ROOT)
        script.protect(steps.fail_start_at(self.nodes[ROOT]))
        script.add("if m._hsm_due is {}: m._hsm_event = m._hsm_active = None", HANDLED)
        script.add("else: {}(m)", steps.finish_start)

    def stop(self, leaf: State) -> Plan:
        """Leave every state from the leaf outwards (H-264)."""
        plan = self._stops.get(leaf)
        if plan is None:
            script = self._script(leaf, None, leaf)
            script.argument = "None"
            script.commit()
            self._leave(script, leaf, ROOT)
            plan = self._stops[leaf] = self._finish(script, leaf, None)
        return plan

    def choice(self, leaf: State, source: State, owner: State, activation: Activation) -> Plan:
        """The plan of a choice (H-140); its argument is a `Decision`."""
        script = self._script(source, activation, leaf)
        scope = owner if source is owner else self.chart.scope(source, owner)
        if self.traced:
            trace(script, "choice_begin", leaf, owner)
        script.commit()
        self._leave(script, leaf, scope)
        script.at(self.nodes[scope])
        script.user_if("arg.effect is not None", "arg.effect()")
        block = script.block
        later = self.enter(script, owner, scope)
        entered = script.block
        script.at(self.nodes[owner])
        script.user("target, effect = arg.decide()")
        if self.traced:
            rule = activation.rule
            event = None if rule is None else rule.event
            script.add("m._hsm_observer.edge_taken({}, {}, target)", source, event)
            trace(script, "choice_selected", leaf, names="{0}, target")
        script.user("if effect is not None: effect()")
        script.plan("{}({}, target)(m, arg)", self._choice_end, owner)
        script.stores_source = True  # an initial in that plan may
        self.enter_regions(script, later)
        script.end(entered)
        if self.traced:
            if script.stores_source:
                script.source(self.marks[source])
            trace(script, "choice_end", leaf, names="{0}, target")
        script.end(block)
        return self._finish(script, leaf, activation)

    def _choice_end(self, owner: State, target: State) -> Plan:
        """Step 7 of H-140: entries from below the owner, and the activation of the target."""
        plan = self._choice_ends.get((owner, target))
        if plan is None:
            script = Script(self._known(owner))
            script.argument = self._kept_argument
            later = self.enter(script, target, owner)
            self.arrive(script, target)
            self.enter_regions(script, later)
            script.end("")
            script.settle()
            script.add("return {}", HANDLED)
            plan = self._choice_ends[owner, target] = script.compile()
        return plan

    # Parts --------------------------------------------------------------------------------------

    def _begin(
        self,
        script: Script,
        leaf: State,
        target: State,
        scope: State,
        edge: tuple[State, Hashable, State],
        default: Rule | None,
        fork: tuple[State, ...] = (),
    ) -> None:
        if not self.traced:
            return
        trace(script, "transition_begin", leaf, target, scope)
        for branch in fork or edge[2:]:
            script.add("m._hsm_observer.edge_taken({}, {}, {})", *edge[:2], branch)
        if default is not None:
            operands = (default.state, default.kind, default.target)
            script.add("m._hsm_observer.edge_taken({}, {}, {})", *operands)

    def _leave(self, script: Script, leaf: State, scope: State) -> None:
        if self._parts is not None:
            self._parts.leave(script, leaf, scope)
            return
        exited = self.chart.between(leaf, scope)
        cells = [
            self.memories.cells[state]
            for state in exited
            if state in self.memories.cells and state is not leaf
        ]
        if cells:
            memory = None if isinstance(leaf, Final) else leaf
            script.add("memory = m._hsm_memory")
            script.add("if memory is None: memory = m._hsm_memory = {}()", self.memories.new)
            script.add("memory[{}] = " * len(cells) + "{}", *cells, memory)
        self.exit(script, exited)

    def exit(self, script: Script, exited: tuple[State, ...]) -> None:
        for state in exited:
            script.at(self.nodes[state])
            if self.traced:
                trace(script, "exit", state)
            self._disarm(script, state)
            self._behave(script, self.chart.exits, state)

    def _act(
        self, script: Script, leaf: State, target: State, scope: State, effect: Call | None
    ) -> None:
        script.at(self.nodes[scope])
        if self.traced:
            trace(script, "transition_action", leaf, target)
        if effect is EFFECT_OF_CALLER:
            script.user_if(*effect)
        elif effect is not None:
            script.user(*effect)

    def enter(
        self, script: Script, target: State, scope: State, default: Rule | None = None
    ) -> tuple[State, ...]:
        """Enter the path from below the scope; return the regions that come after its end."""
        entered = self.chart.between(target, scope)[::-1]
        later: tuple[State, ...] = ()
        if default is not None and default.state not in entered:
            self._default(script, default)
        for state in entered:
            if self._parts is not None and isinstance(state, Region):
                later = self._parts.siblings(script, state) + later
            script.at(self.nodes[state])
            if self.traced and not isinstance(state, Terminate | Region):
                trace(script, "entry", state)
            self._behave(script, self.chart.entries, state)
            self._arm(script, state)
            if default is not None and default.state is state:
                self._default(script, default)
        return later

    def _timers(self, state: State) -> list[tuple[After, int]]:
        """The time events of a state and their cells."""
        events = [rule.event for rule in self.chart.timeouts.get(state, ())]
        return [(event, cell) for event, cell in self.memories.timers.items() if event in events]

    def _arm(self, script: Script, state: State) -> None:
        """Arm the timers of a state by one reading of the clock (H-241)."""
        found = self._timers(state)
        now = "m.clock()"
        if len(found) > 1:
            script.user("now = m.clock()")
            now = "now"
        for event, cell in found:
            if callable(event.after):
                script.user(
                    f"m._hsm_memory[{{}}] = {now} + {{}}(m, {{}})", cell, timers.delay, event
                )
            else:
                script.user(f"m._hsm_memory[{{}}] = {now} + {{}}", cell, float(event.after))

    def _disarm(self, script: Script, state: State) -> None:
        for _, cell in self._timers(state):
            script.add("m._hsm_memory[{}] = None", cell)

    def enter_regions(self, script: Script, later: tuple[State, ...]) -> None:
        if self._parts is not None and later:
            self._parts.by_initials(script, later)

    def _default(self, script: Script, default: Rule) -> None:
        if default.function is not None:
            script.user("{}(m)", default.function)

    def _behave(self, script: Script, rules: dict[State | None, Rule], state: State) -> None:
        if isinstance(state, Final | Terminate | Region):
            return
        key = state if state in rules else None
        if key in rules:
            rule = rules[key]
            state_argument = "" if key else ", {}"
            argument = f", {script.argument}" if rule.takes_argument else ""
            operands = (rule.function,) if key else (rule.function, state)
            script.user(f"{{}}(m{state_argument}{argument})", *operands)

    def arrive(
        self,
        script: Script,
        target: State,
        fork: tuple[State, ...] = (),
        *,
        restores: bool = False,
    ) -> None:
        if isinstance(target, Terminate):
            script.settle()
            if self._parts is not None:
                script.add("{}(m)", regions.clear)
            script.add("{}(m)", steps.end_at(self.terminated))
            return
        node = self.nodes[target]
        if isinstance(target, Final):
            if target.parent is ROOT or target.parent is None:
                script.settle()
                script.add("{}(m)", steps.end_at(node))
                return
            script.add("memory = m._hsm_memory")
            cell = self.memories.cells[target.parent]
            script.add("if memory is not None: memory[{}] = None", cell)
        script.at(node)
        initial = self.chart.initials.get(target)
        if initial is not None:
            self.take_initial(script, initial, target)
            return
        if self._parts is not None:
            self._parts.arrive(script, target, fork, restores=restores)
        elif node.completes is not None:
            script.add("{}(m)", steps.raise_completion)
        if self._defers:
            script.add("{}(m)", steps.note_transition)

    def take_initial(self, script: Script, rule: Rule, owner: State) -> None:
        script.source(self.marks[owner])
        if self.traced:
            trace(script, "initial", owner)
        if rule.target is None:
            refusal = "it is not among the targets of this initial"
            targets = rule.targets
            if len(targets) > 1:
                refusal = "an initial with several targets decides by choice(…)"
                targets = ()
            activation = self.activation(owner, owner, rule, targets, refusal)
            script.plan("{}(m)", steps.imperative_initial(rule, activation))
            return
        effect: Call | None = None if rule.function is None else ("{}(m)", rule.function)
        if rule.history is not None:
            plan = self.edge(owner, rule, effect, entering=True)
            script.plan(f"{{}}(m, {script.argument})", plan)
            return
        target = rule.target
        self._begin(script, owner, target, owner, (owner, None, target), None, rule.fork)
        self._act(script, owner, target, owner, effect)
        block = script.block
        later = self.enter(script, target, owner)
        self.arrive(script, target, rule.fork)
        self.enter_regions(script, later)
        script.end(block)
        self._end(script, owner, owner, target)

    def activation(
        self,
        leaf: State,
        source: State,
        rule: Rule,
        targets: tuple[State, ...],
        refusal: str,
    ) -> Activation:
        """Return the permissions of the handler of `rule`, with a plan for each target."""
        activation = Activation(source, refusal, leaf=leaf, rule=rule)
        for target in targets:
            if self._parts is not None and self._parts.refuses(activation, target):
                continue
            activation.moves[target] = self.transition(
                leaf,
                source,
                target,
                EFFECT_OF_CALLER,
                (source, rule.event, target),
                activation=activation,
            )
        return activation

    def _end(self, script: Script, leaf: State, source: State, target: State) -> None:
        if self.traced:
            if script.stores_source:
                script.source(self.marks[source])
            trace(script, "transition_end", leaf, target)


def trace(lines: Lines, hook: str, *operands: Any, names: str = "") -> None:
    """Add the calls of a trace hook: the machine's own, then the observer's (H-171).

    Args:
        names: the text of the arguments, when they are not just the operands.
    """
    names = names or ", ".join(f"{{{index}}}" for index in range(len(operands)))
    line = f"m.trace_{hook}({names}); m._hsm_observer.trace_{hook}(m, {names})"
    (lines.user if isinstance(lines, Script) else lines.add)(line, *operands)
