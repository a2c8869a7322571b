"""A state machine interpreter that follows the specification sentence by sentence.

It looks everything up in the chart's lists each time, keeps nothing precomputed, and shares no code
with `tensor_pool.hsm`. Slow, and meant to be read beside the specification: the ids in the comments
say which requirement a line carries out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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


class TransitionError(Exception):
    """Stands for the framework's error of that name."""


type Leaf = str | tuple[str, tuple[Leaf | None, ...]]
"""A leaf; or a state with regions, and what is remembered of each of them."""


@dataclass
class Selection:
    """The selections of a state's regions for one event. H-252"""

    owner: str
    entry: int
    taking: list[Rule | Selection] = field(default_factory=list)
    deferring: list[str] = field(default_factory=list)

    def rules(self) -> list[Rule]:
        found: list[Rule] = []
        for item in self.taking:
            found += item.rules() if isinstance(item, Selection) else [item]
        return found


class Reference:
    def __init__(self, chart: Chart, world: World, *, traced: bool = False) -> None:
        self.chart = chart
        self._vertices = {vertex.name: vertex for vertex in chart.vertices}
        self._paths: dict[str, list[str]] = {}
        self.world = world
        self.traced = traced
        self.forget()

    def forget(self) -> None:
        self.phase: Phase = "new"
        # the leaf of every active region, and of the machine itself (H-251)
        self.at: dict[str, str] = {ROOT: ROOT}
        self.entered = 0  # how often a state with regions was entered
        self.entries: dict[str, int] = {}  # for each that is active, which entry it was
        self.before = dict(self.at)
        self.armed: dict[str, int] = {}  # the deadline of each timer by its label
        self.source = ROOT
        self.event: str | None = None
        self.arg: object = None
        self.memory: dict[str, Leaf] = {}
        self.pending: list[str] = []  # the states whose completion waits, oldest first
        self.posted: list[tuple[str, object]] = []
        self.deferred: list[tuple[str, object]] = []
        self.offer: int | None = None  # index of the deferred event to offer next
        self.in_transition = False
        self.in_step = False

    @property
    def current(self) -> str:
        return self.at[ROOT]

    # The chart, by plain search; what is asked for at every step is kept.

    def vertex(self, name: str) -> Vertex | None:
        return self._vertices.get(name)

    def parent(self, name: str) -> str:
        vertex = self.vertex(name)
        return ROOT if vertex is None else vertex.parent

    def path(self, name: str) -> list[str]:
        """From ROOT to `name`, both included."""
        if name not in self._paths:
            around = [] if name == ROOT else self.path(self.parent(name))
            self._paths[name] = [*around, name]
        return self._paths[name]

    def regions(self, name: str) -> list[str]:
        return [v.name for v in self.chart.vertices if v.parent == name and v.kind == "region"]

    def zone(self, name: str) -> str:
        """The innermost region that a state is in; ROOT for the machine itself."""
        return next((s for s in reversed(self.path(name)) if self.kind(s) == "region"), ROOT)

    def is_active(self, name: str) -> bool:
        zone = self.zone(name)
        around = zone == ROOT or self.is_active(self.parent(zone))
        return around and zone in self.at and name in self.path(self.at[zone])

    def leaves(self, name: str = ROOT) -> list[str]:
        """Of a region or of the machine. H-251"""
        leaf = self.at[name]
        inside = [
            x for region in self.regions(leaf) if region in self.at for x in self.leaves(region)
        ]
        return inside or [leaf]

    def crosses(self, source: str, target: str) -> bool:
        """True if they are in two regions of one owner. H-254"""
        lca = self.lca(source, target)
        return source != target and bool(self.regions(lca)) and lca not in (source, target)

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
            matches = rule.state == state and rule.event == event and rule.after is None
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
                self.phase, self.at = "faulted", {ROOT: ROOT}
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
            if self.pending:
                self.complete(self.pending.pop(0))
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
        self.before = dict(self.at)
        self.source = state
        self.event = self.arg = None
        rule = self.enabled(state, None)
        if rule is not None:
            self.run(rule)
        self.source = self.current

    def process(self, event: str, arg: object, deferred_at: int | None = None) -> Answer:
        """The search of H-061, in several regions that of H-252."""
        self.event = event
        self.arg = arg
        self.before = dict(self.at)
        self.source = self.current
        self.trace("dispatch_start", event, str(arg))
        answer: Answer = "UNHANDLED"
        found = self.select_in_regions(self.current, event) if self.regions(self.current) else None
        if found is not None:
            answer = self.run_in_regions(found, event)
            if answer == "DEFERRED":
                self.put_off(event, deferred_at)
        if answer == "UNHANDLED":
            answer = self.search(self.path(self.current)[::-1], event, deferred_at)
        for state in [] if found is None else found.deferring:
            self.trace(
                "dispatch_result", state, event, "UNHANDLED" if answer == "HANDLED" else answer
            )
        self.event = None
        self.source = self.current
        return answer

    def search(self, states: list[str], event: str, deferred_at: int | None) -> Answer:
        """Ask one state after the other."""
        for state in states:
            self.source = state
            self.trace("dispatch_attempt", state, event)
            answer = self.ask_state(state, event, deferred_at)
            self.trace("dispatch_result", state, event, answer)
            if answer != "UNHANDLED":
                return answer
        return "UNHANDLED"

    def put_off(self, event: str, deferred_at: int | None) -> None:
        at = len(self.deferred) if deferred_at is None else deferred_at
        self.deferred.insert(at, (event, self.arg))

    # Regions: all of them select, then what they have selected runs. H-252 H-256

    def select_in_regions(self, owner: str, event: str) -> Selection | None:
        found = Selection(owner, self.entries[owner])
        for region in self.regions(owner):
            leaf = self.at[region]
            inner = self.select_in_regions(leaf, event) if self.regions(leaf) else None
            if inner is not None:
                if inner.taking:
                    found.taking.append(inner)
                found.deferring += inner.deferring
                continue
            for state in self.inside(leaf):
                self.source = state
                self.trace("dispatch_attempt", state, event)
                rule = self.enabled(state, event)
                vertex = self.vertex(state)
                if rule is None and vertex is not None and event in vertex.defer:
                    found.deferring.append(state)
                    break
                rule = rule or self.enabled(state, ANY)
                if rule is not None:
                    found.taking.append(rule)
                    break
                self.trace("dispatch_result", state, event, "UNHANDLED")
        return found if found.taking or found.deferring else None

    def inside(self, state: str) -> list[str]:
        """The state and those around it, up to the region that they are in."""
        path = self.path(state)
        return path[path.index(self.zone(state)) + 1 :][::-1]

    def run_in_regions(self, found: Selection, event: str) -> Answer:
        answers: list[Answer] = ["DEFERRED"] if found.deferring else []
        for item in found.taking:
            if self.phase != "running" or self.entries.get(found.owner) != found.entry:
                for rule in item.rules() if isinstance(item, Selection) else [item]:
                    self.trace("dispatch_result", rule.state, event, "UNHANDLED")
            elif isinstance(item, Selection):
                answer = self.run_in_regions(item, event)
                if answer == "UNHANDLED":
                    answer = self.search(self.inside(item.owner), event, -1)
                answers.append(answer)
            else:
                self.source = item.state
                answer = self.run(item)
                self.trace("dispatch_result", item.state, event, answer)
                if answer == "UNHANDLED":
                    answer = self.search(self.inside(item.state)[1:], event, -1)
                answers.append(answer)
        order: tuple[Answer, ...] = ("HANDLED", "DEFERRED")
        return next((answer for answer in order if answer in answers), "UNHANDLED")

    # Time. H-241 H-242

    def poll(self) -> bool:
        if self.in_step or self.phase != "running":
            raise DispatchError(self.phase)
        taken = False
        self.in_step = True
        try:
            self.settle()
        finally:
            self.end_step()
        while self.phase == "running":
            order = [rule.label for rule in self.chart.rules]
            due = sorted(self.armed, key=lambda label: (self.armed[label], order.index(label)))
            if not due or self.armed[due[0]] > self.world.now:
                break
            rule = self.chart.rules[order.index(due[0])]
            deadline = self.armed.pop(rule.label)
            while rule.every and rule.label not in self.armed:
                deadline += rule.after or 0
                if deadline > self.world.now:
                    self.armed[rule.label] = deadline
            self.in_step = True
            try:
                taken |= self.fire(rule) == "HANDLED"
                self.settle()
            finally:
                self.end_step()
        return taken

    def fire(self, rule: Rule) -> Answer:
        assert rule.event is not None
        self.before = dict(self.at)
        self.event, self.arg, self.source = rule.event, None, rule.state
        self.trace("dispatch_start", rule.event, "None")
        self.trace("dispatch_attempt", rule.state, rule.event)
        answer: Answer = "UNHANDLED"
        if rule.guard is None or self.world.ask(rule.guard, self):
            answer = self.run(rule)
        self.trace("dispatch_result", rule.state, rule.event, answer)
        self.event = None
        self.source = self.current
        return answer

    def ask_state(self, state: str, event: str, deferred_at: int | None) -> Answer:
        """A specific candidate, else deferral, else ANY. H-062 H-210"""
        rule = self.enabled(state, event)
        vertex = self.vertex(state)
        if rule is None and vertex is not None and event in vertex.defer:
            if self.zone(state) == ROOT:  # in a region a sibling may still take it
                self.put_off(event, deferred_at)
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
            if rule.fork:
                self.fork(state, rule, effects)
            elif rule.history is None:
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
        """Return the arguments for the functions of a rule. H-063"""
        if rule.event is None or rule.after is not None:
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
        if plan.what == "go" and self.crosses(source, plan.target):
            raise TransitionError(plan.target)  # H-254
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
        inside: Mapping[str, Leaf | None] | None = None,
    ) -> None:
        """H-080. `inside` has what is entered in the regions of the target."""
        scope = scope or self.lca(source, target)
        leaf = self.at[self.zone(source)]
        self.trace("transition_begin", leaf, target, scope)
        with _Commit(self):
            self.exit_up_to(scope)
            self.trace("transition_action", leaf, target)
            for effect in effects:
                effect()
            later = self.enter_down_to(scope, target, default)
            self.activate(target, inside)
            self.enter_regions(later)
            self.trace("transition_end", leaf, target)

    def fork(self, source: str, rule: Rule, effects: Iterable[Callable[[], None]]) -> None:
        """H-253"""
        owner = rule.target or ROOT
        inside: dict[str, Leaf | None] = {
            region: next((t for t in rule.fork if region in self.path(t)), None)
            for region in self.regions(owner)
        }
        scope = source if source == owner else None
        self.transition(source, owner, effects, scope=scope, inside=inside)

    def transition_history(
        self,
        source: str,
        owner: str,
        kind: str,
        effects: list[Callable[[], None]],
        *,
        entering: bool = False,
    ) -> None:
        """H-121 H-122 H-257"""
        if self.crosses(source, owner):
            raise TransitionError(owner)
        remembered = self.memory.get(owner)
        scope = None
        # a region is left and entered with the state whose region it is
        left = self.parent(owner) if self.kind(owner) == "region" else owner
        if self.is_active(owner) and not entering and source in self.path(left):
            # The owner is active and is left: back to where the machine is.
            scope = self.parent(left) if source == left else source
            remembered = None
            leaf = self.at[self.zone(owner)]
            if leaf != owner or self.regions(owner):
                remembered = self.remember(leaf)
        if isinstance(remembered, tuple) and remembered[0] == owner and not any(remembered[1]):
            remembered = None
        if remembered is None:
            default = self.default_of(owner, kind)
            target = owner if default is None else default.target
            self.transition(source, target, effects, scope=scope, default=default)
            return
        top, parts = remembered if isinstance(remembered, tuple) else (remembered, ())
        inside: dict[str, Leaf | None] = dict(zip(self.regions(top), parts, strict=True))
        target = top
        if kind == "SHALLOW" and self.regions(owner):
            inside = {region: part and self.child(region, part) for region, part in inside.items()}
        elif kind == "SHALLOW":
            target, inside = self.child(owner, top), {}
        self.transition(source, target, effects, scope=scope, inside=inside)

    def child(self, owner: str, leaf: Leaf) -> str:
        """The child of the owner on the path to a leaf."""
        path = self.path(leaf[0] if isinstance(leaf, tuple) else leaf)
        return path[path.index(owner) + 1]

    def default_of(self, owner: str, kind: str) -> HistoryDefault | None:
        return next((d for d in self.chart.defaults if d.owner == owner and d.kind == kind), None)

    def choose(self, source: str, plan: Plan) -> None:
        """H-140"""
        owner = plan.target
        leaf = self.at[self.zone(source)]
        for target in plan.targets():
            if self.crosses(source, target):
                raise TransitionError(target)  # H-254
        scope = owner if source == owner else self.lca(source, owner)
        self.trace("choice_begin", leaf, owner)
        with _Commit(self):
            self.exit_up_to(scope)
            for effect in self.effects(plan.effect):
                effect()
            later = self.enter_down_to(scope, owner)
            if self.phase != "running":
                return  # a region that was entered on the way has ended the machine
            answers = [self.world.ask(branch.guard, self) for branch in plan.branches]
            target, label = plan.otherwise
            for branch, answer in zip(plan.branches, answers, strict=True):
                if answer:
                    target, label = branch.target, branch.effect
                    break
            self.trace("choice_selected", leaf, target)
            for effect in self.effects(label):
                effect()
            later = self.enter_down_to(owner, target) + later
            self.activate(target)
            self.enter_regions(later)
            self.trace("choice_end", leaf, target)

    def remember(self, leaf: str) -> Leaf | None:
        """Return the part that history keeps of a leaf and of its active regions. H-120 H-257"""
        if self.kind(leaf) in ("final", "region"):
            return None
        if self.regions(leaf):
            return leaf, tuple(self.remember(self.at[region]) for region in self.regions(leaf))
        return leaf

    def keep(self, owner: str, leaf: Leaf | None) -> None:
        if leaf is None or (isinstance(leaf, tuple) and leaf[0] == owner and not any(leaf[1])):
            self.memory.pop(owner, None)
        else:
            self.memory[owner] = leaf

    def exit_up_to(self, scope: str) -> None:
        """Exit from the leaf up to, not including, `scope`; history remembers. H-120

        The leaf is that of the region that the scope is in: a state with regions for all that is
        active inside it. H-253
        """
        zone = self.zone(scope)
        leaf = self.at[zone]
        remembered = self.remember(leaf)
        state = leaf
        if self.regions(leaf):
            self.keep(leaf, remembered)
            for region in reversed(self.regions(leaf)):
                if region in self.at:
                    self.keep(region, self.remember(self.at[region]))
                    self.exit_up_to(region)
                    del self.at[region]
            del self.entries[leaf]
        while state != scope:
            if self.is_composite(state) and not (state == leaf and self.regions(leaf)):
                self.keep(state, None if state == leaf else remembered)
            self.pending = [completed for completed in self.pending if completed != state]
            self.at[zone] = state  # H-085
            self.trace("exit", state)
            for rule in self.timers(state):
                self.armed.pop(rule.label, None)
            if self.kind(state) == "state":
                self.behave("exit", state, self.chart.exits, self.chart.any_exit)
            state = self.parent(state)
        self.at[zone] = scope

    def timers(self, state: str) -> list[Rule]:
        return [r for r in self.chart.rules if r.state == state and r.after is not None]

    def enter_down_to(
        self, scope: str, target: str, default: HistoryDefault | None = None
    ) -> list[str]:
        """Enter the path to the target; return the regions that are entered after it. H-253"""
        path = self.path(target)
        entered = path[path.index(scope) + 1 :]
        later: list[str] = []
        if default is not None and default.owner not in entered:
            self.run_default(default)
        for state in entered:
            if self.kind(state) == "terminate" or self.phase != "running":
                continue
            if self.kind(state) == "region":
                regions = self.begin_regions(self.parent(state))
                index = regions.index(state)
                self.enter_regions(regions[:index])
                later = regions[index + 1 :] + later
                self.at[state] = state
            else:
                self.at[self.zone(state)] = state
                self.trace("entry", state)
            if self.kind(state) == "state":
                self.behave("entry", state, self.chart.entries, self.chart.any_entry)
                now = self.world.now
                self.armed.update({r.label: now + (r.after or 0) for r in self.timers(state)})
            if default is not None and default.owner == state:
                self.run_default(default)
        return later

    def begin_regions(self, owner: str) -> list[str]:
        self.entered += 1
        self.entries[owner] = self.entered
        return self.regions(owner)

    def enter_regions(self, regions: list[str]) -> None:
        """Each by its initial, unless the machine has ended meanwhile."""
        for region in regions:
            if self.phase == "running":
                self.at[region] = region
                self.take_initial(region)

    def enter_owner(self, owner: str, inside: Mapping[str, Leaf | None]) -> None:
        """Enter the regions of a state, past their initials where `inside` has something."""
        for region in self.begin_regions(owner):
            leaf = inside.get(region)
            if leaf is None:
                self.enter_regions([region])
            elif self.phase == "running":
                self.at[region] = region
                top, parts = leaf if isinstance(leaf, tuple) else (leaf, ())
                later = self.enter_down_to(region, top)
                below = dict(zip(self.regions(top), parts, strict=True)) if parts else None
                self.activate(top, below)
                self.enter_regions(later)

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

    def activate(self, target: str, inside: Mapping[str, Leaf | None] | None = None) -> None:
        if self.phase != "running":
            return
        self.offer = 0  # a transition took place: deferred events get another chance
        if self.kind(target) == "terminate":
            self.stop("terminated")  # H-150
            self.at = {ROOT: ROOT}
            self.source = ROOT
            return
        self.at[self.zone(target)] = target
        if self.kind(target) == "final":
            owner = self.parent(target)
            if owner == ROOT:
                self.stop("complete")  # H-131
                self.source = target
            elif self.kind(owner) == "region":
                self.memory.pop(owner, None)
                self.end_region(self.parent(owner))
            else:
                self.memory.pop(owner, None)  # H-124
                self.pending.append(owner)  # H-132
        elif self.initial_of(target) is not None:
            self.take_initial(target)
        elif self.regions(target):
            self.enter_owner(target, inside or {})
        elif not self.is_composite(target):
            self.pending.append(target)  # H-133

    def end_region(self, owner: str) -> None:
        """The owner completes when every region is at its final state. H-255"""
        leaves = [self.at.get(region, region) for region in self.regions(owner)]
        if all(self.kind(x) == "final" and self.kind(self.parent(x)) == "region" for x in leaves):
            self.memory.pop(owner, None)
            self.pending.append(owner)

    def stop(self, phase: Phase) -> None:
        self.phase = phase
        self.pending.clear()
        self.offer = None
        self.posted.clear()
        self.deferred.clear()
        self.armed.clear()

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

    def __init__(self, machine: Reference) -> None:
        self.machine = machine
        self.outermost = not machine.in_transition

    def __enter__(self) -> None:
        self.machine.in_transition = True

    def __exit__(self, kind: object, *_: object) -> None:
        if self.outermost:
            self.machine.in_transition = False
            if kind is not None:
                self.machine.phase = "faulted"
                self.machine.at = dict(self.machine.before)  # H-258
                self.machine.source = self.machine.current
