"""A machine class from an SCXML document."""

from __future__ import annotations

from types import new_class
from typing import Any

from .._definition.chart_of import chart_of
from ..declarations import (
    Declaration,
    on_completion,
    on_entry,
    on_event,
    on_exit,
    on_history_default,
    on_initial,
)
from ..machine import Machine
from ..states import ANY, DEEP, ROOT, SHALLOW, Final, History, Region, State
from .behaviours import Behaviours, NamedFunctions
from .document import Element, ScxmlError, parse
from .events import alphabet, descriptors, is_platform_event, loose_completions, matches, walk
from .regions import taken_in_several
from .subset import problems_of


def import_scxml(
    text: str, behaviours: Behaviours | None = None, *, name: str | None = None
) -> type[Machine]:
    """Return a machine class made from an SCXML document.

    Args:
        text: the document; the subset that `export_scxml` writes. Hostile input is refused, never
            expanded. Event descriptors match by prefix, as SCXML has it, over the events that the
            document names: `event="job"` also takes `job.done` if some descriptor is `job.done`.
        behaviours: the functions that `<hsm:call name="…"/>` and `cond="…"` name, with the
            parameters that the place asks for. Several calls in one place run in document order.
            One that is missing is an error when it is run, so a document can be drawn and checked
            without any.
        name: the name of the class; without one, that of the document.

    Raises:
        ScxmlError: elements, attributes or transitions that this framework has no equal for, each
            with its line; or a document that is refused as a whole.
        DefinitionError: the chart itself is wrong.
    """
    root = parse(text)
    problems = problems_of(root)
    if problems:
        raise ScxmlError("this SCXML document has no equal here", tuple(problems))
    return _Importer(root, behaviours or {}).machine(name)


_CHILDREN = ("state", "final", "parallel")


