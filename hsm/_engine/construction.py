"""The making of a machine: what happens around the `__init__` that a user writes (H-041).

The initial step belongs behind the most derived `__init__`, whether or not that calls the base's.
Calling a class therefore runs a function that is written for it when its first machine is made:
allocation, the framework's attributes, `__init__` and the initial step in one straight line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..states import HANDLED
from .codegen import Script
from .nodes import Node


class _Constructor(Script):
    """A script with the arguments of the class."""

    header = "def plan(*arguments, **keywords):"


def constructor(cls: Any, new: Node | None) -> Callable[..., Any]:
    """Return the function that a call of a class runs.

    Args:
        new: the node of a new machine; None for an abstract class.
    """

    def construct(*arguments: Any, **keywords: Any) -> Any:
        if new is None:
            raise TypeError(f"{cls.__qualname__} is abstract; instantiate a concrete subclass")
        written = _write(cls, new)
        type.__setattr__(cls, "_hsm_construct", written)
        return written(*arguments, **keywords)

    return construct


def _write(cls: Any, new: Node) -> Callable[..., Any]:
    memories = new.tables.memories
    script = _Constructor()
    if cls.__new__ is object.__new__:
        script.add("m = {}({})", object.__new__, cls)
    else:
        script.add("m = {}(*arguments, **keywords)", cls.__new__.__get__(cls))
    script.add("m._hsm_node = {}", new)
    script.add("m._hsm_event = m._hsm_active = None")
    script.add("m._hsm_due = {}", HANDLED)
    if memories.is_extended:
        script.add("m._hsm_memory = {}()", memories.new)
    else:
        script.add("m._hsm_memory = None")
    script.add("if arguments or keywords: m.__init__(*arguments, **keywords)")
    script.add("else: m.__init__()")
    script.add("if m._hsm_node is not {}: {}(m); return m", new, _start_unless_held)
    new.tables.routes.write_start(script)
    script.add("return m")
    return script.compile()


def _start_unless_held(m: Any) -> None:
    """Start a machine that got an observer; not one that is held, or that was started before."""
    node = m._hsm_node
    if node is node.tables.new:
        node.tables.start(m, None)
