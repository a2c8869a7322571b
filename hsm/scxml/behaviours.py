"""Functions behind the names in a document."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from ..errors import HsmError
from ..machine import Machine
from ..states import HANDLED

Behaviours = Mapping[str, Callable[..., Any]]


class NamedFunctions:
    """The functions that a document calls by name.

    A name without a function gets one that raises HsmError when it runs.
    """

    def __init__(self, given: Behaviours) -> None:
        self._given = given
        self._absent: dict[str, FunctionType] = {}

    def copy(self, name: str) -> FunctionType:
        """Return a copy, because declaring notes the declaration on the function itself.

        Raises:
            HsmError: the behaviour of that name is not a plain function.
        """
        given = self._given.get(name)
        if given is None:
            given = self._absent.setdefault(name, _missing(name))
        if not isinstance(given, FunctionType):
            raise HsmError(f"the behaviour {name} is {given!r}; give a plain function")
        copied = FunctionType(
            given.__code__, given.__globals__, name, given.__defaults__, given.__closure__
        )
        copied.__kwdefaults__ = given.__kwdefaults__
        return copied

    def in_order(self, names: Sequence[str]) -> FunctionType:
        """Return one function that calls the named ones one after the other.

        Its name is their names with a space between them. It returns HANDLED if all of them do,
        else the first other result.
        """
        functions = [self.copy(name) for name in names]
        if len(functions) == 1:
            return functions[0]
        made = _sequence(functions)
        made.__name__ = " ".join(names)
        return made


def _sequence(functions: Sequence[FunctionType]) -> FunctionType:
    """A function with as many parameters as the functions need; each gets as many as it takes."""
    counts = [_parameters(function) for function in functions]
    known = [count for count in counts if count is not None]

    def run(*arguments: Any) -> Any:
        results = [
            function(*arguments[:count]) for function, count in zip(functions, counts, strict=True)
        ]
        return next((result for result in results if result is not HANDLED), HANDLED)

    # The definition checks read the number of parameters from the function's code.
    def of_one(self: Machine) -> Any:
        return run(self)

    def of_two(self: Machine, first: Any) -> Any:
        return run(self, first)

    def of_three(self: Machine, first: Any, second: Any) -> Any:
        return run(self, first, second)

    def of_any(self: Machine, *rest: Any) -> Any:
        return run(self, *rest)

    by_count: dict[int, Callable[..., Any]] = {1: of_one, 2: of_two, 3: of_three}
    made = by_count.get(max(known), of_any) if known else of_any
    assert isinstance(made, FunctionType)
    return made


def _parameters(function: FunctionType) -> int | None:
    """The number of positional parameters; None if the function takes any number."""
    code = function.__code__
    return None if code.co_flags & inspect.CO_VARARGS else code.co_argcount


def _missing(name: str) -> FunctionType:
    def missing(self: Machine, *_: object) -> Any:
        raise HsmError(
            f"{type(self).__name__} was imported without the behaviour {name}; "
            f"pass behaviours={{'{name}': …}} to import_scxml"
        )

    assert isinstance(missing, FunctionType)
    return missing