class _Importer:
    """A reader that collects states first, then declarations; names resolve against all ids."""

    def __init__(self, root: Element, behaviours: Behaviours) -> None:
        self._root = root
        self._functions = NamedFunctions(behaviours)
        self._problems: list[str] = []
        self._states: dict[str, State] = {}
        self._composites: set[State] = set()
        self._parallels: set[State] = set()
        self._alphabet = alphabet(root)
        self._histories: dict[str, tuple[State, History]] = {}
        # The declarations in document order, which is the order of trial; each with the names of
        # its behaviours.
        self._members: list[tuple[tuple[str, ...], Declaration]] = []

    def machine(self, name: str | None) -> type[Machine]:
        self._collect(self._root, ROOT)
        self._initial(self._root, ROOT)
        for element in self._root.find(*_CHILDREN):
            self._declare(element)
        if self._problems:
            raise ScxmlError("this SCXML document has no equal here", tuple(self._problems))
        title = name or self._root.attributes.get("name") or "Imported"
        body: dict[str, Any] = {"__module__": __name__, "__qualname__": title}
        called = {name for names, _ in self._members for name in names}
        # Made-up attribute names contain a space, so that no user's name is the same.
        for number, (id_, state) in enumerate(self._states.items()):
            usable = _is_plain(id_) and not hasattr(Machine, id_) and id_ not in called
            body[id_ if usable else f"state {number}"] = state
        for number, (names, declaration) in enumerate(self._members):
            if not names:
                body[f"edge {number}"] = declaration
            else:
                # Each use is an attribute of its own, for the order of trial is that of attributes.
                called_as = " ".join(names)
                attribute = f"{called_as} {number}" if called_as in body else called_as
                body[attribute] = declaration(self._functions.in_order(names))
        made = new_class(title, (Machine,), exec_body=lambda namespace: namespace.update(body))
        assert issubclass(made, Machine)
        several = taken_in_several(chart_of(made))
        if several:
            raise ScxmlError("this SCXML document has no equal here", tuple(several))
        return made

    # States and histories.

    def _collect(self, element: Element, owner: State) -> None:
        for child in element.find(*_CHILDREN, "history"):
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
            elif owner in self._parallels and _is_region(child):
                self._states[id_] = Region(owner, id_)
                self._collect(child, self._states[id_])
            else:
                home = owner
                if owner in self._parallels:  # a state with behaviours stands in a region
                    home = self._states[f"{id_}.region"] = Region(owner, f"{id_}.region")
                state = self._states[id_] = State(id_, parent=home)
                if home is not owner:
                    initial: Any = on_initial(home, target=state)
                    self._members.append(((), initial))
                if child.tag == "parallel":
                    self._parallels.add(state)
                    if len(child.find("state", "parallel")) < 2:
                        self._problem(child, "a <parallel> with fewer than two regions")
                self._collect(child, state)
            if child.tag != "history":
                self._composites.add(owner)

    def _declare(self, element: Element) -> None:
        state = self._states.get(element.attributes["id"])
        if state is None or element.tag == "final":
            return
        self._initial(element, state)
        for history in element.find("history"):
            self._history_default(history)
            if _contains_final(element):
                self._problem(
                    history,
                    f"the history of {state.name}, which contains a final state: it is forgotten "
                    "there in UML and restored in SCXML",
                )
        for tag, declare in (("onentry", on_entry), ("onexit", on_exit)):
            calls = [call for block in element.find(tag) for call in block.children]
            if calls:
                self._add(declare(state), calls)
        self._transitions(element, state)
        for child in element.find(*_CHILDREN):
            self._declare(child)

    def _initial(self, element: Element, owner: State) -> None:
        """Declare the initial: `initial=`, `<initial>`, or else the first child, as in SCXML."""
        if owner in self._parallels:
            return
        blocks = element.find("initial")
        inner = element.find(*_CHILDREN)
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
            if reached is None:
                continue
            target, nested = reached
            if nested is not None:
                self._problem(transition, "a history whose default is a history")
            elif isinstance(target, tuple):
                self._problem(transition, "a history whose default is a fork")
            else:
                self._add_edge(on_history_default(owner, kind, target=target), transition)

    def _refuse_conditions(self, transition: Element) -> None:
        """An initial and a history default are taken unconditionally."""
        for name in sorted(transition.attributes.keys() - {"target"}):
            self._problem(transition, f"{name}= on the transition of an initial or a history")

    # Transitions.

    def _transitions(self, element: Element, state: State) -> None:
        transitions = element.find("transition")
        self._check_completions(transitions, state)
        self._check_wildcards(element, transitions, state)
        closed: set[str] = set()  # events with an unguarded candidate: what follows is never tried
        for transition in transitions:
            options = self._options(transition, state)
            if options is not None:
                self._transition(transition, state, options, closed)

    def _options(self, element: Element, state: State) -> dict[str, Any] | None:
        """Return guard, target and history of a transition; None if they have no equal."""
        options: dict[str, Any] = {}
        condition = element.attributes.get("cond")
        if condition is not None:
            if not condition.isidentifier():
                self._problem(element, f"cond={condition!r}: a guard is the name of a function")
                return None
            options["guard"] = self._functions.copy(condition)
        if "target" in element.attributes:
            reached = self._resolve(element)
            if reached is None or not self._has_equal(element, state, *reached):
                return None
            options["target"], options["history"] = reached
        return options

    def _transition(
        self, element: Element, state: State, options: dict[str, Any], closed: set[str]
    ) -> None:
        named = descriptors(element)
        if not named:
            self._completion(element, state, options)
        for descriptor in named:
            if descriptor == f"done.state.{state.name}":
                self._completion(element, state, options)
            elif descriptor == "*":
                self._add_edge(on_event(state, ANY, **options), element)
            elif "*" in descriptor:
                self._problem(element, f"the event {descriptor} here")
            elif is_platform_event(descriptor):
                self._problem(
                    element,
                    f"the event {descriptor} here, which an SCXML platform raises by itself: "
                    "errors are exceptions here, and completions are handled by their state",
                )
            else:
                wider = [e for e in self._alphabet if matches(descriptor, e) and e not in closed]
                for event in dict.fromkeys([descriptor, *wider]):
                    self._add_edge(on_event(state, event, **options), element)
                    if "guard" not in options:
                        closed.add(event)

    def _completion(self, element: Element, state: State, options: dict[str, Any]) -> None:
        if state in self._composites and "event" not in element.attributes:
            self._problem(element, "a transition without event of a state that has children")
        else:
            self._add_edge(on_completion(state, **options), element)

    def _check_completions(self, transitions: list[Element], state: State) -> None:
        """Refuse eventless transitions that SCXML tries again later; a completion occurs once."""
        eventless = [t for t in transitions if not descriptors(t)]
        if not eventless or state in self._composites:
            return
        last = eventless[-1]
        if "cond" in last.attributes or "target" not in last.attributes:
            self._problem(
                last,
                f"a transition without event that may leave {state.name} active: SCXML tries it "
                "after every event, a completion occurs once; end with one without cond",
            )

    def _check_wildcards(self, element: Element, transitions: list[Element], state: State) -> None:
        """Refuse a `*` that takes in SCXML what no `ANY` takes here."""
        seen = False
        for transition in transitions:
            names = descriptors(transition)
            if seen and any(name != "*" for name in names):
                self._problem(
                    transition, "a transition after one for *: specific events come first here"
                )
            seen = seen or "*" in names
        if seen:
            for loose in loose_completions(element):
                self._problem(
                    element,
                    f"the event * of {state.name}, which takes done.state.{loose} in SCXML",
                )

    def _has_equal(
        self,
        element: Element,
        source: State,
        target: State | tuple[State, ...],
        history: History | None,
    ) -> bool:
        """Refuse transitions that SCXML and UML run differently (docs/hsm/semantics.md)."""
        kind = element.attributes.get("type", "external")
        if kind not in ("internal", "external"):
            self._problem(element, f"a transition of type {kind}")
            return False
        internal = kind == "internal"
        if isinstance(target, tuple):
            return all(self._has_equal(element, source, each, None) for each in target)
        inside = self._is_below(target, source)
        if inside and source in self._parallels:
            self._problem(element, "a transition from a <parallel> into its regions")
            return False
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

    def _resolve(self, element: Element) -> tuple[State | tuple[State, ...], History | None] | None:
        names = element.attributes.get("target", "").split()
        if len(names) > 1 and all(name in self._states for name in names):
            fork = tuple(self._states[name] for name in names)
            if self._leads_into_regions(fork):
                return fork, None
        if len(names) != 1:
            self._problem(element, f"a transition with {len(names)} targets")
            return None
        if names[0] in self._histories:
            return self._histories[names[0]]
        if names[0] not in self._states:
            self._problem(element, f"the target {names[0]}, which no state has as its id")
            return None
        target = self._states[names[0]]
        if isinstance(target, Region):  # its siblings are entered too
            target = target.parent or ROOT
        return target, None

    def _leads_into_regions(self, targets: tuple[State, ...]) -> bool:
        """True if the targets lie in different regions of one `<parallel>`."""
        for parallel in self._parallels:
            regions = [s for s in self._states.values() if s.parent is parallel]
            entered = {r for r in regions for t in targets if self._is_below(t, r)}
            if len(entered) == len(targets):
                return True
        return False

    # Behaviours.

    def _add_edge(self, declaration: Any, element: Element) -> None:
        calls = element.find("hsm:call")
        if calls:
            self._add(declaration, calls)
        elif "target" in element.attributes:
            self._members.append(((), declaration))
        else:
            self._problem(element, "a transition that neither leads anywhere nor calls anything")

    def _add(self, declaration: Any, calls: list[Element]) -> None:
        names = []
        for call in calls:
            name = call.attributes.get("name", "")
            if not _is_plain(name):
                self._problem(call, f"a call of {name!r}")
                return
            names.append(name)
        self._members.append((tuple(names), declaration))

    def _problem(self, element: Element, what: str) -> None:
        self._problems.append(f"line {element.line}: {what}: not supported")


def _is_region(element: Element) -> bool:
    """True for the child of a `<parallel>` that is nothing but a region."""
    behaves = element.find("onentry", "onexit", "transition")
    return element.tag == "state" and bool(element.find(*_CHILDREN)) and not behaves


def _contains_final(element: Element) -> bool:
    return any(inner.tag == "final" for inner in walk(element))


def _is_plain(name: str) -> bool:
    """True for a name that may be an attribute: an identifier that Python itself never calls."""
    return name.isidentifier() and not name.startswith("__")
