"""The run-to-completion step: the work that is left before a driving call returns.

`m._hsm_event` is None between steps, and in a step the event: `NO_EVENT` in the initial step, for
completions and for the event None. Between steps it is `BLOCKED` when an earlier step that failed
left something over, which comes before the next event. `m._hsm_active` is the `Activation` of the
user code that runs.

`m._hsm_due` is `HANDLED` while nothing is due. `dispatch` compares the handler's answer with it, so
that one test finds wrong answers and due work alike. `COMPLETION` stands for nothing but the
completion of the state just reached, so that completions need no memory; whatever else is due is in
an `Agenda`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from .._definition.chart import Rule
from ..errors import DispatchError, TransitionError
from ..states import ANY, DEFERRED, HANDLED, UNHANDLED, EventLike, Final, Outcome, State
from .nodes import Activation, Node, Phase, activation_of

NO_EVENT: Any = type("NO_EVENT", (), {"__slots__": ()})()
BLOCKED: Any = type("BLOCKED", (), {"__slots__": ()})()
COMPLETION: Any = type("COMPLETION", (), {"__slots__": ()})()

_TRAIL = 5  # so many of the last steps are named when there is no end to them


class Agenda:
    """The work that is due or waiting: a completion, posted events, deferred events.

    Attributes:
        completion: whether the completion of the current node's state is pending.
        completions: in charts with regions instead, the leaves whose reaching has completed a
            state, in the order in which they did.
        posted: posted events with their arguments, oldest first.
        deferred: deferred events with their arguments, oldest first.
        offer: the position of the deferred event that is offered next, None while none is (H-212).
        place: the position of the event that is being offered, where it goes if deferred again.
    """

    __slots__ = ("completion", "completions", "deferred", "offer", "place", "posted")

    def __init__(self, *, completion: bool = False) -> None:
        self.completion = completion
        self.completions: list[State] = []
        self.posted: deque[tuple[EventLike, Any]] = deque()
        self.deferred: list[tuple[EventLike, Any]] = []
        self.offer: int | None = None
        self.place: int | None = None

    @property
    def is_leftover(self) -> bool:
        """Return True if there is something to do without any new event."""
        return (
            self.completion or bool(self.posted) or bool(self.completions) or self.offer is not None
        )


def agenda_of(m: Any) -> Agenda:
    """The machine's agenda, made when there is none."""
    due = m._hsm_due
    if isinstance(due, Agenda):
        return due
    agenda = m._hsm_due = Agenda(completion=due is COMPLETION)
    return agenda


# What the scripts of transitions call -------------------------------------------------------------


def raise_completion(m: Any) -> None:
    """The state just reached has completed (H-132, H-133)."""
    if m._hsm_due is HANDLED:
        m._hsm_due = COMPLETION
    else:
        agenda_of(m).completion = True


def note_transition(m: Any) -> None:
    """A transition has taken place: deferred events are to be offered again (H-212)."""
    due = m._hsm_due
    if isinstance(due, Agenda) and due.deferred:
        due.offer = 0


def end_at(node: Node) -> Callable[[Any], None]:
    """The machine stops at `node`, complete or terminated (H-131, H-150)."""
    phase = Phase.COMPLETE if isinstance(node.state, Final) else Phase.TERMINATED
    ended = Node(node.tables, node.state, phase, refuse_to_run)

    def end(m: Any) -> None:
        m._hsm_node = ended
        m._hsm_due = Agenda()

    return end


def fault_at(node: Node) -> Callable[[Any], None]:
    """An exception has left a transition that began in `node` (H-161)."""

    def fault(m: Any) -> None:
        m._hsm_node = Node(node.tables, node.state, Phase.FAULTED, refuse_to_run)
        m._hsm_due = Agenda()

    return fault


def fail_start_at(root: Node) -> Callable[[Any], None]:
    """An exception has left the initial transition (H-044)."""
    fault = fault_at(root)

    def fail(m: Any) -> None:
        fault(m)
        abort(m)

    return fail


def imperative_initial(rule: Rule, activation: Activation) -> Callable[[Any], None]:
    """An initial that decides by itself (H-102)."""
    function: Any = rule.function

    def run(m: Any) -> None:
        outer = m._hsm_active
        m._hsm_active = activation
        try:
            result = function(m)
            if m._hsm_active is activation:
                raise TransitionError(f"{_name(m, rule)} took no transition; it must take one")
            if result is not HANDLED:
                raise DispatchError(f"{_name(m, rule)} answered {result!r}; it must answer HANDLED")
        finally:
            m._hsm_active = outer

    return run


