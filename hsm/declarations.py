"""The declarations of a class body: the decorator factories.

A factory returns a `Declaration`. Applied to a function it is noted on that function and the
function comes back as it was (H-004); bound to an attribute by itself it is an edge without an
effect (H-005). Nothing is checked here beyond what would be lost later: references may be names of
states declared further down, and a defective class shall hear of all its mistakes at once.
`checks.py` reads the declarations when the class statement ends.

Typing: events may be any hashable object. For events that are classes – the convention is
`machine.dispatch(type(message), message)` – the overloads make the type of the handler's argument
follow the event (H-194).
"""

from __future__ import annotations

import enum
import itertools
import sys
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, Protocol, overload

from .errors import DefinitionError
from .states import AnyMarker, History, Outcome, State, StateReference, TargetReference

type Targets = StateReference | Iterable[StateReference]

type Value = (
    str | bytes | int | float | complex | enum.Enum | tuple[object, ...] | frozenset[object] | None
)
"""The types of events that are not classes, for type checkers.

At run time any hashable object is one (H-006). For checkers there are fewer, so that they find a
state given as an event, and a guard for another message class.
"""

type CompletionGuard = Callable[[Any], object]
type Delay = float | Callable[[Any], float]

_NOTES = "__hsm_declarations__"
_creation_order = itertools.count()


class Role(enum.Enum):
    """The kinds of declarations."""

    INITIAL = "on_initial"
    EVENT = "on_event"
    COMPLETION = "on_completion"
    ENTRY = "on_entry"
    EXIT = "on_exit"
    HISTORY_DEFAULT = "on_history_default"
    TIMEOUT = "on_timeout"


class After:
    """The event of one timer (section 23): a state has been active for a time.

    Attributes:
        after: the seconds, or a function of the machine that returns them.
        every: whether it is due again and again.
        order: the position among the declarations; of two that are due at once the first is first.
    """

    __slots__ = ("after", "every", "order")

    def __init__(self, after: Any, *, every: Any) -> None:
        self.after = after
        self.every = every
        self.order = next(_creation_order)

    def __repr__(self) -> str:
        word = "every" if self.every else "after"
        if callable(self.after):
            return f"{word} {getattr(self.after, '__name__', 'a computed time')}"
        return f"{word} {self.after} s"

    def __copy__(self) -> After:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> After:
        return self


class Declaration:
    """One use of a decorator factory, as it was written.

    `order` counts declarations in the order of the source text, `place` is the file and line.
    """

    def __init__(
        self,
        role: Role,
        states: tuple[Any, ...],
        *,
        events: tuple[Any, ...] = (),
        target: Any = None,
        targets: Any = None,
        guard: Any = None,
        history: Any = None,
        kind: Any = None,
    ) -> None:
        self.role = role
        self.states = states
        self.events = events
        self.target = target
        self.targets = targets
        if not isinstance(targets, str | State | None) and isinstance(targets, Iterable):
            self.targets = tuple(targets)
        self.guard = guard
        self.history = history
        self.kind = kind
        self.order = next(_creation_order)
        frame = sys._getframe(2)
        self.place = (frame.f_code.co_filename, frame.f_lineno)

    def __call__(self, function: Any) -> Any:
        if not isinstance(function, FunctionType):
            raise DefinitionError(
                f"@{self.role.value} at {self.place[0]}:{self.place[1]}",
                (f"it decorates {function!r}; decorate a plain function (def)",),
            )
        function.__dict__[_NOTES] = (self, *declarations_of(function))
        return function


def declarations_of(value: object) -> tuple[Declaration, ...]:
    """The declarations that an attribute's value carries, in the order of the source text."""
    if isinstance(value, Declaration):
        return (value,)
    if isinstance(value, FunctionType):
        notes: tuple[Declaration, ...] = value.__dict__.get(_NOTES, ())
        return notes
    return ()


_LINKS = ("__func__", "__wrapped__", "fget", "func")
_LONGEST_CHAIN = 20  # a mock has every attribute, without end


