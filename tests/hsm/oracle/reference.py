"""A state machine interpreter that follows the specification sentence by sentence.

It looks everything up in the chart's lists each time, keeps nothing precomputed, and shares no code
with `tensor_pool.hsm`. Slow, and meant to be read beside the specification: the ids in the comments
say which requirement a line carries out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from tests.hsm.oracle.chart import (
    ANY,
    ROOT,
    Chart,
    HistoryDefault,
    Initial,
    Plan,
    Rule,
    Vertex,
)
from tests.hsm.oracle.world import World

Answer = Literal["HANDLED", "UNHANDLED", "DEFERRED"]
Phase = Literal["new", "running", "complete", "terminated", "faulted"]


class DispatchError(Exception):
    """Stands for the framework's error of that name."""


class Reference:
    def __init__(self, chart: Chart, world: World, *, traced: bool = False) -> None:
        self.chart = chart
        self.world = world
        self.traced = traced
        self.forget()

    def forget(self) -> None:
        self.phase: Phase = "new"
        self.current = ROOT
        self.source = ROOT
        self.event: str | None = None
        self.arg: object = None
        self.memory: dict[str, str] = {}
        self.pending: str | None = None  # the state whose completion waits
        self.posted: list[tuple[str, object]] = []
        self.deferred: list[tuple[str, object]] = []
        self.offer: int | None = None  # index of the deferred event to offer next
        self.in_transition = False
        self.in_step = False

    # The chart, by plain search.

    def vertex(self, name: str) -> Vertex | None:
        return next((v for v in self.chart.vertices if v.name == name), None)

    def parent(self, name: str) -> str:
        vertex = self.vertex(name)
        return ROOT if vertex is None else vertex.parent

    def path(self, name: str) -> list[str]:
        """From ROOT to `name`, both included."""
        return [ROOT] if name == ROOT else [*self.path(self.parent(name)), name]

    def is_composite(self, name: str) -> bool:
        return name == ROOT or any(v.parent == name for v in self.chart.vertices)

    def kind(self, name: str) -> str:
        vertex = self.vertex(name)
        return "state" if vertex is None else vertex.kind

    def lca(self, a: str, b: str) -> str:
        if a == b:
            return self.parent(a)
        shared = [x for x in self.path(a) if x in self.path(b)]
        return shared[-1]

    def initial_of(self, owner: str) -> Initial | None:
        return next((i for i in self.chart.initials if i.owner == owner), None)

    def enabled(self, state: str, event: str | None) -> Rule | None:
        """The first candidate without a guard or with a true one. H-062 H-199"""
        for rule in self.chart.rules:
            matches = rule.state == state and rule.event == event
            if matches and (
                rule.guard is None or self.world.ask(rule.guard, self, *self.passed(rule))
            ):
                return rule
        return None

    # Driving.

    def start(self) -> None:
        """The initial step. H-043

        Until the first leaf is reached any exception faults the machine, at ROOT (H-044). What
        comes after that within the step, completions and posted events, obeys H-161 and H-162 as
        ever.
        """
        self.phase = "running"
        self.in_step = True
        self.arg = None
        try:
            try:
                self.take_initial(ROOT)
            except BaseException:
                self.phase, self.current = "faulted", ROOT
                raise
            self.settle()
        finally:
            self.end_step()

    def reset(self) -> None:
        self.forget()  # H-045
        self.start()

    def dispatch(self, event: str, arg: object = None) -> Answer:
        if self.in_step or self.phase != "running":
            raise DispatchError(self.phase)  # H-068 H-160
        self.in_step = True
        try:
            self.settle()  # H-136 H-202
            if self.phase != "running":
                raise DispatchError(self.phase)
            answer = self.process(event, arg)
            self.settle()
        finally:
            self.end_step()
        return answer

    def post(self, event: str, arg: object = None) -> None:
        if self.phase not in ("new", "running"):
            raise DispatchError(self.phase)
        if self.phase == "running" and not self.in_step:
            self.dispatch(event, arg)
        else:
            self.posted.append((event, arg))

    def end_step(self) -> None:
        self.in_step = False
        self.event = None
        self.source = self.current  # H-065

    def settle(self) -> None:
        """Completions, then recalled events, then posted ones, until nothing is left. H-201"""
        while self.phase == "running":
            if self.pending is not None:
                completed, self.pending = self.pending, None
                self.complete(completed)
            elif self.offer is not None:
                self.recall()
            elif self.posted:
                self.process(*self.posted.pop(0))
            else:
                return

    def recall(self) -> None:
        """Offer one deferred event again. H-212"""
        assert self.offer is not None
        if self.offer >= len(self.deferred):
            self.offer = None
            return
        position = self.offer
        if self.process(*self.deferred.pop(position), deferred_at=position) == "DEFERRED":
            self.offer = position + 1

    def complete(self, state: str) -> None:
        """H-134"""
        self.source = state
        self.event = self.arg = None
        rule = self.enabled(state, None)
        if rule is not None:
            self.run(rule)
        self.source = self.current

    def process(self, event: str, arg: object, deferred_at: int | None = None) -> Answer:
        """The search of H-061."""
        self.event = event
        self.arg = arg
        state = self.current
        self.trace("dispatch_start", event, str(arg))
        while True:
            self.source = state
            self.trace("dispatch_attempt", state, event)
            answer = self.ask_state(state, event, deferred_at)
            self.trace("dispatch_result", state, event, answer)
            if answer != "UNHANDLED" or state == ROOT:
                break
            state = self.parent(state)
        self.event = None
        self.source = self.current
        return answer

    def ask_state(self, state: str, event: str, deferred_at: int | None) -> Answer:
        """A specific candidate, else deferral, else ANY. H-062 H-210"""
        rule = self.enabled(state, event)
        vertex = self.vertex(state)
        if rule is None and vertex is not None and event in vertex.defer:
            at = len(self.deferred) if deferred_at is None else deferred_at
            self.deferred.insert(at, (event, self.arg))
            return "DEFERRED"
        if rule is None:
            rule = self.enabled(state, ANY)
        return "UNHANDLED" if rule is None else self.run(rule)

    # Rules.

    def run(self, rule: Rule) -> Answer:
        state = rule.state
        passed = self.passed(rule)
        if rule.plan is None:
            assert rule.target is not None
            effects = self.effects(rule.label, rule.effect, *passed)
            if rule.history is None:
                self.transition(state, rule.target, effects)
            else:
                self.transition_history(state, rule.target, rule.history, effects)
            return "HANDLED"  # H-067
        if rule.plan.when is not None and not self.world.flag(rule.plan.when):
            self.world.note(f"{rule.label} declines", self, *passed)
            return "UNHANDLED"
        self.world.act(rule.label, self, *passed)
        self.carry_out(state, rule.plan)
        if rule.plan.after is not None:
            self.world.act(rule.plan.after, self)
        if rule.plan.what == "wrong":
            raise DispatchError("answered None")  # H-066
        return "UNHANDLED" if rule.plan.what == "decline" else "HANDLED"

    def passed(self, rule: Rule) -> tuple[object, ...]:
        """What the functions of a rule are called with. H-063"""
        if rule.event is None:
            return ()
        return (self.arg, self.event) if rule.event == ANY else (self.arg,)

    def effects(
        self, label: str | None, exists: bool = True, *passed: object
    ) -> list[Callable[[], None]]:
        if label is None or not exists:
            return []
        return [lambda: self.world.act(label, self, *passed)]

    def carry_out(self, source: str, plan: Plan) -> None:
        effects = self.effects(plan.effect)
        if plan.what == "go":
            self.transition(source, plan.target, effects)
        elif plan.what == "recall":
            self.transition_history(source, plan.target, plan.history, effects)
        elif plan.what == "choose":
            self.choose(source, plan)
        if self.phase == "running":
            self.source = source  # the handler goes on running for its state

    # Transitions.

    def transition(
        self,
        source: str,
        target: str,
        effects: Iterable[Callable[[], None]],
        *,
        scope: str | None = None,
        default: HistoryDefault | None = None,
    ) -> None:
        """H-080"""
        leaf = self.current
        scope = scope or self.lca(source, target)
        self.trace("transition_begin", leaf, target, scope)
        with _Commit(self, leaf):
            self.exit_up_to(scope)
            self.trace("transition_action", leaf, target)
            for effect in effects:
                effect()
            self.enter_down_to(scope, target, default)
            self.activate(target)
            self.trace("transition_end", leaf, target)

    def transition_history(
        self,
        source: str,
        owner: str,
        kind: str,
        effects: list[Callable[[], None]],
        *,
        entering: bool = False,
    ) -> None:
        """H-121 H-122"""
        remembered = self.memory.get(owner)
        scope = None
        if owner in self.path(self.current) and not entering and source in self.path(owner):
            # The owner is active and is left: back to where the machine is.
            scope = self.parent(owner) if source == owner else source
            ends = self.kind(self.current) == "final" or self.current == owner
            remembered = None if ends else self.current
        if remembered is not None:
            path = self.path(remembered)
            target = remembered if kind == "DEEP" else path[path.index(owner) + 1]
            self.transition(source, target, effects, scope=scope)
            return
        default = self.default_of(owner, kind)
        target = owner if default is None else default.target
        self.transition(source, target, effects, scope=scope, default=default)

    def default_of(self, owner: str, kind: str) -> HistoryDefault | None:
        return next((d for d in self.chart.defaults if d.owner == owner and d.kind == kind), None)

    def choose(self, source: str, plan: Plan) -> None:
        """H-140"""
        leaf = self.current
        owner = plan.target
        scope = owner if source == owner else self.lca(source, owner)
        self.trace("choice_begin", leaf, owner)
        with _Commit(self, leaf):
            self.exit_up_to(scope)
            for effect in self.effects(plan.effect):
                effect()
            self.enter_down_to(scope, owner)
            answers = [self.world.ask(branch.guard, self) for branch in plan.branches]
            target, label = plan.otherwise
            for branch, answer in zip(plan.branches, answers, strict=True):
                if answer:
                    target, label = branch.target, branch.effect
                    break
            self.trace("choice_selected", leaf, target)
            for effect in self.effects(label):
                effect()
            self.enter_down_to(owner, target)
            self.activate(target)
            self.trace("choice_end", leaf, target)

    def exit_up_to(self, scope: str) -> None:
        """Exit from the leaf up to, not including, `scope`; history remembers. H-120"""
        leaf = self.current
        state = leaf
        while state != scope:
            if self.is_composite(state):
                if self.kind(leaf) == "final" or state == leaf:
                    self.memory.pop(state, None)
                else:
                    self.memory[state] = leaf
            self.current = state  # H-085
            self.trace("exit", state)
            if self.kind(state) == "state":
                self.behave("exit", state, self.chart.exits, self.chart.any_exit)
            state = self.parent(state)
        self.current = scope

    def enter_down_to(self, scope: str, target: str, default: HistoryDefault | None = None) -> None:
        path = self.path(target)
        entered = path[path.index(scope) + 1 :]
        if default is not None and default.owner not in entered:
            self.run_default(default)
        for state in entered:
            if self.kind(state) == "terminate":
                continue
            self.current = state
            self.trace("entry", state)
            if self.kind(state) == "state":
                self.behave("entry", state, self.chart.entries, self.chart.any_entry)
            if default is not None and default.owner == state:
                self.run_default(default)

    def run_default(self, default: HistoryDefault) -> None:
        """After the entry of the owner, before anything below it. H-122"""
        for effect in self.effects(default.label, default.effect):
            effect()

    def behave(self, what: str, state: str, named: tuple[str, ...], has_any: bool) -> None:
        """The state's own handler, else the ANY handler, else none. H-110"""
        label = f"{what}_{state}" if state in named else f"any_{what}"
        passed = (self.arg,) if label in self.chart.taking else ()
        if state in named:
            self.world.act(label, self, *passed)
        elif has_any:
            self.world.act(f"{label}:{state}", self, *passed)

    def activate(self, target: str) -> None:
        self.offer = 0  # a transition took place: deferred events get another chance
        if self.kind(target) == "terminate":
            self.stop("terminated")  # H-150
            self.current = self.source = ROOT
            return
        self.current = target
        if self.kind(target) == "final":
            owner = self.parent(target)
            if owner == ROOT:
                self.stop("complete")  # H-131
                self.source = target
            else:
                self.memory.pop(owner, None)  # H-124
                self.pending = owner  # H-132
        elif self.initial_of(target) is not None:
            self.take_initial(target)
        elif not self.is_composite(target):
            self.pending = target  # H-133

    def stop(self, phase: Phase) -> None:
        self.phase = phase
        self.pending = self.offer = None
        self.posted.clear()
        self.deferred.clear()

    def take_initial(self, owner: str) -> None:
        initial = self.initial_of(owner)
        assert initial is not None
        before = self.source
        self.source = owner
        self.trace("initial", owner)
        if initial.plan is not None:
            self.world.act(initial.label, self)
            self.carry_out(owner, initial.plan)
            if initial.plan.after is not None:
                self.world.act(initial.plan.after, self)
        else:
            assert initial.target is not None
            effects = self.effects(initial.label, initial.effect)
            if initial.history is None:
                self.transition(owner, initial.target, effects)
            else:
                self.transition_history(
                    owner, initial.target, initial.history, effects, entering=True
                )
        if self.phase == "running":
            self.source = before

    def trace(self, hook: str, *arguments: str) -> None:
        if self.traced:
            self.world.log.append(" ".join(["~" + hook, *arguments]))


class _Commit:
    """From the commit point to the end of the outermost transition an exception faults. H-161"""

    def __init__(self, machine: Reference, leaf: str) -> None:
        self.machine = machine
        self.leaf = leaf
        self.outermost = not machine.in_transition

    def __enter__(self) -> None:
        self.machine.in_transition = True

    def __exit__(self, kind: object, *_: object) -> None:
        if self.outermost:
            self.machine.in_transition = False
            if kind is not None:
                self.machine.phase = "faulted"
                self.machine.current = self.machine.source = self.leaf
