"""The class of machine classes: it checks and plans a class when its statement ends."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from operator import attrgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from ._definition.chart import Chart
from ._definition.checks import define
from ._definition.introspection import edges_of
from ._engine.construction import constructor
from ._engine.dispatch_tables import Tables
from ._engine.history import Memories
from ._engine.nodes import Node
from .declarations import Declaration, declarations_of
from .errors import DefinitionError
from .states import State
from .tracing import HOOK_NAMES, overrides_hooks


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
    """The class of machine classes: checks and plans each class when its statement ends."""

    _hsm_chart: Chart
    _hsm_construct: Callable[..., Any]
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
        strict: bool | None = None,
        **keywords: Any,
    ) -> MachineType:
        cls = super().__new__(mcs, name, bases, dict(body), **keywords)
        rebound = body.rebound if isinstance(body, _Body) else []
        if (
            strict is None
        ):  # a family is strict or not as a whole, unless a class declares otherwise
            strict = any(base._hsm_chart.strict for base in bases if isinstance(base, MachineType))
        chart = define(
            cls, abstract=abstract, strict=strict, reserved=_public_names(cls), rebound=rebound
        )
        type.__setattr__(cls, "_hsm_chart", chart)
        type.__setattr__(cls, "states", chart.states)
        type.__setattr__(cls, "edges", edges_of(chart))
        type.__setattr__(cls, "events", chart.events)
        memories = Memories(chart)
        plain = Tables(chart, memories, traced=False)
        traced = Tables(chart, memories, traced=True)
        type.__setattr__(cls, "_hsm_plain", plain)
        type.__setattr__(cls, "_hsm_traced", traced)
        chosen = traced if overrides_hooks(cls) else plain
        new = None if abstract else chosen.new
        type.__setattr__(cls, "_hsm_new", new)
        type.__setattr__(cls, "_hsm_construct", constructor(cls, new))
        return cls

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **_: Any) -> None:
        super().__init__(name, bases, body)

    def __setattr__(cls, name: str, value: Any) -> None:
        if isinstance(value, State) or declarations_of(value):
            problem = f"{name}: the class is closed; declare it in the class body or in a subclass"
            raise DefinitionError(f"class {cls.__qualname__}", (problem,))
        super().__setattr__(name, value)
        if name == "__new__":
            cls._hsm_renew_constructors()

    def __delattr__(cls, name: str) -> None:
        super().__delattr__(name)
        if name == "__new__":
            cls._hsm_renew_constructors()

    def _hsm_renew_constructors(cls) -> None:
        """Have a call of the class or of a subclass find the `__new__` that it has now."""
        type.__setattr__(cls, "_hsm_construct", constructor(cls, cls._hsm_new))
        for heir in cast("list[MachineType]", cls.__subclasses__()):
            heir._hsm_renew_constructors()

    @property
    def __signature__(cls) -> inspect.Signature:
        """The parameters of a class, as `help` and editors show them: those of its `__init__`."""
        init = next(vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base))
        signature = inspect.signature(init)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    if not TYPE_CHECKING:  # type checkers go by the signature of `__init__`
        # The function of the class itself is found without running any Python code.
        __call__ = property(attrgetter("_hsm_construct"))


def _public_names(cls: type) -> frozenset[str]:
    """Return the public names of `Machine`; none while that class is being made (H-014)."""
    machine = next((base for base in cls.__mro__[1:][::-1] if isinstance(base, MachineType)), None)
    if machine is None:
        return frozenset()
    return frozenset(name for name in (*vars(machine), *HOOK_NAMES) if not name.startswith("_"))