def hidden_declarations_of(value: object) -> tuple[Declaration, ...]:
    """The declarations of a function inside `staticmethod`, `partial` and other wrappers (H-015).

    A plain function around it counts as itself: `functools.wraps` copies the declarations.
    """
    for _ in range(_LONGEST_CHAIN):
        inner = next((getattr(value, link, None) for link in _LINKS if hasattr(value, link)), None)
        if inner is None or isinstance(value, type | FunctionType):
            return ()
        if isinstance(inner, FunctionType):
            return declarations_of(inner)
        value = inner
    return ()


class BehaviorDecorator(Protocol):
    """A declaration whose function is called with the machine alone."""

    def __call__[Behavior: Callable[[Any], object]](self, function: Behavior, /) -> Behavior: ...


class DecisionDecorator(Protocol):
    """A declaration whose function is called with the machine alone and answers an `Outcome`."""

    def __call__[Decision: Callable[[Any], Outcome]](self, function: Decision, /) -> Decision: ...


class EntryExitDecorator(Protocol):
    """An entry or exit handler: `(self)`, or `(self, arg)` to get the event's argument (H-110)."""

    def __call__[Behavior: Callable[[Any], object] | Callable[[Any, Any], object]](
        self, function: Behavior, /
    ) -> Behavior: ...


class AnyEntryExitDecorator(Protocol):
    """The handler of all states: `(self, state)`, or `(self, state, arg)`."""

    def __call__[Behavior: Callable[[Any, Any], object] | Callable[[Any, Any, Any], object]](
        self, function: Behavior, /
    ) -> Behavior: ...


class EffectDecorator(Protocol):
    """A declaration with `target=`: the function is the edge's effect, its result is ignored."""

    def __call__[Effect: Callable[[Any, Any], object]](self, function: Effect, /) -> Effect: ...


class HandlerDecorator(Protocol):
    """A declaration without `target=`: the function decides and answers with an `Outcome`."""

    def __call__[Handler: Callable[[Any, Any], Outcome]](self, function: Handler, /) -> Handler: ...


class AnyEffectDecorator(Protocol):
    """The effect of an edge for every event: `(self, arg, event)`."""

    def __call__[Effect: Callable[[Any, Any, Any], object]](
        self, function: Effect, /
    ) -> Effect: ...


class AnyHandlerDecorator(Protocol):
    """The handler of every event: `(self, arg, event)`."""

    def __call__[Handler: Callable[[Any, Any, Any], Outcome]](
        self, function: Handler, /
    ) -> Handler: ...


class MessageEffectDecorator[Message](Protocol):
    """An effect whose argument is an instance of the event class."""

    def __call__[Owner, Result](
        self, function: Callable[[Owner, Message], Result], /
    ) -> Callable[[Owner, Message], Result]: ...


class MessageHandlerDecorator[Message](Protocol):
    """A handler whose argument is an instance of the event class."""

    def __call__[Owner, Answer: Outcome](
        self, function: Callable[[Owner, Message], Answer], /
    ) -> Callable[[Owner, Message], Answer]: ...


@overload
def on_event[A](
    state: StateReference,
    event: type[A],
    /,
    *,
    target: TargetReference,
    targets: None = None,
    guard: Callable[[Any, A], object] | None = None,
    history: History | None = None,
) -> MessageEffectDecorator[A]: ...


@overload
def on_event[A](
    state: StateReference,
    event: type[A],
    /,
    *,
    target: None = None,
    targets: Targets | None = None,
    guard: Callable[[Any, A], object] | None = None,
    history: None = None,
) -> MessageHandlerDecorator[A]: ...


@overload
def on_event[A, B](
    state: StateReference,
    event: type[A],
    event_2: type[B],
    /,
    *,
    target: TargetReference,
    targets: None = None,
    guard: Callable[[Any, A | B], object] | None = None,
    history: History | None = None,
) -> MessageEffectDecorator[A | B]: ...


