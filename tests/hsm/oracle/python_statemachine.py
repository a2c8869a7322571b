"""A `Machine` class as a python-statemachine `StateChart`: the same chart in a foreign engine.

The translation reads the class's chart and translates each rule by what SCXML (whose semantics
python-statemachine follows) offers for it. Imperative handlers decide in code, so what they do is
passed in as `plans`. It lives with the tests and not in the package: it needs those plans and a
development dependency, and promises nothing to users.

The translation, where it is not word for word:

- ROOT becomes a state `ROOT` around everything, since SCXML has no transitions of the document.
- A transition to a target inside its source is `internal`; SCXML would leave the source otherwise.
- A transition to a state around its source has no equal. It becomes a transition of that state,
  internal, to the target of that state's initial, enabled while the source is active.
- A choice is a state whose guarded transitions without event are taken at once.
- A history without a default gets its owner's initial as the default.
- `ANY` is `*`, behind all specific transitions, and does not take the `done.state` events.
- `Terminate` is an ordinary state; once it is entered nothing is enabled any more.

`DIFFERENCES` lists what cannot be translated because the two models mean different things.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from statemachine import StateChart
from statemachine.io import create_machine_class_from_definition

from tensor_pool.hsm import ANY, DEEP, ROOT, SHALLOW, Final, Machine, State, Terminate
from tensor_pool.hsm._definition.chart import Chart, Rule
from tensor_pool.hsm._definition.chart_of import chart_of
from tests.hsm.oracle.chart import Plan


@dataclass(frozen=True)
class Difference:
    """A feature that means something else, or nothing, in python-statemachine.

    `feature` is the name in `generate.Features`; a chart for all three engines is drawn without it.
    """

    feature: str
    reason: str


DIFFERENCES = (
    Difference("declining", "a handler that has run cannot decline; the search is over by then"),
    Difference("wrong_answer", "handlers have no answer that could be wrong"),
    Difference("after_transition", "a handler cannot act after its own transition has ended"),
    Difference("raising", "an exception puts the old configuration back; here it faults"),
    Difference("misuse", "sending from inside a step is not refused but queued"),
    Difference(
        "behavior_argument", "entry and exit handlers get the data of the event by another way"
    ),
    Difference("driving", "reset, snapshot, copy and post from outside have no equal"),
    Difference("deferral", "SCXML has no deferred events"),
    Difference("timers", "there are no time events"),
    Difference(
        "regions",
        "the transitions of several regions leave all states before they enter any; here each "
        "transition is taken whole",
    ),
    Difference(
        "simple_completion_guard",
        "a transition without event stays enabled and is tried again after every event; a "
        "completion is raised once, on entry",
    ),
    Difference("resting_composite", "a state with children always has an active child"),
    Difference(
        "history_from_inside",
        "a remembered state that contains the source is left and entered again; here it stays",
    ),
    Difference("history_beside_final", "history survives a final state; here it is forgotten"),
    Difference(
        "history_edge_effect",
        "the content of a transition into a history is run once more after the owner's entry",
    ),
    Difference(
        "history_initial", "the content of an initial that leads into a history runs twice as well"
    ),
    Difference(
        "ancestor_target_shadowed",
        "a transition to a state around its source has to be moved there, behind the candidates of "
        "the states between",
    ),
)

_ROOT = "ROOT"


def statechart_of(machine: type[Machine], plans: Mapping[str, Plan]) -> type[StateChart]:
    """The StateChart class. Instances take a `Host` as their model."""
    return _Bridge(machine, plans).statechart()


class Host:
    """Stands in for the machine: behaviours get it as `self`, so it has what they use."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.state: Any = None  # python-statemachine keeps its configuration here
        self.stopped = ""
        self.chart: Any = None

    def post(self, event: str, _: object = None) -> None:
        if not self.stopped:
            self.chart.send(event)


