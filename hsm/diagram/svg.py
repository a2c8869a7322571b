"""SVG of a statechart: boxes and arrows in the places that `layout` finds.

The picture follows the light or dark scheme of its reader (`prefers-color-scheme`). Groups have the
classes `node`, `cluster` and `edge` and a title each, as in pictures that Graphviz writes itself.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from html import escape

from .dot import to_dot
from .graphviz import RendererMissingError, run_graphviz
from .layout import (
    LABEL_SIZE,
    LINE_HEIGHT,
    LINE_SIZE,
    MARGIN,
    NAME_HEIGHT,
    NAME_SIZE,
    Box,
    Layout,
    Point,
    Route,
    lay_out,
)
from .outline import Outline
from .text import width

__all__ = ["RendererMissingError", "draw", "hash_in", "source_hash"]

_HASH = re.compile(r"source sha256:([0-9a-f]{64})")
_DRAWING = 2  # raise it when the same outline is drawn differently
_PAD = 8.0
_LEGEND_HEIGHT = 26.0
_ARROW = 7.0

_STYLE = """\
  <style>
    svg { --paper: #ffffff; --ink: #455a64; --text: #1c262b; --soft: #4c5b63; --state: #fffdf5;
      --d1: #f4f8fb; --d2: #e6eff7; --d3: #d8e6f2; --d4: #cbddec; }
    @media (prefers-color-scheme: dark) {
      svg { --paper: #14191d; --ink: #8fa5b1; --text: #e8eef1; --soft: #b3c1c9; --state: #2b343a;
        --d1: #1a2126; --d2: #202a31; --d3: #27333c; --d4: #2e3d48; } }
    text { font-family: Helvetica, Arial, "Liberation Sans", sans-serif; fill: var(--text); }
    .name { font-weight: bold; font-size: 11px; }
    .line { font-size: 10px; fill: var(--soft); }
    .edge text { font-size: 9.5px; fill: var(--soft); }
    .legend text { font-size: 9px; fill: var(--soft); }
    .frame { fill: var(--paper); stroke: var(--ink); }
    .node path { fill: var(--state); stroke: var(--ink); }
    .node .bar, .legend .bar { fill: var(--ink); }
    .node ellipse, .legend ellipse { fill: var(--ink); stroke: var(--ink); }
    .node .open, .legend .open { fill: var(--paper); stroke: var(--ink); }
    .cluster path { stroke: var(--ink); }
    .d1 path { fill: var(--d1); } .d2 path { fill: var(--d2); }
    .d3 path { fill: var(--d3); } .d4 path { fill: var(--d4); }
    .edge path, .legend path { fill: none; stroke: var(--ink); }
    .edge polygon, .legend polygon { fill: var(--ink); stroke: var(--ink); }
  </style>
"""


def draw(outline: Outline, *, styled: bool = True) -> str:
    """Return the picture of an outline. Its first comment names the hash of its source.

    Args:
        outline: the contents.
        styled: with a style sheet inside. Without, the page that embeds the picture styles it.

    Raises:
        RendererMissingError: neither `graphviz-pure` nor `dot` is installed.
    """
    layout = lay_out(outline, run_graphviz)
    legend = list(_legend(layout)) if styled else []
    wide = max(layout.width, _legend_width(layout) if styled else 0.0) + 2 * _PAD
    high = layout.height + 2 * _PAD + (_LEGEND_HEIGHT if legend else 0)
    lines = [
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>',
        f"<!-- source sha256:{source_hash(to_dot(outline))} -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}pt" height="{high:.0f}pt" '
        f'viewBox="0 0 {wide:.2f} {high:.2f}">',
    ]
    if styled:
        lines.append(_STYLE.rstrip("\n"))
    lines.append(f'  <g class="graph" transform="translate({_PAD:g} {_PAD:g})">')
    lines.append(f"    <title>{escape(outline.title)}</title>")
    lines += (f"    {line}" for line in _parts(layout))
    lines += (f"    {line}" for line in legend)
    return "\n".join([*lines, "  </g>", "</svg>"]) + "\n"


def source_hash(dot: str) -> str:
    """Return the hash that `draw` notes in a picture, so that a stale one is found undrawn."""
    return hashlib.sha256(f"{_DRAWING}\n{dot}".encode()).hexdigest()


def hash_in(svg: str) -> str | None:
    """Return the hash of the source of a picture; None when it names none."""
    found = _HASH.search(svg)
    return found[1] if found else None


def _parts(layout: Layout) -> Iterator[str]:
    root = layout.outline.root
    for box in layout.boxes.values():
        if box.node.kind == "composite":
            yield from _composite(box, is_root=box.node is root)
    for route in layout.routes:
        yield from _edge(route)
    for box in layout.boxes.values():
        if box.node.kind != "composite":
            yield from _node(box)


# Boxes.


def _composite(box: Box, *, is_root: bool) -> Iterator[str]:
    if is_root:
        yield (
            f'<rect class="frame" fill="none" x="0" y="0" width="{box.width:.2f}" '
            f'height="{box.height:.2f}" rx="10"/>'
        )
        yield from _heading(box)
        return
    dashed = ' stroke-dasharray="7 4"' if box.node.is_region else ""
    yield f'<g class="cluster d{min(box.depth, 4)}">'
    yield f"  <title>cluster_{escape(box.node.id)}</title>"
    yield f'  <path{dashed} d="{_rounded(box)}"/>'
    yield from (f"  {line}" for line in _heading(box))
    yield "</g>"


def _heading(box: Box) -> Iterator[str]:
    x, y = box.x + MARGIN, box.y + 16
    yield _text(x, y, box.node.name, NAME_SIZE, "name")
    for number, line in enumerate(box.node.lines, start=1):
        yield _text(x, y + 2 + number * LINE_HEIGHT, line, LINE_SIZE, "line")


def _node(box: Box) -> Iterator[str]:
    yield '<g class="node">'
    yield f"  <title>{escape(box.node.id)}</title>"
    draw_inside = _state if box.node.kind == "state" else _symbol
    yield from (f"  {line}" for line in draw_inside(box))
    yield "</g>"


def _state(box: Box) -> Iterator[str]:
    yield f'<path d="{_rounded(box)}"/>'
    middle = box.x + box.width / 2
    yield _text(middle, box.y + 15.5, box.node.name, NAME_SIZE, "name", anchor="middle")
    if box.node.lines:
        y = box.y + NAME_HEIGHT + 2
        yield f'<path d="M{box.x:.2f},{y:.2f}H{box.x + box.width:.2f}"/>'
        for number, line in enumerate(box.node.lines):
            yield _text(box.x + 8, y + 13 + number * LINE_HEIGHT, line, LINE_SIZE, "line")


def _symbol(box: Box) -> Iterator[str]:
    kind, x, y = box.node.kind, box.x + box.width / 2, box.y + box.height / 2
    if kind == "initial":
        yield _ellipse(x, y, 5.5)
    elif kind == "choice":
        yield (
            f'<path class="open" d="M{x:.2f},{box.y:.2f}L{box.x + box.width:.2f},{y:.2f}'
            f'L{x:.2f},{box.y + box.height:.2f}L{box.x:.2f},{y:.2f}Z"/>'
        )
    elif kind == "fork":
        wide = f"{box.width:.2f}"
        yield f'<path class="bar" d="M{box.x:.2f},{box.y:.2f}h{wide}v5h-{wide}z"/>'
    elif kind in ("shallow", "deep"):
        yield _ellipse(x, y, 10.5, "open")
        sign = "H" if kind == "shallow" else "H*"
        yield _text(x, y + 3.7, sign, LINE_SIZE, "sign", anchor="middle")
    else:
        y = box.y + (8.5 if kind == "final" else 7.5)
        if kind == "final":
            yield _ellipse(x, y, 8, "open")
            yield _ellipse(x, y, 4.8)
        else:
            yield f'<path d="M{x - 6:.2f},{y - 6:.2f}l12,12m0,-12l-12,12" stroke-width="1.8"/>'
        below = box.y + box.height - 3
        yield _text(x, below, box.node.name, LINE_SIZE, "line", anchor="middle")


def _rounded(box: Box) -> str:
    r = min(9.0, box.height / 2)
    w, h = box.width - 2 * r, box.height - 2 * r
    return (
        f"M{box.x + r:.2f},{box.y:.2f}h{w:.2f}q{r},0 {r},{r}v{h:.2f}q0,{r} -{r},{r}"
        f"h-{w:.2f}q-{r},0 -{r},-{r}v-{h:.2f}q0,-{r} {r},-{r}z"
    )


def _ellipse(x: float, y: float, r: float, css: str = "") -> str:
    named = f' class="{css}"' if css else ""
    fill = ' fill="none" stroke="black"' if css else ""
    return f'<ellipse{named}{fill} cx="{x:.2f}" cy="{y:.2f}" rx="{r:g}" ry="{r:g}"/>'


def _text(x: float, y: float, text: str, size: float, css: str, *, anchor: str = "start") -> str:
    return (
        f'<text class="{css}" x="{x:.2f}" y="{y:.2f}" font-size="{size:g}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


# Arrows.


def _edge(route: Route) -> Iterator[str]:
    arrow = route.course.arrow
    yield '<g class="edge">'
    yield f"  <title>{escape(arrow.source)}-&gt;{escape(arrow.target)}</title>"
    dashed = ' stroke-dasharray="5 3"' if arrow.kind == "completion" else ""
    path, head = _path(route.pieces)
    yield f'  <path fill="none" stroke="black"{dashed} d="{path}"/>'
    yield f'  <polygon points="{head}"/>'
    if route.label is not None:
        x, y = route.label
        first = y - (len(arrow.labels) - 1) * (LABEL_SIZE + 3) / 2 + LABEL_SIZE * 0.36
        for number, label in enumerate(arrow.labels):
            at = first + number * (LABEL_SIZE + 3)
            yield "  " + _text(x, at, label, LABEL_SIZE, "label", anchor="middle")
    yield "</g>"


def _path(pieces: list[list[Point]]) -> tuple[str, str]:
    """The path of an arrow up to its head, and the corners of the head."""
    last = pieces[-1]
    tip, before = last[-1], next(p for p in reversed(last[:-1]) if math.dist(p, last[-1]) > 0.5)
    length = math.dist(tip, before)
    dx, dy = (tip[0] - before[0]) / length, (tip[1] - before[1]) / length
    base = tip[0] - dx * _ARROW, tip[1] - dy * _ARROW
    half = _ARROW * 0.38
    corners = (
        tip,
        (base[0] - dy * half, base[1] + dx * half),
        (base[0] + dy * half, base[1] - dx * half),
    )
    parts: list[str] = []
    for number, piece in enumerate(pieces):
        points = [*piece[:-1], base] if number == len(pieces) - 1 else piece
        parts.append(f"{'L' if parts else 'M'}{_xy(points[0])}C{' '.join(map(_xy, points[1:]))}")
    return "".join(parts), " ".join(_xy(corner) for corner in corners)


def _xy(point: Point) -> str:
    return f"{point[0]:.2f},{point[1]:.2f}"


# The legend: the symbols that occur in this picture.

_EXPLAINED = {
    "initial": "entered by default",
    "choice": "choice",
    "shallow": "H history, H* deep",
    "deep": "H history, H* deep",
    "final": "final",
    "terminate": "end of the machine",
    "completion": "on completion",
    "region": "active together",
    "fork": "into several regions",
}


def _explained(layout: Layout) -> list[tuple[str, str]]:
    kinds: list[str] = [box.node.kind for box in layout.boxes.values()]
    kinds += ["region" for box in layout.boxes.values() if box.node.is_region]
    kinds += [route.course.arrow.kind for route in layout.routes]
    found: dict[str, str] = {}
    for kind, text in _EXPLAINED.items():
        if kind in kinds:
            found.setdefault(text, kind)
    return [(kind, text) for text, kind in found.items()]


def _legend_width(layout: Layout) -> float:
    return sum(24 + width(text, 9) + 14 for _, text in _explained(layout))


def _legend(layout: Layout) -> Iterator[str]:
    items = _explained(layout)
    if not items:
        return
    yield '<g class="legend">'
    x, y = 8.0, layout.height + 16
    for kind, text in items:
        yield "  " + _sample(kind, x + 7, y)
        yield "  " + _text(x + 20, y + 3.2, text, 9, "line")
        x += 24 + width(text, 9) + 14
    yield "</g>"


def _sample(kind: str, x: float, y: float) -> str:
    if kind == "initial":
        return _ellipse(x, y, 4)
    if kind == "final":
        return _ellipse(x, y, 6, "open") + _ellipse(x, y, 3.4)
    if kind in ("shallow", "deep"):
        sign = _text(x, y + 3, "H", 8, "sign", anchor="middle")
        return _ellipse(x, y, 6.5, "open") + sign
    shapes = {
        "choice": f"M{x:.2f},{y - 5:.2f}l7,5l-7,5l-7,-5z",
        "terminate": f"M{x - 4:.2f},{y - 4:.2f}l8,8m0,-8l-8,8",
        "completion": f"M{x - 7:.2f},{y:.2f}h16",
        "region": f"M{x - 7:.2f},{y - 5:.2f}h14v10h-14z",
        "fork": f"M{x - 7:.2f},{y - 2:.2f}h14v4h-14z",
    }
    dashed = ' stroke-dasharray="4 3"' if kind in ("completion", "region") else ""
    if kind == "fork":
        dashed = ' class="bar"'
    return f'<path{dashed} d="{shapes[kind]}"/>'