def defer(m: Any, arg: Any) -> Outcome:
    """Put the current event at the end of the deferral queue, or back in its place (H-210)."""
    agenda = agenda_of(m)
    item = (m.event, arg)
    if agenda.place is None:
        agenda.deferred.append(item)
    else:
        agenda.deferred.insert(agenda.place, item)
        agenda.offer = agenda.place + 1
    return DEFERRED


# The search's refusals ----------------------------------------------------------------------------


def refuse_any(m: Any, arg: Any) -> Outcome:
    """`ANY` stands for all events in declarations only (H-068)."""
    raise DispatchError(f"{_class(m)}: ANY cannot be dispatched; dispatch an event")


def refuse_answer(m: Any, rule: Rule, result: object) -> None:
    """A handler answered neither HANDLED nor UNHANDLED (H-066)."""
    raise DispatchError(
        f"{_name(m, rule)} answered {result!r} to {m.event!r}; answer HANDLED, UNHANDLED or the "
        "result of a transition"
    )


def judge(m: Any, rule: Rule, result: object) -> None:
    """Judge an answer other than HANDLED of a handler that a search has run."""
    if result is not UNHANDLED:
        refuse_answer(m, rule, result)
    active = activation_of(m)
    if active is not None and active.spent:
        raise DispatchError(
            f"{_name(m, rule)} answered UNHANDLED to {m.event!r} after it took a transition; "
            "return what the transition returned"
        )


# Driving ------------------------------------------------------------------------------------------


def in_step(m: Any) -> bool:
    """Return True if a step is active."""
    event = m._hsm_event
    return event is not None and event is not BLOCKED


def refuse_in_step(m: Any, call: str) -> None:
    """Raise DispatchError when a step is active (H-160)."""
    if in_step(m):
        raise DispatchError(
            f"{_class(m)}.{call} during a step (event {m.event!r}, state {m.current.name}); use "
            "post to have an event processed after it"
        )


def refuse_stopped(m: Any, call: str) -> None:
    """Raise DispatchError when the machine is not running."""
    phase = m._hsm_node.phase
    if phase is not Phase.RUNNING:
        remedy = "start()" if phase is Phase.NEW else "reset()"
        raise DispatchError(
            f"{_class(m)}.{call}: the machine is {phase.value}; call {remedy} first"
        )


def refuse_to_run(m: Any, arg: Any) -> Outcome:
    """The plan of every event in a phase in which the machine takes none."""
    refuse_stopped(m, "dispatch")
    return UNHANDLED


def refuse_event(m: Any, event: EventLike) -> None:
    """Raise for something that cannot be an event (H-068)."""
    if event is ANY:
        refuse_any(m, None)
    hash(event)


def take(m: Any, event: EventLike, arg: Any) -> Outcome:
    """Search the handler of one event and run it."""
    m._hsm_event = NO_EVENT if event is None else event
    m._hsm_active = None
    plan = m._hsm_node.find(event)
    if plan is None:
        return UNHANDLED
    result: Outcome = plan(m, arg)
    return result if result is HANDLED else answer(m, event, arg, result)


def answer(m: Any, event: EventLike, arg: Any, result: Outcome) -> Outcome:
    """Judge an answer other than HANDLED, and go on searching when a handler declined."""
    active: Activation | None = m._hsm_active
    if active is not None:
        if active.spent and active.rule is not None:
            judge(m, active.rule, result)
        return result  # the plan was a search, which has judged its handlers itself
    rest = m._hsm_node.rests.get(event)
    if rest is None:
        return result
    rule, search = rest
    if result is not UNHANDLED:
        refuse_answer(m, rule, result)
    return UNHANDLED if search is None else search(m, arg)


def finish(m: Any, event: EventLike, arg: Any, result: Outcome) -> Outcome:
    """The end of a dispatch whose answer is not HANDLED or that left something to do."""
    if result is not HANDLED:
        result = answer(m, event, arg, result)
        if m._hsm_due is HANDLED:
            m._hsm_event = m._hsm_active = None
            return result
    work_off(m)
    rest(m)
    return result


def drive(m: Any, event: EventLike, arg: Any, call: str) -> Outcome:
    """A whole step, beginning with what an earlier one left over (H-202); or the refusal."""
    refuse_in_step(m, call)
    refuse_stopped(m, call)
    refuse_event(m, event)
    m._hsm_event = NO_EVENT
    try:
        work_off(m)
        refuse_stopped(m, call)
        result = take(m, event, arg)
        work_off(m)
    except BaseException:
        abort(m)
        raise
    rest(m)
    return result


def post(m: Any, event: EventLike, arg: Any) -> None:
    """`Machine.post` (H-200)."""
    new = m._hsm_node.phase is Phase.NEW
    if not new:
        refuse_stopped(m, "post")
    refuse_event(m, event)
    if new or in_step(m):
        agenda_of(m).posted.append((event, arg))
    else:
        drive(m, event, arg, "post")


