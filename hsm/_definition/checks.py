"""From the body of a class to its chart: every mistake of sections 3 and 16 is found here.

All mistakes of a class are collected and reported in one `DefinitionError`; each text names the
member, the file and line, and what to do. A wrong declaration is left out of the chart, so that one
mistake does not cause reports of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..declarations import After, Role
from ..errors import DefinitionError
from ..states import ANY, ROOT, Final, History, Region, State, Terminate
from . import completion_cycles, region_rules
from .chart import Chart, Rule
from .family import Member, family_of
from .precedence import assemble
from .signatures import (
    accepts,
    has_any,
    is_delay,
    is_hashable,
    is_plain,
    parameters_of,
    takes_argument,
)

_Place = tuple[str, int]
_NOT_OF_ROOT = (Role.ENTRY, Role.EXIT, Role.COMPLETION, Role.TIMEOUT)


def define(
    cls: type, *, abstract: bool, strict: bool, reserved: frozenset[str], rebound: list[str]
) -> Chart:
    """Check a class and return its chart.

    Args:
        strict: whether undeclared events are refused (H-261).
        reserved: the public names of `Machine`, which no state and no handler may take (H-014).
        rebound: mistakes that only the class body could see (H-015).

    Raises:
        DefinitionError: naming every mistake.
    """
    definition = _Definition(cls, abstract=abstract, strict=strict, reserved=reserved)
    definition.problems.extend(rebound)
    chart = definition.chart()
    if definition.problems:
        raise DefinitionError(f"class {cls.__qualname__}", tuple(definition.problems))
    return chart


class _Definition:
    def __init__(
        self, cls: type, *, abstract: bool, strict: bool, reserved: frozenset[str]
    ) -> None:
        self.cls = cls
        self.strict = strict
        self.abstract = abstract
        self.reserved = reserved
        self.family = family_of(cls)
        self.problems: list[str] = []
        self.states = self.family.states
        self.by_name: dict[str, State] = {}
        self.children: dict[State, list[State]] = {}
        self.paths: dict[State, tuple[State, ...]] = {}

    def chart(self) -> Chart:
        self._check_states()
        self._check_parents()
        for state, problem in region_rules.structure(self.states, self.children):
            self._say(self._describe(state), state.place, problem)
        self._check_members()
        rules = [
            (member.rank, rule) for member in self.family.members for rule in self._rules(member)
        ]
        chart = assemble(
            self.cls.__qualname__,
            self.states,
            rules,
            self._say,
            abstract=self.abstract,
            strict=self.strict,
        )
        if not self.abstract:
            self._check_completeness(chart)
        for cycle in completion_cycles.endless(chart) if not self.problems else ():
            names = " → ".join(state.name for state in (*cycle, cycle[0]))
            rule = chart.completions[cycle[0]][0]
            self._say(
                rule.attribute,
                rule.place,
                f"the completions {names} follow each other without end; guard one of them",
            )
        return chart

    def _say(self, what: str, place: _Place | None, problem: str) -> None:
        where = f" ({place[0]}:{place[1]})" if place else ""
        self.problems.append(f"{what}{where}: {problem}")

    # States -------------------------------------------------------------------------------------

    def _check_states(self) -> None:
        for attribute in self.family.bound_root:
            self._say(attribute, None, "ROOT is bound to an attribute; ROOT needs no binding")
        for state in self.states:
            what, place = self._describe(state), state.place
            name = state.declared_name
            if len(state.bindings) > 1:
                bound = ", ".join(f"{owner.__qualname__}.{name}" for owner, name in state.bindings)
                self._say(what, place, f"one object bound as {bound}; make a State for each")
            if not isinstance(name, str) or not name:
                self._say(what, place, f"its name is {name!r}; use a non-empty string")
            elif name in ("ROOT", "ANY"):
                self._say(what, place, f"the name {name!r} is reserved; choose another")
            elif name in self.by_name:
                other = self.by_name[name]
                line = f"{other.place[0]}:{other.place[1]}"
                self._say(what, place, f"another state has this name ({line}); rename one of them")
            else:
                self.by_name[name] = state
            for _, attribute in state.bindings[:1]:
                if attribute in self.reserved:
                    self._say(what, place, f"Machine.{attribute} is an attribute; rename the state")
            self._check_defer(state, what)

    def _check_defer(self, state: State, what: str) -> None:
        events = state.declared_defer
        if not isinstance(events, tuple):
            self._say(what, state.place, f"defer={events!r}; give an iterable of events")
            return
        for event in events:
            if event is ANY:
                self._say(what, state.place, "defer contains ANY; list the events that shall wait")
            elif not is_hashable(event):
                self._say(what, state.place, f"defer contains the unhashable event {event!r}")

    def _check_parents(self) -> None:
        known = set(self.states)
        self.children = {ROOT: [], **{state: [] for state in self.states}}
        parents: dict[State, State] = {}
        for state in self.states:
            parents[state] = self._parent_of(state, known)
        for state in self.states:
            seen = [state]
            above = parents[state]
            while above is not ROOT and above not in seen:
                seen.append(above)
                above = parents[above]
            if above is state:
                ring = " in ".join(repr(each.name) for each in [*seen, state])
                problem = f"its parents form a cycle, {ring}; end it with a top-level state"
                self._say(self._describe(state), state.place, problem)
            if above is not ROOT:
                parents[state] = ROOT
        for state, parent in parents.items():
            self.children[parent].append(state)
            if isinstance(parent, Final | Terminate):
                kind = type(parent).__name__
                problem = f"its parent {parent.name!r} is a {kind}, which cannot have children"
                self._say(self._describe(state), state.place, problem)
        self.paths = {ROOT: (ROOT,)}
        for state in self.states:
            path = [state]
            while path[-1] is not ROOT:
                path.append(parents[path[-1]])
            self.paths[state] = tuple(path)

    def _parent_of(self, state: State, known: set[State]) -> State:
        reference = state.parent_reference
        if reference is None:
            return ROOT
        parent = self._find(reference, known)
        if parent is None:
            problem = f"unknown parent {_show(reference)}; {self._suggest(reference)}"
            self._say(self._describe(state), state.place, problem)
            return ROOT
        if state.parent is None:
            state.resolve_parent(parent)
        elif state.parent is not parent:
            problem = (
                f"its parent {reference!r} is another state here than in the other class that "
                "inherits it; declare the state in each class"
            )
            self._say(self._describe(state), state.place, problem)
        return parent

    def _find(self, reference: object, known: set[State] | None = None) -> State | None:
        if reference is ROOT or reference == "ROOT":
            return ROOT
        if isinstance(reference, str):
            return self.by_name.get(reference)
        if isinstance(reference, State) and reference in (self.children or known or ()):
            return reference
        return None

    def _suggest(self, reference: object) -> str:
        if isinstance(reference, State):
            return "bind that state in this class or a base class"
        return f"name one of: {', '.join(self.by_name) or 'no state is declared'}"

    def _describe(self, state: State) -> str:
        return f"state {state.declared_name!r}"

    # Declarations -------------------------------------------------------------------------------

    def _check_members(self) -> None:
        for hidden in self.family.hidden:
            self._say(
                hidden.attribute,
                None,
                f"an inherited handler is hidden by {hidden.value!r}; bind a function, or None to "
                "drop the handler",
            )
        for wrapped in self.family.wrapped:
            declaration = wrapped.declaration
            self._say(
                f"{wrapped.attribute} @{declaration.role.value}",
                declaration.place,
                f"the declaration is hidden by the {wrapped.wrapper} around it and would be lost; "
                f"put @{declaration.role.value} on top",
            )
        reported = set()
        for member in self.family.members:
            if member.attribute in self.reserved and member.attribute not in reported:
                reported.add(member.attribute)
                problem = f"Machine.{member.attribute} is an attribute; rename the handler"
                self._say(member.attribute, member.place, problem)

    def _rules(self, member: Member) -> Iterator[Rule]:
        """The rules of one declaration, one per state and event; none of those that are wrong."""
        declaration = member.declaration
        role = declaration.role
        title = f"{member.attribute} @{role.value}({', '.join(map(_show, declaration.states))})"
        before = len(self.problems)

        def wrong(problem: str) -> None:
            self._say(title, member.place, problem)

        states = self._subjects(declaration.states, role, wrong)
        parameters = parameters_of(role, declaration.events, declaration.states)
        self._check_events(role, declaration.events, wrong)
        targets = self._targets(member, wrong)
        self._check_function(member, parameters, wrong)
        if role is Role.HISTORY_DEFAULT and not isinstance(declaration.kind, History):
            wrong(f"the kind is {declaration.kind!r}; give SHALLOW or DEEP")
        if len(self.problems) == before:
            for state in states:
                self._check_reach(state, member, targets, wrong)
                if state is not None:
                    for problem in region_rules.reach(
                        state, declaration, targets, self.paths, self.children
                    ):
                        wrong(problem)
        if len(self.problems) > before:
            return
        for state in states:
            for event in declaration.events or (None,):
                yield Rule(
                    role=role,
                    state=state,
                    event=event,
                    attribute=member.attribute,
                    function=member.function,
                    guard=declaration.guard,
                    target=region_rules.target_of(declaration, targets, self.paths),
                    targets=targets,
                    history=declaration.history,
                    kind=declaration.kind,
                    place=member.place,
                    takes_argument=takes_argument(role, member.function, parameters),
                    fork=targets if isinstance(declaration.target, tuple) else (),
                )

    def _subjects(
        self, references: tuple[Any, ...], role: Role, wrong: Callable[[str], None]
    ) -> list[State | None]:
        subjects: list[State | None] = []
        if not references:
            wrong("it names no state; give at least one, or ANY")
        elif len(references) > 1 and has_any(references):
            wrong("ANY stands for all states; leave out the others")
        for reference in references:
            if reference is ANY:
                subjects.append(None)
                if role not in (Role.ENTRY, Role.EXIT):
                    wrong("ANY is not a state here; use ROOT or name the state")
                continue
            state = self._find(reference)
            if state is None:
                wrong(f"unknown state {_show(reference)}; {self._suggest(reference)}")
                continue
            subjects.append(state)
            if isinstance(state, Final | Terminate):
                wrong(f"{state!r} can have no declarations; declare this for its parent")
            if isinstance(state, Region) and role not in (Role.INITIAL, Role.HISTORY_DEFAULT):
                wrong(f"{state!r} is a region; declare this for {state.parent!r} or a state inside")
            if state is ROOT and role in _NOT_OF_ROOT:
                wrong("ROOT is never entered, left or completed; name a state")
        return subjects

    def _check_events(
        self, role: Role, events: tuple[Any, ...], wrong: Callable[[str], None]
    ) -> None:
        if role is Role.TIMEOUT:
            self._check_delay(events[0], wrong)
        if role is not Role.EVENT:
            return
        if not events:
            wrong("it names no event; give at least one, or ANY")
        for event in events:
            if event is ANY and len(events) > 1:
                wrong("ANY stands for all events; leave out the others")
            elif isinstance(event, State):
                wrong(f"{event!r} is given as an event; pass further states by name or stack")
            elif not is_hashable(event):
                wrong(f"the event {event!r} is not hashable; use a string, an enum member, a class")

    def _check_delay(self, event: After, wrong: Callable[[str], None]) -> None:
        if callable(event.after):
            if not accepts(event.after, 1):
                wrong(f"{event.after!r} is called as (self); give it that signature")
        elif not is_delay(event.after):
            wrong(
                f"after={event.after!r}; give a number of seconds above 0, or a function of the "
                "machine that returns one"
            )
        if not isinstance(event.every, bool):
            wrong(f"every={event.every!r}; give True or False")

    def _targets(self, member: Member, wrong: Callable[[str], None]) -> tuple[State, ...]:
        declaration = member.declaration
        role, target, targets = declaration.role, declaration.target, declaration.targets
        if target is not None and targets is not None:
            wrong(
                "both target and targets are given; use target for an edge, targets for a handler"
            )
        if declaration.history is not None:
            if not isinstance(declaration.history, History):
                wrong(f"history={declaration.history!r}; give SHALLOW or DEEP")
            if target is None:
                wrong("history is given without target; name the state whose history is meant")
        if role in (Role.INITIAL, Role.HISTORY_DEFAULT) and target is None and targets is None:
            wrong("it leads nowhere; give target")
        elif member.function is None and target is None and role not in (Role.ENTRY, Role.EXIT):
            wrong("it has neither a function nor a target; decorate a function or give target")
        elif member.function is None and role in (Role.ENTRY, Role.EXIT):
            wrong("it is not applied to a function; decorate the handler with it")
        found: list[State] = []
        if target is None and targets is None:
            return ()
        if isinstance(target, tuple) and declaration.history is not None:
            wrong("a fork enters no history; give one target, or leave out history")
        references = _listed(targets if target is None else target)
        if not references:
            wrong(f"targets={references!r} names no state; list the states the handler may choose")
        for reference in references:
            state = self._find(reference)
            if state is None:
                wrong(f"unknown target {_show(reference)}; {self._suggest(reference)}")
            elif isinstance(state, Region) and target is not None and declaration.history is None:
                wrong(f"the target {state!r} is a region; name its owner or a state inside it")
            elif state not in found:
                found.append(state)
        if declaration.history is not None and found and self._is_childless(found[0]):
            wrong(f"history needs a composite target; {found[0]!r} has no history")
        return tuple(found)

    def _is_childless(self, state: State) -> bool:
        return state is ROOT or not self.children[state]

    def _check_reach(
        self,
        owner: State | None,
        member: Member,
        targets: tuple[State, ...],
        wrong: Callable[[str], None],
    ) -> None:
        declaration = member.declaration
        role = declaration.role
        if owner is None or role not in (Role.INITIAL, Role.HISTORY_DEFAULT):
            return
        if role is Role.HISTORY_DEFAULT and self._is_childless(owner):
            wrong(f"{owner!r} has no history; name a composite state")
            return
        for target in targets:
            if target is not owner and owner in self.paths[target]:
                continue
            if target is owner and role is Role.INITIAL and declaration.history is not None:
                if not self._has_default(owner, declaration.history):
                    wrong(
                        f"{owner!r} enters itself through its history and has no default to begin "
                        f"with; add on_history_default({owner.name}, {declaration.history!r}, …)"
                    )
                continue
            wrong(f"the target {target!r} is not below {owner!r}; name a state inside it")

    def _has_default(self, owner: State, kind: object) -> bool:
        return any(
            member.declaration.role is Role.HISTORY_DEFAULT
            and member.declaration.kind is kind
            and self._find(member.declaration.states[0]) is owner
            for member in self.family.members
        )

    def _check_function(
        self, member: Member, parameters: tuple[str, ...], wrong: Callable[[str], None]
    ) -> None:
        role = member.declaration.role
        function, guard = member.function, member.declaration.guard
        if function is not None:
            if not is_plain(function):
                wrong("the function is a coroutine or a generator; handlers are plain functions")
            elif not accepts(function, len(parameters)) and not takes_argument(
                role, function, parameters
            ):
                forms = f"({', '.join(parameters)})"
                if role in (Role.ENTRY, Role.EXIT):
                    forms += f" or ({', '.join((*parameters, 'arg'))})"
                wrong(f"the function is called as {forms}; give it that signature")
        if guard is not None:
            if not callable(guard):
                wrong(f"the guard {guard!r} is not callable; give a function")
            elif not accepts(guard, len(parameters)):
                wrong(f"the guard is called as ({', '.join(parameters)}); give it that signature")

    def _check_completeness(self, chart: Chart) -> None:
        name = self.cls.__qualname__
        remedy = "declare an abstract family base with abstract=True"
        if not self.states:
            self._say(name, None, f"it has no states; add one, or {remedy}")
            return
        attempted = {
            self._find(state)
            for member in self.family.members
            if member.declaration.role is Role.INITIAL
            for state in member.declaration.states
        }
        owners = [ROOT, *self.states]
        for owner in owners:
            needed = owner is ROOT or isinstance(owner, Region)
            needed = needed or any(
                not isinstance(child, Final | Terminate | Region) for child in self.children[owner]
            )
            if needed and owner not in chart.initials and owner not in attempted:
                what = "ROOT" if owner is ROOT else self._describe(owner)
                place = None if owner is ROOT else owner.place
                problem = f"it has no initial; add on_initial({owner.name}, target=…), or {remedy}"
                self._say(what, place, problem)


def _listed(targets: object) -> tuple[Any, ...]:
    if isinstance(targets, tuple):
        return targets
    return (targets,)


def _show(reference: object) -> str:
    if isinstance(reference, State):
        return reference.name or "an unbound state"
    return repr(reference)
