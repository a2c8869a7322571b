"""Mermaid source of a statechart, for pages that render Mermaid themselves.

Mermaid has no symbols for history, named final states and terminate: a history is a small state
named Ⓗ or Ⓗ*, a final state carries ◉ before its name, a terminate vertex ✕.
"""

from __future__ import annotations

from collections.abc import Iterator

from .diagram_outline import Arrow, Node, Outline

_SIGNS = {"shallow": "Ⓗ", "deep": "Ⓗ*"}
_MARKS = {"final": "◉ ", "terminate": "✕ "}


def to_mermaid(outline: Outline) -> str:
    """Mermaid source; the same outline always gives the same text."""
    lines = ["---", f"title: {_text(outline.title)}", "---", "stateDiagram-v2"]
    for child in outline.children(outline.root.id):
        lines += _state(outline, child, 1)
    lines += _arrows(outline, outline.root, 1)
    if outline.root.lines:
        # Mermaid has no box for the machine itself, so what it does stands in a first state's note.
        first = next(c for c in outline.children(outline.root.id) if c.kind != "initial")
        lines += [f"    note left of {first.id}", "        whole machine:"]
        lines += [f"        {_text(line)}" for line in outline.root.lines]
        lines.append("    end note")
    return "\n".join(lines) + "\n"


def _state(outline: Outline, node: Node, depth: int) -> Iterator[str]:
    pad = "    " * depth
    if node.kind == "initial":
        return
    if node.kind == "choice":
        yield f"{pad}state {node.id} <<choice>>"
    elif node.kind == "composite":
        yield f'{pad}state "{_text(node.name)}" as {node.id} {{'
        for child in outline.children(node.id):
            yield from _state(outline, child, depth + 1)
        yield from _arrows(outline, node, depth + 1)
        yield f"{pad}}}"
    elif node.kind in _SIGNS:
        yield f'{pad}state "{_SIGNS[node.kind]}" as {node.id}'
    else:
        yield f'{pad}state "{_MARKS.get(node.kind, "")}{_text(node.name)}" as {node.id}'
    if node.kind in ("state", "composite") and node.lines:
        if node.kind == "state":
            for line in node.lines:
                yield f"{pad}{node.id} : {_text(line)}"
        else:
            yield f"{pad}note right of {node.id}"
            yield from (f"{pad}    {_text(line)}" for line in node.lines)
            yield f"{pad}end note"


def _arrows(outline: Outline, owner: Node, depth: int) -> Iterator[str]:
    """The arrows whose innermost common box is `owner`."""
    pad = "    " * depth
    for arrow in outline.arrows:
        if outline.home(arrow) == owner.id:
            yield f"{pad}{_arrow(outline, arrow)}"


def _arrow(outline: Outline, arrow: Arrow) -> str:
    ends = []
    for end in (arrow.source, arrow.target):
        kind = outline.node(end).kind
        ends.append("[*]" if kind == "initial" else end)
    label = " <br> ".join(_text(label) for label in arrow.labels)
    return f"{ends[0]} --> {ends[1]}" + (f" : {label}" if label else "")


def _text(text: str) -> str:
    """Colons, quotes and semicolons would end a Mermaid label."""
    for character in '#;:"':
        text = text.replace(character, f"#{ord(character)};") if character != "#" else text
    return text.replace("\n", " ")
