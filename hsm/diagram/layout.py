"""Places for the boxes and arrows of a statechart, found with Graphviz level by level.

Graphviz lays out one level well and nested clusters badly: arrows run through boxes and labels lie
on borders. So each box is laid out by itself, its inner boxes as nodes of a known size. Nodes never
overlap and arrows go around nodes; therefore no arrow crosses a box that it does not lead into.
All lengths are points, y grows downwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from .cells import cell, port_row
from .courses import Course, courses_of
from .outline import Node, Outline
from .text import widest, width

Point = tuple[float, float]
Side = Literal["top", "bottom"]
End = Literal["tail", "head"]

NAME_SIZE = 11.0
LINE_SIZE = 10.0
LABEL_SIZE = 9.5
NAME_HEIGHT = 20.0
LINE_HEIGHT = 14.0
MARGIN = 12.0
_GAP = 14.0  # between ports on one side
_PORT = "port__"  # no id of a state has two underscores in a row
_SYMBOLS: dict[str, tuple[float, float]] = {
    "initial": (11.0, 11.0),
    "choice": (22.0, 16.0),
    "shallow": (21.0, 21.0),
    "deep": (21.0, 21.0),
    "final": (17.0, 17.0),
    "terminate": (15.0, 15.0),
    "fork": (44.0, 5.0),
}


@dataclass
class Box:
    """A placed node: its upper left corner and its size."""

    node: Node
    x: float
    y: float
    width: float
    height: float
    depth: int


@dataclass
class Route:
    """A placed arrow: pieces of cubic curves, one behind the other, and the centre of its label."""

    course: Course
    pieces: list[list[Point]]
    label: Point | None


@dataclass
class Layout:
    outline: Outline
    boxes: dict[str, Box]
    routes: list[Route]
    width: float
    height: float


@dataclass
class _Level:
    """The layout of the inside of one box, relative to its upper left corner."""

    width: float = 0.0
    height: float = 0.0
    at: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)
    curves: dict[int, list[Point]] = field(default_factory=dict)
    labels: dict[int, Point] = field(default_factory=dict)
    ports: dict[tuple[int, End], float] = field(default_factory=dict)


Graphviz = Callable[[str], str]


def lay_out(outline: Outline, graphviz: Graphviz) -> Layout:
    """Place everything.

    Args:
        outline: the contents of the picture.
        graphviz: turns DOT text into the text of Graphviz's format json0.
    """
    return _Layouter(outline, graphviz).layout()


def heading_height(node: Node) -> float:
    """The height of name and lines of a box or a state."""
    lines = len(node.lines)
    return NAME_HEIGHT + (lines * LINE_HEIGHT + 5 if lines else 0)


def _heading_width(node: Node) -> float:
    return max(width(node.name, NAME_SIZE, bold=True), widest(node.lines, LINE_SIZE))


class _Layouter:
    def __init__(self, outline: Outline, graphviz: Graphviz) -> None:
        self._outline = outline
        self._graphviz = graphviz
        self._courses = courses_of(outline)
        self._at_home: dict[str, list[Course]] = {}
        self._passing: dict[str, list[tuple[Course, End]]] = {}
        self._touching: dict[str, list[tuple[Course, End]]] = {}
        for course in self._courses:
            self._at_home.setdefault(course.home, []).append(course)
            for box in course.out_of:
                self._passing.setdefault(box, []).append((course, "tail"))
            for box in course.into:
                self._passing.setdefault(box, []).append((course, "head"))
            for end, box in (("tail", course.arrow.source), ("head", course.arrow.target)):
                if outline.node(box).kind == "composite" and box != course.home:
                    self._touching.setdefault(box, []).append((course, end))  # type: ignore[arg-type]
        self._upwards: dict[int, bool] = {}
        self._levels: dict[str, _Level] = {}

    def layout(self) -> Layout:
        # The first round shows which arrows lead upwards; the second one has their ports right.
        for _ in range(2):
            self._level(self._outline.root)
            for course in self._courses:
                level = self._levels[course.home]
                if course.start is not None and course.end is not None:
                    start, end = level.at[course.start], level.at[course.end]
                    self._upwards[course.number] = end[1] + end[3] <= start[1]
        root = self._levels[self._outline.root.id]
        boxes: dict[str, Box] = {}
        self._place(self._outline.root, 0.0, 0.0, root.width, root.height, 0, boxes)
        routes = [self._route(course, boxes) for course in self._courses]
        return Layout(self._outline, boxes, routes, root.width, root.height)

    def _side(self, course: Course, end: End) -> Side:
        """The side of a box at which a course leaves it (tail) or enters it (head)."""
        if (course.start is None) or (course.end is None):
            return "top" if end == "head" else "bottom"
        return "top" if (end == "head") != self._upwards.get(course.number, False) else "bottom"

    # One level.

    def _level(self, box: Node) -> None:
        for child in self._outline.children(box.id):
            if child.kind == "composite":
                self._level(child)
        lines = [
            "digraph {",
            "  graph [rankdir=TB, nodesep=0.35, ranksep=0.36, splines=true]",
            '  node [shape=box, fixedsize=true, label=""]',
            "  edge [dir=none]",
        ]
        children = self._outline.children(box.id)
        lines += [f"  {self._dot_node(child, *self._size(child))}" for child in children]
        sources: list[str] = []
        sinks: list[str] = []
        for course in self._at_home.get(box.id, ()):
            tail, head = self._end(course, "tail"), self._end(course, "head")
            if course.start is None:
                tail = _port(course, "tail")
                sources.append(tail)
            if course.end is None:
                head = _port(course, "head")
                sinks.append(head)
            lines.append(f"  {tail} -> {head} [{self._label(course)}id={course.number}]")
        for course, end in self._passing.get(box.id, ()):
            port = _port(course, end)
            inner = self._inner_end(course, end, box.id)
            top = self._side(course, end) == "top"
            (sources if top else sinks).append(port)
            # Drawn from the upper to the lower one, so that the ports keep to their border.
            upper, lower = (port, inner) if top else (inner, port)
            lines.append(f"  {upper} -> {lower} [id={course.number}]")
        for rank, ports in (("min", sources), ("max", sinks)):
            lines += [f"  {port} [shape=point, width=0.01, height=0.01]" for port in ports]
            if ports:
                lines.append(f"  {{rank={rank}; {'; '.join(ports)}}}")
        lines.append("}")
        self._levels[box.id] = self._read(box, json.loads(self._graphviz("\n".join(lines))))

    def _size(self, node: Node) -> tuple[float, float]:
        if node.kind == "composite":
            level = self._levels[node.id]
            return level.width, level.height
        if node.kind == "state":
            return max(46.0, _heading_width(node) + 16), heading_height(node) + 3
        return _SYMBOLS[node.kind]

    def _dot_node(self, node: Node, wide: float, high: float) -> str:
        if node.kind in ("final", "terminate"):
            # The arrow leads to the symbol; the name stands below it.
            name = width(node.name, LINE_SIZE) + 4
            return (
                f'"{node.id}" [fixedsize=false, shape=plain, label=<<TABLE BORDER="0" '
                'CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">'
                f"<TR><TD>{cell(wide, high, 'symbol')}</TD></TR>"
                f"<TR><TD>{cell(name, LINE_HEIGHT)}</TD></TR></TABLE>>]"
            )
        ports = list(self._ports(node.id, wide))
        if not ports:
            return f'"{node.id}" [width={wide / 72:.4f}, height={high / 72:.4f}]'
        rows = []
        for side in ("top", "bottom"):
            here = sorted((x, name) for name, x, at in ports if at == side)
            rows.append(port_row(wide, here))
        middle = f"<TR><TD>{cell(wide, high - 4)}</TD></TR>"
        return (
            f'"{node.id}" [fixedsize=false, shape=plain, label=<<TABLE BORDER="0" CELLBORDER="0" '
            f'CELLSPACING="0" CELLPADDING="0">{rows[0]}{middle}{rows[1]}</TABLE>>]'
        )

    def _ports(self, box: str, wide: float) -> Iterator[tuple[str, float, Side]]:
        """The ports on the border of an inner box: name, x, side."""
        level = self._levels.get(box)
        if level is None:
            return
        taken: dict[Side, list[float]] = {"top": [], "bottom": []}
        for (number, end), x in level.ports.items():
            side = self._side(self._courses[number], end)
            taken[side].append(x)
            yield f"p{number}{end}", x, side
        for side in ("top", "bottom"):
            free = [(c, e) for c, e in self._touching.get(box, ()) if self._side(c, e) == side]
            for index, (course, end) in enumerate(free):
                x = wide * (index + 1) / (len(free) + 1)
                while any(abs(x - other) < _GAP for other in taken[side]) and x < wide - _GAP:
                    x += 2
                taken[side].append(x)
                yield f"p{course.number}{end}", x, side

    def _end(self, course: Course, end: End) -> str:
        """The end of the main piece in DOT: a node, or a port on an inner box."""
        name = course.start if end == "tail" else course.end
        if name is None:
            return ""
        return self._attached(name, course, end)

    def _inner_end(self, course: Course, end: End, box: str) -> str:
        chain = course.out_of[::-1] if end == "tail" else course.into
        index = chain.index(box)
        last = course.arrow.source if end == "tail" else course.arrow.target
        name = chain[index + 1] if index + 1 < len(chain) else last
        return self._attached(name, course, end)

    def _attached(self, name: str, course: Course, end: End) -> str:
        kind = self._outline.node(name).kind
        if kind in ("final", "terminate"):
            return f'"{name}":symbol'
        if kind != "composite":
            return f'"{name}"'
        compass = "n" if self._side(course, end) == "top" else "s"
        return f'"{name}":p{course.number}{end}:{compass}'

    def _label(self, course: Course) -> str:
        labels = course.arrow.labels
        if not labels:
            return ""
        wide, high = widest(labels, LABEL_SIZE) + 12, len(labels) * (LABEL_SIZE + 3) + 2
        return f"label=<{cell(wide, high)}>, "

    def _read(self, box: Node, found: dict[str, Any]) -> _Level:
        """The level of a box, with its heading above and a margin around what Graphviz placed."""
        _, _, wide, high = map(float, found["bb"].split(","))
        top = heading_height(box) + 6
        ports: dict[str, float] = {}
        level = _Level()
        for item in found.get("objects", ()):
            if "pos" not in item:
                continue
            x, y = map(float, item["pos"].split(","))
            if item["name"].startswith(_PORT):
                ports[item["name"]] = x
                continue
            w, h = float(item["width"]) * 72, float(item["height"]) * 72
            level.at[item["name"]] = (x - w / 2, high - y - h / 2, w, h)
        # Nothing that enters at the top runs through the heading.
        heading = _heading_width(box) + MARGIN
        entering = [
            ports[_port(c, e)]
            for c, e in self._passing.get(box.id, ())
            if self._side(c, e) == "top"
        ]
        entering += [
            ports[_port(c, "tail")] for c in self._at_home.get(box.id, ()) if c.start is None
        ]
        shift = max(0.0, heading + 8 - MARGIN - min(entering)) if entering else 0.0
        left = MARGIN + shift

        def moved(point: Point) -> Point:
            return point[0] + left, high - point[1] + top

        level.width = max(wide + left + MARGIN, heading + MARGIN)
        level.height = high + top + MARGIN
        level.at = {k: (x + left, y + top, w, h) for k, (x, y, w, h) in level.at.items()}
        crossing = {(c.number, e): self._side(c, e) for c, e in self._passing.get(box.id, ())}
        for edge in found.get("edges", ()):
            number = int(edge["id"])
            curve = [moved(_point(text)) for text in edge["pos"].split()]
            course = self._courses[number]
            for end in ("tail", "head"):
                side = crossing.get((number, end))
                if side is not None:
                    x = level.ports[number, end] = ports[_port(course, end)] + left
                    border = (x, 0.0 if side == "top" else level.height)
                    curve = _to_border(curve, border, side, end)
            if course.home == box.id and course.start is None:
                curve = _line((curve[0][0], 0.0), curve[0]) + curve[1:]
            if course.home == box.id and course.end is None:
                curve = curve + _line(curve[-1], (curve[-1][0], level.height))[1:]
            level.curves[number] = curve
            if "lp" in edge:
                level.labels[number] = moved(_point(edge["lp"]))
        return level

    # The whole.

    def _place(
        self,
        node: Node,
        x: float,
        y: float,
        wide: float,
        high: float,
        depth: int,
        boxes: dict[str, Box],
    ) -> None:
        boxes[node.id] = Box(node, x, y, wide, high, depth)
        level = self._levels.get(node.id)
        if level is not None:
            for child in self._outline.children(node.id):
                left, top, w, h = level.at[child.id]
                self._place(child, x + left, y + top, w, h, depth + 1, boxes)

    def _route(self, course: Course, boxes: dict[str, Box]) -> Route:
        pieces = []
        label = None
        for box in (*course.out_of, course.home, *course.into):
            level, corner = self._levels[box], boxes[box]
            curve = level.curves[course.number]
            pieces.append([(x + corner.x, y + corner.y) for x, y in curve])
            if box == course.home and course.number in level.labels:
                lx, ly = level.labels[course.number]
                label = lx + corner.x, ly + corner.y
        return Route(course, pieces, label)


def _port(course: Course, end: End) -> str:
    return f"{_PORT}{course.number}{end}"


def _to_border(curve: list[Point], border: Point, side: Side, end: End) -> list[Point]:
    """A downward curve, prolonged to a point of the border and turned the way its arrow leads."""
    if side == "top":
        prolonged = _line(border, curve[0]) + curve[1:]
    else:
        prolonged = curve + _line(curve[-1], border)[1:]
    leads_down = (end == "head") == (side == "top")
    return prolonged if leads_down else prolonged[::-1]


def _line(start: Point, end: Point) -> list[Point]:
    """A straight line as a cubic curve."""
    third = (end[0] - start[0]) / 3, (end[1] - start[1]) / 3
    return [
        start,
        (start[0] + third[0], start[1] + third[1]),
        (start[0] + 2 * third[0], start[1] + 2 * third[1]),
        end,
    ]


def _point(text: str) -> Point:
    x, y = text.split(",")
    return float(x), float(y)