def stop(m: Any) -> None:
    """`Machine.stop` (H-264)."""
    refuse_in_step(m, "stop")
    node = m._hsm_node
    if node.phase is Phase.FAULTED:
        raise DispatchError(f"{_class(m)}.stop: the machine is faulted; reset() begins anew")
    m._hsm_event = NO_EVENT
    try:
        if node.phase is Phase.RUNNING:
            node.tables.guarded(m, node.tables.routes.stop(node.state), None)
    except BaseException:
        abort(m)
        raise
    renew(m)


def renew(m: Any) -> None:
    """Make a machine new; it waits for `start()`."""
    tables = m._hsm_node.tables
    m._hsm_node = tables.held
    m._hsm_event = m._hsm_active = None
    m._hsm_due = HANDLED
    tables.memories.begin(m)


def resume(m: Any) -> None:
    """Process what an earlier step that failed left over (H-202)."""
    m._hsm_event = NO_EVENT
    try:
        work_off(m)
    except BaseException:
        abort(m)
        raise
    rest(m)


def fire(m: Any, event: Any) -> bool:
    """The step of a time event (H-242)."""
    m._hsm_event = event
    tables = m._hsm_node.tables
    try:
        result = tables.guarded(m, tables.timeout(m, event), None)
        work_off(m)
    except BaseException:
        abort(m)
        raise
    rest(m)
    return result is not UNHANDLED


def finish_start(m: Any) -> None:
    """The end of an initial step that left something to do."""
    try:
        work_off(m)
    except BaseException:
        abort(m)
        raise
    rest(m)


def work_off(m: Any) -> None:
    """Process completions, recalled and posted events until nothing is left (H-201).

    Raises:
        DispatchError: there is no end to them (H-271).
    """
    count = 0
    trail: list[str] = []
    while m._hsm_node.phase is Phase.RUNNING:
        due = m._hsm_due
        if due is HANDLED or (type(due) is Agenda and not due.is_leftover):
            return
        count += 1
        if count > m.max_steps - _TRAIL:
            if count > m.max_steps:
                raise DispatchError(
                    f"{_class(m)}: {m.max_steps} completions, recalled and posted events followed "
                    f"one call, and there are more; the last ones: {', '.join(trail)}. End "
                    "the cycle, or raise max_steps"
                )
            trail.append(_describe(m, due))
        if due is COMPLETION:
            m._hsm_due = HANDLED
            _complete(m)
        elif due.completion:
            due.completion = False
            _complete(m)
        elif due.completions:
            _complete(m, due.completions.pop(0))
        elif due.offer is not None:
            _offer(m, due)
        elif due.posted:
            take(m, *due.posted.popleft())


def _complete(m: Any, leaf: State | None = None) -> None:
    m._hsm_event = NO_EVENT
    m._hsm_active = None
    node = m._hsm_node
    tables = node.tables
    if leaf is None:
        tables.completion(node)(m, None)
    else:
        tables.guarded(m, tables.completion(tables.nodes[leaf]), None)


def _offer(m: Any, agenda: Agenda) -> None:
    position = agenda.offer
    if position is None or position >= len(agenda.deferred):
        agenda.offer = None
        return
    event, arg = agenda.deferred.pop(position)
    agenda.place = position
    try:
        take(m, event, arg)
    finally:
        agenda.place = None


def rest(m: Any) -> None:
    """End the step."""
    m._hsm_active = None
    if m._hsm_node.phase not in (Phase.RUNNING, Phase.NEW):
        m._hsm_due = HANDLED
        m._hsm_event = None
        return
    due = m._hsm_due
    if due is COMPLETION or (isinstance(due, Agenda) and due.is_leftover):
        m._hsm_event = BLOCKED
        return
    if isinstance(due, Agenda) and not due.deferred:
        m._hsm_due = HANDLED
    m._hsm_event = None


def _describe(m: Any, due: Any) -> str:
    """Return a text about the next item of `work_off`, and its state."""
    what = "completion"
    if due is not COMPLETION and not (due.completion or due.completions):
        if due.offer is not None and due.offer < len(due.deferred):
            what = f"recalled event {due.deferred[due.offer][0]!r}"
        elif due.posted:
            what = f"posted event {due.posted[0][0]!r}"
    return f"{what} in {m.current.name}"


def abort(m: Any) -> None:
    """End a step that an exception leaves (H-162)."""
    rest(m)


def _class(m: Any) -> str:
    return type(m).__qualname__


def _name(m: Any, rule: Rule) -> str:
    state = "ANY" if rule.state is None else rule.state.name
    return f"{_class(m)}.{rule.attribute} ({rule.role.value} of {state})"
