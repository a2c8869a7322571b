"""`Machine`: what a user's class derives from and what drives an instance."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar

from ._definition.introspection import Edge, Finding, lint_of, unreachable_of
from ._engine import choices, inquiry, observation, regions, snapshots, timers
from ._engine import run_to_completion as steps
from ._engine.nodes import Activation, Node, Phase
from ._engine.run_to_completion import BLOCKED
from .errors import DispatchError
from .metaclass import MachineType
from .states import UNHANDLED, EventLike, History, Outcome, State
from .tracing import UNOBSERVED, Hooks, Observed


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

    max_steps: int = 10_000
    """The most completions, recalled and posted events that may follow one call (H-271)."""

    clock: Callable[[], float] = staticmethod(time.monotonic)
    """The time in seconds that timers go by; a subclass or an instance may have its own."""

    states: ClassVar[tuple[State, ...]]
    """All states in document order, without `ROOT` (H-001)."""
    edges: ClassVar[tuple[Edge, ...]]
    """All declared edges (H-230)."""
    events: ClassVar[tuple[Hashable, ...]]
    """All declared events in document order, without `ANY` (H-260)."""
    _hsm_observer: Observed = UNOBSERVED
    _hsm_node: Node
    _hsm_event: Any
    _hsm_active: Activation | None
    _hsm_due: object
    _hsm_memory: list[Any] | None

    def __init__(self, *, start: bool = True, observer: object = None) -> None:
        if start and observer is None:
            return
        if observer is not None:
            observation.add(self, observer)
        if not start and self._hsm_node.phase is Phase.NEW:
            self._hsm_node = self._hsm_node.tables.held

    # Class level --------------------------------------------------------------------------------

    @classmethod
    def unreachable(cls) -> tuple[State, ...]:
        """The states that no sequence of declared edges can enter, in document order (H-231)."""
        return unreachable_of(cls._hsm_chart)

    @classmethod
    def lint(cls) -> tuple[Finding, ...]:
        """Return the findings: legal, but probably not meant (H-232)."""
        return lint_of(cls._hsm_chart)

    # Inspection ---------------------------------------------------------------------------------

    @property
    def current(self) -> State:
        """The active leaf; `ROOT` for a machine that is new or terminated.

        With orthogonal regions the innermost state around all leaves: from its entry to its exit,
        the state that has the regions (H-251).
        """
        return self._hsm_node.state

    @property
    def leaves(self) -> tuple[State, ...]:
        """The active leaves in document order: one in each region; without regions `current`."""
        node = self._hsm_node
        return (node.state,) if node.regions is None else tuple(regions.leaves(self))

    @property
    def source(self) -> State:
        """The state whose declaration is being tried or carried out; else `current` (H-065)."""
        node, active = self._hsm_node, self._hsm_active
        if node.phase is not Phase.RUNNING:
            return node.state
        if active is not None:
            return active.source
        return node.tables.source(node.state, self.event)

    @property
    def event(self) -> Any:
        """The event being processed; None between steps, in completions and initial steps."""
        event = self._hsm_event
        return None if event is steps.NO_EVENT or event is BLOCKED else event

    @property
    def observer(self) -> Any:
        """The observer; one that passes on to all when there are several; None without one."""
        return self._hsm_observer.observer

    def is_in(self, state: State) -> bool:
        """Return True if `state` is active: the leaf or one that contains it (H-046)."""
        if not isinstance(state, State):
            raise TypeError(f"is_in takes a state, not {state!r}")
        node = self._hsm_node
        if node.regions is not None:
            return regions.is_in(self, state)
        return node.phase is not Phase.NEW and state in node.tables.chart.paths[node.state]

    @property
    def is_running(self) -> bool:
        """Return True if the machine takes events."""
        return self._hsm_node.phase is Phase.RUNNING

    @property
    def is_complete(self) -> bool:
        """Return True if a top-level `Final` has been reached."""
        return self._hsm_node.phase is Phase.COMPLETE

    @property
    def is_terminated(self) -> bool:
        """Return True if a `Terminate` has been reached."""
        return self._hsm_node.phase is Phase.TERMINATED

    @property
    def is_faulted(self) -> bool:
        """Return True if an exception has left a transition (H-161)."""
        return self._hsm_node.phase is Phase.FAULTED

    def can(self, event: EventLike, arg: Any = None) -> bool:
        """Return True if dispatching the event now would find a candidate or defer it (H-260).

        Guards are evaluated, so they must be free of effects. A handler without a guard counts as
        able, although it may decline. Nothing is traced or changed.

        Raises:
            DispatchError: a step is active, the event is `ANY`, or an instance of a declared class.
            TypeError: the event is not hashable.
        """
        return inquiry.can(self, event, arg)

    @property
    def next_deadline(self) -> float | None:
        """The value of `clock` at which `poll` has something to do; None without a timer."""
        return timers.next_deadline(self)

    # Observers ----------------------------------------------------------------------------------

    def add_observer(self, observer: object) -> None:
        """Have `observer` called by the trace hooks from now on (H-262).

        Raises:
            DispatchError: a step is active.
            ValueError: it observes this machine already.
        """
        observation.add(self, observer)

    def remove_observer(self, observer: object) -> None:
        """End what `add_observer`, or `observer=` at construction, began.

        Raises:
            DispatchError: a step is active.
            ValueError: it does not observe this machine.
        """
        observation.remove(self, observer)

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

    def dispatch(self, event: EventLike, arg: Any = None) -> Outcome:
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
            return steps.drive(self, event, arg, "dispatch")
        self._hsm_event = event
        try:
            plan = self._hsm_node.find(event)
            if plan is None:
                self._hsm_event = None
                return UNHANDLED
            result = plan(self, arg)
            if result is self._hsm_due:  # HANDLED, and nothing is due
                self._hsm_event = self._hsm_active = None
                return result
            return steps.finish(self, event, arg, result)
        except BaseException as error:
            steps.abort(self)
            if type(error) is TypeError:
                inquiry.refuse_unhashable(self, event)
            raise

    def post(self, event: EventLike, arg: Any = None) -> None:
        """Queue an event for the end of the active step; between steps, process it (H-200).

        Raises:
            DispatchError: the machine is complete, terminated or faulted; the event is `ANY`.
            TypeError: the event is not hashable.
        """
        inquiry.check_posted(self, event)
        steps.post(self, event, arg)

    def reset(self, *, start: bool = True) -> None:
        """Forget configuration, history and queues without running anything, and start again.

        Raises:
            DispatchError: a step is active.
        """
        steps.refuse_in_step(self, "reset")
        steps.renew(self)
        if start:
            self._hsm_node.tables.start(self, None)

    def poll(self) -> bool:
        """Process the time events that are due, each as a step of its own (H-242).

        Returns:
            True if a state took one.

        Raises:
            DispatchError: a step is active, or the machine is not running.
        """
        return timers.poll(self)

    def stop(self) -> None:
        """Leave every active state, innermost first, and make the machine new again (H-264).

        Exit handlers run; queues and history are discarded. `start()` begins anew.

        Raises:
            DispatchError: a step is active, or the machine is faulted.
        """
        steps.stop(self)

    def snapshot(self) -> dict[str, Any]:
        """The configuration as a dict of names and the users' events and arguments (H-220).

        Raises:
            DispatchError: a step is active, or the machine is faulted.
        """
        return snapshots.snapshot(self)

    def restore(self, snapshot: dict[str, Any], elapsed: float = 0.0) -> None:
        """Set the configuration that a snapshot of this class describes; run nothing (H-221).

        Args:
            snapshot: what `snapshot()` returned.
            elapsed: seconds to take off the timers' remaining time (H-244).

        Raises:
            ValueError: the snapshot is not one of this class, or is impossible.
            DispatchError: a step is active.
        """
        snapshots.restore(self, snapshot, elapsed)

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
        try:
            permit = self._hsm_active or self._hsm_node.grants[self._hsm_event]
            plan = permit.moves[target]
        except (KeyError, TypeError):
            raise choices.refuse_transition(self, "transition", target, effect) from None
        if effect is not None and not callable(effect):
            raise choices.refuse_transition(self, "transition", target, effect)
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
        state = snapshots.without_framework(super().__getstate__())
        return {} if state is None else state  # so that `__setstate__` is called

    def __setstate__(self, state: Any) -> None:
        """Set the user's attributes of a copy, and arm its timers by its clock (H-244)."""
        attributes, slots = state if isinstance(state, tuple) else (state, {})
        for name, value in {**(attributes or {}), **slots}.items():
            object.__setattr__(self, name, value)
        timers.armed(self)
