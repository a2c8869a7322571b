"""The plans of transitions: which calls, in which order (sections 6, 8, 10, 11 and 13).

`Routes` writes a script for each combination of leaf, source and target that a chart can come to,
when it is asked for. In the traced set the same scripts contain the calls of the trace hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._definition.chart import Chart, Rule
from ..states import (
    HANDLED,
    ROOT,
    SHALLOW,
    Final,
    History,
    Outcome,
    State,
    Terminate,
)
from . import run_to_completion as steps
from .codegen import Lines, Plan, Script
from .history import Memories, memory_of
from .nodes import Activation, Node

if TYPE_CHECKING:
    from collections.abc import Hashable

Call = tuple[Any, ...]
"""A template and its operands."""

EFFECT_OF_CALLER: Call = ("if arg is not None: arg()",)


class Routes:
    """Writes and compiles the transitions of one chart.

    Args:
        chart: the model.
        nodes: the node of each state of a running machine, `ROOT` included.
        terminated: the node of the terminated machine.
        memories: what a machine of the class remembers.
        traced: whether the hooks are called.
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
        self._choice_begins: dict[tuple[State, State, State], Plan] = {}
        self._choice_ends: dict[tuple[State, State], Plan] = {}
        self._defers = any(state.defer for state in chart.states)

    # Whole transitions --------------------------------------------------------------------------

    def transition(
        self,
        leaf: State,
        source: State,
        target: State,
        effect: Call | None,
        edge: tuple[State, Hashable, State],
        default: Rule | None = None,
        spend: Call | None = None,
    ) -> Plan:
        """The transition of H-080.

        Args:
            leaf: the innermost active state when it begins.
            effect: the call that runs the effect.
            edge: source, event and declared target, for coverage.
            default: the history default that the target was taken from (H-122).
            spend: for the transition of a handler, the call that takes its permission away.
        """
        script = Script()
        if spend is not None:
            script.add(*spend)
        scope = self.chart.scope(source, target)
        self._begin(script, leaf, target, scope, edge, default)
        script.commit()
        self._leave(script, leaf, scope)
        self._act(script, leaf, target, effect, default)
        self._enter(script, target, scope)
        self._arrive(script, target)
        self._end(script, leaf, target)
        script.protect(steps.fault_at(self.nodes[leaf]))
        script.add("return {}", HANDLED)
        return script.compile()

    def edge(self, leaf: State, rule: Rule, effect: Call | None) -> Plan:
        """The plan of a declarative edge."""
        if rule.state is None or rule.target is None:
            raise AssertionError(f"{rule!r} is no edge")
        taken = (rule.state, rule.event, rule.target)
        if rule.history is None:
            return self.transition(leaf, rule.state, rule.target, effect, taken)
        return self.recall(leaf, rule.state, rule.target, rule.history, effect, taken)

    def recall(
        self,
        leaf: State,
        source: State,
        owner: State,
        kind: History,
        effect: Call | None,
        edge: tuple[State, Hashable, State],
    ) -> Plan:
        """A transition through the history of `owner` (H-121, H-122): chosen by its memory."""
        read = self.memories.readers[owner]
        plans: dict[State | None, Plan] = {}

        def build(remembered: State | None) -> Plan:
            target, default = owner, None
            if remembered is None:
                default = self.chart.defaults.get((owner, kind))
                if default is not None and default.target is not None:
                    target = default.target
            elif kind is SHALLOW:
                target = self.chart.between(remembered, owner)[-1]
            else:
                target = remembered
            return self.transition(leaf, source, target, effect, edge, default)

        def plan(m: Any, arg: Any) -> Outcome:
            memory = memory_of(m)
            remembered = None if memory is None else read(memory)
            chosen = plans.get(remembered)
            if chosen is None:
                chosen = plans[remembered] = build(remembered)
            return chosen(m, arg)

        return plan

    def start(self) -> Plan:
        """The initial step."""
        script = Script()
        script.add("m._hsm_event = {}", steps.NO_EVENT)
        self.write_start(script)
        script.add("return {}", HANDLED)
        return script.compile()

    def write_start(self, script: Script) -> None:
        """Write the initial step: the initial of `ROOT` and what it leads to."""
        script.commit()
        self._arrive(script, ROOT)
        script.protect(steps.fail_start_at(self.nodes[ROOT]))
        script.add("if m._hsm_due is {}: m._hsm_event = None", HANDLED)
        script.add("else: {}(m)", steps.finish_start)

    # The two halves of a choice -----------------------------------------------------------------

    def choice_begin(self, leaf: State, source: State, owner: State) -> Plan:
        """Steps 1 to 3 of H-140: exits, the incoming effect, entries down to the owner."""
        key = (leaf, source, owner)
        plan = self._choice_begins.get(key)
        if plan is None:
            script = Script()
            scope = owner if source is owner else self.chart.scope(source, owner)
            self._leave(script, leaf, scope)
            script.add(*EFFECT_OF_CALLER)
            self._enter(script, owner, scope)
            plan = self._choice_begins[key] = script.compile()
        return plan

    def choice_end(self, owner: State, target: State) -> Plan:
        """Step 7 of H-140: entries from below the owner, and the activation of the target."""
        key = (owner, target)
        plan = self._choice_ends.get(key)
        if plan is None:
            script = Script()
            self._enter(script, target, owner)
            self._arrive(script, target)
            plan = self._choice_ends[key] = script.compile()
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
    ) -> None:
        if not self.traced:
            return
        trace(script, "transition_begin", leaf, target, scope)
        script.add("m._hsm_observer.edge_taken({}, {}, {})", *edge)
        if default is not None:
            operands = (default.state, default.kind, default.target)
            script.add("m._hsm_observer.edge_taken({}, {}, {})", *operands)

    def _leave(self, script: Script, leaf: State, scope: State) -> None:
        exited = self.chart.between(leaf, scope)
        names = [
            self.memories.names[state]
            for state in exited
            if state in self.memories.names and state is not leaf
        ]
        if names:
            memory = None if isinstance(leaf, Final) else leaf
            script.add("try: memory = m._hsm_memory")
            script.add("except AttributeError: memory = m._hsm_memory = {}()", self.memories.Memory)
            script.add("memory.{} = " * len(names) + "{}", *names, memory)
        for state in exited:
            if self.traced:
                trace(script, "exit", state)
            self._behave(script, self.chart.exits, state)

    def _act(
        self, script: Script, leaf: State, target: State, effect: Call | None, default: Rule | None
    ) -> None:
        if self.traced:
            trace(script, "transition_action", leaf, target)
        if effect is not None:
            script.add(*effect)
        if default is not None and default.function is not None:
            script.add("{}(m)", default.function)

    def _enter(self, script: Script, target: State, scope: State) -> None:
        for state in reversed(self.chart.between(target, scope)):
            if self.traced and not isinstance(state, Terminate):
                trace(script, "entry", state)
            self._behave(script, self.chart.entries, state)

    def _behave(self, script: Script, rules: dict[State | None, Rule], state: State) -> None:
        if isinstance(state, Final | Terminate):
            return
        if state in rules:
            script.add("{}(m)", rules[state].function)
        elif None in rules:
            script.add("{}(m, {})", rules[None].function, state)

    def _arrive(self, script: Script, target: State) -> None:
        if isinstance(target, Terminate):
            script.add("{}(m)", steps.end_at(self.terminated))
            return
        node = self.nodes[target]
        if isinstance(target, Final):
            if target.parent is ROOT or target.parent is None:
                script.add("{}(m)", steps.end_at(node))
                return
            script.add("memory = {}(m)", memory_of)
            name = self.memories.names[target.parent]
            script.add("if memory is not None: memory.{} = None", name)
        script.at(node)
        initial = self.chart.initials.get(target)
        if initial is not None:
            self._take_initial(script, initial, target)
            return
        if node.completes is not None:
            script.add("{}(m)", steps.raise_completion)
        if self._defers:
            script.add("{}(m)", steps.note_transition)

    def _take_initial(self, script: Script, rule: Rule, owner: State) -> None:
        if self.traced:
            trace(script, "initial", owner)
        if rule.target is None:
            refusal = "it is not among the targets of this initial"
            targets = rule.targets
            if len(targets) > 1:
                refusal = "an initial with several targets decides by choice(…)"
                targets = ()
            activation = self.activation(owner, owner, rule, targets, refusal)
            script.add("{}(m)", steps.imperative_initial(rule, activation))
            return
        effect: Call | None = None if rule.function is None else ("{}(m)", rule.function)
        if rule.history is not None:
            script.add("{}(m, None)", self.edge(owner, rule, effect))
            return
        target = rule.target
        self._begin(script, owner, target, owner, (owner, None, target), None)
        self._act(script, owner, target, effect, None)
        self._enter(script, target, owner)
        self._arrive(script, target)
        self._end(script, owner, target)

    def activation(
        self,
        leaf: State,
        source: State,
        rule: Rule,
        targets: tuple[State, ...],
        refusal: str,
        *,
        searched: bool = True,
    ) -> Activation:
        """What the handler of `rule` may do, with a plan for each target of `transition`.

        Args:
            searched: whether the activation stands for the event while the handler runs; otherwise
                the event stands for itself.
        """
        activation = Activation(source, refusal, leaf=leaf, rule=rule)
        spend: Call = ("m._hsm_event = {}", activation.taken)
        if not searched:
            spend = ("m._hsm_searched = m._hsm_event; m._hsm_event = {}", activation.taken)
        for target in targets:
            activation.moves[target] = self.transition(
                leaf,
                source,
                target,
                EFFECT_OF_CALLER,
                (source, rule.event, target),
                spend=spend,
            )
        if searched:
            self.nodes[leaf].moves[activation] = activation.moves
        return activation

    def _end(self, script: Script, leaf: State, target: State) -> None:
        if self.traced:
            trace(script, "transition_end", leaf, target)


def trace(lines: Lines, hook: str, *operands: Any, names: str = "") -> None:
    """Add the calls of a trace hook: the machine's own, then the observer's (H-171).

    Args:
        names: the text of the arguments, when they are not just the operands.
    """
    names = names or ", ".join(f"{{{index}}}" for index in range(len(operands)))
    lines.add(f"m.trace_{hook}({names}); m._hsm_observer.trace_{hook}(m, {names})", *operands)
