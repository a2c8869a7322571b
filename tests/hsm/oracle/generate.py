"""Random charts and random sequences of operations on them.

The generator asks a `Picker` for every decision, so the same code serves a seeded
`random.Random` (fast, for many cases) and hypothesis (which shrinks what fails).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

from tests.hsm.oracle.chart import (
    ANY,
    ROOT,
    Branch,
    Chart,
    History,
    HistoryDefault,
    Initial,
    Kind,
    Op,
    Plan,
    Rule,
    Step,
    Vertex,
)

EVENTS = ("e0", "e1", "e2", "e3")
UNKNOWN = "e9"  # no chart declares it
BITS = 6


class Picker(Protocol):
    def integer(self, low: int, high: int) -> int: ...


class SeededPicker:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return low + int(self._random.random() * (high - low + 1))


@dataclass(frozen=True)
class Features:
    """The features that a generated chart may have. One that is off never appears in the chart."""

    terminate: bool = True
    final: bool = True
    completion: bool = True
    simple_completion_guard: bool = True
    imperative: bool = True
    declining: bool = True
    wrong_answer: bool = True
    after_transition: bool = True
    any_event: bool = True
    choice: bool = True
    choice_in_initial: bool = True
    history: bool = True
    history_from_inside: bool = True
    history_from_around: bool = True
    history_beside_final: bool = True
    history_initial: bool = True
    history_default_effect: bool = True
    history_edge_effect: bool = True
    ancestor_target_shadowed: bool = True
    resting_composite: bool = True
    deferral: bool = True
    posting: bool = True
    raising: bool = True
    misuse: bool = True
    driving: bool = True
    behavior_argument: bool = True
    regions: bool = True
    timers: bool = True

    def without(self, names: Sequence[str]) -> Features:
        known = {f.name for f in fields(self)}
        assert known >= set(names), set(names) - known
        return replace(self, **dict.fromkeys(names, False))


EVERYTHING = Features()


class Generator:
    """Draws one chart. Later stages read what the earlier ones have decided."""

    def __init__(self, pick: Picker, features: Features = EVERYTHING) -> None:
        self.pick = pick
        self.features = features
        self.vertices: list[Vertex] = []
        self.initials: list[Initial] = []
        self.rules: list[Rule] = []
        self.defaults: list[HistoryDefault] = []
        self.guards: dict[str, int] = {}
        self.scripts: dict[str, tuple[Step, ...]] = {}

    # Decisions.

    def chance(self, percent: int) -> bool:
        return self.pick.integer(0, 99) < percent

    def one[T](self, items: Sequence[T]) -> T:
        return items[self.pick.integer(0, len(items) - 1)]

    def bit(self) -> int:
        return self.pick.integer(0, BITS - 1)

    # The chart.

    def chart(self) -> Chart:
        self._draw_vertices()
        for owner in [ROOT, *self._composites()]:
            self._draw_initial(owner)
        self._draw_rules()
        if self.features.history:
            self._draw_history_defaults()
        if not self.features.ancestor_target_shadowed:
            self.rules = [rule for rule in self.rules if not self._is_shadowed(rule)]
        self.rules = self._with_all_but_the_last_guarded()
        states = [v.name for v in self.vertices if v.kind == "state"]
        entries = tuple(s for s in states if self.chance(70))
        exits = tuple(s for s in states if self.chance(70))
        for what, named in (("entry", entries), ("exit", exits)):
            for state in named:
                self._script(f"{what}_{state}")
        labels = [f"entry_{s}" for s in entries] + [f"exit_{s}" for s in exits]
        taking: tuple[str, ...] = ()
        if self.features.behavior_argument and self.chance(40):
            taking = tuple(x for x in (*labels, "any_entry", "any_exit") if self.chance(50))
        return Chart(
            vertices=tuple(self.vertices),
            initials=tuple(self.initials),
            rules=tuple(self.rules),
            defaults=tuple(self.defaults),
            entries=entries,
            exits=exits,
            any_entry=self.chance(25),
            any_exit=self.chance(25),
            taking=taking,
            guards=self.guards,
            scripts=self.scripts,
        )

    def _draw_vertices(self) -> None:
        for number in range(self.pick.integer(2, 9)):
            name = f"s{number}"
            homes = [ROOT] + [
                v.name
                for v in self.vertices
                if v.kind in ("state", "region")
                and len(self._path(v.name)) < 5
                and not self._regions(v.name)
            ]
            kinds: list[Kind] = ["state"] * 10
            kinds += ["final"] * (2 * self.features.final) + ["terminate"] * self.features.terminate
            kind = self.one(kinds) if number else "state"
            # A chart whose states all lie at the top tests little: prefer the youngest homes.
            parent = self.one(homes[-3:] if self.chance(60) else homes)
            defer: tuple[str, ...] = ()
            if kind == "state" and self.features.deferral and self.chance(15):
                defer = tuple(e for e in EVENTS if self.chance(40))
            self.vertices.append(Vertex(name, parent, kind, defer))
            if kind == "state" and self.features.regions and self.chance(12):
                self._draw_regions(name)

    def _draw_regions(self, owner: str) -> None:
        """Two regions, sometimes three, with a state in each of them."""
        for letter in "abc" if self.chance(20) else "ab":
            self.vertices.append(Vertex(f"{owner}{letter}", owner, "region"))
            self.vertices.append(Vertex(f"{owner}{letter}0", f"{owner}{letter}"))

    def _regions(self, owner: str) -> list[str]:
        return [v.name for v in self.vertices if v.parent == owner and v.kind == "region"]

    def _crosses(self, source: str, target: str) -> bool:
        """True if the two are in different regions of one state. H-254"""
        path, other = [ROOT, *self._path(source)], [ROOT, *self._path(target)]
        shared = [name for name in path if name in other]
        return bool(self._regions(shared[-1])) and shared[-1] not in (source, target)

    def _path(self, name: str) -> list[str]:
        """From the outermost state to `name`."""
        vertex = next((v for v in self.vertices if v.name == name), None)
        return [] if vertex is None else [*self._path(vertex.parent), name]

    def _below(self, owner: str) -> list[str]:
        return [
            v.name
            for v in self.vertices
            if v.name != owner
            and v.kind != "region"
            and (owner == ROOT or owner in self._path(v.name))
        ]

    def _kind(self, name: str) -> str:
        return next((v.kind for v in self.vertices if v.name == name), "state")

    def _composites(self) -> list[str]:
        parents = {v.parent for v in self.vertices}
        return [v.name for v in self.vertices if v.name in parents]

    def _draw_initial(self, owner: str) -> None:
        if self._regions(owner):
            return
        has_state = any(v.parent == owner and v.kind == "state" for v in self.vertices)
        if (
            not has_state
            and self._kind(owner) != "region"
            and self.features.resting_composite
            and self.chance(50)
        ):
            return
        label = f"initial_{owner}"
        below = self._below(owner)
        composites = [c for c in self._composites() if c in below]
        self._script(label)
        if owner != ROOT and self._history_allowed("history_initial", owner) and self.chance(15):
            kind: History = self.one(("SHALLOW", "DEEP"))
            self._default(owner, kind)
            self.initials.append(Initial(label, owner, owner, kind, effect=self.chance(70)))
            return
        if self.features.imperative and self.features.choice_in_initial and self.chance(35):
            plan = self._initial_plan(owner, below, composites)
            if len(plan.targets()) == 1 or plan.what == "choose":
                self.initials.append(Initial(label, owner, plan=plan))
                return
        self.initials.append(Initial(label, owner, self.one(below), effect=self.chance(60)))

    def _initial_plan(self, owner: str, below: list[str], composites: list[str]) -> Plan:
        what = self.one(("go", "choose", "choose", "recall"))
        after = self._after(f"initial_{owner}")
        effect = self._maybe_effect(f"initial_{owner}_in")
        if what == "choose" and self.features.choice:
            return self._choice(self.one([owner, *composites]), f"initial_{owner}", effect, after)
        if what == "recall" and composites and self.features.history_initial:
            kind: History = self.one(("SHALLOW", "DEEP"))
            return Plan("recall", self.one(composites), kind, effect, after=after)
        return Plan("go", self.one(below), effect=effect, after=after)

    def _draw_rules(self) -> None:
        sources = [v.name for v in self.vertices if v.kind == "state"]
        for number in range(self.pick.integer(2, 14)):
            label = f"r{number}"
            if self.features.completion and self.chance(15):
                self._draw_completion(label, self.one(sources))
                continue
            state = self.one([ROOT, *sources, *sources])
            event = ANY if self.features.any_event and self.chance(12) else self.one(EVENTS)
            guard = self._guard(f"g{number}") if self.chance(35) else None
            self._script(label)
            if state != ROOT and self.features.timers and self.chance(12):
                self._draw_timer(label, state, guard)
                continue
            self.rules.append(self._rule(label, state, event, guard))

    def _draw_timer(self, label: str, state: str, guard: str | None) -> None:
        after, every = self.pick.integer(1, 4), self.chance(35)
        event = f"{'every' if every else 'after'} {after} s"
        rule = self._rule(label, state, event, guard)
        self.rules.append(replace(rule, after=after, every=every))

    def _draw_completion(self, label: str, state: str) -> None:
        simple = state not in self._composites()
        if simple and not self.features.simple_completion_guard:
            # Unguarded, so nothing may lead on from the target: a leaf without a completion.
            targets = [
                v.name
                for v in self.vertices
                if v.name not in self._composites()
                and v.kind != "final"
                and v.name != state
                and not any(r.state == v.name and r.event is None for r in self.rules)
            ]
            taken = [r for r in self.rules if r.event is None]
            if not targets or any(r.state == state or r.target == state for r in taken):
                return
            self._script(label, Step("burn"))
            self.rules.append(Rule(label, state, None, None, self.one(targets)))
            return
        guard = f"fuel_{label}"
        self.guards[guard] = self.bit()
        self._script(label, Step("burn"))
        self.rules.append(self._rule(label, state, None, guard))

    def _rule(self, label: str, state: str, event: str | None, guard: str | None) -> Rule:
        if self.features.imperative and self.chance(50):
            plan = self._plan(label, state)
            if plan is not None:
                return Rule(label, state, event, guard, plan=plan)
        owners = [
            c
            for c in self._composites()
            if self._may_recall(state, c) and not self._crosses(state, c)
        ]
        effect = event is None or self.chance(75)
        if owners and self.chance(15) and self._may_have_effect(event):
            owner = self.one(owners)
            effect = effect and self.features.history_edge_effect
            kind: History = self.one(("SHALLOW", "DEEP"))
            return Rule(label, state, event, guard, owner, kind, effect)
        if self.chance(30):
            forks = [
                v.name
                for v in self.vertices
                if self._regions(v.name) and v.name not in self._path(state)[:-1]
            ]
            if forks:
                owner = self.one(forks)
                fork = tuple(
                    self.one(self._below(r)) for r in self._regions(owner) if self.chance(80)
                )
                if len(fork) > 1:
                    return Rule(label, state, event, guard, owner, effect=effect, fork=fork)
        names = [t for t in self._below(ROOT) if not self._crosses(state, t)]
        target = self.one([ROOT, *names, *names])
        return Rule(label, state, event, guard, target, effect=effect)

    def _plan(self, label: str, state: str) -> Plan | None:
        declining = self.features.declining
        when = self.bit() if declining and self.chance(25) else None
        effect = self._maybe_effect(f"{label}_in")
        after = self._after(label)
        roll = self.pick.integer(0, 99)
        names = self._below(ROOT)
        if roll < 30:
            return Plan("handle", when=when)
        if roll < 42:
            return Plan("decline") if declining else None
        if roll < 66:
            return Plan("go", self.one([ROOT, *names]), effect=effect, when=when, after=after)
        if roll < 78:
            owners = [c for c in self._composites() if self._may_recall(state, c)]
            if not owners:
                return None
            kind: History = self.one(("SHALLOW", "DEEP"))
            effect = effect if self.features.history_edge_effect else None
            return Plan("recall", self.one(owners), kind, effect, when=when, after=after)
        if roll < 98:
            if not self.features.choice:
                return None
            owner = self.one([ROOT, *self._composites()])
            return replace(self._choice(owner, label, effect, after), when=when)
        return Plan("wrong") if self.features.wrong_answer else None

    def _choice(self, owner: str, label: str, effect: str | None, after: str | None) -> Plan:
        below = self._below(owner)
        branches = tuple(
            Branch(
                self._guard(f"{label}_b{n}"), self.one(below), self._maybe_effect(f"{label}_b{n}e")
            )
            for n in range(self.pick.integer(0, 3))
        )
        otherwise = (self.one(below), self._maybe_effect(f"{label}_else"))
        return Plan("choose", owner, "SHALLOW", effect, branches, otherwise, after=after)

    def _may_have_effect(self, event: str | None) -> bool:
        """A completion always has an effect, the one that burns fuel."""
        return event is not None or self.features.history_edge_effect

    def _may_recall(self, source: str, owner: str) -> bool:
        if not self._history_allowed("history", owner):
            return False
        if source == ROOT or source in self._path(owner):
            return self.features.history_from_around
        return self.features.history_from_inside or owner not in self._path(source)

    def _history_allowed(self, feature: str, owner: str) -> bool:
        if not (self.features.history and getattr(self.features, feature)):
            return False
        below = self._below(owner)
        has_end = any(v.name in below and v.kind != "state" for v in self.vertices)
        return self.features.history_beside_final or not has_end

    def _draw_history_defaults(self) -> None:
        for owner in self._composites():
            if self._history_allowed("history", owner):
                kinds: tuple[History, ...] = ("SHALLOW", "DEEP")
                for kind in kinds:
                    if self.chance(40):
                        self._default(owner, kind)

    def _default(self, owner: str, kind: History) -> None:
        if any(d.owner == owner and d.kind == kind for d in self.defaults):
            return
        label = f"default_{owner}_{kind}"
        effect = self.features.history_default_effect and self.chance(60)
        if effect:
            self._script(label)
        target = self.one(self._below(owner))
        self.defaults.append(HistoryDefault(label, owner, kind, target, effect))

    def _with_all_but_the_last_guarded(self) -> list[Rule]:
        """An unguarded candidate before another of the same key is a definition error. H-020"""
        result = []
        for number, rule in enumerate(self.rules):
            followed = any(
                (later.state, later.event) == (rule.state, rule.event) and rule.after is None
                for later in self.rules[number + 1 :]
            )
            if followed and rule.guard is None:
                rule = replace(rule, guard=self._guard(f"x{number}"))
            result.append(rule)
        return result

    def _is_shadowed(self, rule: Rule) -> bool:
        """True if it leads to a state around its source and anything else might take its event."""
        target = rule.target if rule.plan is None else rule.plan.target
        if rule.plan is not None and rule.plan.what != "go":
            return False
        path = self._path(rule.state)
        if target not in path[:-1]:
            return False
        between = path[path.index(target) + 1 :]
        rivals = (rule.event, ANY) if rule.event is not None else (None,)
        return rule.event == ANY or any(
            other is not rule and other.state in between and other.event in rivals
            for other in self.rules
        )

    def _guard(self, label: str) -> str:
        self.guards[label] = self.bit()
        return label

    def _maybe_effect(self, label: str) -> str | None:
        if not self.chance(50):
            return None
        self._script(label)
        return label

    def _after(self, label: str) -> str | None:
        if not (self.features.after_transition and self.chance(20)):
            return None
        self._script(f"{label}_after")
        return f"{label}_after"

    def _script(self, label: str, *steps: Step) -> None:
        script = list(steps)
        if self.chance(25):
            script.append(Step("flip", self.bit()))
        if self.features.posting and self.chance(10):
            script.append(Step("post", event=self.one(EVENTS)))
        if self.features.misuse and self.chance(5):
            script.append(Step("misuse", event=self.one(EVENTS)))
        if self.features.raising and self.chance(5):
            script.append(Step("raise", self.bit()))
        if script:
            self.scripts[label] = tuple(script)


def draw_chart(pick: Picker, features: Features = EVERYTHING) -> Chart:
    return Generator(pick, features).chart()


def draw_sequence(pick: Picker, features: Features = EVERYTHING) -> tuple[Op, ...]:
    """Draw some operations; the caller resets a machine that has stopped."""
    operations = []
    for _ in range(pick.integer(3, 9)):
        roll = pick.integer(0, 99)
        flags = pick.integer(0, (1 << BITS) - 1)
        number = pick.integer(0, 12)
        event = UNKNOWN if number == 12 else EVENTS[number % 4]
        if features.timers and roll % 10 == 7:
            operations.append(Op("wait", flags=flags, seconds=pick.integer(0, 5)))
        elif not features.driving or roll < 80:
            operations.append(Op("dispatch", event, flags))
        elif roll < 88:
            operations.append(Op("post", event, flags))
        elif roll < 92:
            operations.append(Op("reset", flags=flags))
        elif roll < 96:
            operations.append(Op("roundtrip", flags=flags))
        else:
            operations.append(Op("copy", flags=flags))
    return tuple(operations)