class _Bridge:
    def __init__(self, machine: type[Machine], plans: Mapping[str, Plan]) -> None:
        self._machine = machine
        self._plans = plans
        self._chart: Chart = chart_of(machine)
        self._by_name = {_ROOT: ROOT, **{s.name: s for s in self._chart.states}}
        self._nodes: dict[str, dict[str, Any]] = {}
        self._histories: dict[str, dict[str, Any]] = {}
        self._moved: dict[str, list[dict[str, Any]]] = {}
        self._initials: dict[str, dict[str, Any]] = {}

    def statechart(self) -> type[StateChart]:
        for state in (ROOT, *self._chart.states):
            self._nodes[state.name] = self._node(state)
        for state in self._chart.states:
            self._home(state.parent or ROOT)["states"][state.name] = self._nodes[state.name]
        for owner, rule in self._chart.initials.items():
            self._initials[owner.name] = {**self._initial(owner, rule), "initial": True}
            self._nodes[owner.name]["transitions"].append(self._initials[owner.name])
        for state in (ROOT, *self._chart.states):
            self._rules(state)
        for name, moved in self._moved.items():
            self._nodes[name]["transitions"][1:1] = moved  # behind the initial, before all others
        kept = {name: initial["target"] for name, initial in self._initials.items()}
        for node in self._nodes.values():
            for name in [name for name in ("states", "history") if not node[name]]:
                del node[name]
        built = create_machine_class_from_definition(
            self._machine.__name__,
            {_ROOT: self._nodes[_ROOT]},
            catch_errors_as_events=False,
            validate_disconnected_states=False,
            validate_trap_states=False,
            validate_final_reachability=False,
        )
        _drop_implied_initials(built, kept)
        return built

    def _home(self, owner: State) -> dict[str, Any]:
        return self._nodes[owner.name]

    def _node(self, state: State) -> dict[str, Any]:
        node: dict[str, Any] = {
            "states": {},
            "history": {},
            "transitions": [],
            "initial": state is ROOT,
        }
        if isinstance(state, Final):
            node["final"] = state.parent is not ROOT
            if state.parent is ROOT:
                node["enter"] = _stopping("complete")
        elif isinstance(state, Terminate):
            node["enter"] = _stopping("terminated")
        elif state is not ROOT:
            for key, rules in (("enter", self._chart.entries), ("exit", self._chart.exits)):
                if state in rules:
                    node[key] = _calling(rules[state].function)
                elif None in rules:
                    named = SimpleNamespace(name=state.name)
                    node[key] = _calling(rules[None].function, named)
        return node

    # Rules.

    def _rules(self, state: State) -> None:
        candidates = self._chart.candidates.get(state, {})
        ordered = [e for e in candidates if e is not ANY] + [e for e in candidates if e is ANY]
        for event in ordered:
            for rule in candidates[event]:
                extra = (None, None) if event is ANY else (None,)
                self._rule(state, rule, "*" if event is ANY else str(event), extra)
        for rule in self._chart.completions.get(state, ()):
            composite = self._chart.is_composite(state)
            self._rule(state, rule, f"done.state.{state.name}" if composite else None, ())

    def _rule(self, state: State, rule: Rule, event: str | None, extra: tuple[None, ...]) -> None:
        conditions: list[Any] = [_still_running]
        if rule.guard is not None:
            conditions.append(_asking(rule.guard, *extra))
        if event == "*":
            conditions.append(_is_no_completion)
        transition: dict[str, Any] = {"event": event, "cond": conditions}
        run = _calling(rule.function, *extra) if rule.function is not None else None
        plan = self._plans.get(rule.attribute)
        if plan is None:
            assert rule.target is not None
            transition["on"] = [run] if run else []
            history = None if rule.history is None else rule.history.name
            self._lead(state, rule.target, history, transition)
            return
        transition["before"] = [_noting(rule.attribute)]
        transition["on"] = [_noting(plan.effect)] if plan.effect else []
        if plan.what == "handle":
            transition["target"] = None
            self._nodes[state.name]["transitions"].append(transition)
        elif plan.what == "choose":
            owner = self._by_name[plan.target]
            transition["target"] = self._choice(owner, plan, rule.attribute)
            transition["internal"] = state is owner or self._chart.is_below(owner, state)
            self._nodes[state.name]["transitions"].append(transition)
        else:
            history = plan.history if plan.what == "recall" else None
            self._lead(state, self._by_name[plan.target], history, transition)

    def _lead(
        self, source: State, target: State, history: str | None, transition: dict[str, Any]
    ) -> None:
        inside = self._chart.is_below(target, source)
        if history is not None:
            transition["target"] = self._history(target, history)
            transition["internal"] = inside
        elif target is not ROOT and self._chart.is_below(source, target):
            # To a state around the source: moved there, see the module's text.
            initial = self._initials[target.name]
            transition["cond"] = [_active(source.name), *transition["cond"]]
            transition["on"] = [*transition["on"], *initial["on"]]
            transition["target"] = initial["target"]
            transition["internal"] = True
            self._moved.setdefault(target.name, []).append(transition)
            return
        else:
            transition["target"] = target.name
            transition["internal"] = inside
        self._nodes[source.name]["transitions"].append(transition)

    def _initial(self, owner: State, rule: Rule) -> dict[str, Any]:
        plan = self._plans.get(rule.attribute)
        if plan is None:
            assert rule.target is not None
            effects = [_calling(rule.function)] if rule.function is not None else []
            return {"target": rule.target.name, "on": effects}
        effects = [_noting(rule.attribute), *([_noting(plan.effect)] if plan.effect else [])]
        aim = self._by_name[plan.target]
        if plan.what == "choose":
            return {"target": self._choice(aim, plan, rule.attribute), "on": effects}
        if plan.what == "recall":
            return {"target": self._history(aim, plan.history), "on": effects}
        return {"target": aim.name, "on": effects}

    def _choice(self, owner: State, plan: Plan, label: str) -> str:
        vertex = f"choice_{label}"
        transitions = [
            {
                "target": branch.target,
                "event": None,
                "cond": [_asking_world(branch.guard)],
                "on": [_noting(branch.effect)] if branch.effect else [],
            }
            for branch in plan.branches
        ]
        target, effect = plan.otherwise
        transitions.append(
            {"target": target, "event": None, "on": [_noting(effect)] if effect else []}
        )
        self._home(owner)["states"][vertex] = {"transitions": transitions}
        return vertex

    def _history(self, owner: State, kind: str) -> str:
        vertex = f"{owner.name}_{kind}"
        home = self._home(owner)["history"]
        if vertex not in home:
            rule = self._chart.defaults.get((owner, DEEP if kind == "DEEP" else SHALLOW))
            if rule is not None:
                assert rule.target is not None
                effects = [] if rule.function is None else [_calling(rule.function)]
                default: dict[str, Any] = {"target": rule.target.name, "on": effects}
            else:
                own = self._chart.initials[owner]
                default = self._initials.get(owner.name) or self._initial(owner, own)
                default = {"target": default["target"], "on": default["on"]}
            home[vertex] = {"type": kind.lower(), "transitions": [default]}
        return vertex


