"""A machine class from an SCXML document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType, MappingProxyType, new_class
from typing import Any

from ..declarations import (
    Declaration,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)
from ..errors import HsmError
from ..machine import Machine
from ..states import ANY, DEEP, ROOT, SHALLOW, Final, History, State
from .document import Element, ScxmlError, parse

Behaviours = Mapping[str, Callable[..., Any]]

# What may stand in which element, and which attributes are understood there.
_CONTENT: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "scxml": frozenset({"state", "final", "initial"}),
        "state": frozenset(
            {"state", "final", "initial", "history", "onentry", "onexit", "transition"}
        ),
        "final": frozenset(),
        "initial": frozenset({"transition"}),
        "history": frozenset({"transition"}),
        "onentry": frozenset({"hsm:call"}),
        "onexit": frozenset({"hsm:call"}),
        "transition": frozenset({"hsm:call"}),
        "hsm:call": frozenset(),
    }
)
_ATTRIBUTES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "scxml": frozenset({"name", "version", "initial"}),
        "state": frozenset({"id", "initial"}),
        "final": frozenset({"id"}),
        "initial": frozenset(),
        "history": frozenset({"id", "type"}),
        "onentry": frozenset(),
        "onexit": frozenset(),
        "transition": frozenset({"event", "cond", "target", "type", "hsm:implied"}),
        "hsm:call": frozenset({"name"}),
    }
)


def import_scxml(
    text: str, behaviours: Behaviours | None = None, *, name: str | None = None
) -> type[Machine]:
    """A machine class from an SCXML document.

    Args:
        text: the document; the subset that `export_scxml` writes. Hostile input is refused, never
            expanded.
        behaviours: the functions that `<hsm:call name="…"/>` and `cond="…"` name, with the
            parameters that the place asks for. One that is missing is an error when it is run, so
            a document can be drawn and checked without any.
        name: the name of the class; without one, that of the document.

    Raises:
        ScxmlError: elements, attributes or transitions that this framework has no equal for, each
            with its line; or a document that is refused as a whole.
        DefinitionError: the chart itself is wrong.
    """
    root = parse(text)
    problems: list[str] = []
    if root.tag != "scxml":
        problems.append(f"line {root.line}: the document is a <{root.tag}>, not <scxml>")
    else:
        _check(root, problems)
    if problems:
        raise ScxmlError("this SCXML document has no equal here", tuple(problems))
    return _Importer(root, behaviours or {}).machine(name)


def _check(element: Element, problems: list[str]) -> None:
    line = f"line {element.line}"
    unknown = element.attributes.keys() - _ATTRIBUTES[element.tag]
    problems += [
        f"{line}: <{element.tag}> has an attribute {name}: not supported"
        for name in sorted(unknown)
    ]
    if element.tag in ("state", "final", "history") and not element.attributes.get("id"):
        problems.append(f"{line}: <{element.tag}> has no id")
    if element.text.strip():
        problems.append(f"{line}: <{element.tag}> contains text: not supported")
    for child in element.children:
        if child.tag in _CONTENT[element.tag]:
            _check(child, problems)
        else:
            problems.append(f"line {child.line}: <{child.tag}> in <{element.tag}>: not supported")


class _Importer:
    """Collects states first, then declarations; names resolve against all ids of the document."""

    def __init__(self, root: Element, behaviours: Behaviours) -> None:
        self._root = root
        self._behaviours = behaviours
        self._problems: list[str] = []
        self._states: dict[str, State] = {}
        self._histories: dict[str, tuple[State, History]] = {}
        # What is declared, in document order, which is the order of trial; with the behaviour.
        self._members: list[tuple[str | None, Declaration]] = []

    def machine(self, name: str | None) -> type[Machine]:
        self._collect(self._root, ROOT)
        self._initial(self._root, ROOT)
        for element in self._root.find("state", "final"):
            self._declare(element)
        if self._problems:
            raise ScxmlError("this SCXML document has no equal here", tuple(self._problems))
        title = name or self._root.attributes.get("name") or "Imported"
        body: dict[str, Any] = {"__module__": __name__, "__qualname__": title}
        called = {behaviour for behaviour, _ in self._members}
        # Made-up attribute names contain a space, so that they are nobody else's.
        for number, (id_, state) in enumerate(self._states.items()):
            usable = _is_plain(id_) and not hasattr(Machine, id_) and id_ not in called
            body[id_ if usable else f"state {number}"] = state
        for number, (behaviour, declaration) in enumerate(self._members):
            if behaviour is None:
                body[f"edge {number}"] = declaration
            else:
                # Each use is an attribute of its own, for the order of trial is that of attributes.
                attribute = f"{behaviour} {number}" if behaviour in body else behaviour
                body[attribute] = declaration(self._function(behaviour))
        made = new_class(title, (Machine,), exec_body=lambda namespace: namespace.update(body))
        assert issubclass(made, Machine)
        return made

    # States and histories.

    def _collect(self, element: Element, owner: State) -> None:
        for child in element.find("state", "final", "history"):
            id_ = child.attributes["id"]
            if id_ in self._states or id_ in self._histories:
                self._problem(child, f"the id {id_} is used twice")
            elif child.tag == "history":
                kind = child.attributes.get("type", "shallow")
                if kind not in ("shallow", "deep"):
                    self._problem(child, f"a history of type {kind}")
                self._histories[id_] = (owner, DEEP if kind == "deep" else SHALLOW)
            elif child.tag == "final":
                self._states[id_] = Final(id_, parent=owner)
            else:
                self._states[id_] = State(id_, parent=owner)
                self._collect(child, self._states[id_])

    def _declare(self, element: Element) -> None:
        state = self._states.get(element.attributes["id"])
        if state is None or element.tag == "final":
            return
        self._initial(element, state)
        for history in element.find("history"):
            self._history_default(history)
        for tag, declare in (("onentry", on_entry), ("onexit", on_exit)):
            for block in element.find(tag):
                for call in block.children:
                    self._add(declare(state), call)
        for transition in element.find("transition"):
            self._transition(transition, state)
        for child in element.find("state", "final"):
            self._declare(child)

    def _initial(self, element: Element, owner: State) -> None:
        """`initial=`, `<initial>`, or else the first child, as SCXML has it."""
        blocks = element.find("initial")
        inner = element.find("state", "final")
        if not inner:
            if blocks or "initial" in element.attributes:
                self._problem(element, "an initial of a state without children")
            return
        if blocks:
            leads = blocks[0].children
            if len(blocks) != 1 or len(leads) != 1 or "initial" in element.attributes:
                self._problem(blocks[0], "an initial that is not exactly one transition")
                return
            transition = leads[0]
            self._refuse_conditions(transition)
        else:
            target = element.attributes.get("initial", inner[0].attributes["id"])
            transition = Element("transition", {"target": target}, line=element.line)
        reached = self._resolve(transition)
        if reached is not None:
            target_state, history = reached
            self._add_edge(on_initial(owner, target=target_state, history=history), transition)

    def _history_default(self, element: Element) -> None:
        owner, kind = self._histories[element.attributes["id"]]
        for transition in element.find("transition"):
            if transition.attributes.get("hsm:implied") == "true":
                continue
            self._refuse_conditions(transition)
            reached = self._resolve(transition)
            if reached is not None and reached[1] is not None:
                self._problem(transition, "a history whose default is a history")
            elif reached is not None:
                self._add_edge(on_history_default(owner, kind, target=reached[0]), transition)

    def _refuse_conditions(self, transition: Element) -> None:
        """An initial and a history default are taken unconditionally."""
        for name in sorted(transition.attributes.keys() - {"target"}):
            self._problem(transition, f"{name}= on the transition of an initial or a history")

    # Transitions.

    def _transition(self, element: Element, state: State) -> None:
        options: dict[str, Any] = {}
        condition = element.attributes.get("cond")
        if condition is not None:
            if not condition.isidentifier():
                self._problem(element, f"cond={condition!r}: a guard is the name of a function")
                return
            options["guard"] = self._function(condition)
        if "target" in element.attributes:
            reached = self._resolve(element)
            if reached is None or not self._has_equal(element, state, *reached):
                return
            options["target"], options["history"] = reached
        events = element.attributes.get("event", "").split()
        if not events:
            self._completion(element, state, options)
            return
        for event in events:
            if event == f"done.state.{state.name}":
                self._completion(element, state, options)
            elif event.startswith("done.") or (event != "*" and "*" in event):
                self._problem(element, f"the event {event} here")
            else:
                declared = ANY if event == "*" else event
                self._add_edge(on_event(state, declared, **options), element)

    def _completion(self, element: Element, state: State, options: dict[str, Any]) -> None:
        has_children = any(other.parent is state for other in self._states.values())
        if has_children and "event" not in element.attributes:
            self._problem(element, "a transition without event of a state that has children")
        else:
            self._add_edge(on_completion(state, **options), element)

    def _has_equal(
        self, element: Element, source: State, target: State, history: History | None
    ) -> bool:
        """Refuse what SCXML and UML do differently (docs/hsm/semantics.md)."""
        kind = element.attributes.get("type", "external")
        if kind not in ("internal", "external"):
            self._problem(element, f"a transition of type {kind}")
            return False
        internal = kind == "internal"
        inside = self._is_below(target, source) or (history is not None and target is source)
        if inside and not internal:
            self._problem(element, "an external transition to the inside of its source")
        elif internal and not inside:
            self._problem(element, "an internal transition to the outside of its source")
        elif self._is_below(source, target):
            self._problem(element, "a transition to a state around its source")
        else:
            return True
        return False

    def _is_below(self, state: State, other: State) -> bool:
        above = state.parent
        while above is not None and above is not other:
            above = above.parent
        return above is other

    def _resolve(self, element: Element) -> tuple[State, History | None] | None:
        names = element.attributes.get("target", "").split()
        if len(names) != 1:
            self._problem(element, f"a transition with {len(names)} targets")
            return None
        if names[0] in self._histories:
            return self._histories[names[0]]
        if names[0] not in self._states:
            self._problem(element, f"the target {names[0]}, which no state has as its id")
            return None
        return self._states[names[0]], None

    # Behaviours.

    def _add_edge(self, declaration: Any, element: Element) -> None:
        calls = element.find("hsm:call")
        if calls:
            for call in calls:
                self._add(declaration, call)
        elif "target" in element.attributes:
            self._members.append((None, declaration))
        else:
            self._problem(element, "a transition that neither leads anywhere nor calls anything")

    def _add(self, declaration: Any, call: Element) -> None:
        name = call.attributes.get("name", "")
        if not _is_plain(name):
            self._problem(call, f"a call of {name!r}")
            return
        self._members.append((name, declaration))

    def _function(self, name: str) -> FunctionType:
        """A copy, because declaring notes the declaration on the function itself."""
        given = self._behaviours.get(name) or _missing(name)
        if not isinstance(given, FunctionType):
            raise HsmError(f"the behaviour {name} is {given!r}; give a plain function")
        copied = FunctionType(
            given.__code__, given.__globals__, name, given.__defaults__, given.__closure__
        )
        copied.__kwdefaults__ = given.__kwdefaults__
        return copied

    def _problem(self, element: Element, what: str) -> None:
        self._problems.append(f"line {element.line}: {what}: not supported")


def _is_plain(name: str) -> bool:
    """Whether it may be an attribute: an identifier, and none that Python itself calls."""
    return name.isidentifier() and not name.startswith("__")


def _missing(name: str) -> FunctionType:
    def missing(self: Machine, *_: object) -> Any:
        raise HsmError(
            f"{type(self).__name__} was imported without the behaviour {name}; "
            f"pass behaviours={{'{name}': …}} to import_scxml"
        )

    assert isinstance(missing, FunctionType)
    return missing
