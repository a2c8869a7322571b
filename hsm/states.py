"""States and the constants of the framework.

A state is declared once, as an attribute of a machine class, and shared by every class that
inherits it; it is compared by identity and survives copying and pickling as the same object
(H-190). Its name and its parent are known as soon as the class statement that declares it has
ended.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Hashable, Iterable
from typing import Any
from typing import Final as Constant


class Outcome(enum.Enum):
    """The result of an event; `UNHANDLED` is false in a boolean context, the others are true."""

    HANDLED = "handled"
    UNHANDLED = "unhandled"
    DEFERRED = "deferred"

    def __bool__(self) -> bool:
        return self is not Outcome.UNHANDLED

    def __repr__(self) -> str:
        return self.name


class History(enum.Enum):
    """The part of a remembered configuration is restored."""

    SHALLOW = "shallow"
    DEEP = "deep"

    def __repr__(self) -> str:
        return self.name


HANDLED: Constant = Outcome.HANDLED
UNHANDLED: Constant = Outcome.UNHANDLED
DEFERRED: Constant = Outcome.DEFERRED
SHALLOW: Constant = History.SHALLOW
DEEP: Constant = History.DEEP


class AnyMarker:
    """The type of `ANY`: every event (`on_event`) or every state (`on_entry`, `on_exit`)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ANY"

    def __reduce__(self) -> str:
        return "ANY"

    def __copy__(self) -> AnyMarker:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> AnyMarker:
        return self


ANY: Constant = AnyMarker()


type EventLike = Hashable | type[Any]
"""The type of events (H-006); a class is one also when its instances are not hashable."""

type StateReference = State | str
"""A reference to a state in a declaration: the object, or its name (H-003)."""

type TargetReference = StateReference | tuple[StateReference, ...]
"""The target of an edge; a tuple is a fork into several regions (H-253)."""


def _place_of_caller() -> tuple[str, int]:
    """File and line of the call of the function that asks."""
    frame = sys._getframe(2)
    return frame.f_code.co_filename, frame.f_lineno


def _lists_events(defer: object) -> bool:
    """Return True if `defer` lists events; a string is one event without brackets (H-029)."""
    return isinstance(defer, Iterable) and not isinstance(defer, str | bytes)


class State:
    """A state of a machine; it is composite when other states name it as their parent.

    Args:
        name: the state's name; without one, the name of the attribute it is bound to.
        parent: the enclosing state or its name; top level without one.
        defer: events that wait, while this state is active and takes no edge for them, until a
            transition leads to a state that does (H-210).

    >>> from tensor_pool.hsm import Machine, on_initial, ROOT
    >>> class Door(Machine):
    ...     Closed = State()
    ...     Locked = State(parent=Closed)
    ...     to_closed = on_initial(ROOT, target=Closed)
    ...     to_locked = on_initial(Closed, target=Locked)
    >>> Door.Locked.name, Door.Locked.parent
    ('Locked', State('Closed'))
    """

    __slots__ = ("_bindings", "_defer", "_name", "_parent", "parent_reference", "place")

    def __init__(
        self,
        name: str | None = None,
        *,
        parent: StateReference | None = None,
        defer: Iterable[EventLike] = (),
    ) -> None:
        self._name = name
        self._parent = parent if isinstance(parent, State) else None
        self._bindings: list[tuple[type, str]] = []
        self._defer: Any = defer
        self.parent_reference: Any = parent
        self.place = _place_of_caller()
        # An iterator can be walked once only; what lists no events is reported with the class.
        if _lists_events(defer):
            self._defer = tuple(defer)

    def __set_name__(self, owner: type, name: str) -> None:
        self._bindings.append((owner, name))
        if self._name is None:
            self._name = name

    @property
    def name(self) -> str:
        """The name (H-002); empty for a state that is bound to no attribute."""
        return self._name if isinstance(self._name, str) else ""

    @property
    def parent(self) -> State | None:
        """The enclosing state; `ROOT` at top level, None for `ROOT` itself."""
        return ROOT if self.parent_reference is None else self._parent

    @property
    def defer(self) -> frozenset[Hashable]:
        """The events that this state defers."""
        return frozenset(self._defer)

    @property
    def declared_name(self) -> object:
        """The name as it was given or taken, before any check."""
        return self._name

    @property
    def declared_defer(self) -> object:
        """The value given as `defer`, before any check."""
        return self._defer

    @property
    def bindings(self) -> tuple[tuple[type, str], ...]:
        """The classes and attributes that this object was bound to; one, when all is well."""
        return tuple(self._bindings)

    def resolve_parent(self, parent: State) -> None:
        """Set the parent that `parent=` named by a string; called when a class is defined."""
        self._parent = parent

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __copy__(self) -> State:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        if not self._bindings:
            raise TypeError(f"{self!r} is bound to no class; only bound states can be pickled")
        return _bound_state, self._bindings[0]


class Final(State):
    """A state that ends its parent, or the machine when it is at top level (section 11)."""

    __slots__ = ()

    def __init__(self, name: str | None = None, *, parent: StateReference | None = None) -> None:
        super().__init__(name, parent=parent)
        self.place = _place_of_caller()


class Terminate(State):
    """A vertex that stops the machine at once, without leaving the active states (section 13)."""

    __slots__ = ()

    def __init__(self, name: str | None = None, *, parent: StateReference | None = None) -> None:
        super().__init__(name, parent=parent)
        self.place = _place_of_caller()


class Region(State):
    """One of the orthogonal regions of a state: all of them are active together (section 24).

    Args:
        owner: the state that has the region, or its name; it has at least two, and no other
            children.
        name: the region's name; without one, the name of the attribute it is bound to.

    >>> from tensor_pool.hsm import Machine, on_initial, ROOT
    >>> class Printer(Machine):
    ...     Working = State()
    ...     Paper = Region(Working)
    ...     Ink = Region(Working)
    ...     Loaded = State(parent=Paper)
    ...     Wet = State(parent=Ink)
    ...     begin = on_initial(ROOT, target=Working)
    ...     paper = on_initial(Paper, target=Loaded)
    ...     ink = on_initial(Ink, target=Wet)
    >>> Printer().leaves
    (State('Loaded'), State('Wet'))
    """

    __slots__ = ()

    def __init__(self, owner: StateReference, name: str | None = None) -> None:
        super().__init__(name, parent=owner)
        self.place = _place_of_caller()


class _Root(State):
    __slots__ = ()

    @property
    def parent(self) -> None:
        return None

    def __repr__(self) -> str:
        return "ROOT"

    def __reduce__(self) -> str:
        return "ROOT"


ROOT: Constant[State] = _Root("ROOT")


def _bound_state(owner: type, attribute: str) -> State:
    state = vars(owner)[attribute]
    if not isinstance(state, State):
        raise TypeError(f"{owner.__qualname__}.{attribute} is no longer a state: {state!r}")
    return state