def _drop_implied_initials(built: type[StateChart], kept: Mapping[str, str]) -> None:
    """Building adds an initial to the first child where the declared one leads deeper."""
    waiting = list(built.states)
    while waiting:
        state = waiting.pop()
        waiting += state.states
        if state.id in kept:
            wrong = [
                t
                for t in state.transitions
                if t.initial and (t.target is None or t.target.id != kept[state.id])
            ]
            for transition in wrong:
                state.transitions.transitions.remove(transition)


# Callbacks: python-statemachine fills parameters by their names.


def _calling(function: Callable[..., Any] | None, *arguments: Any) -> Callable[..., Any]:
    assert function is not None

    def call(model: Host, machine: StateChart) -> None:
        model.chart = machine
        function(model, *arguments)

    return call


def _noting(label: str) -> Callable[..., Any]:
    def note(model: Host, machine: StateChart) -> None:
        model.chart = machine
        model.world.act(label, model)

    return note


def _asking(guard: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    def ask(model: Host) -> bool:
        return bool(guard(model, *arguments))

    return ask


def _asking_world(guard: str) -> Callable[..., Any]:
    def ask(model: Host) -> bool:
        return bool(model.world.ask(guard, model))

    return ask


def _active(name: str) -> Callable[..., Any]:
    def active(machine: StateChart) -> bool:
        return name in machine.configuration_values

    return active


def _stopping(phase: str) -> Callable[..., Any]:
    def stop(model: Host) -> None:
        model.stopped = phase

    return stop


def _still_running(model: Host) -> bool:
    return not model.stopped


def _is_no_completion(event: object) -> bool:
    return not str(event).startswith("done.")
