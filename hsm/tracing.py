"""Trace hooks: what they are called and how an observer is attached (section 15)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from .states import Outcome, State


class Hooks:
    """The trace hooks of a machine, with empty bodies, meant for overriding (H-170).

    `origin` is the leaf that was active when a transition began. Hooks may not drive the machine.
    """

    __slots__ = ()

    def trace_dispatch_start(self, event: Hashable, arg: Any) -> None:
        """An event is about to be searched for."""

    def trace_dispatch_attempt(self, state: State, event: Hashable) -> None:
        """A state is about to be asked."""

    def trace_dispatch_result(self, state: State, event: Hashable, result: Outcome) -> None:
        """A state has answered."""

    def trace_entry(self, state: State) -> None:
        """A state is about to be entered."""

    def trace_exit(self, state: State) -> None:
        """A state is about to be left."""

    def trace_initial(self, owner: State) -> None:
        """The initial of a state is about to be taken."""

    def trace_transition_begin(self, origin: State, target: State, lca: State) -> None:
        """A transition is about to be taken; nothing has been left yet."""

    def trace_transition_action(self, origin: State, target: State) -> None:
        """The effect of a transition is about to run."""

    def trace_transition_end(self, origin: State, target: State) -> None:
        """A transition has been taken, initials included."""

    def trace_choice_begin(self, origin: State, owner: State) -> None:
        """A choice is about to be taken; nothing has been left yet."""

    def trace_choice_selected(self, origin: State, target: State) -> None:
        """A choice has decided; the branch's effect has not run yet."""

    def trace_choice_end(self, origin: State, target: State) -> None:
        """A choice has been taken, initials included."""


HOOK_NAMES = tuple(name for name in vars(Hooks) if name.startswith("trace_"))


def overrides_hooks(cls: type) -> bool:
    """Return True if a machine class has a hook of its own."""
    return any(getattr(cls, name) is not vars(Hooks)[name] for name in HOOK_NAMES)


def _ignore(*arguments: Any) -> None:
    """Stands for a hook that an observer does not have."""


class Observed:
    """An observer as the traced plans call it: every hook is there, absent ones do nothing.

    Attributes:
        observer: what the hooks are passed to, None for the machines without one.
        observers: the users' objects.
        edge_taken: called with source, event and declared target of every edge taken; only
            `Coverage` has it.
    """

    __slots__ = ("edge_taken", "observer", "observers", *HOOK_NAMES)

    def __init__(self, observer: Any, observers: tuple[object, ...] = ()) -> None:
        self.observer = observer
        self.observers = observers
        for name in HOOK_NAMES:
            setattr(self, name, getattr(observer, name, _ignore))
        self.edge_taken: Callable[..., None] = getattr(observer, "_hsm_edge_taken", _ignore)


UNOBSERVED = Observed(None)


# Beside the trace hooks, what `Coverage` counts.
_NAMES = (*HOOK_NAMES, "_hsm_edge_taken")


def observed_by(*observers: object) -> object:
    """One observer that passes on to several, in order; a hook that none of them has stays absent.

    For a machine that several watch at once: a `Coverage`, a log, a display (H-171).

    >>> class Counts:
    ...     entries = 0
    ...     def trace_entry(self, machine, state):
    ...         self.entries += 1
    >>> one, other = Counts(), Counts()
    >>> observed_by(one, other).trace_entry(None, None)
    >>> one.entries, other.entries
    (1, 1)
    """
    return observers[0] if len(observers) == 1 else _Several(observers)


class _Several:
    def __init__(self, observers: tuple[object, ...]) -> None:
        for name in _NAMES:
            hooks = [getattr(observer, name) for observer in observers if hasattr(observer, name)]
            if hooks:
                setattr(self, name, hooks[0] if len(hooks) == 1 else _in_turn(hooks))


def _in_turn(hooks: list[Callable[..., Any]]) -> Callable[..., None]:
    def call_all(*arguments: Any) -> None:
        for hook in hooks:
            hook(*arguments)

    return call_all
