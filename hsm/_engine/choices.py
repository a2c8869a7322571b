"""The calls by which an imperative handler takes its transition: history and choice.

`Machine.transition` itself is in `machine.py`; what all three have in common is that they are
checked completely before anything is left, and that a refused call changes nothing (H-087, H-125,
H-143).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..declarations import Role
from ..errors import TransitionError
from ..states import History, Outcome, Region, State
from .dispatch_tables import NO_TARGETS
from .exit_and_entry_plans import EFFECT_OF_CALLER
from .nodes import Activation, activation_of
from .region_plans import CROSSING

NO_HANDLER = "only a running imperative handler may take a transition"

type Condition = Callable[[], object]
type Action = Callable[[], object]
type Branch = tuple[Condition, State] | tuple[Condition, State, Action | None]
type _Branch = tuple[Condition, State, Action | None]
type Otherwise = State | tuple[State, Action | None]


def refusal(m: Any, call: str, target: object, reason: str) -> TransitionError:
    """The error of an in-handler call: what was asked, where, and why it cannot be done."""
    shown = target.name if isinstance(target, State) else repr(target)
    where = f"in state {m.current.name}, event {m.event!r}"
    return TransitionError(f"{type(m).__qualname__}.{call}({shown}) {where}: {reason}")


def refuse_transition(m: Any, call: str, target: object, effect: object) -> TransitionError:
    """The error of a refused `transition` or `transition_history`."""
    active = activation_of(m)
    if not isinstance(target, State):
        reason = "give a state object, such as self.Name"
    elif active is None:
        handler = m._hsm_node.rests.get(m._hsm_event)
        reason = NO_HANDLER if handler is None else NO_TARGETS
    elif (target in active.targets and not active.moves) or active.leaf is None:
        reason = active.refusal
    elif target in active.refused:
        reason = active.refused[target]
    elif target in active.moves and not callable(effect):
        reason = f"the effect {effect!r} is not callable"
    else:
        allowed = ", ".join(state.name for state in active.moves)
        reason = f"{active.refusal}{f' ({allowed})' if allowed else ''}"
    return refusal(m, call, target, reason)


def transition_history(m: Any, owner: Any, kind: Any, effect: Action | None) -> Outcome:
    """`Machine.transition_history` (H-121, H-125)."""
    active = activation_of(m)
    call = "transition_history"
    if effect is not None and not callable(effect):
        raise refusal(m, call, owner, f"the effect {effect!r} is not callable")
    if not isinstance(kind, History):
        raise refusal(m, call, owner, f"the kind is {kind!r}; give SHALLOW or DEEP")
    allowed = isinstance(owner, State) and active is not None and owner in active.moves
    if isinstance(owner, Region) and active is not None and owner in active.refused:
        allowed = not m._hsm_node.tables.chart.crosses(active.source, owner)
    if not allowed or active is None or active.leaf is None or active.rule is None:
        raise refuse_transition(m, call, owner, effect)
    routes = m._hsm_node.tables.routes
    if owner not in routes.memories.cells:
        raise refusal(m, call, owner, "it has no history; name a composite state other than ROOT")
    plan = active.recalls.get((owner, kind))
    if plan is None:
        edge = (active.source, active.rule.event, owner)
        plan = active.recalls[owner, kind] = routes.recall(
            active.leaf,
            active.source,
            owner,
            kind,
            EFFECT_OF_CALLER,
            edge,
            activation=active,
        )
    return plan(m, effect)


class Decision:
    """The checked arguments of a choice: its incoming effect and its branches.

    Attributes:
        branches: guard, target and effect of each, in the order of trial; the last one's guard is
            always true.
    """

    __slots__ = ("branches", "effect")

    def __init__(self, branches: list[_Branch], effect: Action | None) -> None:
        self.branches = branches
        self.effect = effect

    def decide(self) -> tuple[State, Action | None]:
        """Evaluate all guards, and return target and effect of the first branch that is enabled."""
        enabled = [bool(guard()) for guard, _, _ in self.branches]
        _, target, effect = self.branches[enabled.index(True)]
        return target, effect


def choice(
    m: Any,
    owner: State,
    branches: Sequence[Branch],
    otherwise: Otherwise | None,
    effect: Action | None,
) -> Outcome:
    """`Machine.choice` (section 12)."""
    active = activation_of(m)
    if active is None or active.leaf is None:
        raise refuse_transition(m, "choice", owner, effect)
    decision = Decision(_checked(m, active, owner, branches, otherwise, effect), effect)
    plan = active.choices.get(owner)
    if plan is None:
        routes = m._hsm_node.tables.routes
        plan = active.choices[owner] = routes.choice(active.leaf, active.source, owner, active)
    return plan(m, decision)


def _always() -> bool:
    return True


def _checked(
    m: Any, active: Activation, owner: object, branches: Any, otherwise: Any, effect: object
) -> list[_Branch]:
    """The branches in the order of trial, the last one unconditional; everything is as declared."""

    def wrong(reason: str) -> TransitionError:
        return refusal(m, "choice", owner, reason)

    chart = m._hsm_node.tables.chart
    if not isinstance(owner, State) or owner not in chart.paths:
        raise wrong("the owner is not a state of this machine")
    if not chart.is_composite(owner):
        raise wrong("the owner has no children; name a composite state")
    if active.rule is not None and active.rule.role is Role.INITIAL:
        initial_owner = active.rule.state
        if initial_owner not in chart.paths[owner]:
            raise wrong("the choice of an initial belongs to the initial's owner or a state below")
    if effect is not None and not callable(effect):
        raise wrong(f"the effect {effect!r} is not callable")
    if otherwise is None:
        raise wrong("otherwise is missing; say where to go when no guard is true")
    try:
        written = [tuple(branch) for branch in branches]
    except TypeError:
        raise wrong(
            "branches is not a sequence of (guard, target) or (guard, target, effect)"
        ) from None
    last = otherwise if isinstance(otherwise, tuple) else (otherwise,)
    decided = []
    for branch in [*written, (_always, *last)]:
        if len(branch) not in (2, 3):
            raise wrong(
                f"{branch!r} is not a branch; give (guard, target) or (guard, target, effect)"
            )
        guard, target, action = (*branch, None)[:3]
        if not callable(guard):
            raise wrong(f"the guard {guard!r} is not callable")
        if action is not None and not callable(action):
            raise wrong(f"the effect {action!r} is not callable")
        if not isinstance(target, State) or target not in active.targets:
            raise wrong(f"the target {target!r} is not among the declared targets")
        if not chart.is_below(target, owner):
            raise wrong(f"the target {target!r} is not below the owner")
        if chart.regions and chart.crosses(active.source, target):
            raise wrong(f"the target {target!r} cannot be reached: {CROSSING}")
        decided.append((guard, target, action))
    return decided
