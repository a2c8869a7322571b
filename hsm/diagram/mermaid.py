"""Mermaid source of a statechart, for pages that render Mermaid themselves.

Mermaid has no symbols for history, named final states and terminate: a history is a small state
named (H) or (H*), a final state carries ◉ before its name, a terminate vertex ✕. Nor can it draw
an arrow between a box and a state inside it: such transitions stand as text at their source.
"""

from __future__ import annotations

from collections.abc import Iterator

from .outline import Arrow, Node, Outline

_SIGNS = {"shallow": "(H)", "deep": "(H*)"}
_ENTITIES = {ord(c): f"#{ord(c)};" for c in '#;:"<>'} | {ord("\n"): " "}
_MARKS = {"final": "◉ ", "terminate": "✕ "}


def to_mermaid(outline: Outline) -> str:
    """Return Mermaid source; the same outline always gives the same text."""
    lines = ["---", f"title: {_text(outline.title)}", "---", "stateDiagram-v2"]
    for child in outline.children(outline.root.id):
        lines += _state(outline, child, 1)
    ends = {end for arrow in outline.arrows for end in (arrow.source, arrow.target)}
    root = outline.root
    if root.lines or root.id in ends:
        # Mermaid has no box for the machine itself, so a state stands for it.
        lines.append(f'    state "(whole machine)" as {root.id}')
        lines += [f"    {root.id} : {_text(line)}" for line in root.lines]
    lines += _arrows(outline, root, 1)
    lines += _arrows_between_depths(outline)
    return "\n".join(lines) + "\n"


def _state(outline: Outline, node: Node, depth: int) -> Iterator[str]:
    pad = "    " * depth
    if node.kind == "initial":
        return
    if node.kind in ("choice", "fork"):
        yield f"{pad}state {node.id} <<{node.kind}>>"
    elif node.kind == "composite":
        yield f'{pad}state "{_text(node.name)}" as {node.id} {{'
        yield from _inside(outline, node, depth + 1)
        yield f"{pad}}}"
    elif node.kind in _SIGNS:
        yield f'{pad}state "{_SIGNS[node.kind]}" as {node.id}'
    else:
        yield f'{pad}state "{_MARKS.get(node.kind, "")}{_text(node.name)}" as {node.id}'
    lines = [*node.lines, *_undrawn(outline, node)]
    if node.kind in ("state", "composite") and lines:
        if node.kind == "state":
            for line in lines:
                yield f"{pad}{node.id} : {_text(line)}"
        else:
            yield f"{pad}note right of {node.id}"
            yield from (f"{pad}    {_text(line)}" for line in lines)
            yield f"{pad}end note"


def _inside(outline: Outline, node: Node, depth: int) -> Iterator[str]:
    """The contents of a box; Mermaid separates regions by a line, and they have no names."""
    separator = ""
    for child in outline.children(node.id):
        if not child.is_region:
            yield from _state(outline, child, depth)
            continue
        if separator:
            yield separator
        separator = f"{'    ' * depth}--"
        yield f"{'    ' * depth}%% {_text(child.name)}"
        yield from _inside(outline, child, depth)
    yield from _arrows(outline, node, depth)


def _arrows(outline: Outline, owner: Node, depth: int) -> Iterator[str]:
    """The arrows to write in the block of `owner`.

    Mermaid moves a state into the innermost block that mentions it. So a block has only the arrows
    between its own children; an arrow between different depths stands at the very end.
    """
    pad = "    " * depth
    for arrow in outline.arrows_at_home(owner.id):
        if _is_level(outline, arrow) and not _crosses_its_box(outline, arrow):
            yield f"{pad}{_arrow(outline, arrow)}"


def _arrows_between_depths(outline: Outline) -> Iterator[str]:
    for arrow in outline.arrows:
        if not _is_level(outline, arrow) and not _crosses_its_box(outline, arrow):
            yield f"    {_arrow(outline, arrow)}"


def _is_level(outline: Outline, arrow: Arrow) -> bool:
    """Return True if both ends are children of one box."""
    return outline.node(arrow.source).parent == outline.node(arrow.target).parent


def _crosses_its_box(outline: Outline, arrow: Arrow) -> bool:
    """Return True if one end is a box, not the machine itself, and the other end is inside it."""
    if outline.root.id in (arrow.source, arrow.target):
        return False
    return outline.contains(arrow.source, arrow.target) or outline.contains(
        arrow.target, arrow.source
    )


def _undrawn(outline: Outline, node: Node) -> Iterator[str]:
    for arrow in outline.arrows_from(node.id):
        if _crosses_its_box(outline, arrow):
            target = outline.node(arrow.target)
            name = _SIGNS.get(target.kind, target.name)
            for label in arrow.labels or ("",):
                yield f"{label} \N{RIGHTWARDS ARROW} {name}".strip()


def _arrow(outline: Outline, arrow: Arrow) -> str:
    ends = []
    for end in (arrow.source, arrow.target):
        kind = outline.node(end).kind
        ends.append("[*]" if kind == "initial" else end)
    label = " <br> ".join(_text(label) for label in arrow.labels)
    return f"{ends[0]} --> {ends[1]}" + (f" : {label}" if label else "")


def _text(text: str) -> str:
    """Characters that Mermaid would read as syntax, as entities."""
    return text.translate(_ENTITIES)
