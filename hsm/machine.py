"""`Machine`: what a user's class derives from and what drives an instance."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from . import choices, snapshots, steps
from .chart import Chart
from .checks import define
from .declarations import Declaration, declarations_of
from .errors import DefinitionError, DispatchError
from .introspection import Edge, Finding, edges_of, lint_of, unreachable_of
from .memories import Memories
from .nodes import IDLE, Activation, Node, Phase
from .states import HANDLED, UNHANDLED, History, Outcome, State
from .steps import BLOCKED
from .tables import Tables
from .tracing import UNOBSERVED, Hooks, Observed, overrides_hooks


class _Body(dict[str, Any]):
    """The namespace of a class body; notices what would be lost silently (H-015)."""

    def __init__(self) -> None:
        super().__init__()
        self.rebound: list[str] = []

    def __setitem__(self, name: str, value: Any) -> None:
        before = self.get(name)
        if before is not None and before is not value:
            place = _place_of(before)
            if place is not None:
                self.rebound.append(
                    f"{name} ({place[0]}:{place[1]}): it is bound again in the same class body and "
                    "would be lost; rename one of the two"
                )
        super().__setitem__(name, value)


def _place_of(value: object) -> tuple[str, int] | None:
    if isinstance(value, State | Declaration):
        return value.place
    if isinstance(value, FunctionType) and declarations_of(value):
        return value.__code__.co_filename, value.__code__.co_firstlineno
    return None


class MachineType(type):
    """The class of machine classes: checks and plans each class when its statement ends.

    It is also what starts a machine after the most derived `__init__` has returned (H-041), whether
    or not that calls the base's.
    """

    _hsm_chart: Chart
    _hsm_new: Node | None
    _hsm_plain: Tables
    _hsm_traced: Tables

    @classmethod
    def __prepare__(cls, name: str, bases: tuple[type, ...], /, **keywords: Any) -> dict[str, Any]:
        return _Body()

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        body: dict[str, Any],
        /,
        *,
        abstract: bool = False,
        **keywords: Any,
    ) -> MachineType:
        cls = super().__new__(mcs, name, bases, dict(body), **keywords)
        rebound = body.rebound if isinstance(body, _Body) else []
        reserved = frozenset() if _is_base(cls) else _public_names()
        chart = define(cls, abstract=abstract, reserved=reserved, rebound=rebound)
        type.__setattr__(cls, "_hsm_chart", chart)
        type.__setattr__(cls, "states", chart.states)
        memories = Memories(chart)
        plain = Tables(chart, memories, traced=False)
        traced = Tables(chart, memories, traced=True)
        type.__setattr__(cls, "_hsm_plain", plain)
        type.__setattr__(cls, "_hsm_traced", traced)
        own_new: Any = cls.__new__
        plain.own_new = traced.own_new = own_new is not object.__new__
        chosen = traced if overrides_hooks(cls) else plain
        type.__setattr__(cls, "_hsm_new", None if abstract else chosen.new)
        return cls

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **_: Any) -> None:
        super().__init__(name, bases, body)

    def __setattr__(cls, name: str, value: Any) -> None:
        if isinstance(value, State) or declarations_of(value):
            problem = f"{name}: the class is closed; declare it in the class body or in a subclass"
            raise DefinitionError(f"class {cls.__qualname__}", (problem,))
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # type checkers shall see the signature of __init__

        def __call__(cls, *args, **keywords):
            new = cls._hsm_new
            if new is None:
                raise TypeError(f"{cls.__qualname__} is abstract; instantiate a concrete subclass")
            if new.tables.own_new:
                machine = cls.__new__(cls, *args, **keywords)
            else:
                machine = _allocate(cls)
            machine._hsm_node = new
            machine._hsm_event = BLOCKED
            machine._hsm_due = HANDLED
            machine._hsm_active = IDLE
            machine._hsm_memory = None
            if args or keywords:
                machine.__init__(*args, **keywords)
            else:
                machine.__init__()
            node = machine._hsm_node
            tables = node.tables
            if node is tables.new:
                tables.start(machine, None)
            return machine


_allocate = object.__new__


def _is_base(cls: type) -> bool:
    return not any(isinstance(base, MachineType) for base in cls.__bases__)


def _public_names() -> frozenset[str]:
    names = {*vars(Machine), *vars(Hooks)}
    return frozenset(name for name in names if not name.startswith("_"))


class _ClassProperty:
    """A read-only attribute of classes, computed when it is first asked for."""

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__
        self._values: WeakKeyDictionary[type, Any] = WeakKeyDictionary()

    def __get__(self, instance: object, owner: type) -> Any:
        if owner not in self._values:
            self._values[owner] = self._compute(owner)
        return self._values[owner]


class Machine(Hooks, metaclass=MachineType, abstract=True):
    """A hierarchical state machine; derive from it and declare states and what they do.

    Args:
        start: whether the initial step is taken when construction has ended (H-041).
        observer: an object with any of the trace hooks (H-171).

    A machine is driven by one thread at a time; it has no locks, and its checks against a call
    during a step do not replace them. Different machines of a class may run in different threads.

    >>> from tensor_pool.hsm import Machine, State, on_initial, on_event, ROOT, HANDLED
    >>> class Light(Machine):
    ...     Off = State()
    ...     On = State()
    ...     start_off = on_initial(ROOT, target=Off)
    ...     switch_off = on_event(On, "toggle", target=Off)
    ...
    ...     @on_event(Off, "toggle", target=On)
    ...     def _turn_on(self, level):
    ...         self.level = level
    >>> light = Light()
    >>> light.dispatch("toggle", 7), light.current, light.level
    (HANDLED, State('On'), 7)
    >>> light.dispatch("explode")
    UNHANDLED
    """

    __slots__ = ("_hsm_active", "_hsm_due", "_hsm_event", "_hsm_memory", "_hsm_node")

    states: ClassVar[tuple[State, ...]]
    _hsm_observer: Observed = UNOBSERVED
    _hsm_node: Node
    _hsm_event: Any
    _hsm_due: object
    _hsm_active: Activation
    _hsm_memory: Any

    def __init__(self, *, start: bool = True, observer: object = None) -> None:
        tables = self._hsm_node.tables
        if observer is not None:
            tables = type(self)._hsm_traced
            self.__dict__["_hsm_observer"] = Observed(observer)
        if self._hsm_node.phase is Phase.NEW:
            self._hsm_node = tables.new if start else tables.held

    # Class level --------------------------------------------------------------------------------

    @_ClassProperty
    def edges(cls: Any) -> tuple[Edge, ...]:  # noqa: N805
        """All declared edges of the class (H-230)."""
        return edges_of(cls._hsm_chart)

    @classmethod
    def unreachable(cls) -> tuple[State, ...]:
        """The states that no sequence of declared edges can enter, in document order (H-231)."""
        return unreachable_of(cls._hsm_chart)

    @classmethod
    def lint(cls) -> tuple[Finding, ...]:
        """What is legal but probably not meant (H-232)."""
        return lint_of(cls._hsm_chart)

    # Inspection ---------------------------------------------------------------------------------

    @property
    def current(self) -> State:
        """The active leaf; `ROOT` for a machine that is new or terminated."""
        return self._hsm_node.state

    @property
    def source(self) -> State:
        """The state whose declaration is being tried or carried out; else `current` (H-065)."""
        node, event = self._hsm_node, self._hsm_event
        idle = event is None or event is BLOCKED
        if idle or node.passing or node.phase is not Phase.RUNNING:
            return node.state
        searched = self._hsm_active.source
        return node.tables.source(node.state, event) if searched is None else searched

    @property
    def event(self) -> Any:
        """The event being processed; None between steps, in completions and initial steps."""
        event = self._hsm_event
        return None if event is steps.NO_EVENT or event is BLOCKED else event

    @property
    def observer(self) -> Any:
        """The observer given at construction, or None."""
        return self._hsm_observer.observer

    def is_in(self, state: State) -> bool:
        """Whether `state` is active: the leaf or one that contains it (H-046)."""
        if not isinstance(state, State):
            raise TypeError(f"is_in takes a state, not {state!r}")
        node = self._hsm_node
        return node.phase is not Phase.NEW and state in node.tables.chart.paths[node.state]

    @property
    def is_running(self) -> bool:
        """Whether the machine takes events."""
        return self._hsm_node.phase is Phase.RUNNING

    @property
    def is_complete(self) -> bool:
        """Whether a top-level `Final` has been reached."""
        return self._hsm_node.phase is Phase.COMPLETE

    @property
    def is_terminated(self) -> bool:
        """Whether a `Terminate` has been reached."""
        return self._hsm_node.phase is Phase.TERMINATED

    @property
    def is_faulted(self) -> bool:
        """Whether an exception has left a transition (H-161)."""
        return self._hsm_node.phase is Phase.FAULTED

    # Driving ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the initial step of a new machine.

        Raises:
            DispatchError: the machine is not new, or a step is active.
        """
        steps.refuse_in_step(self, "start")
        if self._hsm_node.phase is not Phase.NEW:
            raise DispatchError(
                f"{type(self).__qualname__}.start: the machine is {self._hsm_node.phase.value}; "
                "only a new one can be started, reset() begins anew"
            )
        self._hsm_node.tables.start(self, None)

    def dispatch(self, event: Hashable, arg: Any = None) -> Outcome:
        """Give the machine an event; return when everything that follows from it is done.

        Args:
            event: any hashable object but `ANY`; matched by `==` and `hash`.
            arg: passed to guards, handlers and effects as it is.

        Returns:
            HANDLED, UNHANDLED, or DEFERRED when the event waits for a transition (H-211).

        Raises:
            DispatchError: a step is active, the machine is not running, or a handler answered with
                something else than an outcome.
            TypeError: the event is not hashable.
        """
        if self._hsm_event is not None:
            return steps.dispatch_blocked(self, event, arg)
        self._hsm_event = event
        try:
            plan = self._hsm_node.find(event)
            if plan is None:
                self._hsm_event = None
                return UNHANDLED
            result = plan(self, arg)
            if result is self._hsm_due:  # HANDLED, and nothing is due
                self._hsm_event = None
                return result
            return steps.finish(self, event, arg, result)
        except BaseException:
            steps.abort(self)
            raise

    def post(self, event: Hashable, arg: Any = None) -> None:
        """Queue an event for the end of the active step; between steps, process it (H-200).

        Raises:
            DispatchError: the machine is complete, terminated or faulted; the event is `ANY`.
            TypeError: the event is not hashable.
        """
        steps.post(self, event, arg)

    def reset(self, *, start: bool = True) -> None:
        """Forget configuration, history and queues without running anything, and start again.

        Raises:
            DispatchError: a step is active.
        """
        steps.refuse_in_step(self, "reset")
        self._hsm_node = self._hsm_node.tables.held
        self._hsm_event = BLOCKED
        self._hsm_due = HANDLED
        self._hsm_active = IDLE
        self._hsm_memory = None
        if start:
            self._hsm_node.tables.start(self, None)

    def snapshot(self) -> dict[str, Any]:
        """The configuration as a dict of names and the users' events and arguments (H-220).

        Raises:
            DispatchError: a step is active, or the machine is faulted.
        """
        return snapshots.snapshot(self)

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Set the configuration that a snapshot of this class describes; run nothing (H-221).

        Raises:
            ValueError: the snapshot is not one of this class, or is impossible.
            DispatchError: a step is active.
        """
        snapshots.restore(self, snapshot)

    # In handlers --------------------------------------------------------------------------------

    def transition(self, target: State, effect: choices.Action | None = None) -> Outcome:
        """Take the transition to `target` now; once in a run of an imperative handler (H-086).

        Args:
            target: one of the declared targets.
            effect: called between the exits and the entries.

        Raises:
            TransitionError: not in a handler, the second call, or an undeclared target; nothing has
                been left then.
        """
        active = self._hsm_active
        try:
            plan = active.moves[target]
        except (KeyError, TypeError):
            raise choices.refuse_transition(self, "transition", target, effect) from None
        if effect is not None and not callable(effect):
            raise choices.refuse_transition(self, "transition", target, effect)
        self._hsm_active = active.taken
        return plan(self, effect)

    def transition_history(
        self, owner: State, kind: History, effect: choices.Action | None = None
    ) -> Outcome:
        """Take the transition to what `owner` remembers, or to its default (H-121).

        Raises:
            TransitionError: as `transition`, or the owner has no history.
        """
        return choices.transition_history(self, owner, kind, effect)

    def choice(
        self,
        owner: State,
        branches: Sequence[choices.Branch],
        *,
        otherwise: choices.Otherwise | None = None,
        effect: choices.Action | None = None,
    ) -> Outcome:
        """Enter `owner`, then decide by the guards where to go inside it (section 12).

        Args:
            owner: a composite state or `ROOT`.
            branches: `(guard, target)` or `(guard, target, effect)`; the first true guard wins.
            otherwise: the target, or `(target, effect)`, when no guard is true.
            effect: called between the exits and the entry of the owner.

        Raises:
            TransitionError: as `transition`, or the choice is malformed.
        """
        return choices.choice(self, owner, branches, otherwise, effect)

    # Copying ------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Copy, deep copy and pickle carry the configuration and the user's attributes (H-191)."""
        steps.refuse_in_step(self, "copy or pickle")
        return snapshots.rebuild, (type(self), snapshots.configuration(self)), self.__getstate__()

    def __getstate__(self) -> Any:
        """The user's attributes, as `object.__getstate__` gives them."""
        return snapshots.without_framework(super().__getstate__())
