"""Whether `transition` may be called now, and what there is to say when it may not.

`transition` finds a plan by the leaf and the target. Whether the plan is permitted depends on the
handler that runs, and that is seen by the machine's `_hsm_event`: each plan wants one value of it.
Where several handlers of a leaf lead to the same target, a `fork` looks for the right plan.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from .errors import TransitionError
from .nodes import activate, activation_of
from .scripts import Plan
from .states import Outcome, State


def fork(plans: dict[Hashable, Plan], target: State) -> Plan:
    """The plan that takes one of `plans`, by what the machine's `_hsm_event` is."""

    def choose(m: Any, effect: Any) -> Outcome:
        plan = plans.get(m._hsm_event)
        return refuse_or_retry(m, target, effect) if plan is None else plan(m, effect)

    return choose


def refuse_or_retry(m: Any, target: State, effect: Any) -> Outcome:
    """Refuse a transition whose plan wants another `_hsm_event`, unless the event is the same.

    An event may be equal to the declared one without being the same object. Then an activation
    stands for it, since `Machine.event` is the object that was dispatched.
    """
    activation = activation_of(m)
    if target not in activation.moves or activation is m._hsm_event:
        raise refuse_transition(m, "transition", target, effect)
    plan: Plan = m._hsm_node.tables.routes.move(activation, target)
    activate(m, activation)
    return plan(m, effect)


def refusal(m: Any, call: str, target: object, reason: str) -> TransitionError:
    """The error of an in-handler call: what was asked, where, and why it cannot be done."""
    shown = target.name if isinstance(target, State) else repr(target)
    where = f"in state {m.current.name}, event {m.event!r}"
    return TransitionError(f"{type(m).__qualname__}.{call}({shown}) {where}: {reason}")


def refuse_transition(m: Any, call: str, target: object, effect: object) -> TransitionError:
    """Why `transition` was refused."""
    active = activation_of(m)
    if not isinstance(target, State):
        reason = "give a state object, such as self.Name"
    elif (target in active.targets and not active.moves) or active.leaf is None:
        reason = active.refusal
    elif target in active.moves and not callable(effect):
        reason = f"the effect {effect!r} is not callable"
    else:
        allowed = ", ".join(state.name for state in active.moves)
        reason = f"{active.refusal}{f' ({allowed})' if allowed else ''}"
    return refusal(m, call, target, reason)
