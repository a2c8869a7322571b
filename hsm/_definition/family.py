"""The inheritance of a class: states and declarations of all classes in its MRO (section 16).

Overriding by name is settled here: for each attribute name the most derived class that declares, or
that binds None, decides about the declarations (H-181, H-182), and ordinary attribute lookup
decides about the function. Conflicts between names about one state are settled in `checks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import FunctionType
from typing import Any

from ..declarations import Declaration, declarations_of, hidden_declarations_of
from ..states import ROOT, State


@dataclass(frozen=True, slots=True)
class Member:
    """One declaration in force.

    `rank` is the position of the declaring class in the MRO: 0 for the class itself.
    """

    declaration: Declaration
    attribute: str
    function: FunctionType | None
    rank: int

    @property
    def place(self) -> tuple[str, int]:
        """The file and line to look at: the function when there is one, else the declaration."""
        if self.function is None:
            return self.declaration.place
        return self.function.__code__.co_filename, self.function.__code__.co_firstlineno


@dataclass(frozen=True, slots=True)
class Hidden:
    """An inherited handler's name bound to something that cannot be its body (H-028)."""

    attribute: str
    value: object


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A declaration on a function that another object hides (H-015)."""

    attribute: str
    declaration: Declaration
    wrapper: str


@dataclass(frozen=True, slots=True)
class Family:
    """All that the classes of an MRO bind, in document order (base classes first)."""

    states: tuple[State, ...]
    bound_root: tuple[str, ...]
    members: tuple[Member, ...]
    hidden: tuple[Hidden, ...]
    wrapped: tuple[Wrapped, ...]


def family_of(cls: type) -> Family:
    """Collect the states and the declarations in force of a class."""
    states: dict[State, None] = {}
    bound_root: list[str] = []
    attributes: dict[str, None] = {}
    wrapped: list[Wrapped] = []
    for klass in reversed(cls.__mro__):
        for attribute, value in vars(klass).items():
            if value is ROOT:
                bound_root.append(attribute)
            elif isinstance(value, State):
                states.setdefault(value)
            elif declarations_of(value):
                attributes.setdefault(attribute)
            else:
                wrapped += [
                    Wrapped(attribute, declaration, type(value).__name__)
                    for declaration in hidden_declarations_of(value)
                ]
    members: list[Member] = []
    hidden: list[Hidden] = []
    for attribute in attributes:
        found = _in_force(cls, attribute)
        if isinstance(found, Hidden):
            hidden.append(found)
        else:
            members.extend(found)
    return Family(tuple(states), tuple(bound_root), tuple(members), tuple(hidden), tuple(wrapped))


def _in_force(cls: type, attribute: str) -> list[Member] | Hidden:
    body: Any = None
    for rank, klass in enumerate(cls.__mro__):
        if attribute not in vars(klass):
            continue
        value = vars(klass)[attribute]
        if value is None:
            return []
        if body is None and isinstance(value, FunctionType):
            body = value
        declarations = declarations_of(value)
        if declarations:
            return [Member(declaration, attribute, body, rank) for declaration in declarations]
        if not isinstance(value, FunctionType):
            return Hidden(attribute, value)
    return []