@overload
def on_event[A, B](
    state: StateReference,
    event: type[A],
    event_2: type[B],
    /,
    *,
    target: None = None,
    targets: Targets | None = None,
    guard: Callable[[Any, A | B], object] | None = None,
    history: None = None,
) -> MessageHandlerDecorator[A | B]: ...


@overload
def on_event[A, B, C](
    state: StateReference,
    event: type[A],
    event_2: type[B],
    event_3: type[C],
    /,
    *,
    target: TargetReference,
    targets: None = None,
    guard: Callable[[Any, A | B | C], object] | None = None,
    history: History | None = None,
) -> MessageEffectDecorator[A | B | C]: ...


@overload
def on_event[A, B, C](
    state: StateReference,
    event: type[A],
    event_2: type[B],
    event_3: type[C],
    /,
    *,
    target: None = None,
    targets: Targets | None = None,
    guard: Callable[[Any, A | B | C], object] | None = None,
    history: None = None,
) -> MessageHandlerDecorator[A | B | C]: ...


@overload
def on_event(
    state: StateReference,
    event: AnyMarker,
    /,
    *,
    target: TargetReference,
    targets: None = None,
    guard: Callable[[Any, Any, Any], object] | None = None,
    history: History | None = None,
) -> AnyEffectDecorator: ...


@overload
def on_event(
    state: StateReference,
    event: AnyMarker,
    /,
    *,
    target: None = None,
    targets: Targets | None = None,
    guard: Callable[[Any, Any, Any], object] | None = None,
    history: None = None,
) -> AnyHandlerDecorator: ...


@overload
def on_event(
    state: StateReference,
    event: Value,
    /,
    *more_events: Value | type[Any],
    target: TargetReference,
    targets: None = None,
    guard: Callable[[Any, Any], object] | None = None,
    history: History | None = None,
) -> EffectDecorator: ...


@overload
def on_event(
    state: StateReference,
    event: Value,
    /,
    *more_events: Value | type[Any],
    target: None = None,
    targets: Targets | None = None,
    guard: Callable[[Any, Any], object] | None = None,
    history: None = None,
) -> HandlerDecorator: ...


@overload
def on_event(
    state: StateReference,
    event: type[Any],
    event_2: Value,
    /,
    *more_events: Value | type[Any],
    target: TargetReference,
    targets: None = None,
    guard: Callable[[Any, Any], object] | None = None,
    history: History | None = None,
) -> EffectDecorator: ...


@overload
def on_event(
    state: StateReference,
    event: type[Any],
    event_2: Value,
    /,
    *more_events: Value | type[Any],
    target: None = None,
    targets: Targets | None = None,
    guard: Callable[[Any, Any], object] | None = None,
    history: None = None,
) -> HandlerDecorator: ...


def on_event(
    state: Any,
    /,
    *events: Any,
    target: Any = None,
    targets: Any = None,
    guard: Any = None,
    history: Any = None,
) -> Any:
    """Declare what `state` does about events.

    Args:
        state: the state, `ROOT`, or a name.
        events: any hashable objects, or `ANY` by itself for every event that no specific
            declaration of this state takes.
        target: makes a declarative edge to this state; the function is the edge's effect. A tuple
            is a fork: one state in each of several regions of one owner (H-253).
        targets: the states that an imperative handler may choose from.
        guard: `(self, arg)`; while it answers false the declaration counts as absent.
        history: `SHALLOW` or `DEEP` to enter `target` through its history.

    Raises:
        DefinitionError: at the end of the class statement, when the declaration is wrong.
    """
    return Declaration(
        Role.EVENT,
        (state,),
        events=events,
        target=target,
        targets=targets,
        guard=guard,
        history=history,
    )


@overload
def on_initial(
    owner: StateReference,
    *,
    target: TargetReference,
    targets: None = None,
    history: History | None = None,
) -> BehaviorDecorator: ...


@overload
def on_initial(
    owner: StateReference, *, target: None = None, targets: Targets, history: None = None
) -> DecisionDecorator: ...


