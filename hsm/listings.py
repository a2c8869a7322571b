"""The declarations of a machine class, as text for a terminal (H-265)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from ._definition.paths import paths
from .states import History

if TYPE_CHECKING:
    from .machine import Machine


def findings(machine: type[Machine]) -> str:
    """The findings of `lint`, one a line: code, state, text."""
    rows = [(found.code, found.state.name, found.message) for found in machine.lint()]
    return _columns(rows) or f"{machine.__qualname__}: nothing to report\n"


def table(machine: type[Machine]) -> str:
    """All edges, one a line."""
    rows = [("source", "event", "guard", "target", "kind", "function")]
    rows += [
        (
            edge.source.name,
            _event(edge.event, edge.kind),
            edge.guard or "",
            edge.target.name if edge.target else "",
            edge.kind,
            edge.handler or "",
        )
        for edge in machine.edges
    ]
    return _columns(rows)


def ways(machine: type[Machine]) -> str:
    """A shortest sequence of events to every reachable edge, one a line."""
    rows = [("edge", "events")]
    for edge, events in paths(machine):
        target = edge.target.name if edge.target else "(internal)"
        shown = f"{edge.source.name} → {target} on {_event(edge.event, edge.kind)}"
        rows.append((shown, ", ".join(_event(event, "") for event in events)))
    return _columns(rows)


def _event(event: Hashable, kind: str) -> str:
    """An event as it is written; an enum member and a string of its name look different."""
    if event is None and kind in ("initial", "completion"):
        return f"({kind})"
    if isinstance(event, type):
        return event.__qualname__
    return event.name if isinstance(event, History) else repr(event)


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)
