"""Pictures of machine classes, drawn from the class alone.

>>> from tensor_pool.hsm import Machine, ROOT, State, on_event, on_initial
>>> class Door(Machine):
...     Closed, Open = State(), State()
...     begin = on_initial(ROOT, target=Closed)
...     push = on_event(Closed, "push", target=Open)
>>> print(render(Door, "mermaid"))
---
title: Door
---
stateDiagram-v2
    state "Closed" as Closed
    state "Open" as Open
    [*] --> Closed
    Closed --> Open : push
<BLANKLINE>
"""

from __future__ import annotations

from typing import Literal, get_args

from ..machine import Machine
from .dot import to_dot
from .mermaid import to_mermaid
from .reading import outline_of
from .svg import RendererMissingError, draw

__all__ = ["FORMATS", "Format", "RendererMissingError", "render"]

Format = Literal["mermaid", "dot", "svg"]
FORMATS: tuple[Format, ...] = get_args(Format)


def render(machine: type[Machine], format: Format) -> str:  # noqa: A002 - as in the command
    """Return the diagram of a machine class as text of that format.

    Mermaid and DOT need nothing but this package and are the same text on every run. For SVG
    Graphviz finds the places of boxes and arrows.

    Raises:
        ValueError: another format.
        RendererMissingError: SVG was asked for and no Graphviz is installed.
    """
    if format not in FORMATS:
        raise ValueError(f"{format!r} is not a diagram format; choose one of {', '.join(FORMATS)}")
    outline = outline_of(machine)
    if format == "mermaid":
        return to_mermaid(outline)
    return to_dot(outline) if format == "dot" else draw(outline)
