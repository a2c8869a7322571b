"""The geometry of pictures: labels lie free, arrows keep out of foreign boxes; and linear work."""

from __future__ import annotations

import importlib.util
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tensor_pool.hsm import ROOT, Machine, State, on_event, on_initial
from tensor_pool.hsm.diagram import render
from tensor_pool.hsm.diagram.graphviz import run_graphviz
from tensor_pool.hsm.diagram.layout import LABEL_SIZE, Box, Layout, Point, Route, lay_out
from tensor_pool.hsm.diagram.outline import Outline
from tensor_pool.hsm.diagram.reading import outline_of
from tensor_pool.hsm.diagram.svg import draw
from tensor_pool.hsm.diagram.text import widest
from tests.hsm.oracle.build import machine_class
from tests.hsm.oracle.differ import draw as draw_chart
from tests.hsm.tools.charts import Everything

REPOSITORY = Path(__file__).parents[3]
Rectangle = tuple[float, float, float, float]


def _gallery() -> list[type[Machine]]:
    path = REPOSITORY / "diagrams" / "generate.py"
    spec = importlib.util.spec_from_file_location("gallery_of_pictures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: list[type[Machine]] = module.machine_classes()
    return found


def random_machine(seed: int) -> type[Machine]:
    return machine_class(draw_chart(seed, 1, common=False)[0])


MACHINES = {cls.__name__: cls for cls in [*_gallery(), Everything]}


@pytest.fixture(scope="module", params=[*MACHINES, *range(12)], ids=str)
def layout(request: pytest.FixtureRequest) -> Layout:
    machine = (
        MACHINES[request.param] if request.param in MACHINES else random_machine(request.param)
    )
    return lay_out(outline_of(machine), run_graphviz)


def _inside(point: Point, box: Box, by: float) -> bool:
    x, y = point
    across = box.x + by < x < box.x + box.width - by
    return across and box.y + by < y < box.y + box.height - by


def _samples(route: Route) -> Iterator[Point]:
    for piece in route.pieces:
        for first in range(0, len(piece) - 1, 3):
            a, b, c, d = piece[first : first + 4]
            for step in range(17):
                t = step / 16
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
                yield (
                    sum(w * p[0] for w, p in zip(weights, (a, b, c, d), strict=True)),
                    sum(w * p[1] for w, p in zip(weights, (a, b, c, d), strict=True)),
                )


def _label(route: Route) -> Rectangle | None:
    if route.label is None:
        return None
    labels = route.course.arrow.labels
    wide, high = widest(labels, LABEL_SIZE), len(labels) * (LABEL_SIZE + 3)
    return (
        route.label[0] - wide / 2,
        route.label[1] - high / 2,
        route.label[0] + wide / 2,
        route.label[1] + high / 2,
    )


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _crosses_border(label: Rectangle, box: Box) -> bool:
    whole = (box.x, box.y, box.x + box.width, box.y + box.height)
    within = (
        whole[0] <= label[0]
        and label[2] <= whole[2]
        and whole[1] <= label[1] <= label[3] <= whole[3]
    )
    return _overlap(label, whole) and not within


def test_boxes_lie_within_their_parents_and_apart_from_each_other(layout: Layout) -> None:
    for box in layout.boxes.values():
        if box.node.parent is not None:
            around = layout.boxes[box.node.parent]
            assert around.x <= box.x
            assert box.x + box.width <= around.x + around.width + 1
            assert around.y <= box.y
            assert box.y + box.height <= around.y + around.height + 1
    for one, other in itertools.combinations(layout.boxes.values(), 2):
        if one.node.parent == other.node.parent:
            assert not _overlap(
                (one.x, one.y, one.x + one.width, one.y + one.height),
                (other.x, other.y, other.x + other.width, other.y + other.height),
            )


def test_no_arrow_runs_through_a_box_that_it_does_not_lead_into(layout: Layout) -> None:
    for route in layout.routes:
        arrow = route.course.arrow
        own = {*layout.outline.path(arrow.source), *layout.outline.path(arrow.target)}
        for box in layout.boxes.values():
            if box.node.id not in own:
                crossed = [point for point in _samples(route) if _inside(point, box, 2)]
                assert not crossed, (arrow, box.node.id)


def test_every_arrow_starts_and_ends_at_its_boxes(layout: Layout) -> None:
    for route in layout.routes:
        arrow = route.course.arrow
        start, end = route.pieces[0][0], route.pieces[-1][-1]
        for point, ident in ((start, arrow.source), (end, arrow.target)):
            box = layout.boxes[ident]
            assert _inside(point, box, -3), (arrow, ident)
            assert not _inside(point, box, 6) or box.node.kind != "composite", (arrow, ident)
        for one, other in itertools.pairwise(route.pieces):
            assert abs(one[-1][0] - other[0][0]) < 3
            assert abs(one[-1][1] - other[0][1]) < 3


def test_no_label_lies_on_a_border_a_state_or_another_label(layout: Layout) -> None:
    labels = {route.course.number: _label(route) for route in layout.routes}
    for number, label in labels.items():
        if label is None:
            continue
        for box in layout.boxes.values():
            assert not _crosses_border(label, box), (layout.routes[number].course, box.node.id)
            if box.node.kind != "composite":
                whole = (box.x, box.y, box.x + box.width, box.y + box.height)
                assert not _overlap(label, whole)
        for other_number, other in labels.items():
            if other is not None and other_number < number:
                assert not _overlap(label, other)


def test_no_arrow_runs_through_the_heading_of_a_box(layout: Layout) -> None:
    for route in layout.routes:
        for box in layout.boxes.values():
            if box.node.kind == "composite":
                lines = (box.node.name, *box.node.lines)
                right = box.x + 12 + widest(lines, 10)
                bottom = box.y + 18 + 14 * len(box.node.lines)
                for x, y in _samples(route):
                    assert not (box.x + 12 < x < right and box.y + 4 < y < bottom - 2), box.node.id


def test_a_state_may_be_named_like_a_port_of_the_layout() -> None:
    class Ported(Machine):
        Box, Out = State(), State()
        named = State("port__0tail", parent=Box)
        also = State("port0tail", parent=Box)
        begin, begin_box = on_initial(ROOT, target=Box), on_initial(Box, target=named)
        leave = on_event(named, "leave", target=Out)
        enter = on_event(Out, "enter", target=also)

    boxes = lay_out(outline_of(Ported), run_graphviz).boxes
    assert {box.node.name for box in boxes.values()} >= {"port__0tail", "port0tail", "Out"}


def test_a_picture_follows_the_scheme_of_its_reader_and_explains_its_symbols() -> None:
    svg = draw(outline_of(Everything))
    assert "@media (prefers-color-scheme: dark)" in svg
    legend = svg[svg.index('<g class="legend">') :]
    for text in ("entered by default", "choice", "history", "final", "end of the machine"):
        assert text in legend
    plain = draw(outline_of(Everything), styled=False)
    assert "<style>" not in plain
    assert "legend" not in plain


def _chain(states: int) -> type[Machine]:
    """A chart of boxes of five states, with an arrow from each state to the next one."""
    body: dict[str, Any] = {}
    before = None
    for index in range(states):
        if index % 5 == 0:
            body[f"Box{index}"] = box = State()
        body[f"S{index}"] = state = State(parent=box)
        if index % 5 == 0:
            body[f"begin{index}"] = on_initial(box, target=state)
        if before is not None:
            body[f"go{index}"] = on_event(before, "go", target=state)
        before = state
    body["begin"] = on_initial(ROOT, target=body["S0"])
    return type(Machine)(f"Chain{states}", (Machine,), body)


def _operations(work: Callable[[], object]) -> int:
    """Executed lines of the package; a loop counts each round."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if "/hsm/" not in frame.f_code.co_filename:
            return None
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("form", ["outline", "mermaid", "dot"])
def test_the_work_for_a_diagram_grows_linearly_with_the_states(form: str) -> None:
    def work(machine: type[Machine]) -> Outline | str:
        return outline_of(machine) if form == "outline" else render(machine, form)  # type: ignore[arg-type]

    small, large = _chain(50), _chain(400)
    work(small)  # what is worked out once per class does not count
    work(large)
    few, many = _operations(lambda: work(small)), _operations(lambda: work(large))
    assert few > 50
    assert many < 8 * few * 1.1


def test_the_layout_asks_graphviz_twice_for_each_box() -> None:
    calls = []

    def counting(dot: str) -> str:
        calls.append(dot)
        return run_graphviz(dot)

    lay_out(outline_of(_chain(50)), counting)
    assert len(calls) == 2 * 11
    assert sum(len(re.findall(r"^  \S+ -> ", dot, re.MULTILINE)) for dot in calls) < 2 * 3 * 60