def on_initial(owner: Any, *, target: Any = None, targets: Any = None, history: Any = None) -> Any:
    """Declare the default entry of a composite state or of `ROOT` (section 8).

    With `targets` the function takes exactly one transition: `transition` when there is one target,
    `choice` when the entry is conditional.
    """
    return Declaration(Role.INITIAL, (owner,), target=target, targets=targets, history=history)


@overload
def on_completion(
    state: StateReference,
    *,
    target: TargetReference,
    targets: None = None,
    guard: CompletionGuard | None = None,
    history: History | None = None,
) -> BehaviorDecorator: ...


@overload
def on_completion(
    state: StateReference,
    *,
    target: None = None,
    targets: Targets | None = None,
    guard: CompletionGuard | None = None,
    history: None = None,
) -> DecisionDecorator: ...


def on_completion(
    state: Any,
    *,
    target: Any = None,
    targets: Any = None,
    guard: Any = None,
    history: Any = None,
) -> Any:
    """Declare what follows when `state` has completed (section 11).

    A simple state completes when it has been entered, a composite one when a `Final` child is.
    """
    return Declaration(
        Role.COMPLETION, (state,), target=target, targets=targets, guard=guard, history=history
    )


@overload
def on_entry(state: AnyMarker, /) -> AnyEntryExitDecorator: ...


@overload
def on_entry(state: StateReference, /, *more_states: StateReference) -> EntryExitDecorator: ...


def on_entry(*states: Any) -> Any:
    """Declare the entry handler of states, or of all states without one (`ANY`).

    The function takes `self`, for `ANY` the state, and, if it has one parameter more, the argument
    of the event (H-110).
    """
    return Declaration(Role.ENTRY, states)


@overload
def on_exit(state: AnyMarker, /) -> AnyEntryExitDecorator: ...


@overload
def on_exit(state: StateReference, /, *more_states: StateReference) -> EntryExitDecorator: ...


def on_exit(*states: Any) -> Any:
    """Declare the exit handler of states, or of all states without one (`ANY`).

    The function takes `self`, for `ANY` the state, and, if it has one parameter more, the argument
    of the event (H-110).
    """
    return Declaration(Role.EXIT, states)


def on_history_default(
    owner: StateReference, kind: History, *, target: StateReference
) -> BehaviorDecorator:
    """Declare where history leads while `owner` has nothing to remember (section 10)."""
    return Declaration(Role.HISTORY_DEFAULT, (owner,), kind=kind, target=target)


@overload
def on_timeout(
    state: StateReference,
    after: Delay,
    *,
    every: bool = False,
    target: TargetReference,
    targets: None = None,
    guard: CompletionGuard | None = None,
    history: History | None = None,
) -> BehaviorDecorator: ...


@overload
def on_timeout(
    state: StateReference,
    after: Delay,
    *,
    every: bool = False,
    target: None = None,
    targets: Targets | None = None,
    guard: CompletionGuard | None = None,
    history: None = None,
) -> DecisionDecorator: ...


def on_timeout(
    state: Any,
    after: Any,
    *,
    every: bool = False,
    target: Any = None,
    targets: Any = None,
    guard: Any = None,
    history: Any = None,
) -> Any:
    """Declare what `state` does when it has been active for a time (section 23).

    The machine itself does not wait: `poll()` processes the timers that are due.

    Args:
        state: the state or its name; not `ROOT`.
        after: seconds above 0, or a function of the machine that returns them, called when the
            state has been entered.
        every: whether the timer is due again after each further period.
        target: makes a declarative edge to this state; the function `(self)` is its effect.
        targets: the states that an imperative handler `(self)` may choose from.
        guard: `(self)`; while it answers false the occurrence is lost.
        history: `SHALLOW` or `DEEP` to enter `target` through its history.
    """
    return Declaration(
        Role.TIMEOUT,
        (state,),
        events=(After(after, every=every),),
        target=target,
        targets=targets,
        guard=guard,
        history=history,
    )
