"""Courses of arrows through nested boxes: which levels an arrow crosses, on its way out and in.

A picture is laid out level by level: each box by itself, its inner boxes as plain nodes. An arrow
between different depths is then several pieces, which meet at ports on the borders of the boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

from .outline import Arrow, Outline


@dataclass(frozen=True)
class Course:
    """The way of one arrow.

    Attributes:
        number: the number of the arrow in its outline.
        arrow: the arrow.
        home: the box in which its main piece and its label lie.
        start: the child of `home` at which the main piece starts; None for the border of `home`.
        end: the child of `home` at which the main piece ends; None for the border of `home`.
        out_of: the boxes that it leaves before, innermost first.
        into: the boxes that it enters behind, outermost first.
    """

    number: int
    arrow: Arrow
    home: str
    start: str | None
    end: str | None
    out_of: tuple[str, ...]
    into: tuple[str, ...]


def courses_of(outline: Outline) -> list[Course]:
    """The courses of all arrows, in the order of the arrows."""
    return [_course(outline, number, arrow) for number, arrow in enumerate(outline.arrows)]


def _course(outline: Outline, number: int, arrow: Arrow) -> Course:
    source, target = outline.path(arrow.source), outline.path(arrow.target)
    if arrow.source == arrow.target:
        parent = outline.node(arrow.source).parent or arrow.source
        return Course(number, arrow, parent, arrow.source, arrow.source, (), ())
    shared = 0
    while shared < min(len(source), len(target)) and source[shared] == target[shared]:
        shared += 1
    below_source, below_target = source[shared:], target[shared:]
    return Course(
        number,
        arrow,
        home=source[shared - 1],
        start=below_source[0] if below_source else None,
        end=below_target[0] if below_target else None,
        out_of=tuple(reversed(below_source[:-1])),
        into=tuple(below_target[:-1]),
    )
