"""Graphviz source of a statechart: nested states are nested clusters, pseudostates UML symbols."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from .outline import Arrow, Node, Outline

_FONT = "Helvetica"
_INK = "#37474f"
_EDGE_TEXT = "#263238"
# A nested box has a darker fill than the box around it.
_FILLS = ("#f3f7fb", "#e3edf7", "#d3e2f1", "#c3d7eb")

_HEAD = f"""\
digraph "{{title}}" {{{{
  graph [compound=true, rankdir=TB, newrank=true, nodesep=0.45, ranksep=0.55, pad=0.2,
         fontname="{_FONT}", fontsize=12, bgcolor=white, tooltip=" "]
  node [fontname="{_FONT}", fontsize=11, color="{_INK}", tooltip=" "]
  edge [fontname="{_FONT}", fontsize=10, color="{_INK}", fontcolor="{_EDGE_TEXT}",
        arrowsize=0.7, arrowhead=vee, tooltip=" "]
"""


def to_dot(outline: Outline) -> str:
    """Return Graphviz source; the same outline always gives the same text.

    The machine itself is the graph. An arrow to or from a composite state ends at the border of its
    cluster (`lhead`, `ltail`), which Graphviz can only do from outside. From inside it ends at the
    initial, for that is what is taken, or starts at the anchor: a small dot that stands for
    "whatever is active in here".
    """
    lines = [_HEAD.format(title=_quoted(outline.title)).rstrip("\n")]
    lines.append(f'  label={_heading(outline.root)}; labelloc="t"; labeljust="l"')
    lines += _content(outline, _anchors(outline), outline.root, depth=0)
    return "\n".join([*lines, "}"]) + "\n"


def _box(outline: Outline, anchors: Mapping[str, bool], node: Node, depth: int) -> Iterator[str]:
    pad = "  " * depth
    fill = _FILLS[min(depth, len(_FILLS)) - 1]
    yield f'{pad}subgraph "cluster_{node.id}" {{'
    yield (
        f'{pad}  label={_heading(node)}; labeljust="l"; margin=14; '
        f'style="rounded,filled{",dashed" if node.is_region else ""}"; '
        f'fillcolor="{fill}"; color="{_INK}"; tooltip=" "'
    )
    yield from _content(outline, anchors, node, depth)
    yield f"{pad}}}"


def _content(
    outline: Outline, anchors: Mapping[str, bool], node: Node, depth: int
) -> Iterator[str]:
    pad = "  " * (depth + 1)
    if node.id in anchors:
        style = "" if anchors[node.id] else ", style=invis"
        yield f'{pad}"{_anchor(node)}" [shape=point, width=0.07, color="{_INK}", label=""{style}]'
    for child in outline.children(node.id):
        if child.kind == "composite":
            yield from _box(outline, anchors, child, depth + 1)
        else:
            yield f'{pad}"{child.id}" [{_shape(child)}]'
    # An arrow is declared in the innermost box around it.
    for arrow in outline.arrows_at_home(node.id):
        yield f"{pad}{_arrow(outline, arrow)}"


def _heading(node: Node) -> str:
    rows = [f'<TR><TD ALIGN="LEFT"><B>{escape(node.name)}</B></TD></TR>']
    rows += [_small_row(line) for line in node.lines]
    table = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">'
    return f"<{table}{''.join(rows)}</TABLE>>"


def _small_row(line: str) -> str:
    return (
        f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="10" COLOR="{_EDGE_TEXT}">'
        f"{escape(line)}</FONT></TD></TR>"
    )


def _shape(node: Node) -> str:
    if node.kind == "initial":
        return (
            f'shape=circle, style=filled, fillcolor="{_INK}", width=0.16, fixedsize=true, label=""'
        )
    if node.kind == "choice":
        return 'shape=diamond, style=filled, fillcolor=white, width=0.3, height=0.3, label=""'
    if node.kind == "fork":
        return f'shape=box, style=filled, fillcolor="{_INK}", width=0.6, height=0.06, label=""'
    if node.kind in ("shallow", "deep"):
        sign = "H" if node.kind == "shallow" else "H*"
        return (
            "shape=circle, style=filled, fillcolor=white, width=0.32, fixedsize=true, "
            f'label="{sign}"'
        )
    if node.kind == "final":
        # The bull's eye: a black disc within a ring. The name stands beside it.
        return (
            f'shape=doublecircle, style=filled, fillcolor="{_INK}", width=0.14, fixedsize=true, '
            f'label="", xlabel="{_quoted(node.name)}"'
        )
    if node.kind == "terminate":
        return (
            "shape=none, width=0.3, height=0.3, fixedsize=true, "
            'label=<<FONT POINT-SIZE="22">&#215;</FONT>>, '
            f'fontcolor="{_INK}", xlabel="{_quoted(node.name)}"'
        )
    fill = "#fffdf5"
    if not node.lines:
        return (
            f'shape=box, style="rounded,filled", fillcolor="{fill}", '
            f"height=0.4, label=<<B>{escape(node.name)}</B>>"
        )
    rows = [f"<TR><TD><B>{escape(node.name)}</B></TD></TR>", "<HR/>"]
    rows += [_small_row(line) for line in node.lines]
    table = (
        f'<<TABLE BORDER="1" STYLE="ROUNDED" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" '
        f'BGCOLOR="{fill}" COLOR="{_INK}">{"".join(rows)}</TABLE>>'
    )
    return f"shape=plain, label={table}"


def _arrow(outline: Outline, arrow: Arrow) -> str:
    options = []
    tail, head = arrow.source, arrow.target
    source, target = outline.node(tail), outline.node(head)
    if source.kind == "composite":
        if outline.contains(source.id, target.id):
            tail = _anchor(source)
        else:
            tail = _entrance(outline, source)
            options.append(f'ltail="cluster_{source.id}"')
    if target.kind == "composite":
        head = _entrance(outline, target)
        if not outline.contains(target.id, source.id):
            options.append(f'lhead="cluster_{target.id}"')
    if arrow.labels:
        text = "".join(f" {_quoted(label)} \\l" for label in arrow.labels)
        options.append(f'label="{text}"')
    if arrow.kind == "completion":
        options.append("style=dashed")
    attributes = f" [{', '.join(options)}]" if options else ""
    return f'"{tail}" -> "{head}"{attributes}'


def _anchor(box: Node) -> str:
    return f"{box.id}__any"


def _entrance(outline: Outline, box: Node) -> str:
    """The node in a box that stands for it: its initial, which lies at the top, else an anchor."""
    initial = f"{box.id}__initial"
    here = any(child.id == initial for child in outline.children(box.id))
    return initial if here else _anchor(box)


def _anchors(outline: Outline) -> dict[str, bool]:
    """The boxes with an anchor; true where an arrow is seen to start at it, on its way inside."""
    anchors: dict[str, bool] = {}
    for arrow in outline.arrows:
        for end, other in ((arrow.source, arrow.target), (arrow.target, arrow.source)):
            box = outline.node(end)
            if box.kind == "composite":
                seen = end == arrow.source and outline.contains(end, other)
                if seen or _entrance(outline, box) == _anchor(box):
                    anchors[end] = anchors.get(end, False) or outline.contains(end, other)
    return anchors


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
