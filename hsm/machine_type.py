"""The class of machine classes: it checks and plans a class when its statement ends."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

from .chart import Chart
from .checks import define
from .declarations import Declaration, declarations_of
from .errors import DefinitionError
from .introspection import edges_of
from .memories import Memories
from .nodes import IDLE, Node
from .states import HANDLED, State
from .steps import BLOCKED
from .tables import Tables
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
        chart = define(cls, abstract=abstract, reserved=_public_names(cls), rebound=rebound)
        type.__setattr__(cls, "_hsm_chart", chart)
        type.__setattr__(cls, "states", chart.states)
        type.__setattr__(cls, "edges", edges_of(chart))
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
                if not isinstance(machine, cls):
                    return machine
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


def _public_names(cls: type) -> frozenset[str]:
    """What `Machine` itself defines for users; nothing while that class is being made (H-014)."""
    machine = next((base for base in cls.__mro__[1:][::-1] if isinstance(base, MachineType)), None)
    if machine is None:
        return frozenset()
    return frozenset(name for name in (*vars(machine), *HOOK_NAMES) if not name.startswith("_"))
