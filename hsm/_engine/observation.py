"""Observers that come and go between steps (H-262)."""

from __future__ import annotations

from typing import Any

from ..tracing import Observed, observed_by
from . import regions
from .nodes import Node, Phase
from .run_to_completion import refuse_in_step, refuse_to_run


def add(m: Any, observer: object) -> None:
    """`Machine.add_observer`."""
    refuse_in_step(m, "add_observer")
    observers = m._hsm_observer.observers
    if any(each is observer for each in observers):
        raise ValueError(f"{observer!r} observes this machine already")
    _observe(m, (*observers, observer))


def remove(m: Any, observer: object) -> None:
    """`Machine.remove_observer`."""
    refuse_in_step(m, "remove_observer")
    observers = m._hsm_observer.observers
    rest = tuple(each for each in observers if each is not observer)
    if len(rest) == len(observers):
        raise ValueError(f"{observer!r} does not observe this machine")
    _observe(m, rest)


def _observe(m: Any, observers: tuple[object, ...]) -> None:
    cls: Any = type(m)
    if observers:
        if not hasattr(m, "__dict__"):
            raise TypeError(f"{cls.__qualname__} needs __dict__ among its __slots__ to be observed")
        m.__dict__["_hsm_observer"] = Observed(observed_by(*observers), observers)
    else:
        del m.__dict__["_hsm_observer"]
    move(m, cls._hsm_traced if observers else cls._hsm_new.tables)


def move(m: Any, tables: Any) -> None:
    """Put a machine onto the same node of another table set of its class."""
    node = m._hsm_node
    if node.tables is tables:
        return
    if node.phase is Phase.NEW:
        m._hsm_node = tables.new if node is node.tables.new else tables.held
    elif node.phase is Phase.RUNNING:
        m._hsm_node = regions.build(m, tables, regions.shape(m, node))
    else:
        m._hsm_node = Node(tables, node.state, node.phase, refuse_to_run)
